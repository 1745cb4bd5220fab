/*
 * What must be true after the daemon was killed and the directory mounted again. A key whose close
 * had returned is whole with that generation; one that was being made may be the old, the new, or
 * (new or truncated in place) absent; after a loss of memory (--wiped) each key is at least as new
 * as its last fsync. No file is ever a mix.
 */
#include "crashload.h"

#include <dirent.h>

struct counts {
    unsigned closed, synced, lost, torn, undeleted, tmp;
};

/* May the key hold generation found (0: absent) with the memory intact? */
static bool allowed(const struct crash_key *key, uint64_t found)
{
    if (key->pending && key->synced == key->pending)
        return found == key->pending;
    if (found == key->current)
        return true;
    if (!key->pending)
        return false;
    if (found == key->pending)
        return key->mode != MODE_UNLINK;
    return found == 0 && (key->mode == MODE_UNLINK || key->mode == MODE_PLACE);
}

/* And when the memory was lost? Anything whole that is no older than the last fsync. */
static bool allowed_wiped(const struct crash_key *key, uint64_t found)
{
    if (found >= key->synced)
        return true;
    return found == 0 && key->pending && key->synced != key->pending &&
           (key->mode == MODE_UNLINK || key->mode == MODE_PLACE);
}

static void verify_key(struct counts *c, const struct crash_key *key, unsigned w, unsigned k,
                       int log, bool wiped)
{
    uint64_t found;
    char path[64];

    if (key->last == 0)
        return;
    crash_path(path, sizeof(path), w, k);
    found = crash_inspect(key, path, w, k);
    c->closed += key->current != 0;
    c->synced += key->synced != 0;
    if (found == UINT64_MAX) {
        c->torn++;
        return;
    }
    if (wiped ? !allowed_wiped(key, found) : !allowed(key, found)) {
        bool undeleted = !wiped && found && key->current == 0;

        printf("    %s: holds %llu, closed %llu, fsynced %llu, begun %llu (%c)\n", path,
               (unsigned long long)found, (unsigned long long)key->current,
               (unsigned long long)key->synced, (unsigned long long)key->pending,
               key->pending ? key->mode : '-');
        c->undeleted += undeleted;
        c->lost += !undeleted;
    }
    crash_log(log, 'V', w, k, found);
}

static void count_tmp(struct counts *c, const char *dir)
{
    DIR *d = opendir(dir);
    struct dirent *e;

    if (!d)
        return;
    while ((e = readdir(d)) != NULL) {
        if (!strstr(e->d_name, ".tmp"))
            continue;
        printf("    %s/%s was left\n", dir, e->d_name);
        c->tmp++;
    }
    closedir(d);
}

int crash_verify(const char *dir, const char *log, bool wiped)
{
    struct crash_state *s = io_mem(sizeof(*s));
    int fd = crash_log_open(log);
    struct counts c = {0};
    char sub[16];

    crash_log_read(s, log);
    OK(chdir(dir));
    for (unsigned w = 0; w < CRASH_WORKERS; w++) {
        for (unsigned k = 0; k < CRASH_KEYS; k++)
            verify_key(&c, &s->key[w][k], w, k, fd, wiped);
        file_copy_name(sub, sizeof(sub), "w%u", w);
        count_tmp(&c, sub);
    }
    close(fd);
    printf("closed=%u lost=%u torn=%u fsynced=%u undeleted=%u tmp=%u\n", c.closed, c.lost, c.torn,
           c.synced, c.undeleted, c.tmp);
    return c.lost || c.torn || c.undeleted || c.tmp;
}
