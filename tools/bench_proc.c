/* bench_proc.c - processor time of the daemon of a mount, by thread. Looks into /proc from outside. */
#include "bench_pd.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>

#include "clock.h"

static ssize_t read_file(const char *path, char *buf, size_t cap)
{
    AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, buf, cap - 1);

    if (n >= 0)
        buf[n] = '\0';
    return n;
}

/* One of the arguments is, or ends in, the absolute path of the mount. */
static bool serves(int pid, const char *mount)
{
    char path[64], args[8192];
    ssize_t n;

    snprintf(path, sizeof(path), "/proc/%d/comm", pid);
    if (read_file(path, args, sizeof(args)) < 0 || strcmp(args, "mount.l2fs\n") != 0)
        return false;
    snprintf(path, sizeof(path), "/proc/%d/cmdline", pid);
    n = read_file(path, args, sizeof(args));
    for (const char *at = args; n > 0 && at < args + n; at += strlen(at) + 1) {
        if (!strcmp(at, mount))
            return true;
    }
    return false;
}

int proc_find(const char *mount)
{
    DIR *dir = opendir("/proc");
    struct dirent *e;
    int found = 0;

    while (dir && !found && (e = readdir(dir))) {
        int pid = atoi(e->d_name);

        if (pid > 0 && serves(pid, mount))
            found = pid;
    }
    if (dir)
        closedir(dir);
    return found;
}

/* FUSE's workers and the like are one. */
static struct proc_thread *thread_of(struct proc_cpu *cpu, const char *comm)
{
    for (size_t i = 0; i < cpu->n; i++) {
        if (!strcmp(cpu->threads[i].name, comm))
            return &cpu->threads[i];
    }
    if (cpu->n == PROC_THREADS)
        return &cpu->threads[PROC_THREADS - 1];
    snprintf(cpu->threads[cpu->n].name, sizeof(cpu->threads[0].name), "%s", comm);
    return &cpu->threads[cpu->n++];
}

static void add_thread(struct proc_cpu *cpu, int pid, const char *tid)
{
    char path[300], text[128];
    unsigned long long ns = 0;
    struct proc_thread *t;

    snprintf(path, sizeof(path), "/proc/%d/task/%s/comm", pid, tid);
    if (read_file(path, text, sizeof(text)) <= 0)
        return;
    text[strcspn(text, "\n")] = '\0';
    t = thread_of(cpu, text);
    snprintf(path, sizeof(path), "/proc/%d/task/%s/schedstat", pid, tid);
    if (read_file(path, text, sizeof(text)) > 0 && sscanf(text, "%llu", &ns) == 1)
        t->seconds += (double)ns / 1e9;
}

/* Of threads that have ended as well. */
static double seconds_of(int pid)
{
    struct timespec t;
    clockid_t clock;

    if (!pid || clock_getcpuclockid(pid, &clock) || clock_gettime(clock, &t))
        return 0;
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Only threads that serve requests come and go: what no other has is theirs. */
static void add_ended(struct proc_cpu *cpu, double all)
{
    double sum = 0;

    for (size_t i = 0; i < cpu->n; i++)
        sum += cpu->threads[i].seconds;
    if (all > sum)
        thread_of(cpu, "fuse_worker")->seconds += all - sum;
}

void proc_cpu(int pid, struct proc_cpu *cpu)
{
    char path[64];
    DIR *dir;
    struct dirent *e;

    memset(cpu, 0, sizeof(*cpu));
    snprintf(path, sizeof(path), "/proc/%d/task", pid);
    dir = pid ? opendir(path) : NULL;
    while (dir && (e = readdir(dir))) {
        if (e->d_name[0] != '.')
            add_thread(cpu, pid, e->d_name);
    }
    if (dir)
        closedir(dir);
    add_ended(cpu, seconds_of(pid));
}

void proc_add(struct proc_cpu *sum, const struct proc_cpu *before, const struct proc_cpu *after)
{
    for (size_t i = 0; i < after->n; i++)
        thread_of(sum, after->threads[i].name)->seconds += after->threads[i].seconds;
    for (size_t i = 0; i < before->n; i++)
        thread_of(sum, before->threads[i].name)->seconds -= before->threads[i].seconds;
}
