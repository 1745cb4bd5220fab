/* main.c - mount.l2fs: from the command line to a mount that answers, and back.
 *
 * Thread model: everything up to signals_start runs in one thread, before and after the fork. The
 * front end then brings its own threads; `mount_is_ready` is called on one of them.
 */
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "daemonize.h"
#include "front.h"
#include "instance_lock.h"
#include "l2fs.h"
#include "log.h"
#include "mountpoint.h"
#include "options.h"
#include "preflight.h"
#include "signals.h"

#define OOM_SCORE "-500" /* root: cache memory is worth more than most, but not all, processes */
#define HOLDER_GRACE (10 * NSEC_PER_SEC)

/* One run of the program. */
struct mount {
    struct options opt;
    struct daemon daemon;
    struct instance_lock lock;
    struct signals *signals;
    struct l2fs *fs;
    struct front *front; /* while it serves */
    bool ready;
};

/* --- logging --- */

static bool logs_to_stderr(const struct options *o)
{
    return o->cfg.log ? !strcmp(o->cfg.log, "stderr") : o->foreground;
}

/* Until the mount answers, what matters goes to the terminal. */
static void log_for_start(const struct options *o)
{
    int level = o->cfg.log_level;

    if (!o->foreground && !o->verbose)
        level = MIN(level, (int)LOG_LEVEL_WARN);
    log_set_level((enum log_level)level);
}

static void log_for_service(const struct options *o)
{
    int rc;

    log_set_level((enum log_level)o->cfg.log_level);
    if (logs_to_stderr(o))
        return;
    if (!o->cfg.log || !strcmp(o->cfg.log, "syslog")) {
        log_set_sink(LOG_SINK_SYSLOG);
        return;
    }
    rc = log_open_file(o->cfg.log);
    if (rc)
        log_err("option log: cannot write %s: %s", o->cfg.log, strerror(-rc));
}

/* A log file that cannot be written is said before anything is mounted. */
static int check_log_file(const struct options *o)
{
    AUTO_CLOSE int fd = -1;

    if (!o->cfg.log || o->cfg.log[0] != '/')
        return 0;
    fd = open(o->cfg.log, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0640);
    if (fd >= 0)
        return 0;
    log_err("option log: cannot write %s: %s", o->cfg.log, strerror(errno));
    return EXIT_USAGE;
}

/* --- the daemon --- */

/* What a daemon that holds a cache for others needs of its process. */
static void prepare_process(void)
{
    AUTO_CLOSE int oom = -1;
    struct rlimit files;

    umask(0); /* modes come from the clients */
    if (!getrlimit(RLIMIT_NOFILE, &files)) {
        files.rlim_cur = files.rlim_max;
        if (setrlimit(RLIMIT_NOFILE, &files))
            log_warn("cannot raise the limit of open files: %s", strerror(errno));
    }
    if (geteuid() != 0)
        return;
    oom = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    if (oom < 0 || write(oom, OOM_SCORE, strlen(OOM_SCORE)) < 0)
        log_debug("cannot lower the OOM score: %s", strerror(errno));
}

static void describe_tiers(const struct l2fs_config *cfg, struct text *out)
{
    size_t i;
    json_t *tier;

    json_array_foreach(cfg->l2, i, tier)
    {
        const char *base = json_string_value(json_object_get(tier, "base_path"));

        text_printf(out, "%s%s%s%s", i ? ", " : "",
                    json_string_value(json_object_get(tier, "type")), base ? " " : "",
                    base ? base : "");
    }
}

/* "mounted ...": always in the log, on stdout with -v. */
static void announce(struct mount *m)
{
    struct text line = {0};
    const struct options *o = &m->opt;

    text_printf(&line, "mounted %s on %s, instance %s: ", o->source, o->dir, o->cfg.name);
    l2fs_describe(m->fs, &line);
    text_printf(&line, "; staging %s; tiers: ", o->cfg.staging);
    describe_tiers(&o->cfg, &line);
    text_printf(&line, "; files: %s", front_mode(m->front));
    if (!line.failed) {
        log_info("%s", line.data);
        if (o->verbose && !(o->foreground && logs_to_stderr(o)))
            dprintf(STDOUT_FILENO, "mount.l2fs: %s\n", line.data);
    }
    text_fini(&line);
}

static void mount_is_ready(void *arg)
{
    struct mount *m = arg;

    m->ready = true;
    instance_lock_tell(&m->lock, "running");
    log_for_service(&m->opt);
    announce(m);
    daemon_ready(&m->daemon, logs_to_stderr(&m->opt));
}

/* Starting failed: the parent says so, and the log keeps it. */
static int start_failed(struct mount *m, int exit_code, const char *why)
{
    bool told = logs_to_stderr(&m->opt);

    if (*why && !told) {
        log_for_service(&m->opt);
        log_err("%s", why);
        log_set_sink(LOG_SINK_STDERR);
    }
    daemon_failed(&m->daemon, exit_code, why);
    return exit_code;
}

static int serve_front(struct mount *m)
{
    const struct options *o = &m->opt;
    int rc = front_mount(m->fs, &o->cfg, o->source, o->dir, o->extra, &m->front);

    if (rc)
        return start_failed(m, rc == -EPERM || rc == -EACCES ? EXIT_USAGE : EXIT_MOUNT, "");
    if (signals_serving(m->signals, m->front))
        rc = front_run(m->front, mount_is_ready, m);
    signals_draining(m->signals);
    front_unmount(m->front);
    instance_lock_tell(&m->lock, "ending");
    if (!m->ready)
        return start_failed(m, rc ? EXIT_MOUNT : EXIT_INTERRUPTED,
                            rc ? "the FUSE session ended before the mount answered"
                               : "interrupted");
    if (rc)
        log_err("the FUSE session of %s failed: %s", o->dir, strerror(-rc));
    return rc ? EXIT_MOUNT : 0;
}

static int serve(struct mount *m)
{
    struct text err = {0};
    AUTO_FREE char *why = NULL;
    int rc;

    instance_lock_tell(&m->lock, "starting");
    rc = signals_start(&m->signals);
    if (rc)
        return start_failed(m, EXIT_SYSTEM, "cannot start a thread");
    prepare_process();
    rc = l2fs_start(&m->opt.cfg, &m->fs, &err);
    why = text_steal(&err, NULL);
    if (rc) {
        rc = start_failed(m, rc == -ENOMEM ? EXIT_SYSTEM : EXIT_MOUNT,
                          why && *why ? why : strerror(-rc));
    } else {
        rc = serve_front(m);
        l2fs_stop(m->fs);
        if (m->ready)
            log_info("%s is unmounted", m->opt.dir);
    }
    signals_stop(m->signals);
    instance_lock_release(&m->lock);
    return rc;
}

/* --- before the daemon --- */

/* -N: what mount(8) gives is a path; people may give a process id. */
static int enter_namespace(const char *ns)
{
    AUTO_FREE char *path = NULL;
    AUTO_CLOSE int fd = -1;
    bool is_pid = ns[strspn(ns, "0123456789")] == '\0';

    if (asprintf(&path, is_pid ? "/proc/%s/ns/mnt" : "%s", ns) < 0) {
        path = NULL;
        return EXIT_SYSTEM;
    }
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0 && !setns(fd, CLONE_NEWNS))
        return 0;
    log_err("cannot enter the mount namespace %s: %s", path, strerror(errno));
    return EXIT_MOUNT;
}

/* Claims the instance and every source directory, which bind mounts cannot disguise. */
static int take_locks(struct mount *m, struct text *err)
{
    const struct options *o = &m->opt;
    struct instance_claim claims[INSTANCE_LOCKS_MAX] = {{o->cfg.name, o->source}};
    char names[INSTANCE_LOCKS_MAX][64];
    size_t n = 1;
    struct stat st;

    for (size_t i = 0; i < o->nbases && n < INSTANCE_LOCKS_MAX; i++) {
        if (stat(o->bases[i], &st))
            continue; /* not made yet: nobody serves it */
        snprintf(names[n], sizeof(names[n]), "dir-%llx-%llx", (unsigned long long)st.st_dev,
                 (unsigned long long)st.st_ino);
        claims[n] = (struct instance_claim){names[n], o->bases[i]};
        n++;
    }
    return instance_lock_take(&m->lock, claims, n, o->dir, o->cfg.drain_timeout + HOLDER_GRACE,
                              err);
}

/* 0, or the exit code, having said why. */
static int prepare(struct mount *m)
{
    struct text err = {0};
    int rc = check_log_file(&m->opt), code;

    if (rc)
        return rc;
    if (m->opt.namespace) {
        code = enter_namespace(m->opt.namespace);
        if (code)
            return code;
    }
    rc = mountpoint_prepare(m->opt.dir, &err);
    if (!rc)
        rc = take_locks(m, &err);
    if (rc)
        log_err("%s", err.data ? err.data : strerror(-rc));
    text_fini(&err);
    return rc == -ENOMEM ? EXIT_SYSTEM : rc ? EXIT_MOUNT : 0;
}

static int run_mount(struct mount *m)
{
    int rc = prepare(m);

    if (rc)
        return rc;
    if (m->opt.foreground)
        return serve(m);
    rc = daemon_fork(&m->daemon);
    if (rc == 0)
        return serve(m);
    instance_lock_close(&m->lock);
    if (rc > 0)
        return daemon_wait(&m->daemon, m->opt.cfg.start_timeout);
    log_err("cannot fork: %s", strerror(-rc));
    return EXIT_SYSTEM;
}

static int print_help(const struct options *o)
{
    struct text out = {0}, err = {0};
    int rc = options_help(o->topic, &out, &err);

    if (rc)
        log_err("%s", err.data ? err.data : strerror(-rc));
    else
        fputs(out.data ? out.data : "", stdout);
    text_fini(&out);
    text_fini(&err);
    return rc ? EXIT_USAGE : 0;
}

static int print_version(void)
{
    struct front_features f;

    front_features(&f);
    printf("mount.l2fs %s, libfuse %u.%u\n", PACKAGE_VERSION, f.lib_major, f.lib_minor);
    return 0;
}

/* "line\nline\n" */
static void warn_lines(char *lines)
{
    char *save = NULL;

    for (char *line = lines ? strtok_r(lines, "\n", &save) : NULL; line;
         line = strtok_r(NULL, "\n", &save))
        log_warn("%s", line);
}

static int run_action(struct mount *m)
{
    switch (m->opt.action) {
    case OPTIONS_HELP: return print_help(&m->opt);
    case OPTIONS_VERSION: return print_version();
    case OPTIONS_CHECK: return preflight_run(&m->opt, stdout) ? EXIT_USAGE : 0;
    case OPTIONS_MOUNT: break;
    }
    return run_mount(m);
}

int main(int argc, char **argv)
{
    struct mount m = {.daemon = {.pipe = -1}};
    struct text err = {0};
    int rc = options_parse(argc, argv, &m.opt, &err);

    if (rc) {
        log_err("%s", err.data ? err.data : strerror(-rc));
        text_fini(&err);
        return rc == -ENOMEM ? EXIT_SYSTEM : rc == -EINVAL ? EXIT_USAGE : EXIT_MOUNT;
    }
    log_for_start(&m.opt);
    warn_lines(m.opt.warnings.data);
    rc = run_action(&m);
    options_fini(&m.opt);
    return rc;
}
