/* encoder.c - lines into wire form. */
#include "smtp/encoder.h"

void encoder_add(Encoder *encoder, GString *out, const char *data, size_t len, bool ends_line)
{
    if (!encoder->in_line && len > 0 && data[0] == '.')
        g_string_append_c(out, '.');
    g_string_append_len(out, data, (gssize)len);
    if (len > 0)
        encoder->in_line = true;
    if (ends_line) {
        g_string_append_len(out, "\r\n", 2);
        encoder->in_line = false;
    }
}

void encoder_finish(Encoder *encoder, GString *out)
{
    if (encoder->in_line)
        g_string_append_len(out, "\r\n", 2);
    encoder->in_line = false;
    g_string_append_len(out, ".\r\n", 3);
}
