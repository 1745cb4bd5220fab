/* test_requests.c - where files are sent, when their request is complete, and how it is cancelled. */
#include <fcntl.h>
#include <stdio.h>

#include "clock.h"
#include "core_rig.h"
#include "log.h"
#include "send_fake.h"
#include "suite.h"
#include "xattr.h"

#define OWN(name) "user.l2fs." name
#define SENDER "[" FAKE_SEND "]"
#define BOTH "[" FAKE_MOCK "," FAKE_SEND "]"

static struct core_rig r;

static void begin(const char *l2)
{
    core_open(&r, l2);
}

static void put(const char *path)
{
    core_write(&r, path, path, strlen(path));
}

static void set(const char *path, const char *name, const char *value)
{
    ck_assert_int_eq(core_set(&r, path, name, value), 0);
}

static void is(const char *path, const char *name, const char *value)
{
    char buf[512];
    ssize_t n = core_get(&r, path, name, buf, sizeof(buf));

    ck_assert_msg(n >= 0 && !strcmp(buf, value), "%s of %s is \"%s\" (%zd)", name, path, buf, n);
}

/* What was said to the loop thread has been heard, and what followed from it. */
static void settle(void)
{
    for (int i = 0; i < 4; i++)
        mailbox_call(r.fs->mailbox, NULL, NULL);
}

static int64_t counter(const char *name)
{
    return metric_value(metrics_counter(r.fs->metrics, name, "", ""));
}

static size_t known(void)
{
    LOCKED_SCOPE(&r.fs->ns->lock);
    return r.fs->requests.table.count;
}

static void wait_counter(const char *name, int64_t value)
{
    uint64_t deadline = clock_deadline(20 * NSEC_PER_SEC);

    while (counter(name) < value) {
        ck_assert_msg(clock_now() < deadline, "%s stays at %ld", name, (long)counter(name));
        usleep(1000);
    }
}

/* A file that is still open, so that attributes can be set before its close. */
static struct handle *open_new(const char *path)
{
    struct handle *h;

    put(path);
    ck_assert_int_eq(core_open_file(&r, path, O_RDWR | O_TRUNC, &h), 0);
    ck_assert_int_eq(vfs_write(r.fs, h, path, strlen(path), 0), (ssize_t)strlen(path));
    return h;
}

/* --- where files go --- */

START_TEST(peers_are_inherited)
{
    char buf[64];

    begin(SENDER);
    core_mkdir(&r, "d");
    set("d", OWN("peer"), "node1");
    core_mkdir(&r, "d/e");
    put("d/e/key");
    put("other");
    is("d/e", OWN("peer"), "node1");
    is("d/e/key", OWN("peer"), "node1");
    ck_assert_int_eq(core_get(&r, "other", OWN("peer"), buf, sizeof(buf)), -ENODATA);
    fake_wait_sent(2);
    ck_assert_str_eq(fake_sent_at(0), "d/e/key>node1#-");
    ck_assert_str_eq(fake_sent_at(1), "other>-#-");
    set("d", OWN("peer"), NULL);
    put("d/later");
    fake_wait_sent(3);
    ck_assert_str_eq(fake_sent_at(2), "d/later>-#-");
    ck_assert_int_eq(core_set(&r, "d", OWN("peer"), NULL), -ENODATA);
    ck_assert_int_eq(core_set(&r, "d", OWN("peer"), ""), -EINVAL);
    core_close(&r);
}
END_TEST

START_TEST(attributes_before_the_close_are_sent_along)
{
    struct handle *h;

    begin(SENDER);
    fake_hold(true);
    h = open_new("key");
    set("key", OWN("peer"), "node2");
    set("key", OWN("req_id"), "r1");
    vfs_release(r.fs, h);
    fake_wait_held(1);
    fake_hold(false);
    fake_wait_sent(1);
    settle();
    ck_assert_str_eq(fake_sent_at(fake_sent() - 1), "key>node2#r1");
    core_close(&r);
}
END_TEST

START_TEST(another_peer_sends_again)
{
    begin(BOTH);
    put("key");
    fake_wait_sent(1);
    core_wait_attr(&r, "key", OWN("store"), "mock=stored,send.1=sent");
    set("key", OWN("peer"), "a");
    fake_wait_sent(2);
    ck_assert_str_eq(fake_sent_at(1), "key>a#-");
    set("key", OWN("peer"), "b");
    fake_wait_sent(3);
    ck_assert_str_eq(fake_sent_at(2), "key>b#-");
    core_wait_attr(&r, "key", OWN("store"), "mock=stored,send.1=sent");
    while (core_set(&r, "key", OWN("evict"), "1")) /* the end of the store may hold it */
        usleep(1000);
    set("key", OWN("peer"), "c"); /* it is loaded for that */
    fake_wait_sent(4);
    ck_assert_str_eq(fake_sent_at(3), "key>c#-");
    core_close(&r);
}
END_TEST

/* The store to the peer before is not waited for. */
START_TEST(another_peer_while_it_is_sent)
{
    begin(SENDER);
    fake_hold(true);
    put("key");
    fake_wait_held(1);
    set("key", OWN("peer"), "a");
    fake_wait_cancelled(1);
    fake_wait_held(1);
    set("key", OWN("peer"), "a"); /* as it is: nothing to do */
    settle();
    ck_assert_uint_eq(fake_cancelled(), 1);
    fake_hold(false);
    fake_wait_sent(1);
    ck_assert_str_eq(fake_sent_at(0), "key>a#-");
    core_close(&r);
}
END_TEST

static int move_name(const char *from, const char *to)
{
    struct vfs_rename move = {.from = from, .to = to};
    struct inode *sync;

    move.from_dir = move.to_dir = vfs_root(r.fs);
    return vfs_rename(r.fs, &move, &sync);
}

START_TEST(a_new_name_is_sent)
{
    begin(SENDER);
    put("a");
    fake_wait_sent(1);
    settle();
    ck_assert_int_eq(move_name("a", "b"), 0);
    fake_wait_sent(2);
    ck_assert_str_eq(fake_sent_at(1), "b>-#-");
    core_close(&r);
}
END_TEST

/* What is in memory, that is. */
START_TEST(what_a_moved_directory_has_is_sent)
{
    begin(BOTH);
    core_mkdir(&r, "d");
    core_mkdir(&r, "d/e");
    put("d/evicted");
    put("d/a");
    put("d/e/b");
    fake_wait_sent(3);
    core_wait_attr(&r, "d/evicted", OWN("store"), "mock=stored,send.1=sent");
    while (core_set(&r, "d/evicted", OWN("evict"), "1"))
        usleep(1000);
    ck_assert_int_eq(move_name("d", "new"), 0);
    fake_wait_sent(5);
    for (size_t i = 3; i < 5; i++)
        ck_assert_msg(!strcmp(fake_sent_at(i), "new/a>-#-") ||
                          !strcmp(fake_sent_at(i), "new/e/b>-#-"),
                      "%s", fake_sent_at(i));
    core_wait_attr(&r, "new/a", OWN("store"), "mock=stored,send.1=sent");
    is("new/evicted", OWN("state"), "evicted");
    core_close(&r);
    ck_assert_uint_eq(fake_sent(), 5);
}
END_TEST

/* A peer that hangs does not hold a move up. */
START_TEST(a_directory_moves_while_it_is_sent)
{
    begin(SENDER);
    core_mkdir(&r, "d");
    fake_hold(true);
    put("d/key");
    fake_wait_held(1);
    ck_assert_int_eq(move_name("d", "new"), 0);
    fake_wait_cancelled(1);
    fake_wait_held(1);
    fake_hold(false);
    fake_wait_sent(1);
    ck_assert_str_eq(fake_sent_at(0), "new/key>-#-");
    core_close(&r);
}
END_TEST

/* --- requests --- */

START_TEST(complete_when_all_are_sent)
{
    begin(SENDER);
    fake_hold(true);
    put("1");
    put("2");
    set("1", OWN("req_id"), "r");
    set("2", OWN("req_id"), "r");
    set("2", OWN("last_prefill"), "1");
    fake_wait_held(2);
    settle();
    is("1", OWN("store"), "send=storing");
    ck_assert_uint_eq(fake_done(), 0);
    ck_assert_uint_eq(known(), 1);
    fake_hold(false);
    fake_wait_done(1);
    ck_assert_str_eq(fake_done_at(0), "-#r");
    core_wait_attr(&r, "1", OWN("store"), "send=sent");
    settle();
    ck_assert_uint_eq(fake_done(), 1);
    ck_assert_uint_eq(known(), 0);
    ck_assert_int_eq(counter("l2fs_requests_done"), 1);
    core_close(&r);
}
END_TEST

/* Each order of the two attributes, before and after the close; the peer is that of the last key. */
START_TEST(last_in_any_order)
{
    struct handle *h;

    begin(SENDER);
    h = open_new("key");
    set("key", _i & 1 ? OWN("req_id") : OWN("last_prefill"), _i & 1 ? "r" : "1");
    if (_i & 2)
        vfs_release(r.fs, h);
    set("key", _i & 1 ? OWN("last_prefill") : OWN("req_id"), _i & 1 ? "1" : "r");
    set("key", OWN("peer"), "p");
    if (!(_i & 2))
        vfs_release(r.fs, h);
    fake_wait_done(1);
    ck_assert_msg(!strcmp(fake_done_at(0), "p#r") || (_i & 2 && !strcmp(fake_done_at(0), "-#r")),
                  "%s", fake_done_at(0));
    core_close(&r);
    ck_assert_uint_eq(fake_done(), 1);
}
END_TEST

START_TEST(last_on_a_sent_key_tells_at_once)
{
    begin(BOTH);
    put("key");
    core_wait_attr(&r, "key", OWN("store"), "mock=stored,send.1=sent");
    fake_wait_sent(1);
    settle();
    set("key", OWN("req_id"), "r");
    ck_assert_uint_eq(known(), 0);
    set("key", OWN("last_prefill"), "1");
    fake_wait_done(1);
    set("key", OWN("last_prefill"), "1"); /* each time it is said */
    fake_wait_done(2);
    set("key", OWN("last_prefill"), "0");
    while (core_set(&r, "key", OWN("evict"), "1"))
        usleep(1000);
    set("key", OWN("last_prefill"), "1"); /* wherever it is */
    fake_wait_done(3);
    put("later"); /* of the same request, without another last_prefill: nobody is told */
    set("later", OWN("req_id"), "r");
    core_wait_attr(&r, "later", OWN("store"), "mock=stored,send.1=sent");
    core_close(&r);
    ck_assert_uint_eq(fake_done(), 3);
}
END_TEST

START_TEST(files_leave_their_request)
{
    begin(SENDER);
    fake_hold(true);
    put("a");
    put("b");
    put("c");
    set("a", OWN("req_id"), "r");
    set("b", OWN("req_id"), "r");
    set("c", OWN("req_id"), "r");
    set("c", OWN("last_prefill"), "1");
    fake_wait_held(3);
    ck_assert_int_eq(vfs_unlink(r.fs, vfs_root(r.fs), "a"), 0);
    set("b", OWN("req_id"), "other");
    settle();
    ck_assert_uint_eq(known(), 2);
    ck_assert_uint_eq(fake_done(), 0);
    set("c", OWN("req_id"), NULL); /* the last one, and it was said: complete without keys */
    fake_wait_done(1);
    ck_assert_uint_eq(known(), 1);
    fake_hold(false);
    core_close(&r);
    ck_assert_uint_eq(fake_done(), 1);
}
END_TEST

START_TEST(taken_back)
{
    begin(SENDER);
    fake_hold(true);
    put("key");
    set("key", OWN("req_id"), "r");
    set("key", OWN("last_prefill"), "1");
    set("key", OWN("last_prefill"), "0");
    fake_hold(false);
    core_close(&r);
    ck_assert_uint_eq(fake_done(), 0);
}
END_TEST

START_TEST(failed_until_a_retry_succeeds)
{
    log_set_level(LOG_LEVEL_ERROR);
    begin(BOTH);
    fake_fail(-EIO);
    lock(&r.fs->ns->lock);
    r.fs->stores.max_tries = 1;
    unlock(&r.fs->ns->lock);
    put("key");
    set("key", OWN("req_id"), "r");
    set("key", OWN("last_prefill"), "1");
    wait_counter("l2fs_requests_failed", 1);
    core_wait_attr(&r, "key", OWN("store"), "mock=stored,send.1=failed");
    if (_i) /* also when it has left L1 since */
        while (core_set(&r, "key", OWN("evict"), "1"))
            usleep(1000);
    ck_assert_uint_eq(fake_done(), 0);
    ck_assert_uint_eq(known(), 1);
    fake_fail(0);
    set("key", OWN("retry"), "1");
    fake_wait_done(1);
    ck_assert_int_eq(counter("l2fs_requests_failed"), 1);
    ck_assert_int_eq(counter("l2fs_requests_done"), 1);
    core_close(&r);
}
END_TEST

/* A version that is lost is never told, whatever comes of the others. */
START_TEST(lost_for_good)
{
    struct inode *inode;
    struct handle *h;

    log_set_level(LOG_LEVEL_ERROR);
    begin(SENDER);
    fake_hold(true);
    put("other");
    set("other", OWN("req_id"), "r");
    h = open_new("key");
    set("key", OWN("req_id"), "r");
    set("key", OWN("last_prefill"), "1");
    inode = core_lookup(&r, "key");
    lock(&r.fs->ns->lock);
    inode->object->suspect = true; /* L1 was full */
    unlock(&r.fs->ns->lock);
    core_forget(&r, inode);
    vfs_release(r.fs, h);
    ck_assert_int_eq(counter("l2fs_requests_failed"), 1);
    fake_hold(false);
    core_close(&r);
    ck_assert_uint_eq(fake_done(), 0);
}
END_TEST

START_TEST(the_oldest_is_forgotten)
{
    char id[32];

    log_set_level(LOG_LEVEL_ERROR);
    begin(SENDER);
    fake_hold(true);
    put("first");
    set("first", OWN("req_id"), "r");
    set("first", OWN("last_prefill"), "1");
    for (int i = 0; i < 3; i++) {
        snprintf(id, sizeof(id), "k%d", i);
        put(id);
    }
    lock(&r.fs->ns->lock);
    r.fs->requests.table.count += REQUESTS_MAX - 2; /* as if there were so many */
    unlock(&r.fs->ns->lock);
    set("k0", OWN("req_id"), "k0");
    ck_assert_int_eq(counter("l2fs_requests_failed"), 0);
    set("k1", OWN("req_id"), "k1");
    ck_assert_int_eq(counter("l2fs_requests_failed"), 1);
    lock(&r.fs->ns->lock);
    r.fs->requests.table.count -= REQUESTS_MAX - 2;
    unlock(&r.fs->ns->lock);
    fake_hold(false);
    core_close(&r);
    ck_assert_uint_eq(fake_done(), 0);
}
END_TEST

/* Nothing is kept where nobody is told. */
START_TEST(without_a_tier_that_sends)
{
    begin("[" FAKE_MOCK "]");
    put("key");
    set("key", OWN("req_id"), "r");
    set("key", OWN("last_prefill"), "1");
    set("key", OWN("peer"), "p");
    ck_assert_uint_eq(known(), 0);
    is("key", OWN("peer"), "p");
    core_wait_attr(&r, "key", OWN("store"), "mock=stored");
    core_close(&r);
}
END_TEST

/* --- peers --- */

static const char *contents(const char *path)
{
    static char buf[65536];
    ssize_t n = core_read(&r, path, buf, sizeof(buf) - 1);

    ck_assert_msg(n > 0, "%s: %zd", path, n);
    buf[n] = '\0';
    return buf;
}

static void file_says(const char *path, const char *text)
{
    const char *all = contents(path);

    ck_assert_msg(strstr(all, text), "%s lacks \"%s\": %s", path, text, all);
}

static void file_lacks(const char *path, const char *text)
{
    ck_assert_ptr_null(strstr(contents(path), text));
}

static bool add_name(void *arg, const struct vfs_dirent *e)
{
    if (e->name[0] != '.')
        text_printf(arg, "%s ", e->name);
    return true;
}

static void peers_are(const char *names)
{
    struct inode *dir = core_lookup(&r, ".l2fs/peers");
    struct text found = {0};

    ck_assert_int_eq(vfs_opendir(r.fs, dir), 0);
    ck_assert_int_eq(vfs_readdir(r.fs, dir, 0, false, add_name, &found), 0);
    vfs_releasedir(r.fs, dir);
    core_forget(&r, dir);
    ck_assert_str_eq(found.data ? found.data : "", names);
    text_fini(&found);
}

START_TEST(peers_come_and_go)
{
    char buf[16];
    struct handle *h;

    fake_set_peers(
        "{\"node/1\":{\"state\":\"up\",\"inflight\":7,\"bytes\":9,\"rtt\":50},\"..\":{}}");
    begin("[" FAKE_SEND "," FAKE_MOCK "," FAKE_SEND "]");
    file_says(".l2fs/peers/node_1/state", "up\n"); /* without a listing before */
    file_says(".l2fs/peers/node_1/inflight", "7\n");
    file_says(".l2fs/peers/node_1/bytes", "9\n");
    file_says(".l2fs/peers/node_1@send.2/rtt", "50\n");
    peers_are("node_1 node_1@send.2 ");
    file_says(".l2fs/status", "\"node_1@send.2\"");
    file_says(".l2fs/metrics", "l2fs_peer_up{adapter=\"send\",peer=\"node_1\"} 1\n");
    file_says(".l2fs/metrics", "l2fs_peer_bytes_total{adapter=\"send\",peer=\"node_1\"} 9\n");
    ck_assert_int_eq(core_open_file(&r, ".l2fs/peers/node_1/rtt", O_RDONLY, &h), 0);
    fake_set_peers("{\"b\":{\"state\":\"down\"}}");
    peers_are("b b@send.2 ");
    ck_assert_int_eq(vfs_read(r.fs, h, buf, sizeof(buf), 0, NULL, &(const void *){NULL}), -ESTALE);
    vfs_release(r.fs, h);
    ck_assert_int_eq(core_read(&r, ".l2fs/peers/node_1/rtt", buf, sizeof(buf)), -ENOENT);
    file_says(".l2fs/metrics", "l2fs_peer_up{adapter=\"send\",peer=\"b\"} 0\n");
    file_lacks(".l2fs/metrics", "peer=\"node_1\"");
    fake_set_peers("{}");
    peers_are("");
    core_close(&r);
}
END_TEST

/* --- cancelling --- */

START_TEST(removing_does_not_wait)
{
    begin(_i ? BOTH : SENDER);
    fake_hold(true);
    put("key");
    fake_wait_held(1);
    ck_assert_int_eq(vfs_unlink(r.fs, vfs_root(r.fs), "key"), 0);
    fake_wait_cancelled(1);
    put("key"); /* the next one of that name is not meant */
    fake_wait_held(1);
    settle();
    ck_assert_uint_eq(fake_cancelled(), 1);
    fake_hold(false);
    fake_wait_sent(1);
    core_close(&r);
    ck_assert_uint_eq(fake_sent(), 1);
}
END_TEST

START_TEST(renaming_over_does_not_wait)
{
    struct vfs_rename over = {.from = "new", .to = "key"};
    struct inode *sync;

    begin(_i ? BOTH : SENDER);
    core_mkdir(&r, "d"); /* another task */
    fake_hold(true);
    put("key");
    fake_wait_held(1);
    put("d/new");
    fake_wait_held(2);
    over.from_dir = core_lookup(&r, "d");
    over.to_dir = vfs_root(r.fs);
    ck_assert_int_eq(vfs_rename(r.fs, &over, &sync), 0);
    core_forget(&r, over.from_dir);
    fake_wait_cancelled(2); /* what "d/new" was sent as, too */
    fake_wait_held(1);
    fake_hold(false);
    fake_wait_sent(1);
    core_close(&r);
    ck_assert_uint_eq(fake_sent(), 1);
    ck_assert_str_eq(fake_sent_at(0), "key>-#-");
}
END_TEST

static void cancel(const char *id)
{
    set(".l2fs", OWN("cancel"), id);
}

START_TEST(cancelled_requests)
{
    log_set_level(LOG_LEVEL_ERROR);
    begin(_i ? BOTH : SENDER);
    fake_hold(true);
    core_mkdir(&r, "d");
    put("a");
    put("b");
    put("d/other");
    set("a", OWN("req_id"), "r");
    set("b", OWN("req_id"), "r");
    set("b", OWN("last_prefill"), "1");
    fake_wait_held(3);
    cancel("r");
    fake_wait_cancelled(2);
    cancel("r"); /* again, and what never was: nothing */
    cancel("nobody");
    ck_assert_int_eq(core_set(&r, ".l2fs", OWN("cancel"), ""), -EINVAL);
    core_wait_attr(&r, "a", OWN("store"), _i ? "mock=stored,send.1=failed" : "send=failed");
    core_wait_attr(&r, "b", OWN("store"), _i ? "mock=stored,send.1=failed" : "send=failed");
    is("a", OWN("error"), "ECANCELED (Operation canceled)");
    fake_hold(false);
    fake_wait_sent(1);
    ck_assert_str_eq(fake_sent_at(0), "d/other>-#-");
    ck_assert_uint_eq(known(), 0);
    ck_assert_int_eq(counter("l2fs_requests_cancelled"), 1);
    ck_assert_int_eq(counter("l2fs_requests_failed"), 0);
    set("a", OWN("retry"), "1"); /* by hand it is sent */
    fake_wait_sent(2);
    ck_assert_str_eq(fake_sent_at(1), "a>-#r");
    put("b"); /* and when it is written again */
    fake_wait_sent(3);
    settle();
    core_close(&r);
    ck_assert_uint_eq(fake_done(), 0);
}
END_TEST

/* What waits for its turn or for another try is not sent either. */
START_TEST(cancelled_before_they_fly)
{
    log_set_level(LOG_LEVEL_ERROR);
    begin(_i ? BOTH : SENDER);
    fake_fail(-EIO);
    put("key");
    set("key", OWN("req_id"), "r");
    wait_counter("l2fs_store_failures", 1);
    fake_fail(0);
    cancel("r");
    core_wait_attr(&r, "key", OWN("store"), _i ? "mock=stored,send.1=failed" : "send=failed");
    core_wait_attr(&r, "key", OWN("error"), "ECANCELED (Operation canceled)");
    core_close(&r);
    ck_assert_uint_eq(fake_sent(), 0);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("requests");

    suite_add(s, "routes",
              TESTS(peers_are_inherited, attributes_before_the_close_are_sent_along,
                    another_peer_sends_again, another_peer_while_it_is_sent, a_new_name_is_sent,
                    what_a_moved_directory_has_is_sent, a_directory_moves_while_it_is_sent));
    suite_add(s, "requests",
              TESTS(complete_when_all_are_sent, last_on_a_sent_key_tells_at_once,
                    files_leave_their_request, taken_back, lost_for_good, the_oldest_is_forgotten,
                    without_a_tier_that_sends));
    suite_add_loop(s, "order", TESTS(last_in_any_order), 4);
    suite_add_loop(s, "failed", TESTS(failed_until_a_retry_succeeds), 2);
    suite_add_loop(s, "cancel",
                   TESTS(removing_does_not_wait, renaming_over_does_not_wait, cancelled_requests),
                   2);
    suite_add_loop(s, "early", TESTS(cancelled_before_they_fly), 2);
    suite_add(s, "peers", TESTS(peers_come_and_go));
    return suite_run(s);
}
