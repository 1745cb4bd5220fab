/*
 * What the load generator and the verifier of crash.sh share: the log and what it says of every
 * key.
 *
 * The log lies outside the mount. Each line is one write(2) with O_APPEND, so a line is there or
 * not, and it is written after the call that it reports has returned (B: before). W is the worker,
 * K the key, G the generation: B W K G MODE SIZE   begins to make generation G         C W K G
 * closed (and renamed) with success S W K G             fsync of it returned 0              D W K G
 * removed (G: a number of its own) V W K G             what a verification found (0: absent)
 */
#ifndef L2FS_TEST_CRASHLOAD_H
#define L2FS_TEST_CRASHLOAD_H

#include "iolib.h"

enum { CRASH_WORKERS = 16, CRASH_KEYS = 24 };

/* Ways to make a generation. */
enum {
    MODE_NEW = 'n',   /* the name is not there: create, write, close */
    MODE_TMP = 't',   /* temporary, close, rename */
    MODE_OPEN = 'r',  /* temporary, rename while open, close (llm-d) */
    MODE_PLACE = 'o', /* open with O_TRUNC over the old bytes, write, close */
    MODE_UNLINK = 'u',
};

struct crash_gen {
    uint64_t gen;
    size_t size;
};

struct crash_key {
    struct crash_gen *gens; /* all that were ever begun, in order */
    size_t n, cap;
    uint64_t last;    /* the highest number used */
    uint64_t current; /* what must be there; 0: nothing */
    uint64_t synced;  /* the newest one whose fsync returned; 0: none, or removed since */
    uint64_t pending; /* begun, and not reported closed; 0: none */
    char mode;        /* of the pending one */
};

struct crash_state {
    struct crash_key key[CRASH_WORKERS][CRASH_KEYS];
};

/* Reads the log; a file that is not there is an empty log. */
void crash_log_read(struct crash_state *s, const char *log);
int crash_log_open(const char *log);
void crash_log(int fd, char what, unsigned w, unsigned k, uint64_t gen);
void crash_log_begin(int fd, unsigned w, unsigned k, uint64_t gen, char mode, size_t size);

void crash_path(char *dst, size_t cap, unsigned w, unsigned k);
uint64_t crash_seed(unsigned w, unsigned k, uint64_t gen);
const struct crash_gen *crash_find(const struct crash_key *key, uint64_t gen);

/* The generation that the file holds whole: its number, 0 when absent, UINT64_MAX when torn. */
uint64_t crash_inspect(const struct crash_key *key, const char *path, unsigned w, unsigned k);

int crash_verify(const char *dir, const char *log, bool wiped);

#endif
