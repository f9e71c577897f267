/* spool_fuzz.c - whatever a message's file holds: opened, its content and results read. */
#include "base/fd.h"
#include "spool/spool_message.h"

#include <stdint.h>
#include <sys/mman.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The first octet says what is made right in the rest, else the checksums would keep the fuzzer out: lengths and
 * checksums of first line and envelope. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 3)
        return 0;
    size_t content_len = data[1], envelope_len = data[2] * 4u;
    const char *rest = (const char *)data + 3;
    size_t len = size - 3;
    int fd = memfd_create("fuzz", MFD_CLOEXEC);
    char first[FIRST_LINE_LEN];
    Result result;

    if (data[0] & 1 && content_len + envelope_len <= len) {
        FirstLine line = {.content_len = content_len,
                          .envelope_len = envelope_len,
                          .content_crc = spool_crc(0, rest, content_len),
                          .envelope_crc = spool_crc(0, rest + content_len, envelope_len)};
        first_line_write(&line, first);
        if (!fd_write_all(fd, first, sizeof first))
            return 0;
    }
    if (!fd_write_all(fd, rest, len))
        return 0;
    if (result_from_text(rest, len, &result))
        result_clear(&result);
    g_autoptr(SpoolMessage) message = spool_message_take(fd, "FUZZED", NULL);
    if (!message)
        return 0;
    SpoolContent content = {.message = message};
    char piece[64];
    while (spool_content_read(&content, piece, sizeof piece, NULL) > 0)
        ;
    for (guint i = 0; i < spool_message_envelope(message)->recipients->len; i++)
        (void)spool_message_result(message, i);
    return 0;
}
