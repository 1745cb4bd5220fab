/* instance.c - the option table of an instance and its defaults.
 *
 * Thread model: none; the table is constant and a struct l2fs_config belongs to one thread until
 * the instance runs, then it is only read. The l2 list is not set through conf_set: its entries
 * come from SPEC, the JSON file and -o l2= together (options_spec.c).
 */
#include "instance.h"

#include "machine.h"

#define SETTING(member) offsetof(struct l2fs_config, member)

#define L1_SHARE 4 /* of the memory that is available */
#define L1_LEAST (64 * MIB)

#define TMP_GLOBS "*.tmp:*.tmp.*:*.tmp[0-9a-f]*:.tmp??????:.o_direct_probe_*"
#define DISK_GLOBS                                                                                 \
    "dynamo-kvbm-disk-cache-??????:rank_*_world_*.kv:kv_cache.data:dfs_shard_*.data:layer-*.kvc:"  \
    "shard-[0-9][0-9][0-9][0-9][0-9][0-9].dat:obj_*_????.bin:hicache.*.bin:flexkv_ssd_cache_*.bin"

const char *const evict_policy_names[] = {"LRU", "FIFO", "S3-FIFO", "noop", NULL};
static const char *const store_policies[] = {"default", "skip_l1", "demote", NULL};
static const char *const open_modes[] = {"wait", "stream", NULL};
static const char *const corrupt_modes[] = {"miss", "eio", NULL};
static const char *const pin_modes[] = {"off", "mlock", "cuda", "auto", NULL};
static const char *const log_levels[] = {"error", "warn", "info", "debug", NULL};

const struct conf_opt l2fs_config_options[] = {
    {"l2", CONF_JSON, SETTING(l2), NULL,
     "a storage tier, {\"type\": \"fs\", \"base_path\": \"/data\"}; repeat for more, in index "
     "order"},
    {"l1", CONF_SIZE, SETTING(l1), NULL,
     "memory for objects: 8G, or 25% of the available memory, which is the default",
     .min = 1024 * 1024},
    {"max_object", CONF_SIZE, SETTING(max_object), NULL,
     "largest object in memory, bigger ones are EFBIG (0: l1)"},
    {"l1_watermark", CONF_DOUBLE, SETTING(l1_watermark), "0.8",
     "eviction from memory starts above this share of l1", .min = 0.05, .max = 1},
    {"l1_ratio", CONF_DOUBLE, SETTING(l1_ratio), "0.2", "and frees this share of what is used",
     .min = 0.01, .max = 1},
    {"l1_policy", CONF_ENUM, SETTING(l1_policy), "LRU", "which objects are evicted first",
     .choices = evict_policy_names},
    {"pin_max", CONF_DOUBLE, SETTING(pin_max), "0.5",
     "pinned objects may hold this share of l1, more is ENOSPC", .min = 0, .max = 1},
    {"writer_wait", CONF_DURATION, SETTING(writer_wait), "5s",
     "open for reading waits this long for a first writer"},
    {"load_timeout", CONF_DURATION, SETTING(load_timeout), "30s",
     "open waits this long for a load from a tier"},
    {"readahead_keys", CONF_INT, SETTING(readahead_keys), "8",
     "keys that are loaded ahead when opens follow the order of a directory (0: none)",
     .max = 1024},
    {"prefetch_requests", CONF_INT, SETTING(prefetch_requests), "8",
     "requests of warm-ups and read-ahead that load at the same time", .min = 1, .max = 1024},
    {"prefetch_bytes", CONF_SIZE, SETTING(prefetch_bytes), NULL,
     "bytes that warm-ups and read-ahead load at the same time (0: a quarter of l1)"},
    {"space_wait", CONF_DURATION, SETTING(space_wait), "10s",
     "create waits this long for memory, then ENOSPC"},
    {"store_timeout", CONF_DURATION, SETTING(store_timeout), "60s",
     "fsync and unlink wait this long for a store"},
    {"store_policy", CONF_ENUM, SETTING(store_policy), "default",
     "objects are stored when they are published, and then dropped from memory (skip_l1), or only "
     "when memory wants the room (demote)",
     .choices = store_policies},
    {"store_retries", CONF_INT, SETTING(store_retries), "8",
     "a tier that fails a key this often is given up for it (0: never)", .min = 0, .max = 255},
    {"drain_timeout", CONF_DURATION, SETTING(drain_timeout), "60s",
     "unmount waits this long for stores, then keeps what is left for the next mount"},
    {"start_timeout", CONF_DURATION, SETTING(start_timeout), "5m",
     "mount waits this long for the mount to answer"},
    {"tmp", CONF_STRING, SETTING(tmp), TMP_GLOBS,
     "GLOB:GLOB: names that are not stored until they are renamed"},
    {"disk", CONF_STRING, SETTING(disk), DISK_GLOBS,
     "GLOB:GLOB: slot files that live on the fs tier's disk, not in memory"},
    {"open", CONF_ENUM, SETTING(open), "wait",
     "an object that is still loading is waited for, or read as it lands: all but its end before "
     "its checksum is known",
     .choices = open_modes},
    {"on_corrupt", CONF_ENUM, SETTING(on_corrupt), "miss",
     "a corrupt object is a miss (ENOENT) or an error (EIO)", .choices = corrupt_modes},
    {"pin", CONF_ENUM, SETTING(pin), "off", "pin objects in memory as they are published",
     .choices = pin_modes},
    {"passthrough", CONF_BOOL, SETTING(passthrough), "true",
     "let the kernel read and write the staging files itself, where it can"},
    {"io_uring", CONF_BOOL, SETTING(io_uring), "false",
     "talk to the kernel over io_uring, where it can"},
    {"allow_other", CONF_BOOL, SETTING(allow_other), NULL,
     "other users may use the mount (default: on for root)"},
    {"ro", CONF_BOOL, SETTING(read_only), "false", "read only"},
    {"threads", CONF_INT, SETTING(threads), "64", "FUSE worker threads at most", .min = 1,
     .max = 1024},
    {"attr_timeout", CONF_DURATION, SETTING(attr_timeout), "1h",
     "the kernel keeps attributes and names this long"},
    {"name", CONF_STRING, SETTING(name), NULL,
     "of the instance: its staging directory and lock (default: from SPEC or DIR)"},
    {"staging", CONF_STRING, SETTING(staging), NULL,
     "directory of L1 (default: /run/l2fs/NAME, without root /dev/shm/l2fs-UID/NAME)"},
    {"log", CONF_STRING, SETTING(log), NULL,
     "stderr, syslog or an absolute path (default: syslog, in the foreground stderr)"},
    {"log_level", CONF_ENUM, SETTING(log_level), "info", "how much is logged",
     .choices = log_levels},
    {0},
};

int l2fs_config_init(struct l2fs_config *cfg)
{
    struct l2fs_config fresh = {0};
    int rc = conf_defaults(l2fs_config_options, &fresh);

    if (rc)
        return rc;
    fresh.l1 = MAX(machine_memory_available() / L1_SHARE, L1_LEAST);
    fresh.allow_other = geteuid() == 0;
    *cfg = fresh;
    return 0;
}

void l2fs_config_fini(struct l2fs_config *cfg)
{
    conf_fini(l2fs_config_options, cfg);
    memset(cfg, 0, sizeof *cfg);
}
