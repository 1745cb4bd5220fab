/* keygen.c - l2fs-keygen: makes the CURVE key of one node.
 *
 * Two files: FILE with the secret key, for that node alone, and FILE.pub, for the others.
 */
#include <fcntl.h>
#include <stdio.h>
#include <zmq.h>

#include "base.h"

#define Z85_SIZE 41

static void usage(FILE *to)
{
    fputs("usage: l2fs-keygen FILE\n"
          "Makes a key for the control messages of the pd adapter:\n"
          "  FILE      the secret key, for this node alone: curve_server_key of a receiver,\n"
          "            curve_client_key of a sender\n"
          "  FILE.pub  the public key: curve_server_key of the senders to a receiver; of a sender, "
          "a\n"
          "            line for the file curve_clients of its receivers\n"
          "A file that is there is left alone.\n",
          to);
}

static int write_file(const char *path, mode_t mode, const char *text)
{
    AUTO_CLOSE int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    size_t len = strlen(text);

    if (fd >= 0 && write(fd, text, len) == (ssize_t)len && !fsync(fd))
        return 0;
    fprintf(stderr, "l2fs-keygen: cannot write %s: %s\n", path, strerror(errno));
    if (fd >= 0)
        unlink(path);
    return -1;
}

int main(int argc, char **argv)
{
    char public[Z85_SIZE], secret[Z85_SIZE], text[256];
    AUTO_FREE char *public_path = NULL;

    if (argc == 2 && (!strcmp(argv[1], "-h") || !strcmp(argv[1], "--help"))) {
        usage(stdout);
        return EXIT_SUCCESS;
    }
    if (argc != 2 || argv[1][0] == '-' || argv[1][0] == '\0') {
        usage(stderr);
        return 2;
    }
    if (asprintf(&public_path, "%s.pub", argv[1]) < 0)
        return EXIT_FAILURE;
    if (zmq_curve_keypair(public, secret)) {
        fprintf(stderr, "l2fs-keygen: this libzmq has no CURVE: %s\n", zmq_strerror(zmq_errno()));
        return EXIT_FAILURE;
    }
    snprintf(text, sizeof text,
             "# secret: keep it on this node\nmetadata\ncurve\n    public-key = \"%s\"\n"
             "    secret-key = \"%s\"\n",
             public, secret);
    if (write_file(argv[1], 0600, text))
        return EXIT_FAILURE;
    explicit_bzero(text, sizeof text);
    explicit_bzero(secret, sizeof secret);
    snprintf(text, sizeof text, "%s\n", public);
    if (write_file(public_path, 0644, text)) {
        unlink(argv[1]);
        return EXIT_FAILURE;
    }
    printf("%s: secret, for this node\n%s: public, for the others: %s", argv[1], public_path, text);
    return EXIT_SUCCESS;
}
