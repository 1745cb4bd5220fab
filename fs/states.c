/* states.c - the table of allowed moves. Constant data only. */
#include "config.h"

#include "log.h"
#include "states.h"

#define BIT(s) (1u << (s))

static const struct {
    const char *name;
    unsigned next;
} table[STATE_COUNT] = {
    [STATE_ABSENT] = {"absent", BIT(STATE_WRITING) | BIT(STATE_LANDING) | BIT(STATE_EVICTED) |
                                    BIT(STATE_RESIDENT) | BIT(STATE_DISK) | BIT(STATE_DISCARDED)},
    [STATE_WRITING] = {"writing", BIT(STATE_RESIDENT) | BIT(STATE_EVICTED) | BIT(STATE_DISCARDED)},
    [STATE_RESIDENT] = {"resident", BIT(STATE_EVICTED) | BIT(STATE_WRITING) | BIT(STATE_DISCARDED)},
    [STATE_EVICTED] = {"evicted", BIT(STATE_LOADING) | BIT(STATE_WRITING) | BIT(STATE_RESIDENT) |
                                      BIT(STATE_DISCARDED)},
    [STATE_LOADING] = {"loading", BIT(STATE_RESIDENT) | BIT(STATE_EVICTED) | BIT(STATE_DISCARDED)},
    [STATE_LANDING] = {"landing", BIT(STATE_RESIDENT) | BIT(STATE_DISCARDED)},
    [STATE_DISK] = {"disk", BIT(STATE_DISCARDED)},
    [STATE_DISCARDED] = {"discarded", 0},
};

const char *state_name(enum state s)
{
    return s < STATE_COUNT ? table[s].name : "?";
}

bool state_allowed(enum state from, enum state to)
{
    return from < STATE_COUNT && to < STATE_COUNT && (table[from].next & BIT(to));
}

void state_move(uint8_t *s, enum state to)
{
    if (!state_allowed(*s, to)) {
        log_err("bug: object state may not go from %s to %s", state_name(*s), state_name(to));
        abort();
    }
    *s = (uint8_t)to;
}
