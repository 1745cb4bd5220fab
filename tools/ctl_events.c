/* ctl_events.c - shows .l2fs/history, or follows .l2fs/events.
 *
 * Single-threaded.
 */
#include "ctl.h"

#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LINE_MAX_BYTES 65536

struct wanted {
    const struct ctl *c;
    int n; /* globs; 0: all keys */
    char **globs;
};

/* Of the event itself nothing is known here: names and members are the daemon's. */
static bool is_wanted(const struct wanted *w, json_t *event)
{
    const char *name = json_string_value(json_object_get(event, "event"));
    const char *key = json_string_value(json_object_get(event, "key"));

    if (!name || (w->c->types && !ctl_in_list(w->c->types, name)))
        return false;
    for (int i = 0; i < w->n; i++)
        if (key && !fnmatch(w->globs[i], key, 0))
            return true;
    return !w->n;
}

/* True: it was shown. */
static bool show_line(const struct wanted *w, const char *line)
{
    json_t *event = json_loads(line, 0, NULL);
    bool wanted = event && is_wanted(w, event);

    if (wanted && w->c->json)
        fputs(line, stdout);
    else if (wanted)
        ctl_show_event(stdout, event);
    if (wanted)
        fflush(stdout);
    json_decref(event);
    return wanted;
}

/* To the end, or to the first that is wanted; of events there is no end. */
static int read_lines(const struct wanted *w, int fd)
{
    char block[LINE_MAX_BYTES], line[LINE_MAX_BYTES];
    size_t len = 0;
    ssize_t n;

    while ((n = read(fd, block, sizeof(block))) > 0) {
        for (ssize_t i = 0; i < n; i++) {
            if (len + 2 < sizeof(line))
                line[len++] = block[i];
            if (block[i] != '\n')
                continue;
            line[len] = '\0';
            len = 0;
            if (show_line(w, line) && w->c->once)
                return CTL_OK;
        }
    }
    if (n < 0)
        return ctl_fail("events: %s", errno == ENOTCONN || errno == ECONNABORTED
                                          ? "the daemon is gone"
                                          : strerror(errno));
    return CTL_OK;
}

int ctl_events(const struct ctl *c, int n, char *args[])
{
    struct wanted w = {c, n, args};
    bool waits = c->follow || c->once;
    char *mount = ctl_find_mount(c);
    char path[PATH_MAX];
    int fd, rc;

    if (!mount)
        return CTL_MISSING;
    snprintf(path, sizeof(path), "%s/.l2fs/%s", mount, waits ? "events" : "history");
    free(mount);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return ctl_complain(path, errno);
    rc = read_lines(&w, fd);
    close(fd);
    return rc;
}
