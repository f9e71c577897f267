/* decode(any) -> encode -> decode gives the same lines and exactly one end, for every policy and however the input is
 * cut. The first octet chooses policy, dots, what becomes of malformed ones, and portions. */
#include "smtp/decoder.h"
#include "smtp/encoder.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Lines with '\n' behind each; the number of ends of data, which also end the decoding. An open line is ended. */
static GString *decode(const char *in, size_t len, size_t portion, const Decoder *how, size_t *ret_used, bool *ret_end)
{
    GString *out = g_string_new(NULL);
    Decoder decoder;
    size_t at = 0, limit = MIN(portion, len);

    decoder_init(&decoder, how->policy, how->dots);
    decoder.keep_malformed_dot = how->keep_malformed_dot;
    *ret_end = false;
    while (!*ret_end) {
        size_t used, piece_len = 0;
        const char *piece = NULL;
        bool ends_line = false;

        DecoderEvent event = decoder_next(&decoder, in + at, limit - at, &used, &piece, &piece_len, &ends_line);
        if (used > limit - at)
            abort();
        at += used;
        if (event == DECODER_PIECE) {
            if (memchr(piece, '\r', piece_len) || memchr(piece, '\n', piece_len))
                abort();
            g_string_append_len(out, piece, (gssize)piece_len);
            if (ends_line)
                g_string_append_c(out, '\n');
        } else if (event == DECODER_END) {
            *ret_end = true;
        } else {
            if (at != limit)
                abort();
            if (limit == len)
                break;
            limit = MIN(limit + portion, len);
        }
    }
    *ret_used = at;
    if (!*ret_end && out->len > 0 && out->str[out->len - 1] != '\n')
        g_string_append_c(out, '\n');
    return out;
}

static void encode(const GString *lines, GString *wire)
{
    Encoder encoder = {0};
    const char *line = lines->str, *end = lines->str + lines->len;

    for (const char *lf; line < end && (lf = memchr(line, '\n', (size_t)(end - line))); line = lf + 1)
        encoder_add(&encoder, wire, line, (size_t)(lf - line), true);
    encoder_finish(&encoder, wire);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t used, other_used, again_used;
    bool end, other_end, again_end;

    if (size == 0)
        return 0;
    Decoder how = {.policy = data[0] & 3, .dots = data[0] & 4, .keep_malformed_dot = data[0] & 8};
    size_t portion = (data[0] >> 4) + 1u;
    const char *in = (const char *)data + 1;
    size--;

    g_autoptr(GString) whole = decode(in, size, MAX(size, 1), &how, &used, &end);
    g_autoptr(GString) parts = decode(in, size, portion, &how, &other_used, &other_end);
    if (end != other_end || used != other_used || !g_string_equal(whole, parts))
        abort();
    if (end && how.policy != BARE_NEWLINE_NO &&
        (used < 3 || memcmp(in + used - 3, ".\r\n", 3) != 0 ||
         (used > 3 && (used < 5 || memcmp(in + used - 5, "\r\n", 2) != 0))))
        abort();
    g_autoptr(GString) wire = g_string_new(NULL);
    encode(whole, wire);
    for (size_t i = 0; i < wire->len; i++) /* no line end but CRLF, no end of data but the last line */
        if ((wire->str[i] == '\r') != (wire->str[i + 1] == '\n') ||
            (i + 5 < wire->len && memcmp(wire->str + i, "\r\n.\r\n", 5) == 0))
            abort();
    for (BareNewline reader = BARE_NEWLINE_NO; reader <= BARE_NEWLINE_REJECT; reader++) {
        g_autoptr(GString) again =
            decode(wire->str, wire->len, portion, &(Decoder){.policy = reader, .dots = true}, &again_used, &again_end);
        if (!again_end || again_used != wire->len || !g_string_equal(again, whole))
            abort();
    }
    return 0;
}
