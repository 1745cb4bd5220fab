/* evict_fixture.c - see evict_fixture.h. */
#include "config.h"

#include <stdio.h>

#include "clock.h"
#include "evict_ctl.h"
#include "evict_fixture.h"
#include "rank.h"

struct vfsrig r;

void begin(const char *spec)
{
    vfsrig_init(&r, spec);
    r.cfg.readahead_keys = 0; /* what is in L1 too would keep its name */
    vfsrig_start(&r);
}

void teardown(void)
{
    vfsrig_fini(&r);
}

const char *name_of(unsigned i)
{
    static char name[32];

    snprintf(name, sizeof(name), "k%02u", i);
    return name;
}

void put(const char *name, unsigned seed)
{
    ck_assert_int_eq(vfsrig_put(&r, name, MIB, seed), 0);
    ck_assert_int_eq(vfsrig_evict(&r, name), 0);
}

void put_many(unsigned from, unsigned to)
{
    for (unsigned i = from; i < to; i++)
        put(name_of(i), i);
}

uint64_t used_bytes(size_t slot)
{
    struct l2_usage u;

    tier_usage(r.fs->tiers.tier[slot], &u);
    return u.used;
}

typedef bool pred_fn(void *arg);

/* The end of each pass wakes stored_cond. */
static bool wait_for(pred_fn *pred, void *arg, uint64_t timeout)
{
    uint64_t deadline = clock_deadline(timeout);
    bool late = false, is = false;

    LOCKED_SCOPE(&r.fs->ns->lock);
    while (!(is = pred(arg)) && !late)
        late = cond_wait_until(&r.fs->stored_cond, &r.fs->ns->lock, deadline) == -ETIMEDOUT;
    return is;
}

static bool below(void *arg)
{
    return used_bytes(0) < *(uint64_t *)arg;
}

void wait_below(uint64_t bytes)
{
    ck_assert_msg(wait_for(below, &bytes, 20 * NSEC_PER_SEC), "%llu bytes are left",
                  (unsigned long long)used_bytes(0));
}

static bool no_such_name(void *arg)
{
    return !ns_find(r.fs->ns, r.fs->ns->root, arg);
}

void wait_gone(const char *name)
{
    ck_assert_msg(wait_for(no_such_name, (void *)name, 20 * NSEC_PER_SEC), "%s stays", name);
}

static bool in_no_tier(void *arg)
{
    const struct dentry *d = ns_find(r.fs->ns, r.fs->ns->root, arg);

    return !d || !d->inode->tiers;
}

void wait_left(const char *name)
{
    ck_assert_msg(wait_for(in_no_tier, (void *)name, 20 * NSEC_PER_SEC), "%s stays", name);
}

unsigned count_names(unsigned n)
{
    unsigned there = 0;

    for (unsigned i = 0; i < n; i++)
        there += vfsrig_find(&r, name_of(i)) != NULL;
    return there;
}

void touch(const char *name, unsigned seed)
{
    ck_assert_int_eq(vfsrig_check(&r, name, MIB, seed), 0);
    ck_assert_int_eq(vfsrig_evict(&r, name), 0);
}

size_t ranks(const char *name)
{
    struct inode *inode = vfsrig_find(&r, name);
    size_t n = 0;

    LOCKED_SCOPE(&r.fs->ns->lock);
    for (const struct rank *p = inode->ranks; p; p = p->next)
        n++;
    return n;
}

void set(size_t slot, const char *name, const char *value)
{
    struct text why = {0};

    ck_assert_msg(!evict_ctl_set(r.fs, slot, name, value, &why), "%s", why.data);
    text_fini(&why);
}
