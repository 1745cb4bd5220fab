/* preflight.c - the checks of mount.l2fs --check that look at FUSE and at what was asked for.
 *
 * Runs before there are threads and changes nothing. A FAIL is what makes a mount fail; a warn is
 * what makes it slower or smaller than it could be. Checks of the machine are preflight_machine.c.
 */
#include "preflight.h"

#include <fcntl.h>
#include <sys/statvfs.h>

#include "front.h"
#include "log.h"
#include "machine.h"
#include "mountpoint.h"
#include "preflight_impl.h"
#include "units.h"

void preflight_say(struct preflight *p, enum verdict verdict, const char *name, const char *fmt,
                   ...)
{
    static const char *const words[] = {"ok", "warn", "FAIL"};
    va_list ap;

    p->fails += verdict == VERDICT_FAIL;
    fprintf(p->out, "%-5s %-16s ", words[verdict], name);
    va_start(ap, fmt);
    vfprintf(p->out, fmt, ap);
    va_end(ap);
    fputc('\n', p->out);
}

bool preflight_passthrough(const struct l2fs_config *cfg, struct text *why)
{
    struct front_features f;

    front_features(&f);
    if (!cfg->passthrough)
        text_puts(why, "switched off by -o nopassthrough");
    else if (!f.passthrough_built)
        text_printf(why, "built with libfuse %u.%u, needs 3.17 (tools/deps builds one)",
                    f.lib_major, f.lib_minor);
    else if (!machine_kernel_at_least(6, 9))
        text_puts(why, "needs Linux 6.9");
    else if (!machine_is_admin())
        text_puts(why, "needs root (CAP_SYS_ADMIN)");
    return why->len == 0 && !why->failed;
}

static void check_device(struct preflight *p)
{
    AUTO_CLOSE int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);

    if (fd >= 0)
        preflight_say(p, VERDICT_OK, "/dev/fuse", "can be opened");
    else if (errno == ENOENT)
        preflight_say(p, VERDICT_FAIL, "/dev/fuse",
                      "not there; modprobe fuse, or give it to the container");
    else
        preflight_say(p, VERDICT_FAIL, "/dev/fuse", "%s", strerror(errno));
}

static void check_libfuse(struct preflight *p)
{
    struct front_features f;

    front_features(&f);
    preflight_say(p, f.passthrough_built ? VERDICT_OK : VERDICT_WARN, "libfuse",
                  "%u.%u: passthrough %s, io_uring %s", f.lib_major, f.lib_minor,
                  f.passthrough_built ? "built in" : "needs 3.17",
                  f.io_uring_built ? "built in" : "needs 3.18");
}

static void check_passthrough(struct preflight *p, const struct l2fs_config *cfg)
{
    struct text why = {0};

    if (preflight_passthrough(cfg, &why))
        preflight_say(p, VERDICT_OK, "passthrough",
                      "the kernel reads and writes memory files itself");
    else
        preflight_say(p, VERDICT_WARN, "passthrough",
                      "off: %s; reads run at about 0.7x of memory speed",
                      why.data ? why.data : "?");
    text_fini(&why);
}

static void check_io_uring(struct preflight *p, const struct l2fs_config *cfg)
{
    enum verdict missing = cfg->io_uring ? VERDICT_WARN : VERDICT_OK;
    struct front_features f;
    char line[8];

    front_features(&f);
    if (!f.io_uring_built)
        preflight_say(p, missing, "io_uring", "off: needs libfuse 3.18");
    else if (machine_read_line("/sys/module/fuse/parameters/enable_uring", line, sizeof(line)))
        preflight_say(p, missing, "io_uring", "off: needs Linux 6.14 with FUSE over io_uring");
    else if (line[0] != 'Y' && line[0] != '1')
        preflight_say(p, missing, "io_uring",
                      "off: echo Y >/sys/module/fuse/parameters/enable_uring, then -o io_uring");
    else
        preflight_say(p, VERDICT_OK, "io_uring", "there, %s",
                      cfg->io_uring ? "and used" : "use it with -o io_uring");
}

static void check_user_mount(struct preflight *p, const struct l2fs_config *cfg)
{
    char line[256];
    bool allowed = false;
    FILE *f;

    if (geteuid() == 0)
        return;
    if (access("/usr/bin/fusermount3", X_OK) && access("/bin/fusermount3", X_OK) &&
        access("/usr/local/bin/fusermount3", X_OK))
        preflight_say(p, VERDICT_FAIL, "fusermount3",
                      "not found; install the package fuse3, or mount as root");
    f = fopen("/etc/fuse.conf", "re");
    while (f && fgets(line, sizeof(line), f))
        allowed |= !strncmp(line + strspn(line, " \t"), "user_allow_other", 16);
    if (f)
        fclose(f);
    if (allowed)
        preflight_say(p, VERDICT_OK, "user_allow_other", "-o allow_other may be used");
    else
        preflight_say(p, cfg->allow_other ? VERDICT_WARN : VERDICT_OK, "user_allow_other",
                      "not in /etc/fuse.conf: only this user sees the mount");
}

static void check_memory(struct preflight *p, const struct l2fs_config *cfg)
{
    uint64_t available = machine_memory_available();
    char l1[32], have[32];

    units_format_size(cfg->l1, l1, sizeof(l1));
    units_format_size(available, have, sizeof(have));
    if (cfg->l1 > available)
        preflight_say(p, VERDICT_FAIL, "memory", "l1=%s is more than the %s available", l1, have);
    else
        preflight_say(p, cfg->l1 > available / 4 * 3 ? VERDICT_WARN : VERDICT_OK, "memory",
                      "l1=%s of %s available", l1, have);
}

static void check_base(struct preflight *p, const char *base)
{
    struct statvfs st;
    char avail[32], size[32];
    uint64_t unit;

    if (statvfs(base, &st)) {
        preflight_say(p, VERDICT_WARN, "storage", "%s: %s", base, strerror(errno));
        return;
    }
    unit = st.f_frsize;
    units_format_size(st.f_bavail * unit, avail, sizeof(avail));
    units_format_size(st.f_blocks * unit, size, sizeof(size));
    preflight_say(p, st.f_bavail < st.f_blocks / 20 ? VERDICT_WARN : VERDICT_OK, "storage",
                  "%s: %s free of %s", base, avail, size);
}

static void check_target(struct preflight *p, const char *dir)
{
    struct statvfs st;

    if (mountpoint_is_l2fs(dir, NULL))
        preflight_say(p, VERDICT_WARN, "mount point", "%s is an l2fs mount", dir);
    else if (access(dir, F_OK))
        preflight_say(p, VERDICT_FAIL, "mount point", "%s: %s", dir, strerror(errno));
    else if (statvfs(dir, &st))
        preflight_say(p, VERDICT_FAIL, "mount point", "%s: %s", dir, strerror(errno));
    else
        preflight_say(p, VERDICT_OK, "mount point", "%s", dir);
}

static void check_request(struct preflight *p, const struct options *o)
{
    if (o->problem.len)
        preflight_say(p, VERDICT_FAIL, "SPEC and options", "%s", o->problem.data);
    else if (o->spec)
        preflight_say(p, VERDICT_OK, "SPEC and options", "%zu adapter%s, instance %s",
                      json_array_size(o->cfg.l2), json_array_size(o->cfg.l2) == 1 ? "" : "s",
                      o->cfg.name);
    for (size_t i = 0; i < o->nbases; i++)
        check_base(p, o->bases[i]);
    if (o->dir)
        check_target(p, o->dir);
}

unsigned preflight_run(const struct options *o, FILE *out)
{
    struct preflight p = {.out = out};

    preflight_kernel(&p);
    check_device(&p);
    check_libfuse(&p);
    check_passthrough(&p, &o->cfg);
    check_io_uring(&p, &o->cfg);
    preflight_admin(&p);
    check_user_mount(&p, &o->cfg);
    preflight_limits(&p, o->cfg.pin != PIN_OFF);
    preflight_huge_pages(&p);
    preflight_xattrs(&p);
    preflight_cuda(&p);
    preflight_ucx(&p);
    check_memory(&p, &o->cfg);
    check_request(&p, o);
    return p.fails;
}
