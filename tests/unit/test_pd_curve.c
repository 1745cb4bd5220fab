/* test_pd_curve.c - key files, and who is let in with which key. */
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "ctl_fixture.h"
#include "pd_keys.h"

#define COUNTED(member) offsetof(struct pd_ctl_counts, member)
#define Z85_SIZE 41

struct pair {
    char public[Z85_SIZE], secret[Z85_SIZE];
};

static struct pair receiver, sender, stranger;
static char dir[] = "/tmp/l2fs-test-keys-XXXXXX";
static char paths[16][128];
static size_t npaths;

/* The path of a new file. */
static const char *file(const char *text, mode_t mode)
{
    char *path = paths[npaths];
    int fd;

    snprintf(path, sizeof paths[0], "%s/%zu", dir, npaths++);
    fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    ck_assert_int_eq(fchmod(fd, mode), 0);
    close(fd);
    return path;
}

static void setup_keys(void)
{
    strcpy(dir + strlen(dir) - 6, "XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    npaths = 0;
    ck_assert_int_eq(zmq_curve_keypair(receiver.public, receiver.secret), 0);
    ck_assert_int_eq(zmq_curve_keypair(sender.public, sender.secret), 0);
    ck_assert_int_eq(zmq_curve_keypair(stranger.public, stranger.secret), 0);
}

static void teardown_keys(void)
{
    for (size_t i = 0; i < npaths; i++)
        unlink(paths[i]);
    ck_assert_int_eq(rmdir(dir), 0);
}

static void start(const struct pd_curve *server, const struct pd_curve *client)
{
    fixture_start(server, client);
    ck_assert_int_eq(server_start("127.0.0.1", 0), 0);
}

/* A server with the sender's key listed, or without a list. */
static struct pd_curve server_keys(bool list)
{
    struct pd_curve c = {.server = true, .server_key = file(receiver.secret, 0600)};

    if (list)
        c.clients = file(sender.public, 0644);
    return c;
}

static struct pd_curve client_keys(const struct pair *server, const struct pair *own)
{
    struct pd_curve c = {.server_key = file(server->public, 0644)};

    if (own)
        c.client_key = file(own->secret, 0600);
    return c;
}

static void assert_served(void)
{
    ck_assert_int_eq(client_start("127.0.0.1", echo.port), 0);
    wait_for(&seen.ups, 1);
    ck_assert_int_eq(client_send("secret"), 0);
    wait_for(&seen.replies, 1);
    ck_assert_str_eq(seen.last, "secret");
}

/* --- who is let in --- */

START_TEST(the_right_keys)
{
    struct pd_curve server = server_keys(true), client = client_keys(&receiver, &sender);

    start(&server, &client);
    assert_served();
    ck_assert_uint_eq(counts_of(server_ctl).refused_keys, 0);
    fixture_stop();
}
END_TEST

START_TEST(without_a_list_every_client_with_the_servers_key)
{
    struct pd_curve server = server_keys(false), client = client_keys(&receiver, NULL);

    start(&server, &client);
    assert_served();
    fixture_stop();
}
END_TEST

/* The server goes on serving the right one. */
static void assert_refused(const struct pd_curve *client, const char *there, const char *here)
{
    struct pd_curve server = server_keys(true), good = client_keys(&receiver, &sender);

    start(&server, client);
    ck_assert_int_eq(client_start("127.0.0.1", echo.port), 0);
    wait_count(server_ctl, COUNTED(refused_keys), 1);
    wait_log(there);
    wait_log(here);
    ck_assert_int_eq(client_send("let me in"), -EAGAIN);
    ck_assert_uint_eq(now(&seen.ups), 0);
    ck_assert_uint_eq(log_lines(there), 1);
    ck_assert_uint_eq(log_lines(here), 1);
    client_stop();
    loop_stop(loop);
    pd_ctl_destroy(client_ctl);
    ck_assert_int_eq(pd_ctl_create(loop, &good, &client_ctl), 0);
    ck_assert_int_eq(loop_start(loop), 0);
    assert_served();
    ck_assert_uint_eq(now(&seen.requests), 1);
    fixture_stop();
}

START_TEST(plain_is_refused)
{
    assert_refused(NULL, "which comes without keys", "wants keys (set");
}
END_TEST

START_TEST(a_wrong_server_key_is_refused)
{
    struct pd_curve client = client_keys(&stranger, &sender);

    assert_refused(&client, "which has a wrong key", "whose public key is curve_server_key here");
}
END_TEST

START_TEST(a_client_that_is_not_listed_is_refused)
{
    struct pd_curve client = client_keys(&receiver, &stranger);

    assert_refused(&client, stranger.public, "refuses our key");
}
END_TEST

START_TEST(plain_req_and_dealer_are_refused)
{
    struct pd_curve server = server_keys(true), client = client_keys(&receiver, &sender);

    start(&server, &client);
    for (uint64_t i = 1; i <= 20; i++) {
        void *s = peer(i % 2 ? ZMQ_REQ : ZMQ_DEALER, echo.port);

        peer_send(s, "let me in", 0);
        wait_count(server_ctl, COUNTED(refused_keys), i);
        zmq_close(s);
    }
    assert_served();
    ck_assert_uint_eq(now(&seen.requests), 1);
    ck_assert_uint_eq(log_lines("comes without keys"), 1);
    fixture_stop();
}
END_TEST

START_TEST(keys_here_and_none_there)
{
    struct pd_curve client = client_keys(&receiver, &sender);

    start(NULL, &client);
    ck_assert_int_eq(client_start("127.0.0.1", echo.port), 0);
    wait_log("needs a curve_server_key of its own");
    ck_assert_uint_eq(now(&seen.ups), 0);
    assert_answered(echo.port);
    fixture_stop();
}
END_TEST

/* --- files --- */

static struct pd_key decoded(const char *text)
{
    struct pd_key key;

    ck_assert_ptr_nonnull(zmq_z85_decode(key.bytes, text));
    return key;
}

#define assert_same_key(a, text)                                                                   \
    do {                                                                                           \
        struct pd_key want_ = decoded(text);                                                       \
                                                                                                   \
        ck_assert_mem_eq((a).bytes, want_.bytes, sizeof want_.bytes);                              \
    } while (0)

START_TEST(files_as_people_and_czmq_write_them)
{
    char text[1024];
    struct pd_key key;

    snprintf(text, sizeof text, "# the receiver\n\n  %s \t# of decode-1\r\n", receiver.public);
    ck_assert_int_eq(pd_key_load_public(file(text, 0644), &key), 0);
    assert_same_key(key, receiver.public);
    snprintf(text, sizeof text,
             "#   ZeroMQ CURVE **Secret** Certificate\n\nmetadata\n    name = \"decode-1\"\ncurve\n"
             "    public-key = \"%s\"\n    secret-key = \"%s\"\n",
             receiver.public, receiver.secret);
    ck_assert_int_eq(pd_key_load_secret(file(text, 0600), &key), 0);
    assert_same_key(key, receiver.secret);
    ck_assert_int_eq(pd_key_load_public(file(text, 0600), &key), 0);
    assert_same_key(key, receiver.public);
    ck_assert_int_eq(pd_key_load_secret(file(receiver.secret, 0400), &key), 0);
    assert_same_key(key, receiver.secret);
}
END_TEST

START_TEST(lists_of_keys)
{
    char text[1024];
    AUTO_FREE struct pd_key *keys = NULL;
    size_t n;

    snprintf(text, sizeof text, "# senders\n%s # prefill-1\npublic-key = \"%s\" # prefill-2\n\n",
             sender.public, stranger.public);
    ck_assert_int_eq(pd_key_load_list(file(text, 0644), &keys, &n), 0);
    ck_assert_uint_eq(n, 2);
    assert_same_key(keys[0], sender.public);
    assert_same_key(keys[1], stranger.public);
    ck_assert_int_eq(pd_key_load_list(file("# none\n", 0644), &keys, &n), -EINVAL);
}
END_TEST

/* '#' is a digit too, though never the first one of a key. */
START_TEST(a_key_may_hold_the_sign_of_a_comment)
{
    static const char text[] = "0####0####0####0####0####0####0####0####";
    struct pd_key key;

    ck_assert_int_eq(pd_key_load_public(file(text, 0644), &key), 0);
    assert_same_key(key, text);
}
END_TEST

START_TEST(files_that_are_refused)
{
    static const char *const bad[] = {"",
                                      "# nothing\n",
                                      "too short\n",
                                      "public-key = \"short\"\n",
                                      "secret-key \"",
                                      "########################################"};
    char two[256];
    struct pd_key key;

    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        ck_assert_int_eq(pd_key_load_public(file(bad[i], 0600), &key), -EINVAL);
    snprintf(two, sizeof two, "%s\n%s\n", sender.public, stranger.public);
    ck_assert_int_eq(pd_key_load_public(file(two, 0600), &key), -EINVAL);
    ck_assert_int_eq(pd_key_load_public("/nonexistent/key", &key), -ENOENT);
    ck_assert_int_eq(pd_key_load_public("/tmp", &key), -EINVAL);
    ck_assert_int_eq(pd_key_load_secret(file(sender.secret, 0640), &key), -EACCES);
    ck_assert_int_eq(pd_key_load_secret(file(sender.secret, 0604), &key), -EACCES);
    ck_assert_int_eq(pd_key_load_secret(file(sender.secret, 0620), &key), -EACCES);
}
END_TEST

START_TEST(keys_that_do_not_go_together)
{
    struct pd_curve only_list = {.server = true, .clients = file(sender.public, 0644)};
    struct pd_curve only_client = {.client_key = file(sender.secret, 0600)};
    struct pd_curve missing = {.server = true, .server_key = "/nonexistent/key"};
    struct loop *l;
    struct pd_ctl *c;

    ck_assert_int_eq(loop_create("test", &l), 0);
    ck_assert_int_eq(pd_ctl_create(l, &only_list, &c), -EINVAL);
    ck_assert_int_eq(pd_ctl_create(l, &only_client, &c), -EINVAL);
    ck_assert_int_eq(pd_ctl_create(l, &missing, &c), -ENOENT);
    loop_destroy(l);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("pd_curve");
    TCase *tc = tcase_create("keys");

    tcase_add_checked_fixture(tc, setup_keys, teardown_keys);
    tcase_add_test(tc, the_right_keys);
    tcase_add_test(tc, without_a_list_every_client_with_the_servers_key);
    tcase_add_test(tc, plain_is_refused);
    tcase_add_test(tc, a_wrong_server_key_is_refused);
    tcase_add_test(tc, a_client_that_is_not_listed_is_refused);
    tcase_add_test(tc, plain_req_and_dealer_are_refused);
    tcase_add_test(tc, keys_here_and_none_there);
    tcase_add_test(tc, files_as_people_and_czmq_write_them);
    tcase_add_test(tc, lists_of_keys);
    tcase_add_test(tc, a_key_may_hold_the_sign_of_a_comment);
    tcase_add_test(tc, files_that_are_refused);
    tcase_add_test(tc, keys_that_do_not_go_together);
    suite_add_tcase(s, tc);
    return suite_run(s);
}
