/* proxy.c - the dialogue with a before-queue filter. */
#include "smtpd/proxy.h"
#include "base/log.h"
#include "mail/address.h"
#include "smtp/dial.h"

#include <string.h>

static const char *filter_name(const Smtpd *smtpd)
{
    return smtpd->settings->proxy->name;
}

void proxy_log_failure(Smtpd *smtpd, const GError *error)
{
    if (g_error_matches(error, CLIENT_ERROR, CLIENT_ERROR_CONNECT))
        log_warning("connect to proxy filter %s: %s", filter_name(smtpd), error->message);
    else if (g_error_matches(error, CLIENT_ERROR, CLIENT_ERROR_TIMEOUT))
        log_warning("timeout talking to proxy %s", filter_name(smtpd));
    else
        log_warning("lost connection with proxy %s", filter_name(smtpd));
}

static void log_unexpected(Smtpd *smtpd, const char *command, const Reply *reply)
{
    g_autofree char *shown = reply_for_log(reply);

    log_warning("proxy %s rejected \"%s\": \"%s\"", filter_name(smtpd), command, shown);
}

/* What the client gets for a reply of an unexpected class: the reply, but never one that would tell it to go on. */
static Reply *refusal_for(const Reply *reply)
{
    return reply_is(reply, 2) || reply_is(reply, 3) ? reply_new(QUEUE_FILE_ERROR) : reply_copy(reply);
}

bool proxy_command(Smtpd *smtpd, Client *filter, const char *line, int want, Reply **ret_reply, bool *ret_lost)
{
    g_autoptr(Reply) reply = NULL;
    g_autoptr(GError) error = NULL;

    *ret_lost = client_heard_too_much(filter) || !client_command_line(filter, &reply, &error, line);
    if (*ret_lost) {
        proxy_log_failure(smtpd, error);
        *ret_reply = reply_new(QUEUE_FILE_ERROR);
        return false;
    }
    bool expected = reply_is(reply, want);
    if (!expected)
        log_unexpected(smtpd, line, reply);
    *ret_reply = expected ? g_steal_pointer(&reply) : refusal_for(reply);
    return expected;
}

/* For what the client did not say itself: whatever the filter answers, strangers learn nothing of it. */
static bool own_command(Smtpd *smtpd, Client *filter, const char *line, Reply **ret_reply)
{
    g_autoptr(GError) error = NULL;
    bool done = !client_heard_too_much(filter) && (line ? client_command_line(filter, ret_reply, &error, line)
                                                        : client_read_reply(filter, ret_reply, &error));

    if (!done) {
        proxy_log_failure(smtpd, error);
        return false;
    }
    if (reply_is(*ret_reply, 2))
        return true;
    log_unexpected(smtpd, line ? line : "connection request", *ret_reply);
    return false;
}

static char *known(const char *value)
{
    return g_strdup(value && strcmp(value, "unknown") != 0 ? value : "");
}

/* What the next hop shall know of our client: what we were told ourselves, or what we see. */
static void describe_client(const Smtpd *smtpd, XfAttrs *attrs)
{
    const Origin *origin = &smtpd->transaction->envelope->origin;

    attrs->value[XF_NAME] = known(origin->name);
    attrs->value[XF_ADDR] = known(origin->addr);
    attrs->value[XF_PORT] = known(origin->port);
    attrs->value[XF_HELO] = g_strdup(origin->helo ? origin->helo : "");
    attrs->value[XF_IDENT] =
        g_strdup(smtpd->forwarded.given & (1u << XF_IDENT) ? smtpd->forwarded.value[XF_IDENT] : "");
    attrs->value[XF_PROTO] = known(origin->protocol);
    attrs->value[XF_SOURCE] = g_strdup(origin->is_local ? "LOCAL" : "REMOTE");
}

static bool forward_identity(Smtpd *smtpd, Client *filter, const Reply *ehlo)
{
    XfAttrs attrs = {0};
    g_autofree char *warning = NULL;
    bool done = true;

    describe_client(smtpd, &attrs);
    g_autoptr(GPtrArray) commands = xforward_commands(&attrs, xforward_offer_in(reply_text(ehlo)), &warning);
    xf_attrs_clear(&attrs);
    if (warning)
        log_warning("%s", warning);
    for (guint i = 0; done && i < commands->len; i++) {
        g_autoptr(Reply) reply = NULL;
        done = own_command(smtpd, filter, g_ptr_array_index(commands, i), &reply);
    }
    return done;
}

void proxy_log_busy(const Smtpd *smtpd)
{
    const Settings *settings = smtpd->settings;

    if (!slots_refusal_is_news(smtpd->service->slots))
        return;
    log_warning(
        "proxy %s: no filter slot is free, clients are told to try again later (smtpd_proxy_concurrency_limit = "
        "%d, smtpd_proxy_wait_time = %" G_GINT64_FORMAT "s, smtpd_proxy_wait_limit = %d%s)",
        filter_name(smtpd), settings->proxy_slots, settings->proxy_wait_ms / 1000, settings->proxy_wait_limit,
        settings->speed_adjust ? "" : "; with smtpd_proxy_options = speed_adjust slow clients hold none");
}

Outcome proxy_enter(Smtpd *smtpd, SlotPlace *place)
{
    const SmtpdService *service = smtpd->service;
    gint64 deadline;

    switch (slots_take(service->slots, place, smtpd->session->self, &deadline)) {
    case SLOT_WAIT:
        return outcome_wait(deadline, true);
    case SLOT_BUSY:
        proxy_log_busy(smtpd);
        smtpd->refusal = reply_new("451 4.3.2 Error: try again later");
        return outcome_done();
    case SLOT_TAKEN:
        break;
    }
    return session_at_gate(smtpd->session, service->filter_gate) ? outcome_done() : outcome_gate(service->filter_gate);
}

Client *proxy_open(Smtpd *smtpd, Reply **ret_refusal)
{
    const Settings *settings = smtpd->settings;
    g_autofree char *peer = g_strdup_printf("proxy %s", filter_name(smtpd));
    g_autofree char *ehlo = g_strdup_printf("EHLO %s", settings->proxy_ehlo);
    g_autoptr(GError) error = NULL;
    g_autoptr(Reply) reply = NULL;
    bool lost;

    Client *filter = dial(smtpd->service->resolver, settings->proxy, settings->inet_protocols, peer,
                          settings->proxy_timeout_ms, &error);
    if (!filter) {
        proxy_log_failure(smtpd, error);
        *ret_refusal = reply_new(QUEUE_FILE_ERROR);
        return NULL;
    }
    if (!own_command(smtpd, filter, NULL, &reply) || !own_command(smtpd, filter, ehlo, &reply) ||
        !forward_identity(smtpd, filter, reply)) {
        *ret_refusal = reply_new(QUEUE_FILE_ERROR);
        client_quit(filter);
        return NULL;
    }
    g_autoptr(Reply) answer = NULL;
    if (!proxy_command(smtpd, filter, smtpd->transaction->mail_line, 2, &answer, &lost)) {
        *ret_refusal = g_steal_pointer(&answer);
        client_quit(filter);
        return NULL;
    }
    return filter;
}

Reply *proxy_finish(Smtpd *smtpd, Client *filter)
{
    g_autoptr(GError) error = NULL;
    Reply *reply = NULL;

    if (client_end_content(filter, &reply, &error))
        return reply;
    proxy_log_failure(smtpd, error);
    return reply_new(QUEUE_FILE_ERROR);
}

void proxy_log_client(Smtpd *smtpd)
{
    if (smtpd->transaction->logged_client)
        return;
    smtpd->transaction->logged_client = true;
    smtpd_log_client(smtpd, NULL);
}

void proxy_log_verdict(Smtpd *smtpd, const char *reply)
{
    const Transaction *transaction = smtpd->transaction;
    g_autofree char *sender = address_quote(transaction->mail.address);
    g_autoptr(GString) line = g_string_new(NULL);

    g_string_printf(line, "proxy-%s: %s: %s; from=<%s> to=<%s> proto=%s", *reply == '2' ? "accept" : "reject",
                    smtpd->session->where, reply, sender,
                    transaction->first_recipient ? transaction->first_recipient : "", smtpd->protocol);
    if (smtpd->helo)
        g_string_append_printf(line, " helo=<%s>", smtpd->helo);
    if (smtpd->sasl_username)
        g_string_append_printf(line, " sasl_username=<%s>", smtpd->sasl_username);
    log_info("%s", line->str);
}
