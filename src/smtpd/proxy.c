/* proxy.c - the dialogue with a before-queue filter. */
#include "smtpd/proxy.h"
#include "base/clock.h"
#include "base/log.h"
#include "mail/address.h"
#include "smtp/dial.h"
#include "smtp/envelope_lines.h"

#include <string.h>

#define RESET_TIMEOUT_MS                                                                                               \
    10000 /* for a filter to begin anew, which is no work: then a new connection is the faster way */

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

static Outcome wait_for_filter(Smtpd *smtpd, Proxy *proxy)
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
        return wait_for_filter(smtpd, proxy);
    proxy->link.settings = settings;
    if (error) {
        log_failure(smtpd, error);
        refuse(smtpd, NULL);
    }
    return outcome_done();
}

/* --- the connection --- */

/* Settings differ where main.cf asks for stress. */
static bool same_filter(const Settings *one, const Settings *other)
{
    return g_str_equal(one->proxy->name, other->proxy->name) && g_str_equal(one->proxy_ehlo, other->proxy_ehlo);
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

static void disconnect(Proxy *proxy)
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
        return wait_for_filter(smtpd, proxy);
    if (status == CLIENT_DONE && reply_is(reply, 2)) {
        proxy->link.xforward = xforward_offer_in(reply_text(reply));
        proxy->link.pipelining = offers_in(reply_text(reply)) & OFFER_PIPELINING;
        return outcome_done();
    }
    if (reply)
        log_unexpected(smtpd, line ? line : "connection request", reply);
    else
        log_failure(smtpd, error);
    refuse(smtpd, NULL);
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
    case PROXY_EHLO:
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
static Outcome enter(Smtpd *smtpd, Proxy *proxy)
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

/* --- commands --- */

/* What is being said: the preface, then lines. */
typedef struct {
    const char *const *lines;
    guint count;
    int want; /* of the last one's reply */
} Words;

static guint preface_length(const Proxy *proxy)
{
    return proxy->preface ? proxy->preface->len : 0;
}

static const char *word_at(const Proxy *proxy, const Words *words, guint at)
{
    guint preface = preface_length(proxy);

    return at < preface ? g_ptr_array_index(proxy->preface, at) : words->lines[at - preface];
}

static bool is_reset(const Proxy *proxy, guint at)
{
    return proxy->resets && proxy->preface && at == 0;
}

/* Everything but the last word of the preface, which is the client's MAIL. */
static bool is_our_own(const Proxy *proxy, guint at)
{
    return at + 1 < preface_length(proxy);
}

static void send_words(Smtpd *smtpd, Proxy *proxy, const Words *words, guint total)
{
    const Settings *settings = smtpd->settings;
    bool together = settings->proxy_pipelining && proxy->link.pipelining;
    gint64 patience = settings->proxy_timeout_ms;

    client_set_timeout(proxy->link.client, is_reset(proxy, proxy->sent) ? MIN(patience, RESET_TIMEOUT_MS) : patience);
    do
        client_queue_line(proxy->link.client, word_at(proxy, words, proxy->sent++));
    while (together && proxy->sent < total);
}

/* A reply that a connection kept too long may give: what the next message would hear on a new one is another. */
static bool is_of_no_use(const Proxy *proxy, guint at, const Reply *reply)
{
    if (is_our_own(proxy, at))
        return !reply_is(reply, 2);
    return reply_code(reply) == 421 || reply_code(reply) == 503;
}

static void judge(Smtpd *smtpd, Proxy *proxy, const Words *words, guint at, guint total, const Reply *reply)
{
    int want = at + 1 == total && words->count > 0 ? words->want : 2;
    bool refuses = reply_is(reply, 4) || reply_is(reply, 5);

    proxy->odd |= reply_code(reply) == 421 || reply_code(reply) == 521 || (!refuses && !reply_is(reply, want));
    if (proxy->refusal) {                 /* what was sent together with what was refused */
        proxy->odd |= reply_is(reply, 3); /* it waits for content that will not come */
    } else if (!reply_is(reply, want)) {
        log_unexpected(smtpd, word_at(proxy, words, at), reply);
        proxy->refusal = is_our_own(proxy, at) ? reply_new(QUEUE_FILE_ERROR) : refusal_for(reply);
        proxy->odd |= is_our_own(proxy, at);
        proxy->closed = at < preface_length(proxy);
    } else if (at + 1 == preface_length(proxy)) {
        proxy_log_client(smtpd);
    }
}

typedef enum { SAID, SAID_NOT_YET, SAID_IN_VAIN, SAID_TO_NOBODY } Said;

/* The next reply. NOT_YET: *outcome. IN_VAIN: the connection is of no use, a new one may be. TO_NOBODY: it is lost. */
static Said hear(Smtpd *smtpd, Proxy *proxy, const Words *words, guint total, Reply **ret_reply, Outcome *outcome)
{
    g_autoptr(GError) error = NULL;
    guint at = proxy->heard;
    ClientStatus status = client_try_command(proxy->link.client, NULL, ret_reply, &error);

    if (status == CLIENT_WAIT) {
        *outcome = wait_for_filter(smtpd, proxy);
        return SAID_NOT_YET;
    }
    if (status == CLIENT_FAILED) {
        bool too_slow = g_error_matches(error, CLIENT_ERROR, CLIENT_ERROR_TIMEOUT);
        if (proxy->replaceable && (!too_slow || is_reset(proxy, at)))
            return SAID_IN_VAIN;
        log_failure(smtpd, error);
        return SAID_TO_NOBODY;
    }
    if (proxy->replaceable && !proxy->refusal && is_of_no_use(proxy, at, *ret_reply))
        return SAID_IN_VAIN;
    if (is_reset(proxy, at))
        client_set_timeout(proxy->link.client, smtpd->settings->proxy_timeout_ms);
    proxy->heard++;
    judge(smtpd, proxy, words, at, total, *ret_reply);
    return SAID;
}

/* Says all, or up to a refusal and what was said with it. */
static Said say(Smtpd *smtpd, Proxy *proxy, const Words *words, Reply **ret_reply, Outcome *outcome)
{
    guint total = preface_length(proxy) + words->count;
    Said said = SAID;

    while (said == SAID && proxy->heard < total && (!proxy->refusal || proxy->heard < proxy->sent)) {
        if (proxy->heard == proxy->sent) {
            if (client_heard_too_much(proxy->link.client)) {
                log_failure(smtpd, NULL);
                return SAID_TO_NOBODY;
            }
            send_words(smtpd, proxy, words, total);
        }
        said = hear(smtpd, proxy, words, total, ret_reply, outcome);
    }
    return said;
}

/* The dialogue has come to a point where the client is told something. */
static void conclude(Smtpd *smtpd, Proxy *proxy, Said said)
{
    bool lost = said == SAID_TO_NOBODY;

    if (lost || proxy->refusal)
        refuse(smtpd, g_steal_pointer(&proxy->refusal));
    proxy->odd |= lost;
    proxy->lost = lost && !proxy->closed && proxy->heard >= preface_length(proxy);
    if (lost || proxy->closed) {
        proxy_leave(smtpd, proxy);
        return;
    }
    if (proxy->preface)
        g_ptr_array_free(g_steal_pointer(&proxy->preface), TRUE);
    proxy->sent = proxy->heard = 0;
    proxy->replaceable = false;
}

Outcome proxy_tell(Smtpd *smtpd, Proxy *proxy, const char *const *lines, guint count, int want, Reply **ret_reply)
{
    const Words words = {lines, count, want};
    Outcome outcome;

    for (;;) {
        outcome = enter(smtpd, proxy);
        if (smtpd->refusal)
            proxy_leave(smtpd, proxy);
        if (outcome.kind != OUTCOME_DONE || smtpd->refusal)
            return outcome;
        Said said = say(smtpd, proxy, &words, ret_reply, &outcome);
        if (said == SAID_NOT_YET)
            return outcome;
        if (said != SAID_IN_VAIN) {
            conclude(smtpd, proxy, said);
            return outcome_done();
        }
        disconnect(proxy);
    }
}

/* --- content --- */

void proxy_begin_content(Proxy *proxy)
{
    client_begin_content(proxy->link.client);
    proxy->in_content = true;
}

Outcome proxy_ready(Smtpd *smtpd, Proxy *proxy, size_t len)
{
    g_autoptr(GError) error = NULL;

    if (proxy->failed)
        return outcome_done();
    ClientStatus status = client_try_room(proxy->link.client, len, &error);
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
        client_add_content(proxy->link.client, data, len, ends_line);
}

Outcome proxy_finish(Smtpd *smtpd, Proxy *proxy)
{
    g_autoptr(GError) error = NULL;

    ClientStatus status =
        proxy->failed ? CLIENT_FAILED : client_try_end_content(proxy->link.client, &smtpd->refusal, &error);
    if (status == CLIENT_WAIT)
        return wait_for_filter(smtpd, proxy);
    if (status == CLIENT_FAILED) {
        if (!proxy->failed)
            log_failure(smtpd, error);
        refuse(smtpd, NULL);
        return outcome_done();
    }
    int code = reply_code(smtpd->refusal);
    bool clear = reply_is(smtpd->refusal, 2) || reply_is(smtpd->refusal, 4) || reply_is(smtpd->refusal, 5);
    proxy->odd |= !clear || code == 421 || code == 521;
    proxy->in_content = false;
    return outcome_done();
}

/* --- the end --- */

static bool may_keep(const Smtpd *smtpd, const Proxy *proxy)
{
    const Settings *settings = smtpd->settings;
    const ProxyLink *link = &proxy->link;

    return settings->proxy_reuse && proxy->stage == PROXY_OPEN && link->client && proxy->heard == proxy->sent &&
           !proxy->in_content && !proxy->odd && !proxy->failed &&
           (settings->proxy_reuse_limit == 0 || link->messages < settings->proxy_reuse_limit) &&
           !client_heard_too_much(link->client) && !client_heard_garbage(link->client);
}

void proxy_leave(Smtpd *smtpd, Proxy *proxy)
{
    Slots *slots = smtpd->service->slots;

    if (may_keep(smtpd, proxy)) {
        ProxyLink *kept = g_memdup2(&proxy->link, sizeof proxy->link);
        if (slots_leave_kept(slots, &proxy->slot, kept))
            proxy->link.client = NULL;
        else
            g_free(kept);
    }
    disconnect(proxy);
    slots_leave(slots, &proxy->slot);
}

void proxy_forget(void *link)
{
    g_autofree ProxyLink *kept = link;

    client_quit(kept->client);
}

/* --- the log --- */

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
