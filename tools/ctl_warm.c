/* ctl_warm.c - loads keys into memory and says of each how that went.
 *
 * Thread model: IN_FLIGHT threads take the next key of the list in turn, open it, which waits until
 * the daemon has it in memory, and close it. The main thread shows progress and minds the deadline;
 * when that passes it ends the process, and with it the opens that still wait.
 */
#include "ctl.h"

#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "clock.h"
#include "lock.h"

#define IN_FLIGHT 32
#define BAR 40
#define REDRAW_NS (100 * NSEC_PER_MSEC)

enum outcome { WAITING, LOADED, THERE, WRITTEN, FAILED, MISSING, LATE, SKIPPED };

static const char *const outcome_names[] = {
    [WAITING] = "not begun",   [LOADED] = "loaded",
    [THERE] = "was in memory", [WRITTEN] = "is being written",
    [FAILED] = "failed",       [MISSING] = "no such key",
    [LATE] = "not in time",    [SKIPPED] = "left out, behind one that is missing",
};

struct key {
    char *path;
    uint64_t size;
    enum outcome outcome; /* warm.mutex */
    char error[96];       /* the taker's until outcome is set */
};

struct warm {
    const struct ctl *c;
    struct key *keys;
    size_t n, room;
    pthread_mutex_t mutex;
    pthread_cond_t ended;       /* with mutex */
    size_t next, done;          /* mutex */
    size_t stop_at;             /* mutex; --prefix: keys from here on are not wanted */
    size_t counts[SKIPPED + 1]; /* mutex */
    uint64_t bytes;             /* mutex; loaded */
};

/* --- the list --- */

/* Takes the path. */
static int add_key(struct warm *w, char *path, uint64_t size)
{
    if (w->n == w->room) {
        size_t room = w->room ? w->room * 2 : 256;
        struct key *keys = reallocarray(w->keys, room, sizeof(*keys));

        if (!keys) {
            free(path);
            return ctl_fail("out of memory");
        }
        w->keys = keys;
        w->room = room;
    }
    w->keys[w->n++] = (struct key){.path = path, .size = size};
    return CTL_OK;
}

static int by_name(const FTSENT **a, const FTSENT **b)
{
    return strcmp((*a)->fts_name, (*b)->fts_name);
}

static int add_directory(struct warm *w, char *dir)
{
    char *const roots[] = {dir, NULL};
    FTS *fts = fts_open(roots, FTS_PHYSICAL | FTS_NOCHDIR, by_name);
    int rc = fts ? CTL_OK : ctl_complain(dir, errno);
    FTSENT *e;

    while (fts && (e = fts_read(fts))) {
        char *path;

        if (e->fts_info == FTS_ERR || e->fts_info == FTS_DNR)
            rc = ctl_worse(rc, ctl_complain(e->fts_path, e->fts_errno));
        if (e->fts_info != FTS_F)
            continue;
        path = strdup(e->fts_path);
        rc = ctl_worse(rc, path ? add_key(w, path, (uint64_t)e->fts_statp->st_size)
                                : ctl_fail("out of memory"));
    }
    if (fts)
        fts_close(fts);
    free(dir);
    return rc;
}

/* Keys that are not there are in the list too: what became of them is told in its place. */
static int add_path(struct warm *w, const char *arg)
{
    char *path = ctl_path(w->c, arg);
    struct stat st;

    if (!path)
        return CTL_FAILED;
    if (lstat(path, &st)) {
        if (w->c->prefix)
            w->stop_at = MIN(w->stop_at, w->n + 1);
        return add_key(w, path, 0);
    }
    if (ctl_check(path)) {
        free(path);
        return CTL_MISSING;
    }
    return S_ISDIR(st.st_mode) ? add_directory(w, path) : add_key(w, path, (uint64_t)st.st_size);
}

static int add_list(struct warm *w)
{
    const struct ctl *c = w->c;
    FILE *f = strcmp(c->from, "-") ? fopen(c->from, "re") : stdin;
    int rc = CTL_OK;
    char *line = NULL;
    size_t room = 0;
    ssize_t n;

    if (!f)
        return ctl_fail("%s: %s", c->from, strerror(errno));
    while ((n = getline(&line, &room, f)) > 0) {
        if (line[n - 1] == '\n')
            line[--n] = '\0';
        if (n)
            rc = ctl_worse(rc, add_path(w, line));
    }
    if (ferror(f))
        rc = ctl_fail("%s: %s", c->from, strerror(errno));
    free(line);
    if (f != stdin)
        fclose(f);
    return rc;
}

/* --- one key --- */

static bool has_state(const char *path, const char *state)
{
    char buf[32] = "";

    return lgetxattr(path, CTL_PREFIX "state", buf, sizeof(buf) - 1) > 0 && !strcmp(buf, state);
}

static enum outcome failure(struct key *k, int error)
{
    struct stat st;
    ssize_t n;

    if (error == ENOENT && lstat(k->path, &st))
        return MISSING;
    n = lgetxattr(k->path, CTL_PREFIX "error", k->error, sizeof(k->error) - 1);
    if (n <= 0)
        snprintf(k->error, sizeof(k->error), "%s", strerror(error));
    return FAILED;
}

static enum outcome warm_one(struct key *k)
{
    int fd;

    if (has_state(k->path, "resident") || has_state(k->path, "disk"))
        return THERE;
    if (has_state(k->path, "writing"))
        return WRITTEN;
    fd = open(k->path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return failure(k, errno);
    close(fd);
    return LOADED;
}

static void settle_locked(struct warm *w, size_t i, enum outcome outcome)
{
    struct key *k = &w->keys[i];

    k->outcome = outcome;
    w->counts[outcome]++;
    w->done++;
    if (outcome == LOADED)
        w->bytes += k->size;
    if (w->c->prefix && outcome >= WRITTEN && outcome <= MISSING)
        w->stop_at = MIN(w->stop_at, i + 1);
    pthread_cond_signal(&w->ended);
}

static void *work(void *arg)
{
    struct warm *w = arg;

    LOCKED_SCOPE(&w->mutex);
    while (w->next < w->n) {
        size_t i = w->next++;
        enum outcome outcome = SKIPPED;

        if (i < w->stop_at) {
            unlock(&w->mutex);
            outcome = warm_one(&w->keys[i]);
            lock(&w->mutex);
        }
        settle_locked(w, i, outcome);
    }
    return NULL;
}

/* --- all --- */

static void draw(const struct warm *w)
{
    char bar[BAR + 3], size[16];

    fprintf(stderr, "\r%s %zu of %zu, %s\033[K",
            ctl_bar((double)w->done / (double)w->n, 0, BAR, bar, sizeof(bar)), w->done, w->n,
            ctl_size((double)w->bytes, size, sizeof(size)));
}

/* Until all are done, or until the deadline. */
static void attend(struct warm *w, uint64_t deadline)
{
    bool terminal = isatty(STDERR_FILENO);

    LOCKED_SCOPE(&w->mutex);
    while (w->done < w->n && clock_now() < deadline) {
        if (terminal)
            draw(w);
        cond_wait_until(&w->ended, &w->mutex,
                        terminal ? MIN(deadline, clock_deadline(REDRAW_NS)) : deadline);
    }
    w->stop_at = 0;
    if (terminal)
        fputs("\r\033[K", stderr);
}

static json_t *key_json(const struct warm *w, const struct key *k)
{
    json_t *row = json_object(), *path = json_string(ctl_shown(w->c, k->path));

    json_object_set_new(row, "path", path ? path : json_string("(not UTF-8)"));
    json_object_set_new(row, "outcome", json_string(outcome_names[k->outcome]));
    json_object_set_new(row, "size", json_integer((json_int_t)k->size));
    if (k->outcome == FAILED)
        json_object_set_new(row, "error", json_string(k->error));
    return row;
}

static void report_key(const struct warm *w, const struct key *k)
{
    const char *path = ctl_shown(w->c, k->path);
    char size[16];

    if (k->outcome == FAILED)
        printf("%s: failed: %s\n", path, k->error);
    else if (k->outcome == LOADED)
        printf("%s: loaded %s\n", path, ctl_size((double)k->size, size, sizeof(size)));
    else
        printf("%s: %s\n", path, outcome_names[k->outcome]);
}

static void report_counts(const struct warm *w, double seconds)
{
    char size[16], rate[16];

    printf("%zu loaded (%s in %.1f s, %s/s), %zu were in memory", w->counts[LOADED],
           ctl_size((double)w->bytes, size, sizeof(size)), seconds,
           ctl_size(ctl_rate(0, (double)w->bytes, seconds), rate, sizeof(rate)), w->counts[THERE]);
    for (int i = WRITTEN; i <= SKIPPED; i++)
        if (w->counts[i])
            printf(", %zu %s", w->counts[i], outcome_names[i]);
    putchar('\n');
}

/* The workers may still wait, but change nothing any more: the mutex is held for good. */
static int report(struct warm *w, double seconds)
{
    json_t *rows = json_array();

    lock(&w->mutex);
    for (size_t i = 0; i < w->n; i++) {
        struct key *k = &w->keys[i];

        if (k->outcome == WAITING) {
            k->outcome = LATE;
            w->counts[LATE]++;
        }
        if (w->c->json)
            json_array_append_new(rows, key_json(w, k));
        else
            report_key(w, k);
    }
    if (w->c->json)
        ctl_print_json(json_incref(rows));
    else
        report_counts(w, seconds);
    json_decref(rows);
    if (w->counts[FAILED] || w->counts[LATE] || w->counts[WRITTEN])
        return CTL_FAILED;
    return w->counts[MISSING] && !w->c->prefix ? CTL_MISSING : CTL_OK;
}

static int run(struct warm *w)
{
    uint64_t begin = clock_now();
    uint64_t deadline = w->c->timeout ? clock_deadline(w->c->timeout) : UINT64_MAX;
    size_t threads = MIN(w->n, (size_t)IN_FLIGHT), started = 0;
    pthread_t thread;

    while (started < threads && !pthread_create(&thread, NULL, work, w)) {
        pthread_detach(thread);
        started++;
    }
    if (w->n && !started)
        return ctl_fail("no thread could be made");
    attend(w, deadline);
    return report(w, (double)(clock_now() - begin) / NSEC_PER_SEC);
}

int ctl_warm(const struct ctl *c, int n, char *args[])
{
    struct warm w = {.c = c, .stop_at = SIZE_MAX};
    int rc = CTL_OK;

    if (!n && !c->from) {
        ctl_fail("warm: needs a PATH or --from");
        return CTL_USAGE;
    }
    lock_init(&w.mutex);
    cond_init(&w.ended);
    for (int i = 0; i < n; i++)
        rc = ctl_worse(rc, add_path(&w, args[i]));
    if (c->from)
        rc = ctl_worse(rc, add_list(&w));
    rc = ctl_worse(rc, run(&w));
    if (fflush(stdout))
        rc = ctl_fail("stdout: %s", strerror(errno));
    _exit(rc); /* opens that still wait end with the process */
}
