/* spec.h - the JSON that describes one L2 adapter, read and checked. Level 2.
 *
 * An L2 entry is what LMCache's --l2-adapter takes: {"type": "fs", ...}. Pure functions, any
 * thread.
 */
#ifndef L2FS_SPEC_H
#define L2FS_SPEC_H

#include "adapter.h"
#include "instance.h"

/* Keys that every adapter type takes. */
struct spec_common {
    bool shared;
    bool persist_enabled;
    char *affinity_tag;
    double max_capacity_gb; /* 0: not given */
    json_t *eviction;       /* effective, NULL: none */
    json_t *serde;          /* NULL: none; objects are stored as they are in any case */
};

/* The `eviction` block. */
struct eviction {
    int policy; /* enum evict_policy */
    double watermark;
    double ratio;
};
extern const struct conf_opt spec_eviction_options[];

struct spec {
    const struct adapter_ops *ops;
    void *config; /* ops->config_size bytes, filled from ops->options */
    struct spec_common common;
};

/* 0, -EINVAL or -ENOMEM; `err` gets one sentence that names the option, the value and what is
 * allowed. */
int spec_parse(json_t *json, struct spec *out, struct text *err);
void spec_fini(struct spec *s); /* all zero is fine */
/* What an effective configuration says of eviction, or that of the adapter it wraps. False: nothing;
 * `out` then has the defaults. */
bool spec_eviction(json_t *config, struct eviction *out);
json_t *spec_to_json(const struct spec *s); /* effective, with "type"; NULL on no memory */

#endif
