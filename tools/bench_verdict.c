/* bench_verdict.c - l2bench --report: what l2fs is to reach, and whether the rows show it. A target that several rows
 * answer is judged by the worst of them.
 */
#include "bench_report.h"

/* Rows give speed of l2fs through speed of the other; a limit on time is that on 1 / ratio. */
enum sense { SPEED_AT_LEAST, TIME_AT_MOST, RATIO_AT_MOST };

struct target {
    const char *what;
    enum sense sense;
    double limit;
    const char *row;
    uint64_t least, most; /* sizes of keys that count; 0, 0: all */
    const char *alone;    /* the row of a part that is not ours; NULL: there is none */
    const char *reason;   /* of a miss, and what lifts it; NULL: not known, or `alone` tells */
};

static const struct target targets[] = {
    {"read of keys of 1 MiB and more against tmpfs", SPEED_AT_LEAST, 1.0, "read", MIB, UINT64_MAX},
    {"O_DIRECT read of keys of 1 MiB and more", SPEED_AT_LEAST, 1.0, "direct", MIB, UINT64_MAX},
    {"mmap of keys of 1 MiB and more", SPEED_AT_LEAST, 1.2, "mmap", MIB, UINT64_MAX,
     .reason = "an open is a round trip to the daemon, and streams on all processors pay for it; "
               "larger keys or a processor beside the streams lift it"},
    {"writes of new keys of 16 to 64 MiB", SPEED_AT_LEAST, 2.0, "write", 16 * MIB, 64 * MIB,
     .reason =
         "checksum and store of a key take more of a processor than writing it, and run while "
         "the next is written; a processor beside the streams lifts it"},
    {"the same over ten times L1, while storing", SPEED_AT_LEAST, 2.0, "sustained", 0, 0,
     .reason =
         "what is beyond L1 is written as fast as the disk takes it (row store), writers wait "
         "for room in create; a faster disk or a larger L1 lifts it"},
    {"open+read+close of 64 KiB, io_uring", TIME_AT_MOST, 1.5, "small-read-uring", 0, 0,
     "small-trip-uring"},
    {"loads of the fs adapter against fio", SPEED_AT_LEAST, 0.95, "load", 0, 0},
    {"stores of the fs adapter against fio", SPEED_AT_LEAST, 0.95, "store", 0, 0},
    {"crc32c as a share of the load, as if none of it were overlapped", RATIO_AT_MOST, 0.05,
     "checksum", 0, 0},
    {"scan of a start against find", TIME_AT_MOST, 1.3, "scan", 0, 0,
     .reason = "beside the attributes that find asks for, a file's xattrs are listed and its name "
               "goes into the tree; to read xattrs when a key is first used lifts it"},
    {"streamed read against the load alone", TIME_AT_MOST, 1.1, "stream", 0, 0},
    {"push of 64 MiB keys against ucx_perftest", SPEED_AT_LEAST, 0.9, "push-64M", 0, 0,
     .reason = "writing, two checksums and clearing the receiver's pages share the processors with "
               "both ends of the link; a link that is the limit, or more processors, lift it"},
};

static double number(json_t *row, const char *name)
{
    return json_number_value(json_object_get(row, name));
}

static bool answers(const struct target *t, json_t *row)
{
    const char *name = json_string_value(json_object_get(row, "name"));
    uint64_t size = (uint64_t)json_integer_value(json_object_get(row, "size"));

    if (!name || strcmp(name, t->row) != 0 || !(number(row, "ratio") > 0))
        return false;
    return !t->most || (size >= t->least && size <= t->most);
}

static double measured(const struct target *t, json_t *row)
{
    return t->sense == TIME_AT_MOST ? 1 / number(row, "ratio") : number(row, "ratio");
}

static bool met(const struct target *t, double value)
{
    return t->sense == SPEED_AT_LEAST ? value >= t->limit : value <= t->limit;
}

static json_t *worst_row(const struct target *t, json_t *rows)
{
    json_t *row, *worst = NULL;
    size_t i;

    json_array_foreach(rows, i, row)
    {
        double value;

        if (!answers(t, row))
            continue;
        value = measured(t, row);
        if (!worst ||
            (t->sense == SPEED_AT_LEAST ? value < measured(t, worst) : value > measured(t, worst)))
            worst = row;
    }
    return worst;
}

/* Why it is missed, where that is known or a part of it that is not ours tells. */
static void give_reason(const struct target *t, json_t *rows, json_t *out)
{
    json_t *row;
    size_t i;

    if (t->reason)
        json_object_set_new(out, "reason", json_string(t->reason));
    json_array_foreach(rows, i, row)
    {
        const char *name = json_string_value(json_object_get(row, "name"));

        if (!name || !t->alone || strcmp(name, t->alone) != 0 || !(number(row, "ratio") > 0))
            continue;
        json_object_set_new(
            out, "reason",
            json_sprintf("one request through FUSE takes %.2gx the time alone (%s), "
                         "an open two, of which it waits for one; an open that the kernel answers "
                         "by itself would lift it",
                         1 / number(row, "ratio"), name));
    }
}

static json_t *verdict(const struct target *t, json_t *rows)
{
    json_t *row = worst_row(t, rows);
    json_t *out =
        json_pack("{s:s, s:s, s:f, s:s}", "target", t->what, "must_be",
                  t->sense == SPEED_AT_LEAST ? "at least" : "at most", "limit", t->limit, "of",
                  t->sense == SPEED_AT_LEAST ? "speed"
                  : t->sense == TIME_AT_MOST ? "time"
                                             : "share");

    if (row) {
        json_object_set_new(out, "measured", json_real(measured(t, row)));
        json_object_set(out, "row", json_object_get(row, "name"));
        json_object_set(out, "size", json_object_get(row, "size"));
        json_object_set(out, "streams", json_object_get(row, "streams"));
    }
    json_object_set_new(out, "verdict",
                        json_string(!row                       ? "not measured"
                                    : met(t, measured(t, row)) ? "met"
                                                               : "missed"));
    if (row && !met(t, measured(t, row)))
        give_reason(t, rows, out);
    return out;
}

json_t *report_verdicts(json_t *rows)
{
    json_t *out = json_array();

    for (size_t i = 0; i < ARRAY_SIZE(targets); i++)
        json_array_append_new(out, verdict(&targets[i], rows));
    return out;
}
