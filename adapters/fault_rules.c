/* fault_rules.c - deciding by rule and seed which operations the fault adapter spoils.
 *
 * A mutex guards the counters of the rules; the rest is constant after creation. Random draws are
 * a hash of the seed, the rule's position and how often it has matched, so that a run can be
 * repeated.
 */
#include "fault_rules.h"

#include "hash.h"
#include "lock.h"

struct fault_rule {
    int op;
    char *key;
    double rate;
    int64_t after;
    int64_t count;
    int action;
    char *errno_name;
    uint64_t delay;
    int error;
    int64_t matched; /* lock */
    int64_t fired;   /* lock */
};

struct fault_rules {
    uint64_t seed;
    size_t n;
    pthread_mutex_t lock;
    uint64_t taken[FAULT_ACTIONS]; /* lock */
    struct fault_rule rules[];
};

static const char *const op_names[] = {"store", "lookup", "load", "remove", "rename", "any", NULL};
static const char *const action_names[] = {
    [FAULT_NONE] = "none",   [FAULT_FAIL] = "fail",       [FAULT_REFUSE] = "refuse",
    [FAULT_DELAY] = "delay", [FAULT_DROP] = "drop",       [FAULT_NEVER] = "never",
    [FAULT_SHORT] = "short", [FAULT_CORRUPT] = "corrupt", [FAULT_REORDER] = "reorder",
    [FAULT_ACTIONS] = NULL};

#define RULE(member) offsetof(struct fault_rule, member)

static const struct conf_opt rule_options[] = {
    {.name = "op", .type = CONF_ENUM, .offset = RULE(op), .def = "any", .choices = op_names},
    {.name = "key", .type = CONF_STRING, .offset = RULE(key)},
    {.name = "rate", .type = CONF_DOUBLE, .offset = RULE(rate), .def = "1", .min = 0, .max = 1},
    {.name = "after", .type = CONF_INT, .offset = RULE(after), .def = "0", .min = 0, .max = 1e15},
    {.name = "count", .type = CONF_INT, .offset = RULE(count), .def = "0", .min = 0, .max = 1e15},
    {.name = "action",
     .type = CONF_ENUM,
     .offset = RULE(action),
     .choices = action_names,
     .required = true},
    {.name = "errno", .type = CONF_STRING, .offset = RULE(errno_name), .def = "EIO"},
    {.name = "delay", .type = CONF_DURATION, .offset = RULE(delay)},
    {0},
};

static int parse_errno(const char *name, int *out)
{
    for (int e = 1; e < 4096; e++) {
        const char *known = strerrorname_np(e);

        if (known && !strcmp(known, name)) {
            *out = -e;
            return 0;
        }
    }
    return -EINVAL;
}

static bool spoils(int action)
{
    return action == FAULT_CORRUPT || action == FAULT_SHORT;
}

static bool has_bytes(int op)
{
    return op == FAULT_STORE || op == FAULT_LOAD;
}

static const char *complaint(struct fault_rule *rule)
{
    if (parse_errno(rule->errno_name ? rule->errno_name : "", &rule->error))
        return "option errno: expected the name of an error such as \"EIO\" or \"ENOSPC\"";
    if (rule->action == FAULT_DELAY && !rule->delay)
        return "option delay is required with action delay, expected a duration such as 250ms";
    if (spoils(rule->action) && rule->op != FAULT_ANY && !has_bytes(rule->op))
        return "option action: corrupt and short need op store, load or any";
    if (rule->action == FAULT_REORDER && rule->op != FAULT_ANY && rule->op > FAULT_LOAD)
        return "option action: reorder needs op store, lookup, load or any";
    return NULL;
}

static int parse_rule(json_t *json, struct fault_rule *rule, size_t index, struct text *err)
{
    struct text why = {0};
    const char *wrong = NULL;
    int rc = conf_defaults(rule_options, rule);

    if (!rc)
        rc = conf_set_json(rule_options, rule, json, NULL, true, &why);
    if (!rc) {
        wrong = complaint(rule);
        rc = wrong ? -EINVAL : 0;
    }
    if (rc)
        text_printf(err, "rules[%zu]: %s", index,
                    wrong      ? wrong
                    : why.data ? why.data
                               : "no memory");
    text_fini(&why);
    return rc == -ENOENT ? -EINVAL : rc;
}

int fault_rules_create(json_t *array, uint64_t seed, struct fault_rules **out, struct text *err)
{
    size_t n = json_array_size(array);
    struct fault_rules *r;

    if (array && !json_is_array(array)) {
        text_puts(err, "option rules: expected an array of rules");
        return -EINVAL;
    }
    r = calloc(1, sizeof(*r) + n * sizeof(r->rules[0]));
    if (!r)
        return -ENOMEM;
    r->seed = seed;
    lock_init(&r->lock);
    for (; r->n < n; r->n++) {
        int rc = parse_rule(json_array_get(array, r->n), &r->rules[r->n], r->n, err);

        if (rc) {
            r->n++;
            fault_rules_destroy(r);
            return rc;
        }
    }
    *out = r;
    return 0;
}

void fault_rules_destroy(struct fault_rules *r)
{
    if (!r)
        return;
    for (size_t i = 0; i < r->n; i++)
        conf_fini(rule_options, &r->rules[i]);
    pthread_mutex_destroy(&r->lock);
    free(r);
}

/* 0 <= x < 1 */
static double fraction(uint64_t hash)
{
    return (double)(hash >> 11) * 0x1p-53;
}

static bool fires_locked(struct fault_rules *r, size_t index, enum fault_op op, const char *key)
{
    struct fault_rule *rule = &r->rules[index];
    uint64_t draw[2];

    if (rule->op != FAULT_ANY && rule->op != (int)op)
        return false;
    if (spoils(rule->action) && !has_bytes((int)op))
        return false;
    if (rule->key && !text_match_globs(rule->key, key))
        return false;
    draw[0] = index;
    draw[1] = (uint64_t)rule->matched++;
    if (rule->matched <= rule->after || (rule->count && rule->fired >= rule->count))
        return false;
    if (fraction(hash_bytes(draw, sizeof(draw), r->seed)) >= rule->rate)
        return false;
    rule->fired++;
    return true;
}

void fault_decide(struct fault_rules *r, enum fault_op op, const char *key,
                  struct fault_verdict *out)
{
    *out = (struct fault_verdict){0};
    LOCKED_SCOPE(&r->lock);
    for (size_t i = 0; i < r->n; i++) {
        struct fault_rule *rule = &r->rules[i];

        if (!fires_locked(r, i, op, key))
            continue;
        *out = (struct fault_verdict){(enum fault_action)rule->action, rule->error, rule->delay};
        r->taken[rule->action]++;
        return;
    }
}

json_t *fault_rules_status(struct fault_rules *r)
{
    json_t *taken = json_object();

    LOCKED_SCOPE(&r->lock);
    for (int i = FAULT_FAIL; i < FAULT_ACTIONS; i++)
        json_object_set_new(taken, action_names[i], json_integer((json_int_t)r->taken[i]));
    return taken;
}

/* --- gaps --- */

int fault_gaps_check(const struct fault_gaps *g, struct text *err)
{
    json_t *v;
    size_t i;

    if ((g->tail_ratios && !json_is_array(g->tail_ratios)) ||
        (g->indices && !json_is_array(g->indices))) {
        text_puts(err, "options gap_tail_ratios and gap_indices: expected arrays of numbers");
        return -EINVAL;
    }
    json_array_foreach(g->tail_ratios, i, v)
    {
        if (!json_is_number(v) || !(json_number_value(v) >= 0 && json_number_value(v) <= 1)) {
            text_puts(err, "option gap_tail_ratios: expected numbers from 0 (last) to 1 (first)");
            return -EINVAL;
        }
    }
    json_array_foreach(g->indices, i, v)
    {
        if (!json_is_integer(v) || json_integer_value(v) < 0) {
            text_puts(err, "option gap_indices: expected whole numbers from 0 up");
            return -EINVAL;
        }
    }
    return 0;
}

bool fault_gaps_hit(const struct fault_gaps *g, const char *key, size_t i, size_t n)
{
    json_t *v;
    size_t k;

    json_array_foreach(g->indices, k, v)
    {
        if ((size_t)json_integer_value(v) == i)
            return true;
    }
    json_array_foreach(g->tail_ratios, k, v)
    {
        if ((size_t)((1 - json_number_value(v)) * (double)(n - 1) + 0.5) == i)
            return true;
    }
    return g->rate > 0 && fraction(hash_bytes(key, strlen(key), (uint64_t)g->seed)) < g->rate;
}
