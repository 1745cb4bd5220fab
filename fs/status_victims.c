/* status_victims.c - .l2fs/victims: what would leave each place next, and what may not, and why.
 *
 * Thread model: any thread. Looking takes ns->lock, so it ends after a number of steps; the text is
 * made without the lock. Nothing is changed by looking.
 */
#include "config.h"

#include "clock.h"
#include "evict_ctl.h"
#include "status.h"

#define VICTIMS_MAX 100
#define LOOK_MAX 16384 /* steps under the lock: some milliseconds */

struct tally {
    size_t keys;
    uint64_t bytes;
};

struct victim {
    char *key;
    uint64_t bytes;
    uint64_t idle_s; /* since it was used or written */
};

struct survey {
    struct l2fs *fs;
    const char *from;
    char tenant[KEY_PATH_MAX + 2]; /* of a tier; "": the default one */
    int64_t above_share;
    uint64_t now;
    struct timespec wall;
    struct victim next[VICTIMS_MAX];
    size_t n;
    struct tally seen[OBSTACLES]; /* OBSTACLE_NONE: may leave */
    size_t looked_at, residents;
    uint64_t capacity, used, excess;
    double watermark, ratio;
    int policy;
};

static const char *const obstacle_names[OBSTACLES] = {NULL,       "writing", "open", "pinned",
                                                      "unstored", "unread",  "busy"};

static void count(struct tally *t, uint64_t bytes)
{
    t->keys++;
    t->bytes += bytes;
}

static void keep_victim(struct survey *s, const struct inode *inode, uint64_t bytes)
{
    int64_t used = MAX(inode->atime, inode->mtime) / (int64_t)NSEC_PER_SEC;
    char key[KEY_PATH_MAX + 2];
    char *copy;

    file_key(inode, key);
    copy = strdup(key);
    if (!copy)
        return;
    s->next[s->n++] = (struct victim){
        .key = copy, .bytes = bytes, .idle_s = (uint64_t)MAX(s->wall.tv_sec - used, 0)};
}

static void note(struct survey *s, const struct inode *inode, enum obstacle why, uint64_t bytes)
{
    s->looked_at++;
    count(&s->seen[why], bytes);
    if (!why && s->n < VICTIMS_MAX)
        keep_victim(s, inode, bytes);
}

static void look_at(struct survey *s, const struct object *o)
{
    note(s, o->inode, evict_obstacle_locked(s->fs, o, s->now), o->inode->blocks * 512);
}

static void look_at_file(void *arg, const struct inode *inode, enum obstacle why)
{
    note(arg, inode, why, inode->size);
}

static bool look_at_node(void *arg, struct order_node *node)
{
    struct survey *s = arg;

    look_at(s, container_of(node, struct object, place));
    return s->looked_at < LOOK_MAX;
}

static void look_at_list(struct survey *s, const struct list *head)
{
    size_t left = LOOK_MAX;
    struct list *l;

    list_for_each(l, head)
    {
        if (!left--)
            return;
        look_at(s, list_entry(l, struct object, l1_link));
    }
}

static void survey_l1(struct survey *s)
{
    struct l2fs *fs = s->fs;
    struct l1 *l1 = &fs->l1;
    uint64_t size;

    s->now = clock_now();
    clock_gettime(CLOCK_REALTIME, &s->wall);
    staging_space(fs->staging, &s->used, &size);
    LOCKED_SCOPE(&fs->ns->lock);
    gate_sync_locked(fs);
    s->capacity = l1->capacity;
    s->watermark = l1->watermark;
    s->ratio = l1->ratio;
    s->policy = l1->policy;
    s->excess = l1_excess(l1, s->used, l1->promised);
    s->residents = l1_residents(l1);
    l1_peek(l1, LOOK_MAX, look_at_node, s);
    look_at_list(s, &l1->aside);
}

static json_t *tally_json(const struct tally *t)
{
    return json_pack("{s:I, s:I}", "keys", (json_int_t)t->keys, "bytes", (json_int_t)t->bytes);
}

static json_t *next_json(const struct survey *s)
{
    json_t *list = json_array();

    for (size_t i = 0; i < s->n; i++) {
        json_t *victim = json_object();

        json_object_set_new(victim, "key", status_string(s->next[i].key));
        json_object_set_new(victim, "bytes", json_integer((json_int_t)s->next[i].bytes));
        json_object_set_new(victim, "idle_s", json_integer((json_int_t)s->next[i].idle_s));
        json_array_append_new(list, victim);
    }
    return list;
}

static json_t *kept_json(const struct survey *s)
{
    json_t *kept = json_object();

    for (size_t i = OBSTACLE_NONE + 1; i < OBSTACLES; i++)
        json_object_set_new(kept, obstacle_names[i], tally_json(&s->seen[i]));
    return kept;
}

static json_t *survey_json(const struct survey *s)
{
    return json_pack(
        "{s:s, s:s, s:f, s:f, s:I, s:I, s:I, s:I, s:I, s:o, s:o, s:o}", "from", s->from, "policy",
        evict_policy_names[s->policy], "watermark", s->watermark, "ratio", s->ratio, "capacity",
        (json_int_t)s->capacity, "used", (json_int_t)s->used, "to_free", (json_int_t)s->excess,
        "keys", (json_int_t)s->residents, "looked_at", (json_int_t)s->looked_at, "evictable",
        tally_json(&s->seen[OBSTACLE_NONE]), "kept", kept_json(s), "next", next_json(s));
}

/* What the tenant of that number has in a tier. False: there is none. */
static bool survey_tier(struct survey *s, size_t slot, size_t index)
{
    struct evict_view v = {.index = index, .max = LOOK_MAX};
    struct l2fs *fs = s->fs;

    clock_gettime(CLOCK_REALTIME, &s->wall);
    LOCKED_SCOPE(&fs->ns->lock);
    if (!evict_ctl_look_locked(fs, slot, &v, look_at_file, s))
        return false;
    if (v.tenant->dir)
        file_key(v.tenant->dir, s->tenant);
    s->capacity = v.capacity;
    s->used = v.used;
    s->watermark = v.set.watermark;
    s->ratio = v.set.ratio;
    s->policy = v.set.policy;
    s->excess = v.to_free;
    s->above_share = v.above_share;
    s->residents = v.tenant->tiers[slot].count;
    return true;
}

/* Frees what was kept for it. */
static json_t *survey_end(struct survey *s)
{
    json_t *value = survey_json(s);

    for (size_t i = 0; i < s->n; i++)
        free(s->next[i].key);
    return value;
}

static void add_l1(struct l2fs *fs, struct survey *s, json_t *places)
{
    *s = (struct survey){.fs = fs, .from = "l1"};
    survey_l1(s);
    json_array_append_new(places, survey_end(s));
}

static void add_tier(struct l2fs *fs, struct survey *s, size_t slot, json_t *places)
{
    for (size_t i = 0;; i++) {
        json_t *value;

        *s = (struct survey){.fs = fs, .from = tiers_name(&fs->tiers, slot)};
        if (!survey_tier(s, slot, i))
            return;
        value = survey_end(s);
        json_object_set_new(value, "tenant", status_string(s->tenant));
        json_object_set_new(value, "above_share", json_integer((json_int_t)s->above_share));
        json_array_append_new(places, value);
    }
}

int status_print_victims(struct l2fs *fs, size_t tier, struct text *out)
{
    struct survey *s = malloc(sizeof(*s));
    json_t *places = json_array();

    (void)tier;
    if (!s) {
        json_decref(places);
        return -ENOMEM;
    }
    add_l1(fs, s, places);
    TIERS_HELD(held, &fs->tiers, fs->tiers.present);
    tiers_each(i, held.mask) add_tier(fs, s, i, places);
    free(s);
    return status_print_json(json_pack("{s:o}", "places", places), out);
}
