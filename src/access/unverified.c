/* unverified.c - reject_unverified_recipient and reject_unverified_sender (ADDRESS_VERIFICATION_README). */
#include "access/private.h"
#include "access/prober.h"
#include "base/clock.h"

#include <string.h>

#define POLL_FIRST_MS 25 /* a result may be there at once: looked for often at first, later every so often */
#define POLL_LAST_MS 1000

static void read_one(Unverified *unverified, const Config *config, const char *who)
{
    g_autofree char *reject = g_strdup_printf("unverified_%s_reject_code", who);
    g_autofree char *defer = g_strdup_printf("unverified_%s_defer_code", who);
    g_autofree char *action = g_strdup_printf("unverified_%s_tempfail_action", who);
    g_autofree char *reason = g_strdup_printf("unverified_%s_reject_reason", who);

    unverified->reject_code = config_int(config, reject);
    unverified->defer_code = config_int(config, defer);
    unverified->defers_at_once = strcmp(config_string(config, action), "defer") == 0;
    unverified->reason = g_strdup(config_string(config, reason));
}

void unverified_read(Access *access, const Config *config)
{
    gint64 polls = config_int(config, "address_verify_poll_count");

    read_one(&access->unverified_sender, config, "sender");
    read_one(&access->unverified_recipient, config, "recipient");
    access->probe_wait_ms = (polls - 1) * config_seconds(config, "address_verify_poll_delay") * 1000;
}

/* True: no longer. Otherwise there is a time at which to look again. */
static bool has_waited(const Evaluation *evaluation, const char *key)
{
    Inquiry *inquiry = evaluation->facts->inquiry;
    gint64 wait_ms = evaluation->access->probe_wait_ms;
    g_autofree char *end = g_strconcat(key, " end", NULL);
    bool is_over = inquiry_slept(inquiry, end, wait_ms);

    for (gint64 step_ms = POLL_FIRST_MS, at_ms = 0; !is_over && at_ms < wait_ms;
         step_ms = MIN(2 * step_ms, MAX(POLL_LAST_MS, wait_ms / 20))) {
        at_ms += step_ms;
        g_autofree char *poll = g_strdup_printf("%s %" G_GINT64_FORMAT, key, at_ms);
        if (!inquiry_slept(inquiry, poll, step_ms)) /* since the one before it */
            break;
    }
    return is_over;
}

static Verdict be_unsure(Evaluation *evaluation, const Unverified *unverified, const Refusal *refusal)
{
    if (unverified->defers_at_once || evaluation->warn_if_reject)
        return refuse(evaluation, refusal);
    defer_if_permit(evaluation, refusal);
    return VERDICT_NEXT;
}

/* Below 400 a code means that it does not matter. */
static Verdict judge(Evaluation *evaluation, const Unverified *unverified, const AddressAnswer *answer,
                     const Refusal *about)
{
    bool is_bounced = answer->status == ADDRESS_BOUNCED;
    const char *why = *unverified->reason ? unverified->reason : answer->text;
    Refusal refusal = *about;

    refusal.code = is_bounced ? unverified->reject_code : unverified->defer_code;
    if (answer->status == ADDRESS_OK || refusal.code < 400)
        return VERDICT_NEXT;
    bool is_final = is_bounced && refusal.code >= 500;
    g_autofree char *text = g_strdup_printf("%s address: %.250s", is_final ? "undeliverable" : "unverified", why);
    refusal.text = text;
    return is_final ? refuse(evaluation, &refusal) : be_unsure(evaluation, unverified, &refusal);
}

static Verdict check(Evaluation *evaluation, const char *address, const Unverified *unverified, const Refusal *about)
{
    static const AddressAnswer unknown = {ADDRESS_DEFERRED, (char *)"Address verification in progress"};
    const Prober *prober = evaluation->facts->prober;
    g_autofree char *key = g_strconcat("probe ", address, NULL);

    if (route_is_probe_sender(evaluation->access->route, address))
        return VERDICT_NEXT;
    if (!prober || !prober->source)
        return refuse_for_configuration(evaluation);
    const AddressAnswer *answer =
        inquiry_answer(evaluation->facts->inquiry, prober->kind, prober->source, key, address);
    if (!answer && !has_waited(evaluation, key))
        return VERDICT_NEED;
    return judge(evaluation, unverified, answer ? answer : &unknown, about);
}

Verdict reject_unverified_recipient(Evaluation *evaluation, const Rule *rule)
{
    const char *recipient = evaluation->facts->recipient;

    if (!recipient || !*recipient)
        return VERDICT_NEXT;
    return check(evaluation, evaluation->recipient, &evaluation->access->unverified_recipient,
                 &(Refusal){.dsn = "4.1.1", .what = recipient, .class = "Recipient address"});
}

Verdict reject_unverified_sender(Evaluation *evaluation, const Rule *rule)
{
    const char *sender = evaluation->facts->sender;

    if (!sender || !*sender)
        return VERDICT_NEXT;
    return check(evaluation, evaluation->sender, &evaluation->access->unverified_sender,
                 &(Refusal){.dsn = "4.1.7", .what = sender, .class = "Sender address"});
}
