/* decision.c - the outcome of access control, and how it is logged. */
#include "access/private.h"
#include "mail/address.h"

Decision *decision_new(void)
{
    Decision *decision = g_new0(Decision, 1);

    decision->kind = DECISION_PERMIT;
    decision->log = g_ptr_array_new_with_free_func(g_free);
    decision->prepend = g_ptr_array_new_with_free_func(g_free);
    decision->bcc = g_ptr_array_new_with_free_func(g_free);
    return decision;
}

void decision_free(Decision *decision)
{
    if (!decision)
        return;
    g_free(decision->reply);
    g_ptr_array_unref(decision->log);
    g_ptr_array_unref(decision->prepend);
    g_ptr_array_unref(decision->bcc);
    g_free(decision->filter);
    g_free(decision->redirect);
    g_free(decision->doubt);
    g_free(decision);
}

static void append_address(GString *line, const char *name, const char *address)
{
    g_autofree char *external = *address ? address_quote(address) : g_strdup("");

    g_string_append_printf(line, " %s=<%s>", name, external);
}

char *access_client(const AccessFacts *facts)
{
    return facts->client ? g_strdup(facts->client) : g_strdup_printf("%s[%s]", facts->client_name, facts->client_addr);
}

char *access_log_line(const char *what, const AccessFacts *facts, const char *proto, const char *text)
{
    GString *line = g_string_new(NULL);

    g_autofree char *client = access_client(facts);

    g_string_printf(line, "%s: %s from %s: %s;", what, facts->state, client, text);
    if (facts->sender)
        append_address(line, "from", facts->sender);
    if (facts->recipient)
        append_address(line, "to", facts->recipient);
    g_string_append_printf(line, " proto=%s", proto ? proto : "SMTP");
    if (facts->helo)
        g_string_append_printf(line, " helo=<%s>", facts->helo);
    if (facts->sasl_method)
        g_string_append_printf(line, " sasl_method=%s", facts->sasl_method);
    if (facts->sasl_username)
        g_string_append_printf(line, " sasl_username=%s", facts->sasl_username);
    if (facts->sasl_sender)
        g_string_append_printf(line, " sasl_sender=%s", facts->sasl_sender);
    return g_string_free(line, FALSE);
}
