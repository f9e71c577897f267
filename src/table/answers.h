/* answers.h - what the servers of socketmap_table(5) and tcp_table(5) are asked, and what their answers mean. No I/O
 * here. */
#pragma once
#include "table/table.h"

#define SOCKETMAP_TEXT_MAX 100000                   /* octets of a reply in its netstring */
#define SOCKETMAP_MAX (SOCKETMAP_TEXT_MAX + 7 + 10) /* with it; zeros before the length are tolerated, some */
#define TCP_REPLY_MAX 4096                          /* octets of a reply, with its line end */

/* As RemoteFrame: the length of the reply at data, 0 while it goes on, -1 for none (error). */
gssize socketmap_frame(const char *data, size_t len, GError **error);
gssize tcp_frame(const char *data, size_t len, GError **error);

/* The caller frees. */
GString *socketmap_request(const char *map, const char *key);
GString *tcp_request(const char *key);

/* reply: as framed above. ret_value is set when FOUND; FAILED: error. */
TableResult socketmap_answer(const char *reply, size_t len, char **ret_value, GError **error);
TableResult tcp_answer(const char *reply, size_t len, char **ret_value, GError **error);
