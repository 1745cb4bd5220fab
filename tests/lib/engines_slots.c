/*
 * Systems that keep all blocks in one large file of slots: Dynamo KVBM, TensorRT-LLM, FlexKV,
 * PegaFlow, ktransformers and RTP-LLM. Made once (fallocate, ftruncate or unnamed), then
 * overwritten in place.
 */
#include "engines.h"
#include "ioaio.h"

#include <fnmatch.h>
#include <pthread.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/statvfs.h>

/* Fills every slot, overwrites some, reads all back; through libaio or io_uring, in batches. */
static void slots_async(int fd, unsigned slots, size_t slot, bool uring)
{
    struct iop *ops = io_mem(slots * sizeof(*ops));

    for (unsigned pass = 0; pass < 3; pass++) {
        unsigned n = 0;

        for (unsigned i = 0; i < slots; i++) {
            if (pass == 1 && i % 3)
                continue;
            ops[n] = (struct iop){fd, pass < 2, NULL, slot, (off_t)(i * slot), -1};
            ops[n].buf = io_mem(slot);
            if (pass < 2)
                pat_fill(ops[n].buf, slot, pass * 1000 + i, 0);
            n++;
        }
        if (!uring || !uring_run(ops, n, 64))
            aio_run(ops, n, 64);
        iops_check(ops, n);
        for (unsigned k = 0; k < n; k++) {
            unsigned i = (unsigned)((size_t)ops[k].off / slot);

            if (pass == 2)
                PAT(ops[k].buf, slot, (i % 3 ? 0 : 1000) + i, 0);
            munmap(ops[k].buf, slot);
        }
    }
    munmap(ops, slots * sizeof(*ops));
}

/* The same with pread and pwrite loops that stop at 0. */
static void io_all(int fd, bool wr, char *buf, size_t len, off_t off)
{
    for (size_t done = 0; done < len;) {
        ssize_t n = wr ? pwrite(fd, buf + done, len - done, off + (off_t)done)
                       : pread(fd, buf + done, len - done, off + (off_t)done);

        if (n < 0 && errno == EINTR)
            continue;
        CHECK(n > 0, "%s at %lld gave %zd: %s", wr ? "pwrite" : "pread", (long long)off, n,
              strerror(errno));
        done += (size_t)n;
    }
}

static void slots_sync(int fd, unsigned slots, size_t slot)
{
    char *buf = io_mem(slot);

    for (unsigned i = 0; i < 2 * slots; i++) {
        unsigned at = i < slots ? i : (unsigned)(io_mix(i) % slots);

        pat_fill(buf, slot, at, 0);
        io_all(fd, true, buf, slot, (off_t)(at * slot));
    }
    for (unsigned i = 0; i < slots; i++) {
        io_all(fd, false, buf, slot, (off_t)(i * slot));
        PAT(buf, slot, i, 0);
    }
    munmap(buf, slot);
}

/* ---- Dynamo ---- */

static void dynamo(void)
{
    char name[] = "dynamo-kvbm-disk-cache-XXXXXX", again[] = "dynamo-kvbm-disk-cache-XXXXXX";
    size_t cap = 96 * MIB;
    struct stat st;
    int fd, fl, r;

    fd = (int)OK(mkostemp(name, O_CLOEXEC));
    fl = (int)OK(fcntl(fd, F_GETFL));
    OK(fcntl(fd, F_SETFL, fl | O_DIRECT));
    r = fallocate(fd, 0, 0, (off_t)cap);
    if (r != 0) { /* the older code falls back, the newer does not */
        EQ(errno, EOPNOTSUPP);
        CHECK(!on_l2fs, "fallocate is not supported");
        OK(ftruncate(fd, (off_t)cap));
    }
    OK(fstat(fd, &st));
    EQ(st.st_size, cap);
    OK(unlink(name)); /* open, and registered with NIXL */
    CHECK(!file_exists(name), "%s is still there", name);
    slots_async(fd, 48, 2 * MIB, false);
    slots_async(fd, 48, 2 * MIB, true);
    OK(close(fd));
    fd = (int)OK(mkostemp(again, O_RDWR | O_DIRECT)); /* lib/memory/src/disk.rs */
    OK(fallocate(fd, 0, 0, (off_t)(16 * MIB)));
    OK(unlink(again));
    slots_sync(fd, 16, MIB);
    OK(close(fd));
    EQ(scan_files(".", NULL, NULL), 0);
}

/* ---- TensorRT-LLM ---- */

static void trt1_name(char *dst, size_t cap, unsigned block)
{
    file_copy_name(dst, cap, "block_%u_pool_%u.bin", block % 24, block % 2);
}

static void trt1_reader(void *arg)
{
    unsigned gen = *(unsigned *)arg;
    char *buf = io_mem(2 * MIB), name[64];

    for (unsigned b = 0; b < 24; b++) {
        int fd;

        trt1_name(name, sizeof(name), b);
        fd = (int)OK(open(name, O_RDONLY));
        EQ(read(fd, buf, 2 * MIB), 2 * MIB); /* only < 0 is checked there */
        OK(close(fd));
        PAT(buf, 2 * MIB, gen * 100 + b, 0);
    }
}

static void trtllm_v1(void)
{
    char *buf = io_mem(2 * MIB), name[64];

    for (unsigned gen = 0; gen < 3; gen++) { /* block ids are reused: files overwritten in place */
        for (unsigned b = 0; b < 24; b++) {
            int fd;

            trt1_name(name, sizeof(name), b);
            pat_fill(buf, 2 * MIB, gen * 100 + b, 0);
            fd = (int)OK(open(name, O_CREAT | O_WRONLY, 0664));
            EQ(write(fd, buf, 2 * MIB), 2 * MIB);
            OK(close(fd));
        }
        io_join(io_spawn(trt1_reader, &gen));
        trt1_reader(&gen);
    }
}

/* DiskSlotPool: unnamed, grown by posix_fallocate at the end, shrunk by truncate. */
static void trtllm_v2(void)
{
    char name[] = "tmpXXXXXX";
    int fd = open(".", O_TMPFILE | O_RDWR | O_EXCL, 0664);
    off_t end;

    if (fd < 0) {
        EQ(errno, EOPNOTSUPP);
        fd = (int)OK(mkstemp(name));
        OK(unlink(name));
    }
    for (unsigned grow = 1; grow <= 4; grow++) {
        end = OK(lseek(fd, 0, SEEK_END));
        EQ(end, (grow - 1) * 16 * MIB);
        EQ(posix_fallocate(fd, end, (off_t)(16 * MIB)), 0);
        slots_sync(fd, grow * 16, MIB);
    }
    OK(ftruncate(fd, (off_t)(8 * MIB)));
    EQ(lseek(fd, 0, SEEK_END), 8 * MIB);
    slots_sync(fd, 8, MIB);
    EQ(posix_fallocate(fd, 8 * MIB, 8 * MIB), 0);
    slots_sync(fd, 16, MIB);
    EQ(scan_files(".", NULL, NULL), 0);
    OK(close(fd));
}

/* ---- FlexKV: wb+ without a buffer, truncate, fsync; then O_DIRECT and io_uring readv/writev ----
 */

static void flexkv(void)
{
    struct statvfs v;
    char name[64];

    OK(statvfs(".", &v));
    CHECK((uint64_t)v.f_frsize * v.f_bavail > 128 * MIB, "f_bavail says that nothing fits");
    for (unsigned dev = 0; dev < 2; dev++) {
        int fd;

        file_copy_name(name, sizeof(name), "flexkv_ssd_cache_%u_0.bin", dev);
        fd = py_open(name, O_RDWR | O_CREAT | O_TRUNC);
        OK(ftruncate(fd, (off_t)(48 * MIB)));
        OK(fsync(fd));
        OK(close(fd));
    }
    for (unsigned dev = 0; dev < 2; dev++) {
        int fd;

        file_copy_name(name, sizeof(name), "flexkv_ssd_cache_%u_0.bin", dev);
        fd = (int)OK(open(name, O_RDWR | O_CREAT | O_DIRECT, 0644));
        slots_async(fd, 24, 2 * MIB, true);
        slots_sync(fd, 24, 2 * MIB);
        OK(close(fd));
        EQ(file_size(name), 48 * MIB);
    }
}

/* ---- PegaFlow: O_TRUNC, set_len, a ring of 512-byte aligned records, io_uring at depth 128 ----
 */

static void pegaflow(void)
{
    size_t cap = 64 * MIB, rec = 1124352; /* DeepSeek-V3's block is a multiple of 512 */
    unsigned per_ring = (unsigned)(cap / rec), n = per_ring * 2;
    char *buf[2] = {io_mem(rec), io_mem(rec)};
    int fd =
        (int)OK(open("shard-000000.dat", O_CREAT | O_TRUNC | O_RDWR | O_DIRECT | O_CLOEXEC, 0644));
    bool aligned = true;

    OK(ftruncate(fd, (off_t)cap));
    for (unsigned i = 0; i < n && aligned; i++) { /* a ring: the second half overwrites the first */
        struct iop op = {fd, true, buf[0], rec, (off_t)(i % per_ring * rec), -1};

        pat_fill(buf[0], rec, i, 0);
        if (!uring_run(&op, 1, 128))
            aio_run(&op, 1, 128);
        if (op.res == -EINVAL && !on_l2fs) /* a disk of 4 KiB sectors */
            aligned = false;
        else
            iops_check(&op, 1);
    }
    for (unsigned i = 0; i < per_ring && aligned; i++) {
        struct iop op = {fd, false, buf[1], rec, (off_t)(i * rec), -1};

        if (!uring_run(&op, 1, 128))
            aio_run(&op, 1, 128);
        iops_check(&op, 1);
        PAT(buf[1], rec, per_ring + i, 0);
    }
    slots_async(fd, 64, MIB, true);
    OK(close(fd));
    EQ(file_size("shard-000000.dat"), cap);
}

/* ---- ktransformers kvc2: grown by ftruncate while in use, syncs after each read ---- */

static void ktransformers(void)
{
    static const char *const kinds[] = {"key", "value"};
    char *buf = io_mem(512 * KIB), dir[128], path[160];

    for (unsigned k = 0; k < 2; k++) {
        file_copy_name(dir, sizeof(dir), "DeepSeek-V3/q4_k_m/%s", kinds[k]);
        io_mkdirs(dir);
        for (unsigned layer = 0; layer < 4; layer++) {
            int fd;

            file_copy_name(path, sizeof(path), "%s/layer-%u.kvc", dir, layer);
            fd = (int)OK(open(path, O_RDWR | O_CREAT | O_DIRECT, 0664));
            for (unsigned i = 0; i < 8; i++) {
                struct iop op = {fd, true, buf, 512 * KIB, (off_t)(i * 512 * KIB), -1};

                if (i % 4 == 0)
                    OK(ftruncate(fd, (off_t)((i + 4) * 512 * KIB)));
                pat_fill(buf, 512 * KIB, k * 100 + layer * 10 + i, 0);
                aio_run(&op, 1, 32);
                iops_check(&op, 1);
            }
            for (unsigned i = 0; i < 8; i++) {
                io_all(fd, false, buf, 512 * KIB, (off_t)(i * 512 * KIB));
                OK(fdatasync(fd));
                OK(fsync(fd));
                PAT(buf, 512 * KIB, k * 100 + layer * 10 + i, 0);
            }
            OK(close(fd));
        }
    }
}

/* ---- RTP-LLM ---- */

static void rtp_second_instance(void *arg)
{
    int fd = (int)OK(open("rtp_llm_disk_kv/.lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600));

    (void)arg;
    ERR(flock(fd, LOCK_EX | LOCK_NB), EWOULDBLOCK); /* it must not start */
    OK(close(fd));
}

static void rtp_stale(int dir, const char *name, void *arg)
{
    (void)arg;
    if (fnmatch("rank_*.kv", name, 0) == 0 || fnmatch("*.tmp", name, 0) == 0)
        OK(unlinkat(dir, name, 0));
}

static void *rtp_thread(void *arg)
{
    static unsigned next;
    unsigned part = __atomic_fetch_add(&next, 1, __ATOMIC_RELAXED) % 4;
    char *buf = io_mem(MIB);
    int fd = *(int *)arg;

    for (unsigned n = 0; n < 16; n++) {
        off_t at = (off_t)((part * 8 + n % 8) * MIB);

        pat_fill(buf, MIB, part * 100 + n, 0);
        io_all(fd, true, buf, MIB, at);
        memset(buf, 0, MIB);
        io_all(fd, false, buf, MIB, at);
        PAT(buf, MIB, part * 100 + n, 0);
    }
    munmap(buf, MIB);
    return NULL;
}

static void rtp_rank(unsigned rank, int direct)
{
    char path[128];
    pthread_t t[4];
    int fd;

    file_copy_name(path, sizeof(path), "rtp_llm_disk_kv/rank_%u_world_2_full.kv", rank);
    fd = (int)OK(open(path, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC | direct, 0600));
    EQ(posix_fallocate(fd, 0, (off_t)(32 * MIB)), 0);
    EQ(file_size(path), 32 * MIB);
    for (unsigned i = 0; i < 4; i++)
        EQ(pthread_create(&t[i], NULL, rtp_thread, &fd), 0);
    for (unsigned i = 0; i < 4; i++)
        EQ(pthread_join(t[i], NULL), 0);
    OK(close(fd));
    OK(unlink(path));
}

static void rtp_llm(void)
{
    int lock;

    io_mkdirs("rtp_llm_disk_kv");
    file_write("rtp_llm_disk_kv/rank_0_world_2_full.kv", 1, 5000); /* left by one that died */
    file_write("rtp_llm_disk_kv/x.tmp", 1, 100);
    lock = (int)OK(open("rtp_llm_disk_kv/.lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    OK(flock(lock, LOCK_EX | LOCK_NB));
    io_join(io_spawn(rtp_second_instance, NULL));
    scan_files("rtp_llm_disk_kv", rtp_stale, NULL);
    EQ(scan_files("rtp_llm_disk_kv", NULL, NULL), 1);
    rtp_rank(0, O_DIRECT);
    rtp_rank(1, 0);
    OK(flock(lock, LOCK_UN));
    OK(close(lock));
}

const struct engine engines_slots[] = {
    {"dynamo", dynamo, "Dynamo KVBM", NULL, "dynamo-kvbm-disk-cache-??????"},
    {"trtllm_v1", trtllm_v1, "TRT-LLM v1", NULL, NULL},
    {"trtllm_v2", trtllm_v2, "TRT-LLM v2", NULL, NULL},
    {"flexkv", flexkv, "FlexKV, PegaFlow, ktransformers", NULL, "flexkv_ssd_cache_*.bin"},
    {"pegaflow", pegaflow, "FlexKV, PegaFlow, ktransformers", NULL,
     "shard-[0-9][0-9][0-9][0-9][0-9][0-9].dat"},
    {"ktransformers", ktransformers, "FlexKV, PegaFlow, ktransformers", NULL, "layer-*.kvc"},
    {"rtp_llm", rtp_llm, "RTP-LLM disk", "*.tmp", "rank_*_world_*.kv"},
    {NULL, NULL, NULL, NULL, NULL},
};
