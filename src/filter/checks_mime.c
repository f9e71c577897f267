/* checks_mime.c - the MIME structure of a message. */
#include "filter/checks_mime.h"
#include "filter/checks_content_type.h"
#include "mail/header.h"

#include <string.h>

/* What comes behind a block of headers. */
typedef enum { BEHIND_BODY, BEHIND_MESSAGE } Behind;

typedef struct {
    GString *text; /* cut to the limit */
    bool digest;   /* parts are messages unless they say otherwise */
} Boundary;

struct MimeWalker {
    MimeLimits limits;
    const MimeSink *sink;
    void *user;
    bool stopped;

    GString *record; /* the present one, as far as it came */
    bool in_line;    /* the record before did not end its line */
    guint64 line, column;

    bool in_headers;
    MimeHeaders where;
    Behind behind;
    GString *header; /* the present logical header; empty: none */
    guint64 header_line;
    bool header_cut;

    GArray *boundaries; /* of Boundary, outermost first */
    guint64 offset;
    bool at_separator;
};

static void boundary_clear(gpointer data)
{
    g_string_free(((Boundary *)data)->text, TRUE);
}

MimeWalker *mime_walker_new(const MimeLimits *limits, const MimeSink *sink, void *user)
{
    MimeWalker *walker = g_new0(MimeWalker, 1);

    walker->limits = *limits;
    walker->sink = sink;
    walker->user = user;
    walker->record = g_string_new(NULL);
    walker->header = g_string_new(NULL);
    walker->boundaries = g_array_new(FALSE, FALSE, sizeof(Boundary));
    g_array_set_clear_func(walker->boundaries, boundary_clear);
    walker->in_headers = true;
    return walker;
}

void mime_walker_free(MimeWalker *walker)
{
    if (!walker)
        return;
    g_string_free(walker->record, TRUE);
    g_string_free(walker->header, TRUE);
    g_array_unref(walker->boundaries);
    g_free(walker);
}

static void heard(MimeWalker *walker, bool goes_on)
{
    if (!goes_on)
        walker->stopped = true;
}

/* --- headers --- */

static bool is_mime_header(const char *text, size_t len)
{
    static const char *const names[] = {"Content-Description",       "Content-Disposition", "Content-ID",
                                        "Content-Transfer-Encoding", "Content-Type",        "MIME-Version"};

    for (size_t i = 0; i < G_N_ELEMENTS(names); i++)
        if (header_is(text, len, names[i]))
            return true;
    return false;
}

/* As deep as cleanup(8) goes: two more than the parameter says. */
static void push_boundary(MimeWalker *walker, const char *text, bool digest)
{
    Boundary boundary = {.digest = digest};

    if (walker->boundaries->len >= walker->limits.nesting + 2) {
        if (!walker->stopped && walker->sink->too_deep)
            heard(walker, walker->sink->too_deep(walker->user, walker->header->str));
        return;
    }
    boundary.text = g_string_new_len(text, (gssize)MIN(strlen(text), walker->limits.boundary));
    g_array_append_val(walker->boundaries, boundary);
}

static void read_content_type(MimeWalker *walker)
{
    size_t value = 0;

    header_name(walker->header->str, walker->header->len, &value);
    g_auto(MimeContentType) type = {0};
    mime_content_type_parse(walker->header->str + value, walker->limits.nesting + 3, &type);
    walker->behind = type.kind == MIME_TYPE_MESSAGE ? BEHIND_MESSAGE : BEHIND_BODY;
    for (guint i = 0; type.boundaries && i < type.boundaries->len; i++)
        push_boundary(walker, type.boundaries->pdata[i], type.kind == MIME_TYPE_DIGEST);
}

static void flush_header(MimeWalker *walker)
{
    if (walker->header->len == 0)
        return;
    MimeHeader header = {.where = walker->where,
                         .is_cut = walker->header_cut,
                         .text = walker->header->str,
                         .len = walker->header->len,
                         .line = walker->header_line,
                         .lines = walker->line - walker->header_line};
    header.is_mime = walker->where == MIME_PART || is_mime_header(header.text, header.len);
    if (header_is(header.text, header.len, "Content-Type"))
        read_content_type(walker);
    if (!walker->stopped && walker->sink->header)
        heard(walker, walker->sink->header(walker->user, &header));
    g_string_truncate(walker->header, 0);
}

static void begin_headers(MimeWalker *walker, MimeHeaders where, Behind behind)
{
    walker->in_headers = true;
    walker->where = where;
    walker->behind = behind;
    if (!walker->stopped && walker->sink->begin)
        heard(walker, walker->sink->begin(walker->user, where));
}

static void begin_body(MimeWalker *walker)
{
    walker->in_headers = false;
    walker->offset = 0;
}

static void continue_header(MimeWalker *walker, const GString *record)
{
    if (walker->header->len >= walker->limits.header) {
        walker->header_cut = true;
        return;
    }
    if (!walker->in_line)
        g_string_append_c(walker->header, '\n');
    g_string_append_len(walker->header, record->str, (gssize)record->len);
}

/* False: the record is no header, and the headers have ended. */
static bool take_header(MimeWalker *walker, const GString *record)
{
    bool folded = record->len > 0 && (record->str[0] == ' ' || record->str[0] == '\t');
    size_t value = 0;

    if (walker->header->len > 0 && (walker->in_line || folded)) {
        continue_header(walker, record);
        return true;
    }
    flush_header(walker);
    size_t name = header_name(record->str, record->len, &value);
    if (name == 0)
        return false;
    g_string_append_len(walker->header, record->str, (gssize)name);
    g_string_append_c(walker->header, ':');
    g_string_append_len(walker->header, record->str + value, (gssize)(record->len - value));
    walker->header_line = walker->line;
    walker->header_cut = false;
    return true;
}

/* --- the body --- */

static void give_body(MimeWalker *walker, const GString *record, bool ends_line, bool is_boundary)
{
    MimeRecord body = {.text = record->str,
                       .len = record->len,
                       .line = walker->line,
                       .column = walker->column,
                       .ends_line = ends_line,
                       .is_boundary = is_boundary,
                       .is_separator = walker->at_separator,
                       .offset = walker->offset};

    walker->at_separator = false;
    walker->offset += record->len + 1;
    if (!walker->stopped && walker->sink->body)
        heard(walker, walker->sink->body(walker->user, &body));
}

/* The number of boundaries up to the innermost that the line begins with; 0: it is none. */
static guint find_boundary(const MimeWalker *walker, const GString *record)
{
    if (walker->in_line || record->len <= 2 || record->str[0] != '-' || record->str[1] != '-')
        return 0;
    for (guint i = walker->boundaries->len; i > 0; i--) {
        const GString *text = g_array_index(walker->boundaries, Boundary, i - 1).text;
        if (record->len - 2 >= text->len && memcmp(record->str + 2, text->str, text->len) == 0)
            return i;
    }
    return 0;
}

static void take_body(MimeWalker *walker, const GString *record, bool ends_line)
{
    guint found = find_boundary(walker, record);

    if (found == 0) {
        give_body(walker, record, ends_line, false);
        return;
    }
    const Boundary *boundary = &g_array_index(walker->boundaries, Boundary, found - 1);
    bool closes = strncmp(record->str + 2 + boundary->text->len, "--", 2) == 0;
    bool digest = boundary->digest;
    g_array_set_size(walker->boundaries, closes ? found - 1 : found);
    if (closes)
        begin_body(walker);
    give_body(walker, record, ends_line, true);
    if (!closes)
        begin_headers(walker, MIME_PART, digest ? BEHIND_MESSAGE : BEHIND_BODY);
    else if (!walker->stopped && walker->sink->end)
        heard(walker, walker->sink->end(walker->user));
}

/* --- records --- */

static void take_record(MimeWalker *walker, bool ends_line)
{
    const GString *record = walker->record;
    bool headers_go_on = walker->in_headers && take_header(walker, record);

    if (!headers_go_on && walker->in_headers) {
        /* An attached message whose first line is no header has none. */
        if (walker->behind == BEHIND_MESSAGE && record->len == 0)
            begin_headers(walker, MIME_NESTED, BEHIND_BODY);
        else
            begin_body(walker);
        walker->at_separator = !walker->in_headers && record->len == 0;
        if (!walker->in_headers)
            take_body(walker, record, ends_line);
    } else if (!headers_go_on) {
        take_body(walker, record, ends_line);
    }
    walker->column = ends_line ? 0 : walker->column + record->len;
    walker->line += ends_line;
    walker->in_line = !ends_line;
    g_string_truncate(walker->record, 0);
}

bool mime_walker_add(MimeWalker *walker, const char *data, size_t len, bool ends_line)
{
    while (len > 0 && !walker->stopped) {
        size_t used = MIN(len, walker->limits.record - walker->record->len);
        g_string_append_len(walker->record, data, (gssize)used);
        data += used;
        len -= used;
        if (walker->record->len == walker->limits.record)
            take_record(walker, false);
    }
    if (ends_line && !walker->stopped)
        take_record(walker, true);
    return !walker->stopped;
}

void mime_walker_finish(MimeWalker *walker)
{
    if (!walker->stopped && (walker->record->len > 0 || walker->in_line))
        take_record(walker, true);
    if (!walker->stopped)
        flush_header(walker);
}
