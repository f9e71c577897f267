/* inspector.c - the chain of inspectors of one filter line. */
#include "filter/inspector.h"
#include "base/clock.h"
#include "base/fail.h"
#include "base/log.h"
#include "filter/inspector_settings.h"

#include <stdatomic.h>
#include <string.h>

static const InspectorClass *const classes[] = {&inspector_checks, &inspector_command, &inspector_smtp, NULL};

struct Inspector {
    const InspectorClass *class;
    void *state;
    char *name;
    gint64 timeout_ms; /* CLOCK_NEVER: the transaction's deadline alone */
    gint64 size_limit; /* octets; 0: none */
    VerdictKind on_failure;
    _Atomic guint64 given[VERDICT_TAKEN + 1]; /* verdicts, since the last statistics */
    _Atomic guint64 failed, skipped;
};

struct Inspectors {
    GPtrArray *list; /* of Inspector* */
};

static void inspector_free(gpointer data)
{
    Inspector *inspector = data;

    if (inspector->state)
        inspector->class->close(inspector->state);
    g_free(inspector->name);
    g_free(inspector);
}

void inspection_record_free(InspectionRecord *record)
{
    g_free(record->text);
    g_free(record);
}

/* --- opening --- */

static const InspectorClass *find_class(const char *kind)
{
    for (size_t i = 0; classes[i]; i++)
        if (strcmp(classes[i]->kind, kind) == 0)
            return classes[i];
    return NULL;
}

static bool read_on_failure(InspectorSettings *settings, VerdictKind *ret, GError **error)
{
    static const VerdictKind allowed[] = {VERDICT_TEMPFAIL, VERDICT_ACCEPT, VERDICT_QUARANTINE};
    const char *text = settings_text(settings, "on_failure");

    *ret = VERDICT_TEMPFAIL;
    if (!text)
        return true;
    for (size_t i = 0; i < G_N_ELEMENTS(allowed); i++)
        if (strcmp(text, verdict_name(allowed[i])) == 0) {
            *ret = allowed[i];
            return true;
        }
    return fail(error, "%s: on_failure=%s: tempfail, accept or quarantine is expected",
                inspector_settings_kind(settings), text);
}

static bool read_common(Inspector *inspector, InspectorSettings *settings, GError **error)
{
    gint64 seconds;

    inspector->name = g_strdup(settings_name(settings));
    if (!settings_seconds(settings, "timeout", 0, &seconds, error) ||
        !settings_octets(settings, "size_limit", 0, &inspector->size_limit, error))
        return false;
    inspector->timeout_ms = seconds > 0 ? seconds * 1000 : CLOCK_NEVER;
    return read_on_failure(settings, &inspector->on_failure, error);
}

static Inspector *inspector_new(const char *element, const Config *config, GError **error)
{
    g_autoptr(InspectorSettings) settings = inspector_settings_new(element, config, error);

    if (!settings)
        return NULL;
    const InspectorClass *class = find_class(inspector_settings_kind(settings));
    if (!class) {
        fail(error, "\"%s\" is no kind of inspector", inspector_settings_kind(settings));
        return NULL;
    }
    Inspector *inspector = g_new0(Inspector, 1);
    inspector->class = class;
    if (inspector_settings_name_value(settings, class->value_name, error) && read_common(inspector, settings, error) &&
        class->open(settings, &inspector->state, error) && inspector_settings_all_known(settings, error))
        return inspector;
    inspector_free(inspector);
    return NULL;
}

Inspectors *inspectors_open(const Config *config, GError **error)
{
    g_autoptr(GPtrArray) elements = config_split(config_string(config, "filter_inspectors"));
    Inspectors *inspectors = g_new0(Inspectors, 1);

    inspectors->list = g_ptr_array_new_with_free_func(inspector_free);
    for (guint i = 0; i < elements->len; i++) {
        Inspector *inspector = inspector_new(elements->pdata[i], config, error);
        if (inspector)
            g_ptr_array_add(inspectors->list, inspector);
        if (inspector && inspector->class->passes_on && i + 1 < elements->len)
            inspector = (fail(error, "%s: nothing can follow it: it passes mail on itself", inspector->name), NULL);
        if (!inspector) {
            g_prefix_error(error, "filter_inspectors: ");
            inspectors_close(inspectors);
            return NULL;
        }
    }
    return inspectors;
}

void inspectors_close(Inspectors *inspectors)
{
    if (!inspectors)
        return;
    g_ptr_array_unref(inspectors->list);
    g_free(inspectors);
}

GArray *inspectors_descriptors(const Inspectors *inspectors)
{
    GArray *all = g_array_new(FALSE, FALSE, sizeof(int));

    for (guint i = 0; i < inspectors->list->len; i++) {
        const Inspector *inspector = inspectors->list->pdata[i];
        int descriptor = inspector->class->descriptor ? inspector->class->descriptor(inspector->state) : -1;
        if (descriptor >= 0)
            g_array_append_val(all, descriptor);
    }
    return all;
}

bool inspectors_are_none(const Inspectors *inspectors)
{
    return inspectors->list->len == 0;
}

/* --- asking --- */

static void add_record(GPtrArray *records, const Inspector *inspector, const char *result, const char *text, gint64 ms)
{
    InspectionRecord *record = g_new0(InspectionRecord, 1);

    record->inspector = inspector->name;
    record->result = result;
    record->text = g_strdup(text);
    record->ms = ms;
    g_ptr_array_add(records, record);
}

/* It could not say. What is then done with the message is the administrator's choice. */
static void give_up(const Inspector *inspector, const char *why, Verdict *verdict)
{
    g_autofree char *reason = g_strdup_printf("%s failed: %s", inspector->name, why);

    verdict_clear(verdict);
    log_warning("inspector %s: not inspected: %s; on_failure=%s", inspector->name, why,
                verdict_name(inspector->on_failure));
    if (inspector->on_failure == VERDICT_TEMPFAIL)
        verdict_tempfail(verdict, 451, "4.3.0", INSPECTOR_FAILED, reason);
    else if (inspector->on_failure == VERDICT_QUARANTINE)
        verdict_quarantine(verdict, reason);
}

static bool changes_something(const Verdict *verdict)
{
    return verdict->content || (verdict->edits && !edits_are_empty(verdict->edits)) || verdict->sender ||
           verdict->redirect || verdict->added || verdict->removed;
}

/* Asks one. Its changes are made in message. */
static void ask(Inspector *inspector, Message *message, const ContentPlace *place, Resolver *resolver, gint64 deadline,
                Verdict *verdict, GPtrArray *records)
{
    gint64 start = clock_ms();
    gint64 own = inspector->timeout_ms == CLOCK_NEVER ? CLOCK_NEVER : start + inspector->timeout_ms;
    Inspection inspection = {.message = message, .resolver = resolver, .deadline = MIN(own, deadline), .place = *place};
    g_autoptr(GError) error = NULL;
    int failure = 0;

    if (inspector->size_limit > 0 && message->size > (guint64)inspector->size_limit) {
        log_info("inspector %s: not inspected: %" G_GUINT64_FORMAT " octets are more than size_limit=%" G_GINT64_FORMAT,
                 inspector->name, message->size, inspector->size_limit);
        atomic_fetch_add(&inspector->skipped, 1);
        add_record(records, inspector, "skipped", "size_limit", 0);
        return;
    }
    bool answered = start < inspection.deadline || fail(&error, "no time is left");
    answered = answered && inspector->class->inspect(inspector->state, &inspection, verdict, &error);
    bool changes = answered && changes_something(verdict);
    if (changes && !message_apply(message, verdict, place, &failure))
        answered = fail(&error, "changed content: %s", g_strerror(failure));
    if (!answered) {
        atomic_fetch_add(&inspector->failed, 1);
        give_up(inspector, error->message, verdict);
        add_record(records, inspector, "failed", error->message, clock_ms() - start);
        return;
    }
    atomic_fetch_add(&inspector->given[verdict->kind], 1);
    const char *result = verdict->kind == VERDICT_ACCEPT && changes ? "changed" : verdict_name(verdict->kind);
    add_record(records, inspector, result, verdict->reason, clock_ms() - start);
}

void inspectors_run(Inspectors *inspectors, Message *message, const ContentPlace *place, Resolver *resolver,
                    gint64 deadline, Verdict *verdict, GPtrArray *records)
{
    for (guint i = 0; i < inspectors->list->len; i++) {
        verdict_clear(verdict);
        ask(inspectors->list->pdata[i], message, place, resolver, deadline, verdict, records);
        if (verdict->kind != VERDICT_ACCEPT || verdict->stop)
            return;
    }
}

void inspectors_log_statistics(Inspectors *inspectors)
{
    for (guint i = 0; i < inspectors->list->len; i++) {
        Inspector *inspector = inspectors->list->pdata[i];
        guint64 given[VERDICT_TAKEN + 1], all = 0;
        for (int kind = 0; kind <= VERDICT_TAKEN; kind++)
            all += given[kind] = atomic_exchange(&inspector->given[kind], 0);
        guint64 failed = atomic_exchange(&inspector->failed, 0), skipped = atomic_exchange(&inspector->skipped, 0);
        if (all + failed + skipped == 0)
            continue;
        log_info("statistics: inspector %s: inspected %" G_GUINT64_FORMAT ", not inspected %" G_GUINT64_FORMAT
                 " (failed %" G_GUINT64_FORMAT ", too large %" G_GUINT64_FORMAT "); accept %" G_GUINT64_FORMAT
                 ", reject %" G_GUINT64_FORMAT ", tempfail %" G_GUINT64_FORMAT ", discard %" G_GUINT64_FORMAT
                 ", quarantine %" G_GUINT64_FORMAT,
                 inspector->name, all, failed + skipped, failed, skipped, given[VERDICT_ACCEPT] + given[VERDICT_TAKEN],
                 given[VERDICT_REJECT], given[VERDICT_TEMPFAIL], given[VERDICT_DISCARD], given[VERDICT_QUARANTINE]);
    }
}
