/* test_pending.c - signals that wait for a process: it is stopped, so it takes none. */
#include "suite.h"

#include <signal.h>
#include <sys/wait.h>

#include "pending.h"

static void handler(int sig)
{
    (void)sig;
}

/* A process that treats SIGUSR1 as told, and is stopped; 0 handles, 1 blocks, 2 ignores it. */
static pid_t stopped(int how)
{
    pid_t pid = fork();
    int status;

    if (pid == 0) {
        sigset_t set;

        sigemptyset(&set);
        sigaddset(&set, SIGUSR1);
        signal(SIGUSR1, how == 2 ? SIG_IGN : handler);
        sigprocmask(how == 1 ? SIG_BLOCK : SIG_UNBLOCK, &set, NULL);
        raise(SIGSTOP);
        _exit(0);
    }
    ck_assert_int_gt(pid, 0);
    ck_assert_int_eq(waitpid(pid, &status, WUNTRACED), pid);
    ck_assert(WIFSTOPPED(status));
    return pid;
}

static void end(pid_t pid)
{
    kill(pid, SIGKILL);
    ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
}

START_TEST(what_is_handled)
{
    pid_t pid = stopped(0);

    ck_assert(!pending_signal(pid));
    ck_assert_int_eq(kill(pid, SIGUSR1), 0);
    ck_assert(pending_signal(pid));
    end(pid);
}
END_TEST

START_TEST(what_is_blocked_or_ignored)
{
    for (int how = 1; how <= 2; how++) {
        pid_t pid = stopped(how);

        ck_assert_int_eq(kill(pid, SIGUSR1), 0);
        ck_assert(!pending_signal(pid));
        end(pid);
    }
}
END_TEST

START_TEST(a_process_that_is_gone)
{
    pid_t pid = stopped(0);

    end(pid);
    ck_assert(!pending_signal(pid));
}
END_TEST

int main(void)
{
    Suite *s = suite_create("pending");

    suite_add(s, "pending",
              TESTS(what_is_handled, what_is_blocked_or_ignored, a_process_that_is_gone));
    return suite_run(s);
}
