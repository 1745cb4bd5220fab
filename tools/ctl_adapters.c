/* ctl_adapters.c - the tiers of a mount, its counters, and the benchmark beside it.
 *
 * Single-threaded.
 */
#include "ctl.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* --- adapters --- */

static double number_of(json_t *object, const char *name)
{
    return json_number_value(json_object_get(object, name));
}

static void move(json_t *row, const char *as, json_t *from, const char *name)
{
    json_t *v = json_object_get(from, name);

    if (v)
        json_object_set(row, as, v);
}

/* "ok", or what it is at: draining, not healthy. The sentences are in the status. */
static const char *word_of(json_t *tier)
{
    const char *state = json_string_value(json_object_get(tier, "state"));

    if (state && strcmp(state, "active"))
        return state;
    return json_is_true(json_object_get(tier, "is_healthy")) ? "ok" : "NOT HEALTHY";
}

static double tasks_of(json_t *tier, const char *kind, const char *what)
{
    json_t *tasks = json_object_get(json_object_get(tier, "tasks"), kind);

    return number_of(tasks, what);
}

json_t *ctl_tier_row(json_t *tier)
{
    json_t *row = json_object(), *usage = json_object_get(tier, "usage");
    double used = number_of(usage, "used_bytes"), capacity = number_of(usage, "capacity_bytes");
    double failed = tasks_of(tier, "store", "failed") + tasks_of(tier, "load", "failed");
    char bar[16] = "-";

    if (capacity > 0)
        ctl_bar(used / capacity, number_of(tier, "watermark"), 10, bar, sizeof(bar));
    move(row, "name", tier, "name");
    move(row, "type", tier, "type");
    json_object_set_new(row, "health", json_string(word_of(tier)));
    move(row, "used", usage, "used_bytes");
    json_object_set_new(row, "capacity",
                        capacity > 0 ? json_integer((json_int_t)capacity) : json_string("-"));
    json_object_set_new(row, "full", json_string(bar));
    move(row, "objects", usage, "objects");
    move(row, "locked", usage, "locked");
    json_object_set_new(row, "stores",
                        json_integer((json_int_t)tasks_of(tier, "store", "completed")));
    json_object_set_new(row, "loads",
                        json_integer((json_int_t)tasks_of(tier, "load", "completed")));
    json_object_set_new(row, "failed", json_integer((json_int_t)failed));
    return row;
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

static int is_adapter(const struct dirent *e)
{
    return e->d_name[0] != '.';
}

json_t *ctl_read_adapters(const char *mount)
{
    char path[PATH_MAX];
    struct dirent **names;
    json_t *all = json_object();
    int n;

    snprintf(path, sizeof(path), "%s/.l2fs/adapters", mount);
    n = scandir(path, &names, is_adapter, alphasort);
    if (n < 0) {
        ctl_complain(path, errno);
        json_decref(all);
        return NULL;
    }
    for (int i = 0; i < n; i++) {
        json_t *adapter = read_adapter(mount, names[i]->d_name);

        if (adapter) /* else it was removed meanwhile, said */
            json_object_set_new(all, names[i]->d_name, adapter);
        free(names[i]);
    }
    free(names);
    return all;
}

/* In the order in which they are asked; the row goes to the table. */
static void insert_row(json_t *table, json_t *row)
{
    double index = number_of(row, "index");
    size_t at = 0;

    while (at < json_array_size(table) && number_of(json_array_get(table, at), "index") <= index)
        at++;
    json_array_insert_new(table, at, row);
}

static void show_adapters(json_t *all)
{
    json_t *table = json_array(), *adapter;
    const char *name;

    json_object_foreach(all, name, adapter)
    {
        json_t *row = ctl_tier_row(adapter);

        move(row, "index", adapter, "index");
        insert_row(table, row);
    }
    if (json_array_size(table))
        ctl_show_table(stdout, table);
    json_object_foreach(all, name, adapter)
    {
        json_t *health = json_object_get(adapter, "health");

        if (health) {
            printf("%s: ", name);
            ctl_put_value(stdout, "", health);
            putchar('\n');
        }
    }
    if (!json_object_size(all))
        puts("no tiers: objects are in memory only");
    json_decref(table);
}

int ctl_show_adapters(const struct ctl *c, const char *mount)
{
    json_t *all = ctl_read_adapters(mount);

    if (!all)
        return CTL_MISSING;
    if (c->json) {
        ctl_print_json(all);
        return CTL_OK;
    }
    show_adapters(all);
    json_decref(all);
    return CTL_OK;
}

/* --- metrics --- */

int ctl_metrics(const struct ctl *c, int n, char *args[])
{
    char *mount = ctl_find_mount(c), *save = NULL;
    char *text = mount ? ctl_read(mount, "metrics") : NULL;

    free(mount);
    if (!text)
        return CTL_MISSING;
    if (c->json)
        fputs(text, stdout);
    else
        for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
            if (*line != '#')
                puts(line);
    free(text);
    return CTL_OK;
}

/* --- bench --- */

/* l2bench lies beside l2fsctl, or in PATH. */
static void exec_bench(const char *const *words)
{
    char *const *argv = (char *const *)words; /* execv changes nothing */
    char path[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - sizeof("l2bench"));
    char *slash;

    path[MAX(n, 0)] = '\0';
    slash = strrchr(path, '/');
    if (slash) {
        strcpy(slash + 1, "l2bench");
        execv(path, argv);
    }
    execvp("l2bench", argv);
}

int ctl_bench(const struct ctl *c, int n, char *args[])
{
    char *mount = ctl_find_mount(c);
    const char **argv = calloc((size_t)n + 6, sizeof(*argv));
    int at = 0, rc;

    if (!mount || !argv) {
        rc = mount ? ctl_fail("out of memory") : CTL_MISSING;
        free(argv);
        free(mount);
        return rc;
    }
    argv[at++] = "l2bench";
    argv[at++] = mount;
    argv[at++] = "--rounds=5"; /* what follows counts */
    if (c->json)
        argv[at++] = "--json";
    memcpy(argv + at, args, (size_t)n * sizeof(*argv));
    fflush(stdout);
    exec_bench(argv);
    rc = ctl_fail("l2bench: %s", strerror(errno));
    free(argv);
    free(mount);
    return rc;
}
