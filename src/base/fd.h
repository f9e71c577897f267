/* fd.h - file descriptors: ownership by scope, whole writes, passing between processes. */
#pragma once
#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* An int that closes itself at the end of its scope. -1 is none; errno survives. */
#define auto_fd __attribute__((cleanup(fd_clear))) int
void fd_clear(int *fd); /* closes *fd unless -1, sets it to -1 */
int fd_steal(int *fd);  /* the value; *fd becomes -1 */

/* Write or read exactly len octets, over EINTR and short counts. False: errno tells why (read: 0 at early end). */
bool fd_write_all(int fd, const void *data, size_t len);
bool fd_pread_all(int fd, void *data, size_t len, off_t offset);

bool fd_set_nonblock(int fd, bool nonblock);
bool fd_set_cloexec(int fd, bool cloexec);

/* Reads a whole small file; at most max octets, else EFBIG. NUL-terminated; the caller frees. NULL: error is set. */
char *fd_read_file(const char *path, size_t max, size_t *ret_len, GError **error);

/* One message with up to FD_PASS_MAX descriptors over a SEQPACKET or DGRAM unix socket. The sender keeps its own.
 * fd_receive: returns the length, 0 at end of input, -1 with errno; received descriptors are close-on-exec and belong to the
 * caller; *ret_count says how many came. A message longer than size, or with more descriptors, fails with EMSGSIZE. */
#define FD_PASS_MAX 64
bool fd_send(int socket, const void *data, size_t len, const int *fds, size_t count);
ssize_t fd_receive(int socket, void *data, size_t size, int *fds, size_t max_fds, size_t *ret_count);
