/* evaluate.c - going through a list, and what refusing does: warn_if_reject, defer_if_permit and defer_if_reject. */
#include "access/private.h"

#include <string.h>

#define REPLY_MAX 510 /* octets of a reply's text, without CRLF */
#define CODE_MIN 400
#define CODE_MAX 599
#define BAD_CODE_REPLY "450 4.7.1 Service unavailable"

void note(Evaluation *evaluation, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    g_ptr_array_add(evaluation->decision->log, g_strdup_vprintf(format, args));
    va_end(args);
}

void note_event(Evaluation *evaluation, const char *what, const char *text)
{
    g_ptr_array_add(evaluation->decision->log,
                    access_log_line(what, evaluation->facts, evaluation->facts->protocol, text));
}

/* ---- Refusing ---- */

/* No control character of a table or a client reaches the wire, and no reply is too long for one line. A UTF-8 sequence
 * is not cut. */
static char *finish_reply(const char *reply)
{
    size_t len = strlen(reply);
    const char *end;

    if (len > REPLY_MAX) {
        for (len = REPLY_MAX; len > 0 && ((unsigned char)reply[len] & 0xc0) == 0x80; len--)
            ;
    }
    end = reply + len;
    char *text = g_strndup(reply, (size_t)(end - reply));
    for (char *c = text; *c; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            *c = ' ';
    return text;
}

/* "CODE DSN <what>: class rejected: text" */
static char *compose(Evaluation *evaluation, const Refusal *refusal)
{
    g_autoptr(GString) reply = g_string_new(NULL);
    gint64 code = refusal->code;

    bool is_code = code >= CODE_MIN && code <= CODE_MAX;

    g_string_printf(reply, "%d %c%s ", (int)code, is_code ? (char)('0' + code / 100) : refusal->dsn[0],
                    refusal->dsn + 1);
    if (refusal->what)
        g_string_append_printf(reply, "<%s>: ", refusal->what);
    if (refusal->class)
        g_string_append_printf(reply, "%s rejected: ", refusal->class);
    g_string_append(reply, refusal->text);
    if (!is_code) {
        note(evaluation, "warning: SMTP reply code configuration error: %s", reply->str);
        return g_strdup(BAD_CODE_REPLY);
    }
    return finish_reply(reply->str);
}

/* reply is finished */
static Verdict refuse_finished(Evaluation *evaluation, const char *reply)
{
    if (evaluation->warn_if_reject) {
        note_event(evaluation, "reject_warning", reply);
        return VERDICT_NEXT;
    }
    if (evaluation->defer_if_reject && reply[0] == '5') /* neither is for sure: what might have been permitted first */
        reply = evaluation->defer_if_permit ? evaluation->defer_if_permit : evaluation->defer_if_reject;
    evaluation->decision->kind = DECISION_REJECT;
    g_free(evaluation->decision->reply);
    evaluation->decision->reply = g_strdup(reply);
    return VERDICT_REJECT;
}

Verdict refuse(Evaluation *evaluation, const Refusal *refusal)
{
    g_autofree char *reply = compose(evaluation, refusal);

    return refuse_finished(evaluation, reply);
}

Verdict refuse_with(Evaluation *evaluation, const char *reply)
{
    bool is_code = *reply == '4' || *reply == '5';
    g_autofree char *finished = finish_reply(is_code ? reply : BAD_CODE_REPLY);

    if (!is_code)
        note(evaluation, "warning: SMTP reply code configuration error: %s", reply);

    return refuse_finished(evaluation, finished);
}

Verdict refuse_for_trouble(Evaluation *evaluation, const char *reply)
{
    evaluation->decision->kind = DECISION_REJECT;
    g_free(evaluation->decision->reply);
    evaluation->decision->reply = finish_reply(reply);
    return VERDICT_REJECT;
}

Verdict refuse_for_configuration(Evaluation *evaluation)
{
    return refuse_for_trouble(evaluation, "451 4.3.5 Server configuration error");
}

Verdict refuse_for_lookup(Evaluation *evaluation, const char *what)
{
    g_autofree char *reply = g_strdup_printf("451 4.3.0 <%s>: Temporary lookup failure", what);

    return refuse_for_trouble(evaluation, reply);
}

/* The first one counts: it is the problem that came first. */
static void remember(Evaluation *evaluation, char **reply, const Refusal *refusal)
{
    if (!*reply)
        *reply = compose(evaluation, refusal);
}

void defer_if_permit(Evaluation *evaluation, const Refusal *refusal)
{
    if (evaluation->warn_if_reject)
        refuse(evaluation, refusal); /* which warns */
    else
        remember(evaluation, &evaluation->defer_if_permit, refusal);
}

void defer_if_reject(Evaluation *evaluation, const Refusal *refusal)
{
    remember(evaluation, &evaluation->defer_if_reject, refusal);
}

/* ---- Permitting ---- */

Verdict allow(Evaluation *evaluation, const Permission *permission)
{
    if (!evaluation->defer_if_permit && /* which may yet be no */
        match_string(evaluation->access->permit_log, permission->action) == MATCH_YES) {
        g_autofree char *text =
            g_strdup_printf("action=%s for %s=%s %s%s", permission->action, permission->class, permission->what,
                            permission->table ? "from " : "", permission->table ? permission->table : "");
        note_event(evaluation, "permit", text);
    }
    return VERDICT_OK;
}

/* What a restriction that permits is about: what is asked for, or the client. */
static Verdict allow_for(Evaluation *evaluation, const Rule *rule)
{
    static const char *const about_subject[] = {"permit", "permit_auth_destination", "permit_mx_backup"};
    bool is_about_subject = false;

    for (size_t i = 0; i < G_N_ELEMENTS(about_subject); i++)
        is_about_subject |= strcmp(rule->restriction->name, about_subject[i]) == 0;
    if (is_about_subject)
        return allow(evaluation, &(Permission){rule->word, evaluation->what, evaluation->subject.class, NULL});
    return allow(evaluation, &(Permission){rule->word, evaluation->client, "Client host", NULL});
}

/* ---- Going through a list ---- */

static Verdict evaluate_bare_table(Evaluation *evaluation, const Rule *rule)
{
    const Subject *subject = &evaluation->subject;

    if (subject->default_check)
        return restriction_find(subject->default_check)->function(evaluation, rule);
    note(evaluation,
         "warning: specify one of (check_client_access, check_reverse_client_hostname_access, check_helo_access, "
         "check_sender_access, check_recipient_access, check_etrn_access) before %s restriction \"%s\"",
         subject->class, rule->word);
    return refuse_for_configuration(evaluation);
}

static Verdict evaluate_rule(Evaluation *evaluation, const Rule *rule)
{
    if (rule->problem) {
        note(evaluation, "warning: %s", rule->problem);
        return refuse_for_configuration(evaluation);
    }
    if (rule->class)
        return evaluate_list(evaluation, rule->class);
    if (!rule->restriction)
        return evaluate_bare_table(evaluation, rule);
    Verdict verdict = rule->restriction->function(evaluation, rule);
    bool permits = verdict == VERDICT_OK && g_str_has_prefix(rule->restriction->name, "permit");
    return permits ? allow_for(evaluation, rule) : verdict;
}

/* DNS lists that stand together are asked together: each may take its time. */
static void ask_ahead(Evaluation *evaluation, const List *list, guint start)
{
    for (guint i = start; i < list->rules->len; i++) {
        const Rule *rule = &g_array_index(list->rules, Rule, i);
        if (!rule->restriction || !rule->restriction->ahead)
            return;
        rule->restriction->ahead(evaluation, rule);
    }
}

static Verdict evaluate_rules(Evaluation *evaluation, const List *list)
{
    for (guint i = 0; i < list->rules->len && !evaluation->decision->discard; i++) {
        const Rule *rule = &g_array_index(list->rules, Rule, i);
        bool is_last = i + 1 == list->rules->len;

        if (g_ascii_strcasecmp(rule->word, "warn_if_reject") == 0) {
            if (!evaluation->warn_if_reject)
                evaluation->warn_if_reject = evaluation->depth;
            continue;
        }
        bool is_final = rule->restriction && rule->restriction->argument == ARGUMENT_FINAL;
        if (is_final && !is_last && (!evaluation->warn_if_reject || strcmp(rule->restriction->name, "permit") == 0))
            note(evaluation, "warning: restriction `%s' after `%s' is ignored", (rule + 1)->word,
                 rule->restriction->name);
        Verdict verdict = evaluate_rule(evaluation, rule);
        if (verdict == VERDICT_NEED)
            ask_ahead(evaluation, list, i + 1);
        if (evaluation->warn_if_reject >= evaluation->depth)
            evaluation->warn_if_reject = 0;
        if (verdict != VERDICT_NEXT)
            return verdict;
    }
    return VERDICT_NEXT;
}

Verdict evaluate_list(Evaluation *evaluation, const List *list)
{
    if (evaluation->depth >= DEPTH_MAX) {
        note(evaluation, "warning: SMTPD access map, restriction class or policy nesting level exceeds %d", DEPTH_MAX);
        return refuse_for_configuration(evaluation);
    }
    evaluation->depth++;
    Verdict verdict = evaluate_rules(evaluation, list);
    evaluation->depth--;
    return verdict;
}
