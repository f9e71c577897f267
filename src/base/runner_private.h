/* runner_private.h - between the two halves of runner.h. */
#pragma once
#include "base/runner.h"

#define RUNNER_FILE_NAME "message"

typedef struct {
    char *program, *directory;
    bool change_user;
    uid_t uid;
    gid_t gid;
    gid_t *groups;
    int group_count;
    guint64 memory_limit;
    guint cpu_limit;
} RunnerPlan;

/* A request travels as one packet with the descriptors: run (a stream socket's other end), strings, input, output,
 * errors. strings: a memfd with argv and environment, each string with its NUL. */
typedef struct {
    guint32 arguments, variables;
    bool with_file;
} RunnerPacket;
enum { RUNNER_RUN, RUNNER_STRINGS, RUNNER_INPUT, RUNNER_OUTPUT, RUNNER_ERRORS, RUNNER_FDS };

/* The runner's process: serves requests from socket until its other end is closed. Never returns. */
G_NORETURN void runner_serve(const RunnerPlan *plan, int socket);

/* runner_child.c: in the child of a fork. Never returns; what fails before the program runs goes to report, as an
 * errno. */
typedef struct {
    char **argv, **environment;
    int input, output, errors;
    int directory; /* to change to */
    int report;
    pid_t runner; /* dies with it */
} RunnerStart;
G_NORETURN void runner_become(const RunnerPlan *plan, const RunnerStart *start);

/* runner_copy.c: private copies. Each is locked (flock) by the runner that made it: what a killed one left is known by
 * that, and swept away by the next to start. The new directory, with the file in it: both the program's user's. -1: errno. */
int runner_copy_make(const RunnerPlan *plan, int input, char **ret_path);
/* The file as it is now, if it is regular; else -1. */
int runner_copy_open(int directory);
/* Removes the directory with all that is in it. */
void runner_copy_remove(const char *path, int directory);
void runner_copy_sweep(const RunnerPlan *plan);
