/* test_pd_pair.c - a pd sender and a pd receiver in one process, as adapters: what the tests of either
 * alone cannot show. */
#include "clock.h"
#include "rig.h"
#include "suite.h"
#include "tier.h"

#define MEMORY "\"transfer_channel\": \"mock_memory\""
#define SENDER                                                                                     \
    "{\"type\": \"pd\", \"role\": \"sender\", \"peer_host\": \"127.0.0.1\", @PORTS@, " MEMORY "}"
#define RECEIVER                                                                                   \
    "{\"type\": \"pd\", \"role\": \"receiver\", \"peer_host\": \"127.0.0.1\", "                    \
    "\"peer_init_port\": 0, \"peer_alloc_port\": 0, " MEMORY "}"

static struct rig receiver, sender;

static void open_sender(const char *spec)
{
    char *towards = rig_towards(&receiver, spec);

    rig_open(&sender, towards);
    free(towards);
}

static void setup(void)
{
    rig_open(&receiver, RECEIVER);
}

static void teardown(void)
{
    rig_close(&receiver);
}

/* Stores a key of request "r". */
static int store(const char *key, uint64_t seed)
{
    struct l2_buf buf = rig_buf(&sender, 70000, seed);
    int err;

    buf.route.req_id = "r";
    err = rig_store_buf(&sender, key, &buf, NULL);
    rig_buf_close(&buf);
    return err;
}

START_TEST(keys_land_and_are_counted)
{
    json_t *peers;

    open_sender(SENDER);
    ck_assert_int_eq(store("a/b", 1), 0);
    ck_assert_int_eq(store("c", 2), 0);
    ck_assert_uint_eq(rig_landed(&receiver), 2);
    ck_assert_int_eq(rig_status_int(&receiver, "landed_keys"), 2);
    ck_assert_int_eq(rig_status_int(&receiver, "landed_bytes"), 140000);
    peers = sender.a->ops->peers(sender.a);
    ck_assert_int_eq(
        json_integer_value(json_object_get(json_object_get(peers, "127.0.0.1"), "bytes")), 140000);
    json_decref(peers);
    peers = receiver.a->ops->peers(receiver.a);
    ck_assert_uint_eq(json_object_size(peers), 1);
    json_decref(peers);
    rig_close(&sender);
}
END_TEST

/* As an unmount right after the last file of a request: whoever waits for it is told first. */
START_TEST(close_tells_of_a_complete_request)
{
    open_sender(SENDER);
    ck_assert_int_eq(store("k", 1), 0);
    ck_assert_int_eq(sender.a->ops->request_done(sender.a, &(struct l2_route){NULL, "r"}), 0);
    rig_close(&sender);
    ck_assert_uint_eq(rig_ready(&receiver), 1);
}
END_TEST

/* A receiver that is gone holds no close up for longer than close_timeout. */
START_TEST(close_waits_no_longer_than_it_may)
{
    uint64_t begun;

    open_sender("{\"type\": \"pd\", \"role\": \"sender\", \"peer_host\": \"127.0.0.1\", @PORTS@, "
                "\"close_timeout\": \"300ms\", " MEMORY "}");
    ck_assert_int_eq(store("k", 1), 0);
    receiver.a->ops->close(receiver.a);
    ck_assert_int_eq(sender.a->ops->request_done(sender.a, &(struct l2_route){NULL, "r"}), 0);
    begun = clock_now();
    sender.a->ops->close(sender.a);
    ck_assert_uint_lt(clock_now() - begun, 5 * NSEC_PER_SEC);
    ck_assert_int_eq(receiver.spec.ops->open(&receiver.env, receiver.spec.config, &receiver.a), 0);
    ck_assert_int_eq(sender.spec.ops->open(&sender.env, sender.spec.config, &sender.a), 0);
    rig_close(&sender);
}
END_TEST

/* The fault adapter, and the front layer around it, hand on what only pd has. */
START_TEST(wrapped_operations_reach_it)
{
    struct adapter_env env;
    struct text why = {0}, spec = {0};
    char *towards = rig_towards(&receiver, SENDER);
    struct tier *tier;
    json_t *json;

    rig_open(&sender, "{\"type\": \"null\"}");
    env = sender.env;
    env.instance = "pd.0";
    text_printf(&spec, "{\"type\": \"fault\", \"inner\": %s}", towards);
    json = json_loads(spec.data, 0, NULL);
    ck_assert_msg(!tier_open(&env, json, &tier, &why), "%s", why.data);
    json_decref(json);
    ck_assert_int_eq(tier_cancel_store(tier, "nothing"), 0);
    ck_assert_int_eq(tier_request_done(tier, &(struct l2_route){NULL, "r"}), 0);
    json = tier_peers(tier);
    ck_assert_ptr_nonnull(json_object_get(json, "127.0.0.1"));
    json_decref(json);
    tier_close(tier);
    ck_assert_uint_eq(rig_ready(&receiver), 1);
    text_fini(&spec);
    free(towards);
    rig_close(&sender);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {keys_land_and_are_counted, close_tells_of_a_complete_request,
                                  close_waits_no_longer_than_it_may, wrapped_operations_reach_it};
    Suite *s = suite_create("pd_pair");
    TCase *tc = tcase_create("pair");
    int rc;

    rig_base_create();
    tcase_add_checked_fixture(tc, setup, teardown);
    for (size_t i = 0; i < ARRAY_SIZE(tests); i++)
        tcase_add_test(tc, tests[i]);
    suite_add_tcase(s, tc);
    rc = suite_run(s);
    rig_base_remove();
    return rc;
}
