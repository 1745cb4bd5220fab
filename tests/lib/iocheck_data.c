/*
 * Points 10 and 12: full-length reads and writes that are short at the end of the file only, all
 * file sizes, holes, overwrites at any offset, and fallocate in the modes that engines use.
 */
#include "iocheck.h"

#include <sys/sendfile.h>
#include <sys/uio.h>

static void b10_full_length(void)
{
    static const size_t sizes[] = {1,       4095,       4096,    4097,     128 * KIB + 1,
                                   MIB - 1, MIB + 4097, 1124352, 17989632, 32 * MIB};

    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        size_t len = sizes[i];
        char *buf = io_pattern(len, i), *got = io_mem(len + PAGE);
        int fd = OPEN("f", O_WRONLY | O_CREAT | O_TRUNC);

        EQ(write(fd, buf, len), len);
        OK(close(fd));
        fd = OPEN("f", O_RDONLY);
        EQ(read(fd, got, len + PAGE), len);
        EQ(read(fd, got + len, PAGE), 0);
        PAT(got, len, i, 0);
        EQ(pread(fd, got, PAGE, (off_t)len - 1), 1);
        EQ(pread(fd, got, PAGE, (off_t)len), 0);
        EQ(pread(fd, got, PAGE, (off_t)(len + MIB)), 0);
        OK(close(fd));
        file_check("f", i, len);
    }
    EQ(truncate("f", 0), 0);
    file_check("f", 1, 0);
}

/* A single call of 256 MiB, as one chunk of a large model can be. */
static void b10_one_call(void)
{
    size_t len = 256 * MIB;
    char *buf = io_pattern(len, 1);
    int fd = OPEN("f", O_RDWR | O_CREAT);

    EQ(write(fd, buf, len), len);
    OK(close(fd));
    fd = OPEN("f", O_RDONLY);
    memset(buf, 0, len);
    EQ(read(fd, buf, len), len);
    PAT(buf, len, 1, 0);
    OK(close(fd));
}

static void b10_small_steps(void)
{
    char *buf = io_pattern(100000, 2), *got = io_mem(100000);
    size_t at = 0;
    int fd = OPEN("f", O_RDWR | O_CREAT);

    for (size_t n = 1; at < 100000; n = n * 3 % 7919 + 1) {
        size_t len = n < 100000 - at ? n : 100000 - at;

        EQ(write(fd, buf + at, len), len);
        at += len;
    }
    OK(close(fd));
    fd = OPEN("f", O_RDONLY);
    at = 0;
    for (size_t n = 1; at < 100000; n = n * 5 % 6151 + 1) {
        size_t len = n < 100000 - at ? n : 100000 - at;

        EQ(read(fd, got + at, len), len);
        at += len;
    }
    EQ(read(fd, got, 1), 0);
    PAT(got, 100000, 2, 0);
    OK(close(fd));
}

static void b10_holes(void)
{
    char *buf = io_pattern(PAGE, 3), *got = io_mem(2 * MIB);
    int fd = OPEN("f", O_RDWR | O_CREAT);

    io_pwrite(fd, buf, 100, 1000000);
    EQ(file_size("f"), 1000100);
    EQ(pread(fd, got, 2 * MIB, 0), 1000100);
    for (unsigned i = 0; i < 1000000; i++)
        if (got[i])
            EQ(got[i], 0);
    PAT(got + 1000000, 100, 3, 0);
    EQ(lseek(fd, 50000, SEEK_END), 1050100);
    EQ(write(fd, buf, 50), 50);
    EQ(file_size("f"), 1050150);
    OK(close(fd));
    fd = OPEN("f", O_RDONLY);
    EQ(pread(fd, got, 2 * MIB, 1000000), 50150);
    PAT(got, 100, 3, 0);
    for (unsigned i = 100; i < 50100; i++)
        EQ(got[i], 0);
    PAT(got + 50100, 50, 3, 0);
    OK(close(fd));
}

/* Slots overwritten at random offsets and lengths, checked against a copy in memory. */
static void b10_random_overwrite(void)
{
    size_t cap = 4 * MIB;
    char *model = io_pattern(cap, 4), *got = io_mem(cap + PAGE), *buf = io_mem(300000);
    int fd;

    file_write("f", 4, cap);
    fd = OPEN("f", O_RDWR);
    for (unsigned i = 0; i < 2000 / io_scale + 50; i++) {
        size_t off = io_mix(i) % cap, len = 1 + io_mix(i + 1000000) % 300000;

        if (i % 500 == 499) {
            OK(close(fd));
            fd = OPEN("f", O_RDWR);
        }
        if (len > cap - off)
            len = cap - off;
        if (i % 3 == 2) {
            io_pread(fd, got, len, (off_t)off);
            CHECK(!memcmp(got, model + off, len), "read %u: %zu bytes at %zu differ", i, len, off);
            continue;
        }
        pat_fill(buf, len, 100 + i, 0);
        memcpy(model + off, buf, len);
        io_pwrite(fd, buf, len, (off_t)off);
    }
    OK(close(fd));
    fd = OPEN("f", O_RDONLY);
    EQ(pread(fd, got, cap + PAGE, 0), cap);
    CHECK(!memcmp(got, model, cap), "the whole differs");
    OK(close(fd));
}

/* Unaligned records as Mooncake's offset allocator writes them: header + key + value. */
static void b10_offset_records(void)
{
    char *head = io_pattern(24, 5), *key = io_pattern(61, 6), *val = io_pattern(100003, 7);
    char *a = io_mem(24), *b = io_mem(61), *c = io_mem(100003);
    int fd = OPEN("f", O_RDWR | O_CREAT | O_TRUNC);

    for (unsigned i = 0; i < 40; i++) {
        struct iovec v[3] = {{head, 24}, {key, 61}, {val, 100003}};

        EQ(pwritev(fd, v, 3, (off_t)(39 - i) * 100088 + 13), 100088);
    }
    for (unsigned i = 0; i < 40; i++) {
        struct iovec v[3] = {{a, 24}, {b, 61}, {c, 100003}};

        EQ(preadv(fd, v, 3, (off_t)i * 100088 + 13), 100088);
        PAT(a, 24, 5, 0);
        PAT(b, 61, 6, 0);
        PAT(c, 100003, 7, 0);
    }
    OK(close(fd));
}

/* Offsets beyond 4 GiB in a slot file. */
static void b10_beyond_4g(void)
{
    static const off_t at[] = {(1LL << 31) - 7, (1LL << 32) - 5, (1LL << 32), (1LL << 33) + 1,
                               1LL << 40};
    char *buf = io_pattern(PAGE, 1), *got = io_mem(PAGE);
    int fd = OPEN("kv_cache.data", O_RDWR | O_CREAT);

    for (size_t i = 0; i < ARRAY_LEN(at); i++)
        io_pwrite(fd, buf + i, 100, at[i]);
    OK(close(fd));
    EQ(file_size("kv_cache.data"), at[ARRAY_LEN(at) - 1] + 100);
    fd = OPEN("kv_cache.data", O_RDONLY);
    for (size_t i = 0; i < ARRAY_LEN(at); i++) {
        if (i == 2)
            continue; /* overwrote the end of the one before */
        io_pread(fd, got, i == 1 ? 5 : 100, at[i]);
        PAT(got, i == 1 ? 5 : 100, 1, i);
    }
    OK(close(fd));
}

static void b10_dev_copy(void)
{
    off_t off = 0, in = 0, out = 0;
    size_t len = 3 * MIB + 777, done;
    int r, w;

    file_write("f", 8, len);
    r = OPEN("f", O_RDONLY);
    w = OPEN("sent", O_WRONLY | O_CREAT);
    for (done = 0; done < len;)
        done += (size_t)OK(sendfile(w, r, &off, len - done));
    EQ(off, len);
    OK(close(w));
    file_check("sent", 8, len);
    w = OPEN("copied", O_WRONLY | O_CREAT);
    for (done = 0; done < len;) {
        ssize_t n = OK(copy_file_range(r, &in, w, &out, len - done, 0));

        CHECK(n > 0, "copy_file_range stopped at %zu", done);
        done += (size_t)n;
    }
    EQ(copy_file_range(r, &in, w, &out, PAGE, 0), 0);
    OK(close(w));
    OK(close(r));
    file_check("copied", 8, len);
}

static void b12_fallocate(void)
{
    char *got = io_mem(MIB);
    struct stat st;
    int fd;

    file_write("f", 1, 100000);
    fd = OPEN("f", O_RDWR);
    OK(fallocate(fd, 0, 0, 8 * MIB)); /* extends, keeps what is there, the rest reads zero */
    OK(fstat(fd, &st));
    EQ(st.st_size, 8 * MIB);
    io_pread(fd, got, MIB, 0);
    PAT(got, 100000, 1, 0);
    for (unsigned i = 100000; i < MIB; i++)
        if (got[i])
            EQ(got[i], 0);
    OK(fallocate(fd, 0, 0, MIB)); /* smaller: changes nothing */
    EQ(file_size("f"), 8 * MIB);
    OK(fallocate(fd, 0, 9 * MIB + 1, 5));
    EQ(file_size("f"), 9 * MIB + 6);
    EQ(posix_fallocate(fd, 0, 10 * MIB), 0);
    EQ(file_size("f"), 10 * MIB);
    OK(close(fd));
    EQ(file_size("f"), 10 * MIB);
    fd = OPEN("f", O_RDONLY);
    io_pread(fd, got, 100000, 0);
    PAT(got, 100000, 1, 0);
    EQ(posix_fallocate(fd, 0, PAGE), EBADF);
    OK(close(fd));
}

static void b12_new_and_write(void)
{
    int fd = OPEN("f", O_RDWR | O_CREAT | O_EXCL);
    char *buf = io_pattern(4 * MIB, 2);

    OK(fallocate(fd, 0, 0, 4 * MIB));
    EQ(file_size("f"), 4 * MIB);
    for (size_t at = 4 * MIB; at > 0; at -= MIB)
        io_pwrite(fd, buf + at - MIB, MIB, (off_t)(at - MIB));
    OK(close(fd));
    file_check("f", 2, 4 * MIB);
}

/* numpy.tofile: reserve beyond the end without changing the size. */
static void b12_keep_size(void)
{
    char *buf = io_pattern(20 * MIB, 3);
    int fd = OPEN("f", O_WRONLY | O_CREAT | O_TRUNC), r;

    r = fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, 20 * MIB);
    CHECK(r == 0 || errno == EOPNOTSUPP, "KEEP_SIZE: %s", strerror(errno));
    EQ(file_size("f"), 0);
    EQ(write(fd, buf, 20 * MIB), 20 * MIB);
    OK(close(fd));
    file_check("f", 3, 20 * MIB);
}

static void b12_punch_hole(void)
{
    char *got = io_mem(MIB);
    int fd, r;

    file_write("f", 4, MIB);
    fd = OPEN("f", O_RDWR);
    r = fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 64 * KIB, 128 * KIB);
    CHECK(r == 0 || errno == EOPNOTSUPP, "PUNCH_HOLE: %s", strerror(errno));
    EQ(file_size("f"), MIB);
    io_pread(fd, got, MIB, 0);
    PAT(got, 64 * KIB, 4, 0);
    PAT(got + 192 * KIB, MIB - 192 * KIB, 4, 192 * KIB);
    if (r == 0)
        for (unsigned i = 64 * KIB; i < 192 * KIB; i++)
            EQ(got[i], 0);
    else
        PAT(got, MIB, 4, 0);
    OK(close(fd));
}

static void b12_errors(void)
{
    int fd = OPEN("f", O_RDWR | O_CREAT);

    ERR(fallocate(fd, 0, -1, 10), EINVAL);
    ERR(fallocate(fd, 0, 0, 0), EINVAL);
    CHECK(fallocate(fd, 0, 0, INT64_MAX) < 0 && (errno == EFBIG || errno == ENOSPC), "8 EiB: %s",
          strerror(errno));
    EQ(file_size("f"), 0);
    OK(close(fd));
    fd = OPEN(".", O_RDONLY | O_DIRECTORY);
    CHECK(fallocate(fd, 0, 0, 10) < 0 && (errno == EBADF || errno == EISDIR), "directory: %s",
          strerror(errno));
    OK(close(fd));
}

/* 1 GiB in an instant: glibc's emulation (a byte per 4 KiB) would take seconds. */
static void b12_fast(void)
{
    int fd = OPEN("kv_cache.data", O_RDWR | O_CREAT | O_EXCL);
    double start = io_now();

    EQ(posix_fallocate(fd, 0, (off_t)GIB), 0);
    CHECK(io_now() - start < 5, "1 GiB took %.1f s", io_now() - start);
    EQ(file_size("kv_cache.data"), GIB);
    OK(ftruncate(fd, 0));
    OK(close(fd));
}

/* Neither slot-file name nor room in memory: EFBIG, and the file stays usable. */
static void b12_efbig(void)
{
    char *buf = io_pattern(PAGE, 1);
    int fd = OPEN("plain-name.bin", O_RDWR | O_CREAT);

    ERR(ftruncate(fd, (off_t)(512 * TIB)), EFBIG);
    ERR(fallocate(fd, 0, 0, (off_t)(512 * TIB)), EFBIG);
    io_pwrite(fd, buf, PAGE, 0);
    OK(close(fd));
    file_check("plain-name.bin", 1, PAGE);
}

const struct iocase iocheck_data[] = {
    {"b10_full_length", b10_full_length, false},
    {"b10_one_call", b10_one_call, false},
    {"b10_small_steps", b10_small_steps, false},
    {"b10_holes", b10_holes, false},
    {"b10_random_overwrite", b10_random_overwrite, false},
    {"b10_offset_records", b10_offset_records, false},
    {"b10_beyond_4g", b10_beyond_4g, false},
    {"b10_dev_copy", b10_dev_copy, false},
    {"b12_fallocate", b12_fallocate, false},
    {"b12_new_and_write", b12_new_and_write, false},
    {"b12_keep_size", b12_keep_size, false},
    {"b12_punch_hole", b12_punch_hole, false},
    {"b12_errors", b12_errors, false},
    {"b12_fast", b12_fast, false},
    {"b12_efbig", b12_efbig, true},
    {NULL, NULL, false},
};
