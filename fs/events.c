/* events.c - a ring of the last lines, and those who follow it.
 *
 * Thread model: any thread adds, holding ns->lock or not, so the ring has a leaf mutex of its own.
 * Followers wait in lists under ns->lock, which an adder may not take: when somebody waits, it
 * posts a letter, and the loop thread wakes them. A follower says that it waits (`wanted`) while it
 * holds ns->lock, so the letter, which takes that lock, finds it in its list.
 */
#include "config.h"

#include "events.h"

#include <stdatomic.h>
#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#include "core.h"

#define TAKE_BYTES (64 * KIB) /* a follower takes about this much at once */

struct events {
    pthread_mutex_t mutex;       /* leaf */
    char *lines[EVENTS_KEPT];    /* mutex; line n is at n % EVENTS_KEPT */
    uint64_t next;               /* mutex; number of the next line */
    char *errors[EVENTS_ERRORS]; /* mutex; as lines */
    uint64_t next_error;         /* mutex */
    bool wanted;                 /* mutex; a follower waits for the next line */
    bool posted;                 /* mutex; the letter is under way */
    struct l2fs *fs;             /* mutex; set before the letter is posted */
    struct letter letter;
    _Atomic unsigned nfollowers;
    struct list followers; /* ns->lock */
};

static void wake_followers(struct letter *l);

int events_create(struct events **out)
{
    struct events *e = calloc(1, sizeof(*e));

    if (!e)
        return -ENOMEM;
    lock_init(&e->mutex);
    list_init(&e->followers);
    e->letter.run = wake_followers;
    *out = e;
    return 0;
}

void events_destroy(struct events *e)
{
    if (!e)
        return;
    for (size_t i = 0; i < ARRAY_SIZE(e->lines); i++)
        free(e->lines[i]);
    for (size_t i = 0; i < ARRAY_SIZE(e->errors); i++)
        free(e->errors[i]);
    pthread_mutex_destroy(&e->mutex);
    free(e);
}

/* Length of the valid UTF-8 sequence at `s`, 0 when there is none. */
static size_t utf8_sequence(const unsigned char *s)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t len = *s < 0x80 ? 1 : *s < 0xc2 ? 0 : *s < 0xe0 ? 2 : *s < 0xf0 ? 3 : *s < 0xf5 ? 4 : 0;
    uint32_t code = len == 1 ? *s : *s & (0x7fu >> len);

    for (size_t i = 1; i < len; i++) {
        if ((s[i] & 0xc0) != 0x80)
            return 0;
        code = code << 6 | (s[i] & 0x3f);
    }
    if (len > 1 && (code < least[len] || code > 0x10ffff || (code >= 0xd800 && code < 0xe000)))
        return 0;
    return len;
}

void events_quote(struct text *t, const char *s)
{
    text_puts(t, "\"");
    while (*s) {
        size_t len = utf8_sequence((const unsigned char *)s);

        if (*s == '"' || *s == '\\')
            text_printf(t, "\\%c", *s);
        else if (len == 0 || (unsigned char)*s < 0x20 || *s == 0x7f)
            text_printf(t, "\\u%04x", (unsigned char)*s);
        else
            text_append(t, s, len);
        s += len ? len : 1;
    }
    text_puts(t, "\"");
}

static void put_time(struct text *t)
{
    struct timespec now;
    struct tm tm;
    char buf[32];

    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &tm);
    strftime(buf, sizeof(buf), "%Y-%m-%dT%H:%M:%S", &tm);
    text_printf(t, "\"time\":\"%s.%03ldZ\"", buf, now.tv_nsec / 1000000);
}

/* All of a line behind its number. */
static void put_line(struct text *t, const char *name, const char *key, const char *detail)
{
    put_time(t);
    text_puts(t, ",\"event\":");
    events_quote(t, name);
    if (key) {
        text_puts(t, ",\"key\":");
        events_quote(t, key);
    }
    if (detail)
        text_printf(t, ",%s", detail);
    text_puts(t, "}\n");
}

/* Puts a line into a ring in place of the oldest. Without memory the line is empty. */
static void replace(char **slot, uint64_t seq, const struct text *rest)
{
    struct text line = {0};

    text_printf(&line, "{\"seq\":%" PRIu64 ",%s", seq, rest->data);
    free(*slot);
    *slot = text_steal(&line, NULL);
}

/* Of these the last ones are kept for the status. */
static bool is_error(const char *name, const char *detail)
{
    return strstr(name, "fail") || !strcmp(name, "discard") ||
           (detail && strstr(detail, "\"error\":"));
}

void events_add(struct l2fs *fs, const char *name, const char *key, const char *detail)
{
    struct events *e = fs->events;
    bool error = is_error(name, detail);
    struct text rest = {0};
    bool post;

    if (!e || (!error && !atomic_load(&e->nfollowers)))
        return;
    put_line(&rest, name, key, detail);
    if (rest.failed) {
        text_fini(&rest);
        return;
    }
    lock(&e->mutex);
    if (error)
        replace(&e->errors[e->next_error++ % EVENTS_ERRORS], e->next, &rest);
    replace(&e->lines[e->next % EVENTS_KEPT], e->next, &rest);
    e->next++;
    post = e->wanted && !e->posted;
    if (post) {
        e->posted = true;
        e->fs = fs;
    }
    unlock(&e->mutex);
    if (post)
        mailbox_post(fs->mailbox, &e->letter);
    text_fini(&rest);
}

void events_errors(struct events *e, void (*fn)(void *arg, const char *line), void *arg)
{
    LOCKED_SCOPE(&e->mutex);
    for (uint64_t i = 0; i < EVENTS_ERRORS; i++) {
        const char *line = e->errors[(e->next_error + i) % EVENTS_ERRORS];

        if (line)
            fn(arg, line);
    }
}

/* --- followers --- */

static void wake_followers(struct letter *l)
{
    struct events *e = container_of(l, struct events, letter);
    struct list *node;
    struct l2fs *fs;

    lock(&e->mutex);
    fs = e->fs;
    unlock(&e->mutex);
    LOCKED_SCOPE(&fs->ns->lock);
    lock(&e->mutex);
    e->posted = e->wanted = false;
    unlock(&e->mutex);
    list_for_each(node, &e->followers)
        wake_locked(fs, &list_entry(node, struct follower, link)->waiting, 0);
}

void follower_open_locked(struct l2fs *fs, struct follower *f)
{
    struct events *e = fs->events;

    list_init(&f->waiting);
    list_push_back(&e->followers, &f->link);
    atomic_fetch_add(&e->nfollowers, 1);
    LOCKED_SCOPE(&e->mutex);
    f->next = e->next;
}

void follower_close_locked(struct l2fs *fs, struct follower *f)
{
    wake_locked(fs, &f->waiting, 0);
    list_remove(&f->link);
    atomic_fetch_sub(&fs->events->nfollowers, 1);
    text_fini(&f->pending);
}

/* Moves lines of the ring to the follower's pending bytes. */
static void refill_locked(struct events *e, struct follower *f)
{
    uint64_t oldest = e->next > EVENTS_KEPT ? e->next - EVENTS_KEPT : 0;

    if (f->pending.failed)
        text_fini(&f->pending);
    f->pending.len = f->given = 0;
    if (f->next < oldest) {
        text_printf(&f->pending, "{\"event\":\"lost\",\"count\":%" PRIu64 "}\n", oldest - f->next);
        f->next = oldest;
    }
    while (f->next < e->next && f->pending.len < TAKE_BYTES) {
        const char *line = e->lines[f->next++ % EVENTS_KEPT];

        if (line)
            text_puts(&f->pending, line);
    }
}

static bool has_more_locked(const struct events *e, const struct follower *f)
{
    return f->given < f->pending.len || f->next < e->next;
}

/* Up to `len` bytes; 0 when there is nothing. */
static size_t take_locked(struct events *e, struct follower *f, void *buf, size_t len)
{
    size_t n;

    if (f->given == f->pending.len)
        refill_locked(e, f);
    n = MIN(len, f->pending.len - f->given);
    if (n)
        memcpy(buf, f->pending.data + f->given, n);
    f->given += n;
    return n;
}

ssize_t follower_read(struct l2fs *fs, struct follower *f, void *buf, size_t len, struct waiter *w)
{
    struct events *e = fs->events;
    int err = waiter_take_error(w);
    size_t n;

    if (err || !len)
        return err;
    LOCKED_SCOPE(&fs->ns->lock);
    lock(&e->mutex);
    n = take_locked(e, f, buf, len);
    if (!n && w)
        e->wanted = true;
    unlock(&e->mutex);
    if (n)
        return (ssize_t)n;
    return w ? wait_locked(fs, &f->waiting, w, UINT64_MAX, -ETIMEDOUT) : -EAGAIN;
}

bool follower_poll_locked(struct l2fs *fs, struct follower *f, struct waiter *w)
{
    struct events *e = fs->events;
    bool more;

    lock(&e->mutex);
    more = has_more_locked(e, f);
    if (!more && w)
        e->wanted = true;
    unlock(&e->mutex);
    if (!more && w)
        wait_locked(fs, &f->waiting, w, UINT64_MAX, 0);
    return more;
}
