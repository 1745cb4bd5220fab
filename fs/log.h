/* log.h - one line per event. Level 0.
 *
 * Who detects an outside failure logs it, once: what happened, to which key, what to do.
 * Any thread. The only file-scope mutable state of the program besides the metrics registry is the
 * log level and sink kept here.
 */
#ifndef L2FS_LOG_H
#define L2FS_LOG_H

#include "base.h"

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

enum log_sink {
    LOG_SINK_STDERR, /* "mount.l2fs: warning: ..." */
    LOG_SINK_SYSLOG, /* syslog(3), facility daemon, ident "l2fs" */
    LOG_SINK_FILE,   /* appended, with a UTC time stamp; see log_open_file */
};

void log_set_level(enum log_level level);
enum log_level log_get_level(void);
void log_set_sink(enum log_sink sink);

/* Switches to LOG_SINK_FILE on `path`, opened O_APPEND|O_CREAT 0640. 0 or -errno. */
int log_open_file(const char *path);

/* "error" | "warn" | "info" | "debug". 0 or -EINVAL. */
int log_level_parse(const char *name, enum log_level *out);
const char *log_level_name(enum log_level level);

/* One line without newline; control bytes of the text are escaped so that a key cannot forge a
 * line. Lines above 4 KiB are cut. */
void log_write(enum log_level level, const char *fmt, ...) PRINTF_LIKE(2, 3);

#define log_err(...) log_write(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warn(...) log_write(LOG_LEVEL_WARN, __VA_ARGS__)
#define log_info(...) log_write(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...)                                                                             \
    do {                                                                                           \
        if (log_get_level() >= LOG_LEVEL_DEBUG)                                                    \
            log_write(LOG_LEVEL_DEBUG, __VA_ARGS__);                                               \
    } while (0)

#endif
