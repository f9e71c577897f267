/* The way of hostile MIME: in whatever portions it comes, the structure is the same, and names, encodings and types are
 * asked of their libraries. */
#include "base/clock.h"
#include "filter/checks_attachments.h"
#include "filter/checks_type.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct {
    GString *events;
    guint64 line, column;
    Attachments *attachments; /* NULL: structure alone */
    Checking *checking;
} Seen;

static bool goes_on(const Seen *seen)
{
    return !seen->checking->error;
}

static bool begin(void *user, MimeHeaders where)
{
    Seen *seen = user;

    g_string_append_printf(seen->events, "begin %d\n", where);
    if (seen->attachments)
        attachments_part(seen->attachments, where);
    return goes_on(seen);
}

static bool header(void *user, const MimeHeader *found)
{
    Seen *seen = user;

    if (found->lines == 0 || found->len == 0 || found->text[found->len] != '\0')
        abort();
    g_string_append_printf(seen->events, "header %d %d %d %d+%d ", found->where, found->is_mime, found->is_cut,
                           (int)found->line, (int)found->lines);
    g_string_append_len(seen->events, found->text, (gssize)found->len);
    if (seen->attachments)
        attachments_header(seen->attachments, found);
    return goes_on(seen);
}

static bool body(void *user, const MimeRecord *record)
{
    Seen *seen = user;

    if (record->line < seen->line || (record->line == seen->line && record->column < seen->column))
        abort();
    seen->line = record->line;
    seen->column = record->column + record->len;
    g_string_append_printf(seen->events, "body %d.%d@%d %d%d%d ", (int)record->line, (int)record->column,
                           (int)record->offset, record->ends_line, record->is_boundary, record->is_separator);
    g_string_append_len(seen->events, record->text, (gssize)record->len);
    if (seen->attachments)
        attachments_body(seen->attachments, record);
    return goes_on(seen);
}

static bool end(void *user)
{
    Seen *seen = user;

    g_string_append(seen->events, "end\n");
    if (seen->attachments)
        attachments_part(seen->attachments, MIME_PART);
    return goes_on(seen);
}

static const MimeSink sink = {begin, header, body, end, NULL};

static GString *walk(Checking *checking, const char *text, size_t size, size_t portion, bool attachments)
{
    Seen seen = {.events = g_string_new(NULL), .checking = checking};
    MimeWalker *walker = mime_walker_new(&checking->checks->limits, &sink, &seen);

    seen.attachments = attachments ? attachments_new(checking) : NULL;
    for (size_t at = 0; at < size;) {
        const char *lf = memchr(text + at, '\n', size - at);
        size_t line = lf ? (size_t)(lf - text) - at : size - at;
        size_t len = MIN(line, portion);
        bool ends_line = lf && len == line;
        if (!mime_walker_add(walker, text + at, len, ends_line))
            break;
        at += len + ends_line;
    }
    mime_walker_finish(walker);
    if (seen.attachments)
        attachments_finish(seen.attachments);
    attachments_free(seen.attachments);
    mime_walker_free(walker);
    return seen.events;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static Checks checks;
    const Message message = {.recipients = g_ptr_array_new()};
    const Inspection inspection = {.message = &message, .deadline = CLOCK_NEVER};
    g_auto(Verdict) verdict = {0};
    Checking checking = {.checks = &checks, .inspection = &inspection, .verdict = &verdict};

    if (!checks.types) {
        attachments_init();
        checks.types = type_pool_new(NULL);
        checks.tables[CHECKS_ATTACHMENT_NAME] = tables_open("static:DUNNO", NULL);
        checks.tables[CHECKS_ATTACHMENT_TYPE] = tables_open("static:DUNNO", NULL);
        checks.limits = (MimeLimits){.record = 40, .header = 100, .boundary = 8, .nesting = 3};
        checks.parts_limit = 100;
    }
    if (size > 0) {
        g_autoptr(GString) whole = walk(&checking, (const char *)data + 1, size - 1, size, false);
        g_autoptr(GString) parts = walk(&checking, (const char *)data + 1, size - 1, data[0] + 1u, false);
        if (!g_string_equal(whole, parts))
            abort();
        g_string_free(walk(&checking, (const char *)data + 1, size - 1, data[0] + 1u, true), TRUE);
    }
    g_clear_error(&checking.error);
    g_ptr_array_unref(message.recipients);
    return 0;
}
