/*
 * iocheck DIR [CASE...]: does the file system under DIR do what inference engines need of it? One
 * case (or several) for each numbered point of the list of operations, named after it:
 * b07_rename_over is point 7. A CASE may be the beginning of names ("b07"). Exit status: 0 all
 * passed or skipped, 1 something failed, 2 usage.
 */
#include "iocheck.h"

#include <getopt.h>

static const struct iocase *const tables[] = {
    iocheck_names,  iocheck_writer, iocheck_dirs,  iocheck_attr, iocheck_create,
    iocheck_rename, iocheck_link,   iocheck_data,  iocheck_aio,  iocheck_mmap,
    iocheck_misc,   iocheck_locks,  iocheck_mount,
};

static void usage(FILE *to)
{
    fprintf(to, "usage: iocheck [--l2fs] [--scale N] [--timeout SECONDS] DIR [CASE...]\n"
                "       iocheck --list\n"
                "  --l2fs     DIR is on an l2fs mount: check also what only l2fs promises\n"
                "  --scale N  divide the counts of the large cases by N (sanitizers)\n");
}

static void list(void)
{
    for (size_t t = 0; t < ARRAY_LEN(tables); t++)
        for (const struct iocase *c = tables[t]; c->name; c++)
            printf("%s%s\n", c->name, c->l2fs_only ? " (l2fs)" : "");
}

static bool wanted(const char *name, char **pick, int n)
{
    for (int i = 0; i < n; i++)
        if (strncmp(name, pick[i], strlen(pick[i])) == 0)
            return true;
    return n == 0;
}

static int run(const char *dir, char **pick, int n, unsigned timeout_s)
{
    unsigned passed = 0, failed = 0, skipped = 0;

    for (size_t t = 0; t < ARRAY_LEN(tables); t++) {
        for (const struct iocase *c = tables[t]; c->name; c++) {
            int r;

            if (!wanted(c->name, pick, n))
                continue;
            r = io_run_case(dir, c, timeout_s);
            passed += r == 0;
            skipped += r == STATUS_SKIP;
            failed += r != 0 && r != STATUS_SKIP;
        }
    }
    printf("iocheck: %u passed, %u failed, %u skipped\n", passed, failed, skipped);
    return failed != 0 || passed + skipped == 0;
}

int main(int argc, char **argv)
{
    static const struct option opts[] = {
        {"list", no_argument, NULL, 'l'},        {"l2fs", no_argument, NULL, 'm'},
        {"scale", required_argument, NULL, 's'}, {"timeout", required_argument, NULL, 't'},
        {"help", no_argument, NULL, 'h'},        {NULL, 0, NULL, 0},
    };
    unsigned timeout_s = 120;
    int opt;

    while ((opt = getopt_long(argc, argv, "h", opts, NULL)) != -1) {
        switch (opt) {
        case 'l': list(); return 0;
        case 'm': on_l2fs = true; break;
        case 's': io_scale = (unsigned)strtoul(optarg, NULL, 10); break;
        case 't': timeout_s = (unsigned)strtoul(optarg, NULL, 10); break;
        case 'h': usage(stdout); return 0;
        default: usage(stderr); return 2;
        }
    }
    if (optind >= argc || io_scale == 0 || timeout_s == 0) {
        usage(stderr);
        return 2;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    return run(argv[optind], argv + optind + 1, argc - optind - 1, timeout_s);
}
