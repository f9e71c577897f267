/* content.h - a message's content in canonical lines, on its way: in memory while small, then in an unnamed file. One
 * owner, no locks. */
#pragma once
#include "base/account.h"
#include <glib.h>
#include <stdbool.h>
#include <sys/types.h>

#define CONTENT_IN_MEMORY_MAX (256 * 1024) /* octets; what is larger goes to a file */

typedef struct Content Content;

/* directory: where an unnamed file may be made (O_TMPFILE). account is charged for what lies in memory; when it is full
 * the rest goes to the file, in pieces of 8 kB or more. Both outlive the content. */
Content *content_new(const char *directory, Account *account);
/* Content that lies in a file: octets 0 to len, lines that end in LF; only to be replayed. fd becomes the content's. */
Content *content_of_file(int fd, off_t len);
void content_free(Content *content); /* NULL is fine */

/* A failure is remembered: everything after it is dropped, and content_failed() says why (an errno; 0: none). */
void content_add(Content *content, const char *data, size_t len, bool ends_line);
int content_failed(const Content *content);

/* Hands all of it, in order, to take(): pieces as they were added, in other portions. False as soon as take() says so,
 * or when the file cannot be read (content_failed() then tells). */
typedef bool (*ContentTake)(void *user, const char *data, size_t len, bool ends_line);
bool content_replay(Content *content, ContentTake take, void *user);
/* The same from octet *at on, which follows what was taken: after take() refused a piece the next call begins with it.
 */
bool content_replay_from(Content *content, guint64 *at, ContentTake take, void *user);
