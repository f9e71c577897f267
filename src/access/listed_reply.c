/* listed_reply.c - what a client is told that a DNS list knows: rbl_reply_maps, default_rbl_reply. */
#include "access/private.h"
#include "access/values.h"
#include "config/expand.h"
#include "route/dsn.h"

#include <string.h>

typedef struct {
    Evaluation *evaluation;
    const Listing *listing;
    AccessValues session;
    char code[24];
} Values;

static const char *value_of(void *data, const char *name, bool *ret_exists)
{
    Values *values = data;
    const Listing *listing = values->listing;
    const struct {
        const char *name, *value;
    } texts[] = {
        {"rbl_code", values->code},  {"rbl_domain", listing->list->domain}, {"rbl_class", listing->class},
        {"rbl_what", listing->what}, {"rbl_reason", listing->reason},       {"rbl_txt", listing->reason},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(texts); i++)
        if (strcmp(name, texts[i].name) == 0)
            return texts[i].value;
    return access_value(&values->session, name, ret_exists);
}

/* NULL: the template is bad, as the log will say. */
static char *expand(Evaluation *evaluation, const Listing *listing, const char *template)
{
    const Access *access = evaluation->access;
    Values values = {.evaluation = evaluation,
                     .listing = listing,
                     .session = {.facts = evaluation->facts, .hostname = access->hostname}};
    g_autoptr(GPtrArray) unknown = g_ptr_array_new_with_free_func(g_free);
    g_autoptr(GError) error = NULL;

    g_snprintf(values.code, sizeof values.code, "%" G_GINT64_FORMAT, access->rbl_code);
    g_autofree char *text = expand_values(template, access->expansion_filter, value_of, &values, unknown, &error);
    access_values_clear(&values.session);
    for (guint i = 0; i < unknown->len; i++)
        note(evaluation, "warning: unknown macro name \"%s\" in expansion request",
             (char *)g_ptr_array_index(unknown, i));
    if (!text)
        note(evaluation, "warning: %s", error->message);
    return unknown->len > 0 ? NULL : g_steal_pointer(&text);
}

/* "CODE [DSN] text" */
static Verdict refuse_expanded(Evaluation *evaluation, const Listing *listing, const char *reply)
{
    size_t digits = strspn(reply, "0123456789");
    gint64 code = digits == 3 && reply[3] == ' ' ? g_ascii_strtoll(reply, NULL, 10) : 0;

    if (code < 400 || code > 599) {
        note(evaluation, "warning: rbl response code configuration error: %s", reply);
        return refuse(evaluation, &(Refusal){.code = 450, .dsn = "4.7.1", .text = "Service unavailable"});
    }
    const char *text = reply + 4;
    size_t len = dsn_length(text);
    g_autofree char *given = g_strndup(text, len);
    g_autofree char *dsn = dsn_for_class(evaluation, len > 0 ? given : "5.7.1", listing->class);
    text += len;
    return refuse(evaluation, &(Refusal){.code = code, .dsn = dsn, .text = text + strspn(text, " ")});
}

Verdict refuse_listed(Evaluation *evaluation, const Listing *listing)
{
    const Access *access = evaluation->access;
    g_autofree char *template = NULL;
    TableResult result = tables_lookup(access->rbl_replies, listing->list->text, &template);

    if (result == TABLE_ABSENT && !listing->list->any)
        result = tables_lookup(access->rbl_replies, listing->list->domain, &template);
    if (result == TABLE_FAILED)
        return refuse_for_configuration(evaluation);
    g_autofree char *reply = template ? expand(evaluation, listing, template) : NULL;
    if (template && !reply)
        note(evaluation, "warning: bad rbl reply template for domain %s: %s", listing->list->domain, template);
    if (!reply)
        reply = expand(evaluation, listing, access->rbl_reply);
    if (reply)
        return refuse_expanded(evaluation, listing, reply);
    note(evaluation, "warning: bad default rbl reply template: %s", access->rbl_reply);
    return refuse_for_configuration(evaluation);
}
