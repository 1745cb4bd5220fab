/* l2fsctl.c - looks at a mounted l2fs and steers it.
 *
 * Single-threaded. It uses only the files below .l2fs and the user.l2fs.* attributes, so everything
 * it does can be done with cat, getfattr and setfattr as well.
 */
#include "ctl.h"

#include <dirent.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <errno.h>
#include <unistd.h>

enum { EXIT_WRONG_USE = 2, LONG_JSON = 256, LONG_ONCE };

static const char usage[] =
    "usage: l2fsctl [-m MOUNT] [--json] COMMAND\n"
    "  status                   how the mount is\n"
    "  adapters                 its tiers\n"
    "  config                   its effective options\n"
    "  metrics                  its counters (OpenMetrics)\n"
    "  events [--once]          what happens, as it happens\n"
    "  ls [PATH]                keys with their state\n"
    "  stat PATH                everything about one key\n"
    "  pin PATH [none|soft[=DURATION]|hard]   keep it in memory (default: soft)\n"
    "  evict PATH...            drop it from memory, once it is stored\n"
    "  warm PATH...             load it into memory\n"
    "  -m MOUNT   default: where the working directory is, or the only mount; PATHs are below it\n"
    "  --json     JSON instead of tables\n"
    "  --once     events: what is there now, then end\n"
    "  -h, -V     this text; version\n";

/* --- files below .l2fs --- */

static int show_file(const struct ctl *c, const char *mount, const char *name)
{
    char *text;
    json_t *object;

    if (c->json) {
        text = ctl_read(mount, name);
        if (!text)
            return 1;
        fputs(text, stdout);
        free(text);
        return 0;
    }
    object = ctl_read_json(mount, name);
    if (!object)
        return 1;
    ctl_show_object(object);
    json_decref(object);
    return 0;
}

/* Without comments for people, as it is with --json. */
static int show_metrics(const struct ctl *c, const char *mount)
{
    char *text = ctl_read(mount, "metrics"), *save = NULL;

    if (!text)
        return 1;
    if (c->json) {
        fputs(text, stdout);
    } else {
        for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
            if (*line != '#')
                puts(line);
        }
    }
    free(text);
    return 0;
}

/* Status and usage of one adapter in one object; NULL having said why. */
static json_t *read_adapter(const char *mount, const char *name)
{
    char file[512];
    json_t *status, *more;

    snprintf(file, sizeof(file), "adapters/%s/status", name);
    status = ctl_read_json(mount, file);
    if (!status)
        return NULL;
    snprintf(file, sizeof(file), "adapters/%s/usage", name);
    more = ctl_read_json(mount, file);
    if (more)
        json_object_update(status, more);
    json_decref(more);
    return status;
}

static json_t *summary_of(const char *name, json_t *adapter)
{
    static const char *const columns[] = {"index",          "type",    "is_healthy", "used_bytes",
                                          "capacity_bytes", "objects", "locked"};
    json_t *row = json_object();

    json_object_set_new(row, "name", json_string(name));
    for (size_t i = 0; i < sizeof(columns) / sizeof(*columns); i++) {
        json_t *v = json_object_get(adapter, columns[i]);

        json_object_set_new(row, columns[i], v ? json_incref(v) : json_null());
    }
    return row;
}

/* Rows in the order of "index"; the row goes to the table. */
static void insert_row(json_t *table, json_t *row)
{
    json_int_t index = json_integer_value(json_object_get(row, "index"));
    size_t at = 0;

    while (at < json_array_size(table) &&
           json_integer_value(json_object_get(json_array_get(table, at), "index")) <= index)
        at++;
    json_array_insert_new(table, at, row);
}

static int is_adapter(const struct dirent *e)
{
    return e->d_name[0] != '.';
}

static int show_adapters(const struct ctl *c, const char *mount)
{
    char path[PATH_MAX];
    struct dirent **names;
    json_t *all = json_object(), *table = json_array();
    int n, rc = 0;

    snprintf(path, sizeof(path), "%s/.l2fs/adapters", mount);
    n = scandir(path, &names, is_adapter, alphasort);
    if (n < 0)
        rc = ctl_fail("%s: %s", path, strerror(errno));
    for (int i = 0; i < n; i++) {
        json_t *adapter = read_adapter(mount, names[i]->d_name);

        if (adapter) {
            insert_row(table, summary_of(names[i]->d_name, adapter));
            json_object_set_new(all, names[i]->d_name, adapter);
        } else {
            rc = 1;
        }
        free(names[i]);
    }
    if (n >= 0)
        free(names);
    if (c->json && !rc) {
        json_dumpf(all, stdout, JSON_INDENT(2));
        putchar('\n');
    } else if (json_array_size(table)) {
        ctl_show_table(table);
    }
    json_decref(all);
    json_decref(table);
    return rc;
}

/* --- events --- */

static void print_event(const struct ctl *c, const char *line)
{
    if (c->json)
        fputs(line, stdout);
    else
        ctl_show_event(line);
    fflush(stdout);
}

static int follow(const struct ctl *c, int fd)
{
    char block[65536], line[65536];
    size_t len = 0;
    ssize_t n;

    while ((n = read(fd, block, sizeof(block))) > 0) {
        for (ssize_t i = 0; i < n; i++) {
            if (len + 2 < sizeof(line))
                line[len++] = block[i];
            if (block[i] == '\n') {
                line[len] = '\0';
                print_event(c, line);
                len = 0;
            }
        }
    }
    if (n < 0 && errno != EAGAIN)
        return ctl_fail("events: %s", strerror(errno));
    return 0;
}

static int show_events(const struct ctl *c, const char *mount)
{
    char path[PATH_MAX];
    int fd, rc;

    snprintf(path, sizeof(path), "%s/.l2fs/events", mount);
    fd = open(path, O_RDONLY | O_CLOEXEC | (c->once ? O_NONBLOCK : 0));
    if (fd < 0)
        return ctl_fail("%s: %s", path, strerror(errno));
    rc = follow(c, fd);
    close(fd);
    return rc;
}

/* --- commands --- */

static int show(const struct ctl *c, const char *what)
{
    char *mount = ctl_find_mount(c);
    int rc;

    if (!mount)
        return 1;
    if (!strcmp(what, "adapters"))
        rc = show_adapters(c, mount);
    else if (!strcmp(what, "metrics"))
        rc = show_metrics(c, mount);
    else if (!strcmp(what, "events"))
        rc = show_events(c, mount);
    else
        rc = show_file(c, mount, what);
    free(mount);
    return rc;
}

static int on_path(const struct ctl *c, const char *arg,
                   int (*fn)(const struct ctl *c, const char *path))
{
    char *path = ctl_path(c, arg);
    int rc = path ? fn(c, path) : 1;

    free(path);
    return rc;
}

static int pin(const struct ctl *c, int n, char *args[])
{
    const char *value = n > 1 ? args[1] : "soft";
    char *const paths[] = {args[0], NULL};

    if (n > 2 || (strcmp(value, "none") && strcmp(value, "soft") && strcmp(value, "hard") &&
                  strncmp(value, "soft=", 5))) {
        ctl_fail("pin: \"%s\" is not allowed, expected none, soft, soft=DURATION or hard",
                 n > 2 ? args[2] : value);
        return EXIT_WRONG_USE;
    }
    return ctl_set(c, "pin", value, paths);
}

static int wrong_use(const char *word, const char *what)
{
    ctl_fail("%s: %s", word, what);
    fputs("try l2fsctl -h\n", stderr);
    return EXIT_WRONG_USE;
}

/* `args` ends with NULL. */
static int run_command(const struct ctl *c, const char *command, int n, char *args[])
{
    static const char *const shows[] = {"status", "adapters", "config", "metrics", "events"};

    for (size_t i = 0; i < sizeof(shows) / sizeof(*shows); i++) {
        if (!strcmp(command, shows[i]))
            return n ? wrong_use(command, "takes no arguments") : show(c, command);
    }
    if (!strcmp(command, "ls") && n <= 1)
        return on_path(c, n ? args[0] : ".", ctl_ls);
    if (strcmp(command, "ls") && strcmp(command, "stat") && strcmp(command, "pin") &&
        strcmp(command, "evict") && strcmp(command, "warm"))
        return wrong_use(command, "no such command");
    if (n == 0)
        return wrong_use(command, "needs a path");
    if (!strcmp(command, "pin"))
        return pin(c, n, args);
    if (!strcmp(command, "evict"))
        return ctl_set(c, "evict", "1", args);
    if (!strcmp(command, "warm"))
        return ctl_set(c, "prefetch", "1", args);
    if (n > 1 || strcmp(command, "stat"))
        return wrong_use(command, "takes one path");
    return on_path(c, args[0], ctl_stat);
}

int main(int argc, char *argv[])
{
    static const struct option longs[] = {
        {"json", no_argument, NULL, LONG_JSON},  {"once", no_argument, NULL, LONG_ONCE},
        {"mount", required_argument, NULL, 'm'}, {"help", no_argument, NULL, 'h'},
        {"version", no_argument, NULL, 'V'},     {0},
    };
    struct ctl c = {0};
    int opt;

    while ((opt = getopt_long(argc, argv, "m:hV", longs, NULL)) != -1) {
        switch (opt) {
        case 'm': c.mount = optarg; break;
        case LONG_JSON: c.json = true; break;
        case LONG_ONCE: c.once = true; break;
        case 'h': fputs(usage, stdout); return 0;
        case 'V': puts("l2fsctl " PACKAGE_VERSION); return 0;
        default: fputs(usage, stderr); return EXIT_WRONG_USE;
        }
    }
    if (optind == argc)
        return wrong_use("usage", "a command is missing");
    return run_command(&c, argv[optind], argc - optind - 1, argv + optind + 1);
}
