/* listen.h - the endpoints of master.cf lines, bound and listening. */
#pragma once
#include "config/master_cf.h"
#include "master/owner.h"
#include "master/programs.h"

typedef struct {
    int references;
    GArray *fds;   /* int; non-blocking, close-on-exec */
    char *path;    /* of a unix socket, relative to the working directory ($queue_directory); removed with it */
    bool confined; /* loopback or unix only: no strangers, so never `stress` */
} Listeners;

/* Binds. The working directory is $queue_directory. unix sockets are made with the owner's rights, mode 0666: the
 * directory decides who may connect. What an earlier run left under the name is removed first (we hold the master
 * lock). patience_ms: how long to try again while a port is in use (by processes of an earlier run that are about to
 * end). NULL: error, as Postfix's "bind ADDRESS port PORT: REASON". */
Listeners *listeners_open(const Service *line, const Program *program, const Config *config, const Owner *owner,
                          int patience_ms, GError **error);
Listeners *listeners_ref(Listeners *listeners);
void listeners_unref(Listeners *listeners); /* NULL is fine */

/* The addresses to bind for one inet line, as numeric text without brackets; "0.0.0.0" and "::" stand for all. NULL:
 * error. */
GPtrArray *listen_addresses(const Service *line, const Config *config, GError **error);
bool listen_is_loopback(const char *address);
