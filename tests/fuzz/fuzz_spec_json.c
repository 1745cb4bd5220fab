/* fuzz_spec_json.c - the JSON file that SPEC names.
 *
 * Invariants: those of fuzz_options.h, and every member of an accepted file can be located.
 */
#include <sys/mman.h>

#include "fuzz_options.h"
#include "options_impl.h"

static void check_places(const char *text, size_t size)
{
    json_t *top = json_loadb(text, size, JSON_REJECT_DUPLICATES, NULL);
    unsigned line, column;
    const char *name;
    json_t *v;

    json_object_foreach(top, name, v)
    {
        /* A name written with an escape is not found, and the message then has no place. */
        if (!strchr(text, '\\'))
            CHECK(options_locate(text, name, -1, &line, &column) && line > 0 && column > 0);
    }
    json_decref(top);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char program[] = "mount.l2fs", dir[] = "/mnt", path[64];
    char *argv[] = {program, path, dir, NULL};
    AUTO_CLOSE int fd = memfd_create("spec", MFD_CLOEXEC);
    AUTO_FREE char *text = malloc(size + 1);

    if (fd < 0 || !text || write(fd, data, size) != (ssize_t)size)
        return -1;
    memcpy(text, data, size);
    text[size] = '\0';
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    fuzz_parse(3, argv);
    if (strlen(text) == size)
        check_places(text, size);
    return 0;
}
