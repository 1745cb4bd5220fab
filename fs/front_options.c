/* front_options.c - what is asked of the kernel: mount options, capabilities, sizes.
 *
 * Thread model: front_arguments before there are FUSE threads, front_init by the first of them,
 * front_read_ahead by the keeper.
 */
#include <fcntl.h>
#include <stdio.h>
#include <sys/sysmacros.h>

#include "front_impl.h"
#include "log.h"
#include "machine.h"

#define FUSE_CONF "/etc/fuse.conf"
#define ENABLE_URING "/sys/module/fuse/parameters/enable_uring"
#define RING_DEPTH "64" /* requests of a processor, opens that wait among them */
#define READ_AHEAD_KB "4096"
#define MAX_BACKGROUND 512
#define CONGESTION 384

/* May a user who is not root let others in? */
static bool allow_other_granted(void)
{
    char line[256], word[32];
    bool granted = false;
    FILE *conf;

    if (geteuid() == 0)
        return true;
    conf = fopen(FUSE_CONF, "re");
    if (!conf)
        return false;
    while (!granted && fgets(line, sizeof(line), conf))
        granted = sscanf(line, "%31s", word) == 1 && !strcmp(word, "user_allow_other");
    fclose(conf);
    return granted;
}

static bool want_allow_other(const struct l2fs_config *cfg)
{
    if (!cfg->allow_other)
        return false;
    if (allow_other_granted())
        return true;
    log_warn("allow_other: only this user will see the mount; to let others in, put "
             "user_allow_other into " FUSE_CONF);
    return false;
}

static bool want_io_uring(const struct l2fs_config *cfg)
{
#ifdef HAVE_FUSE_URING
    char line[8];

    if (!cfg->io_uring)
        return false;
    if (machine_read_line(ENABLE_URING, line, sizeof(line))) {
        log_warn("io_uring: this kernel's FUSE has no io_uring (Linux 6.14); going on without");
        return false;
    }
    if (line[0] == 'Y')
        return true;
    log_warn("io_uring: off in the kernel, going on without; to turn it on: echo Y > " ENABLE_URING
             ", or fuse.enable_uring=1 on the kernel's command line");
#else
    if (cfg->io_uring)
        log_warn("io_uring: this build's libfuse has none (3.18); going on without");
#endif
    return false;
}

static int add(char **opts, const char *name, const char *value)
{
    AUTO_FREE char *both = NULL;

    if (asprintf(&both, "%s%s", name, value) < 0) {
        both = NULL;
        return -ENOMEM;
    }
    return fuse_opt_add_opt_escaped(opts, both) ? -ENOMEM : 0;
}

static int add_rings(char **opts)
{
    int rc = add(opts, "io_uring", "");

    return rc ? rc : add(opts, "io_uring_q_depth=", RING_DEPTH);
}

static int add_all(char **opts, const struct l2fs_config *cfg, const char *source,
                   const char *extra)
{
    char size[16];
    int rc;

    snprintf(size, sizeof(size), "%u", FRONT_IO_MAX);
    rc = add(opts, "fsname=", source);
    if (!rc)
        rc = add(opts, "subtype=", "l2fs");
    if (!rc)
        rc = add(opts, "default_permissions", "");
    if (!rc)
        rc = add(opts, "max_read=", size);
    if (!rc && want_allow_other(cfg))
        rc = add(opts, "allow_other", "");
    if (!rc && cfg->read_only)
        rc = add(opts, "ro", "");
    if (!rc && want_io_uring(cfg))
        rc = add_rings(opts);
    if (!rc && extra && *extra && fuse_opt_add_opt(opts, extra))
        rc = -ENOMEM;
    return rc;
}

int front_arguments(const struct l2fs_config *cfg, const char *source, const char *extra,
                    struct fuse_args *out)
{
    struct fuse_args args = FUSE_ARGS_INIT(0, NULL);
    AUTO_FREE char *opts = NULL;
    int rc = add_all(&opts, cfg, source, extra);

    if (!rc && (fuse_opt_add_arg(&args, "l2fs") || fuse_opt_add_arg(&args, "-o") ||
                fuse_opt_add_arg(&args, opts)))
        rc = -ENOMEM;
    if (rc) {
        fuse_opt_free_args(&args);
        return rc;
    }
    *out = args;
    return 0;
}

bool front_want(struct fuse_conn_info *conn, uint64_t cap)
{
#ifdef HAVE_FUSE_PASSTHROUGH
    return fuse_set_feature_flag(conn, cap);
#else
    conn->want |= conn->capable & (unsigned)cap;
    return conn->capable & (unsigned)cap;
#endif
}

void front_unwant(struct fuse_conn_info *conn, uint64_t cap)
{
#ifdef HAVE_FUSE_PASSTHROUGH
    fuse_unset_feature_flag(conn, cap);
#else
    conn->want &= ~(unsigned)cap;
#endif
}

void front_init(void *userdata, struct fuse_conn_info *conn)
{
    struct front *f = userdata;

    front_want(conn, FUSE_CAP_ASYNC_READ | FUSE_CAP_ASYNC_DIO);
    front_want(conn, FUSE_CAP_ATOMIC_O_TRUNC);
    front_want(conn, FUSE_CAP_PARALLEL_DIROPS);
    front_want(conn, FUSE_CAP_READDIRPLUS | FUSE_CAP_READDIRPLUS_AUTO);
#if FRONT_HAS(3, 18)
    /* Without it the kernel asks for security.capability at every write, passthrough included. */
    front_want(conn, FUSE_CAP_HANDLE_KILLPRIV_V2);
    /* Over io_uring libfuse finds no request for an interrupt, and keeps each. */
    conn->no_interrupt = f->retrier.running;
#endif
    conn->max_write = FRONT_IO_MAX;
    conn->max_read = FRONT_IO_MAX;
    conn->max_background = MAX_BACKGROUND;
    conn->congestion_threshold = CONGESTION;
    backing_init(f, conn);
}

void front_read_ahead(dev_t dev)
{
    AUTO_CLOSE int fd = -1;
    char path[64];

    if (geteuid() != 0)
        return;
    snprintf(path, sizeof(path), "/sys/class/bdi/%u:%u/read_ahead_kb", major(dev), minor(dev));
    fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0 || write(fd, READ_AHEAD_KB, strlen(READ_AHEAD_KB)) < 0)
        log_debug("front: %s: %s; mmap reads in smaller pieces", path, strerror(errno));
}
