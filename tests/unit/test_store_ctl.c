/* test_store_ctl.c - the store controller over real tiers, with an owner that only counts. Jobs are
 * queued before the loop runs where their batches are asserted.
 */
#include "store_ctl.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>

#include "checksum.h"
#include "clock.h"
#include "lock.h"
#include "log.h"
#include "suite.h"

#define JOBS 200
#define WAIT_NS (20 * NSEC_PER_SEC)
#define MOCK "{\"type\":\"mock\",\"max_size_gb\":1,\"mock_bandwidth_gb\":1000}"
#define FAULT(rules)                                                                               \
    "{\"type\":\"fault\",\"inner\":" MOCK ",\"release\":\"@\",\"rules\":[" rules "]}"
#define NEVER FAULT("{\"op\":\"store\",\"action\":\"never\"}")

struct one {
    struct store_job job;
    struct store_parcel parcel;
    char key[32];
    int done;      /* mutex */
    bool released; /* mutex */
    bool late;     /* mutex */
};

static struct {
    struct store_owner owner;
    struct loop *loop;
    struct mailbox *mailbox;
    struct metrics *metrics;
    struct staging *staging;
    struct tier *tiers[TIERS_MAX];
    char names[TIERS_MAX][8];
    struct store_ctl *ctl;
    char dir[64];
    char release[96];
    pthread_mutex_t mutex;
    pthread_cond_t cond;
    size_t done, released;   /* mutex */
    struct one *order[JOBS]; /* mutex; as they were done */
    uint64_t most;           /* loop thread: bytes prepared and not done */
    uint64_t in_hand;
    uint64_t size;
    int empty; /* a descriptor */
    struct one jobs[JOBS];
} t;

/* --- the owner --- */

static int prepare(struct store_owner *o, struct store_job *job)
{
    struct one *one = container_of(job, struct one, job);
    int fd = memfd_create("store", MFD_CLOEXEC);

    (void)o;
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(ftruncate(fd, (off_t)t.size), 0);
    one->parcel = (struct store_parcel){.key = one->key, .buf = {.fd = fd, .size = t.size}};
    one->parcel.buf.stable = true;
    one->parcel.buf.attr.mode = S_IFREG | 0644;
    ck_assert_int_eq(checksum_file(fd, t.size, &one->parcel.buf.crc32c), 0);
    job->parcel = &one->parcel;
    t.in_hand += t.size;
    t.most = MAX(t.most, t.in_hand);
    return 0;
}

static void done(struct store_owner *o, struct store_job *job)
{
    struct one *one = container_of(job, struct one, job);

    (void)o;
    if (job->parcel && !job->late)
        close(one->parcel.buf.fd);
    if (job->parcel)
        t.in_hand -= t.size;
    LOCKED_SCOPE(&t.mutex);
    one->done++;
    one->late = job->late;
    if (t.done < JOBS)
        t.order[t.done] = one;
    t.done++;
    pthread_cond_broadcast(&t.cond);
}

static void release(struct store_owner *o, struct store_parcel *parcel)
{
    struct one *one = container_of(parcel, struct one, parcel);

    (void)o;
    close(parcel->buf.fd);
    LOCKED_SCOPE(&t.mutex);
    ck_assert(!one->released && one->late);
    one->released = true;
    t.released++;
    pthread_cond_broadcast(&t.cond);
}

/* Jobs of which there are many: one key, one file. */
static struct store_parcel empty = {.key = "k"};

static int prepare_empty(struct store_owner *o, struct store_job *job)
{
    (void)o;
    empty.buf.stable = true;
    empty.buf.fd = t.empty;
    job->parcel = &empty;
    return 0;
}

static void count_done(struct store_owner *o, struct store_job *job)
{
    (void)o;
    (void)job;
    LOCKED_SCOPE(&t.mutex);
    t.done++;
    pthread_cond_broadcast(&t.cond);
}

/* --- the rig --- */

static struct tier *open_tier(size_t i, const char *spec)
{
    struct adapter_env env = {t.staging, t.metrics, t.names[i]};
    struct text text = {0}, err = {0};
    struct tier *tier;
    json_t *json;
    int rc;

    for (; *spec; spec++)
        *spec == '@' ? text_puts(&text, t.release) : text_append(&text, spec, 1);
    json = json_loads(text.data, 0, NULL);
    ck_assert_ptr_nonnull(json);
    snprintf(t.names[i], sizeof(t.names[i]), "t%zu", i);
    rc = tier_open(&env, json, &tier, &err);
    ck_assert_msg(!rc, "%s", err.data ? err.data : "?");
    json_decref(json);
    text_fini(&text);
    text_fini(&err);
    return tier;
}

static void rig_open(const char *first, const char *second, uint64_t timeout)
{
    struct staging_config c = {.dir = t.dir, .size = 64 * MIB};
    struct store_ctl_params p = {.max_bytes = 64 * MIB, .max_tasks = 16, .timeout = timeout};

    memset(&t, 0, sizeof(t));
    strcpy(t.dir, "/dev/shm/l2fs-storectl-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(t.dir));
    snprintf(t.release, sizeof(t.release), "%s.release", t.dir);
    t.size = 1000;
    t.empty = memfd_create("empty", MFD_CLOEXEC);
    lock_init(&t.mutex);
    cond_init(&t.cond);
    t.owner = (struct store_owner){prepare, done, release};
    t.metrics = metrics_create();
    ck_assert_int_eq(staging_open(&c, &t.staging), 0);
    if (first)
        t.tiers[0] = open_tier(0, first);
    if (second)
        t.tiers[1] = open_tier(1, second);
    ck_assert_int_eq(loop_create("store", &t.loop), 0);
    ck_assert_int_eq(mailbox_create(t.loop, &t.mailbox), 0);
    p.loop = t.loop;
    p.mailbox = t.mailbox;
    p.tiers = t.tiers;
    p.owner = &t.owner;
    p.metrics = t.metrics;
    ck_assert_int_eq(store_ctl_create(&p, &t.ctl), 0);
}

static void rig_close(void)
{
    loop_stop(t.loop);
    for (size_t i = 0; i < TIERS_MAX; i++)
        tier_close(t.tiers[i]);
    store_ctl_end(t.ctl);
    store_ctl_destroy(t.ctl);
    mailbox_destroy(t.mailbox);
    loop_destroy(t.loop);
    staging_close(t.staging, false);
    metrics_destroy(t.metrics);
    unlink(t.release);
    rmdir(t.dir);
    close(t.empty);
    pthread_cond_destroy(&t.cond);
    pthread_mutex_destroy(&t.mutex);
}

static void start(void)
{
    ck_assert_int_eq(loop_start(t.loop), 0);
}

static void submit(size_t i, const char *prefix, uint64_t group)
{
    snprintf(t.jobs[i].key, sizeof(t.jobs[i].key), "%s%zu", prefix, i);
    t.jobs[i].job.group = group;
    t.jobs[i].job.bytes = t.size;
    t.jobs[i].job.targets = 3;
    store_ctl_submit(t.ctl, &t.jobs[i].job, false);
}

static void wait_count(const size_t *count, size_t n)
{
    uint64_t deadline = clock_deadline(WAIT_NS);
    int err = 0;

    LOCKED_SCOPE(&t.mutex);
    while (*count < n && !err)
        err = cond_wait_until(&t.cond, &t.mutex, deadline);
    ck_assert_msg(*count == n, "%zu of %zu", *count, n);
}

static int64_t tasks(const char *tier)
{
    char labels[64];

    snprintf(labels, sizeof(labels), "adapter=\"%s\",op=\"store\"", tier);
    return metric_value(metrics_counter(t.metrics, "l2fs_tier_submitted", "", labels));
}

static struct store_tier_status status_of(size_t i)
{
    struct store_tier_status s;

    store_ctl_tier_status(t.ctl, i, &s);
    return s;
}

/* The status follows what the owner was told. */
#define UNTIL(condition)                                                                           \
    do {                                                                                           \
        uint64_t limit = clock_deadline(WAIT_NS);                                                  \
        while (!(condition)) {                                                                     \
            ck_assert_msg(clock_now() < limit, "%s never came true", #condition);                  \
            usleep(1000);                                                                          \
        }                                                                                          \
    } while (0)

static void let_go(void)
{
    int fd = open(t.release, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);

    ck_assert_int_ge(fd, 0);
    close(fd);
}

/* --- from begin to end --- */

START_TEST(start_and_stop)
{
    rig_open(MOCK, NULL, WAIT_NS);
    start();
    rig_close();
}
END_TEST

START_TEST(start_and_stop_without_tiers)
{
    rig_open(NULL, NULL, WAIT_NS);
    start();
    submit(0, "k", 1);
    wait_count(&t.done, 1);
    ck_assert_uint_eq(t.jobs[0].job.stored | t.jobs[0].job.failed, 0);
    rig_close();
}
END_TEST

START_TEST(a_submit_wakes_the_loop)
{
    rig_open(MOCK, NULL, WAIT_NS);
    start();
    submit(0, "k", 1);
    wait_count(&t.done, 1);
    ck_assert_uint_eq(t.jobs[0].job.stored, 1);
    ck_assert_int_eq(t.jobs[0].job.error, 0);
    ck_assert(t.jobs[0].job.has_crc);
    rig_close();
}
END_TEST

START_TEST(a_withdrawn_job_is_not_done)
{
    rig_open(MOCK, NULL, WAIT_NS);
    submit(0, "k", 1);
    submit(1, "k", 1);
    ck_assert(store_ctl_withdraw(t.ctl, &t.jobs[0].job));
    start();
    wait_count(&t.done, 1);
    ck_assert(!store_ctl_withdraw(t.ctl, &t.jobs[0].job));
    ck_assert_int_eq(t.jobs[0].done, 0);
    rig_close();
}
END_TEST

START_TEST(what_is_queued_at_the_end_is_done)
{
    rig_open(MOCK, NULL, WAIT_NS);
    submit(0, "k", 1);
    rig_close();
    ck_assert_int_eq(t.jobs[0].done, 1);
    ck_assert_int_eq(t.jobs[0].job.error, -ESHUTDOWN);
}
END_TEST

/* --- batches --- */

START_TEST(one_directory_makes_one_task_per_tier)
{
    rig_open(MOCK, MOCK, WAIT_NS);
    for (size_t i = 0; i < 30; i++)
        submit(i, "k", i % 3);
    start();
    wait_count(&t.done, 30);
    ck_assert_int_eq(tasks("t0"), 3);
    ck_assert_int_eq(tasks("t1"), 3);
    for (size_t i = 0; i < 30; i++) {
        ck_assert_uint_eq(t.jobs[i].job.stored, 3);
        ck_assert_int_eq(t.jobs[i].done, 1);
    }
    rig_close();
}
END_TEST

START_TEST(a_task_has_64_keys_at_most)
{
    rig_open(MOCK, NULL, WAIT_NS);
    for (size_t i = 0; i < STORE_BATCH_KEYS + 1; i++)
        submit(i, "k", 1);
    start();
    wait_count(&t.done, STORE_BATCH_KEYS + 1);
    ck_assert_int_eq(tasks("t0"), 2);
    rig_close();
}
END_TEST

START_TEST(a_task_has_64_mib_at_most)
{
    rig_open(MOCK, NULL, WAIT_NS);
    t.size = 24 * MIB;
    for (size_t i = 0; i < 4; i++)
        submit(i, "k", 1);
    start();
    wait_count(&t.done, 4);
    ck_assert_int_eq(tasks("t0"), 2);
    rig_close();
}
END_TEST

START_TEST(the_bytes_in_flight_are_bounded)
{
    rig_open(MOCK, NULL, WAIT_NS);
    t.size = 8 * MIB;
    for (size_t i = 0; i < 40; i++)
        submit(i, "k", i);
    start();
    wait_count(&t.done, 40);
    ck_assert_uint_le(t.most, 64 * MIB);
    rig_close();
}
END_TEST

static uint64_t cost_of(size_t n)
{
    struct store_job *jobs = calloc(n, sizeof(*jobs));
    uint64_t began;

    ck_assert_ptr_nonnull(jobs);
    rig_open("{\"type\":\"null\"}", NULL, WAIT_NS);
    t.owner = (struct store_owner){prepare_empty, count_done, release};
    began = clock_now();
    for (size_t i = 0; i < n; i++) {
        jobs[i].group = i / 1000;
        jobs[i].bytes = 1000;
        jobs[i].targets = 1;
        store_ctl_submit(t.ctl, &jobs[i], false);
    }
    start();
    wait_count(&t.done, n);
    began = clock_now() - began;
    rig_close();
    free(jobs);
    return began / n;
}

/* Queueing, batching and taking the answers costs the same for each key, however many there are. */
START_TEST(the_cost_of_a_key_does_not_grow)
{
    uint64_t few, more;
    int tries = 5; /* others have the processor, too */

    do {
        few = cost_of(10000);
        more = cost_of(100000);
    } while (more >= 4 * few + 1000 && --tries);
    log_info("a store through the controller costs %u ns of 10000, %u ns of 100000", (unsigned)few,
             (unsigned)more);
    ck_assert_uint_lt(more, 4 * few + 1000);
}
END_TEST

/* --- failures --- */

START_TEST(outcomes_are_per_key)
{
    rig_open(FAULT("{\"op\":\"store\",\"key\":\"bad*\",\"action\":\"fail\",\"errno\":\"EIO\"}"),
             MOCK, WAIT_NS);
    for (size_t i = 0; i < 20; i++)
        submit(i, i % 4 ? "good" : "bad", 1);
    start();
    wait_count(&t.done, 20);
    ck_assert_int_eq(tasks("t0"), 1);
    for (size_t i = 0; i < 20; i++) {
        const struct store_job *job = &t.jobs[i].job;

        ck_assert_uint_eq(job->stored, i % 4 ? 3 : 2);
        ck_assert_uint_eq(job->failed, i % 4 ? 0 : 1);
        ck_assert_int_eq(job->error, i % 4 ? 0 : -EIO);
        ck_assert_int_eq(job->errors[0], i % 4 ? 0 : -EIO);
    }
    UNTIL(status_of(0).last_error == -EIO);
    ck_assert_int_eq(status_of(1).last_error, 0);
    rig_close();
}
END_TEST

START_TEST(a_refused_submit_gives_the_parcels_back)
{
    rig_open(FAULT("{\"op\":\"store\",\"action\":\"refuse\",\"errno\":\"ENOMEM\"}"), NULL, WAIT_NS);
    for (size_t i = 0; i < 5; i++)
        submit(i, "k", 1);
    start();
    wait_count(&t.done, 5);
    for (size_t i = 0; i < 5; i++) {
        ck_assert_uint_eq(t.jobs[i].job.failed, 1);
        ck_assert_uint_eq(t.jobs[i].job.late, 0);
        ck_assert_int_eq(t.jobs[i].job.error, -ENOMEM);
    }
    UNTIL(status_of(0).in_flight == 0);
    rig_close();
}
END_TEST

START_TEST(a_tier_that_never_answers_stops_no_other)
{
    rig_open(NEVER, MOCK, 3 * NSEC_PER_SEC); /* the other one has enough of */
    start();
    for (size_t i = 0; i < 100; i++)
        submit(i, "k", i);
    wait_count(&t.done, 100);
    for (size_t i = 0; i < 100; i++) {
        ck_assert_uint_eq(t.jobs[i].job.stored, 2);
        ck_assert_uint_eq(t.jobs[i].job.failed, 1);
        ck_assert(t.jobs[i].job.errors[0] == -ETIMEDOUT || t.jobs[i].job.errors[0] == -EAGAIN);
    }
    UNTIL(status_of(0).stalled);
    ck_assert(!status_of(1).stalled);
    UNTIL(status_of(0).overdue >= STALL_TASKS);
    ck_assert_uint_le(status_of(0).overdue, 20); /* 16 at a time, and probes */
    ck_assert_uint_gt(status_of(0).oldest, 0);
    ck_assert_uint_eq(t.released, 0);
    rig_close();
}
END_TEST

START_TEST(a_stalled_tier_recovers_when_it_answers)
{
    size_t late = 0;

    rig_open(NEVER, MOCK, 3 * NSEC_PER_SEC);
    start();
    for (size_t i = 0; i < 20; i++)
        submit(i, "k", i);
    wait_count(&t.done, 20);
    UNTIL(status_of(0).stalled);
    for (size_t i = 0; i < 20; i++)
        late += t.jobs[i].late;
    ck_assert_uint_ge(late, STALL_TASKS);
    let_go();
    wait_count(&t.released, late);
    for (size_t i = 0; i < 20; i++)
        ck_assert_uint_eq(t.jobs[i].parcel.arrived, t.jobs[i].late ? 1 : 0);
    submit(100, "k", 1);
    wait_count(&t.done, 21);
    ck_assert_uint_eq(t.jobs[100].job.stored, 3);
    UNTIL(!status_of(0).stalled);
    UNTIL(status_of(0).overdue == 0);
    rig_close();
}
END_TEST

START_TEST(a_stalled_tier_gets_one_probe_at_a_time)
{
    int64_t before;
    size_t refused = 0;

    rig_open(NEVER, NULL, 100 * NSEC_PER_MSEC);
    start();
    for (size_t i = 0; i < 8; i++)
        submit(i, "k", i);
    wait_count(&t.done, 8);
    before = tasks("t0");
    for (size_t i = 8; i < 50; i++)
        submit(i, "k", i);
    wait_count(&t.done, 50);
    ck_assert_int_le(tasks("t0"), before + 2);
    for (size_t i = 8; i < 50; i++)
        ck_assert_int_eq(t.jobs[i].job.errors[0], -ETIMEDOUT);
    for (size_t i = 8; i < 50; i++)
        refused += t.jobs[i].job.refused;
    ck_assert_uint_ge(refused, 40);
    rig_close();
}
END_TEST

START_TEST(a_late_answer_counts)
{
    rig_open(NEVER, FAULT("{\"op\":\"store\",\"action\":\"delay\",\"delay\":\"100ms\"}"),
             3 * NSEC_PER_SEC);
    start();
    submit(0, "k", 1);
    wait_count(&t.done, 1);
    ck_assert_uint_eq(t.jobs[0].job.stored, 2);
    ck_assert_uint_eq(t.jobs[0].job.late, 1);
    let_go();
    wait_count(&t.released, 1);
    ck_assert_uint_eq(t.jobs[0].parcel.arrived, 1);
    rig_close();
}
END_TEST

/* --- order --- */

START_TEST(urgent_first_then_the_oldest)
{
    rig_open(MOCK, NULL, WAIT_NS);
    submit(0, "k", 0);
    submit(1, "k", 1);
    submit(2, "k", 0);
    ck_assert(store_ctl_withdraw(t.ctl, &t.jobs[1].job));
    store_ctl_submit(t.ctl, &t.jobs[1].job, true);
    t.size = 40 * MIB; /* two tasks fill the tier: the rest waits */
    start();
    wait_count(&t.done, 3);
    ck_assert_ptr_eq(t.order[0], &t.jobs[1]);
    rig_close();
}
END_TEST

/* --- tiers that come and go --- */

struct change {
    struct letter letter;
    size_t slot;
    bool add;
    int rc;
    size_t busy;
    bool ready; /* mutex */
};

static void run_change(struct letter *l)
{
    struct change *c = container_of(l, struct change, letter);

    if (c->add)
        c->rc = store_ctl_add_tier(t.ctl, c->slot);
    else
        store_ctl_drop_tier(t.ctl, c->slot);
    c->busy = store_ctl_tier_busy(t.ctl, c->slot);
    LOCKED_SCOPE(&t.mutex);
    c->ready = true;
    pthread_cond_broadcast(&t.cond);
}

static struct change change(size_t slot, bool add)
{
    struct change c = {.letter.run = run_change, .slot = slot, .add = add};
    uint64_t deadline = clock_deadline(WAIT_NS);

    mailbox_post(t.mailbox, &c.letter);
    LOCKED_SCOPE(&t.mutex);
    while (!c.ready)
        ck_assert_int_eq(cond_wait_until(&t.cond, &t.mutex, deadline), 0);
    return c;
}

START_TEST(an_added_tier_gets_stores)
{
    rig_open(MOCK, NULL, WAIT_NS);
    start();
    submit(0, "k", 1);
    wait_count(&t.done, 1);
    ck_assert_uint_eq(t.jobs[0].job.stored, 1);
    t.tiers[1] = open_tier(1, MOCK);
    ck_assert_int_eq(change(1, true).rc, 0);
    submit(1, "k", 1);
    wait_count(&t.done, 2);
    ck_assert_uint_eq(t.jobs[1].job.stored, 3);
    rig_close();
}
END_TEST

START_TEST(a_dropped_tier_is_not_waited_for)
{
    struct tier *gone;

    rig_open(MOCK, NEVER, WAIT_NS);
    start();
    submit(0, "k", 1);
    UNTIL(status_of(1).in_flight == 1);
    ck_assert_uint_eq(change(1, false).busy, 1);
    wait_count(&t.done, 1);
    ck_assert_uint_eq(t.jobs[0].job.stored, 1);
    ck_assert_int_eq(t.jobs[0].job.errors[1], -ESHUTDOWN);
    ck_assert_uint_eq(t.jobs[0].job.late, 2);
    ck_assert_int_eq(change(1, true).rc, -EBUSY);
    gone = t.tiers[1];
    t.tiers[1] = NULL;
    tier_close(gone);
    loop_stop(t.loop);
    ck_assert_uint_eq(t.released, 0);
    store_ctl_tier_closed(t.ctl, 1);
    ck_assert_uint_eq(t.released, 1);
    ck_assert_uint_eq(store_ctl_tier_busy(t.ctl, 1), 0);
    rig_close();
}
END_TEST

START_TEST(the_end_takes_late_parcels_back)
{
    rig_open(NEVER, NULL, 100 * NSEC_PER_MSEC);
    start();
    submit(0, "k", 1);
    wait_count(&t.done, 1);
    ck_assert(t.jobs[0].late);
    rig_close();
    ck_assert_uint_eq(t.released, 1);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("store_ctl");

    log_set_level(LOG_LEVEL_ERROR);
    suite_add(s, "lifecycle",
              TESTS(start_and_stop, start_and_stop_without_tiers, a_submit_wakes_the_loop,
                    a_withdrawn_job_is_not_done, what_is_queued_at_the_end_is_done));
    suite_add(s, "batches",
              TESTS(one_directory_makes_one_task_per_tier, a_task_has_64_keys_at_most,
                    a_task_has_64_mib_at_most, the_bytes_in_flight_are_bounded,
                    urgent_first_then_the_oldest, the_cost_of_a_key_does_not_grow));
    suite_add(s, "failures",
              TESTS(outcomes_are_per_key, a_refused_submit_gives_the_parcels_back,
                    a_tier_that_never_answers_stops_no_other,
                    a_stalled_tier_recovers_when_it_answers,
                    a_stalled_tier_gets_one_probe_at_a_time, a_late_answer_counts));
    suite_add(s, "tiers",
              TESTS(an_added_tier_gets_stores, a_dropped_tier_is_not_waited_for,
                    the_end_takes_late_parcels_back));
    return suite_run(s);
}
