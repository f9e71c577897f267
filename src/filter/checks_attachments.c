/* checks_attachments.c - attachments by name and by true type. */
#include "filter/checks_attachments.h"
#include "filter/checks_gmime.h"
#include "filter/checks_type.h"
#include "mail/header.h"

#include <string.h>

/* An attached message that is itself encoded, against RFC 2046 section 5.2.1: programs that show mail decode it. */
typedef struct {
    MimeWalker *walker;
    Attachments *attachments;
    bool after_cr;
} EncodedMessage;

struct Attachments {
    Checking *checking;
    guint depth; /* of encoded messages around */
    guint64 own_parts;
    guint64 *parts; /* of the whole message */

    char *encoding;       /* the present part's Content-Transfer-Encoding; NULL: none was given */
    MimeDecoder *decoder; /* NULL: there is nothing to decode, or no content yet */
    bool in_content;
    GString *start; /* decoded */
    EncodedMessage inner;
};

void attachments_init(void)
{
    mime_library_init();
}

static Attachments *new_level(Checking *checking, guint depth, guint64 *parts)
{
    Attachments *attachments = g_new0(Attachments, 1);

    attachments->checking = checking;
    attachments->depth = depth;
    attachments->parts = parts ? parts : &attachments->own_parts;
    attachments->start = g_string_new(NULL);
    return attachments;
}

Attachments *attachments_new(Checking *checking)
{
    return new_level(checking, 0, NULL);
}

static void clear_part(Attachments *attachments)
{
    g_clear_pointer(&attachments->encoding, g_free);
    mime_decoder_free(g_steal_pointer(&attachments->decoder));
    mime_walker_free(attachments->inner.walker);
    attachments_free(attachments->inner.attachments);
    attachments->inner = (EncodedMessage){0};
    attachments->in_content = false;
    g_string_truncate(attachments->start, 0);
}

void attachments_free(Attachments *attachments)
{
    if (!attachments)
        return;
    clear_part(attachments);
    g_string_free(attachments->start, TRUE);
    g_free(attachments);
}

static bool goes_on(const Attachments *attachments)
{
    return !attachments->checking->over && !attachments->checking->error;
}

/* --- names --- */

static void look_up(Attachments *attachments, ChecksMap map, const char *key)
{
    g_autofree char *text = NULL;

    checks_lookup(attachments->checking, map, key, &text);
}

/* A name also as Windows would store it, which drops blanks and dots at the end. */
static void look_up_name(Attachments *attachments, const char *name)
{
    g_autofree char *stored = g_strdup(name);
    size_t len = strlen(stored);

    look_up(attachments, CHECKS_ATTACHMENT_NAME, name);
    while (len > 0 && (stored[len - 1] == ' ' || stored[len - 1] == '.'))
        stored[--len] = '\0';
    if (strcmp(stored, name) != 0)
        look_up(attachments, CHECKS_ATTACHMENT_NAME, stored);
}

static void take_names(Attachments *attachments, const MimeHeader *header)
{
    if (header->is_cut) {
        checks_fail(attachments->checking, "a MIME header is longer than header_size_limit");
        return;
    }
    if (!attachments->checking->checks->tables[CHECKS_ATTACHMENT_NAME])
        return;
    g_autoptr(GPtrArray) names = mime_file_names(header->text);
    for (guint i = 0; i < names->len && goes_on(attachments); i++)
        look_up_name(attachments, names->pdata[i]);
}

/* --- types --- */

static void take_encoding(Attachments *attachments, const MimeHeader *header)
{
    size_t value = 0;

    header_name(header->text, header->len, &value);
    g_autofree char *encoding = g_strstrip(g_strdup(header->text + value));
    if (attachments->encoding && g_ascii_strcasecmp(attachments->encoding, encoding) != 0)
        checks_fail(attachments->checking, "a part has two different encodings");
    g_free(attachments->encoding);
    attachments->encoding = g_steal_pointer(&encoding);
}

static void end_part(Attachments *attachments)
{
    const Checks *checks = attachments->checking->checks;
    g_autoptr(GError) error = NULL;

    if (attachments->inner.walker && goes_on(attachments)) {
        mime_walker_finish(attachments->inner.walker);
        attachments_finish(attachments->inner.attachments);
    }
    if (!checks->types || attachments->start->len == 0 || !goes_on(attachments))
        return;
    g_autofree char *type = type_pool_ask(checks->types, attachments->start->str, attachments->start->len, &error);
    if (type)
        look_up(attachments, CHECKS_ATTACHMENT_TYPE, type);
    else
        checks_fail(attachments->checking, "%s", error->message);
}

/* --- encoded messages --- */

static bool inner_begins(void *user, MimeHeaders where)
{
    attachments_part(user, where);
    return goes_on(user);
}

static bool inner_header(void *user, const MimeHeader *header)
{
    attachments_header(user, header);
    return goes_on(user);
}

static bool inner_body(void *user, const MimeRecord *record)
{
    attachments_body(user, record);
    return goes_on(user);
}

static bool inner_ends(void *user)
{
    attachments_part(user, MIME_PART);
    return goes_on(user);
}

static bool inner_too_deep(void *user, const char *header)
{
    const Attachments *attachments = user;

    return checks_fail(attachments->checking, "parts in each other deeper than mime_nesting_limit");
}

static const MimeSink inner_sink = {inner_begins, inner_header, inner_body, inner_ends, inner_too_deep};

static void begin_inner(Attachments *attachments)
{
    const MimeLimits *limits = &attachments->checking->checks->limits;

    if (attachments->depth >= limits->nesting) {
        inner_too_deep(attachments, NULL);
        return;
    }
    attachments->inner.attachments = new_level(attachments->checking, attachments->depth + 1, attachments->parts);
    attachments->inner.walker = mime_walker_new(limits, &inner_sink, attachments->inner.attachments);
}

/* Decoded octets as canonical lines. */
static void feed_inner(EncodedMessage *inner, const GString *octets)
{
    const char *at = octets->str, *end = at + octets->len;

    while (at < end) {
        const char *lf = memchr(at, '\n', (size_t)(end - at));
        const char *stop = lf ? lf : end;
        bool cr = stop > at && stop[-1] == '\r';
        if (inner->after_cr && stop > at)
            mime_walker_add(inner->walker, "\r", 1, false);
        if (stop > at)
            inner->after_cr = cr && !lf;
        if (!mime_walker_add(inner->walker, at, (size_t)(stop - at) - cr, lf != NULL))
            return;
        if (lf)
            inner->after_cr = false;
        at = lf ? lf + 1 : end;
    }
}

/* --- the walker's findings --- */

void attachments_part(Attachments *attachments, MimeHeaders where)
{
    g_autofree char *encoding = NULL;

    end_part(attachments);
    if (where == MIME_NESTED)
        encoding = g_steal_pointer(&attachments->encoding);
    clear_part(attachments);
    if (++*attachments->parts > attachments->checking->checks->parts_limit) {
        checks_fail(attachments->checking, "more parts than parts_limit=%" G_GUINT64_FORMAT,
                    attachments->checking->checks->parts_limit);
        return;
    }
    attachments->decoder = encoding ? mime_decoder_new(encoding) : NULL;
    if (attachments->decoder)
        begin_inner(attachments);
}

static void take_content(Attachments *attachments, const char *data, size_t len, bool ends_line)
{
    EncodedMessage *inner = &attachments->inner;
    g_autoptr(GString) line = g_string_new_len(data, (gssize)len);
    g_autoptr(GString) decoded = g_string_new(NULL);

    if (ends_line)
        g_string_append_c(line, '\n');
    if (attachments->decoder)
        mime_decoder_add(attachments->decoder, line->str, line->len, decoded);
    const GString *octets = attachments->decoder ? decoded : line;
    if (inner->walker)
        feed_inner(inner, octets);
    else
        g_string_append_len(attachments->start, octets->str,
                            (gssize)MIN(octets->len, TYPE_OCTETS_MAX - attachments->start->len));
}

void attachments_header(Attachments *attachments, const MimeHeader *header)
{
    if (attachments->inner.walker) /* quoted-printable headers look like others */
        take_content(attachments, header->text, header->len, true);
    if (header_is(header->text, header->len, "Content-Type") ||
        header_is(header->text, header->len, "Content-Disposition"))
        take_names(attachments, header);
    else if (header_is(header->text, header->len, "Content-Transfer-Encoding") && !attachments->inner.walker)
        take_encoding(attachments, header);
}

void attachments_body(Attachments *attachments, const MimeRecord *record)
{
    bool is_asked = attachments->inner.walker || attachments->checking->checks->types;

    if (record->is_boundary || !is_asked || (record->is_separator && !attachments->inner.walker))
        return;
    if (!attachments->inner.walker && attachments->start->len >= TYPE_OCTETS_MAX)
        return;
    if (!attachments->in_content && !attachments->inner.walker)
        attachments->decoder = attachments->encoding ? mime_decoder_new(attachments->encoding) : NULL;
    attachments->in_content = true;
    take_content(attachments, record->text, record->len, record->ends_line);
}

void attachments_finish(Attachments *attachments)
{
    end_part(attachments);
    clear_part(attachments);
}
