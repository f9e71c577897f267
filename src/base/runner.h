/* runner.h - starts one program again and again, from a process of its own: no process with threads forks, and what was
 * root stays so in a small single-threaded process that reads no mail.
 *
 * Program, user and limits are fixed when the runner starts; who asks later gives arguments and input. When a run ends
 * for whatever reason, nothing of it is left: its process group is killed, and whoever left the group is killed too
 * (the runner is their reaper). The runner ends with the process that started it, and so do its programs. A runner that
 * is killed takes the programs along, but not what these had started; private copies that it left go with the start of the
 * next one in the same directory for the same user. */
#pragma once
#include <glib.h>
#include <stdbool.h>
#include <sys/types.h>

typedef struct Runner Runner;

typedef struct {
    const char *program;   /* absolute path */
    const char *user;      /* whose it runs; NULL: ours */
    const char *group;     /* with user: its group; NULL: the user's own and all that it is in */
    const char *directory; /* working directory; private copies are made there too */
    guint64 memory_limit;  /* octets of address space (RLIMIT_AS); 0: none */
    guint cpu_limit;       /* seconds of processor time; 0: none */
} RunnerProgram;

/* Before the first thread. NULL: error (no such user or program, not permitted to be that user). */
Runner *runner_start(const RunnerProgram *program, GError **error);
void runner_stop(Runner *runner); /* kills what runs; NULL is fine */

/* Becomes readable when the runner is gone, and all that asks it from then on fails. The runner's. */
int runner_descriptor(const Runner *runner);

typedef struct {
    char **argv;               /* NULL-terminated */
    char **environment;        /* NULL-terminated "name=value"; all that the program gets */
    int input, output, errors; /* its standard descriptors; the caller's */
    /* Non-NULL: input is copied into a file that belongs to the program's user, alone in a directory of its own, which
     * is the working directory; RUNNER_FILE in argv stands for its path, once in an argument at most. */
    bool with_file;
} RunnerRequest;

#define RUNNER_FILE "\001"

typedef struct {
    enum {
        RUN_EXITED, /* value: its status */
        RUN_KILLED, /* value: the signal */
        RUN_FAILED, /* it could not be started: value is an errno */
    } kind;
    int value;
} RunnerResult;

/* Any thread. Returns a descriptor that becomes readable when the program has ended; closing it before kills the
 * program. -1: error, also when the runner is so busy that it takes no request until the deadline (clock_ms()). */
int runner_begin(Runner *runner, const RunnerRequest *request, gint64 deadline, GError **error);
/* What came of it; closes run. ret_file: with_file: the file, to read (caller closes); -1 when there is none or it is
 * no regular file any more. False: the runner is gone. */
bool runner_finish(int run, RunnerResult *ret, int *ret_file, GError **error);
