/* relay_quarantine.c - the way of a message into the quarantine. */
#include "base/clock.h"
#include "base/log.h"
#include "filter/relay.h"
#include "smtp/command.h"

/* What the next hop took is understood as far as it can be; a parameter that is strange to us is left out. */
static const CommandRules lenient = {
    .allow_min_user = true, .smtputf8 = true, .dsn = true, .size = true, .body8bit = true, .verp = true, .auth = true};

static Envelope *envelope_of(const Relay *relay)
{
    const Message *message = &relay->message;
    Envelope *envelope = envelope_new();
    MailCommand mail;

    envelope->arrival_us = clock_wall_us();
    envelope->size = (gint64)message->size;
    envelope->sender = g_strdup(message->sender);
    g_autofree char *mail_error = mail_command_parse(message->mail, &lenient, &mail, NULL);
    if (!mail_error) {
        envelope->body = mail.body;
        envelope->ret = mail.ret;
        envelope->envid = g_steal_pointer(&mail.envid);
        envelope->smtputf8 = mail.smtputf8;
        mail_command_clear(&mail);
    }
    for (guint i = 0; i < message->recipients->len; i++) {
        const MessageRecipient *from = message->recipients->pdata[i];
        Recipient *to = envelope_add(envelope, from->address);
        RcptCommand rcpt;
        g_autofree char *rcpt_error = rcpt_command_parse(from->line, &lenient, &rcpt, NULL);
        if (rcpt_error)
            continue;
        to->notify = rcpt.notify;
        to->dsn_orcpt = g_steal_pointer(&rcpt.orcpt);
        rcpt_command_clear(&rcpt);
    }
    return envelope;
}

static QuarantineVerdict *verdicts_of(const GPtrArray *records)
{
    QuarantineVerdict *verdicts = g_new0(QuarantineVerdict, records->len);

    for (guint i = 0; i < records->len; i++) {
        const InspectionRecord *record = records->pdata[i];
        verdicts[i] = (QuarantineVerdict){
            .inspector = record->inspector, .action = record->result, .text = record->text, .milliseconds = record->ms};
    }
    return verdicts;
}

Reply *relay_quarantine(Relay *relay, const Verdict *verdict, const GPtrArray *records)
{
    const RelayService *service = relay->service;
    g_autoptr(Envelope) envelope = envelope_of(relay);
    g_autofree QuarantineVerdict *verdicts = verdicts_of(records);
    const char *trace = relay->message.client.value[XF_IDENT];
    QuarantineMessage message = {
        .envelope = envelope,
        .client = &relay->message.client,
        .content = relay->message.content,
        .reason = verdict->reason ? verdict->reason : "",
        .nexthop = service->nexthop->name,
        .trace = trace,
        .verdicts = verdicts,
        .verdict_count = records->len,
    };
    g_autoptr(GError) error = NULL;
    g_autofree char *id = NULL;

    /* What could not be opened at start may have been mended since. */
    g_autoptr(Quarantine) late = service->quarantine ? NULL : quarantine_open(service->quarantine_directory, &error);
    Quarantine *quarantine = late ? late : service->quarantine;
    if (quarantine && quarantine_store(quarantine, &message, &id, &error))
        return reply_printf("250 2.0.0 Ok: queued as %s", id);
    log_warning("quarantine %s: %s", service->quarantine_directory, error->message);
    return reply_new(RELAY_FAILED);
}
