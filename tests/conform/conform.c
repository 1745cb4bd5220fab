/* conform.c - runs the one conformance suite of the L2 contract on every adapter.
 *
 * Each test is a process of its own (Check forks) with a fresh adapter. CONFORM_ONLY=NAME in the
 * environment picks one adapter.
 */
#include "conform.h"

#include <stdio.h>

#include "config.h"

static const struct conform_case cases[] = {
    {.name = "null",
     .spec = "{\"type\": \"null\"}",
     .lacks = "rename make_dir set_attr list open_file link_file usage force_unlock status"},
    {.name = "mock",
     .spec = "{\"type\": \"mock\", \"max_size_gb\": 1, \"mock_bandwidth_gb\": 1000}",
     .lacks = "open_file link_file"},
    {.name = "fs",
     .spec = "{\"type\": \"fs\", \"base_path\": \"@DIR@\"}",
     .lacks = "",
     .plain_files = true},
    {.name = "fault over mock",
     .spec = "{\"type\": \"fault\", \"inner\": {\"type\": \"mock\", \"max_size_gb\": 1, "
             "\"mock_bandwidth_gb\": 1000}}",
     .lacks = "open_file link_file"},
    {.name = "fault over fs",
     .spec = "{\"type\": \"fault\", \"inner\": {\"type\": \"fs\", \"base_path\": \"@DIR@\"}}",
     .lacks = "",
     .plain_files = true},
    {.name = "fault_inject over null",
     .spec = "{\"type\": \"fault_inject\", \"inner\": {\"type\": \"null\"}}",
     .lacks = "rename make_dir set_attr list open_file link_file usage force_unlock"},
#ifdef HAVE_PD
    {.name = "pd",
     .spec = "{\"type\": \"pd\", \"role\": \"sender\", \"peer_host\": \"127.0.0.1\", @PORTS@, "
             "\"transfer_channel\": \"mock_memory\"}",
     .receiver = "{\"type\": \"pd\", \"role\": \"receiver\", \"peer_host\": \"127.0.0.1\", "
                 "\"peer_init_port\": 0, \"peer_alloc_port\": 0, \"transfer_channel\": "
                 "\"mock_memory\"}",
     .lacks = "rename make_dir set_attr list open_file link_file usage force_unlock"},
    {.name = "pd, receiver",
     .spec =
         "{\"type\": \"pd\", \"role\": \"receiver\", \"peer_host\": \"127.0.0.1\", "
         "\"peer_init_port\": 0, \"peer_alloc_port\": 0, \"transfer_channel\": \"mock_memory\"}",
     .lacks = "rename make_dir set_attr list open_file link_file usage force_unlock"},
#endif
};

const struct conform_case *conform;
struct rig rig;
static struct rig receiver;
static char *spec;

const char *conform_spec(void)
{
    return spec;
}

static bool has_word(const char *words, const char *word)
{
    size_t len = strlen(word);

    for (const char *at = strstr(words, word); at; at = strstr(at + 1, word)) {
        if ((at == words || at[-1] == ' ') && (!at[len] || at[len] == ' '))
            return true;
    }
    return false;
}

static bool is_there(const char *op)
{
    const struct adapter_ops *o = rig.a->ops;
    const struct {
        const char *name;
        bool there;
    } all[] = {
        {"rename", o->rename},       {"remove", o->remove},
        {"make_dir", o->make_dir},   {"set_attr", o->set_attr},
        {"list", o->list},           {"open_file", o->open_file},
        {"link_file", o->link_file}, {"usage", o->usage},
        {"status", o->status},       {"force_unlock", o->force_unlock},
    };

    for (size_t i = 0; i < ARRAY_SIZE(all); i++)
        if (!strcmp(all[i].name, op))
            return all[i].there;
    ck_abort_msg("no optional operation %s", op);
}

bool conform_can(const char *op)
{
    bool there = is_there(op);

    ck_assert_msg(there == !has_word(conform->lacks, op), "%s: declared %s, is %s", op,
                  there ? "missing" : "there", there ? "there" : "missing");
    return there;
}

static void open_rig(void)
{
    if (conform->receiver)
        rig_open(&receiver, conform->receiver);
    spec = conform->receiver ? rig_towards(&receiver, conform->spec) : strdup(conform->spec);
    rig_open(&rig, spec);
}

static void close_rig(void)
{
    rig_close(&rig);
    if (conform->receiver)
        rig_close(&receiver);
    free(spec);
}

void conform_add(Suite *s, const char *name, const TTest *const *tests)
{
    TCase *tc = tcase_create(name);

    tcase_add_checked_fixture(tc, open_rig, close_rig);
    tcase_set_timeout(tc, 120);
    for (; *tests; tests++)
        tcase_add_test(tc, *tests);
    suite_add_tcase(s, tc);
}

static int run_case(const struct conform_case *c)
{
    SRunner *runner;
    Suite *s;
    int failed;

    conform = c;
    s = suite_create(c->name);
    conform_add_basic(s);
    conform_add_tasks(s);
    conform_add_locks(s);
    conform_add_objects(s);
    conform_add_names(s);
    conform_add_attrs(s);
    conform_add_threads(s);
    runner = srunner_create(s);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed;
}

int main(void)
{
    const char *only = getenv("CONFORM_ONLY");
    int failed = 0, run = 0;

    rig_base_create();
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        if (only && strcmp(only, cases[i].name))
            continue;
        failed += run_case(&cases[i]);
        run++;
    }
    rig_base_remove();
    if (!run)
        fprintf(stderr, "CONFORM_ONLY=%s: no such case\n", only);
    return failed || !run ? EXIT_FAILURE : EXIT_SUCCESS;
}
