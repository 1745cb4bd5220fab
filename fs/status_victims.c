/* status_victims.c - .l2fs/victims: what would leave each place next, and what may not, and why.
 *
 * Thread model: any thread. Looking takes ns->lock, so it ends after a number of steps; the text is
 * made without the lock. Nothing is changed by looking.
 */
#include "config.h"

#include "clock.h"
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

static const char *const obstacle_names[OBSTACLES] = {NULL,     "writing",  "open",
                                                      "pinned", "unstored", "busy"};

static void count(struct tally *t, const struct inode *inode)
{
    t->keys++;
    t->bytes += inode->blocks * 512;
}

static void keep_victim(struct survey *s, const struct inode *inode)
{
    time_t used = MAX(inode->atime.tv_sec, inode->mtime.tv_sec);
    char key[KEY_PATH_MAX + 2];
    char *copy;

    file_key(inode, key);
    copy = strdup(key);
    if (!copy)
        return;
    s->next[s->n++] = (struct victim){.key = copy,
                                      .bytes = inode->blocks * 512,
                                      .idle_s = (uint64_t)MAX(s->wall.tv_sec - used, 0)};
}

static void look_at(struct survey *s, const struct object *o)
{
    enum obstacle why = evict_obstacle_locked(s->fs, o, s->now);

    s->looked_at++;
    count(&s->seen[why], o->inode);
    if (!why && s->n < VICTIMS_MAX)
        keep_victim(s, o->inode);
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
        "{s:s, s:s, s:f, s:f, s:I, s:I, s:I, s:I, s:I, s:o, s:o, s:o}", "from", "l1", "policy",
        evict_policy_names[s->policy], "watermark", s->watermark, "ratio", s->ratio, "capacity",
        (json_int_t)s->capacity, "used", (json_int_t)s->used, "to_free", (json_int_t)s->excess,
        "keys", (json_int_t)s->residents, "looked_at", (json_int_t)s->looked_at, "evictable",
        tally_json(&s->seen[OBSTACLE_NONE]), "kept", kept_json(s), "next", next_json(s));
}

static json_t *l1_victims(struct l2fs *fs)
{
    struct survey *s = calloc(1, sizeof(*s));
    json_t *value;

    if (!s)
        return NULL;
    s->fs = fs;
    survey_l1(s);
    value = survey_json(s);
    for (size_t i = 0; i < s->n; i++)
        free(s->next[i].key);
    free(s);
    return value;
}

int status_print_victims(struct l2fs *fs, size_t tier, struct text *out)
{
    json_t *places = json_array();

    (void)tier;
    json_array_append_new(places, l1_victims(fs));
    return status_print_json(json_pack("{s:o}", "places", places), out);
}
