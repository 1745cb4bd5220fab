/* pin.c - mlock and cudaHostRegister of staging mappings, and memory of a GPU; the only file that
 * knows CUDA. `bytes` and `regions` are atomics, the rest is constant after pinner_create.
 */
#include "config.h"

#include <stdatomic.h>
#include <sys/mman.h>

#ifdef HAVE_CUDA
#include <cuda_runtime_api.h>
#endif

#include "log.h"
#include "pin.h"

/* vm.max_map_count is 65530 by default; the rest of the process needs some too. */
#define REGIONS_MAX 32768

struct pinner {
    bool cuda;
    _Atomic uint64_t bytes;
    _Atomic uint32_t regions;
    atomic_flag told;
};

#ifdef HAVE_CUDA
static bool cuda_ready(void)
{
    int n = 0;

    return cudaGetDeviceCount(&n) == cudaSuccess && n > 0 && cudaFree(NULL) == cudaSuccess;
}

static bool cuda_register(void *addr, size_t len)
{
    return cudaHostRegister(addr, len, cudaHostRegisterPortable) == cudaSuccess;
}

static void cuda_unregister(void *addr)
{
    cudaHostUnregister(addr);
}

const char *pin_device_missing(void)
{
    return cuda_ready() ? NULL : "no CUDA device can be used here";
}

void *pin_device_alloc(size_t len)
{
    void *device;

    return cudaMalloc(&device, len) == cudaSuccess ? device : NULL;
}

int pin_device_copy_out(void *to, const void *device, size_t len)
{
    return cudaMemcpy(to, device, len, cudaMemcpyDeviceToHost) == cudaSuccess ? 0 : -EIO;
}

void pin_device_free(void *device)
{
    cudaFree(device);
}
#else
static bool cuda_ready(void)
{
    return false;
}

static bool cuda_register(void *addr, size_t len)
{
    (void)addr;
    (void)len;
    return false;
}

static void cuda_unregister(void *addr)
{
    (void)addr;
}

const char *pin_device_missing(void)
{
    return "this l2fs was built without CUDA";
}

void *pin_device_alloc(size_t len)
{
    (void)len;
    return NULL;
}

int pin_device_copy_out(void *to, const void *device, size_t len)
{
    (void)to;
    (void)device;
    (void)len;
    return -EIO;
}

void pin_device_free(void *device)
{
    (void)device;
}
#endif

int pinner_create(int mode, struct pinner **out)
{
    struct pinner *p;
    bool cuda;

    *out = NULL;
    if (mode == PIN_OFF)
        return 0;
    cuda = mode != PIN_MLOCK && cuda_ready();
    if (mode == PIN_CUDA && !cuda) {
        log_err("option pin=cuda: no CUDA device can be used here; use pin=auto or pin=mlock");
        return -ENODEV;
    }
    p = calloc(1, sizeof(*p));
    if (!p)
        return -ENOMEM;
    p->cuda = cuda;
    atomic_flag_clear(&p->told);
    log_info("staging pages are pinned by %s", pinner_mode(p));
    *out = p;
    return 0;
}

void pinner_destroy(struct pinner *p)
{
    free(p);
}

static void complain(struct pinner *p, const char *what)
{
    if (!atomic_flag_test_and_set(&p->told))
        log_warn("option pin: %s: %s; raise the memlock limit (ulimit -l) - objects beyond it stay "
                 "unpinned",
                 what, strerror(errno));
}

void pin_add(struct pinner *p, int fd, size_t len, struct pin_region *out)
{
    void *addr;

    if (!p || !len || atomic_load(&p->regions) >= REGIONS_MAX)
        return;
    addr = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (addr == MAP_FAILED) {
        complain(p, "cannot map a staging file");
        return;
    }
    if (mlock(addr, len)) {
        complain(p, "cannot lock a staging file in memory");
        munmap(addr, len);
        return;
    }
    *out = (struct pin_region){addr, len, p->cuda && cuda_register(addr, len)};
    atomic_fetch_add(&p->bytes, len);
    atomic_fetch_add(&p->regions, 1);
}

void pin_remove(struct pinner *p, struct pin_region *r)
{
    if (!r->addr)
        return;
    if (r->registered)
        cuda_unregister(r->addr);
    munmap(r->addr, r->len);
    atomic_fetch_sub(&p->bytes, r->len);
    atomic_fetch_sub(&p->regions, 1);
    *r = (struct pin_region){0};
}

const char *pinner_mode(const struct pinner *p)
{
    return !p ? "off" : p->cuda ? "cuda" : "mlock";
}

uint64_t pinner_bytes(const struct pinner *p)
{
    return p ? atomic_load(&p->bytes) : 0;
}
