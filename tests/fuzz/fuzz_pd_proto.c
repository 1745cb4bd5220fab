/* fuzz_pd_proto.c - PD messages from the network. tests/fuzz/corpus has one of each type.
 *
 * Invariants: a refusal says why and gives nothing; what was decoded keeps the limits, its strings
 * lie inside the input, and its encoding decodes to what encodes the same.
 */
#include "pd_proto.h"

#include <stdio.h>

#define CHECK(cond)                                                                                \
    do {                                                                                           \
        if (!(cond)) {                                                                             \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #cond);                             \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct input {
    const char *data;
    size_t size;
};

static void check_bytes(const struct input *in, const struct pd_bytes *b, size_t max)
{
    if (b->data)
        CHECK(b->data >= in->data && b->data + b->len <= in->data + in->size && b->len <= max);
    else
        CHECK(!b->len);
}

static void check_strings(const struct input *in, const struct pd_message *m)
{
    CHECK(m->keys.n <= PD_KEYS_MAX);
    for (size_t i = 0; i < m->keys.n; i++)
        check_bytes(in, &m->keys.v[i], PD_STRING_MAX);
    check_bytes(in, &m->dtype, PD_STRING_MAX);
    check_bytes(in, &m->req_id, PD_STRING_MAX);
    check_bytes(in, &m->reason, PD_STRING_MAX);
    check_bytes(in, &m->sender, PD_STRING_MAX);
    check_bytes(in, &m->address, PD_MESSAGE_MAX);
    check_bytes(in, &m->a, PD_MESSAGE_MAX);
    check_bytes(in, &m->b, PD_MESSAGE_MAX);
    check_bytes(in, &m->c, PD_MESSAGE_MAX);
}

static void check_range(const struct pd_ints *list, int64_t min, int64_t max)
{
    CHECK(list->n <= PD_KEYS_MAX);
    for (size_t i = 0; i < list->n; i++)
        CHECK(list->v[i] >= min && list->v[i] <= max);
}

static void check_ints(const struct pd_message *m)
{
    check_range(&m->shape, INT64_MIN, INT64_MAX);
    check_range(&m->already_sent_indexes, INT64_MIN, INT64_MAX);
    check_range(&m->remote_indexes, INT64_MIN, INT64_MAX);
    check_range(&m->tags, INT64_MIN, INT64_MAX);
    check_range(&m->mtimes, INT64_MIN, INT64_MAX);
    check_range(&m->sizes, 0, INT64_MAX);
    check_range(&m->crcs, 0, UINT32_MAX);
    check_range(&m->modes, 0, UINT32_MAX);
    check_range(&m->uids, 0, UINT32_MAX);
    check_range(&m->gids, 0, UINT32_MAX);
    check_range(&m->errors, 0, 4095);
    CHECK(m->error >= 0 && m->error <= 4095);
    CHECK(m->version >= 0 && m->rank >= 0 && m->lease_ms >= 0 && m->limit >= 0);
}

static void check_counts(const struct pd_message *m)
{
    size_t n = m->sizes.n;

    if (m->type != PD_ALLOC_REQUEST)
        return;
    CHECK(!n || n == m->keys.n);
    CHECK(m->crcs.n == n && m->modes.n == n && m->uids.n == n && m->gids.n == n);
    CHECK(m->mtimes.n == n);
}

/* One encoding per meaning, but for the order of the two forms of AllocResponse. */
static void check_again(struct pd_message *m)
{
    struct text first = {0}, second = {0};
    struct pd_message *back = NULL;
    const char *why = NULL;

    pd_encode(m, &first);
    CHECK(!first.failed);
    CHECK(!pd_decode(first.data, first.len, &back, &why) && back && !why);
    CHECK(back->type == m->type && back->async == m->async);
    CHECK(back->epoch == m->epoch && back->seq == m->seq && back->keys.n == m->keys.n);
    pd_encode(back, &second);
    CHECK(first.len == second.len && !memcmp(first.data, second.data, first.len));
    pd_message_free(back);
    text_fini(&first);
    text_fini(&second);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = {(const char *)data, size};
    struct pd_message *m = NULL;
    const char *why = NULL;
    int rc = pd_decode(data, size, &m, &why);

    if (rc) {
        CHECK(rc == -EBADMSG && !m && why);
        return 0;
    }
    CHECK(m && !why && (size_t)m->type < PD_TYPES);
    check_strings(&in, m);
    check_ints(m);
    check_counts(m);
    (void)pd_object_size(m, false);
    (void)pd_object_size(m, true);
    check_again(m);
    pd_message_free(m);
    return 0;
}
