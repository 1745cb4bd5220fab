/* bench_small.c - what engines do with many files at once: load a prefix, store a burst, look up
 * keys that are mostly missing, and load from L2 what has left memory.
 *
 * Sizes and calls are those of the engines: one whole-file call per file, O_DIRECT for loads, a
 * temporary name and a rename for stores. With --size and --threads one combination is run,
 * otherwise all of them.
 */
#include "bench_io.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>

#include "units.h"

#define NAME_LEN 64
#define SET_BYTES (384 * MIB)
#define SET_FILES UINT64_C(256)
#define LOOKUPS 20000
#define PRESENT 2000

static const uint64_t sizes[] = {64 * KIB, 1124352, 2 * MIB, 32 * MIB};
static const unsigned counts[] = {1, 16};

/* --- one combination of size and threads --- */

struct load {
    struct bench *b;
    const char *name;
    uint64_t size;
    unsigned files, threads;
};

static int make_row(struct row *row, const struct load *l)
{
    char name[sizeof(row->name)], size[32];
    int rc;

    if (l->size == 1124352)
        snprintf(size, sizeof(size), "1.07M");
    else
        units_format_size(l->size, size, sizeof(size));
    snprintf(name, sizeof(name), "%s-%s-%u", l->name, size, l->threads);
    rc = row_init(row, l->b, name);
    row->work = (double)l->size * l->files;
    row->items = (size_t)l->files * row->rounds;
    for (int i = 0; i < SIDES && !rc; i++) {
        row->item_ns[i] = calloc(row->items, sizeof(uint64_t));
        if (!row->item_ns[i])
            rc = bench_error("out of memory");
    }
    return rc;
}

static unsigned default_files(uint64_t size)
{
    return (unsigned)MAX(MIN(SET_BYTES / size, SET_FILES), UINT64_C(4));
}

/* Runs `one` for every combination that was asked for. */
static int combinations(struct bench *b, const char *name, int (*one)(struct load *l))
{
    int rc = 0;

    for (size_t i = 0; i < ARRAY_SIZE(sizes) && !rc; i++) {
        for (size_t k = 0; k < ARRAY_SIZE(counts) && !rc; k++) {
            struct load l = {.b = b,
                             .name = name,
                             .size = b->size ? b->size : sizes[i],
                             .threads = b->threads ? b->threads : counts[k]};

            if ((b->size && i) || (b->threads && k))
                continue;
            l.files = b->files ? b->files : default_files(l.size);
            rc = sides_describe(b, l.size * l.files);
            if (!rc)
                rc = one(&l);
        }
    }
    return rc;
}

/* Where the passes of a row run their threads; row->arg. */
struct stage {
    struct crew crew;
    uint64_t size;
    unsigned base; /* number of the first file of this pass */
};

static struct stage *stage_of(struct crew *c)
{
    return container_of(c, struct stage, crew);
}

static int run_stage(struct bench *b, struct side *s, struct row *row, int round, double *seconds)
{
    struct stage *stage = row->arg;

    stage->crew.side = s;
    stage->crew.item_ns = NULL;
    if (round >= 0 && row->items)
        stage->crew.item_ns = row->item_ns[s - b->sides] + (size_t)round * stage->crew.items;
    return crew_run(&stage->crew, seconds);
}

/* How one combination is measured. */
struct plan {
    int (*item)(struct crew *c, unsigned thread, unsigned i);
    bench_pass *pass;
    bool with_set; /* on files that are there before */
};

/* --- prefix-load: open, access, one read of the whole file, close --- */

static int load_item(struct crew *c, unsigned thread, unsigned i)
{
    AUTO_CLOSE int fd = -1;
    char name[NAME_LEN];
    ssize_t n;

    snprintf(name, sizeof(name), "prefix-%u", i);
    if (faccessat(c->side->dirfd, name, F_OK, 0))
        return side_failed(c->side, "access", name);
    fd = openat(c->side->dirfd, name, O_RDONLY | O_CLOEXEC | (c->side->direct ? O_DIRECT : 0));
    if (fd < 0)
        return side_failed(c->side, "open", name);
    n = read(fd, c->bufs[thread], (size_t)stage_of(c)->size);
    if (n == (ssize_t)stage_of(c)->size)
        return 0;
    errno = n < 0 ? errno : ENODATA;
    return side_failed(c->side, "read", name);
}

static int make_set(struct load *l)
{
    char path[PATH_MAX + NAME_LEN], name[NAME_LEN];
    int rc = 0;

    for (int side = 0; side < SIDES; side++) {
        struct side *s = &l->b->sides[side];

        for (unsigned i = 0; i < l->files && !rc; i++) {
            snprintf(name, sizeof(name), "prefix-%u", i);
            snprintf(path, sizeof(path), "%s/%s", s->dir, name);
            rc = key_write(path, l->size, "vllm");
        }
        for (unsigned i = 0; i < l->files && !rc; i++) {
            snprintf(name, sizeof(name), "prefix-%u", i);
            snprintf(path, sizeof(path), "%s/%s", s->dir, name);
            rc = side_settle(s, name);
            if (!rc)
                rc = key_verify(path);
        }
    }
    return rc;
}

static int remove_set(struct load *l)
{
    char name[NAME_LEN];
    int rc = 0;

    for (int side = 0; side < SIDES; side++) {
        for (unsigned i = 0; i < l->files && !rc; i++) {
            snprintf(name, sizeof(name), "prefix-%u", i);
            rc = side_remove(&l->b->sides[side], name);
        }
    }
    return rc;
}

static int measure_load(struct load *l, const struct plan *plan)
{
    struct stage stage = {.crew = {.item = plan->item, .threads = l->threads, .items = l->files},
                          .size = l->size};
    unsigned nbufs = MIN(l->threads, l->files);
    struct row row;
    int rc = make_row(&row, l);

    row.arg = &stage;
    stage.crew.bufs = crew_bufs(nbufs, (size_t)l->size);
    if (!rc && !stage.crew.bufs)
        rc = bench_error("out of memory");
    if (!rc && plan->with_set)
        rc = make_set(l);
    if (!rc)
        rc = row_measure(l->b, &row, plan->pass);
    if (!rc && plan->with_set) {
        side_check_resident(l->b, &l->b->sides[SIDE_MOUNT], "prefix-0");
        rc = remove_set(l);
    }
    crew_bufs_free(stage.crew.bufs, nbufs);
    row_fini(&row);
    return rc;
}

static int prefix_load(struct load *l)
{
    static const struct plan plan = {load_item, run_stage, true};

    return measure_load(l, &plan);
}

int bench_prefix_load(struct bench *b)
{
    return combinations(b, "load", prefix_load);
}

/* --- cold-load: the same of files that are in the tiers alone --- */

static int pass_cold(struct bench *b, struct side *s, struct row *row, int round, double *seconds)
{
    char path[PATH_MAX + NAME_LEN];

    struct stage *stage = row->arg;

    for (unsigned i = 0; i < stage->crew.items && s->l2fs; i++) {
        snprintf(path, sizeof(path), "%s/prefix-%u", s->dir, i);
        if (setxattr(path, "user.l2fs.evict", "1", 1, 0))
            return bench_error("cannot evict %s: %s", path, strerror(errno));
    }
    return run_stage(b, s, row, round, seconds);
}

static int cold_load(struct load *l)
{
    static const struct plan plan = {load_item, pass_cold, true};

    return measure_load(l, &plan);
}

int bench_cold_load(struct bench *b)
{
    if (!b->sides[SIDE_MOUNT].l2fs)
        return bench_error("cold-load needs an l2fs mount: only that can be told to evict");
    return combinations(b, "cold", cold_load);
}

/* --- store-burst: temporary name, one write, rename --- */

static void burst_name(char name[NAME_LEN], const char *suffix, unsigned i)
{
    snprintf(name, NAME_LEN, "burst-%u%s", i, suffix);
}

static int store_item(struct crew *c, unsigned thread, unsigned i)
{
    char temporary[NAME_LEN], final[NAME_LEN];
    ssize_t n;
    int fd;

    burst_name(temporary, ".tmp", stage_of(c)->base + i);
    burst_name(final, "", stage_of(c)->base + i);
    fd = openat(c->side->dirfd, temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (fd < 0)
        return side_failed(c->side, "create", temporary);
    n = write(fd, c->bufs[thread], (size_t)stage_of(c)->size);
    if (close(fd) || n != (ssize_t)stage_of(c)->size)
        return side_failed(c->side, "write", temporary);
    if (renameat(c->side->dirfd, temporary, c->side->dirfd, final))
        return side_failed(c->side, "rename", temporary);
    return 0;
}

static int pass_store(struct bench *b, struct side *s, struct row *row, int round, double *seconds)
{
    struct stage *stage = row->arg;
    char name[NAME_LEN];
    int rc;

    stage->base = b->serial;
    b->serial += stage->crew.items;
    rc = run_stage(b, s, row, round, seconds);
    for (unsigned i = 0; i < stage->crew.items && !rc; i++) {
        burst_name(name, "", stage->base + i);
        rc = side_settle(s, name);
    }
    for (unsigned i = 0; i < stage->crew.items && !rc; i++) {
        burst_name(name, "", stage->base + i);
        rc = side_remove(s, name);
    }
    return rc;
}

static int store_burst(struct load *l)
{
    static const struct plan plan = {store_item, pass_store, false};

    return measure_load(l, &plan);
}

int bench_store_burst(struct bench *b)
{
    return combinations(b, "store", store_burst);
}

/* --- lookup-storm: access(F_OK), nine of ten are not there --- */

static void key_name(char name[NAME_LEN], unsigned i)
{
    snprintf(name, NAME_LEN, "key-%08x", i);
}

static int create_key(struct side *s, unsigned i)
{
    char name[NAME_LEN];
    int fd;

    key_name(name, i);
    fd = openat(s->dirfd, name, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    if (fd < 0 || write(fd, name, NAME_LEN) != NAME_LEN || close(fd))
        return side_failed(s, "write", name);
    return 0;
}

static int lookup_item(struct crew *c, unsigned thread, unsigned i)
{
    bool present = i % (LOOKUPS / PRESENT) == 0;
    char name[NAME_LEN];

    key_name(name,
             present ? i : stage_of(c)->base + i); /* names that were never asked for are absent */
    if (!faccessat(c->side->dirfd, name, F_OK, 0) == present)
        return 0;
    return bench_error("%s/%s is %s", c->side->dir, name, present ? "missing" : "there");
}

static int pass_lookup(struct bench *b, struct side *s, struct row *row, int round, double *seconds)
{
    struct stage *stage = row->arg;

    stage->base = ++b->serial * LOOKUPS;
    return run_stage(b, s, row, round, seconds);
}

static int found_item(struct crew *c, unsigned thread, unsigned i)
{
    char name[NAME_LEN];

    key_name(name, stage_of(c)->base + i);
    if (!faccessat(c->side->dirfd, name, F_OK, 0))
        return 0;
    return bench_error("%s/%s is missing though another process stored it", c->side->dir, name);
}

/* Names that were looked for in vain are stored by another process: they must be found then. */
static int pass_found(struct bench *b, struct side *s, struct row *row, int round, double *seconds)
{
    struct stage *stage = row->arg;
    int status = 1;
    pid_t pid;

    stage->base = ++b->serial * LOOKUPS;
    for (unsigned i = 0; i < PRESENT; i++) {
        char name[NAME_LEN];

        key_name(name, stage->base + i);
        if (!faccessat(s->dirfd, name, F_OK, 0))
            return bench_error("%s/%s is there", s->dir, name);
    }
    pid = fork();
    if (!pid) {
        for (unsigned i = 0; i < PRESENT; i++) {
            if (create_key(s, stage->base + i))
                _exit(1);
        }
        _exit(0);
    }
    if (pid < 0 || waitpid(pid, &status, 0) != pid || status)
        return bench_error("the process that stores keys failed");
    return run_stage(b, s, row, round, seconds);
}

static int measure_lookup(struct bench *b, struct stage *stage, const char *name, bench_pass *pass)
{
    struct row row;
    int rc = row_init(&row, b, name);

    row.latency = true;
    row.work = stage->crew.items;
    row.arg = stage;
    if (!rc)
        rc = row_measure(b, &row, pass);
    row_fini(&row);
    return rc;
}

int bench_lookup_storm(struct bench *b)
{
    struct stage stage = {
        .crew = {.threads = b->threads ? b->threads : 16, .items = LOOKUPS, .item = lookup_item}};
    int rc = sides_describe(b, 64 * MIB);

    for (int i = 0; i < SIDES && !rc; i++) {
        for (unsigned k = 0; k < PRESENT && !rc; k++)
            rc = create_key(&b->sides[i], k * (LOOKUPS / PRESENT));
    }
    if (!rc)
        rc = measure_lookup(b, &stage, "lookup", pass_lookup);
    stage.crew.items = PRESENT;
    stage.crew.item = found_item;
    if (!rc)
        rc = measure_lookup(b, &stage, "lookup-stored", pass_found);
    return rc;
}
