/* db_pipe.h - a connection that a database's library reads, with a pair of sockets put in between: the library's
 * descriptor becomes one end, and what the server says gets to it in small portions, and only while somebody waits for
 * it. A library reads a message for as long as there is something to read; a server that is fast and hostile would have
 * it take in a gigabyte before anybody else sees how much it was. TLS is the library's, and goes through as it is.
 *
 * One thread at a time. Nobody reads or writes but in db_pipe_wait(). */
#pragma once
#include <glib.h>
#include <stdbool.h>
#include <sys/types.h>

typedef struct {
    int own;             /* our end; -1: there is no pipe */
    int server;          /* the connection */
    ino_t inode;         /* of the library's end */
    bool has_ended;      /* the server said all, which the library knows */
    size_t received;     /* octets, since db_pipe_allow() */
    size_t allowed;      /* octets */
    GByteArray *to_send; /* what the server has not yet taken */
} DbPipe;

#define DB_PIPE_NONE ((DbPipe){.own = -1, .server = -1})

/* Between fd, which is connected, and its server. True as well where the pipe is there already; one to a descriptor
 * that the library closed is ended. False: errno. */
bool db_pipe_insert(DbPipe *pipe, int fd);
/* From now on the server may say so much. */
void db_pipe_allow(DbPipe *pipe, size_t octets);
/* Waits until the library's descriptor fd has something to read (POLLIN), or takes something (POLLOUT). False: the
 * deadline (clock_ms()) has passed, or the server says more than it may. */
bool db_pipe_wait(DbPipe *pipe, int fd, short events, gint64 deadline);
bool db_pipe_is_flooded(const DbPipe *pipe);
/* After the library has closed its end: what it said last is sent if that is possible without waiting. */
void db_pipe_end(DbPipe *pipe);
