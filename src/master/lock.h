/* lock.h - the locks that keep two mail systems out of one directory. They are Postfix's own files with Postfix's own
 * kind of lock (flock), $queue_directory/pid/master.pid and $data_directory/master.lock, so it and we keep each other
 * out too. */
#pragma once
#include <glib.h>
#include <stdbool.h>
#include <sys/types.h>

/* Takes the lock and writes our process id. The lock lives as long as *ret_fd. False: error, G_IO_ERROR-like code
 * EAGAIN (FAIL_ERROR) when another process has it. */
bool lock_take(const char *path, int *ret_fd, GError **error);
/* Writes the process id of the caller into a lock that is held: after fork(). */
bool lock_write_pid(int fd, GError **error);

/* Who holds the lock: *ret_pid is 0 when nobody does (also when there is no file). False: cannot be told (error). */
bool lock_holder(const char *path, pid_t *ret_pid, GError **error);
