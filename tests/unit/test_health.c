/* test_health.c - findings: when there is one, and what its sentence names. */
#include <stdio.h>

#include "core_rig.h"
#include "health.h"
#include "l2fs.h"
#include "status.h"
#include "suite.h"

#define SECONDS(n) ((n)*NSEC_PER_SEC)

static void keep(void *arg, const char *sentence)
{
    struct text *t = arg;

    text_printf(t, "%s%s", t->len ? "|" : "", sentence);
}

/* The sentences have each part in this order; "": there are none. */
static void says(struct text *t, const char *const *parts)
{
    const char *at = t->data ? t->data : "";

    if (!*parts)
        ck_assert_msg(!t->len, "%s", at);
    for (; *parts; parts++) {
        const char *found = strstr(at, *parts);

        ck_assert_msg(found, "no \"%s\" in \"%s\"", *parts, at);
        at = found + strlen(*parts);
    }
    text_fini(t);
}

#define TIER_SAYS(tier, ...)                                                                       \
    do {                                                                                           \
        struct text t_ = {0};                                                                      \
        health_of_tier(tier, keep, &t_);                                                           \
        says(&t_, (const char *const[]){__VA_ARGS__ NULL});                                        \
    } while (0)
#define INSTANCE_SAYS(instance, ...)                                                               \
    do {                                                                                           \
        struct text t_ = {0};                                                                      \
        health_of_instance(instance, keep, &t_);                                                   \
        says(&t_, (const char *const[]){__VA_ARGS__ NULL});                                        \
    } while (0)

static const struct health_tier fine = {.name = "fs.1", .answers = true, .well = true};

START_TEST(a_tier_that_is_well)
{
    struct health_tier t = fine;

    TIER_SAYS(&t);
    t.store_error = -ENOSPC; /* long ago */
    t.used = t.capacity = GIB;
    t.evicts = true;
    TIER_SAYS(&t);
    t.retrying = SECONDS(1); /* may happen */
    TIER_SAYS(&t);
}
END_TEST

START_TEST(a_tier_that_does_not_answer)
{
    struct health_tier t = fine;

    t.answers = t.well = false;
    TIER_SAYS(&t, "fs.1", "does not answer", "check", );
    t.answers = true;
    t.says = "Input/output error";
    TIER_SAYS(&t, "fs.1", "Input/output error", ".l2fs/adapters/fs.1/status", );
}
END_TEST

START_TEST(stores_of_a_tier)
{
    struct health_tier t = fine;

    t.stores_stalled = t.stores_lagging = true;
    t.stores_overdue = 8;
    t.oldest_store = SECONDS(93);
    TIER_SAYS(&t, "fs.1: stalled: 8", "93 s", "remove", );
    t.stores_stalled = false;
    TIER_SAYS(&t, "fs.1: lagging", "93 s", );
    t.stores_lagging = false;
    t.store_error = -ENOSPC;
    t.retrying = SECONDS(30);
    TIER_SAYS(&t, "fs.1", "30 s", "No space left", "tried again", );
}
END_TEST

START_TEST(loads_of_a_tier)
{
    struct health_tier t = fine;

    t.loads_overdue = 3;
    t.loads_late = SECONDS(12);
    TIER_SAYS(&t, "fs.1", "3 lookups and loads", "12 s", );
    t.loads_stalled = true;
    TIER_SAYS(&t, "fs.1", "passed over", );
}
END_TEST

START_TEST(a_full_tier)
{
    struct health_tier t = fine;

    t.capacity = GIB;
    t.used = GIB - GIB / 10;
    TIER_SAYS(&t);
    t.used = GIB - MIB;
    TIER_SAYS(&t, "fs.1 is full (1G)", "capacity", );
    t.answers = false;
    TIER_SAYS(&t, "does not answer", "is full", );
}
END_TEST

START_TEST(the_instance)
{
    struct health_instance i = {.loop_silent = SECONDS(1), .l1_stuck = SECONDS(5)};

    INSTANCE_SAYS(&i);
    i.l1_stuck = SECONDS(60);
    i.l1_used = 900 * MIB;
    i.l1_high = 800 * MIB;
    i.open = 3;
    i.pinned = 4;
    i.unstored = 5;
    i.space_waiters = 6;
    INSTANCE_SAYS(&i, "900M of 800M", "60 s", "3 objects are open", "4 pinned", "5 not stored",
                  "6 requests", "-o l1", );
    i = (struct health_instance){.given_up = 2, .given_up_for = SECONDS(7)};
    INSTANCE_SAYS(&i, "2 objects are given up", "7 s", "user.l2fs.retry", );
    i = (struct health_instance){.loop_silent = SECONDS(20), .no_tiers = true};
    INSTANCE_SAYS(&i, "loop thread", "20 s", "|", "every adapter was removed", );
    i = (struct health_instance){.unlisted = "fs", .list_error = -EIO};
    INSTANCE_SAYS(&i, "fs could not be listed", "Input/output error", "mount again", );
}
END_TEST

/* --- of a running one --- */

static json_t *status_of(struct core_rig *r)
{
    struct text t = {0};
    json_t *status;

    ck_assert_int_eq(status_print(r->fs, 0, &t), 0);
    status = json_loads(t.data, 0, NULL);
    ck_assert_ptr_nonnull(status);
    text_fini(&t);
    return status;
}

START_TEST(status_tells_it)
{
    struct core_rig r;
    json_t *status, *tier;

    core_open(&r, CORE_MOCK);
    status = status_of(&r);
    ck_assert(json_is_true(json_object_get(status, "is_healthy")));
    ck_assert_uint_eq(json_array_size(json_object_get(status, "health")), 0);
    json_decref(status);
    core_close(&r);
    core_open(&r, "[{\"type\":\"mock\",\"max_size_gb\":0.001,\"mock_bandwidth_gb\":8,"
                  "\"eviction\":{\"eviction_policy\":\"noop\"}}]");
    for (int i = 0; i < 65; i++) {
        char key[16], data[16384] = {0};

        snprintf(key, sizeof(key), "key%d", i);
        snprintf(data, sizeof(data), "%d", i);
        core_write(&r, key, data, sizeof(data));
    }
    core_wait_attr(&r, "key0", "user.l2fs.store", "mock=stored");
    core_wait_attr(&r, "key64", "user.l2fs.store", "mock=stored");
    status = status_of(&r);
    tier = json_array_get(json_object_get(status, "tiers"), 0);
    ck_assert(json_is_false(json_object_get(status, "is_healthy")));
    ck_assert(json_is_false(json_object_get(tier, "is_healthy")));
    ck_assert_ptr_nonnull(strstr(json_string_value(json_object_get(tier, "health")), "is full"));
    ck_assert_str_eq(json_string_value(json_array_get(json_object_get(status, "health"), 0)),
                     json_string_value(json_object_get(tier, "health")));
    json_decref(status);
    core_close(&r);
}
END_TEST

START_TEST(the_last_adapter_is_missed)
{
    struct core_rig r;
    json_t *status;

    core_open(&r, CORE_MOCK);
    ck_assert_int_eq(core_set(&r, ".l2fs/adapters", "user.l2fs.adapter_remove", "mock force"), 0);
    status = status_of(&r);
    ck_assert(json_is_false(json_object_get(status, "is_healthy")));
    ck_assert_ptr_nonnull(
        strstr(json_string_value(json_array_get(json_object_get(status, "health"), 0)),
               "every adapter was removed"));
    json_decref(status);
    core_close(&r);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("health");

    suite_add(s, "tier",
              TESTS(a_tier_that_is_well, a_tier_that_does_not_answer, stores_of_a_tier,
                    loads_of_a_tier, a_full_tier));
    suite_add(s, "instance", TESTS(the_instance, status_tells_it, the_last_adapter_is_missed));
    return suite_run(s);
}
