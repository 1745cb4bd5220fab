/* ctl_top.c - the mount as top(1) shows a machine.
 *
 * Thread model: on a terminal a thread takes the samples, since a daemon that hangs must not keep
 * the keys and the signals from being answered; the main thread draws, and ends the process without
 * waiting for the other. All signals of use come through a signalfd, so the terminal is put back on
 * every way out that a program has. Without a terminal there is one thread.
 */
#include "ctl_rates.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <termios.h>
#include <unistd.h>

#include "clock.h"
#include "lock.h"

#define EVENTS 16
#define ENTER "\033[?1049h\033[?25l" /* the other screen, no cursor */
#define LEAVE "\033[?25h\033[?1049l"

struct top {
    const struct ctl *c;
    char *mount;
    uint64_t delay, drawn;
    int events_fd; /* the sampler's; -1: none */
    struct ctl_sample before;
    char *lines[EVENTS]; /* the last events, as text; the sampler's until it hands them over */
    size_t nlines;
    char tail[4096]; /* of the events: a line that is not whole yet */
    size_t tail_len;

    /* on a terminal */
    pthread_mutex_t mutex;
    int ready_fd;      /* an eventfd: there is a new screen, or an error */
    char *screen;      /* mutex; the next one to draw */
    int error;         /* mutex */
    char *shown;       /* the main thread's: the last one drawn */
    uint64_t answered; /* the main thread's: when the last screen came */
    struct termios saved;
};

/* --- samples --- */

static int take_sample(const struct top *t, struct ctl_sample *out)
{
    char *text = ctl_read_quietly(t->mount, "status");
    int error = text ? 0 : errno;

    out->status = text ? json_loads(text, 0, NULL) : NULL;
    free(text);
    if (!error && !out->status)
        error = EPROTO;
    if (error)
        return error;
    out->metrics = ctl_read_quietly(t->mount, "metrics");
    out->at = clock_now();
    return out->metrics ? 0 : errno;
}

static void keep_event(struct top *t, const char *line)
{
    json_t *event = json_loads(line, 0, NULL);
    char *text = NULL;
    size_t len;
    FILE *out = event ? open_memstream(&text, &len) : NULL;

    if (out) {
        ctl_show_event(out, event);
        fclose(out);
    }
    json_decref(event);
    if (!text)
        return;
    if (t->nlines == EVENTS) {
        free(t->lines[0]);
        memmove(t->lines, t->lines + 1, (EVENTS - 1) * sizeof(*t->lines));
        t->nlines--;
    }
    t->lines[t->nlines++] = text;
}

static void read_events(struct top *t)
{
    char block[16384];
    ssize_t n;

    while (t->events_fd >= 0 && (n = read(t->events_fd, block, sizeof(block))) > 0)
        for (ssize_t i = 0; i < n; i++) {
            if (block[i] != '\n') {
                if (t->tail_len + 1 < sizeof(t->tail))
                    t->tail[t->tail_len++] = block[i];
                continue;
            }
            t->tail[t->tail_len] = '\0';
            t->tail_len = 0;
            keep_event(t, t->tail);
        }
}

static void print_sample(struct top *t, FILE *out, const struct ctl_sample *now)
{
    json_t *rates = ctl_rates(&t->before, now);

    if (t->c->json) {
        json_object_set(rates, "status", now->status);
        json_dumpf(rates, out, JSON_COMPACT | JSON_REAL_PRECISION(6));
        fputc('\n', out);
    } else {
        ctl_show_rates(out, t->mount, now, rates);
        if (t->nlines)
            fputs("\nlast events\n", out);
        for (size_t i = t->nlines; i > 0; i--)
            fputs(t->lines[i - 1], out);
    }
    json_decref(rates);
}

/* One screen; 0 or an errno. */
static int sample_to(struct top *t, FILE *out)
{
    struct ctl_sample now = {0};
    int error = take_sample(t, &now);

    if (error) {
        ctl_sample_fini(&now);
        return error;
    }
    read_events(t);
    print_sample(t, out, &now);
    ctl_sample_fini(&t->before);
    t->before = now;
    return 0;
}

static void nap(uint64_t deadline)
{
    struct timespec ts = {.tv_sec = (time_t)(deadline / NSEC_PER_SEC),
                          .tv_nsec = (long)(deadline % NSEC_PER_SEC)};

    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL) == EINTR)
        continue;
}

static int run_batch(struct top *t)
{
    for (uint64_t n = 0; !t->c->count || n < t->c->count; n++) {
        int error;

        if (n)
            nap(t->before.at + t->delay);
        if (n && !t->c->json)
            putchar('\n');
        error = sample_to(t, stdout);
        if (error)
            return ctl_complain(t->mount, error);
        if (fflush(stdout))
            return ctl_fail("stdout: %s", strerror(errno));
    }
    return CTL_OK;
}

/* --- on a terminal --- */

static void *sample_thread(void *arg)
{
    static const uint64_t one = 1;
    struct top *t = arg;
    int error = 0;

    while (!error) {
        char *text = NULL;
        size_t len;
        FILE *out = open_memstream(&text, &len);

        error = out ? sample_to(t, out) : ENOMEM;
        if (out && fclose(out))
            error = ENOMEM;
        lock(&t->mutex);
        free(t->screen);
        t->screen = text;
        t->error = error;
        unlock(&t->mutex);
        if (write(t->ready_fd, &one, sizeof(one)) < 0)
            return NULL;
        nap(t->before.at + t->delay);
    }
    return NULL;
}

static void say(const char *s)
{
    ssize_t n = write(STDOUT_FILENO, s, strlen(s));

    (void)n;
}

static void enter_screen(struct top *t)
{
    struct termios raw = t->saved;

    raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
    raw.c_cc[VMIN] = 1;
    raw.c_cc[VTIME] = 0;
    tcsetattr(STDIN_FILENO, TCSADRAIN, &raw);
    say(ENTER);
}

static void leave_screen(struct top *t)
{
    say(LEAVE);
    tcsetattr(STDIN_FILENO, TCSADRAIN, &t->saved);
}

/* Lines as wide and as many as the window. */
static void draw(const char *text)
{
    struct winsize size;
    char *frame = NULL;
    size_t len;
    FILE *out = open_memstream(&frame, &len);

    if (!out)
        return;
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) || !size.ws_row || !size.ws_col)
        size = (struct winsize){.ws_row = 24, .ws_col = 80};
    fputs("\033[H", out);
    for (unsigned row = 0; *text && row < size.ws_row; row++) {
        unsigned column = 0;

        for (; *text && *text != '\n'; text++) {
            column += ((unsigned char)*text & 0xc0) != 0x80; /* UTF-8 goes on with 10...... */
            if (column <= size.ws_col)
                fputc(*text, out);
        }
        text += *text == '\n';
        fputs(row + 1 < size.ws_row ? "\033[K\r\n" : "\033[K", out);
    }
    fputs("\033[J", out);
    fclose(out);
    say(frame);
    free(frame);
}

/* The newest screen; 0 or an errno. */
static int draw_ready(struct top *t, bool again)
{
    char *fresh;
    int error;

    lock(&t->mutex);
    fresh = t->screen;
    t->screen = NULL;
    error = t->error;
    unlock(&t->mutex);
    if (error)
        return error;
    if (fresh) {
        free(t->shown);
        t->shown = fresh;
        t->answered = clock_now();
        t->drawn++;
    }
    if (t->shown && (fresh || again))
        draw(t->shown);
    return 0;
}

static void draw_silence(const struct top *t)
{
    char line[96];

    snprintf(line, sizeof(line),
             "\033[H\033[7mno answer from the mount for %llu s; q quits\033[0m\033[K",
             (unsigned long long)((clock_now() - t->answered) / NSEC_PER_SEC));
    say(line);
}

/* False: it is time to end. */
static bool on_signal(struct top *t, int signal_fd)
{
    struct signalfd_siginfo si;

    if (read(signal_fd, &si, sizeof(si)) != sizeof(si))
        return true;
    if (si.ssi_signo == SIGTSTP) {
        leave_screen(t);
        raise(SIGSTOP);
        enter_screen(t);
        draw_ready(t, true);
        return true;
    }
    if (si.ssi_signo == SIGWINCH || si.ssi_signo == SIGCONT) {
        draw_ready(t, true);
        return true;
    }
    return false;
}

static bool on_key(void)
{
    char key;
    ssize_t n = read(STDIN_FILENO, &key, 1);

    return n == 1 && key != 'q' && key != 'Q';
}

/* 0 or an errno. */
static int attend(struct top *t, int signal_fd)
{
    struct pollfd fds[] = {{.fd = STDIN_FILENO, .events = POLLIN},
                           {.fd = signal_fd, .events = POLLIN},
                           {.fd = t->ready_fd, .events = POLLIN}};
    uint64_t counted;
    int error;

    for (;;) {
        int n = poll(fds, ARRAY_SIZE(fds), (int)(t->delay / NSEC_PER_MSEC) + 3000);

        if (n == 0)
            draw_silence(t);
        if (n <= 0)
            continue;
        if ((fds[0].revents && !on_key()) || (fds[1].revents && !on_signal(t, signal_fd)))
            return 0;
        if (!fds[2].revents || read(t->ready_fd, &counted, sizeof(counted)) < 0)
            continue;
        error = draw_ready(t, false);
        if (error || (t->c->count && t->drawn >= t->c->count))
            return error;
    }
}

static int open_signals(void)
{
    static const int signals[] = {SIGINT,  SIGTERM, SIGHUP,   SIGQUIT,
                                  SIGTSTP, SIGCONT, SIGWINCH, SIGPIPE};
    sigset_t set;

    sigemptyset(&set);
    for (size_t i = 0; i < ARRAY_SIZE(signals); i++)
        sigaddset(&set, signals[i]);
    sigprocmask(SIG_BLOCK, &set, NULL);
    return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

static int run_screen(struct top *t)
{
    int signal_fd = open_signals(), error;
    pthread_t thread;

    t->ready_fd = eventfd(0, EFD_CLOEXEC);
    lock_init(&t->mutex);
    t->answered = clock_now();
    if (signal_fd < 0 || t->ready_fd < 0 || tcgetattr(STDIN_FILENO, &t->saved) ||
        pthread_create(&thread, NULL, sample_thread, t))
        return ctl_fail("top: %s", strerror(errno));
    enter_screen(t);
    error = attend(t, signal_fd);
    leave_screen(t);
    if (!error && t->c->count) /* its last screen stays to be read */
        draw_ready(t, false);
    if (error)
        ctl_complain(t->mount, error);
    _exit(error ? CTL_MISSING : CTL_OK); /* the sampler may wait for the daemon for good */
}

int ctl_top(const struct ctl *c, int n, char *args[])
{
    struct top t = {.c = c, .delay = c->delay ? c->delay : NSEC_PER_SEC, .events_fd = -1};
    char path[PATH_MAX];
    int rc;

    t.mount = ctl_find_mount(c);
    if (!t.mount)
        return CTL_MISSING;
    if (!c->json) {
        snprintf(path, sizeof(path), "%s/.l2fs/events", t.mount);
        t.events_fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    }
    if (c->batch || c->json || !isatty(STDOUT_FILENO) || !isatty(STDIN_FILENO))
        rc = run_batch(&t);
    else
        rc = run_screen(&t);
    ctl_sample_fini(&t.before);
    for (size_t i = 0; i < t.nlines; i++)
        free(t.lines[i]);
    if (t.events_fd >= 0)
        close(t.events_fd);
    free(t.mount);
    return rc;
}
