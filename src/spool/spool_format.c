/* spool_format.c - the first line of a message's file, and results. */
#include "spool/spool_format.h"

#include <stdio.h>
#include <string.h>
#include <zlib.h>

#define MAGIC "gatepost-message "
#define VERSION "1 "
#define BEFORE_CRC (FIRST_LINE_LEN - 9) /* 8 digits and LF */

guint32 spool_crc(guint32 crc, const char *data, size_t len)
{
    return (guint32)crc32_z(crc, (const unsigned char *)data, len);
}

/* Exactly width lower-case hexadecimal digits. */
static bool read_hex(const char *text, int width, guint64 *ret)
{
    guint64 value = 0;

    for (int i = 0; i < width; i++) {
        if (!g_ascii_isxdigit(text[i]) || g_ascii_isupper(text[i]))
            return false;
        value = value << 4 | (guint64)g_ascii_xdigit_value(text[i]);
    }
    *ret = value;
    return true;
}

void first_line_write(const FirstLine *line, char ret_text[FIRST_LINE_LEN])
{
    g_autofree char *key = message_key_to_text(&line->key);
    g_autofree char *text =
        g_strdup_printf(MAGIC VERSION "%s %016" G_GINT64_MODIFIER "x %016" G_GINT64_MODIFIER "x %08x %08x ", key,
                        line->content_len, line->envelope_len, line->content_crc, line->envelope_crc);
    g_autofree char *end = g_strdup_printf("%08x\n", spool_crc(0, text, strlen(text)));

    g_assert(strlen(text) == BEFORE_CRC);
    memcpy(ret_text, text, BEFORE_CRC);
    memcpy(ret_text + BEFORE_CRC, end, FIRST_LINE_LEN - BEFORE_CRC);
}

/* A line that is all zeros from some place on: the write of it never happened, or not to its end. What stands before
 * the zeros must be the beginning of a first line, else somebody damaged a message that was whole. */
static bool is_unwritten(const char *text, size_t len)
{
    static const char shape[] =
        MAGIC VERSION "kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk cccccccccccccccc eeeeeeeeeeeeeeee cccccccc "
                      "eeeeeeee llllllll\n";
    G_STATIC_ASSERT(sizeof shape - 1 == FIRST_LINE_LEN);
    size_t written = 0;

    while (written < len && text[written] != '\0')
        written++;
    for (size_t i = written; i < len; i++)
        if (text[i] != '\0')
            return false;
    if (written == FIRST_LINE_LEN)
        return false;
    for (size_t i = 0; i < written; i++) {
        bool is_digit = i >= sizeof MAGIC VERSION - 1 && shape[i] != ' ' && shape[i] != '\n';
        if (is_digit ? !g_ascii_isxdigit(text[i]) : text[i] != shape[i])
            return false;
    }
    return true;
}

/* text: where the version stands in a line that is long enough. */
static bool is_other_version(const char *text)
{
    size_t digits = 0;

    while (digits < 4 && g_ascii_isdigit(text[digits]))
        digits++;
    return digits > 0 && text[digits] == ' ';
}

FirstLineState first_line_read(const char *text, size_t len, FirstLine *ret_line)
{
    FirstLine line;
    guint64 content_crc, envelope_crc, line_crc;
    const char *at = text + strlen(MAGIC VERSION);
    char key[33];

    if (is_unwritten(text, len))
        return FIRST_LINE_UNWRITTEN;
    if (len < FIRST_LINE_LEN || memcmp(text, MAGIC, strlen(MAGIC)) != 0)
        return FIRST_LINE_BAD;
    if (memcmp(text + strlen(MAGIC), VERSION, strlen(VERSION)) != 0)
        return is_other_version(text + strlen(MAGIC)) ? FIRST_LINE_VERSION : FIRST_LINE_BAD;
    memcpy(key, at, 32);
    key[32] = '\0';
    if (!read_hex(text + BEFORE_CRC, 8, &line_crc) || line_crc != spool_crc(0, text, BEFORE_CRC) ||
        text[FIRST_LINE_LEN - 1] != '\n' || !message_key_from_text(key, &line.key) ||
        !read_hex(at + 33, 16, &line.content_len) || !read_hex(at + 50, 16, &line.envelope_len) ||
        !read_hex(at + 67, 8, &content_crc) || !read_hex(at + 76, 8, &envelope_crc))
        return FIRST_LINE_BAD;
    line.content_crc = (guint32)content_crc;
    line.envelope_crc = (guint32)envelope_crc;
    *ret_line = line;
    return FIRST_LINE_VALID;
}

static const char *const status_names[] = {"sent", "deferred", "bounced"};

const char *result_status_name(ResultStatus status)
{
    return status_names[status];
}

bool result_status_from_name(const char *name, ResultStatus *ret_status)
{
    for (guint i = 0; i < G_N_ELEMENTS(status_names); i++) {
        if (strcmp(name, status_names[i]) == 0) {
            *ret_status = (ResultStatus)i;
            return true;
        }
    }
    return false;
}

void result_clear(Result *result)
{
    g_clear_pointer(&result->relay, g_free);
    g_clear_pointer(&result->text, g_free);
}

bool result_dsn_is_valid(const char *dsn)
{
    static const int most[] = {1, 3, 3}; /* digits (RFC 3463 section 2) */
    const char *at = dsn;

    for (int part = 0; part < 3; part++) {
        int count = 0;
        for (; g_ascii_isdigit(*at); at++)
            count++;
        if (count < 1 || count > most[part] || *at++ != (part < 2 ? '.' : '\0'))
            return false;
    }
    return strchr("245", *dsn) != NULL;
}

void spool_word_append(GString *out, const char *text, size_t max)
{
    size_t len = strnlen(text, max);

    if (len == 0)
        g_string_append_c(out, '%');
    for (size_t i = 0; i < len; i++) {
        unsigned char octet = (unsigned char)text[i];
        if (octet <= ' ' || octet == 0x7f || octet == '%')
            g_string_append_printf(out, "%%%02X", octet);
        else
            g_string_append_c(out, text[i]);
    }
}

char *spool_word_read(const char *word)
{
    g_autoptr(GString) out = g_string_new(NULL);

    if (strcmp(word, "%") == 0)
        return g_strdup("");
    for (const char *at = word; *at; at++) {
        if (*at != '%') {
            g_string_append_c(out, *at);
            continue;
        }
        if (!g_ascii_isxdigit(at[1]) || !g_ascii_isxdigit(at[2]))
            return NULL;
        int octet = g_ascii_xdigit_value(at[1]) << 4 | g_ascii_xdigit_value(at[2]);
        if (octet == 0)
            return NULL;
        g_string_append_c(out, (char)octet);
        at += 2;
    }
    return g_string_free(g_steal_pointer(&out), FALSE);
}

GString *result_to_text(const Result *result)
{
    GString *out = g_string_new("\n");

    g_assert(result_dsn_is_valid(result->dsn));
    g_string_append_printf(out, "R1 %u %s %s %" G_GINT64_FORMAT " ", result->recipient,
                           result_status_name(result->status), result->dsn, result->time_us);
    spool_word_append(out, result->relay ? result->relay : "none", 512);
    g_string_append_c(out, ' ');
    spool_word_append(out, result->text ? result->text : "", RESULT_TEXT_MAX);
    g_string_append_c(out, ' ');
    g_string_append_printf(out, "%08x\n", spool_crc(0, out->str + 1, out->len - 1));
    g_assert(out->len <= RESULT_LINE_MAX);
    return out;
}

static bool read_number(const char *text, guint64 max, guint64 *ret)
{
    return g_ascii_string_to_unsigned(text, 10, 0, max, ret, NULL);
}

bool result_from_text(const char *line, size_t len, Result *ret_result)
{
    guint64 crc, number, time_us;
    Result result = {0};

    if (len < 9 || len >= RESULT_LINE_MAX || memchr(line, '\0', len) || !read_hex(line + len - 8, 8, &crc) ||
        crc != spool_crc(0, line, len - 8))
        return false;
    g_autofree char *text = g_strndup(line, len - 9);
    g_auto(GStrv) fields = g_strsplit(text, " ", 8);
    if (g_strv_length(fields) != 7 || strcmp(fields[0], "R1") != 0 || !read_number(fields[1], G_MAXUINT, &number) ||
        !result_status_from_name(fields[2], &result.status) || !result_dsn_is_valid(fields[3]) ||
        !read_number(fields[4], G_MAXINT64, &time_us))
        return false;
    result.relay = spool_word_read(fields[5]);
    result.text = spool_word_read(fields[6]);
    if (!result.relay || !result.text) {
        result_clear(&result);
        return false;
    }
    result.recipient = (guint)number;
    result.time_us = (gint64)time_us;
    g_strlcpy(result.dsn, fields[3], sizeof result.dsn);
    *ret_result = result;
    return true;
}
