/* test_store.c - stores of a whole instance: which tiers get what, what failures lead to, and what
 * the policies do with L1.
 */
#include "config.h"

#include <fcntl.h>
#include <stdio.h>

#include "clock.h"
#include "log.h"
#include "status.h"
#include "suite.h"
#include "vfsrig.h"

#define MOCK "{\"type\":\"mock\",\"max_size_gb\":1,\"mock_bandwidth_gb\":1000}"
#define SLOW_MOCK "{\"type\":\"mock\",\"max_size_gb\":1,\"mock_bandwidth_gb\":0.01}"
#define FAULT(rules)                                                                               \
    "{\"type\":\"fault\",\"inner\":" MOCK ",\"release\":\"@\",\"rules\":[" rules "]}"
#define FAILS FAULT("{\"op\":\"store\",\"action\":\"fail\",\"errno\":\"EIO\"}")
#define FAILS_ONCE FAULT("{\"op\":\"store\",\"action\":\"fail\",\"errno\":\"EIO\",\"count\":1}")
#define NEVER FAULT("{\"op\":\"store\",\"action\":\"never\"}")
#define WAIT_MS 30000
#define SOON (2 * NSEC_PER_SEC) /* tiers that answer do so earlier on a busy machine, too */
#define LONGER (17 * MIB)       /* bytes that a tier is given a second more for */

static struct vfsrig r;
static char release[64];

/* --- the rig --- */

static void init(const char *tiers)
{
    struct text spec = {0};

    snprintf(release, sizeof(release), "/dev/shm/l2fs-store-release-%d", (int)getpid());
    unlink(release);
    for (; *tiers; tiers++)
        *tiers == '@' ? text_puts(&spec, release) : text_append(&spec, tiers, 1);
    vfsrig_init(&r, spec.data);
    text_fini(&spec);
}

static void begin(const char *tiers)
{
    init(tiers);
    vfsrig_start(&r);
}

static void end(void)
{
    vfsrig_fini(&r);
    unlink(release);
}

static void let_go(void)
{
    int fd = open(release, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);

    ck_assert_int_ge(fd, 0);
    close(fd);
}

static const char *attr(const char *path, const char *name)
{
    static char buf[1024];
    ssize_t n = vfs_getxattr(r.fs, vfsrig_find(&r, path), name, buf, sizeof(buf) - 1);

    buf[MAX(n, 0)] = '\0';
    return buf;
}

static void retry(const char *path)
{
    ck_assert_int_eq(vfs_setxattr(r.fs, *path ? vfsrig_find(&r, path) : vfs_root(r.fs),
                                  "user.l2fs.retry", "1", 1, 0),
                     0);
}

static bool attr_is(const void *path, const char *value)
{
    return strcmp(attr(path, "user.l2fs.store"), value) == 0;
}

static bool state_is(const void *path, int state)
{
    return (int)vfsrig_state(&r, path) == state;
}

#define UNTIL(condition)                                                                           \
    do {                                                                                           \
        uint64_t limit = clock_deadline(WAIT_MS * NSEC_PER_MSEC);                                  \
        while (!(condition)) {                                                                     \
            ck_assert_msg(clock_now() < limit, "%s never came true", #condition);                  \
            usleep(2000);                                                                          \
        }                                                                                          \
    } while (0)

static int64_t submitted(const char *tier)
{
    char labels[64];

    snprintf(labels, sizeof(labels), "adapter=\"%s\",op=\"store\"", tier);
    return metric_value(metrics_counter(r.fs->metrics, "l2fs_tier_submitted", "", labels));
}

static uint64_t objects(size_t tier)
{
    struct l2_usage u;

    tier_usage(r.fs->tiers.tier[tier], &u);
    return u.objects;
}

static struct stores stores(void)
{
    LOCKED_SCOPE(&r.fs->ns->lock);
    return r.fs->stores;
}

static uint64_t used(void)
{
    uint64_t bytes, size;

    staging_space(r.fs->staging, &bytes, &size);
    return bytes;
}

static bool no_locks(const char *path)
{
    return strstr(attr(path, "user.l2fs.lock"), "\"l2\":{},\"storing\":[]") != NULL;
}

/* --- the controller's behaviours --- */

START_TEST(publication_stores)
{
    begin("[" MOCK "]");
    ck_assert_int_eq(vfsrig_put(&r, "k", 1000, 1), 0);
    UNTIL(attr_is("k", "mock=stored"));
    ck_assert_uint_eq(objects(0), 1);
    UNTIL(no_locks("k"));
    end();
}
END_TEST

START_TEST(several_keys_are_stored)
{
    char name[16];

    begin("[" MOCK "]");
    for (int i = 0; i < 5; i++) {
        snprintf(name, sizeof(name), "k%d", i);
        ck_assert_int_eq(vfsrig_put(&r, name, 1000, (unsigned)i), 0);
    }
    vfsrig_wait_stored(&r);
    ck_assert_uint_eq(objects(0), 5);
    end();
}
END_TEST

START_TEST(every_tier_gets_every_key)
{
    begin("[" MOCK "," MOCK "]");
    ck_assert_int_eq(vfsrig_put(&r, "a", 1000, 1), 0);
    ck_assert_int_eq(vfsrig_put(&r, "b", 1000, 2), 0);
    vfsrig_wait_stored(&r);
    ck_assert_uint_eq(objects(0), 2);
    ck_assert_uint_eq(objects(1), 2);
    ck_assert_str_eq(attr("a", "user.l2fs.store"), "mock=stored,mock.1=stored");
    end();
}
END_TEST

START_TEST(the_lock_goes_when_every_tier_has_answered)
{
    begin("[" MOCK "," NEVER "]");
    ck_assert_int_eq(vfsrig_put(&r, "k", 1000, 1), 0);
    UNTIL(objects(0) == 1);
    ck_assert(strstr(attr("k", "user.l2fs.lock"), "\"storing\":[\"mock\",\"fault.1\"]"));
    let_go();
    UNTIL(no_locks("k"));
    ck_assert_str_eq(attr("k", "user.l2fs.store"), "mock=stored,fault.1=stored");
    end();
}
END_TEST

START_TEST(what_was_stored_can_be_written_and_removed)
{
    struct handle *h;

    begin("[" MOCK "]");
    ck_assert_int_eq(vfsrig_put(&r, "k", 1000, 1), 0);
    vfsrig_wait_stored(&r);
    ck_assert_int_eq(vfsrig_open(&r, "k", O_RDWR, &h), 0);
    ck_assert_int_eq(vfsrig_write(&r, h, "x", 1, 0), 0);
    vfsrig_close(&r, h);
    vfsrig_wait_stored(&r);
    ck_assert_int_eq(vfsrig_unlink(&r, "k"), 0);
    ck_assert_uint_eq(objects(0), 0);
    end();
}
END_TEST

START_TEST(what_is_loaded_is_not_stored_back)
{
    int64_t before;

    begin("[" MOCK "]");
    ck_assert_int_eq(vfsrig_put(&r, "k", 1000, 1), 0);
    ck_assert_int_eq(vfsrig_evict(&r, "k"), 0);
    before = submitted("mock");
    ck_assert_int_eq(vfsrig_check(&r, "k", 1000, 1), 0);
    ck_assert_uint_eq(r.fs->unstored, 0);
    vfsrig_stop(&r);
    ck_assert_int_eq(before, 1);
    end();
}
END_TEST

START_TEST(a_temporary_name_is_not_stored)
{
    begin("[" MOCK "]");
    ck_assert_int_eq(vfsrig_put(&r, "k.tmp", 1000, 1), 0);
    ck_assert_int_eq(vfsrig_put(&r, "k", 1000, 1), 0);
    vfsrig_wait_stored(&r);
    ck_assert_uint_eq(objects(0), 1);
    ck_assert(no_locks("k.tmp"));
    end();
}
END_TEST

START_TEST(without_tiers_nothing_is_locked)
{
    begin("[]");
    ck_assert_int_eq(vfsrig_put(&r, "k", 1000, 1), 0);
    ck_assert(no_locks("k"));
    ck_assert_uint_eq(r.fs->unstored, 0);
    ck_assert_int_eq(vfsrig_check(&r, "k", 1000, 1), 0);
    end();
}
END_TEST

START_TEST(a_refused_submit_leaves_no_lock)
{
    begin("[" FAULT("{\"op\":\"store\",\"action\":\"refuse\",\"count\":1}") "]");
    ck_assert_int_eq(vfsrig_put(&r, "k", 1000, 1), 0);
    UNTIL((attr_is("k", "fault=failed") && no_locks("k")) || submitted("fault") > 1); /* again */
    UNTIL(attr_is("k", "fault=stored"));
    UNTIL(no_locks("k"));
    ck_assert_int_eq(vfsrig_evict(&r, "k"), 0);
    end();
}
END_TEST

/* --- failures --- */

START_TEST(only_the_tier_that_failed_is_tried_again)
{
    begin("[" MOCK "," FAILS_ONCE "]");
    ck_assert_int_eq(vfsrig_put(&r, "k", 1000, 1), 0);
    UNTIL(attr_is("k", "mock=stored,fault.1=failed") || submitted("fault.1") == 2);
    UNTIL(attr_is("k", "mock=stored,fault.1=stored"));
    ck_assert_int_eq(submitted("mock"), 1);
    ck_assert_int_eq(submitted("fault.1"), 2);
    end();
}
END_TEST

START_TEST(after_the_limit_it_stays_in_l1_until_asked)
{
    struct inode *inode;

    init("[" FAULT("{\"op\":\"store\",\"action\":\"fail\",\"count\":2,\"errno\":\"EIO\"}") "]");
    r.cfg.store_retries = 2;
    vfsrig_start(&r);
    ck_assert_int_eq(vfsrig_put(&r, "k", 1000, 1), 0);
    UNTIL(stores().given_up == 1);
    ck_assert_str_eq(attr("k", "user.l2fs.store"), "fault=failed");
    ck_assert_int_eq(metric_value(stores().given_up_total), 1);
    ck_assert_uint_eq(stores().unstored_bytes, 1000);
    inode = vfsrig_find(&r, "k");
    lock(&r.fs->ns->lock);
    ck_assert_int_eq(evict_one_locked(r.fs, inode->object, CAUSE_ASKED), -EBUSY);
    unlock(&r.fs->ns->lock);
    UNTIL(no_locks("k"));
    retry("k");
    UNTIL(attr_is("k", "fault=stored"));
    ck_assert_uint_eq(stores().given_up, 0);
    ck_assert_uint_eq(stores().unstored_bytes, 0);
    ck_assert_int_eq(vfsrig_evict(&r, "k"), 0);
    ck_assert_int_eq(vfsrig_check(&r, "k", 1000, 1), 0);
    end();
}
END_TEST

START_TEST(a_directory_is_tried_again_as_a_whole)
{
    init("[" FAULT("{\"op\":\"store\",\"action\":\"fail\",\"count\":3,\"errno\":\"EIO\"}") "]");
    r.cfg.store_retries = 1;
    vfsrig_start(&r);
    ck_assert_int_eq(vfsrig_mkdir(&r, "d"), 0);
    ck_assert_int_eq(vfsrig_put(&r, "d/a", 1000, 1), 0);
    ck_assert_int_eq(vfsrig_put(&r, "d/b", 1000, 1), 0);
    ck_assert_int_eq(vfsrig_put(&r, "c", 1000, 1), 0);
    UNTIL(stores().given_up == 3);
    retry("d");
    UNTIL(attr_is("d/a", "fault=stored") && attr_is("d/b", "fault=stored"));
    ck_assert_uint_eq(stores().given_up, 1);
    retry("");
    UNTIL(attr_is("c", "fault=stored"));
    end();
}
END_TEST

START_TEST(a_write_or_an_fsync_tries_again)
{
    init("[" FAULT("{\"op\":\"store\",\"action\":\"fail\",\"count\":2,\"errno\":\"EIO\"}") "]");
    r.cfg.store_retries = 1;
    vfsrig_start(&r);
    ck_assert_int_eq(vfsrig_put(&r, "a", 1000, 1), 0);
    ck_assert_int_eq(vfsrig_put(&r, "b", 1000, 1), 0);
    UNTIL(stores().given_up == 2);
    ck_assert_int_eq(vfsrig_put(&r, "a", 1000, 2), 0);
    UNTIL(attr_is("a", "fault=stored"));
    ck_assert_int_eq(vfsrig_fsync(&r, "b"), 0);
    ck_assert_str_eq(attr("b", "user.l2fs.store"), "fault=stored");
    end();
}
END_TEST

START_TEST(one_tier_is_enough_after_the_limit)
{
    init("[" FAILS "," MOCK "]");
    r.cfg.store_retries = 2;
    vfsrig_start(&r);
    ck_assert_int_eq(vfsrig_put(&r, "k", 1000, 1), 0);
    vfsrig_wait_stored(&r);
    ck_assert_str_eq(attr("k", "user.l2fs.store"), "fault=failed,mock.1=stored");
    ck_assert_str_eq(attr("k", "user.l2fs.tiers"), "l1,mock.1");
    ck_assert_int_eq(vfsrig_fsync(&r, "k"), -EIO); /* not every tier has it */
    vfsrig_wait_stored(&r);
    ck_assert_int_eq(vfsrig_evict(&r, "k"), 0);
    ck_assert_int_eq(vfsrig_check(&r, "k", 1000, 1), 0);
    end();
}
END_TEST

/* 10 times L1 through two tiers, of which one fails for ever. */
START_TEST(a_tier_that_fails_does_not_fill_l1)
{
    char name[16];

    init("[" FAILS "," MOCK "]");
    r.cfg.l1 = 16 * MIB;
    r.cfg.space_wait = 15 * NSEC_PER_SEC;
    vfsrig_start(&r);
    for (unsigned i = 0; i < 160; i++) {
        snprintf(name, sizeof(name), "k%u", i);
        ck_assert_int_eq(vfsrig_put(&r, name, MIB, i), 0);
        ck_assert_uint_le(used(), 16 * MIB);
    }
    for (unsigned i = 0; i < 160; i += 40) {
        snprintf(name, sizeof(name), "k%u", i);
        ck_assert_int_eq(vfsrig_check(&r, name, MIB, i), 0);
    }
    end();
}
END_TEST

START_TEST(a_tier_that_never_answers_does_not_fill_l1)
{
    char name[16];

    init("[" NEVER "," MOCK "]");
    r.cfg.l1 = 32 * MIB;
    r.cfg.store_timeout = NSEC_PER_SEC;
    r.cfg.space_wait = 10 * NSEC_PER_SEC;
    r.cfg.drain_timeout = NSEC_PER_SEC;
    vfsrig_start(&r);
    for (unsigned i = 0; i < 100; i++) {
        snprintf(name, sizeof(name), "k%u", i);
        ck_assert_int_eq(vfsrig_put(&r, name, MIB, i), 0);
    }
    UNTIL(objects(1) == 100);
    ck_assert_int_eq(vfsrig_check(&r, "k0", MIB, 0), 0);
    end();
}
END_TEST

START_TEST(a_newer_store_comes_after_the_overdue_one)
{
    init("[" FAULT("{\"op\":\"store\",\"action\":\"never\",\"count\":1}") "]");
    r.cfg.store_timeout = SOON;
    vfsrig_start(&r);
    ck_assert_int_eq(vfsrig_put(&r, "k", 1000, 1), 0);
    UNTIL(attr_is("k", "fault=failed"));
    ck_assert(strstr(attr("k", "user.l2fs.lock"), "\"storing\":[\"fault\"]")); /* it still reads */
    ck_assert_int_eq(vfsrig_put(&r, "k", 2000, 2), 0);
    ck_assert_int_eq(vfsrig_put(&r, "other", 500, 3), 0);
    UNTIL(attr_is("other", "fault=stored"));
    ck_assert_int_eq(submitted("fault"), 2); /* k waits for its turn */
    let_go();
    UNTIL(attr_is("k", "fault=stored") && no_locks("k"));
    ck_assert_int_eq(vfsrig_evict(&r, "k"), 0);
    ck_assert_int_eq(vfsrig_check(&r, "k", 2000, 2), 0);
    end();
}
END_TEST

START_TEST(what_came_late_counts)
{
    init("[" NEVER "," MOCK "]");
    r.cfg.store_timeout = SOON;
    vfsrig_start(&r);
    ck_assert_int_eq(vfsrig_put(&r, "k", 1000, 1), 0);
    UNTIL(attr_is("k", "fault=failed,mock.1=stored"));
    vfsrig_wait_stored(&r);
    let_go();
    UNTIL(attr_is("k", "fault=stored,mock.1=stored"));
    UNTIL(no_locks("k"));
    end();
}
END_TEST

START_TEST(an_overdue_store_keeps_its_bytes_unchanged)
{
    struct handle *h;

    init("[" NEVER "," MOCK "]");
    r.cfg.store_timeout = SOON;
    vfsrig_start(&r);
    ck_assert_int_eq(vfsrig_put(&r, "k", 1000, 1), 0);
    vfsrig_wait_stored(&r);
    ck_assert_int_eq(vfsrig_open(&r, "k", O_RDWR, &h), -EBUSY);
    ck_assert_int_eq(vfsrig_check(&r, "k", 1000, 1), 0);
    let_go();
    UNTIL(no_locks("k"));
    ck_assert_int_eq(vfsrig_open(&r, "k", O_RDWR, &h), 0);
    vfsrig_close(&r, h);
    end();
}
END_TEST

START_TEST(a_rename_that_l2_cannot_follow_is_refused)
{
    begin("[" FAULT("{\"op\":\"rename\",\"action\":\"fail\"}") "]");
    ck_assert_int_eq(vfsrig_put(&r, "a", 1000, 1), 0);
    ck_assert_int_eq(vfsrig_evict(&r, "a"), 0);
    ck_assert_int_eq(vfsrig_rename(&r, "a", "b"), -EIO);
    ck_assert_int_eq(vfsrig_state(&r, "b"), STATE_ABSENT);
    ck_assert_int_eq(vfsrig_check(&r, "a", 1000, 1), 0);
    ck_assert_int_eq(vfsrig_rename(&r, "a", "b"), 0); /* its bytes are in L1 now */
    ck_assert_int_eq(vfsrig_evict(&r, "b"), 0);
    ck_assert_int_eq(vfsrig_check(&r, "b", 1000, 1), 0);
    end();
}
END_TEST

START_TEST(a_rename_that_one_tier_follows_counts_there)
{
    begin("[" FAULT("{\"op\":\"rename\",\"action\":\"fail\"}") "," MOCK "]");
    ck_assert_int_eq(vfsrig_put(&r, "a", 1000, 1), 0);
    ck_assert_int_eq(vfsrig_evict(&r, "a"), 0);
    ck_assert_int_eq(vfsrig_rename(&r, "a", "b"), 0);
    ck_assert_str_eq(attr("b", "user.l2fs.tiers"), "mock.1");
    ck_assert_int_eq(vfsrig_check(&r, "b", 1000, 1), 0);
    end();
}
END_TEST

START_TEST(a_rename_over_a_key_that_hangs_is_refused)
{
    init("[" FAULT("{\"op\":\"store\",\"key\":\"b\",\"action\":\"never\"}") "]");
    r.cfg.store_timeout = SOON;
    r.cfg.drain_timeout = NSEC_PER_SEC;
    vfsrig_start(&r);
    ck_assert_int_eq(vfsrig_put(&r, "a", 1000, 1), 0);
    ck_assert_int_eq(vfsrig_evict(&r, "a"), 0);
    ck_assert_int_eq(vfsrig_put(&r, "b", 2000, 2), 0);
    UNTIL(attr_is("b", "fault=failed"));
    ck_assert_int_eq(vfsrig_rename(&r, "a", "b"), -EBUSY);
    ck_assert_int_eq(vfsrig_check(&r, "a", 1000, 1), 0);
    ck_assert_int_eq(vfsrig_check(&r, "b", 2000, 2), 0);
    let_go();
    UNTIL(attr_is("b", "fault=stored"));
    end();
}
END_TEST

/* What was stored under the old name is removed there, so it does not count for the new one. */
START_TEST(a_rename_that_timed_out_is_stored_everywhere)
{
    init("[" FAULT("{\"op\":\"store\",\"key\":\"b\",\"action\":\"never\",\"count\":1}") "," FAULT(
        "{\"op\":\"store\",\"key\":\"a\",\"action\":\"fail\"}") "]");
    r.cfg.store_retries = 0; /* for ever */
    r.cfg.store_timeout = SOON;
    vfsrig_start(&r);
    ck_assert_int_eq(vfsrig_put(&r, "b", 1000, 1), 0);
    UNTIL(attr_is("b", "fault=failed,fault.1=stored"));
    ck_assert_int_eq(vfsrig_put(&r, "a", 1000, 2), 0);
    UNTIL(attr_is("a", "fault=stored,fault.1=failed"));
    ck_assert_int_eq(vfsrig_rename(&r, "a", "b"), 0);
    let_go();
    UNTIL(attr_is("b", "fault=stored,fault.1=stored"));
    ck_assert_int_eq(vfsrig_evict(&r, "b"), 0);
    ck_assert_int_eq(vfsrig_check(&r, "b", 1000, 2), 0);
    end();
}
END_TEST

/* As above, while the store under the old name runs: what it ends with is removed already. */
START_TEST(a_rename_that_timed_out_before_the_store)
{
    init("[" FAULT("{\"op\":\"store\",\"key\":\"a\",\"action\":\"never\"}") "," MOCK "]");
    r.cfg.store_timeout = SOON;
    vfsrig_start(&r);
    ck_assert_int_eq(vfsrig_put(&r, "a", LONGER, 1), 0);
    UNTIL(objects(1) == 1);
    ck_assert_int_eq(vfsrig_rename(&r, "a", "b"), 0);
    vfsrig_wait_stored(&r);
    ck_assert_uint_eq(objects(1), 1);
    ck_assert_str_eq(attr("b", "user.l2fs.store"), "fault=stored,mock.1=stored");
    let_go();
    UNTIL(!vfsrig_evict(&r, "b"));
    ck_assert_int_eq(vfsrig_check(&r, "b", LONGER, 1), 0);
    end();
}
END_TEST

START_TEST(the_status_says_who_is_stalled)
{
    struct text out = {0};
    char name[16];
    json_t *status, *tier;

    init("[" MOCK "," NEVER "]");
    r.cfg.store_timeout = SOON;
    vfsrig_start(&r);
    for (unsigned i = 0; i < 12; i++) {
        snprintf(name, sizeof(name), "d%u", i);
        ck_assert_int_eq(vfsrig_mkdir(&r, name), 0);
        snprintf(name, sizeof(name), "d%u/k", i);
        ck_assert_int_eq(vfsrig_put(&r, name, 1000, i), 0);
    }
    UNTIL(strstr(attr("d11/k", "user.l2fs.store"), "fault.1=failed"));
    ck_assert_int_eq(status_print(r.fs, 0, &out), 0);
    status = json_loads(out.data, 0, NULL);
    ck_assert(json_is_false(json_object_get(status, "is_healthy")));
    tier = json_array_get(json_object_get(status, "tiers"), 1);
    ck_assert_ptr_nonnull(
        strstr(json_string_value(json_object_get(tier, "health")), "fault.1: stalled: "));
    ck_assert(json_is_true(json_object_get(json_object_get(tier, "stores"), "stalled")));
    tier = json_array_get(json_object_get(status, "tiers"), 0);
    ck_assert(json_is_true(json_object_get(tier, "is_healthy")));
    json_decref(status);
    text_fini(&out);
    end();
}
END_TEST

START_TEST(the_end_does_not_wait_for_a_stuck_tier)
{
    uint64_t began;

    init("[" NEVER "]");
    r.cfg.drain_timeout = 500 * NSEC_PER_MSEC;
    vfsrig_start(&r);
    ck_assert_int_eq(vfsrig_put(&r, "k", 1000, 1), 0);
    began = clock_now();
    vfsrig_stop(&r);
    ck_assert_uint_lt(clock_now() - began, 15 * NSEC_PER_SEC);
    let_go();
    vfsrig_start(&r); /* takes it over */
    ck_assert_int_eq(vfsrig_check(&r, "k", 1000, 1), 0);
    end();
}
END_TEST

START_TEST(the_end_does_not_try_a_failing_tier_for_ever)
{
    uint64_t began;

    init("[" FAILS "]");
    r.cfg.drain_timeout = 60 * NSEC_PER_SEC;
    vfsrig_start(&r);
    ck_assert_int_eq(vfsrig_put(&r, "k", 1000, 1), 0);
    began = clock_now();
    vfsrig_stop(&r);
    ck_assert_uint_lt(clock_now() - began, 20 * NSEC_PER_SEC);
    vfsrig_start(&r);
    ck_assert_int_eq(vfsrig_check(&r, "k", 1000, 1), 0);
    end();
}
END_TEST

START_TEST(the_end_tries_what_was_given_up)
{
    vfsrig_init(&r, "[{\"type\":\"fault\",\"inner\":{\"type\":\"fs\",\"base_path\":\"@DIR@\"},"
                    "\"rules\":[{\"op\":\"store\",\"action\":\"fail\",\"count\":1}]}]");
    r.cfg.store_retries = 1;
    vfsrig_start(&r);
    ck_assert_int_eq(vfsrig_put(&r, "k", 1000, 1), 0);
    UNTIL(stores().given_up == 1);
    vfsrig_stop(&r);
    vfsrig_start(&r);
    ck_assert_uint_eq(r.fs->adopted, 0); /* it was stored at the end */
    ck_assert_int_eq(vfsrig_check(&r, "k", 1000, 1), 0);
    vfsrig_fini(&r);
}
END_TEST

/* --- L1 and the policies --- */

START_TEST(writers_faster_than_the_tier_wait)
{
    char name[16];

    init("[" SLOW_MOCK "]");
    r.cfg.l1 = 8 * MIB;
    r.cfg.space_wait = 3 * NSEC_PER_SEC; /* of no progress; all of it takes twice that */
    vfsrig_start(&r);
    for (unsigned i = 0; i < 64; i++) {
        snprintf(name, sizeof(name), "k%u", i);
        ck_assert_int_eq(vfsrig_put(&r, name, MIB, i), 0);
        ck_assert_uint_le(stores().unstored_bytes, 8 * MIB);
    }
    end();
}
END_TEST

START_TEST(first_files_of_a_new_directory_are_admitted_with_care)
{
    struct handle *h[100];
    char name[16];
    size_t n = 0;

    init("[" MOCK "]");
    r.cfg.l1 = 64 * MIB;
    r.cfg.space_wait = 50 * NSEC_PER_MSEC;
    vfsrig_start(&r);
    while (n < 100) {
        snprintf(name, sizeof(name), "k%zu", n);
        if (vfsrig_create(&r, name, O_WRONLY, &h[n]))
            break;
        n++;
    }
    ck_assert_uint_eq(n, 64); /* each is expected to take a MiB */
    for (size_t i = 0; i < n; i++)
        vfsrig_close(&r, h[i]);
    end();
}
END_TEST

START_TEST(skip_l1_drops_what_is_stored)
{
    char name[16];

    init("[" MOCK "]");
    r.cfg.store_policy = STORE_SKIP_L1;
    vfsrig_start(&r);
    for (unsigned i = 0; i < 5; i++) {
        snprintf(name, sizeof(name), "k%u", i);
        ck_assert_int_eq(vfsrig_put(&r, name, 1000, i), 0);
        UNTIL(state_is(name, STATE_EVICTED));
    }
    ck_assert_uint_eq(objects(0), 5);
    UNTIL(used() == 0);
    ck_assert_int_eq(vfsrig_check(&r, "k3", 1000, 3), 0);
    end();
}
END_TEST

START_TEST(skip_l1_keeps_what_is_in_use)
{
    struct handle *reader, *writer;

    begin("[" NEVER "]");
    vfsrig_stop(&r);
    r.cfg.store_policy = STORE_SKIP_L1;
    vfsrig_start(&r);
    ck_assert_int_eq(vfsrig_put(&r, "open", 1000, 1), 0);
    ck_assert_int_eq(vfsrig_open(&r, "open", O_RDONLY, &reader), 0);
    ck_assert_int_eq(vfsrig_put(&r, "pinned", 1000, 1), 0);
    ck_assert_int_eq(vfs_setxattr(r.fs, vfsrig_find(&r, "pinned"), "user.l2fs.pin", "hard", 4, 0),
                     0);
    let_go();
    ck_assert_int_eq(vfsrig_create(&r, "synced", O_WRONLY, &writer), 0);
    ck_assert_int_eq(vfsrig_write(&r, writer, "x", 1, 0), 0);
    ck_assert_int_eq(vfsrig_fsync(&r, "synced"), 0);
    vfsrig_close(&r, writer);
    vfsrig_wait_stored(&r);
    ck_assert_int_eq(vfsrig_state(&r, "open"), STATE_RESIDENT);
    ck_assert_int_eq(vfsrig_state(&r, "pinned"), STATE_RESIDENT);
    ck_assert_int_eq(vfsrig_state(&r, "synced"), STATE_RESIDENT);
    vfsrig_close(&r, reader);
    ck_assert_int_eq(vfsrig_state(&r, "open"), STATE_EVICTED);
    end();
}
END_TEST

START_TEST(eviction_policy_noop_evicts_nothing)
{
    char name[16];

    init("[" MOCK "]");
    r.cfg.l1 = 16 * MIB;
    r.cfg.l1_policy = EVICT_NOOP;
    vfsrig_start(&r);
    for (unsigned i = 0; i < 15; i++) {
        snprintf(name, sizeof(name), "k%u", i);
        ck_assert_int_eq(vfsrig_put(&r, name, MIB, i), 0);
    }
    vfsrig_wait_stored(&r);
    usleep(300000); /* three ticks */
    for (unsigned i = 0; i < 15; i++) {
        snprintf(name, sizeof(name), "k%u", i);
        ck_assert_int_eq(vfsrig_state(&r, name), STATE_RESIDENT);
    }
    end();
}
END_TEST

static void begin_demote(void)
{
    vfsrig_init(&r, NULL);
    r.cfg.l1 = 16 * MIB;
    r.cfg.store_policy = STORE_DEMOTE;
}

START_TEST(demote_stores_nothing_until_there_is_need)
{
    begin_demote();
    vfsrig_start(&r);
    ck_assert_int_eq(vfsrig_put(&r, "a", MIB, 1), 0);
    ck_assert_int_eq(vfsrig_put(&r, "b", MIB, 2), 0);
    usleep(200000);
    ck_assert_int_eq(submitted("fs"), 0);
    ck_assert_str_eq(attr("a", "user.l2fs.store"), "");
    ck_assert(no_locks("a"));
    ck_assert_uint_eq(stores().unstored_bytes, 2 * MIB);
    ck_assert_int_eq(vfsrig_fsync(&r, "a"), 0);
    ck_assert_str_eq(attr("a", "user.l2fs.store"), "fs=stored");
    ck_assert_uint_eq(objects(0), 1);
    vfsrig_stop(&r);
    r.cfg.store_policy = STORE_DEFAULT;
    vfsrig_start(&r); /* the end has stored b */
    ck_assert_uint_eq(r.fs->adopted, 0);
    ck_assert_int_eq(vfsrig_check(&r, "a", MIB, 1), 0);
    ck_assert_int_eq(vfsrig_check(&r, "b", MIB, 2), 0);
    vfsrig_fini(&r);
}
END_TEST

START_TEST(demote_stores_and_evicts_the_coldest)
{
    char name[16];

    begin_demote();
    vfsrig_start(&r);
    for (unsigned i = 0; i < 11; i++) { /* what a writer was promised counts beside what he wrote */
        snprintf(name, sizeof(name), "k%u", i);
        ck_assert_int_eq(vfsrig_put(&r, name, MIB, i), 0);
    }
    ck_assert_int_eq(submitted("fs"), 0);
    ck_assert_int_eq(vfsrig_check(&r, "k0", MIB, 0), 0); /* not the coldest any more */
    ck_assert_int_eq(vfsrig_put(&r, "k11", MIB, 11), 0);
    ck_assert_int_eq(vfsrig_put(&r, "k12", MIB, 12), 0); /* over the watermark */
    UNTIL(state_is("k1", STATE_EVICTED));
    ck_assert_int_eq(vfsrig_state(&r, "k0"), STATE_RESIDENT);
    UNTIL(stores().room == 0);
    ck_assert_uint_ge(objects(0), 1);
    ck_assert_uint_le(objects(0), 8); /* what room was wanted for, not everything */
    for (unsigned i = 0; i < 13; i++) {
        snprintf(name, sizeof(name), "k%u", i);
        ck_assert_int_eq(vfsrig_check(&r, name, MIB, i), 0);
    }
    vfsrig_fini(&r);
}
END_TEST

START_TEST(demote_lets_writers_go_on)
{
    char name[16];

    begin_demote();
    r.cfg.space_wait = 15 * NSEC_PER_SEC;
    vfsrig_start(&r);
    for (unsigned i = 0; i < 160; i++) {
        snprintf(name, sizeof(name), "k%u", i);
        ck_assert_int_eq(vfsrig_put(&r, name, MIB, i), 0);
        ck_assert_uint_le(used(), 16 * MIB);
    }
    for (unsigned i = 0; i < 160; i += 20) {
        snprintf(name, sizeof(name), "k%u", i);
        ck_assert_int_eq(vfsrig_check(&r, name, MIB, i), 0);
    }
    vfsrig_fini(&r);
}
END_TEST

static void put_and_die(struct vfsrig *rig)
{
    ck_assert_int_eq(vfsrig_put(rig, "a", MIB, 1), 0);
    ck_assert_int_eq(vfsrig_put(rig, "b", MIB, 2), 0);
    ck_assert_int_eq(vfsrig_fsync(rig, "b"), 0);
}

START_TEST(demote_survives_a_crash)
{
    begin_demote();
    vfsrig_crash(&r, put_and_die);
    vfsrig_start(&r);
    ck_assert_uint_eq(r.fs->adopted, 2);
    ck_assert_uint_eq(stores().unstored_bytes, MIB);
    ck_assert_int_eq(vfsrig_state(&r, "a"), STATE_RESIDENT);
    ck_assert_int_eq(vfsrig_check(&r, "a", MIB, 1), 0);
    ck_assert_int_eq(vfsrig_check(&r, "b", MIB, 2), 0);
    vfsrig_fini(&r);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("store");

    log_set_level(LOG_LEVEL_ERROR);
    suite_add(s, "controller",
              TESTS(publication_stores, several_keys_are_stored, every_tier_gets_every_key,
                    the_lock_goes_when_every_tier_has_answered,
                    what_was_stored_can_be_written_and_removed, what_is_loaded_is_not_stored_back,
                    a_temporary_name_is_not_stored, without_tiers_nothing_is_locked,
                    a_refused_submit_leaves_no_lock));
    suite_add(s, "failures",
              TESTS(only_the_tier_that_failed_is_tried_again,
                    after_the_limit_it_stays_in_l1_until_asked,
                    a_directory_is_tried_again_as_a_whole, a_write_or_an_fsync_tries_again,
                    one_tier_is_enough_after_the_limit, a_tier_that_fails_does_not_fill_l1));
    suite_add(
        s, "overdue",
        TESTS(
            a_tier_that_never_answers_does_not_fill_l1, a_newer_store_comes_after_the_overdue_one,
            what_came_late_counts, an_overdue_store_keeps_its_bytes_unchanged,
            a_rename_that_l2_cannot_follow_is_refused, a_rename_that_one_tier_follows_counts_there,
            a_rename_over_a_key_that_hangs_is_refused, a_rename_that_timed_out_is_stored_everywhere,
            a_rename_that_timed_out_before_the_store, the_status_says_who_is_stalled));
    suite_add(s, "end",
              TESTS(the_end_does_not_wait_for_a_stuck_tier,
                    the_end_does_not_try_a_failing_tier_for_ever, the_end_tries_what_was_given_up));
    suite_add(s, "l1",
              TESTS(writers_faster_than_the_tier_wait,
                    first_files_of_a_new_directory_are_admitted_with_care,
                    skip_l1_drops_what_is_stored, skip_l1_keeps_what_is_in_use,
                    eviction_policy_noop_evicts_nothing));
    suite_add(s, "demote",
              TESTS(demote_stores_nothing_until_there_is_need, demote_stores_and_evicts_the_coldest,
                    demote_lets_writers_go_on, demote_survives_a_crash));
    return suite_run(s);
}
