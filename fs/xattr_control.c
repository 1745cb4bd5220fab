/* xattr_control.c - the table of settings below .l2fs, and how they are read and set.
 *
 * Thread model: any thread, without ns->lock but to find the place of the inode and to keep its
 * last refusal. To add a setting, add a row and its two functions.
 */
#include "config.h"

#include "xattr_control.h"

#include <fnmatch.h>

#include "evict_ctl.h"
#include "hotplug.h"
#include "log.h"
#include "xattr_value.h"

#define TOP ".l2fs"
#define CONFIG ".l2fs/config"
#define ADAPTERS ".l2fs/adapters"
#define TIER ".l2fs/adapters/*"

struct control {
    const char *path; /* of the file, as fnmatch(3) takes it */
    const char *name; /* behind user.l2fs. */
    const char *allowed;
    int (*get)(struct control_call *c); /* 0 or -ENODATA; NULL: it can only be set */
    int (*set)(struct control_call *c); /* 0 or -errno; without a sentence `allowed` is told */
};

/* --- .l2fs: orders about the whole --- */

static int cancel_request(struct control_call *c)
{
    size_t n;

    if (xattr_parse_name(c->text))
        return -EINVAL;
    lock(&c->fs->ns->lock);
    n = requests_cancel_locked(c->fs, c->text);
    unlock(&c->fs->ns->lock);
    log_info("request %s is cancelled: %zu keys were not sent yet", c->text, n);
    return 0;
}

/* --- .l2fs/config: options that can change while the instance runs --- */

/* Checks a value as -o does; the caller ends `cfg` with conf_fini. */
static int parse_option(struct control_call *c, const char *name, struct l2fs_config *cfg)
{
    int err = conf_defaults(l2fs_config_options, cfg);

    return err ? err : conf_set(l2fs_config_options, cfg, name, c->text, 0, c->out);
}

static int get_log_level(struct control_call *c)
{
    text_puts(c->out, log_level_name(log_get_level()));
    return 0;
}

static int set_log_level(struct control_call *c)
{
    struct l2fs_config cfg = {0};
    int err = parse_option(c, "log_level", &cfg);

    if (!err)
        log_set_level((enum log_level)cfg.log_level);
    conf_fini(l2fs_config_options, &cfg);
    return err;
}

static void put_number(struct control_call *c, const double *value)
{
    LOCKED_SCOPE(&c->fs->ns->lock);
    text_printf(c->out, "%g", *value);
}

static int get_l1_watermark(struct control_call *c)
{
    put_number(c, &c->fs->l1.watermark);
    return 0;
}

static int get_l1_ratio(struct control_call *c)
{
    put_number(c, &c->fs->l1.ratio);
    return 0;
}

static int get_l1_policy(struct control_call *c)
{
    LOCKED_SCOPE(&c->fs->ns->lock);
    text_puts(c->out, evict_policy_names[c->fs->l1.policy]);
    return 0;
}

static int set_l1(struct control_call *c, const char *name)
{
    struct l2fs_config cfg = {0};
    int err = parse_option(c, name, &cfg);

    if (!err) {
        LOCKED_SCOPE(&c->fs->ns->lock);
        gate_sync_locked(c->fs);
        if (!strcmp(name, "l1_watermark"))
            err = l1_set_watermark(&c->fs->l1, cfg.l1_watermark);
        else if (!strcmp(name, "l1_ratio"))
            err = l1_set_ratio(&c->fs->l1, cfg.l1_ratio);
        else
            err = l1_set_policy(&c->fs->l1, cfg.l1_policy);
        evict_post_locked(c->fs);
    }
    conf_fini(l2fs_config_options, &cfg);
    return err;
}

static int set_l1_watermark(struct control_call *c)
{
    return set_l1(c, "l1_watermark");
}

static int set_l1_ratio(struct control_call *c)
{
    return set_l1(c, "l1_ratio");
}

static int set_l1_policy(struct control_call *c)
{
    return set_l1(c, "l1_policy");
}

/* --- .l2fs/adapters: tiers that come and go; both wait --- */

static int add_adapter(struct control_call *c)
{
    return hotplug_add(c->fs, c->text, c->out);
}

static int remove_adapter(struct control_call *c)
{
    struct hotplug_removal r = {.timeout = c->fs->cfg->drain_timeout};
    int err = hotplug_parse_removal(c->text, &r);

    return err ? err : hotplug_remove(c->fs, &r, c->out);
}

/* --- .l2fs/adapters/NAME: eviction from a tier --- */

static int get_tier_policy(struct control_call *c)
{
    return evict_ctl_get(c->fs, c->tier, "policy", c->out);
}

static int set_tier_policy(struct control_call *c)
{
    return evict_ctl_set(c->fs, c->tier, "policy", c->text, c->out);
}

static int get_tier_watermark(struct control_call *c)
{
    return evict_ctl_get(c->fs, c->tier, "watermark", c->out);
}

static int set_tier_watermark(struct control_call *c)
{
    return evict_ctl_set(c->fs, c->tier, "watermark", c->text, c->out);
}

static int get_tier_ratio(struct control_call *c)
{
    return evict_ctl_get(c->fs, c->tier, "ratio", c->out);
}

static int set_tier_ratio(struct control_call *c)
{
    return evict_ctl_set(c->fs, c->tier, "ratio", c->text, c->out);
}

/* --- the table --- */

static const struct control controls[] = {
    {TOP, "cancel", "the user.l2fs.req_id of files", NULL, cancel_request},
    {CONFIG, "log_level", "error, warn, info or debug", get_log_level, set_log_level},
    {CONFIG, "l1_watermark", "a number from 0.05 to 1", get_l1_watermark, set_l1_watermark},
    {CONFIG, "l1_ratio", "a number from 0.01 to 1", get_l1_ratio, set_l1_ratio},
    {CONFIG, "l1_policy", "LRU, FIFO, S3-FIFO or noop", get_l1_policy, set_l1_policy},
    {ADAPTERS, "adapter_add", "{\"type\": \"fs\", \"base_path\": \"/data\"}, as in -o l2=", NULL,
     add_adapter},
    {ADAPTERS, "adapter_remove", "NAME[ force][ timeout=30s]", NULL, remove_adapter},
    {TIER, "policy", "LRU, FIFO, S3-FIFO or noop", get_tier_policy, set_tier_policy},
    {TIER, "watermark", "a number from 0 to 1", get_tier_watermark, set_tier_watermark},
    {TIER, "ratio", "a number from 0 to 1", get_tier_ratio, set_tier_ratio},
};

struct place {
    char path[KEY_PATH_MAX + 2];
    size_t tier;
};

/* The tier whose name is the last component. */
static size_t tier_at(struct l2fs *fs, const char *path)
{
    const char *slash = strrchr(path, '/');
    int slot = slash ? tiers_find(&fs->tiers, slash + 1) : -1;

    return slot < 0 ? 0 : (size_t)slot;
}

static bool find_place(struct l2fs *fs, const struct inode *inode, struct place *out)
{
    LOCKED_SCOPE(&fs->ns->lock);
    if (!inode->names || ns_path(inode->names, out->path) < 0)
        return false;
    out->tier = tier_at(fs, out->path);
    return true;
}

static bool is_at(const struct control *c, const struct place *at)
{
    return !fnmatch(c->path, at->path, FNM_PATHNAME | FNM_PERIOD);
}

static const struct control *find(const struct place *at, const char *name)
{
    if (strncmp(name, XATTR_OWN, strlen(XATTR_OWN)))
        return NULL;
    for (size_t i = 0; i < ARRAY_SIZE(controls); i++)
        if (is_at(&controls[i], at) && !strcmp(controls[i].name, name + strlen(XATTR_OWN)))
            return &controls[i];
    return NULL;
}

/* --- the last refusal --- */

static int get_refusal(struct l2fs *fs, const struct inode *inode, struct text *out)
{
    LOCKED_SCOPE(&fs->ns->lock);
    if (!inode->extra || !inode->extra->refusal)
        return -ENODATA;
    text_puts(out, inode->extra->refusal);
    return 0;
}

static void keep_refusal(struct l2fs *fs, struct inode *inode, const char *sentence)
{
    struct extra *e;

    LOCKED_SCOPE(&fs->ns->lock);
    e = sentence ? inode_extra(inode) : inode->extra;
    if (!e)
        return;
    free(e->refusal);
    e->refusal = sentence ? strdup(sentence) : NULL;
}

/* --- the calls --- */

int control_get(struct l2fs *fs, struct inode *inode, const char *name, struct text *out)
{
    const struct control *c;
    struct place at;

    if (!strcmp(name, XATTR_OWN "error"))
        return get_refusal(fs, inode, out);
    c = find_place(fs, inode, &at) ? find(&at, name) : NULL;
    if (!c || !c->get)
        return -ENODATA;
    return c->get(&(struct control_call){.fs = fs, .tier = at.tier, .out = out});
}

void control_list(struct l2fs *fs, struct inode *inode, struct text *out)
{
    struct text value = {0};
    struct place at;

    if (!find_place(fs, inode, &at))
        return;
    for (size_t i = 0; i < ARRAY_SIZE(controls); i++)
        if (is_at(&controls[i], &at) && controls[i].get &&
            !controls[i].get(&(struct control_call){.fs = fs, .tier = at.tier, .out = &value})) {
            text_puts(out, XATTR_OWN);
            text_append(out, controls[i].name, strlen(controls[i].name) + 1);
        }
    if (!get_refusal(fs, inode, &value))
        text_append(out, XATTR_OWN "error", sizeof(XATTR_OWN "error"));
    text_fini(&value);
}

static void put_unknown(const struct place *at, struct text *out)
{
    size_t n = 0;

    for (size_t i = 0; i < ARRAY_SIZE(controls); i++)
        if (is_at(&controls[i], at))
            text_printf(out, "%s" XATTR_OWN "%s", n++ ? ", " : "what can is ", controls[i].name);
    if (!n)
        text_puts(out, "nothing can be set there");
}

static int set_checked(struct control_call *c, const struct control *control, const void *value,
                       size_t size)
{
    char text[XATTR_TEXT_MAX + 1] = "";
    int err = xattr_text(value, size, text);

    c->text = text;
    if (!err)
        err = control->set(c);
    if (err && !c->out->len && err == -EINVAL)
        text_printf(c->out, "\"%s\" is not allowed; allowed: %s", text, control->allowed);
    else if (err && !c->out->len)
        text_printf(c->out, "\"%s\": %s", text, strerror(-err));
    if (!err && control->get) /* what cannot be read is an order, and logs what it did */
        log_info("%s is now %s", control->name, text);
    return err;
}

int control_set(struct l2fs *fs, struct inode *inode, const char *name, const void *value,
                size_t size)
{
    struct text why = {0};
    struct control_call call = {.fs = fs, .out = &why};
    const struct control *c;
    struct place at;
    int err = -EPERM;

    if (!find_place(fs, inode, &at))
        return -ENOENT;
    call.tier = at.tier;
    c = find(&at, name);
    if (c)
        err = set_checked(&call, c, value, size);
    else
        put_unknown(&at, &why);
    if (err)
        log_warn("%s: %s cannot be set: %s", at.path, name, why.data ? why.data : strerror(-err));
    if (c)
        keep_refusal(fs, inode, err ? why.data : NULL);
    text_fini(&why);
    return err;
}

void control_overlay(struct l2fs *fs, json_t *config)
{
    for (size_t i = 0; i < ARRAY_SIZE(controls); i++) {
        const struct control *c = &controls[i];
        json_t *before = json_object_get(config, c->name), *now;
        struct text value = {0};

        if (strcmp(c->path, CONFIG) || !before || !c->get)
            continue;
        if (!c->get(&(struct control_call){.fs = fs, .out = &value}) && !value.failed) {
            now = json_is_number(before) ? json_loads(value.data, JSON_DECODE_ANY, NULL) : NULL;
            json_object_set_new(config, c->name, now ? now : json_string(value.data));
        }
        text_fini(&value);
    }
}
