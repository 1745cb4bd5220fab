/* pd_vectors.c - the bytes of PD messages. */
#include "pd_vectors.h"

const struct pd_vector pd_vectors[] = {
    {"82 a4 74 79 70 65 aa 50 72 6f 78 79 4e 6f 74 69 66 a6 72 65 71 5f 69 64 a1 37",
     {.type = PD_PROXY_NOTIF, .req_id = LIT("7")}},
    {"86 " ALLOC_SYNC,
     {.type = PD_ALLOC_REQUEST,
      .keys = STRINGS(KEY_1),
      .fmt = 1,
      .shape = INTEGERS(2, 32, 256, 1024),
      .dtype = LIT("bfloat16"),
      .last_chunk_toks = 17}},
    {"89 " ALLOC_SYNC "a6 72 65 71 5f 69 64 a1 37 ad 69 73 5f 6c 61 73 74 5f 62 61 74 63 68 c3 "
     "ac 74 6f 74 61 6c 5f 63 68 75 6e 6b 73 01",
     {.type = PD_ALLOC_REQUEST,
      .async = true,
      .keys = STRINGS(KEY_1),
      .fmt = 1,
      .shape = INTEGERS(2, 32, 256, 1024),
      .dtype = LIT("bfloat16"),
      .last_chunk_toks = 17,
      .req_id = LIT("7"),
      .is_last_batch = true,
      .total_chunks = 1}},
    {"83 a4 74 79 70 65 ad 41 6c 6c 6f 63 52 65 73 70 6f 6e 73 65 b4 61 6c 72 65 61 64 79 5f 73 65 "
     "6e 74 5f 69 6e 64 65 78 65 73 91 00 ae 72 65 6d 6f 74 65 5f 69 6e 64 65 78 65 73 92 03 cd 01 "
     "2c",
     {.type = PD_ALLOC_RESPONSE,
      .already_sent_indexes = INTEGERS(0),
      .remote_indexes = INTEGERS(3, 300)}},
    {RESPONSE_ASYNC "91 03 " ALREADY_NONE,
     {.type = PD_ALLOC_RESPONSE, .async = true, .remote_indexes = INTEGERS(3)}},
    {RESPONSE_ASYNC "92 ff ff " ALREADY_NONE,
     {.type = PD_ALLOC_RESPONSE, .async = true, .remote_indexes = INTEGERS(-1, -1)}},
    {RESPONSE_ASYNC "90 " ALREADY_NONE, {.type = PD_ALLOC_RESPONSE, .async = true}},
    {"83 a4 74 79 70 65 ab 43 61 6e 63 65 6c 4e 6f 74 69 66 a6 72 65 71 5f 69 64 a1 37 a4 6b 65 79 "
     "73 91 b1 6d 40 31 40 30 40 31 66 40 62 66 6c 6f 61 74 31 36",
     {.type = PD_CANCEL_NOTIF, .req_id = LIT("7"), .keys = STRINGS(KEY_1)}},
    {"82 a4 74 79 70 65 b1 43 61 63 68 65 51 75 65 72 79 52 65 71 75 65 73 74 a4 6b 65 79 73 91 a1 "
     "61",
     {.type = PD_CACHE_QUERY_REQUEST, .keys = STRINGS(LIT("a"))}},
    {"83 a4 74 79 70 65 b2 43 61 63 68 65 51 75 65 72 79 52 65 73 70 6f 6e 73 65 ab 63 61 63 68 65 "
     "64 5f 6b 65 79 73 91 a1 61 ae 63 61 63 68 65 64 5f 69 6e 64 65 78 65 73 91 05",
     {.type = PD_CACHE_QUERY_RESPONSE, .keys = STRINGS(LIT("a")), .remote_indexes = INTEGERS(5)}},
    {"82 a4 74 79 70 65 af 4e 69 78 6c 49 6e 69 74 52 65 71 75 65 73 74 b0 6c 6f 63 61 6c 5f 6d 65 "
     "74 61 5f 62 79 74 65 73 c4 02 01 02",
     {.type = PD_NIXL_INIT_REQUEST, .a = LIT("\1\2")}},
    {"83 a4 74 79 70 65 b0 4e 69 78 6c 49 6e 69 74 52 65 73 70 6f 6e 73 65 b1 72 65 6d 6f 74 65 5f "
     "61 67 65 6e 74 5f 6e 61 6d 65 c4 01 41 b1 72 65 6d 6f 74 65 5f 6d 65 74 61 5f 62 79 74 65 73 "
     "c4 01 03",
     {.type = PD_NIXL_INIT_RESPONSE, .a = LIT("A"), .b = LIT("\3")}},
    {"84 a4 74 79 70 65 b1 4e 69 78 6c 4d 65 6d 52 65 67 52 65 71 75 65 73 74 b1 72 65 6d 6f 74 65 "
     "5f 61 67 65 6e 74 5f 6e 61 6d 65 c4 01 41 a8 6c 6f 63 61 6c 5f 69 64 a5 68 37 33 30 30 b6 6c "
     "6f 63 61 6c 5f 78 66 65 72 5f 64 6c 69 73 74 5f 62 79 74 65 73 c4 01 04",
     {.type = PD_NIXL_MEM_REG_REQUEST, .a = LIT("A"), .b = LIT("h7300"), .c = LIT("\4")}},
    {"82 a4 74 79 70 65 b2 4e 69 78 6c 4d 65 6d 52 65 67 52 65 73 70 6f 6e 73 65 b7 72 65 6d 6f 74 "
     "65 5f 78 66 65 72 5f 64 6c 69 73 74 5f 62 79 74 65 73 c4 01 05",
     {.type = PD_NIXL_MEM_REG_RESPONSE, .a = LIT("\5")}},
    {"81 a4 74 79 70 65 ae 50 32 50 49 6e 69 74 53 69 64 65 4d 73 67",
     {.type = PD_P2P_INIT_SIDE_MSG}},
    {"82 a4 74 79 70 65 b1 'P2PInitSideRetMsg' af 'peer_lookup_url' a3 68 3a 32",
     {.type = PD_P2P_INIT_SIDE_RET_MSG, .a = LIT("h:2")}},
    {"82 a4 74 79 70 65 b3 'PySocketInitRequest' ad 'peer_init_url' a3 68 3a 31",
     {.type = PD_PY_SOCKET_INIT_REQUEST, .a = LIT("h:1")}},
    {"82 a4 74 79 70 65 b4 'PySocketInitResponse' a6 'status' a2 6f 6b",
     {.type = PD_PY_SOCKET_INIT_RESPONSE, .a = LIT("ok")}},
    {"85 a4 'type' b3 'MooncakeInitRequest' a8 'local_id' a1 'l' aa 'session_id' a3 'h:9' "
     "b0 'buffer_base_addr' cf ff ff 7f 00 00 00 10 00 aa 'buffer_len' ce 80 00 00 00",
     {.type = PD_MOONCAKE_INIT_REQUEST,
      .a = LIT("l"),
      .b = LIT("h:9"),
      .x = (int64_t)0xffff7f0000001000,
      .y = 0x80000000}},
    {"84 a4 'type' b4 'MooncakeInitResponse' aa 'session_id' a3 'h:9' "
     "b0 'buffer_base_addr' cf 00 00 7f 00 00 00 10 00 aa 'buffer_len' cd 10 00",
     {.type = PD_MOONCAKE_INIT_RESPONSE, .a = LIT("h:9"), .x = 0x7f0000001000, .y = 4096}},
};

const size_t pd_vectors_count = ARRAY_SIZE(pd_vectors);

const struct pd_vector pd_own_vectors[] = {
    {"87 a4 'type' a9 'L2fsHello' a7 'version' 01 a5 'epoch' cf ff ff ff ff ff ff ff fe "
     "a6 'sender' a2 's1' a4 'rank' 03 a7 'address' c4 02 00 ff a3 'seq' 09",
     {.type = PD_HELLO,
      .version = 1,
      .epoch = -2,
      .sender = LIT("s1"),
      .rank = 3,
      .address = LIT("\0\377"),
      .seq = 9}},
    {"85 a4 'type' ae 'L2fsHelloReply' a7 'version' 01 a5 'epoch' 05 a7 'address' c4 01 07 "
     "a5 'limit' ce 04 00 00 00",
     {.type = PD_HELLO_REPLY, .version = 1, .epoch = 5, .address = LIT("\7"), .limit = 64 * MIB}},
    {"84 a4 'type' ae 'L2fsHelloReply' a7 'version' 01 a5 'epoch' 05 a3 'run' 09",
     {.type = PD_HELLO_REPLY, .version = 1, .epoch = 5, .run = 9}},
    {"86 a4 'type' ae 'L2fsHelloReply' a7 'version' 01 a5 'epoch' 05 a5 'error' 5d "
     "a6 'reason' a2 'no' a3 'seq' cc ff",
     {.type = PD_HELLO_REPLY,
      .version = 1,
      .epoch = 5,
      .error = 93,
      .reason = LIT("no"),
      .seq = 255}},
    {"85 a4 'type' aa 'L2fsCommit' a3 'seq' 02 a8 'alloc_id' 07 a6 'sender' a1 's' "
     "a4 'crcs' 92 ce ff ff ff ff 00",
     {.type = PD_COMMIT,
      .seq = 2,
      .alloc_id = 7,
      .sender = LIT("s"),
      .crcs = INTEGERS(0xffffffff, 0)}},
    {"83 a4 'type' af 'L2fsCommitReply' a3 'seq' 02 a6 'errors' 92 00 05",
     {.type = PD_COMMIT_REPLY, .seq = 2, .errors = INTEGERS(0, 5)}},
    {"85 a4 'type' a8 'L2fsDone' a3 'seq' 03 a6 'req_id' a1 'r' a4 'rank' 00 a6 'sender' a1 's'",
     {.type = PD_DONE, .seq = 3, .req_id = LIT("r"), .sender = LIT("s")}},
    {"85 a4 'type' a8 'L2fsDone' a3 'seq' 03 a6 'req_id' a1 'r' a4 'rank' 00 a3 'run' 09",
     {.type = PD_DONE, .seq = 3, .req_id = LIT("r"), .run = 9}},
    {"84 a4 'type' ad 'L2fsDoneReply' a3 'seq' 03 a5 'error' 02 a6 'reason' a1 'x'",
     {.type = PD_DONE_REPLY, .seq = 3, .error = 2, .reason = LIT("x")}},
    {"de 00 12 " ALLOC_SYNC
     "a6 'req_id' a1 'q' ad 'is_last_batch' c2 ac 'total_chunks' 00 aa 'l2fs_sizes' 91 cd 10 00 "
     "a9 'l2fs_crcs' 91 ce de ad be ef aa 'l2fs_modes' 91 cd 01 a4 a9 'l2fs_uids' 91 cd 03 e8 "
     "a9 'l2fs_gids' 91 64 ab 'l2fs_mtimes' 91 d2 88 ca 6c 00 a8 'l2fs_seq' 01 ab 'l2fs_sender' a1 "
     "'s' aa 'l2fs_epoch' cf 80 00 00 00 00 00 00 00",
     {.type = PD_ALLOC_REQUEST,
      .async = true,
      .keys = STRINGS(KEY_1),
      .fmt = 1,
      .shape = INTEGERS(2, 32, 256, 1024),
      .dtype = LIT("bfloat16"),
      .last_chunk_toks = 17,
      .req_id = LIT("q"),
      .sizes = INTEGERS(4096),
      .crcs = INTEGERS(0xdeadbeef),
      .modes = INTEGERS(0644),
      .uids = INTEGERS(1000),
      .gids = INTEGERS(100),
      .mtimes = INTEGERS(-2000000000),
      .seq = 1,
      .sender = LIT("s"),
      .epoch = INT64_MIN}},
    {"87 a4 'type' ad 'AllocResponse' ae 'remote_indexes' 91 00 " ALREADY_NONE
     " a8 'l2fs_seq' 01 ad 'l2fs_alloc_id' 02 a9 'l2fs_tags' 91 cf ff 00 00 00 00 00 00 01 "
     "ad 'l2fs_lease_ms' cd 75 30",
     {.type = PD_ALLOC_RESPONSE,
      .async = true,
      .remote_indexes = INTEGERS(0),
      .seq = 1,
      .alloc_id = 2,
      .tags = INTEGERS((int64_t)0xff00000000000001),
      .lease_ms = 30000}},
    {"86 a4 'type' ad 'AllocResponse' ae 'remote_indexes' 91 ff " ALREADY_NONE
     " a8 'l2fs_seq' 01 aa 'l2fs_error' 1c ab 'l2fs_reason' a4 'full'",
     {.type = PD_ALLOC_RESPONSE,
      .async = true,
      .remote_indexes = INTEGERS(-1),
      .seq = 1,
      .error = 28,
      .reason = LIT("full")}},
    {"86 a4 'type' ab 'CancelNotif' a6 'req_id' a0 a4 'keys' 90 a8 'l2fs_seq' 01 "
     "ad 'l2fs_alloc_id' 02 ab 'l2fs_sender' a1 's'",
     {.type = PD_CANCEL_NOTIF, .req_id = LIT(""), .seq = 1, .alloc_id = 2, .sender = LIT("s")}},
};
const size_t pd_own_vectors_count = ARRAY_SIZE(pd_own_vectors);

size_t pd_unhex(const char *hex, uint8_t *out, size_t max)
{
    size_t n = 0;

    while (*hex && n < max) {
        if (*hex == ' ') {
            hex++;
        } else if (*hex == '\'') {
            for (hex++; *hex != '\'' && n < max; hex++)
                out[n++] = (uint8_t)*hex;
            hex++;
        } else {
            char pair[3] = {hex[0], hex[1], '\0'};

            out[n++] = (uint8_t)strtoul(pair, NULL, 16);
            hex += 2;
        }
    }
    return n;
}
