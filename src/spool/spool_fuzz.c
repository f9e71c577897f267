/* spool_fuzz.c - whatever a message's file holds: opened, its content and results read. And what was whole and then
 * damaged or cut is refused, or reads as it was. */
#include "base/fd.h"
#include "mail/envelope_text.h"
#include "spool/spool_message.h"

#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char *path;

static void remove_file(void)
{
    unlink(path);
}

/* A file with a name: one without, as a memfd has none, is a message that was removed. The reader closes it. */
static int new_file(void)
{
    int fd;

    if (!path) {
        path = g_strdup("/dev/shm/spool_fuzz.XXXXXX");
        fd = g_mkstemp_full(path, O_RDWR | O_CLOEXEC, 0600);
        atexit(remove_file);
    } else {
        fd = open(path, O_RDWR | O_TRUNC | O_CLOEXEC);
    }
    if (fd < 0)
        abort();
    return fd;
}

static void write_file(int fd, const FirstLine *line, const char *rest, size_t len)
{
    char first[FIRST_LINE_LEN];

    if (line)
        first_line_write(line, first);
    if ((line && !fd_write_all(fd, first, sizeof first)) || !fd_write_all(fd, rest, len))
        abort();
}

/* NULL: it was refused. Otherwise the content, as far as its reader got it; *ret_whole: it had its checksum. */
static SpoolMessage *read_file(int fd, GString *content, bool *ret_whole)
{
    SpoolMessage *message = spool_message_take(fd, "FUZZED", NULL);
    SpoolContent reader = {.message = message};
    char piece[64];
    ssize_t len;

    *ret_whole = false;
    if (!message)
        return NULL;
    while ((len = spool_content_read(&reader, piece, sizeof piece, NULL)) > 0)
        g_string_append_len(content, piece, len);
    *ret_whole = len == 0;
    for (guint i = 0; i < spool_message_envelope(message)->recipients->len; i++)
        (void)spool_message_result(message, i);
    return message;
}

/* Any octets. guided: behind a first line that is right, else the checksums would keep the fuzzer out. */
static void try_any(bool guided, size_t content_len, size_t envelope_len, const char *rest, size_t len)
{
    int fd = new_file();
    g_autoptr(GString) content = g_string_new(NULL);
    Result result;
    bool whole;

    guided = guided && content_len + envelope_len <= len;
    FirstLine line = {.content_len = content_len, .envelope_len = envelope_len};
    if (guided) {
        line.content_crc = spool_crc(0, rest, content_len);
        line.envelope_crc = spool_crc(0, rest + content_len, envelope_len);
    }
    write_file(fd, guided ? &line : NULL, rest, len);
    spool_message_free(read_file(fd, content, &whole));
    if (result_from_text(rest, len, &result))
        result_clear(&result);
}

/* A message of ours, with one place of up to four octets damaged, which CRC-32 always sees, or with its end cut off. */
static void try_damaged(size_t at, const uint8_t mask[4], bool cut, const char *rest, size_t len)
{
    g_autoptr(Envelope) envelope = envelope_new();
    g_autoptr(GString) content = g_string_new(NULL);
    bool whole;

    envelope->sender = g_strndup(rest, len / 4);
    g_autofree char *address = g_strndup(rest + len / 4, len / 4);
    envelope_add(envelope, *address ? address : "a@b.example");
    g_autoptr(GString) text = envelope_to_text(envelope);
    FirstLine line = {.key = {.arrival_ns = 1, .random = 2},
                      .content_len = len,
                      .envelope_len = text->len,
                      .content_crc = spool_crc(0, rest, len),
                      .envelope_crc = spool_crc(0, text->str, text->len)};
    g_autoptr(GString) file = g_string_new_len(rest, (gssize)len);
    g_string_append_len(file, text->str, (gssize)text->len);

    char first[FIRST_LINE_LEN];
    first_line_write(&line, first);
    g_string_prepend_len(file, first, sizeof first);
    at %= file->len;
    if (cut)
        g_string_truncate(file, at);
    else
        for (size_t i = 0; i < 4 && at + i < file->len; i++)
            file->str[at + i] = (char)(file->str[at + i] ^ mask[i]);
    bool damaged = cut || memcmp(file->str, first, sizeof first) != 0 ||
                   memcmp(file->str + sizeof first, rest, len) != 0 ||
                   memcmp(file->str + sizeof first + len, text->str, text->len) != 0;

    int fd = new_file();
    write_file(fd, NULL, file->str, file->len);
    g_autoptr(SpoolMessage) message = read_file(fd, content, &whole);
    if (!damaged && !message)
        abort();
    if (whole && (content->len != len || memcmp(content->str, rest, len) != 0))
        abort();
    if (!message)
        return;
    g_autoptr(GString) again = envelope_to_text(spool_message_envelope(message));
    if (!g_string_equal(again, text) || memcmp(spool_message_key(message), &line.key, sizeof line.key) != 0)
        abort();
}

/* The first octet says which of them, the next ones where and how much. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *rest = (const char *)data + 7;

    if (size < 7)
        return 0;
    if (data[0] & 2)
        try_damaged(data[1] * 256u + data[2], data + 3, data[0] & 1, rest, size - 7);
    else
        try_any(data[0] & 1, data[1], data[2] * 4u, rest, size - 7);
    return 0;
}
