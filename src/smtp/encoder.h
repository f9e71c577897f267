/* encoder.h - canonical lines into wire form: the one place that writes CRLF, stuffed dots and the final dot (RFC 5321 4.5.2). No I/O. */
#pragma once
#include <glib.h>
#include <stdbool.h>

typedef struct {
    bool in_line;
} Encoder;

/* Appends a piece of a line to out. Zero-initialise the encoder. */
void encoder_add(Encoder *encoder, GString *out, const char *data, size_t len, bool ends_line);
/* Ends an open line if there is one, and appends the final dot's line. */
void encoder_finish(Encoder *encoder, GString *out);
