/* proxy.c - the dialogue with a before-queue filter. */
#include "smtpd/proxy.h"
#include "base/clock.h"
#include "base/log.h"
#include "mail/address.h"
#include "smtp/dial.h"

#include <string.h>

#define UNWATCHED_POLL_MS 100 /* between two looks at a connection that the scheduler cannot watch */

static const char *filter_name(const Smtpd *smtpd)
{
    return smtpd->settings->proxy->name;
}

static void log_failure(Smtpd *smtpd, const GError *error)
{
    const char *note = smtpd_trace_note(smtpd);

    if (g_error_matches(error, CLIENT_ERROR, CLIENT_ERROR_CONNECT))
        log_warning("connect to proxy filter %s: %s%s", filter_name(smtpd), error->message, note);
    else if (g_error_matches(error, CLIENT_ERROR, CLIENT_ERROR_TIMEOUT))
        log_warning("timeout talking to proxy %s%s", filter_name(smtpd), note);
    else
        log_warning("lost connection with proxy %s%s", filter_name(smtpd), note);
}

static void log_unexpected(Smtpd *smtpd, const char *command, const Reply *reply)
{
    g_autofree char *shown = reply_for_log(reply);

    log_warning("proxy %s rejected \"%s\": \"%s\"%s", filter_name(smtpd), command, shown, smtpd_trace_note(smtpd));
}

/* What the client gets for a reply of an unexpected class: the reply, but never one that would tell it to go on. */
static Reply *refusal_for(const Reply *reply)
{
    return reply_is(reply, 2) || reply_is(reply, 3) ? reply_new(QUEUE_FILE_ERROR) : reply_copy(reply);
}

static void refuse(Smtpd *smtpd, Reply *reply)
{
    smtpd->refusal = reply ? reply : reply_new(QUEUE_FILE_ERROR);
}

/* Until the filter does something. */
static Outcome wait_for_filter(Smtpd *smtpd, Proxy *proxy)
{
    int fd = client_new_fd(proxy->filter);
    gint64 until = client_wait_until(proxy->filter);

    if (fd >= 0)
        proxy->unwatched = !sched_watch(smtpd->service->sched, smtpd->session->self, fd);
    if (proxy->unwatched)
        until = MIN(until, clock_ms() + UNWATCHED_POLL_MS);
    return outcome_wait(until, false);
}

/* One line, or only its reply. DONE: *ret_reply, or NULL when the connection is lost, which is logged. */
static Outcome exchange(Smtpd *smtpd, Proxy *proxy, const char *line, Reply **ret_reply)
{
    g_autoptr(GError) error = NULL;
    ClientStatus status = CLIENT_FAILED;

    if (!client_heard_too_much(proxy->filter))
        status = client_try_command(proxy->filter, line, ret_reply, &error);
    if (status == CLIENT_WAIT)
        return wait_for_filter(smtpd, proxy);
    if (status == CLIENT_FAILED)
        log_failure(smtpd, error);
    return outcome_done();
}

Outcome proxy_command(Smtpd *smtpd, Proxy *proxy, const char *line, int want, Reply **ret_reply)
{
    Outcome outcome = exchange(smtpd, proxy, line, ret_reply);

    if (outcome.kind != OUTCOME_DONE)
        return outcome;
    if (!*ret_reply) {
        refuse(smtpd, NULL);
        proxy->lost = true;
        proxy_leave(smtpd, proxy);
    } else if (!reply_is(*ret_reply, want)) {
        log_unexpected(smtpd, line, *ret_reply);
        refuse(smtpd, refusal_for(*ret_reply));
    }
    return outcome;
}

/* For what the client did not say itself: whatever the filter answers, strangers learn nothing of it. */
static Outcome own_command(Smtpd *smtpd, Proxy *proxy, const char *line, Reply **ret_reply)
{
    Outcome outcome = exchange(smtpd, proxy, line, ret_reply);

    if (outcome.kind != OUTCOME_DONE || (*ret_reply && reply_is(*ret_reply, 2)))
        return outcome;
    if (*ret_reply)
        log_unexpected(smtpd, line ? line : "connection request", *ret_reply);
    refuse(smtpd, NULL);
    return outcome;
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

static void prepare_identity(Smtpd *smtpd, Proxy *proxy, const Reply *ehlo)
{
    XfAttrs attrs = {0};
    g_autofree char *warning = NULL;

    describe_client(smtpd, &attrs);
    proxy->identity = xforward_commands(&attrs, xforward_offer_in(reply_text(ehlo)), &warning);
    xf_attrs_clear(&attrs);
    if (warning)
        log_warning("%s", warning);
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
        proxy->filter = dial(smtpd->service->resolver, endpoint, settings->inet_protocols, peer,
                             settings->proxy_timeout_ms, &error);
    else if (!proxy->filter)
        proxy->filter = client_begin(endpoint, peer, settings->proxy_timeout_ms);
    if (!blocks)
        status = client_try_connect(proxy->filter, &error);
    if (status == CLIENT_WAIT)
        return wait_for_filter(smtpd, proxy);
    if (error) {
        log_failure(smtpd, error);
        refuse(smtpd, NULL);
    }
    return outcome_done();
}

/* What is to be said before the client's own commands. DONE without a refusal: on to the next stage. */
static Outcome enter_stage(Smtpd *smtpd, Proxy *proxy)
{
    g_autofree char *ehlo = NULL;
    g_autoptr(Reply) reply = NULL;
    Outcome outcome = outcome_done();

    switch (proxy->stage) {
    case PROXY_CONNECT:
        return connect_filter(smtpd, proxy);
    case PROXY_GREETING:
        return own_command(smtpd, proxy, NULL, &reply);
    case PROXY_EHLO:
        ehlo = g_strdup_printf("EHLO %s", smtpd->settings->proxy_ehlo);
        outcome = own_command(smtpd, proxy, ehlo, &reply);
        if (outcome.kind == OUTCOME_DONE && !smtpd->refusal)
            prepare_identity(smtpd, proxy, reply);
        return outcome;
    case PROXY_XFORWARD:
        while (outcome.kind == OUTCOME_DONE && !smtpd->refusal && proxy->identity_sent < proxy->identity->len) {
            outcome = own_command(smtpd, proxy, g_ptr_array_index(proxy->identity, proxy->identity_sent), &reply);
            proxy->identity_sent += outcome.kind == OUTCOME_DONE;
        }
        return outcome;
    case PROXY_MAIL:
        outcome = proxy_command(smtpd, proxy, smtpd->transaction->mail_line, 2, &reply);
        proxy->lost = false; /* the next recipient may find a filter */
        return outcome;
    case PROXY_OPEN:
        break;
    }
    return outcome;
}

Outcome proxy_enter(Smtpd *smtpd, Proxy *proxy)
{
    Outcome outcome = take_slot(smtpd, proxy);

    while (outcome.kind == OUTCOME_DONE && !smtpd->refusal && proxy->stage < PROXY_OPEN) {
        outcome = enter_stage(smtpd, proxy);
        if (outcome.kind == OUTCOME_DONE && !smtpd->refusal)
            proxy->stage++;
    }
    if (smtpd->refusal)
        proxy_leave(smtpd, proxy);
    return outcome;
}

Outcome proxy_ready(Smtpd *smtpd, Proxy *proxy, size_t len)
{
    g_autoptr(GError) error = NULL;

    if (proxy->failed)
        return outcome_done();
    ClientStatus status = client_try_room(proxy->filter, len, &error);
    if (status == CLIENT_WAIT)
        return wait_for_filter(smtpd, proxy);
    if (status == CLIENT_FAILED) {
        log_failure(smtpd, error);
        proxy->failed = true;
    }
    return outcome_done();
}

void proxy_content(Proxy *proxy, const char *data, size_t len, bool ends_line)
{
    if (!proxy->failed)
        client_add_content(proxy->filter, data, len, ends_line);
}

Outcome proxy_finish(Smtpd *smtpd, Proxy *proxy)
{
    g_autoptr(GError) error = NULL;

    ClientStatus status =
        proxy->failed ? CLIENT_FAILED : client_try_end_content(proxy->filter, &smtpd->refusal, &error);
    if (status == CLIENT_WAIT)
        return wait_for_filter(smtpd, proxy);
    if (status == CLIENT_FAILED) {
        if (!proxy->failed)
            log_failure(smtpd, error);
        refuse(smtpd, NULL);
    }
    return outcome_done();
}

void proxy_leave(Smtpd *smtpd, Proxy *proxy)
{
    client_quit(g_steal_pointer(&proxy->filter));
    slots_leave(smtpd->service->slots, &proxy->slot);
    if (proxy->identity)
        g_ptr_array_free(g_steal_pointer(&proxy->identity), TRUE);
    proxy->identity_sent = 0;
    proxy->stage = PROXY_CONNECT;
    proxy->unwatched = false;
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
    g_autofree char *times = trace_times(smtpd);
    g_autoptr(GString) line = g_string_new(NULL);

    g_string_printf(line, "proxy-%s: %s: %s; from=<%s> to=<%s> proto=%s", *reply == '2' ? "accept" : "reject",
                    smtpd->session->where, reply, sender,
                    transaction->first_recipient ? transaction->first_recipient : "", smtpd->protocol);
    if (smtpd->helo)
        g_string_append_printf(line, " helo=<%s>", smtpd->helo);
    if (smtpd->sasl_username)
        g_string_append_printf(line, " sasl_username=<%s>", smtpd->sasl_username);
    log_info("%s%s", line->str, times);
}
