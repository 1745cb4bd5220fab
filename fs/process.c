/* process.c - see process.h. */
#include "config.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>

#include "base.h"
#include "process.h"

/* Reads /proc/TID/NAME. The length, or -1. */
static ssize_t read_proc(pid_t tid, const char *name, char *buf, size_t size)
{
    AUTO_CLOSE int fd = -1;
    char path[48];
    ssize_t n;

    snprintf(path, sizeof(path), "/proc/%d/%s", (int)tid, name);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    n = fd < 0 ? -1 : read(fd, buf, size - 1);
    buf[MAX(n, 0)] = '\0';
    return n;
}

/* One of the masks; 0 when it is not there. */
static uint64_t mask(const char *status, const char *name)
{
    const char *at = strstr(status, name);
    uint64_t value;

    return at && sscanf(at + strlen(name), " %" SCNx64, &value) == 1 ? value : 0;
}

bool process_has_signal(pid_t tid)
{
    char text[4096];

    if (read_proc(tid, "status", text, sizeof(text)) <= 0)
        return false;
    return (mask(text, "\nSigPnd:") | mask(text, "\nShdPnd:")) &
           ~(mask(text, "\nSigBlk:") | mask(text, "\nSigIgn:"));
}

/* A process that is being killed closes its files like any other. /proc/TID/stat tells the signal in
 * exit_code, its last field. That file must not be read while the process is in execve, which closes
 * files too and would wait for us with the lock that the reading takes; statm takes none, is quickly
 * read, and shows no memory once the process exits. */
bool process_was_killed(pid_t tid)
{
    char text[4096];
    const char *code;

    if (read_proc(tid, "statm", text, sizeof(text)) <= 0 || strncmp(text, "0 ", 2) != 0)
        return false;
    if (read_proc(tid, "stat", text, sizeof(text)) <= 0)
        return false;
    code = strrchr(text, ' ');
    return code && (atoi(code) & 0x7f);
}
