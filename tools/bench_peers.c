/* bench_peers.c - l2bench --report: the same keys through what people use today: Redis on a unix socket, a plain
 * directory on the same disk, sshfs between two nodes; and what demo-pd measured of a push.
 */
#include "bench_report.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "bench_pd.h"
#include "bench_resp.h"
#include "clock.h"

struct peers {
    struct report *r;
    struct stage stage;
    struct resp redis;
};

static const uint64_t sizes[] = {64 * KIB, MIB, 16 * MIB, 64 * MIB};

static size_t size_count(const struct report *r)
{
    return r->quick ? 2 : ARRAY_SIZE(sizes);
}

/* At most 256 MiB of keys, and 64 of them. */
static unsigned items_of(const struct report *r, uint64_t size)
{
    uint64_t most = r->quick ? 4 * MIB : 256 * MIB;

    return (unsigned)MIN(MAX(most / size, UINT64_C(1)), UINT64_C(64));
}

static struct subject subject_of(const struct peers *p, const char *name, const char *other)
{
    return (struct subject){.section = 'e',
                            .name = name,
                            .what = p->stage.verb->what,
                            .other = other,
                            .size = p->stage.size,
                            .streams = 1,
                            .work = (double)p->stage.size * p->stage.crew.items};
}

/* --- Redis --- */

static int redis_each(struct peers *p, const char *prefix, unsigned base,
                      int (*one)(struct resp *c, const char *key, uint64_t size))
{
    char key[64];
    int rc = 0;

    for (unsigned i = 0; i < p->stage.crew.items && !rc; i++) {
        snprintf(key, sizeof(key), "%s-%u", prefix, base + i);
        rc = one(&p->redis, key, p->stage.size);
    }
    return rc;
}

static int redis_drop(struct resp *c, const char *key, uint64_t size)
{
    return resp_del(c, key);
}

static int pass_redis(struct bench *b, struct side *s, struct row *row, int round, double *seconds)
{
    struct peers *p = row->arg;
    struct row inner = {.arg = &p->stage};
    bool fresh = p->stage.verb->fresh;
    unsigned base = fresh ? b->serial : 0;
    uint64_t start;
    int rc;

    if (s == &b->sides[SIDE_MOUNT])
        return stage_pass(b, s, &inner, round, seconds);
    start = clock_now();
    rc = redis_each(p, fresh ? "new" : "read", base, fresh ? resp_set : resp_get);
    *seconds = (double)(clock_now() - start) / 1e9;
    return rc || !fresh ? rc : redis_each(p, "new", base, redis_drop);
}

static int redis_size(struct peers *p, uint64_t size)
{
    const struct verb *const verbs[] = {&verb_read, &verb_write};
    static const char *const names[] = {"redis-get", "redis-set"};
    static const char *const others[] = {"GET of Redis over a unix socket",
                                         "SET of a new key of Redis over a unix socket"};
    int rc = 0;

    for (size_t i = 0; i < ARRAY_SIZE(verbs) && !rc; i++) {
        struct subject subject;

        rc = stage_init(&p->stage, verbs[i], size, 1, items_of(p->r, size));
        subject = subject_of(p, names[i], others[i]);
        if (!rc && !i)
            rc = stage_fill(&p->stage, &p->r->b.sides[SIDE_MOUNT]);
        if (!rc && !i)
            rc = redis_each(p, "read", 0, resp_set);
        rc = rc ? rc : report_row(p->r, &subject, pass_redis, p);
        stage_fini(&p->stage);
    }
    rc = rc ? rc : stage_clear(&p->stage, &p->r->b.sides[SIDE_MOUNT]);
    return rc ? rc : redis_each(p, "read", 0, redis_drop);
}

static int redis_rows(struct peers *p)
{
    const struct subject subject = {.section = 'e', .name = "redis", .other = "Redis"};
    AUTO_FREE char *why = report_missing(p->r, "redis");
    AUTO_FREE char *path = report_path(p->r, "redis.sock");
    int rc;

    if (why || !path)
        return report_not_measured(p->r, &subject, why ? why : "out of memory");
    p->redis = (struct resp){.fd = -1, .buf = p->r->b.buf, .piece = p->r->b.piece};
    rc = resp_open(&p->redis, path);
    rc = rc ? rc : report_open(p->r, "redis", 1536 * MIB, "", "tmpfs");
    for (size_t i = 0; i < size_count(p->r) && !rc; i++)
        rc = redis_size(p, sizes[i]);
    if (p->redis.fd >= 0)
        close(p->redis.fd);
    return report_close(p->r, "redis") ? -1 : rc;
}

/* --- a plain directory --- */

static int directory_size(struct peers *p, uint64_t size)
{
    const struct verb *const verbs[] = {&verb_read, &verb_write};
    static const char *const names[] = {"directory-read", "directory-write"};
    struct bench *b = &p->r->b;
    int rc = 0;

    for (size_t i = 0; i < ARRAY_SIZE(verbs) && !rc; i++) {
        struct subject subject;

        rc = stage_init(&p->stage, verbs[i], size, 1, items_of(p->r, size));
        subject = subject_of(p, names[i], "a plain directory on the disk, in the page cache");
        for (int side = 0; side < SIDES && !i && !rc; side++)
            rc = stage_fill(&p->stage, &b->sides[side]);
        rc = rc ? rc : report_row(p->r, &subject, stage_pass, &p->stage);
        stage_fini(&p->stage);
    }
    for (int side = 0; side < SIDES && !rc; side++)
        rc = stage_clear(&p->stage, &b->sides[side]);
    return rc;
}

static int directory_rows(struct peers *p)
{
    int rc = report_open(p->r, "directory", 1536 * MIB, "", "disk");

    for (size_t i = 0; i < size_count(p->r) && !rc; i++)
        rc = directory_size(p, sizes[i]);
    return report_close(p->r, "directory") ? -1 : rc;
}

/* --- two nodes: pd and sshfs, both over lo --- */

struct nodes {
    struct report *r;
    struct stage stage;
    struct side write[SIDES], read[SIDES]; /* the pd mounts; shared/ and sshfs/ */
};

/* Written at one node, until all of it was read at the other. */
static int pass_nodes(struct bench *b, struct side *s, struct row *row, int round, double *seconds)
{
    struct nodes *n = row->arg;
    struct side *from = &n->write[s - b->sides], *to = &n->read[s - b->sides];
    struct io out = {.side = from, .buf = b->buf, .piece = b->piece, .size = n->stage.size};
    struct io in = {.side = to, .buf = b->buf, .piece = b->piece, .size = n->stage.size};
    uint64_t start = clock_now();
    unsigned base = b->serial;
    char name[32];
    int rc = 0;

    b->serial += n->stage.crew.items;
    for (unsigned i = 0; i < n->stage.crew.items && !rc; i++) {
        snprintf(name, sizeof(name), "new-%u", base + i);
        rc = io_write(&out, name);
    }
    for (unsigned i = 0; i < n->stage.crew.items && !rc; i++) {
        snprintf(name, sizeof(name), "new-%u", base + i);
        rc = side_settle(from, name);
        rc = rc ? rc : io_read(&in, name, 0);
    }
    *seconds = (double)(clock_now() - start) / 1e9;
    for (unsigned i = 0; i < n->stage.crew.items && !rc; i++) {
        snprintf(name, sizeof(name), "new-%u", base + i);
        rc = side_remove(from, name);
        if (!rc && s == &b->sides[SIDE_MOUNT])
            rc = side_remove(to, name);
    }
    return rc;
}

/* A directory of ours at both nodes: the key brings it to the other. */
static int open_node(struct report *r, struct side *s, const char *dir, bool l2fs)
{
    AUTO_FREE char *path = report_path(r, dir);

    if (!path || snprintf(s->dir, sizeof(s->dir), "%s/bench", path) >= (int)sizeof(s->dir))
        return bench_error("out of memory");
    if (mkdir(s->dir, 0755) && errno != EEXIST)
        return bench_error("%s: %s", s->dir, strerror(errno));
    s->l2fs = l2fs;
    s->label = dir;
    s->dirfd = open(s->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return s->dirfd < 0 ? bench_error("%s: %s", s->dir, strerror(errno)) : 0;
}

static void close_node(struct side *s)
{
    if (s->dirfd >= 0)
        close(s->dirfd);
}

static int mount_nodes(struct report *r)
{
    int alloc = perftest_free_port(), init = perftest_free_port(), rc;
    char from[96], to[96];

    snprintf(to, sizeof(to), "pd-recv://127.0.0.1:%d,%d,buffer_size=512M", alloc, init);
    snprintf(from, sizeof(from), "pd-send://127.0.0.1:%d,%d", alloc, init);
    rc = report_mount(r, to, "decode", GIB, "");
    return rc ? rc : report_mount(r, from, "prefill", GIB, "drain_timeout=5s");
}

static int nodes_rows(struct nodes *n)
{
    static const uint64_t keys[] = {MIB, 16 * MIB};
    int rc = open_node(n->r, &n->write[SIDE_MOUNT], "prefill", true);

    rc = rc ? rc : open_node(n->r, &n->read[SIDE_MOUNT], "decode", true);
    rc = rc ? rc : open_node(n->r, &n->write[SIDE_TMPFS], "shared", false);
    rc = rc ? rc : open_node(n->r, &n->read[SIDE_TMPFS], "sshfs", false);
    for (size_t i = 0; i < (n->r->quick ? 1 : ARRAY_SIZE(keys)) && !rc; i++) {
        struct subject subject = {
            .section = 'e',
            .name = "two-nodes",
            .what = "written on a prefill mount, pushed, read on the decode mount, over lo",
            .other = "written into a tmpfs directory, read through sshfs, over lo",
            .size = keys[i],
            .streams = 1};

        n->stage.size = keys[i];
        n->stage.crew.items = (unsigned)((n->r->quick ? 4 * MIB : 128 * MIB) / keys[i]);
        subject.work = (double)keys[i] * n->stage.crew.items;
        rc = report_row(n->r, &subject, pass_nodes, n);
    }
    return rc;
}

static int two_nodes(struct report *r)
{
    const struct subject subject = {.section = 'e', .name = "two-nodes", .other = "sshfs"};
    struct nodes n = {.r = r};
    AUTO_FREE char *no_sshfs = report_missing(r, "sshfs"), *no_pd = report_missing(r, "pd");
    int rc;

    if (no_sshfs || no_pd)
        return report_not_measured(r, &subject, no_sshfs ? no_sshfs : no_pd);
    for (int i = 0; i < SIDES; i++)
        n.write[i].dirfd = n.read[i].dirfd = -1;
    rc = mount_nodes(r);
    rc = rc ? rc : nodes_rows(&n);
    for (int i = 0; i < SIDES; i++) {
        close_node(&n.write[i]);
        close_node(&n.read[i]);
    }
    rc = report_unmount(r, "prefill") ? -1 : rc;
    return report_unmount(r, "decode") ? -1 : rc;
}

int report_peers(struct report *r)
{
    struct peers p = {.r = r};
    int rc;

    r->b.rounds = report_rounds(r, 9);
    rc = redis_rows(&p);
    rc = rc ? rc : directory_rows(&p);
    return rc ? rc : two_nodes(r);
}

/* --- what demo-pd measured --- */

static double number(json_t *row, const char *name)
{
    return json_number_value(json_object_get(row, name));
}

int report_push(struct report *r)
{
    const struct subject subject = {
        .section = 'd', .name = "push", .other = "ucx_perftest -t tag_bw"};
    AUTO_FREE char *path = report_path(r, "pd.json"), *why = report_missing(r, "pd-bench");
    json_t *all = path && !why ? json_load_file(path, 0, NULL) : NULL, *row;
    size_t i;

    if (!all)
        return report_not_measured(r, &subject,
                                   why ? why : "tools/demo-pd --bench gave no figures");
    json_array_foreach(json_object_get(all, "rows"), i, row)
    {
        json_t *text = json_object_get(row, "name");

        json_array_append_new(
            r->rows,
            json_pack("{s:s, s:O, s:s, s:s, s:s, s:f, s:f, s:f, s:f, s:f, s:I}", "section", "d",
                      "name", text, "what",
                      "written on a prefill mount until readable on a decode mount", "other",
                      "ucx_perftest -t tag_bw between the same nodes", "unit", "GB/s", "l2fs",
                      number(row, "mounts"), "beside", number(row, "ucx_perftest"), "ratio",
                      number(row, "ratio"), "ratio_low", number(row, "ratio_low"), "ratio_high",
                      number(row, "ratio_high"), "pairs",
                      json_integer_value(json_object_get(all, "rounds"))));
    }
    json_decref(all);
    return 0;
}
