/* proxy.c - the dialogue with a before-queue filter: commands, content, the end. */
#include "base/clock.h"
#include "base/log.h"
#include "mail/address.h"
#include "smtp/envelope_lines.h"
#include "smtpd/proxy_private.h"

#include <string.h>

#define RESET_TIMEOUT_MS                                                                                               \
    10000 /* for a filter to begin anew, which is no work: then a new connection is the faster way */

/* --- commands --- */

/* What the client gets for a reply of an unexpected class: the reply, but never one that would tell it to go on. */
static Reply *refusal_for(const Reply *reply)
{
    return reply_is(reply, 2) || reply_is(reply, 3) ? reply_new(QUEUE_FILE_ERROR) : reply_copy(reply);
}

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
    bool together = settings->proxy_pipelining && proxy->link.offers & OFFER_PIPELINING;
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
        proxy_log_unexpected(smtpd, word_at(proxy, words, at), reply);
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
        *outcome = proxy_wait(smtpd, proxy);
        return SAID_NOT_YET;
    }
    if (status == CLIENT_FAILED) {
        bool too_slow = g_error_matches(error, CLIENT_ERROR, CLIENT_ERROR_TIMEOUT);
        if (proxy->replaceable && (!too_slow || is_reset(proxy, at)))
            return SAID_IN_VAIN;
        proxy_log_failure(smtpd, error);
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
                proxy_log_failure(smtpd, NULL);
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
        proxy_refuse(smtpd, g_steal_pointer(&proxy->refusal));
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
        outcome = proxy_enter(smtpd, proxy);
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
        proxy_disconnect(proxy);
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
        return proxy_wait(smtpd, proxy);
    if (status == CLIENT_FAILED) {
        proxy_log_failure(smtpd, error);
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
        return proxy_wait(smtpd, proxy);
    if (status == CLIENT_FAILED) {
        if (!proxy->failed)
            proxy_log_failure(smtpd, error);
        proxy_refuse(smtpd, NULL);
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
    proxy_disconnect(proxy);
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
