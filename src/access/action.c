/* action.c - what access tables and policies can say (access(5)). */
#include "access/private.h"
#include "route/dsn.h"

#include <string.h>

/* An action's word and the text behind it. */
typedef struct {
    Evaluation *evaluation;
    const Found *found;
    const char *word;
    const char *text; /* trimmed; "" where there is none */
} Action;

/* Text may begin with a status code of its own. */
static Refusal refusal_of(const Action *action, gint64 code, const char *dsn, const char *default_text,
                          char **dsn_owner)
{
    size_t len = dsn_length(action->text);
    const char *text = action->text + len;

    while (g_ascii_isspace(*text))
        text++;
    g_autofree char *given = g_strndup(action->text, len);
    *dsn_owner = dsn_for_class(action->evaluation, len > 0 ? given : dsn, action->found->class);
    return (Refusal){.code = code,
                     .dsn = *dsn_owner,
                     .what = action->found->what,
                     .class = action->found->class,
                     .text = *text ? text : default_text};
}

static Verdict permit_as(const Action *action)
{
    const Found *found = action->found;

    return allow(action->evaluation, &(Permission){action->word, found->what, found->class, found->table});
}

static Verdict act_dunno(const Action *action)
{
    return VERDICT_NEXT;
}

static Verdict act_reject(const Action *action)
{
    g_autofree char *dsn = NULL;
    Refusal refusal = refusal_of(action, action->evaluation->access->map_reject_code, "5.7.1", "Access denied", &dsn);

    return refuse(action->evaluation, &refusal);
}

static Verdict act_defer(const Action *action)
{
    g_autofree char *dsn = NULL;
    Refusal refusal = refusal_of(action, action->evaluation->access->map_defer_code, "4.7.1", "Access denied", &dsn);

    return refuse(action->evaluation, &refusal);
}

static Verdict act_defer_if_permit(const Action *action)
{
    g_autofree char *dsn = NULL;
    Refusal refusal =
        refusal_of(action, action->evaluation->access->map_defer_code, "4.7.1", "Service unavailable", &dsn);

    defer_if_permit(action->evaluation, &refusal);
    return VERDICT_NEXT;
}

static Verdict act_defer_if_reject(const Action *action)
{
    g_autofree char *dsn = NULL;
    Refusal refusal =
        refusal_of(action, action->evaluation->access->map_defer_code, "4.7.1", "Service unavailable", &dsn);

    defer_if_reject(action->evaluation, &refusal);
    return VERDICT_NEXT;
}

static Verdict act_warn(const Action *action)
{
    note_event(action->evaluation, "warn", action->text);
    return VERDICT_NEXT;
}

static Verdict act_info(const Action *action)
{
    note_event(action->evaluation, "info", action->text);
    return VERDICT_NEXT;
}

/* "hold: ... <x>: Recipient address triggers HOLD action", or with the text of the table behind the class. */
static void note_trigger(const Action *action, const char *what, const char *text)
{
    g_autofree char *line = g_strdup_printf("<%s>: %s %s", action->found->what, action->found->class, text);

    note_event(action->evaluation, what, line);
}

static Verdict act_hold(const Action *action)
{
    Decision *decision = action->evaluation->decision;

    if (!decision->hold && !action->evaluation->facts->held)
        note_trigger(action, "hold", *action->text ? action->text : "triggers HOLD action");
    decision->hold = true;
    return VERDICT_NEXT;
}

static Verdict act_discard(const Action *action)
{
    note_trigger(action, "discard", *action->text ? action->text : "triggers DISCARD action");
    action->evaluation->decision->discard = true;
    return permit_as(action);
}

static Verdict warn_of_text(const Action *action, const char *need)
{
    note(action->evaluation, "warning: access table %s entry \"%s\" requires %s", action->found->table,
         action->found->key, need);
    return VERDICT_NEXT;
}

static Verdict act_filter(const Action *action)
{
    Decision *decision = action->evaluation->decision;
    g_autofree char *text = g_strdup_printf("triggers FILTER %s", action->text);

    if (!*action->text) {
        note(action->evaluation, "warning: access table %s entry \"%s\" has FILTER entry without value",
             action->found->table, action->found->key);
        return VERDICT_NEXT;
    }
    if (!strchr(action->text, ':'))
        return warn_of_text(action, "transport:destination");
    note_trigger(action, "filter", text);
    g_free(decision->filter);
    decision->filter = g_strdup(action->text);
    return VERDICT_NEXT;
}

static Verdict act_redirect(const Action *action)
{
    Decision *decision = action->evaluation->decision;
    g_autofree char *text = g_strdup_printf("triggers REDIRECT %s", action->text);

    if (!strchr(action->text, '@'))
        return warn_of_text(action, "user@domain target");
    note_trigger(action, "redirect", text);
    g_free(decision->redirect);
    decision->redirect = g_strdup(action->text);
    return VERDICT_NEXT;
}

static Verdict act_bcc(const Action *action)
{
    g_autofree char *text = g_strdup_printf("triggers BCC %s", action->text);

    if (!strchr(action->text, '@'))
        return warn_of_text(action, "user@domain target");
    note_trigger(action, "bcc", text);
    g_ptr_array_add(action->evaluation->decision->bcc, g_strdup(action->text));
    return VERDICT_NEXT;
}

static bool is_header(const char *text)
{
    size_t len = 0;

    while (text[len] > ' ' && text[len] < 0x7f && text[len] != ':')
        len++;
    return len > 0 && text[len] == ':';
}

static Verdict act_prepend(const Action *action)
{
    if (strcmp(action->found->class, "End-of-data") == 0 ||
        strcmp(action->evaluation->facts->state, "END-OF-MESSAGE") == 0) {
        note(action->evaluation, "warning: access table %s: action PREPEND must be used before %s",
             action->found->table, "smtpd_end_of_data_restrictions");
        return VERDICT_NEXT;
    }
    if (!is_header(action->text))
        return warn_of_text(action, "header: text");
    g_ptr_array_add(action->evaluation->decision->prepend, g_strdup(action->text));
    return VERDICT_NEXT;
}

typedef struct {
    const char *word;
    Verdict (*act)(const Action *action);
    bool needs_mail;  /* what becomes of a message: nothing before there is one */
    bool needs_queue; /* nothing that a server in front of a filter can do */
} ActionType;

static const ActionType types[] = {
    {"OK", permit_as},
    {"RELAY", permit_as},
    {"DUNNO", act_dunno},
    {"REJECT", act_reject},
    {"DEFER", act_defer},
    {"DEFER_IF_PERMIT", act_defer_if_permit},
    {"DEFER_IF_REJECT", act_defer_if_reject},
    {"WARN", act_warn},
    {"INFO", act_info},
    {"HOLD", act_hold, true, true},
    {"DISCARD", act_discard, true, true},
    {"FILTER", act_filter, true, true},
    {"REDIRECT", act_redirect, true, true},
    {"BCC", act_bcc, true, true},
    {"PREPEND", act_prepend, true},
};

static const ActionType *find_type(const char *word)
{
    for (size_t i = 0; i < G_N_ELEMENTS(types); i++)
        if (g_ascii_strcasecmp(types[i].word, word) == 0)
            return &types[i];
    return NULL;
}

static Verdict apply_type(const ActionType *type, const Action *action)
{
    if (type->needs_mail && strcmp(action->evaluation->facts->state, "ETRN") == 0) {
        note(action->evaluation, "warning: access table %s: action %s is unavailable in smtpd_etrn_restrictions",
             action->found->table, type->word);
        return VERDICT_NEXT;
    }
    if (type->needs_mail && !action->evaluation->facts->sender) {
        note(action->evaluation,
             "warning: access table %s: with smtpd_delay_reject=no, action %s is always skipped in Client host or Helo "
             "command restrictions",
             action->found->table, type->word);
        return VERDICT_NEXT;
    }
    if (!type->needs_queue || !action->evaluation->facts->behind_proxy_filter)
        return type->act(action);
    note(action->evaluation, "warning: access table %s: with smtpd_proxy_filter specified, action %s is unavailable",
         action->found->table, type->word);
    return VERDICT_NEXT;
}

/* "450 text"; a code alone permits, as any number does. */
static bool is_code(const char *word)
{
    return strlen(word) == 3 && (word[0] == '4' || word[0] == '5') && g_ascii_isdigit(word[1]) &&
           g_ascii_isdigit(word[2]);
}

static Verdict apply_code(const Action *action, const char *word)
{
    g_autofree char *dsn = NULL;
    Refusal refusal =
        refusal_of(action, g_ascii_strtoll(word, NULL, 10), word[0] == '4' ? "4.7.1" : "5.7.1", "Access denied", &dsn);

    return refuse(action->evaluation, &refusal);
}

/* Anything else is a restriction list. */
static Verdict apply_list(Evaluation *evaluation, const Found *found)
{
    List *list;
    Verdict verdict;

    if (strchr(found->value, ':')) {
        note(evaluation, "warning: access table %s has entry with lookup table: %s", found->table, found->value);
        note(evaluation, "warning: do not specify lookup tables inside SMTPD access maps");
        note(evaluation, "warning: define a restriction class and specify its name instead.");
        return refuse_for_configuration(evaluation);
    }
    if (evaluation->depth >= DEPTH_MAX) {
        note(evaluation, "warning: access table %s entry %s causes unreasonable recursion", found->table, found->value);
        return refuse_for_configuration(evaluation);
    }
    list = list_new();
    list_compile(list, evaluation->access, found->value, true, NULL);
    const char *what = evaluation->what;
    const char *class = evaluation->subject.class;
    evaluation->what = found->what;
    evaluation->subject.class = found->class;
    verdict = evaluate_list(evaluation, list);
    evaluation->what = what;
    evaluation->subject.class = class;
    list_free(list);
    return verdict;
}

Verdict apply_action(Evaluation *evaluation, const Found *found)
{
    size_t len = strcspn(found->value, " \t");
    g_autofree char *word = g_strndup(found->value, len);
    g_autofree char *text = g_strstrip(g_strdup(found->value + len));
    const Action action = {.evaluation = evaluation, .found = found, .word = word, .text = text};
    const ActionType *type = find_type(word);

    if (!*word && !*text) {
        note(evaluation, "warning: access table %s entry %s has empty value", found->table, found->value);
        return VERDICT_OK;
    }
    if (type)
        return apply_type(type, &action);
    if (is_code(word) && *text)
        return apply_code(&action, word);
    if (len > 0 && !found->value[len] && strspn(word, "0123456789") == len) /* a code whose text is missing is none */
        return permit_as(&action);
    return apply_list(evaluation, found);
}
