/* test_store_storm.c - random operations on a few keys over tiers that fail, delay and hang. In the end
 * L2 must hold exactly the tree: whatever was stored late or twice, no older version is left over a
 * newer one, and nothing that was removed comes back.
 */
#include "config.h"

#include <fcntl.h>
#include <stdio.h>

#include "clock.h"
#include "log.h"
#include "suite.h"
#include "vfsrig.h"

#define KEYS 12
#define LEN_MAX 60000
#define FS "{\"type\":\"fs\",\"base_path\":\"@DIR@\"}"
#define MOCK "{\"type\":\"mock\",\"max_size_gb\":1,\"mock_bandwidth_gb\":1000}"
#define TROUBLE                                                                                    \
    "{\"op\":\"store\",\"rate\":0.1,\"action\":\"fail\",\"errno\":\"EIO\"},"                       \
    "{\"op\":\"store\",\"rate\":0.1,\"action\":\"refuse\",\"errno\":\"ENOMEM\"},"                  \
    "{\"op\":\"store\",\"rate\":0.2,\"action\":\"delay\",\"delay\":\"20ms\"},"                     \
    "{\"op\":\"store\",\"rate\":0.2,\"action\":\"reorder\",\"delay\":\"10ms\"}"
#define HANGS "{\"op\":\"store\",\"after\":20,\"count\":6,\"rate\":0.1,\"action\":\"never\"},"

static struct vfsrig r;
static char release[64];

struct model {
    bool there;
    size_t len;
    unsigned seed;
};
static struct model model[KEYS];
static size_t timeouts; /* changes of names that did not wait longer for L2 */

static void name_of(int key, char name[16])
{
    snprintf(name, 16, "%s%d", key % 3 ? "d/k" : "k", key);
}

/* False: refused, nothing has changed. */
static bool note(int err)
{
    ck_assert_msg(!err || err == -ETIMEDOUT || err == -EBUSY, "%s", strerror(-err));
    timeouts += err == -ETIMEDOUT;
    return err != -EBUSY;
}

static void step_put(int key, unsigned n)
{
    size_t len = (size_t)rand() % LEN_MAX;
    char name[16];

    name_of(key, name);
    ck_assert_int_eq(vfsrig_put(&r, name, len, n), 0);
    model[key] = (struct model){true, len, n};
}

static void step_unlink(int key)
{
    char name[16];

    name_of(key, name);
    if (!model[key].there)
        return;
    if (note(vfsrig_unlink(&r, name)))
        model[key].there = false;
}

static void step_rename(int from, int to)
{
    char a[16], b[16];

    if (!model[from].there || from == to)
        return;
    name_of(from, a);
    name_of(to, b);
    if (!note(vfsrig_rename(&r, a, b)))
        return;
    model[to] = model[from];
    model[from].there = false;
}

static void step_read(int key)
{
    char name[16];

    name_of(key, name);
    ck_assert_int_eq(vfsrig_check(&r, name, model[key].len, model[key].seed),
                     model[key].there ? 0 : -ENOENT);
}

static void step_evict(int key)
{
    char name[16];
    struct inode *inode;

    name_of(key, name);
    inode = vfsrig_find(&r, name);
    LOCKED_SCOPE(&r.fs->ns->lock);
    if (inode && inode->object)
        evict_one_locked(r.fs, inode->object, CAUSE_ASKED);
}

static void step_sync(int key)
{
    char name[16];

    name_of(key, name);
    if (model[key].there)
        vfsrig_fsync(&r, name); /* may say EIO: tiers fail */
}

static void storm(unsigned steps)
{
    for (unsigned n = 1; n <= steps; n++) {
        int key = rand() % KEYS;

        switch (rand() % 10) {
        case 0:
        case 1:
        case 2:
        case 3: step_put(key, n); break;
        case 4: step_unlink(key); break;
        case 5: step_rename(key, rand() % KEYS); break;
        case 6: step_evict(key); break;
        case 7: step_sync(key); break;
        default: step_read(key); break;
        }
    }
}

static void begin(const char *rules, int seed)
{
    struct text spec = {0};

    srand((unsigned)seed + 11);
    snprintf(release, sizeof(release), "/dev/shm/l2fs-storm-%d", (int)getpid());
    unlink(release);
    text_printf(&spec,
                "[{\"type\":\"fault\",\"inner\":" FS
                ",\"seed\":%d,\"release\":\"%s\",\"rules\":[%s]},"
                "{\"type\":\"fault\",\"inner\":" MOCK ",\"seed\":%d,\"rules\":[" TROUBLE "]}]",
                seed, release, rules, seed + 100);
    vfsrig_init(&r, spec.data);
    text_fini(&spec);
    r.cfg.store_retries = 0;
    r.cfg.drain_timeout = 40 * NSEC_PER_SEC;
}

/* Again without the trouble, and without what L1 held. */
static void begin_again(void)
{
    struct text spec = {0};

    vfsrig_stop(&r);
    text_printf(&spec, "[{\"type\":\"fs\",\"base_path\":\"%s/data\"}]", r.dir);
    json_decref(r.cfg.l2);
    r.cfg.l2 = json_loads(spec.data, 0, NULL);
    ck_assert_ptr_nonnull(r.cfg.l2);
    text_fini(&spec);
    vfsrig_start(&r);
    ck_assert_uint_eq(r.fs->adopted, 0);
}

START_TEST(l2_holds_the_tree_when_tiers_fail)
{
    begin(TROUBLE, _i);
    vfsrig_start(&r);
    ck_assert_int_eq(vfsrig_mkdir(&r, "d"), 0);
    storm(400);
    vfsrig_wait_stored(&r);
    ck_assert_uint_eq(timeouts, 0);
    begin_again();
    for (int i = 0; i < KEYS; i++)
        step_read(i);
    vfsrig_fini(&r);
}
END_TEST

/* A tier that hung may have been given up for a key that the other one has: then only that one does. */
static bool is_in_first_tier(int key)
{
    struct inode *inode;
    char name[16];

    name_of(key, name);
    inode = vfsrig_find(&r, name);
    ck_assert_ptr_nonnull(inode);
    LOCKED_SCOPE(&r.fs->ns->lock);
    ck_assert_uint_ne(inode->tiers, 0);
    return inode->tiers & 1;
}

START_TEST(l2_holds_the_newest_when_tiers_hang)
{
    bool in_first[KEYS] = {false};
    int fd;

    begin(HANGS TROUBLE, _i);
    r.cfg.store_timeout = 200 * NSEC_PER_MSEC;
    vfsrig_start(&r);
    ck_assert_int_eq(vfsrig_mkdir(&r, "d"), 0);
    storm(400);
    fd = open(release, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    ck_assert_int_ge(fd, 0);
    close(fd);
    vfsrig_wait_stored(&r);
    for (int i = 0; i < KEYS; i++) /* the tiers where it was given up meanwhile */
        step_sync(i);
    vfsrig_wait_stored(&r);
    for (int i = 0; i < KEYS; i++)
        in_first[i] = model[i].there && is_in_first_tier(i);
    begin_again();
    for (int i = 0; i < KEYS; i++)
        if (in_first[i] || (!model[i].there && !timeouts)) /* else L2 may have kept an old name */
            step_read(i);
    vfsrig_fini(&r);
    unlink(release);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("store_storm");

    log_set_level(LOG_LEVEL_ERROR);
    suite_add_loop(s, "storm",
                   TESTS(l2_holds_the_tree_when_tiers_fail, l2_holds_the_newest_when_tiers_hang),
                   2);
    return suite_run(s);
}
