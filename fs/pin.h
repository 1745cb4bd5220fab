/* pin.h - keeps staging pages in RAM, and registers them with CUDA when there is a device. Level 1.
 *
 * Only the daemon's own mapping is registered (a registration belongs to a process): it is what
 * transfers between L1 and a GPU of this daemon use. An engine that maps a key registers its own
 * mapping. A staging tmpfs of our own is mounted noswap, so there mlock only matters on kernels
 * before 6.4. Any thread; a region belongs to who made it.
 */
#ifndef L2FS_PIN_H
#define L2FS_PIN_H

#include "instance.h"

struct pinner;

struct pin_region {
    void *addr; /* NULL: not pinned */
    size_t len;
    bool registered;
};

/* `mode` is enum pin_mode: auto takes CUDA when a device is there, else mlock. 0, or -ENODEV (cuda
 * asked for and no device, or not built in), -ENOMEM; one log line says what was chosen. */
int pinner_create(int mode, struct pinner **out);
void pinner_destroy(struct pinner *p); /* NULL is fine; every region was removed */
/* Maps and pins the first `len` bytes of `fd`. Failing to pin is no error of the object: the region
 * stays empty, the first failure is logged with the limit to raise. */
void pin_add(struct pinner *p, int fd, size_t len, struct pin_region *out);
void pin_remove(struct pinner *p, struct pin_region *r); /* idempotent */
/* "off", "mlock" or "cuda"; pinned bytes now. */
const char *pinner_mode(const struct pinner *p);
uint64_t pinner_bytes(const struct pinner *p);

/* --- memory of a GPU, for what arrives there first; any thread --- */

/* NULL: it can be used here; else why not. */
const char *pin_device_missing(void);
void *pin_device_alloc(size_t len);                                /* NULL: no room there */
int pin_device_copy_out(void *to, const void *device, size_t len); /* waits. 0 or -EIO */
void pin_device_free(void *device);

#endif
