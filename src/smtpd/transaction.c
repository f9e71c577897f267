/* transaction.c - one message, from MAIL to its end. */
#include "base/clock.h"
#include "base/log.h"
#include "mail/received.h"
#include "smtpd/state.h"

#include <string.h>
#include <unistd.h>

#define TRANSACTION_OCTETS 1024 /* about what a transaction takes besides its texts */

/* What XFORWARD says of the client, or what we see of it: never a mixture (XFORWARD_README). */
static void fill_origin(const Smtpd *smtpd, Origin *origin)
{
    const XfAttrs *forwarded = &smtpd->forwarded;
    const char *const *value = (const char *const *)forwarded->value;
    const Peer *client = &smtpd->client;

    if (forwarded->given & XF_CLIENT_SET) {
        origin->name = g_strdup(value[XF_NAME] && *value[XF_NAME] ? value[XF_NAME] : "unknown");
        origin->addr = g_strdup(value[XF_ADDR] && *value[XF_ADDR] ? value[XF_ADDR] : "unknown");
        origin->port = g_strdup(value[XF_PORT] && *value[XF_PORT] ? value[XF_PORT] : "unknown");
        origin->helo = value[XF_HELO] && *value[XF_HELO] ? g_strdup(value[XF_HELO]) : NULL;
        origin->protocol = g_strdup(value[XF_PROTO] && *value[XF_PROTO] ? value[XF_PROTO] : "unknown");
    } else {
        origin->name = g_strdup(client->name);
        origin->addr = g_strdup(client->addr);
        origin->port = g_strdup(client->port);
        origin->helo = g_strdup(smtpd->helo);
        origin->protocol = g_strdup(smtpd->protocol);
        origin->sasl_method = g_strdup(smtpd->sasl_method);
        origin->sasl_username = g_strdup(smtpd->sasl_username);
    }
    origin->is_local = client->rewrite_local;
    if (value[XF_SOURCE] && g_ascii_strcasecmp(value[XF_SOURCE], "LOCAL") == 0)
        origin->is_local = true;
    else if (value[XF_SOURCE] && g_ascii_strcasecmp(value[XF_SOURCE], "REMOTE") == 0)
        origin->is_local = false;
}

void transaction_hold(Smtpd *smtpd, size_t octets)
{
    account_take_anyway(server_account(smtpd->service->server), octets);
    smtpd->transaction->held += octets;
}

bool smtpd_memory_is_full(const Smtpd *smtpd)
{
    Account *account = server_account(smtpd->service->server);
    bool full = account->limit && account->used >= account->limit;

    if (full && account_limit_is_news(account))
        log_warning("sessions hold %zu octets of memory, a quarter of what the machine has: clients are told to try "
                    "again later",
                    account->limit);
    return full;
}

/* SMTPD_POLICY_README: tells the messages apart that policy servers are asked about. */
static char *make_instance(gint64 wall_us)
{
    static _Atomic unsigned count;

    return g_strdup_printf("%x.%" G_GINT64_MODIFIER "x.%" G_GINT64_MODIFIER "x.%x", (unsigned)getpid(),
                           wall_us / G_USEC_PER_SEC, wall_us % G_USEC_PER_SEC, count++);
}

void transaction_begin(Smtpd *smtpd, MailCommand *mail, const char *line)
{
    Transaction *transaction = g_new0(Transaction, 1);
    Envelope *envelope = envelope_new();

    transaction->mail = *mail;
    *mail = (MailCommand){0};
    transaction->mail_line = transaction->mail.requiretls ? mail_command_without(line, "REQUIRETLS") : g_strdup(line);
    transaction->envelope = envelope;
    transaction->prepend = g_ptr_array_new_with_free_func(g_free);
    transaction->bcc = g_ptr_array_new_with_free_func(g_free);
    transaction->arrival_us = clock_wall_us();
    g_free(envelope->sender);
    envelope->sender = route_complete(smtpd->settings->route, transaction->mail.address);
    envelope->arrival_us = transaction->arrival_us;
    envelope->body = transaction->mail.body;
    envelope->ret = transaction->mail.ret;
    envelope->envid = g_strdup(transaction->mail.envid);
    envelope->smtputf8 = transaction->mail.smtputf8;
    envelope->requiretls = transaction->mail.requiretls;
    /* The filter need not know REQUIRETLS: the header tells who is behind it. */
    if (transaction->mail.requiretls && smtpd->service->sink->is_proxy && smtpd->settings->requiretls_header)
        transaction->append = (HeaderAppend){.name = REQUIRETLS_HEADER, .value = "yes"};
    if (*smtpd->settings->content_filter)
        envelope->content_filter = g_strdup(smtpd->settings->content_filter);
    fill_origin(smtpd, &envelope->origin);
    envelope->origin.sasl_sender = g_strdup(transaction->mail.auth);
    transaction->instance = make_instance(transaction->arrival_us);
    smtpd->transaction = transaction;
    trace_begin(smtpd);
    transaction_hold(smtpd, TRANSACTION_OCTETS + ADDRESS_COPIES * strlen(line));
}

void transaction_end(Smtpd *smtpd, bool aborted)
{
    Transaction *transaction = smtpd->transaction;

    xf_attrs_clear(&smtpd->forwarded);
    smtpd->chunk_refused = smtpd->chunk_in_mail = false;
    smtpd->chunk_octets = 0;
    if (!transaction)
        return;
    if (aborted)
        smtpd->service->sink->abort(smtpd);
    smtpd->transaction = NULL;
    account_return(server_account(smtpd->service->server), transaction->held);
    mail_command_clear(&transaction->mail);
    g_free(transaction->mail_line);
    envelope_free(transaction->envelope);
    g_free(transaction->first_recipient);
    g_ptr_array_free(transaction->prepend, TRUE);
    g_free(transaction->filter);
    g_free(transaction->redirect);
    g_ptr_array_free(transaction->bcc, TRUE);
    opening_clear(&transaction->opening);
    header_append_clear(&transaction->append);
    g_free(transaction->trace_note);
    policy_client_release(smtpd->service->policy, transaction->instance);
    g_free(transaction->instance);
    g_free(transaction);
}

bool smtpd_in_chunks(const Smtpd *smtpd)
{
    return smtpd->chunk_refused || (smtpd->transaction && smtpd->transaction->chunked);
}

bool transaction_in(const Session *session)
{
    return smtpd_of(session)->transaction != NULL;
}

static char *own_received(const Smtpd *smtpd)
{
    const Transaction *transaction = smtpd->transaction;
    const GPtrArray *recipients = transaction->envelope->recipients;
    bool extended = strcmp(smtpd->protocol, "ESMTP") == 0; /* RFC 3848 knows ESMTPA only */
    bool authenticated = smtpd->sasl_username && extended;
    g_autofree char *tls = tls_received(smtpd);
    g_autofree char *with =
        g_strconcat(transaction->mail.smtputf8 ? "UTF8SMTP" : smtpd->protocol,
                    extended && session_tls(smtpd->session) ? "S" : "", authenticated ? "A" : "", NULL);
    bool names_login = smtpd->settings->sasl.in_received && smtpd->sasl_username;
    g_autofree char *login = names_login ? g_strdelimit(g_strdup(smtpd->sasl_username), "()\\", '?') : NULL;
    ReceivedInfo info = {
        .helo = smtpd->helo,
        .name = smtpd->client.name,
        .addr = smtpd->client.addr,
        .by = smtpd->settings->hostname,
        .mail_name = smtpd->settings->mail_name,
        .tls = tls,
        .login = login,
        .with = with,
        .id = smtpd->service->sink->has_queue_id ? smtpd->service->sink->queue_id(smtpd) : NULL,
        .recipient = recipients->len == 1 ? transaction->first_recipient : NULL,
        .hide_client = smtpd->settings->hide_client_session,
        .wall_us = transaction->arrival_us,
    };

    return received_header(&info);
}

void transaction_begin_content(Smtpd *smtpd)
{
    Transaction *transaction = smtpd->transaction;
    const SinkClass *sink = smtpd->service->sink;

    if (transaction->content_begun)
        return;
    transaction->content_begun = true;
    for (guint i = 0; i < transaction->prepend->len; i++)
        sink->header(smtpd, g_ptr_array_index(transaction->prepend, i));
    if (sink->is_proxy && smtpd->forwarded.given)
        return; /* between two servers of ours: the one in front has added its header */
    g_autofree char *received = own_received(smtpd);
    sink->header(smtpd, received);
}
