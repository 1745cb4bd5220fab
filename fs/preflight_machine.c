/* preflight_machine.c - the checks of mount.l2fs --check that look at kernel, limits and devices.
 *
 * Runs before there are threads (popen of ucx_info) and changes nothing.
 */
#include "config.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <sys/xattr.h>

#include "machine.h"
#include "preflight_impl.h"
#include "text.h"
#include "units.h"

#define NOFILE_WANTED 65536
#define SHMEM_HUGE "/sys/kernel/mm/transparent_hugepage/shmem_enabled"

void preflight_kernel(struct preflight *p)
{
    struct utsname uts = {0};

    uname(&uts);
    if (!machine_kernel_at_least(5, 4))
        preflight_say(p, VERDICT_FAIL, "kernel", "Linux %s, needs 5.4", uts.release);
    else if (!machine_kernel_at_least(6, 9))
        preflight_say(p, VERDICT_WARN, "kernel", "Linux %s: no passthrough before 6.9",
                      uts.release);
    else
        preflight_say(p, VERDICT_OK, "kernel", "Linux %s", uts.release);
}

void preflight_admin(struct preflight *p)
{
    if (machine_is_admin())
        preflight_say(p, VERDICT_OK, "CAP_SYS_ADMIN", "own tmpfs for memory files, passthrough");
    else
        preflight_say(p, VERDICT_WARN, "CAP_SYS_ADMIN",
                      "missing: no passthrough, memory files in /dev/shm without huge pages");
}

static const char *shown_limit(rlim_t value, bool bytes, char *buf, size_t len)
{
    if (value == RLIM_INFINITY)
        return "unlimited";
    if (bytes)
        return units_format_size(value, buf, len);
    snprintf(buf, len, "%llu", (unsigned long long)value);
    return buf;
}

void preflight_limits(struct preflight *p, bool pinning)
{
    struct rlimit lock = {0}, files = {0};
    char buf[32];
    bool enough;

    getrlimit(RLIMIT_MEMLOCK, &lock);
    getrlimit(RLIMIT_NOFILE, &files);
    enough = lock.rlim_max == RLIM_INFINITY || geteuid() == 0 || !pinning;
    preflight_say(p, enough ? VERDICT_OK : VERDICT_WARN, "memlock limit", "%s%s",
                  shown_limit(lock.rlim_max, true, buf, sizeof(buf)),
                  geteuid() == 0 ? ", not applied to root"
                  : pinning      ? ": -o pin locks no more than that"
                                 : "; matters with -o pin only");
    enough = files.rlim_max == RLIM_INFINITY || files.rlim_max >= NOFILE_WANTED;
    preflight_say(p, VERDICT_OK, "open files", "%s%s",
                  shown_limit(files.rlim_max, false, buf, sizeof(buf)),
                  enough ? "" : ": bounds the keys open at once; idle keys need none");
}

void preflight_huge_pages(struct preflight *p)
{
    char line[128];

    if (machine_read_line(SHMEM_HUGE, line, sizeof(line)))
        preflight_say(p, VERDICT_WARN, "huge pages",
                      "the kernel has none for tmpfs: writes run at about half speed");
    else if (strstr(line, "[deny]"))
        preflight_say(p, VERDICT_WARN, "huge pages", "denied; echo never >" SHMEM_HUGE);
    else if (!machine_is_admin())
        preflight_say(p, VERDICT_WARN, "huge pages",
                      "need root, which mounts a tmpfs of its own with huge pages");
    else if (!machine_kernel_at_least(6, 14))
        preflight_say(p, VERDICT_WARN, "huge pages",
                      "there, but writes use them from Linux 6.14 on");
    else
        preflight_say(p, VERDICT_OK, "huge pages", "in our own tmpfs (huge=within_size)");
}

void preflight_xattrs(struct preflight *p)
{
    AUTO_CLOSE int fd = open("/dev/shm", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

    if (fd < 0)
        preflight_say(p, geteuid() == 0 ? VERDICT_WARN : VERDICT_FAIL, "memory files",
                      "/dev/shm: %s", strerror(errno));
    else if (fsetxattr(fd, "user.l2fs.check", "1", 1, 0))
        preflight_say(
            p, VERDICT_WARN, "memory files",
            "tmpfs has no user xattrs (Linux 6.6): what is not stored is lost in a crash");
    else
        preflight_say(p, VERDICT_OK, "memory files",
                      "with user xattrs: they survive a crash of the daemon");
}

void preflight_cuda(struct preflight *p)
{
#ifdef HAVE_CUDA
    bool device = !access("/dev/nvidiactl", F_OK);

    preflight_say(p, VERDICT_OK, "CUDA",
                  device ? "built in, a device is there: -o pin=cuda works"
                         : "built in, no device here");
#else
    preflight_say(p, VERDICT_OK, "CUDA", "not built: -o pin=cuda is refused");
#endif
}

#ifdef HAVE_PD
/* "tcp, rc_verbs, ..." as ucx_info lists them. */
static void list_transports(struct text *out)
{
    FILE *f = popen("ucx_info -d 2>/dev/null", "re");
    char line[512], name[64];

    while (f && fgets(line, sizeof(line), f)) {
        if (sscanf(line, "# Transport: %63s", name) == 1 &&
            (!out->data || !strstr(out->data, name)))
            text_printf(out, "%s%s", out->len ? ", " : "", name);
    }
    if (f)
        pclose(f);
}
#endif

/* What UCX finds here is what pd can ask for by `tls`; shared memory cannot tell when a peer is gone,
 * so pd takes none of it. */
void preflight_ucx(struct preflight *p)
{
#ifdef HAVE_PD
    struct text names = {0};

    list_transports(&names);
    if (names.len && !strstr(names.data, "tcp"))
        preflight_say(p, VERDICT_WARN, "UCX",
                      "the pd adapter is built in, but there is no tcp here: %s", names.data);
    else
        preflight_say(p, VERDICT_OK, "UCX", "the pd adapter is built in; %s%s",
                      names.len ? "transports here: " : "ucx_info is not here to list transports",
                      names.len ? names.data : "");
    text_fini(&names);
#else
    preflight_say(p, VERDICT_OK, "UCX", "not built: no pd adapter, no transfers between machines");
#endif
}
