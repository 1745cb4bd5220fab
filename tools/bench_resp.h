/* bench_resp.h - a client of Redis: one connection, one request at a time. Bodies go through `buf`, in calls of `piece`
 * bytes. Functions that return int give 0, or -1 having said why. */
#ifndef L2BENCH_RESP_H
#define L2BENCH_RESP_H

#include "bench.h"

struct resp {
    int fd;
    unsigned char *buf;
    size_t piece;
};

int resp_open(struct resp *c, const char *socket_path);
int resp_set(struct resp *c, const char *key, uint64_t size);
int resp_get(struct resp *c, const char *key, uint64_t size);
int resp_del(struct resp *c, const char *key);

#endif
