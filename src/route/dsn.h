/* dsn.h - enhanced status codes (RFC 3463) at the start of texts that people write into tables: "5.7.1 go away". */
#pragma once
#include <stddef.h>

/* The length of the status code that text begins with, 0 for none. A blank or the end of the text follows it. */
size_t dsn_length(const char *text);
