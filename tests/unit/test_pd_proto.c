/* test_pd_proto.c - PD messages: the measured bytes, both ways; what may be missing or differ
 * between the generations of LMCache; sizes of objects. What is refused: test_pd_strict.c.
 */
#include "pd_vectors.h"

#include "suite.h"

#define HEX_MAX 1024

static void assert_bytes(const struct pd_bytes *a, const struct pd_bytes *b)
{
    ck_assert_uint_eq(a->len, b->len);
    ck_assert(!a->data == !b->data);
    if (a->len)
        ck_assert_mem_eq(a->data, b->data, a->len);
}

static void assert_ints(const struct pd_ints *a, const struct pd_ints *b)
{
    ck_assert_uint_eq(a->n, b->n);
    for (size_t i = 0; i < a->n; i++)
        ck_assert_int_eq(a->v[i], b->v[i]);
}

static void assert_strings(const struct pd_strings *a, const struct pd_strings *b)
{
    ck_assert_uint_eq(a->n, b->n);
    for (size_t i = 0; i < a->n; i++)
        assert_bytes(&a->v[i], &b->v[i]);
}

static void assert_lists(const struct pd_message *a, const struct pd_message *b)
{
    assert_strings(&a->keys, &b->keys);
    assert_ints(&a->shape, &b->shape);
    assert_ints(&a->already_sent_indexes, &b->already_sent_indexes);
    assert_ints(&a->remote_indexes, &b->remote_indexes);
    assert_ints(&a->sizes, &b->sizes);
    assert_ints(&a->crcs, &b->crcs);
    assert_ints(&a->modes, &b->modes);
    assert_ints(&a->uids, &b->uids);
    assert_ints(&a->gids, &b->gids);
    assert_ints(&a->mtimes, &b->mtimes);
    assert_ints(&a->tags, &b->tags);
    assert_ints(&a->errors, &b->errors);
}

static void assert_numbers(const struct pd_message *a, const struct pd_message *b)
{
    ck_assert_int_eq(a->fmt, b->fmt);
    ck_assert_int_eq(a->last_chunk_toks, b->last_chunk_toks);
    ck_assert_int_eq(a->total_chunks, b->total_chunks);
    ck_assert(a->is_last_batch == b->is_last_batch);
    ck_assert_int_eq(a->seq, b->seq);
    ck_assert_int_eq(a->alloc_id, b->alloc_id);
    ck_assert_int_eq(a->error, b->error);
    ck_assert_int_eq(a->lease_ms, b->lease_ms);
    ck_assert_int_eq(a->limit, b->limit);
    ck_assert_int_eq(a->version, b->version);
    ck_assert_int_eq(a->epoch, b->epoch);
    ck_assert_int_eq(a->rank, b->rank);
    ck_assert_int_eq(a->x, b->x);
    ck_assert_int_eq(a->y, b->y);
}

static void assert_same(const struct pd_message *a, const struct pd_message *b)
{
    ck_assert_int_eq(a->type, b->type);
    assert_numbers(a, b);
    assert_lists(a, b);
    assert_bytes(&a->dtype, &b->dtype);
    assert_bytes(&a->req_id, &b->req_id);
    assert_bytes(&a->reason, &b->reason);
    assert_bytes(&a->sender, &b->sender);
    assert_bytes(&a->address, &b->address);
    assert_bytes(&a->a, &b->a);
    assert_bytes(&a->b, &b->b);
    assert_bytes(&a->c, &b->c);
}

static void check_encode(const struct pd_vector *v)
{
    struct text out = {0};
    uint8_t bytes[HEX_MAX];
    size_t len = pd_unhex(v->hex, bytes, HEX_MAX);

    pd_encode(&v->m, &out);
    ck_assert(!out.failed);
    ck_assert_uint_eq(out.len, len);
    ck_assert_mem_eq(out.data, bytes, len);
    text_fini(&out);
}

/* `hex` is decoded in a block of its own length, so that reading past it is seen. */
static struct pd_message *decode(const char *hex, uint8_t **data)
{
    uint8_t bytes[HEX_MAX];
    size_t len = pd_unhex(hex, bytes, HEX_MAX);
    struct pd_message *m = NULL;
    const char *why = NULL;

    *data = malloc(len);
    memcpy(*data, bytes, len);
    ck_assert_msg(!pd_decode(*data, len, &m, &why), "%s: %s", hex, why);
    return m;
}

static void check_decode(const struct pd_vector *v)
{
    uint8_t *data;
    struct pd_message *m = decode(v->hex, &data);

    assert_same(m, &v->m);
    if (m->type == PD_ALLOC_REQUEST)
        ck_assert(m->async == v->m.async);
    pd_message_free(m);
    free(data);
}

START_TEST(encodes_the_measured_bytes)
{
    check_encode(&pd_vectors[_i]);
}
END_TEST

START_TEST(decodes_the_measured_bytes)
{
    check_decode(&pd_vectors[_i]);
}
END_TEST

START_TEST(encodes_ours)
{
    check_encode(&pd_own_vectors[_i]);
}
END_TEST

START_TEST(decodes_ours)
{
    check_decode(&pd_own_vectors[_i]);
}
END_TEST

START_TEST(every_type_has_bytes)
{
    bool seen[PD_TYPES] = {false};

    for (size_t i = 0; i < pd_vectors_count; i++)
        seen[pd_vectors[i].m.type] = true;
    for (size_t i = 0; i < pd_own_vectors_count; i++)
        seen[pd_own_vectors[i].m.type] = true;
    for (size_t i = 0; i < PD_TYPES; i++)
        ck_assert_msg(seen[i], "%s", pd_type_name((enum pd_type)i));
}
END_TEST

/* The lengths that the reference gives. */
START_TEST(lengths)
{
    uint8_t bytes[HEX_MAX];

    ck_assert_uint_eq(pd_unhex(pd_vectors[0].hex, bytes, HEX_MAX), 26);
    ck_assert_uint_eq(pd_unhex(pd_vectors[1].hex, bytes, HEX_MAX), 95);
    ck_assert_uint_eq(pd_unhex(pd_vectors[2].hex, bytes, HEX_MAX), 133);
}
END_TEST

START_TEST(names)
{
    ck_assert_str_eq(pd_type_name(PD_ALLOC_REQUEST), "AllocRequest");
    ck_assert_str_eq(pd_type_name(PD_DONE_REPLY), "L2fsDoneReply");
    ck_assert_str_eq(pd_type_name(PD_TYPES), "?");
}
END_TEST

/* Async decodes a sync request (defaults) and a sync response; a response may lack the already list;
 * what is ours is not needed. */
START_TEST(generations)
{
    uint8_t *data;
    struct pd_message *m = decode("86 " ALLOC_SYNC, &data);

    ck_assert(!m->async && !m->req_id.data && !m->is_last_batch && !m->total_chunks);
    ck_assert(!m->sizes.n && !m->seq && !m->sender.data);
    pd_message_free(m);
    free(data);

    m = decode("87 " ALLOC_SYNC "ac 'total_chunks' 05", &data);
    ck_assert(m->async);
    ck_assert_int_eq(m->total_chunks, 5);
    pd_message_free(m);
    free(data);

    m = decode("82 a4 'type' ad 'AllocResponse' ae 'remote_indexes' 92 01 02", &data);
    ck_assert_uint_eq(m->already_sent_indexes.n, 0);
    ck_assert_uint_eq(m->remote_indexes.n, 2);
    pd_message_free(m);
    free(data);
}
END_TEST

/* Integers around each change of form, as numbers of any sign and as bits. */
START_TEST(smallest_integers)
{
    static const struct {
        int64_t v;
        const char *hex; /* as remote_indexes */
    } rows[] = {
        {127, "7f"},
        {128, "cc 80"},
        {255, "cc ff"},
        {256, "cd 01 00"},
        {65536, "ce 00 01 00 00"},
        {INT64_C(1) << 32, "cf 00 00 00 01 00 00 00 00"},
        {INT64_MAX, "cf 7f ff ff ff ff ff ff ff"},
        {-1, "ff"},
        {-32, "e0"},
        {-33, "d0 df"},
        {-129, "d1 ff 7f"},
        {-32769, "d2 ff ff 7f ff"},
        {INT64_MIN, "d3 80 00 00 00 00 00 00 00"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        char hex[HEX_MAX];
        int64_t value = rows[i].v;
        struct pd_vector v = {
            hex,
            {.type = PD_ALLOC_RESPONSE, .async = true, .remote_indexes = {.v = &value, .n = 1}}};

        strcpy(hex, RESPONSE_ASYNC "91 ");
        strcat(hex, rows[i].hex);
        strcat(hex, " " ALREADY_NONE);
        check_encode(&v);
        check_decode(&v);
    }
}
END_TEST

/* Strings, bytes and lists around each change of form come back. */
START_TEST(long_ones_round_trip)
{
    static const size_t counts[] = {0, 1, 31, 32, 255, 256, 65535};

    for (size_t i = 0; i < ARRAY_SIZE(counts); i++) {
        size_t n = counts[i];
        AUTO_FREE char *s = malloc(n + 1);
        AUTO_FREE int64_t *v = calloc(n + 1, sizeof *v);
        struct pd_message sent = {.type = PD_ALLOC_RESPONSE}, *back;
        struct text out = {0};
        const char *why;

        memset(s, 'k', n);
        sent.reason = (struct pd_bytes){s, n};
        sent.tags = sent.remote_indexes = (struct pd_ints){v, n};
        for (size_t j = 0; j < n; j++)
            v[j] = (int64_t)(j * j * j);
        pd_encode(&sent, &out);
        ck_assert_int_eq(pd_decode(out.data, out.len, &back, &why), 0);
        assert_same(back, &sent);
        pd_message_free(back);
        text_fini(&out);
    }
}
END_TEST

START_TEST(free_nothing)
{
    pd_message_free(NULL);
}
END_TEST

static const struct {
    int64_t fmt;
    struct pd_ints shape;
    struct pd_bytes dtype;
    int64_t last;
    uint64_t size, last_size;
} sizes[] = {
    {1, INTEGERS(2, 32, 256, 1024), LIT("bfloat16"), 17, 33554432, 2228224},
    {2, INTEGERS(256, 2, 1024), LIT("half"), 1, 1048576, 524288},
    {3, INTEGERS(256, 4, 8), LIT("float"), 3, 32768, 384},
    {4, INTEGERS(100), LIT("uint8"), 7, 100, 7},
    {6, INTEGERS(1, 61, 256, 576), LIT("fp8_e4m3"), 255, 8994816, 8959680},
    {99, INTEGERS(10, 3), LIT("double"), 2, 240, 48},
    {-1, INTEGERS(10), LIT("float16"), 2, 20, 4},
    /* cannot be told */
    {1, INTEGERS(2, 32), LIT("bfloat16"), 17, 0, 0},
    {1, {.n = 0}, LIT("bfloat16"), 17, 0, 0},
    {0, {.n = 0}, LIT("bfloat16"), 17, 0, 0},
    {4, INTEGERS(100), LIT("bfloat"), 7, 0, 0},
    {4, INTEGERS(100), LIT(""), 7, 0, 0},
    {4, INTEGERS(0), LIT("uint8"), 0, 0, 0},
    {4, INTEGERS(-5), LIT("uint8"), -5, 0, 0},
    {1, INTEGERS(-2, -32, 256, 1024), LIT("half"), 17, 0, 0},
    {4, INTEGERS(INT64_MAX, 2, 2), LIT("uint8"), 1, 0, 4},
    {4, INTEGERS(INT64_MAX), LIT("double"), INT64_MAX, 0, 0},
};

START_TEST(object_sizes)
{
    struct pd_message m = {.type = PD_ALLOC_REQUEST,
                           .fmt = sizes[_i].fmt,
                           .shape = sizes[_i].shape,
                           .dtype = sizes[_i].dtype,
                           .last_chunk_toks = sizes[_i].last};

    ck_assert_uint_eq(pd_object_size(&m, false), sizes[_i].size);
    ck_assert_uint_eq(pd_object_size(&m, true), sizes[_i].last_size);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("pd_proto");

    suite_add_loop(s, "lmcache", TESTS(encodes_the_measured_bytes, decodes_the_measured_bytes),
                   pd_vectors_count);
    suite_add_loop(s, "ours", TESTS(encodes_ours, decodes_ours), pd_own_vectors_count);
    suite_add(s, "forms",
              TESTS(every_type_has_bytes, lengths, names, generations, smallest_integers,
                    long_ones_round_trip, free_nothing));
    suite_add_loop(s, "sizes", TESTS(object_sizes), ARRAY_SIZE(sizes));
    return suite_run(s);
}
