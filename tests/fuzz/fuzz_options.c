/* fuzz_options.c - -o strings and TYPE:options of SPEC.
 *
 * Invariants: a refusal says why and leaves nothing behind; what is accepted has its values in
 * range, a name and a staging directory, and prints as JSON.
 */
#include <stdio.h>

#include "fuzz_options.h"
#include "options_impl.h"

#define INPUT_MAX 8192

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char text[INPUT_MAX], program[] = "mount.l2fs", dash_o[] = "-o",
                          spec[] = "null:", dir[] = "/mnt";
    char *with_option[] = {program, spec, dir, dash_o, text, NULL};
    char *with_spec[] = {program, text, dir, NULL};

    if (size < 1 || size > sizeof(text))
        return -1;
    memcpy(text, data + 1, size - 1);
    text[size - 1] = '\0';
    if (data[0] & 1)
        fuzz_parse(5, with_option);
    else if (!strncmp(text, "mock:", 5) || !strncmp(text, "fault:", 6))
        fuzz_parse(3, with_spec); /* nothing else: it would be looked up as a path */
    return 0;
}
