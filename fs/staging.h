/* staging.h - the files that hold L1: one cache object = one staging file. Level 1.
 *
 * A staging file is named by a 64-bit id that is never used again while the directory lives.
 * Nothing keeps a descriptor for an idle file: staging_get opens it by id. Files live in a tmpfs of
 * our own (root: the kernel then keeps the size limit, and huge folios make writes 2.4x as fast as
 * a plain tmpfs, DESIGN section 1) or in a plain directory such as /dev/shm/..., where the caller
 * keeps the limit.
 *
 * The record is a small byte string kept in an xattr of the file: it survives a crash of the daemon
 * and is what adoption works from. All functions may be called from any thread.
 */
#ifndef L2FS_STAGING_H
#define L2FS_STAGING_H

#include <sys/stat.h>

#include "base.h"

struct staging;

struct staging_config {
    const char *dir; /* absolute; made (0700) when missing, with its parents */
    bool own_mount;  /* mount a tmpfs of `size` bytes on it, or take over one left by a crash */
    uint64_t size;   /* hard limit in bytes; without own_mount only reported by staging_space */
};

/* 0, or -errno with one log line that says what to do. The caller holds the instance lock, so no
 * two live daemons share a directory. */
int staging_open(const struct staging_config *cfg, struct staging **out);
/* keep: files and mount stay for the next daemon; else everything is removed. */
void staging_close(struct staging *s, bool keep);

/* A new empty file, open O_RDWR|O_CLOEXEC; the descriptor is the caller's. -ENOSPC, -EMFILE, ... */
int staging_create(struct staging *s, uint64_t *id, int *fd);
/* The same of `size` bytes with all its pages, so that no write to it meets a full staging. */
int staging_create_full(struct staging *s, uint64_t size, uint64_t *id, int *fd);
/* What a file of `size` bytes takes of the space. */
uint64_t staging_room(const struct staging *s, uint64_t size);
/* Opens an existing file. -ENOENT: dropped. */
int staging_get(struct staging *s, uint64_t id, int flags, int *fd);
/* Removes the file; who still has it open or as a passthrough backing keeps the bytes. */
void staging_drop(struct staging *s, uint64_t id);
int staging_stat(struct staging *s, uint64_t id, struct stat *st);

/* Bytes in use and the limit. With own_mount from statvfs; else the sum kept by staging_charge. */
void staging_space(struct staging *s, uint64_t *used, uint64_t *size);
bool staging_has_mount(const struct staging *s);
/* Without own_mount: the owner reports growth (positive) and release (negative) of files in bytes.
 * -ENOSPC when growth would pass the limit (nothing is charged then). With own_mount: 0. */
int staging_charge(struct staging *s, int64_t bytes);

#define STAGING_RECORD_MAX 16384
bool staging_can_record(const struct staging *s); /* false: no user xattrs here, no adoption */
int staging_set_record(struct staging *s, uint64_t id, const void *record, size_t len);
/* Some bytes about all files, which live as long as they do. get: how many there are, 0 also on an
 * error; set: 0 or -errno, also where there are no user xattrs. */
size_t staging_get_note(struct staging *s, void *note, size_t size);
int staging_set_note(struct staging *s, const void *note, size_t len);
/* Calls fn for every file left by an earlier daemon (len 0: it has no record). fn returns false to
 * have the file dropped. Before any staging_create. Returns how many were kept. */
typedef bool staging_scan_fn(void *arg, uint64_t id, const struct stat *st, const void *record,
                             size_t len);
size_t staging_scan(struct staging *s, staging_scan_fn *fn, void *arg);

#endif
