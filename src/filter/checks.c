/* checks.c - the `checks:` inspector: header_checks(5) before the queue, and attachments. */
#include "filter/checks.h"
#include "base/clock.h"
#include "filter/checks_attachments.h"
#include "filter/checks_log.h"
#include "filter/checks_type.h"

#include <string.h>

#define PARTS_LIMIT 1000     /* of a message, unless parts_limit= says otherwise */
#define PIECES_PER_LOOK 1000 /* between looks at the clock where nothing is looked up */
#define NESTING_MAX 10000    /* whatever mime_nesting_limit says */
#define TOO_DEEP "MIME nesting exceeds safety limit"

/* --- settings --- */

static bool open_tables(Checks *checks, InspectorSettings *settings, GError **error)
{
    for (ChecksMap map = 0; map < CHECKS_MAPS; map++) {
        const char *specs = settings_text(settings, checks_map_name(map));
        if (!specs && (map == CHECKS_MIME_HEADER || map == CHECKS_NESTED_HEADER))
            specs = settings_text(settings, checks_map_name(CHECKS_HEADER));
        if (!specs || !*specs)
            continue;
        checks->tables[map] = tables_open(specs, error);
        if (!checks->tables[map]) {
            g_prefix_error(error, "checks: %s: ", checks_map_name(map));
            return false;
        }
        if (tables_is_empty(checks->tables[map]))
            g_clear_pointer(&checks->tables[map], tables_free);
    }
    return true;
}

static void checks_close(void *state)
{
    Checks *checks = state;

    for (ChecksMap map = 0; map < CHECKS_MAPS; map++)
        tables_free(checks->tables[map]);
    type_pool_free(checks->types);
    g_free(checks->name);
    g_free(checks);
}

static bool checks_open(InspectorSettings *settings, void **ret_state, GError **error)
{
    const Config *config = settings_config(settings);
    Checks *checks = g_new0(Checks, 1);
    gint64 parts;

    *ret_state = checks;
    checks->name = g_strdup(settings_name(settings));
    checks->limits = (MimeLimits){
        .record = (size_t)MAX(config_int(config, "line_length_limit"), 1),
        .header = (size_t)config_int(config, "header_size_limit"),
        .boundary = (size_t)config_int(config, "mime_boundary_length_limit"),
        .nesting = (guint)MIN(config_int(config, "mime_nesting_limit"), NESTING_MAX),
    };
    checks->body_limit = (guint64)config_int(config, "body_checks_size_limit");
    if (!open_tables(checks, settings, error) || !settings_octets(settings, "parts_limit", PARTS_LIMIT, &parts, error))
        return false;
    checks->parts_limit = (guint64)parts;
    if (checks->tables[CHECKS_ATTACHMENT_TYPE]) {
        checks->types = type_pool_new(error);
        if (!checks->types)
            return false;
    }
    attachments_init();
    return true;
}

/* --- a message --- */

typedef struct {
    Checking checking;
    MimeWalker *walker;
    unsigned pieces;          /* of content, since the clock was last looked at */
    Attachments *attachments; /* NULL: they are not looked at */
} Run;

static bool goes_on(const Run *run)
{
    return !run->checking.over && !run->checking.error;
}

/* Lines behind the first are folds, whatever a pattern's groups brought in. */
static char *fold(const char *text)
{
    GString *out = g_string_new(NULL);

    for (const char *c = text; *c; c++) {
        g_string_append_c(out, *c == '\r' ? ' ' : *c);
        if (*c == '\n' && c[1] != ' ' && c[1] != '\t')
            g_string_append_c(out, '\t');
    }
    return g_string_free(out, FALSE);
}

static bool check_header(void *user, const MimeHeader *header)
{
    Run *run = user;
    Edits *edits;
    g_autofree char *text = NULL;
    ChecksMap map = header->is_mime                ? CHECKS_MIME_HEADER
                    : header->where == MIME_NESTED ? CHECKS_NESTED_HEADER
                                                   : CHECKS_HEADER;
    CheckChange change = checks_lookup(&run->checking, map, header->text, &text);

    if (change != CHANGE_NONE) {
        g_autofree char *folded = text ? fold(text) : NULL;
        edits = verdict_edits(run->checking.verdict);
        edits_splice(edits, header->line, change == CHANGE_PREPEND ? 0 : header->lines, folded);
    }
    if (run->attachments && goes_on(run))
        attachments_header(run->attachments, header);
    return goes_on(run);
}

/* Of a line of several records only the record is changed, and the line's end stays. (cleanup(8), when it drops the
 * last record of such a line, joins what is left to the next line.) */
static void change_record(Run *run, const MimeRecord *record, CheckChange change, const char *text)
{
    Edits *edits = verdict_edits(run->checking.verdict);
    guint64 drop = change == CHANGE_PREPEND ? 0 : record->len;

    if (record->column == 0 && (record->ends_line || change == CHANGE_PREPEND)) {
        edits_splice(edits, record->line, change == CHANGE_PREPEND ? 0 : 1, text);
        return;
    }
    g_autofree char *line = change == CHANGE_PREPEND ? g_strconcat(text, "\n", NULL) : g_strdup(text);
    edits_splice_octets(edits, record->line, record->column, drop, line);
}

static bool check_body(void *user, const MimeRecord *record)
{
    Run *run = user;
    guint64 limit = run->checking.checks->body_limit;
    g_autofree char *text = NULL;

    if (limit == 0 || record->offset < limit) {
        CheckChange change = checks_lookup(&run->checking, CHECKS_BODY, record->text, &text);
        if (change != CHANGE_NONE)
            change_record(run, record, change, text ? g_strdelimit(text, "\r", ' ') : NULL);
    }
    if (run->attachments && goes_on(run))
        attachments_body(run->attachments, record);
    return goes_on(run);
}

static bool part_begins(void *user, MimeHeaders where)
{
    Run *run = user;

    if (run->attachments)
        attachments_part(run->attachments, where);
    return goes_on(run);
}

static bool multipart_ends(void *user)
{
    Run *run = user;

    if (run->attachments)
        attachments_part(run->attachments, MIME_PART);
    return goes_on(run);
}

/* What cleanup(8) says of it. */
static bool too_deep(void *user, const char *header)
{
    Run *run = user;

    g_autofree char *found = g_strconcat(TOO_DEEP ": ", header, NULL);
    checks_log(run->checking.inspection->message, "reject", "mime-error", found, NULL);
    verdict_reject(run->checking.verdict, 550, "5.6.0", TOO_DEEP, NULL);
    run->checking.over = true;
    return false;
}

static const MimeSink sink = {part_begins, check_header, check_body, multipart_ends, too_deep};

static bool take(void *user, const char *data, size_t len, bool ends_line)
{
    Run *run = user;

    if (++run->pieces == PIECES_PER_LOOK) {
        run->pieces = 0;
        if (clock_ms() >= run->checking.inspection->deadline)
            return checks_fail(&run->checking, "no time is left");
    }
    return mime_walker_add(run->walker, data, len, ends_line);
}

static bool read_message(Run *run)
{
    Content *content = run->checking.inspection->message->content;

    content_replay(content, take, run);
    if (content_failed(content))
        return checks_fail(&run->checking, "content: %s", g_strerror(content_failed(content)));
    if (goes_on(run))
        mime_walker_finish(run->walker);
    if (run->attachments && goes_on(run))
        attachments_finish(run->attachments);
    return !run->checking.error;
}

static bool checks_inspect(void *state, const Inspection *inspection, Verdict *verdict, GError **error)
{
    const Checks *checks = state;
    Run run = {.checking = {.checks = checks, .inspection = inspection, .verdict = verdict}};
    bool asks_attachments = checks->tables[CHECKS_ATTACHMENT_NAME] || checks->tables[CHECKS_ATTACHMENT_TYPE];

    run.attachments = asks_attachments ? attachments_new(&run.checking) : NULL;
    run.walker = mime_walker_new(&checks->limits, &sink, &run);
    bool ok = read_message(&run);
    if (!ok)
        g_propagate_error(error, g_steal_pointer(&run.checking.error));
    else if (run.checking.held && verdict->kind == VERDICT_ACCEPT)
        verdict_quarantine(verdict, run.checking.reason);
    mime_walker_free(run.walker);
    attachments_free(run.attachments);
    g_free(run.checking.reason);
    return ok;
}

const InspectorClass inspector_checks = {
    .kind = "checks", .value_name = NULL, .open = checks_open, .inspect = checks_inspect, .close = checks_close};
