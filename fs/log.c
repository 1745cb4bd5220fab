/* log.c - formats a line, makes it safe, and hands it to the sink in one call.
 *
 * Thread model: any thread, no lock. Level, sink and descriptor are atomics; every line leaves in
 * one write(2) (or one syslog(3)), so lines of several threads do not mix. A second log_open_file
 * replaces the descriptor in place (dup3), so a writer never sees a closed one.
 */
#include "log.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <syslog.h>
#include <time.h>

#define LINE_MAX_BYTES 4096

static _Atomic int current_level = LOG_LEVEL_INFO;
static _Atomic int current_sink = LOG_SINK_STDERR;
static _Atomic int file_fd = -1;

static const struct {
    const char *option; /* as log_level_parse reads it */
    const char *shown;
    int priority;
} levels[] = {
    [LOG_LEVEL_ERROR] = {"error", "error", LOG_ERR},
    [LOG_LEVEL_WARN] = {"warn", "warning", LOG_WARNING},
    [LOG_LEVEL_INFO] = {"info", "info", LOG_INFO},
    [LOG_LEVEL_DEBUG] = {"debug", "debug", LOG_DEBUG},
};

void log_set_level(enum log_level level)
{
    atomic_store(&current_level, (int)level);
}

enum log_level log_get_level(void)
{
    return (enum log_level)atomic_load_explicit(&current_level, memory_order_relaxed);
}

void log_set_sink(enum log_sink sink)
{
    if (sink == LOG_SINK_SYSLOG)
        openlog("l2fs", LOG_PID, LOG_DAEMON);
    atomic_store(&current_sink, (int)sink);
}

int log_open_file(const char *path)
{
    AUTO_CLOSE int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0640);
    int none = -1;

    if (fd < 0)
        return -errno;
    if (atomic_compare_exchange_strong(&file_fd, &none, fd))
        steal_fd(&fd);
    else if (dup3(fd, none, O_CLOEXEC) < 0)
        return -errno;
    log_set_sink(LOG_SINK_FILE);
    return 0;
}

int log_level_parse(const char *name, enum log_level *out)
{
    for (size_t i = 0; i < ARRAY_SIZE(levels); i++) {
        if (!strcmp(name, levels[i].option)) {
            *out = (enum log_level)i;
            return 0;
        }
    }
    return -EINVAL;
}

const char *log_level_name(enum log_level level)
{
    return levels[level].option;
}

/* Copies `text` with control bytes as \xNN; cuts so that `size` holds it and its NUL. */
static size_t escape(char *out, size_t size, const char *text)
{
    static const char hex[] = "0123456789abcdef";
    size_t n = 0;

    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        bool control = c < 0x20 || c == 0x7f;

        if (n + (control ? 4 : 1) >= size)
            break;
        if (control) {
            out[n++] = '\\';
            out[n++] = 'x';
            out[n++] = hex[c >> 4];
            out[n++] = hex[c & 15];
        } else {
            out[n++] = (char)c;
        }
    }
    out[n] = '\0';
    return n;
}

static void write_line(int fd, const char *line, size_t len)
{
    ssize_t n;

    do {
        n = write(fd, line, len);
    } while (n < 0 && errno == EINTR);
}

/* What stands before the text: the time in a file, the program's name on stderr. */
static size_t prefix(char *out, size_t size, enum log_level level, bool file)
{
    struct timespec now;
    struct tm tm;
    char stamp[32];
    int n;

    if (file) {
        clock_gettime(CLOCK_REALTIME, &now);
        gmtime_r(&now.tv_sec, &tm);
        strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%S", &tm);
        n = snprintf(out, size, "%s.%03ldZ %s: ", stamp, now.tv_nsec / 1000000,
                     levels[level].shown);
    } else {
        n = snprintf(out, size, "%s: %s: ", program_invocation_short_name, levels[level].shown);
    }
    return n < 0 ? 0 : MIN((size_t)n, size - 1);
}

void log_write(enum log_level level, const char *fmt, ...)
{
    int saved = errno;
    int sink = atomic_load(&current_sink);
    int fd = sink == LOG_SINK_FILE ? atomic_load(&file_fd) : STDERR_FILENO;
    char text[LINE_MAX_BYTES], line[LINE_MAX_BYTES];
    size_t n = 0;
    va_list ap;

    if (level > log_get_level())
        return;
    va_start(ap, fmt);
    if (vsnprintf(text, sizeof text, fmt, ap) < 0)
        text[0] = '\0';
    va_end(ap);
    if (sink != LOG_SINK_SYSLOG)
        n = prefix(line, sizeof line / 2, level, sink == LOG_SINK_FILE);
    n += escape(line + n, sizeof line - n, text);
    if (sink == LOG_SINK_SYSLOG) {
        syslog(levels[level].priority, "%s", line);
    } else if (fd >= 0) {
        line[n++] = '\n';
        write_line(fd, line, n);
    }
    errno = saved;
}
