/* test_events.c - JSON quoting, the stream of events, lapped and waiting followers, kept errors. */
#include <fcntl.h>
#include <poll.h>
#include <semaphore.h>
#include <stdio.h>

#include "core_rig.h"
#include "suite.h"

static const struct {
    const char *in;
    const char *out;
} quotes[] = {
    {"", "\"\""},
    {"plain key/a.b", "\"plain key/a.b\""},
    {"a\"b\\c", "\"a\\\"b\\\\c\""},
    {"\n\t\x7f", "\"\\u000a\\u0009\\u007f\""},
    {"gr\xc3\xbc\xc3\x9f", "\"gr\xc3\xbc\xc3\x9f\""},
    {"\xe2\x82\xac\xf0\x9f\x98\x80", "\"\xe2\x82\xac\xf0\x9f\x98\x80\""},
    {"\xff\xfe", "\"\\u00ff\\u00fe\""},
    {"\xc3", "\"\\u00c3\""},
    {"\xc0\x80", "\"\\u00c0\\u0080\""},                       /* overlong */
    {"\xe0\x80\x80", "\"\\u00e0\\u0080\\u0080\""},            /* overlong */
    {"\xed\xa0\x80", "\"\\u00ed\\u00a0\\u0080\""},            /* surrogate */
    {"\xf4\x90\x80\x80", "\"\\u00f4\\u0090\\u0080\\u0080\""}, /* above U+10FFFF */
    {"\xe2\x82", "\"\\u00e2\\u0082\""},
};

START_TEST(quoting)
{
    struct text t = {0};
    json_t *value;

    events_quote(&t, quotes[_i].in);
    ck_assert_str_eq(t.data, quotes[_i].out);
    value = json_loads(t.data, JSON_DECODE_ANY, NULL);
    ck_assert_ptr_nonnull(value);
    json_decref(value);
    text_fini(&t);
}
END_TEST

/* Parses one line and takes it from the text. */
static json_t *take_line(char **text)
{
    char *end = strchr(*text, '\n');
    json_t *value;

    ck_assert_ptr_nonnull(end);
    *end = '\0';
    value = json_loads(*text, 0, NULL);
    ck_assert_msg(value, "not JSON: %s", *text);
    *text = end + 1;
    return value;
}

static ssize_t read_events(struct core_rig *r, struct handle *h, char *buf, size_t size,
                           struct waiter *w)
{
    const void *direct = NULL;
    ssize_t n = vfs_read(r->fs, h, buf, size - 1, 0, w, &direct);

    buf[n > 0 ? n : 0] = '\0';
    return n;
}

START_TEST(lines)
{
    struct core_rig r;
    struct handle *h;
    char buf[4096], *p = buf;
    json_t *line;

    core_open(&r, CORE_MOCK);
    events_add(r.fs, "before", "nobody/follows", NULL);
    ck_assert_int_eq(core_open_file(&r, ".l2fs/events", O_RDONLY | O_NONBLOCK, &h), 0);
    ck_assert_int_eq(read_events(&r, h, buf, sizeof(buf), NULL), -EAGAIN);
    events_add(r.fs, "stored", "a\"\xff", "\"tier\":\"fs\"");
    events_add(r.fs, "tick", NULL, NULL);
    ck_assert_int_gt(read_events(&r, h, buf, sizeof(buf), NULL), 0);
    line = take_line(&p);
    ck_assert_str_eq(json_string_value(json_object_get(line, "event")), "stored");
    ck_assert_str_eq(json_string_value(json_object_get(line, "tier")), "fs");
    ck_assert_str_eq(json_string_value(json_object_get(line, "key")), "a\"\xc3\xbf");
    ck_assert_uint_eq(json_string_length(json_object_get(line, "time")), 24);
    json_decref(line);
    line = take_line(&p);
    ck_assert_ptr_null(json_object_get(line, "key"));
    json_decref(line);
    ck_assert_str_eq(p, "");
    vfs_release(r.fs, h);
    core_close(&r);
}
END_TEST

/* Names of the kept events about `key`, in order. */
static char *history_of(struct core_rig *r, const char *key)
{
    struct text names = {0}, all = {0};
    char *p;

    events_history(r->fs->events, &all);
    for (p = all.data; p && *p;) {
        json_t *line = take_line(&p);
        const char *of = json_string_value(json_object_get(line, "key"));

        if (of && !strcmp(of, key))
            text_printf(&names, "%s ", json_string_value(json_object_get(line, "event")));
        json_decref(line);
    }
    text_fini(&all);
    text_puts(&names, "");
    return text_steal(&names, NULL);
}

static void assert_history(struct core_rig *r, const char *key, const char *names)
{
    char *found = history_of(r, key);

    ck_assert_str_eq(found ? found : "", names);
    free(found);
}

START_TEST(life_of_a_key)
{
    struct core_rig r;
    char buf[16384];

    core_open(&r, CORE_MOCK);
    core_write(&r, "key", "0123456789", 10);
    core_wait_attr(&r, "key", "user.l2fs.store", "mock=stored");
    ck_assert_int_eq(core_set(&r, "key", "user.l2fs.pin", "hard"), 0);
    ck_assert_int_eq(core_set(&r, "key", "user.l2fs.pin", "none"), 0);
    ck_assert_int_eq(core_set(&r, "key", "user.l2fs.pin", "none"), 0);
    ck_assert_int_eq(core_set(&r, "key", "user.l2fs.evict", "1"), 0);
    ck_assert_int_eq(core_read(&r, "key", buf, sizeof(buf)), 10);
    ck_assert_int_eq(vfs_unlink(r.fs, vfs_root(r.fs), "key"), 0);
    assert_history(&r, "key", "published stored pinned unpinned evicted loaded removed ");
    ck_assert_int_gt(core_read(&r, ".l2fs/history", buf, sizeof(buf)), 300);
    core_close(&r);
}
END_TEST

/* What is written under a temporary name is published by its rename or its link. */
START_TEST(final_names)
{
    struct core_rig r;
    struct vfs_rename rename = {.from = "a.tmp", .to = "a"};
    struct inode *sync, *inode;

    core_open(&r, CORE_MOCK);
    core_write(&r, "a.tmp", "x", 1);
    core_write(&r, "b.tmp", "y", 1);
    assert_history(&r, "a.tmp", "");
    rename.from_dir = rename.to_dir = vfs_root(r.fs);
    ck_assert_int_eq(vfs_rename(r.fs, &rename, &sync), 0);
    inode = core_lookup(&r, "b.tmp");
    ck_assert_int_eq(vfs_link(r.fs, inode, vfs_root(r.fs), "b", NULL), 0);
    core_forget(&r, inode);
    core_forget(&r, inode);
    core_wait_attr(&r, "a", "user.l2fs.store", "mock=stored");
    core_wait_attr(&r, "b", "user.l2fs.store", "mock=stored");
    assert_history(&r, "a.tmp", "");
    assert_history(&r, "a", "published stored ");
    assert_history(&r, "b", "published stored ");
    rename = (struct vfs_rename){vfs_root(r.fs), "a", vfs_root(r.fs), "c", 0};
    ck_assert_int_eq(vfs_rename(r.fs, &rename, &sync), 0);
    assert_history(&r, "a", "published stored renamed ");
    core_close(&r);
}
END_TEST

START_TEST(small_reads_give_every_byte)
{
    struct core_rig r;
    struct handle *h;
    struct text all = {0};
    char buf[8], *p;
    ssize_t n;

    core_open(&r, CORE_MOCK);
    ck_assert_int_eq(core_open_file(&r, ".l2fs/events", O_RDONLY | O_NONBLOCK, &h), 0);
    for (int i = 0; i < 50; i++)
        events_add(r.fs, "e", "key", NULL);
    while ((n = read_events(&r, h, buf, sizeof(buf), NULL)) > 0)
        text_append(&all, buf, (size_t)n);
    ck_assert_int_eq(n, -EAGAIN);
    p = all.data;
    for (int i = 0; i < 50; i++)
        json_decref(take_line(&p));
    ck_assert_str_eq(p, "");
    text_fini(&all);
    vfs_release(r.fs, h);
    core_close(&r);
}
END_TEST

START_TEST(lapped)
{
    static char buf[1 << 20];
    struct core_rig r;
    struct handle *h;
    char *p = buf;
    size_t n = 0;
    ssize_t got;
    json_t *line;

    core_open(&r, CORE_MOCK);
    ck_assert_int_eq(core_open_file(&r, ".l2fs/events", O_RDONLY | O_NONBLOCK, &h), 0);
    for (int i = 0; i < EVENTS_KEPT + 100; i++)
        events_add(r.fs, "e", "key", NULL);
    while ((got = read_events(&r, h, buf + n, sizeof(buf) - n, NULL)) > 0)
        n += (size_t)got;
    line = take_line(&p);
    ck_assert_str_eq(json_string_value(json_object_get(line, "event")), "lost");
    ck_assert_int_eq(json_integer_value(json_object_get(line, "count")), 100);
    json_decref(line);
    for (int i = 0; i < EVENTS_KEPT; i++)
        json_decref(take_line(&p));
    ck_assert_str_eq(p, "");
    vfs_release(r.fs, h);
    core_close(&r);
}
END_TEST

struct woken {
    struct waiter w;
    sem_t sem;
};

static void on_retry(struct waiter *w)
{
    sem_post(&container_of(w, struct woken, w)->sem);
}

static void woken_wait(struct woken *w)
{
    struct timespec ts;

    clock_gettime(CLOCK_REALTIME, &ts);
    ts.tv_sec += 10;
    ck_assert_int_eq(sem_timedwait(&w->sem, &ts), 0);
}

START_TEST(waits_for_the_next)
{
    struct woken w = {.w.retry = on_retry};
    struct core_rig r;
    struct handle *h;
    char buf[4096];

    sem_init(&w.sem, 0, 0);
    core_open(&r, CORE_MOCK);
    ck_assert_int_eq(core_open_file(&r, ".l2fs/events", O_RDONLY, &h), 0);
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(read_events(&r, h, buf, sizeof(buf), &w.w), -EINPROGRESS);
        events_add(r.fs, "e", "key", NULL);
        woken_wait(&w);
        ck_assert_int_gt(read_events(&r, h, buf, sizeof(buf), &w.w), 0);
    }
    ck_assert_int_eq(read_events(&r, h, buf, sizeof(buf), &w.w), -EINPROGRESS);
    vfs_interrupt(r.fs, &w.w);
    woken_wait(&w);
    ck_assert_int_eq(read_events(&r, h, buf, sizeof(buf), &w.w), -EINTR);
    vfs_release(r.fs, h);
    core_close(&r);
}
END_TEST

START_TEST(polls)
{
    struct woken w = {.w.retry = on_retry};
    struct core_rig r;
    struct handle *h;

    sem_init(&w.sem, 0, 0);
    core_open(&r, CORE_MOCK);
    ck_assert_int_eq(core_open_file(&r, ".l2fs/events", O_RDONLY | O_NONBLOCK, &h), 0);
    ck_assert_uint_eq(vfs_poll(r.fs, h, &w.w), 0);
    events_add(r.fs, "e", "key", NULL);
    woken_wait(&w);
    ck_assert(vfs_poll(r.fs, h, NULL) & POLLIN);
    vfs_release(r.fs, h);
    ck_assert_int_eq(core_open_file(&r, ".l2fs/events", O_RDONLY | O_NONBLOCK, &h), 0);
    w.w.deadline = 0;
    ck_assert_uint_eq(vfs_poll(r.fs, h, &w.w), 0);
    vfs_release(r.fs, h);
    woken_wait(&w);
    core_close(&r);
}
END_TEST

static void count_line(void *arg, const char *line)
{
    struct text *t = arg;

    text_puts(t, line);
}

START_TEST(errors_are_kept)
{
    struct text t = {0};
    struct core_rig r;
    char *p;

    core_open(&r, CORE_MOCK);
    for (int i = 0; i < EVENTS_ERRORS + 3; i++)
        events_add(r.fs, "load-failed", "key", "\"n\":1");
    events_add(r.fs, "loaded", "key", NULL);
    events_add(r.fs, "other", "last", "\"error\":\"EIO\"");
    events_errors(r.fs->events, count_line, &t);
    p = t.data;
    for (int i = 0; i < EVENTS_ERRORS; i++) {
        json_t *line = take_line(&p);

        if (i == EVENTS_ERRORS - 1)
            ck_assert_str_eq(json_string_value(json_object_get(line, "key")), "last");
        json_decref(line);
    }
    ck_assert_str_eq(p, "");
    text_fini(&t);
    core_close(&r);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("events");

    suite_add_loop(s, "quoting", TESTS(quoting), ARRAY_SIZE(quotes));
    suite_add(s, "reading", TESTS(lines, small_reads_give_every_byte, lapped));
    suite_add(s, "names", TESTS(life_of_a_key, final_names));
    suite_add(s, "waiting", TESTS(waits_for_the_next, polls));
    suite_add(s, "errors", TESTS(errors_are_kept));
    return suite_run(s);
}
