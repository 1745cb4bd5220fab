/* pending.c - /proc/TID/status, which takes no lock that a process holds while it waits for us. */
#include "config.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>

#include "base.h"
#include "pending.h"

/* One of the masks; 0 when it is not there. */
static uint64_t mask(const char *status, const char *name)
{
    const char *at = strstr(status, name);
    uint64_t value;

    return at && sscanf(at + strlen(name), " %" SCNx64, &value) == 1 ? value : 0;
}

bool pending_signal(pid_t tid)
{
    AUTO_CLOSE int fd = -1;
    char path[48], text[4096];
    ssize_t n;

    snprintf(path, sizeof(path), "/proc/%d/status", (int)tid);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
    if (n <= 0)
        return false;
    text[n] = '\0';
    return (mask(text, "\nSigPnd:") | mask(text, "\nShdPnd:")) &
           ~(mask(text, "\nSigBlk:") | mask(text, "\nSigIgn:"));
}
