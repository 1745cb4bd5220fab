/* test_pd_skeleton.c - the pd adapter without a peer: opens, answers, closes. The tests of LMCache's
 * plan are here by name. */
#include <dirent.h>
#include <fcntl.h>

#include "clock.h"
#include "pd_channel.h"
#include "pd_config.h"
#include "pin.h"
#include "registry.h"
#include "rig.h"
#include "suite.h"
#include "tier.h"

#define MEMORY "\"transfer_channel\": \"mock_memory\""
/* Nobody listens there. */
#define SENDER                                                                                     \
    "{\"type\": \"pd\", \"role\": \"sender\", \"peer_host\": \"127.0.0.1\", \"peer_init_port\": "  \
    "[1], \"peer_alloc_port\": [2], \"connect_timeout\": \"200ms\", \"close_timeout\": "           \
    "\"100ms\", " MEMORY "}"
#define RECEIVER                                                                                   \
    "{\"type\": \"pd\", \"role\": \"receiver\", \"peer_host\": \"127.0.0.1\", "                    \
    "\"peer_init_port\": [0, 0], \"peer_alloc_port\": [0, 0], " MEMORY "}"

static const char *const specs[] = {SENDER, RECEIVER};
static struct rig rig;

static size_t threads(void)
{
    DIR *d = opendir("/proc/self/task");
    size_t n = 0;

    ck_assert_ptr_nonnull(d);
    while (readdir(d))
        n++;
    closedir(d);
    return n;
}

static void assert_status(const char *role)
{
    json_t *status = rig.a->ops->status(rig.a);

    ck_assert(json_is_true(json_object_get(status, "is_healthy")));
    ck_assert_str_eq(json_string_value(json_object_get(status, "type")), "pd");
    ck_assert_str_eq(json_string_value(json_object_get(status, "role")), role);
    json_decref(status);
}

START_TEST(test_instantiate_sender)
{
    json_t *peers;

    rig_open(&rig, SENDER);
    assert_status("sender");
    ck_assert(rig.a->flags & L2_DISCARDS);
    peers = rig.a->ops->peers(rig.a);
    ck_assert_uint_eq(json_object_size(peers), 1);
    ck_assert_ptr_nonnull(json_object_get(peers, "127.0.0.1"));
    json_decref(peers);
    rig_close(&rig);
}
END_TEST

START_TEST(test_instantiate_receiver)
{
    json_t *peers;

    rig_open(&rig, RECEIVER);
    assert_status("receiver");
    ck_assert(rig.a->flags & L2_DISCARDS);
    peers = rig.a->ops->peers(rig.a);
    ck_assert(json_is_object(peers));
    ck_assert_uint_eq(json_object_size(peers), 0);
    json_decref(peers);
    rig_close(&rig);
}
END_TEST

START_TEST(receiver_needs_a_mount_that_takes_in)
{
    struct adapter *a;

    rig_open(&rig, RECEIVER);
    rig.a->ops->close(rig.a);
    rig.env.arrivals = NULL;
    ck_assert_int_eq(pd_adapter.open(&rig.env, rig.spec.config, &a), -EOPNOTSUPP);
    rig.env.arrivals = &rig.arrivals.base;
    ck_assert_int_eq(pd_adapter.open(&rig.env, rig.spec.config, &rig.a), 0);
    rig_close(&rig);
}
END_TEST

START_TEST(test_eventfd_getters_return_valid_fd)
{
    rig_open(&rig, specs[_i]);
    for (int i = 0; i < L2_FAMILIES; i++) {
        int fd = rig.a->ops->event_fd(rig.a, (enum l2_family)i);

        ck_assert_int_ge(fd, 0);
        ck_assert(fcntl(fd, F_GETFL) & O_NONBLOCK);
        ck_assert(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    }
    rig_close(&rig);
}
END_TEST

START_TEST(test_eventfd_unique)
{
    int fd[L2_FAMILIES];

    rig_open(&rig, specs[_i]);
    for (int i = 0; i < L2_FAMILIES; i++) {
        fd[i] = rig.a->ops->event_fd(rig.a, (enum l2_family)i);
        for (int k = 0; k < i; k++)
            ck_assert_int_ne(fd[i], fd[k]);
    }
    rig_close(&rig);
}
END_TEST

START_TEST(test_close_releases_fds)
{
    int fd[L2_FAMILIES];

    rig_open(&rig, specs[_i]);
    for (int i = 0; i < L2_FAMILIES; i++)
        fd[i] = rig.a->ops->event_fd(rig.a, (enum l2_family)i);
    rig_close(&rig); /* compares the number of descriptors with that before */
    for (int i = 0; i < L2_FAMILIES; i++)
        ck_assert(fcntl(fd[i], F_GETFD) < 0 && errno == EBADF);
}
END_TEST

/* What LMCache's skeleton raises for, ours says by what it lacks and by misses. */
START_TEST(test_stub_methods_raise)
{
    const struct adapter_ops *ops = &pd_adapter;
    struct l2_object o;

    ck_assert(!ops->rename && !ops->make_dir && !ops->set_attr && !ops->list);
    ck_assert(!ops->open_file && !ops->link_file && !ops->usage && !ops->force_unlock);
    rig_open(&rig, specs[_i]);
    ck_assert(!rig_lookup(&rig, "a", NULL));
    ck_assert_int_eq(rig_load(&rig, "a", &o), -ENOENT);
    rig_unlock(&rig, "a");
    ck_assert_int_eq(ops->submit_store(rig.a, NULL, NULL, 0), -EINVAL);
    rig_close(&rig);
}
END_TEST

/* Ours is a thread: it has ended when close returns, and a store that was on its way did not hold
 * it up. */
START_TEST(test_stop_flag_set_on_close)
{
    const char *key = "k";
    struct l2_buf buf;
    uint64_t begun;
    size_t before;

    rig_open(&rig, specs[_i]); /* once before: a sanitizer may begin a thread with the first one */
    rig_close(&rig);
    before = threads();
    rig_open(&rig, specs[_i]);
    ck_assert_uint_gt(threads(), before);
    buf = rig_buf(&rig, 5000, 1);
    ck_assert_int_gt(rig_submit_store(&rig, &key, &buf, 1), 0);
    begun = clock_now();
    rig.a->ops->close(rig.a);
    ck_assert_uint_lt(clock_now() - begun, 5 * NSEC_PER_SEC);
    ck_assert_uint_eq(threads(), before);
    rig_buf_close(&buf);
    ck_assert_int_eq(pd_adapter.open(&rig.env, rig.spec.config, &rig.a), 0);
    rig_close(&rig);
}
END_TEST

START_TEST(test_factory_creates_instance)
{
    json_t *json = json_loads(specs[_i], 0, NULL);
    struct adapter_env env;
    struct text why = {0};
    struct tier *tier;
    json_t *status;

    rig_open(&rig, "{\"type\": \"null\"}");
    env = rig.env;
    env.instance = "pd.0";
    ck_assert_msg(!tier_open(&env, json, &tier, &why), "%s", why.data);
    status = tier_status(tier);
    ck_assert_str_eq(json_string_value(json_object_get(status, "type")), "pd");
    json_decref(status);
    status = tier_peers(tier);
    ck_assert(json_is_object(status));
    json_decref(status);
    ck_assert(tier_flags(tier) & L2_DISCARDS);
    tier_close(tier);
    json_decref(json);
    rig_close(&rig);
}
END_TEST

START_TEST(bad_device_and_channel_are_refused)
{
    static const char *const bad[][2] = {{"buffer_device", "xpu"},
                                         {"transfer_channel", "py_socket"}};

    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        json_t *json = json_loads(RECEIVER, 0, NULL);
        struct text why = {0};
        struct spec spec;

        json_object_set_new(json, bad[i][0], json_string(bad[i][1]));
        ck_assert_int_eq(spec_parse(json, &spec, &why), -EINVAL);
        ck_assert_msg(strstr(why.data, bad[i][0]) && strstr(why.data, bad[i][1]), "%s", why.data);
        text_fini(&why);
        json_decref(json);
    }
}
END_TEST

/* Without a GPU, or with a UCX that knows none; else it opens. */
START_TEST(cuda_is_refused_where_it_cannot_be)
{
    struct pd_channel *channel;
    struct adapter *a;
    struct loop *loop;
    int err;

    rig_open(&rig, RECEIVER);
    ((struct pd_config *)rig.spec.config)->buffer_device = PD_CUDA;
    if (pin_device_missing())
        ck_assert_int_eq(pd_adapter.open(&rig.env, rig.spec.config, &a), -ENODEV);
    ck_assert_int_eq(loop_create("test", &loop), 0);
    ck_assert_int_eq(
        pd_channel_create(loop, false, &(struct pd_channel_config){.cuda = true}, &channel),
        -ENODEV);
    err = pd_channel_create(loop, true, &(struct pd_channel_config){.cuda = true}, &channel);
    if (err)
        ck_assert_int_eq(err, -ENODEV);
    else
        pd_channel_destroy(channel);
    loop_destroy(loop);
    rig_close(&rig);
}
END_TEST

/* A contract of C cannot close twice; it can open and close again. */
START_TEST(test_close_is_idempotent)
{
    rig_open(&rig, specs[_i]);
    rig_reopen(&rig);
    rig_reopen(&rig);
    rig_close(&rig);
}
END_TEST

/* --- what each role does alone --- */

START_TEST(store_at_a_receiver_is_no_store)
{
    struct l2_buf buf;
    uint64_t bytes = 99;

    rig_open(&rig, RECEIVER);
    buf = rig_buf(&rig, 10000, 1);
    ck_assert_int_eq(rig_store_buf(&rig, "k", &buf, &bytes), 0);
    ck_assert_uint_eq(bytes, 0);
    buf.stable = false;
    ck_assert_int_eq(rig_store_buf(&rig, "k", &buf, &bytes), 0);
    ck_assert(!rig_has(&rig, "k"));
    ck_assert_int_eq(rig.a->ops->cancel_store(rig.a, "k"), -ENOENT);
    ck_assert_int_eq(rig.a->ops->request_done(rig.a, &(struct l2_route){NULL, "r"}), 0);
    ck_assert_uint_eq(rig_landed(&rig), 0);
    rig_buf_close(&buf);
    rig_close(&rig);
}
END_TEST

START_TEST(sender_without_a_receiver_fails_in_time)
{
    uint64_t begun = clock_now();

    rig_open(&rig, SENDER);
    ck_assert_int_lt(rig_store(&rig, "k", 10000, 1), 0);
    ck_assert_uint_lt(clock_now() - begun, 5 * NSEC_PER_SEC);
    rig_close(&rig);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("pd_skeleton");
    int rc;

    suite_add(s, "one",
              TESTS(test_instantiate_sender, test_instantiate_receiver,
                    receiver_needs_a_mount_that_takes_in, bad_device_and_channel_are_refused,
                    cuda_is_refused_where_it_cannot_be, store_at_a_receiver_is_no_store,
                    sender_without_a_receiver_fails_in_time));
    suite_add_loop(s, "roles",
                   TESTS(test_eventfd_getters_return_valid_fd, test_eventfd_unique,
                         test_close_releases_fds, test_stub_methods_raise,
                         test_stop_flag_set_on_close, test_factory_creates_instance,
                         test_close_is_idempotent),
                   ARRAY_SIZE(specs));
    rig_base_create();
    rc = suite_run(s);
    rig_base_remove();
    return rc;
}
