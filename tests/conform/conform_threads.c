/* conform_threads.c - synchronous operations on many threads beside the owner's tasks. */
#include "conform.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/stat.h>

#define THREADS 4
#define KEYS 8
#define SIZE 2000
#define TASKS 80

static _Atomic int failures;

static void expect(bool ok)
{
    if (!ok)
        atomic_fetch_add(&failures, 1);
}

static bool count_entry(void *arg, const struct l2_entry *e)
{
    size_t *n = arg;

    if (e->listed)
        return true;
    expect(e->key[0] != '\0');
    ++*n;
    return true;
}

static void look_around(void)
{
    const struct adapter_ops *ops = rig.a->ops;
    struct l2_usage u;
    size_t n = 0;

    if (ops->usage)
        ops->usage(rig.a, &u);
    if (ops->status)
        json_decref(ops->status(rig.a));
    if (ops->list)
        expect(ops->list(rig.a, count_entry, &n) == 0);
}

/* Moves a key of its own there and back; in the end the key is where it began. */
static void change_names(int thread, int key)
{
    const struct adapter_ops *ops = rig.a->ops;
    struct l2_attr attr = {.mode = S_IFREG | 0600};
    char from[32], to[32], dir[32];
    const char *dir_key = dir;

    snprintf(from, sizeof(from), "t%d/k%d", thread, key);
    snprintf(to, sizeof(to), "t%d/moved%d", thread, key);
    snprintf(dir, sizeof(dir), "t%d/dir%d/", thread, key);
    if (ops->rename) {
        expect(ops->rename(rig.a, from, to) == 0);
        expect(ops->rename(rig.a, to, from) == 0);
    }
    if (ops->set_attr)
        expect(ops->set_attr(rig.a, from, &attr, NULL, L2_ATTR_MODE) == 0);
    if (ops->make_dir) {
        int err = ops->make_dir(rig.a, dir, &attr);

        expect(!err || err == -EEXIST);
        expect(ops->remove(rig.a, &dir_key, 1, NULL) == 0);
    }
}

static void *thread_main(void *arg)
{
    int thread = *(int *)arg;

    for (int round = 0; round < 5; round++) {
        for (int k = 0; k < KEYS; k++)
            change_names(thread, k);
        look_around();
    }
    return NULL;
}

static void owner_round(int i)
{
    char key[32];

    snprintf(key, sizeof(key), "owner/k%d", i % 7);
    ck_assert_int_eq(rig_store(&rig, key, SIZE, (uint64_t)i), 0);
    ck_assert(rig_lookup(&rig, key, NULL) == !conform_discards());
    if (!conform_discards())
        rig_check(&rig, key, SIZE, (uint64_t)i);
    rig_unlock(&rig, key);
    if (i % 3 == 0)
        ck_assert_int_eq(rig_remove(&rig, key, NULL), 0);
}

START_TEST(synchronous_operations_beside_tasks)
{
    pthread_t threads[THREADS];
    int numbers[THREADS];
    char key[32];

    for (int t = 0; t < THREADS; t++) {
        for (int k = 0; k < KEYS; k++) {
            snprintf(key, sizeof(key), "t%d/k%d", t, k);
            ck_assert_int_eq(rig_store(&rig, key, SIZE, (uint64_t)k), 0);
        }
    }
    for (int t = 0; t < THREADS; t++) {
        numbers[t] = t;
        ck_assert_int_eq(pthread_create(&threads[t], NULL, thread_main, &numbers[t]), 0);
    }
    for (int i = 0; i < TASKS; i++)
        owner_round(i);
    for (int t = 0; t < THREADS; t++)
        pthread_join(threads[t], NULL);
    ck_assert_int_eq(atomic_load(&failures), 0);
    for (int t = 0; t < THREADS && !conform_discards(); t++) {
        for (int k = 0; k < KEYS; k++) {
            snprintf(key, sizeof(key), "t%d/k%d", t, k);
            rig_check(&rig, key, SIZE, (uint64_t)k);
        }
    }
}
END_TEST

void conform_add_threads(Suite *s)
{
    conform_add(s, "threads", TESTS(synchronous_operations_beside_tasks));
}
