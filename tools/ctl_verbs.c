/* ctl_verbs.c - what l2fsctl can do: one table for parsing, --help and the tests of the man page. */
#include "ctl.h"

#include <string.h>

#include "text.h"

#define VERBS_MAX 40
#define MEMBER(m) offsetof(struct ctl, m)

const struct ctl_option ctl_globals[] = {
    {"mount", 'm', "MOUNT", CTL_TEXT, MEMBER(mount),
     "default: where the working directory is, or the only mount; PATHs are below it"},
    {"json", 0, NULL, CTL_FLAG, MEMBER(json), "JSON instead of text"},
    {0},
};

static const struct ctl_option events_options[] = {
    {"follow", 'f', NULL, CTL_FLAG, MEMBER(follow),
     "from now on, as they happen, until interrupted"},
    {"once", 0, NULL, CTL_FLAG, MEMBER(once), "wait for the next one that fits, then end"},
    {"type", 0, "NAME,...", CTL_TEXT, MEMBER(types), "only these events"},
    {0},
};

static const struct ctl_option top_options[] = {
    {"delay", 'd', "TIME", CTL_TIME, MEMBER(delay), "between two screens (default: 1s)"},
    {"count", 'n', "COUNT", CTL_COUNT, MEMBER(count), "that many screens, then end"},
    {"batch", 'b', NULL, CTL_FLAG, MEMBER(batch), "plain text, also on a terminal"},
    {0},
};

static const struct ctl_option pin_options[] = {
    {"hard", 0, NULL, CTL_FLAG, MEMBER(hard), "until it is unpinned"},
    {"for", 0, "TIME", CTL_TEXT, MEMBER(lasting), "that long (default: 30m)"},
    {0},
};

static const struct ctl_option evict_options[] = {
    {"dry-run", 'n', NULL, CTL_FLAG, MEMBER(dry_run),
     "tell which would leave; without PATH: which leave next"},
    {0},
};

static const struct ctl_option adapters_options[] = {
    {"force", 0, NULL, CTL_FLAG, MEMBER(force), "remove: also if keys are nowhere else"},
    {"timeout", 0, "TIME", CTL_TIME, MEMBER(timeout),
     "remove: wait that long for what is under way"},
    {0},
};

static const struct ctl_option unlock_options[] = {
    {"force", 0, NULL, CTL_FLAG, MEMBER(force), "needed: the locks may be somebody's"},
    {0},
};

static const struct ctl_option warm_options[] = {
    {"from", 0, "LIST", CTL_TEXT, MEMBER(from), "keys from this file, one on a line; - is stdin"},
    {"prefix", 0, NULL, CTL_FLAG, MEMBER(prefix), "in order, up to the first that is not there"},
    {"timeout", 0, "TIME", CTL_TIME, MEMBER(timeout), "for all together (default: none)"},
    {0},
};

const struct ctl_verb ctl_verbs[] = {
    {"status", NULL, "", 0, 0, "how the mount is, on one screen",
     "Exit status 1 when a tier or the mount is not healthy.", NULL, ctl_status},
    {"top", NULL, "", 0, 0, "what it does, every second",
     "Rates per second of the last interval; q quits. Plain text when stdout is no terminal.",
     top_options, ctl_top},
    {"info", "stat", "PATH...", 1, INT32_MAX, "everything about keys or directories", NULL, NULL,
     ctl_info},
    {"ls", NULL, "[PATH...]", 0, INT32_MAX, "keys with state, size, tiers and pin", NULL, NULL,
     ctl_ls},
    {"warm", NULL, "[PATH...]", 0, INT32_MAX, "load keys, or what directories hold, into memory",
     "One line per key that was not in memory; exit status 1 when one could not be loaded.",
     warm_options, ctl_warm},
    {"evict", NULL, "[PATH...]", 0, INT32_MAX, "drop keys, or what directories hold, from memory",
     "Only what is stored, closed and not pinned leaves.", evict_options, ctl_evict},
    {"pin", NULL, "PATH...", 1, INT32_MAX, "keep keys in memory", NULL, pin_options, ctl_pin},
    {"unpin", NULL, "PATH...", 1, INT32_MAX, "let keys go again", NULL, NULL, ctl_unpin},
    {"quota", NULL, "DIR [SIZE|none]", 1, 2, "how much a directory may hold",
     "Without SIZE: what it may hold and holds. A quota is set by root.", NULL, ctl_quota},
    {"retry", NULL, "PATH...", 1, INT32_MAX, "store again what a tier refused",
     "Keys, or what directories hold, that a tier failed to store or was given up for.", NULL,
     ctl_retry},
    {"cancel", NULL, "REQ_ID...", 1, INT32_MAX, "stop sending the keys of requests",
     "What is on its way is taken back, and the proxy is not told. The keys stay here.", NULL,
     ctl_cancel},
    {"unlock", NULL, "PATH...", 1, INT32_MAX, "drop a pin and every lock in the tiers (root)",
     "For keys that a dead program left locked. Open files stay open. It is logged.",
     unlock_options, ctl_unlock},
    {"events", NULL, "[GLOB...]", 0, INT32_MAX, "what happened last, or what happens",
     "Without an option: those that the daemon remembers. GLOBs are matched against whole keys,\n"
     "where * matches / too. l2fs(5) lists the events.",
     events_options, ctl_events},
    {"adapters", NULL, "[ACTION...]", 0, INT32_MAX, "the tiers; add, remove and change them",
     "ACTION is one of\n"
     "  add JSON                     such as '{\"type\": \"fs\", \"base_path\": \"/data\"}'\n"
     "  remove NAME                  when what is under way is done; its keys stay in it\n"
     "  set NAME ATTRIBUTE=VALUE...  watermark, ratio, policy; until the unmount",
     adapters_options, ctl_adapters},
    {"config", NULL, "[NAME=VALUE...]", 0, INT32_MAX, "the options in effect; change them",
     "Until the unmount: log_level, l1_watermark, l1_ratio, l1_policy.", NULL, ctl_config},
    {"metrics", NULL, "", 0, 0, "the counters (OpenMetrics; all of the text with --json)", NULL,
     NULL, ctl_metrics},
    {"bench", NULL, "[OPTION...]", 0, INT32_MAX, "a quick check of this mount beside tmpfs",
     "Runs l2bench(1) with a few rounds; after -- all its options can be given.", NULL, ctl_bench},
    {0},
};

const struct ctl_verb *ctl_find_verb(const char *name)
{
    for (const struct ctl_verb *v = ctl_verbs; v->name; v++)
        if (!strcmp(v->name, name) || (v->other && !strcmp(v->other, name)))
            return v;
    return NULL;
}

const char *ctl_nearest_verb(const char *name)
{
    const char *names[VERBS_MAX];
    size_t n = 0;

    for (const struct ctl_verb *v = ctl_verbs; v->name && n < VERBS_MAX; v++)
        names[n++] = v->name;
    return text_nearest(name, names, n);
}

static void help_options(FILE *out, const struct ctl_option *o)
{
    for (; o && o->name; o++) {
        char left[64], letter[8] = "";

        if (o->letter)
            snprintf(letter, sizeof(letter), "-%c, ", o->letter);
        snprintf(left, sizeof(left), "%s--%s%s%s", letter, o->name, o->arg ? " " : "",
                 o->arg ? o->arg : "");
        fprintf(out, "  %-22s %s\n", left, o->help);
    }
}

void ctl_help(FILE *out)
{
    fputs("usage: l2fsctl [-m MOUNT] [--json] COMMAND [ARGUMENT...]\n\nCommands:\n", out);
    for (const struct ctl_verb *v = ctl_verbs; v->name; v++) {
        char left[64];

        snprintf(left, sizeof(left), "%s %s", v->name, v->args);
        fprintf(out, "  %-22s %s\n", left, v->summary);
    }
    fputs("\nOptions:\n", out);
    help_options(out, ctl_globals);
    fputs("  -h, --help             this text; l2fsctl COMMAND --help: more about one\n"
          "  -V, --version\n\n"
          "exit: 0, 1 something failed or is not healthy, 2 wrong usage, 3 no such mount or key\n",
          out);
}

void ctl_help_verb(FILE *out, const struct ctl_verb *v)
{
    fprintf(out, "usage: l2fsctl %s%s%s%s\n%c%s\n", v->name, v->options ? " [OPTION...]" : "",
            *v->args ? " " : "", v->args, *v->summary & ~0x20, v->summary + 1);
    if (v->about)
        fprintf(out, "%s\n", v->about);
    if (v->other)
        fprintf(out, "Another name: %s.\n", v->other);
    fputs("\n", out);
    help_options(out, v->options);
    help_options(out, ctl_globals);
}
