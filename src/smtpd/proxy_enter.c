/* proxy_enter.c - the way to a filter that can be told of a message: a slot, a connection, its greeting, TLS. */
#include "base/clock.h"
#include "base/log.h"
#include "smtp/dial.h"
#include "smtp/envelope_lines.h"
#include "smtpd/proxy_private.h"

#include <string.h>

static const char *filter_name(const Smtpd *smtpd)
{
    return smtpd->settings->proxy->name;
}

void proxy_log_failure(Smtpd *smtpd, const GError *error)
{
    const char *note = smtpd_trace_note(smtpd);

    if (g_error_matches(error, CLIENT_ERROR, CLIENT_ERROR_CONNECT))
        log_warning("connect to proxy filter %s: %s%s", filter_name(smtpd), error->message, note);
    else if (g_error_matches(error, CLIENT_ERROR, CLIENT_ERROR_TLS))
        log_warning("proxy %s: %s%s", filter_name(smtpd), error->message, note);
    else if (g_error_matches(error, CLIENT_ERROR, CLIENT_ERROR_TIMEOUT))
        log_warning("timeout talking to proxy %s%s", filter_name(smtpd), note);
    else
        log_warning("lost connection with proxy %s%s", filter_name(smtpd), note);
}

void proxy_log_unexpected(Smtpd *smtpd, const char *command, const Reply *reply)
{
    g_autofree char *shown = reply_for_log(reply);

    log_warning("proxy %s rejected \"%s\": \"%s\"%s", filter_name(smtpd), command, shown, smtpd_trace_note(smtpd));
}

void proxy_refuse(Smtpd *smtpd, Reply *reply)
{
    smtpd->refusal = reply ? reply : reply_new(QUEUE_FILE_ERROR);
}

Outcome proxy_wait(Smtpd *smtpd, Proxy *proxy)
{
    return client_wait(proxy->link.client, smtpd->session, &proxy->watch);
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
    attrs->value[XF_IDENT] = g_strdup(smtpd_ident(smtpd)); /* NULL: unavailable */
    attrs->value[XF_PROTO] = known(origin->protocol);
    attrs->value[XF_SOURCE] = g_strdup(origin->is_local ? "LOCAL" : "REMOTE");
}

/* What is to be said before the client's own commands. */
static void prepare_preface(Smtpd *smtpd, Proxy *proxy)
{
    XfAttrs attrs = {0};
    g_autofree char *warning = NULL;

    describe_client(smtpd, &attrs);
    proxy->preface = xforward_commands(&attrs, proxy->link.xforward, &warning);
    xf_attrs_clear(&attrs);
    if (warning)
        log_warning("%s", warning);
    if (proxy->resets)
        g_ptr_array_insert(proxy->preface, 0, g_strdup("RSET"));
    g_ptr_array_add(proxy->preface, g_strdup(smtpd->transaction->mail_line));
    proxy->link.messages++;
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

static void refuse_busy(Smtpd *smtpd)
{
    static const char reply[] = "451 4.3.2 Error: try again later";

    proxy_log_busy(smtpd);
    smtpd->refusal = reply_new(reply);
    /* That was perhaps said of another message. With speed_adjust each has its proxy-reject line. */
    if (*smtpd_trace_note(smtpd) && !smtpd->settings->speed_adjust) {
        AccessFacts facts = smtpd_facts(smtpd, smtpd->session->where);
        smtpd_log_reject(smtpd, &facts, reply);
    }
}

static Outcome take_slot(Smtpd *smtpd, Proxy *proxy)
{
    Transaction *transaction = smtpd->transaction;
    gint64 deadline;

    if (!transaction->times.slot_asked_ms)
        transaction->times.slot_asked_ms = clock_ms();
    SlotAnswer answer = slots_take(smtpd->service->slots, &proxy->slot, smtpd->session->self, &deadline);
    if (answer == SLOT_WAIT)
        return outcome_wait(deadline, true);
    transaction->times.wait_ms += clock_ms() - transaction->times.slot_asked_ms;
    transaction->times.slot_asked_ms = 0;
    if (answer == SLOT_BUSY)
        refuse_busy(smtpd);
    return outcome_done();
}

static Outcome connect_filter(Smtpd *smtpd, Proxy *proxy)
{
    const Settings *settings = smtpd->settings;
    const Endpoint *endpoint = settings->proxy;
    Gate *gate = smtpd->service->dial_gate;
    bool blocks = endpoint->path || endpoint->addresses->len == 0; /* a full backlog; a name to look up */
    g_autofree char *peer = g_strdup_printf("proxy %s", filter_name(smtpd));
    g_autoptr(GError) error = NULL;
    ClientStatus status = CLIENT_DONE;

    if (blocks && !session_at_gate(smtpd->session, gate))
        return outcome_gate(gate);
    if (blocks)
        proxy->link.client = dial(smtpd->service->resolver, endpoint, settings->inet_protocols, peer,
                                  settings->proxy_timeout_ms, &error);
    else if (!proxy->link.client)
        proxy->link.client = client_begin(endpoint, peer, settings->proxy_timeout_ms);
    if (!blocks)
        status = client_try_connect(proxy->link.client, &error);
    if (status == CLIENT_WAIT)
        return proxy_wait(smtpd, proxy);
    proxy->link.settings = settings;
    if (error) {
        proxy_log_failure(smtpd, error);
        proxy_refuse(smtpd, NULL);
    }
    return outcome_done();
}

/* --- the connection --- */

/* Settings differ where main.cf asks for stress. */
static bool same_filter(const Settings *one, const Settings *other)
{
    return g_str_equal(one->proxy->name, other->proxy->name) && g_str_equal(one->proxy_ehlo, other->proxy_ehlo) &&
           hop_tls_equal(one->proxy_tls, other->proxy_tls);
}

/* A slot is held, and maybe a connection that another message has left. */
static void take_kept(Smtpd *smtpd, Proxy *proxy)
{
    g_autofree ProxyLink *kept = g_steal_pointer(&proxy->slot.kept);

    if (!kept)
        return;
    if (!same_filter(kept->settings, smtpd->settings) || !client_is_quiet(kept->client)) {
        client_quit(kept->client);
        return;
    }
    proxy->link = *kept;
    proxy->resets = proxy->replaceable = proxy->watch.moved = true;
    proxy->stage = PROXY_PREFACE;
}

void proxy_disconnect(Proxy *proxy)
{
    client_quit(g_steal_pointer(&proxy->link.client));
    if (proxy->preface)
        g_ptr_array_free(g_steal_pointer(&proxy->preface), TRUE);
    g_clear_pointer(&proxy->refusal, reply_free);
    *proxy = (Proxy){.slot = proxy->slot, .lost = proxy->lost};
}

/* For what the client did not say itself: whatever the filter answers, strangers learn nothing of it. */
static Outcome greet(Smtpd *smtpd, Proxy *proxy, const char *line)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(Reply) reply = NULL;
    ClientStatus status = CLIENT_FAILED;

    if (!client_heard_too_much(proxy->link.client))
        status = client_try_command(proxy->link.client, line, &reply, &error);
    if (status == CLIENT_WAIT)
        return proxy_wait(smtpd, proxy);
    if (status == CLIENT_DONE && reply_is(reply, 2)) {
        proxy->link.xforward = xforward_offer_in(reply_text(reply));
        proxy->link.offers = offers_in(reply_text(reply));
        return outcome_done();
    }
    if (reply)
        proxy_log_unexpected(smtpd, line ? line : "connection request", reply);
    else
        proxy_log_failure(smtpd, error);
    proxy_refuse(smtpd, NULL);
    return outcome_done();
}

static Outcome fail(Smtpd *smtpd, const GError *error)
{
    proxy_log_failure(smtpd, error);
    proxy_refuse(smtpd, NULL);
    return outcome_done();
}

static Outcome ask_for_tls(Smtpd *smtpd, Proxy *proxy)
{
    const HopTls *tls = smtpd->settings->proxy_tls;
    g_autoptr(GError) error = NULL;
    g_autoptr(Reply) reply = NULL;
    HopStep step = hop_tls_after_hello(tls, proxy->link.offers, &error);

    if (step == HOP_SECURE) {
        ClientStatus status = CLIENT_FAILED;
        if (!client_heard_too_much(proxy->link.client))
            status = client_try_command(proxy->link.client, "STARTTLS", &reply, &error);
        if (status == CLIENT_WAIT)
            return proxy_wait(smtpd, proxy);
        step = status == CLIENT_DONE ? hop_tls_after_starttls(tls, reply, &error) : HOP_FAILED;
    }
    if (step == HOP_FAILED)
        return fail(smtpd, error);
    if (step == HOP_PLAIN)
        proxy->stage = PROXY_SECURED; /* as far as may be: all has been said */
    return outcome_done();
}

static Outcome shake_hands(Smtpd *smtpd, Proxy *proxy)
{
    const Settings *settings = smtpd->settings;
    Client *client = proxy->link.client;
    g_autoptr(GError) error = NULL;
    Tls *connection = NULL;

    if (!proxy->in_handshake) {
        connection = hop_tls_connection(settings->proxy_tls, client, settings->proxy, &error);
        if (!connection)
            return fail(smtpd, error);
    }
    proxy->in_handshake = true;
    ClientStatus status = client_try_start_tls(client, connection, &error);
    if (status == CLIENT_WAIT)
        return proxy_wait(smtpd, proxy);
    if (status == CLIENT_FAILED || !hop_tls_secured(settings->proxy_tls, client, &error))
        return fail(smtpd, error);
    return outcome_done();
}

static Outcome enter_stage(Smtpd *smtpd, Proxy *proxy)
{
    g_autofree char *ehlo = NULL;

    switch (proxy->stage) {
    case PROXY_CONNECT:
        return connect_filter(smtpd, proxy);
    case PROXY_GREETING:
        return greet(smtpd, proxy, NULL);
    case PROXY_STARTTLS:
        return ask_for_tls(smtpd, proxy);
    case PROXY_HANDSHAKE:
        return shake_hands(smtpd, proxy);
    case PROXY_EHLO:
    case PROXY_SECURED:
        ehlo = g_strdup_printf("EHLO %s", smtpd->settings->proxy_ehlo);
        return greet(smtpd, proxy, ehlo);
    case PROXY_PREFACE:
        prepare_preface(smtpd, proxy);
        break;
    case PROXY_OPEN:
        break;
    }
    return outcome_done();
}

/* DONE without a refusal: there is a connection where the preface, and what follows it, can be said. */
Outcome proxy_enter(Smtpd *smtpd, Proxy *proxy)
{
    Outcome outcome = outcome_done();

    if (!proxy->slot.taken_at) {
        outcome = take_slot(smtpd, proxy);
        if (proxy->slot.taken_at)
            take_kept(smtpd, proxy);
    }
    while (outcome.kind == OUTCOME_DONE && !smtpd->refusal && proxy->stage < PROXY_OPEN) {
        outcome = enter_stage(smtpd, proxy);
        if (outcome.kind == OUTCOME_DONE && !smtpd->refusal)
            proxy->stage++;
    }
    return outcome;
}
