/*
 * Points 1 and 2: lookups, sizes that are never anything but final under a published name, no stale
 * negative or positive entries between processes, and names of any bytes up to 255 and paths up to
 * 4096.
 */
#include "iocheck.h"

#include <dirent.h>
#include <limits.h>

static const size_t sizes[] = {0, 1, 511, 4095, 4096, 4097, 65536, 640256, 1124352, 2 * MIB};

static void b01_sizes(void)
{
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        char name[32];

        file_copy_name(name, sizeof(name), "size-%zu.bin", sizes[i]);
        file_write(name, i + 1, sizes[i]);
        file_check(name, i + 1, sizes[i]);
        OK(access(name, F_OK | R_OK | W_OK));
    }
}

/* The size seen by others while a key is replaced by rename again and again: one of the two,
 * always. */
struct replace {
    int ready, stop;
};

static void replace_watch(void *arg)
{
    struct replace *r = arg;
    unsigned seen = 0;
    struct stat st;

    gate_post(r->ready, 1);
    while (!file_exists("stop")) {
        int fd;

        OK(stat("key.bin", &st));
        CHECK(st.st_size == 65536 || st.st_size == 3 * 65536, "size %lld in between",
              (long long)st.st_size);
        fd = OPEN("key.bin", O_RDONLY);
        OK(fstat(fd, &st));
        fd_check(fd, st.st_size == 65536 ? 1 : 3, (size_t)st.st_size);
        OK(close(fd));
        seen++;
    }
    CHECK(seen > 0, "saw nothing");
}

static void b01_size_published(void)
{
    struct replace r = {.ready = gate_new()};
    pid_t pid;

    file_write("key.bin", 1, 65536);
    pid = io_spawn(replace_watch, &r);
    gate_wait(r.ready);
    for (unsigned i = 0; i < 300 / io_scale + 20; i++) {
        bool odd = i % 2;

        file_write("key.bin.tmp", odd ? 1 : 3, odd ? 65536 : 3 * 65536);
        OK(rename("key.bin.tmp", "key.bin"));
    }
    file_write("stop", 1, 0);
    io_join(pid);
}

/* Lookup storm, then another process stores, then every lookup must hit: no stale negative entry.
 */
struct storm {
    int go, done;
};

static void storm_store(void *arg)
{
    struct storm *s = arg;

    for (unsigned i = 0; i < 64; i++) {
        char name[32];

        gate_wait(s->go);
        file_copy_name(name, sizeof(name), "k%u.bin", i);
        if (i % 2) {
            file_write("x.tmp", i, 4096);
            OK(rename("x.tmp", name));
        } else {
            file_write(name, i, 4096);
        }
        gate_post(s->done, 1);
    }
}

static void b01_no_stale_negative(void)
{
    struct storm s = {.go = gate_new(), .done = gate_new()};
    pid_t pid = io_spawn(storm_store, &s);
    char name[32];

    for (unsigned i = 0; i < 64; i++) {
        struct stat st;

        file_copy_name(name, sizeof(name), "k%u.bin", i);
        for (unsigned n = 0; n < 3; n++) {
            ERR(access(name, F_OK), ENOENT);
            ERR(stat(name, &st), ENOENT);
            ERR(open(name, O_RDONLY), ENOENT);
        }
        gate_post(s.go, 1);
        gate_wait(s.done);
        OK(access(name, F_OK));
        file_check(name, i, 4096);
    }
    io_join(pid);
}

/* A size changed by another process through a descriptor is seen by a stat right after. */
static void grow_other(void *arg)
{
    struct storm *s = arg;
    int fd = OPEN("slot.bin", O_RDWR);

    for (unsigned i = 1; i <= 8; i++) {
        gate_wait(s->go);
        OK(ftruncate(fd, (off_t)(i * 10000)));
        gate_post(s->done, 1);
    }
    OK(close(fd));
}

static void b01_size_follows(void)
{
    struct storm s = {.go = gate_new(), .done = gate_new()};
    pid_t pid;

    file_write("slot.bin", 1, 100);
    EQ(file_size("slot.bin"), 100);
    pid = io_spawn(grow_other, &s);
    for (unsigned i = 1; i <= 8; i++) {
        gate_post(s.go, 1);
        gate_wait(s.done);
        EQ(file_size("slot.bin"), i * 10000);
    }
    io_join(pid);
}

/* While the writer has the file open, its own process sees the size grow. */
static void b01_size_own_writer(void)
{
    char *buf = io_pattern(4096, 7);
    int fd = OPEN("w.bin", O_WRONLY | O_CREAT | O_TRUNC);

    for (unsigned i = 1; i <= 5; i++) {
        EQ(write(fd, buf, 4096), 4096);
        EQ(file_size("w.bin"), i * 4096);
    }
    OK(close(fd));
    EQ(file_size("w.bin"), 5 * 4096);
}

static void b02_any_bytes(void)
{
    char name[4] = {'a', 0, 'z', 0};
    DIR *d;
    struct dirent *e;
    bool seen[256] = {false};

    for (int b = 1; b < 256; b++) {
        if (b == '/')
            continue;
        name[1] = (char)b;
        file_write(name, (uint64_t)b, (size_t)b);
    }
    for (int b = 1; b < 256; b++) {
        if (b == '/')
            continue;
        name[1] = (char)b;
        file_check(name, (uint64_t)b, (size_t)b);
    }
    d = opendir(".");
    CHECK(d, "opendir: %s", strerror(errno));
    while ((e = readdir(d)) != NULL) {
        if (e->d_name[0] == '.')
            continue;
        EQ(strlen(e->d_name), 3);
        CHECK(!seen[(unsigned char)e->d_name[1]], "listed twice: byte %d", e->d_name[1]);
        seen[(unsigned char)e->d_name[1]] = true;
    }
    closedir(d);
    for (int b = 1; b < 256; b++)
        CHECK(seen[b] == (b != '/'), "byte %d listed: %d", b, seen[b]);
}

static void b02_engine_names(void)
{
    static const char *const names[] = {
        "meta-llama@Meta-Llama-3-8B@1@0@-5a7f0e@bfloat16.pt",
        "deepseek-ai-SEP-DeepSeek-V3@0x00000000@0@2f00.data",
        "https%3A%2F%2Fexample%40x.kvcache.safetensors",
        "model%2Fname@8@3@%2d1.kvcache.safetensors.metadata",
        "-dash",
        ".hidden",
        "..twodots",
        "trailing.",
        " space ",
        "new\nline",
        "\xff\xfe",
        "a:b,c=d;e'\"\\",
        "*?[x]",
        "~",
        "#",
        "key.tmp.1234.5678.0a1b",
        "\xe6\xbc\xa2\xe5\xad\x97",
    };

    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        file_write(names[i], i, 1000 + i);
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        file_check(names[i], i, 1000 + i);
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        OK(unlink(names[i]));
}

static void b02_name_255(void)
{
    char name[258], dir[256];
    struct stat st;

    memset(name, 'n', 256);
    name[256] = '\0';
    ERR(open(name, O_WRONLY | O_CREAT, 0644), ENAMETOOLONG);
    ERR(stat(name, &st), ENAMETOOLONG);
    ERR(mkdir(name, 0755), ENAMETOOLONG);
    ERR(unlink(name), ENAMETOOLONG);
    file_write("short", 1, 10);
    ERR(rename("short", name), ENAMETOOLONG);
    ERR(link("short", name), ENAMETOOLONG);
    name[255] = '\0';
    file_write(name, 2, 300);
    file_check(name, 2, 300);
    memset(dir, 'd', 255);
    dir[255] = '\0';
    OK(mkdir(dir, 0755));
    OK(chdir(dir));
    file_write(name, 3, 300);
    file_check(name, 3, 300);
    OK(unlink(name));
    OK(chdir(".."));
    OK(rmdir(dir));
    OK(rename(name, "short2"));
    file_check("short2", 2, 300);
}

/* A path of more than 3000 bytes below the directory, and ENAMETOOLONG from the kernel above 4096.
 */
static void b02_path_4096(void)
{
    char path[PATH_MAX + 16], *p = path;
    unsigned depth = 0;

    while (p - path < 3000) {
        p += snprintf(p, 256, "%s%0*d", depth ? "/" : "", 120, (int)depth);
        OK(mkdir(path, 0755));
        depth++;
    }
    strcpy(p, "/file.bin");
    file_write(path, 5, 5000);
    file_check(path, 5, 5000);
    memset(path, 'x', PATH_MAX);
    path[PATH_MAX] = '\0';
    ERR(open(path, O_RDONLY), ENAMETOOLONG);
}

/* Temporary-looking and hidden names are files like others. */
static void b02_long_temp(void)
{
    char final[256], tmp[256];

    memset(final, 'f', 200);
    strcpy(final + 200, ".bin");
    file_copy_name(tmp, sizeof(tmp), "%s_%llu.tmp", final, 0x7fffffffffffffffULL);
    file_write(tmp, 9, 4096);
    OK(rename(tmp, final));
    file_check(final, 9, 4096);
    CHECK(!file_exists(tmp), "the temporary is still there");
}

const struct iocase iocheck_names[] = {
    {"b01_sizes", b01_sizes, false},
    {"b01_size_published", b01_size_published, false},
    {"b01_no_stale_negative", b01_no_stale_negative, false},
    {"b01_size_follows", b01_size_follows, false},
    {"b01_size_own_writer", b01_size_own_writer, false},
    {"b02_any_bytes", b02_any_bytes, false},
    {"b02_engine_names", b02_engine_names, false},
    {"b02_name_255", b02_name_255, false},
    {"b02_path_4096", b02_path_4096, false},
    {"b02_long_temp", b02_long_temp, false},
    {NULL, NULL, false},
};
