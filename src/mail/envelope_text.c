/* envelope_text.c - envelopes to and from the spool's text. */
#include "mail/envelope_text.h"
#include "base/fail.h"

#include <errno.h>
#include <string.h>

#define FIRST_LINE "envelope 1"

typedef enum { TEXT, NUMBER, FLAG, BODY, RET, PROBE, NOTIFY } Kind;

typedef struct {
    const char *key;
    Kind kind;
    size_t offset;
} Field;

/* One row per line of the format. The order is the order in the file. */
static const Field envelope_fields[] = {
    {"sender", TEXT, offsetof(Envelope, sender)},
    {"arrival", NUMBER, offsetof(Envelope, arrival_us)},
    {"size", NUMBER, offsetof(Envelope, size)},
    {"body", BODY, offsetof(Envelope, body)},
    {"ret", RET, offsetof(Envelope, ret)},
    {"envid", TEXT, offsetof(Envelope, envid)},
    {"smtputf8", FLAG, offsetof(Envelope, smtputf8)},
    {"requiretls", FLAG, offsetof(Envelope, requiretls)},
    {"filter", TEXT, offsetof(Envelope, content_filter)},
    {"probe", PROBE, offsetof(Envelope, probe)},
    {"name", TEXT, offsetof(Envelope, origin.name)},
    {"addr", TEXT, offsetof(Envelope, origin.addr)},
    {"port", TEXT, offsetof(Envelope, origin.port)},
    {"helo", TEXT, offsetof(Envelope, origin.helo)},
    {"protocol", TEXT, offsetof(Envelope, origin.protocol)},
    {"sasl_method", TEXT, offsetof(Envelope, origin.sasl_method)},
    {"sasl_username", TEXT, offsetof(Envelope, origin.sasl_username)},
    {"sasl_sender", TEXT, offsetof(Envelope, origin.sasl_sender)},
    {"local", FLAG, offsetof(Envelope, origin.is_local)},
};
static const Field recipient_fields[] = {
    {"rcpt", TEXT, offsetof(Recipient, address)},
    {"original", TEXT, offsetof(Recipient, original)},
    {"orcpt", TEXT, offsetof(Recipient, dsn_orcpt)},
    {"notify", NOTIFY, offsetof(Recipient, notify)},
};

static const char *const body_names[] = {NULL, "7bit", "8bitmime"}; /* by BodyType */
static const char *const ret_names[] = {NULL, "full", "hdrs"};      /* by DsnRet */
static const char *const probe_names[] = {NULL, "any", "good"};     /* by Probe */

static void append_escaped(GString *out, const char *text)
{
    for (; *text; text++) {
        unsigned char octet = (unsigned char)*text;
        if (octet < 32 || octet == 127 || octet == '%')
            g_string_append_printf(out, "%%%02X", octet);
        else
            g_string_append_c(out, *text);
    }
}

static void append_line(GString *out, const char *key, const char *value)
{
    if (!value)
        return;
    g_string_append(out, key);
    g_string_append_c(out, '=');
    append_escaped(out, value);
    g_string_append_c(out, '\n');
}

static void append_field(GString *out, const Field *field, const void *record)
{
    const void *at = (const char *)record + field->offset;
    char number[32];

    switch (field->kind) {
    case TEXT:
        append_line(out, field->key, *(char *const *)at);
        break;
    case NUMBER:
        g_snprintf(number, sizeof number, "%" G_GINT64_FORMAT, *(const gint64 *)at);
        append_line(out, field->key, number);
        break;
    case FLAG:
        append_line(out, field->key, *(const bool *)at ? "1" : NULL);
        break;
    case BODY:
        append_line(out, field->key, body_names[*(const BodyType *)at]);
        break;
    case RET:
        append_line(out, field->key, ret_names[*(const DsnRet *)at]);
        break;
    case PROBE:
        append_line(out, field->key, probe_names[*(const Probe *)at]);
        break;
    case NOTIFY:
        g_snprintf(number, sizeof number, "%u", *(const unsigned *)at);
        append_line(out, field->key, *(const unsigned *)at ? number : NULL);
        break;
    }
}

GString *envelope_to_text(const Envelope *envelope)
{
    GString *out = g_string_new(FIRST_LINE "\n");

    for (size_t i = 0; i < G_N_ELEMENTS(envelope_fields); i++)
        append_field(out, &envelope_fields[i], envelope);
    for (guint n = 0; n < envelope->recipients->len; n++)
        for (size_t i = 0; i < G_N_ELEMENTS(recipient_fields); i++)
            append_field(out, &recipient_fields[i], g_ptr_array_index(envelope->recipients, n));
    g_string_append(out, "end\n");
    return out;
}

/* NULL: an escape that append_escaped() does not write, or an octet that it would have escaped. */
static char *unescape(const char *text, size_t len)
{
    g_autoptr(GString) out = g_string_sized_new(len);

    for (size_t i = 0; i < len; i++) {
        unsigned char octet = (unsigned char)text[i];
        if (octet < 32 || octet == 127)
            return NULL;
        if (octet == '%') {
            int high = len - i > 2 ? g_ascii_xdigit_value(text[i + 1]) : -1;
            int low = high < 0 ? -1 : g_ascii_xdigit_value(text[i + 2]);
            if (low < 0 || high * 16 + low == 0)
                return NULL;
            octet = (unsigned char)(high * 16 + low);
            i += 2;
        }
        g_string_append_c(out, (char)octet);
    }
    return g_string_free(g_steal_pointer(&out), FALSE);
}

static bool read_number(const char *text, gint64 min, gint64 max, gint64 *ret)
{
    return g_ascii_string_to_signed(text, 10, min, max, ret, NULL);
}

static bool read_name(const char *text, const char *const *names, unsigned count, unsigned *ret)
{
    for (unsigned i = 1; i < count; i++) {
        if (strcmp(text, names[i]) == 0) {
            *ret = i;
            return true;
        }
    }
    return false;
}

static bool read_field(const Field *field, void *record, char *value)
{
    void *at = (char *)record + field->offset;
    gint64 number = 0;
    unsigned index = 0;

    switch (field->kind) {
    case TEXT:
        g_free(*(char **)at); /* the "" that a new recipient has */
        *(char **)at = g_strdup(value);
        return true;
    case NUMBER:
        return read_number(value, G_MININT64, G_MAXINT64, (gint64 *)at);
    case FLAG:
        *(bool *)at = true;
        return strcmp(value, "1") == 0;
    case BODY:
        if (!read_name(value, body_names, G_N_ELEMENTS(body_names), &index))
            return false;
        *(BodyType *)at = (BodyType)index;
        return true;
    case RET:
        if (!read_name(value, ret_names, G_N_ELEMENTS(ret_names), &index))
            return false;
        *(DsnRet *)at = (DsnRet)index;
        return true;
    case PROBE:
        if (!read_name(value, probe_names, G_N_ELEMENTS(probe_names), &index))
            return false;
        *(Probe *)at = (Probe)index;
        return true;
    case NOTIFY:
        if (!read_number(value, 1, 15, &number))
            return false;
        *(unsigned *)at = (unsigned)number;
        return true;
    }
    return false;
}

/* Fields come in the order of their table, each at most once: *next is the first that may still come. */
static bool read_line(const Field *fields, size_t count, size_t *next, void *record, const char *line, size_t len)
{
    const char *equals = memchr(line, '=', len);

    if (!equals)
        return false;
    size_t key_len = (size_t)(equals - line);
    for (size_t i = *next; i < count; i++) {
        if (strlen(fields[i].key) != key_len || memcmp(fields[i].key, line, key_len) != 0)
            continue;
        g_autofree char *value = unescape(equals + 1, len - key_len - 1);
        *next = i + 1;
        return value && read_field(&fields[i], record, value);
    }
    return false;
}

Envelope *envelope_from_text(const char *text, size_t len, GError **error)
{
    g_autoptr(Envelope) envelope = envelope_new();
    const char *end = text + len;
    Recipient *recipient = NULL;
    size_t next = 0; /* see read_line() */

    if (len > ENVELOPE_TEXT_MAX) {
        fail(error, "envelope: %zu octets are too many", len);
        return NULL;
    }
    for (unsigned number = 1; text < end; number++) {
        const char *newline = memchr(text, '\n', (size_t)(end - text));
        size_t line_len = newline ? (size_t)(newline - text) : 0;
        const char *line = text;
        bool good;

        if (!newline)
            break;
        text = newline + 1;
        if (number == 1) {
            good = line_len == strlen(FIRST_LINE) && memcmp(line, FIRST_LINE, line_len) == 0;
        } else if (line_len == 3 && memcmp(line, "end", 3) == 0) {
            if (text == end)
                return g_steal_pointer(&envelope);
            good = false;
        } else {
            if (line_len >= 5 && memcmp(line, "rcpt=", 5) == 0) {
                recipient = envelope_add(envelope, "");
                next = 0;
            }
            good = recipient
                       ? read_line(recipient_fields, G_N_ELEMENTS(recipient_fields), &next, recipient, line, line_len)
                       : read_line(envelope_fields, G_N_ELEMENTS(envelope_fields), &next, envelope, line, line_len);
        }
        if (!good) {
            fail(error, "envelope: line %u is malformed", number);
            return NULL;
        }
    }
    fail(error, "envelope: text ends too early");
    return NULL;
}
