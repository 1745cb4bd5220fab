/* machine.c - reads /proc, /sys and capget(2).
 *
 * Thread model: pure functions over files of the kernel; nothing is kept.
 */
#include "machine.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <sys/utsname.h>

#define CGROUP_ROOT "/sys/fs/cgroup"

int machine_read_line(const char *path, char *buf, size_t len)
{
    AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n;

    if (fd < 0)
        return -errno;
    do {
        n = read(fd, buf, len - 1);
    } while (n < 0 && errno == EINTR);
    if (n < 0)
        return -errno;
    buf[n] = '\0';
    buf[strcspn(buf, "\n")] = '\0';
    return 0;
}

static uint64_t read_number(const char *dir, const char *file, uint64_t otherwise)
{
    char path[4096], line[64], *end;
    uint64_t value;

    if ((size_t)snprintf(path, sizeof path, "%s/%s", dir, file) >= sizeof path ||
        machine_read_line(path, line, sizeof line))
        return otherwise;
    value = strtoull(line, &end, 10);
    return end == line ? otherwise : value; /* "max" is not a number */
}

/* What the memory cgroups above this process still allow; UINT64_MAX: no limit. */
static uint64_t cgroup_room(void)
{
    char line[2048], dir[4096];
    uint64_t room = UINT64_MAX;

    if (machine_read_line("/proc/self/cgroup", line, sizeof line) || strncmp(line, "0::/", 4))
        return room;
    if ((size_t)snprintf(dir, sizeof dir, CGROUP_ROOT "%s", line + 3) >= sizeof dir)
        return room;
    while (strlen(dir) > strlen(CGROUP_ROOT)) {
        uint64_t most = read_number(dir, "memory.max", UINT64_MAX);
        uint64_t used = read_number(dir, "memory.current", 0);

        if (most != UINT64_MAX)
            room = MIN(room, most > used ? most - used : 0);
        *strrchr(dir, '/') = '\0';
    }
    return room;
}

uint64_t machine_memory_available(void)
{
    uint64_t room = cgroup_room();
    unsigned long long kib = 0;
    char line[256];
    FILE *f = fopen("/proc/meminfo", "re");

    if (!f)
        return room == UINT64_MAX ? 0 : room;
    while (fgets(line, sizeof line, f)) {
        if (sscanf(line, "MemAvailable: %llu kB", &kib) == 1)
            break;
    }
    fclose(f);
    return MIN((uint64_t)kib * KIB, room);
}

bool machine_kernel_at_least(unsigned major, unsigned minor)
{
    unsigned has_major = 0, has_minor = 0;
    struct utsname uts;

    if (uname(&uts) || sscanf(uts.release, "%u.%u", &has_major, &has_minor) != 2)
        return false;
    return has_major > major || (has_major == major && has_minor >= minor);
}

bool machine_is_admin(void)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {{0}};

    if (syscall(SYS_capget, &header, data))
        return false;
    return data[CAP_TO_INDEX(CAP_SYS_ADMIN)].effective & CAP_TO_MASK(CAP_SYS_ADMIN);
}
