/* fuzz_options.h - parses a command line and checks what comes out. */
#ifndef L2FS_FUZZ_OPTIONS_H
#define L2FS_FUZZ_OPTIONS_H

#include <stdio.h>

#include "options.h"

#define CHECK(cond)                                                                                \
    do {                                                                                           \
        if (!(cond)) {                                                                             \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #cond);                             \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static inline void fuzz_check(const struct options *o)
{
    CHECK(o->cfg.name && *o->cfg.name && !strchr(o->cfg.name, '/'));
    CHECK(o->cfg.staging && o->cfg.staging[0] == '/');
    CHECK(o->extra && o->source && json_array_size(o->cfg.l2) > 0);
    CHECK(o->cfg.l1 >= MIB && o->cfg.max_object <= o->cfg.l1);
    CHECK(o->cfg.threads >= 1 && o->cfg.threads <= 1024);
    CHECK(o->cfg.l1_watermark >= 0.05 && o->cfg.l1_watermark <= 1);
    for (size_t i = 0; i < o->nbases; i++)
        CHECK(o->bases[i][0] == '/');
}

static inline void fuzz_parse(int argc, char *argv[])
{
    struct options o;
    struct text err = {0};
    int rc = options_parse(argc, argv, &o, &err);

    CHECK(rc <= 0 && !err.failed);
    if (rc) {
        CHECK(err.len > 0);
    } else {
        json_t *printed = conf_to_json(l2fs_config_options, &o.cfg);

        CHECK(!err.len);
        fuzz_check(&o);
        CHECK(printed);
        json_decref(printed);
        options_fini(&o);
    }
    text_fini(&err);
}

#endif
