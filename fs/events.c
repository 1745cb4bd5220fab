/* events.c - a ring of the last lines, and those who follow it.
 *
 * Thread model: any thread adds, holding ns->lock or not, so the ring has a leaf mutex of its own.
 * Followers wait in lists under ns->lock, which an adder may not take: when somebody waits, it
 * posts a letter, and the loop thread wakes them. A follower says that it waits (`wanted`) while it
 * holds ns->lock, so the letter, which takes that lock, finds it in its list.
 */
#include "config.h"

#include "events.h"

#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#include "core.h"

#define TAKE_BYTES (16 * KIB) /* a follower takes about this much at once */
#define HISTORY_PIECE 64

/* What happened; made into a line when it is read. */
struct event {
    uint64_t seq;
    struct timespec at;
    bool has_key, has_detail;
    char text[]; /* name, key and detail, each with its NUL */
};

struct events {
    pthread_mutex_t mutex;               /* leaf */
    struct event *kept[EVENTS_KEPT];     /* mutex; event n is at n % EVENTS_KEPT; NULL: no memory */
    uint64_t next;                       /* mutex; number of the next event */
    struct event *errors[EVENTS_ERRORS]; /* mutex; copies */
    uint64_t next_error;                 /* mutex */
    bool wanted;                         /* mutex; a follower waits for the next line */
    bool posted;                         /* mutex; the letter is under way */
    struct l2fs *fs;                     /* mutex; set before the letter is posted */
    struct letter letter;
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
    for (size_t i = 0; i < ARRAY_SIZE(e->kept); i++)
        free(e->kept[i]);
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

static void put_line(struct text *t, const struct event *event)
{
    const char *name = event->text, *key = name + strlen(name) + 1;
    const char *detail = event->has_key ? key + strlen(key) + 1 : key;
    struct tm tm;
    char buf[32];

    gmtime_r(&event->at.tv_sec, &tm);
    strftime(buf, sizeof(buf), "%Y-%m-%dT%H:%M:%S", &tm);
    text_printf(t, "{\"seq\":%" PRIu64 ",\"time\":\"%s.%03ldZ\",\"event\":", event->seq, buf,
                event->at.tv_nsec / 1000000);
    events_quote(t, name);
    if (event->has_key) {
        text_puts(t, ",\"key\":");
        events_quote(t, key);
    }
    if (event->has_detail)
        text_printf(t, ",%s", detail);
    text_puts(t, "}\n");
}

static size_t event_size(size_t name, size_t key, size_t detail)
{
    return sizeof(struct event) + name + key + detail;
}

/* NULL on no memory. */
static struct event *make(const char *name, const char *key, const char *detail)
{
    size_t n = strlen(name) + 1, k = key ? strlen(key) + 1 : 0, d = detail ? strlen(detail) + 1 : 0;
    struct event *event = malloc(event_size(n, k, d));

    if (!event)
        return NULL;
    clock_gettime(CLOCK_REALTIME, &event->at);
    event->has_key = key;
    event->has_detail = detail;
    memcpy(event->text, name, n);
    if (key)
        memcpy(event->text + n, key, k);
    if (detail)
        memcpy(event->text + n + k, detail, d);
    return event;
}

/* Puts an event, or NULL, into a ring in place of the oldest. */
static void replace(struct event **slot, struct event *event)
{
    free(*slot);
    *slot = event;
}

/* Of these the last ones are kept for the status. */
static bool is_error(const char *name, const char *detail)
{
    return strstr(name, "fail") || !strcmp(name, "discarded") ||
           (detail && strstr(detail, "\"error\":"));
}

void events_add(struct l2fs *fs, const char *name, const char *key, const char *detail)
{
    struct events *e = fs->events;
    struct event *event, *error;
    bool post;

    if (!e)
        return;
    event = make(name, key, detail);
    error = is_error(name, detail) ? make(name, key, detail) : NULL;
    lock(&e->mutex);
    if (event)
        event->seq = e->next;
    if (error) {
        error->seq = e->next;
        replace(&e->errors[e->next_error++ % EVENTS_ERRORS], error);
    }
    replace(&e->kept[e->next % EVENTS_KEPT], event);
    e->next++;
    post = e->wanted && !e->posted;
    if (post) {
        e->posted = true;
        e->fs = fs;
    }
    unlock(&e->mutex);
    if (post)
        mailbox_post(fs->mailbox, &e->letter);
}

void events_errors(struct events *e, void (*fn)(void *arg, const char *line), void *arg)
{
    LOCKED_SCOPE(&e->mutex);
    for (uint64_t i = 0; i < EVENTS_ERRORS; i++) {
        const struct event *event = e->errors[(e->next_error + i) % EVENTS_ERRORS];
        struct text line = {0};

        if (event)
            put_line(&line, event);
        if (line.data && !line.failed)
            fn(arg, line.data);
        text_fini(&line);
    }
}

void events_history(struct events *e, struct text *out)
{
    uint64_t next = 0, end;

    do { /* in pieces: adders wait for the mutex */
        LOCKED_SCOPE(&e->mutex);
        next = MAX(next, e->next > EVENTS_KEPT ? e->next - EVENTS_KEPT : 0);
        end = MIN(e->next, next + HISTORY_PIECE);
        for (; next < end; next++)
            if (e->kept[next % EVENTS_KEPT])
                put_line(out, e->kept[next % EVENTS_KEPT]);
        end = e->next;
    } while (next < end);
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
    LOCKED_SCOPE(&e->mutex);
    f->next = e->next;
}

void follower_close_locked(struct l2fs *fs, struct follower *f)
{
    wake_locked(fs, &f->waiting, 0);
    list_remove(&f->link);
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
        const struct event *event = e->kept[f->next++ % EVENTS_KEPT];

        if (event)
            put_line(&f->pending, event);
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
