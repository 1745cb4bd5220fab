/* machine.h - facts about this machine and this process. Level 0. Any thread. */
#ifndef L2FS_MACHINE_H
#define L2FS_MACHINE_H

#include "base.h"

/* Bytes that programs may still take: MemAvailable, less where a memory cgroup allows less. 0 when
 * it cannot be told. */
uint64_t machine_memory_available(void);
/* True when the running kernel is at least major.minor. */
bool machine_kernel_at_least(unsigned major, unsigned minor);
/* CAP_SYS_ADMIN is effective. */
bool machine_is_admin(void);
/* First line of a small file (/proc, /sys) without its newline. 0 or -errno. */
int machine_read_line(const char *path, char *buf, size_t len);

#endif
