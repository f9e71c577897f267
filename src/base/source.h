/* source.h - files that are read again and again while mail runs (lookup tables), also by a process that may not open
 * them any more.
 *
 * Until source_seal() files are looked at and opened by their paths, and a service process tells the master each of
 * these paths, over a socket that is there for nothing else. Afterwards the paths mean nothing to it (it is another
 * user, under another root, or forbidden to open files): it asks the master, which looks at the file, or opens it for
 * reading and hands the descriptor over. The list of paths is closed by source_seal(), before the first octet of a
 * stranger is read: a process that was taken over gets what its tables are and nothing else. In a process without such
 * a socket nothing ever changes.
 *
 * An answer is waited for ANSWER_MS at most; then nobody asks for a while. Any thread may call these. */
#pragma once
#include <glib.h>
#include <stdbool.h>
#include <sys/stat.h>

/* As stat(2). False: errno; EPERM: the path is not in the list; ETIMEDOUT: no answer. */
bool source_stat(const char *path, struct stat *ret_status);
/* For reading, close-on-exec. Of the master only regular files come. -1: errno, as above. */
int source_open(const char *path);

/* Looking for changes is one thread's work at a time, so that a slow answer holds up one of them only. False: another
 * one is at it. */
bool source_begin_look(void);
void source_end_look(void);

/* True: paths mean nothing any more, and the master is asked. */
bool source_is_sealed(void);

/* ---- For a service process (base/service.c) ---- */

void source_connect(int socket); /* SEQPACKET to the master; taken over */
void source_seal(void);          /* before the first thread */

/* ---- The master's half ---- */

typedef struct SourceServer SourceServer;
SourceServer *source_server_new(int socket, const char *name); /* socket is taken over; name: whose, in log lines */
void source_server_free(SourceServer *server);                 /* NULL is fine */
int source_server_descriptor(const SourceServer *server);      /* to poll for input; -1: the line is closed */
/* Takes in and answers what is there; does not wait for the other side, and opens nothing that could make it wait. Who
 * breaks the rules, or asks too often, loses the line, which is logged. */
void source_server_serve(SourceServer *server);
