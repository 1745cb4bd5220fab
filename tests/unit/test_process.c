/* test_process.c - signals that wait for a process, which is stopped and so takes none; and how one ended. */
#include "suite.h"

#include <signal.h>
#include <sys/wait.h>

#include "process.h"

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

    ck_assert(!process_has_signal(pid));
    ck_assert_int_eq(kill(pid, SIGUSR1), 0);
    ck_assert(process_has_signal(pid));
    end(pid);
}
END_TEST

START_TEST(what_is_blocked_or_ignored)
{
    for (int how = 1; how <= 2; how++) {
        pid_t pid = stopped(how);

        ck_assert_int_eq(kill(pid, SIGUSR1), 0);
        ck_assert(!process_has_signal(pid));
        end(pid);
    }
}
END_TEST

START_TEST(a_process_that_is_gone)
{
    pid_t pid = stopped(0);

    end(pid);
    ck_assert(!process_has_signal(pid));
}
END_TEST

/* Ended, and still to be waited for: as /proc shows it while its files are closed. */
static pid_t ended(int sig)
{
    pid_t pid = stopped(0);
    siginfo_t info;

    kill(pid, sig);
    kill(pid, SIGCONT);
    ck_assert_int_eq(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
    return pid;
}

START_TEST(who_was_killed)
{
    pid_t killed = ended(SIGKILL), ended_itself = ended(SIGUSR1), alive = stopped(0);

    ck_assert(process_was_killed(killed));
    ck_assert(!process_was_killed(ended_itself));
    ck_assert(!process_was_killed(alive));
    ck_assert(!process_was_killed(getpid()));
    end(killed);
    end(ended_itself);
    end(alive);
    ck_assert(!process_was_killed(killed));
}
END_TEST

int main(void)
{
    Suite *s = suite_create("process");

    suite_add(
        s, "process",
        TESTS(what_is_handled, what_is_blocked_or_ignored, a_process_that_is_gone, who_was_killed));
    return suite_run(s);
}
