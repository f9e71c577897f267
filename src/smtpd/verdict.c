/* verdict.c - from an access decision to replies and log lines, once. */
#include "base/log.h"
#include "smtpd/state.h"

#include <string.h>

const char *smtpd_queue_id(const Smtpd *smtpd)
{
    const char *id = smtpd->transaction ? smtpd->service->sink->queue_id(smtpd) : NULL;

    return id ? id : "NOQUEUE";
}

AccessFacts smtpd_facts(const Smtpd *smtpd, const char *state)
{
    const Transaction *transaction = smtpd->transaction;
    AccessFacts facts = {
        .state = state,
        .client = smtpd->client.text,
        .client_name = smtpd->client.name,
        .client_addr = smtpd->client.addr,
        .client_port = smtpd->client.port,
        .client_name_status = smtpd->client.name_status,
        .reverse_name_status = smtpd->client.reverse_name_status,
        .helo = smtpd->helo,
        .protocol = smtpd->protocol,
        .improper_pipelining = smtpd->session->early_talked,
        .sasl_method = smtpd->sasl_method,
        .sasl_username = smtpd->sasl_username,
        .sasl_sender = smtpd->transaction ? smtpd->transaction->mail.auth : NULL,
        .prober = &smtpd->service->prober,
        .sasl_enabled = smtpd->settings->sasl_enabled,
        .reverse_name = smtpd->client.reverse_name,
        .server_addr = smtpd->connection.local_addr,
        .server_port = smtpd->connection.local_port,
        .stress = smtpd->connection.stress,
        .tls = session_tls(smtpd->session),
        .policy = smtpd->service->policy,
        .behind_proxy_filter = smtpd->service->sink->is_proxy,
        .inquiry = smtpd->inquiry,
        .doubts = smtpd->doubts,
        .resolver = smtpd->service->resolver,
    };

    if (transaction) {
        const GPtrArray *recipients = transaction->envelope->recipients;
        facts.discarded = transaction->discard;
        facts.held = transaction->hold;
        facts.recipient_count = recipients->len;
        facts.queue_id = smtpd->service->sink->queue_id(smtpd);
        facts.instance = transaction->instance;
        facts.size = transaction->size + transaction->open_octets;
        if (facts.size == 0)
            facts.size = (guint64)MAX(transaction->mail.size, 0);
        facts.sender = transaction->mail.address;
        facts.sender_text = transaction->mail.text;
        if (recipients->len == 1) {
            const Recipient *only = g_ptr_array_index(recipients, 0);
            facts.recipient = only->original && *only->original ? only->original : only->address;
            facts.recipient_text = transaction->first_recipient;
        }
    }
    return facts;
}

void smtpd_log_reject(const Smtpd *smtpd, const AccessFacts *facts, const char *text)
{
    g_autofree char *shown = g_strdup(text);
    if (smtpd->settings->soft_bounce && shown[0] == '5') { /* as the client gets it */
        shown[0] = '4';
        if (g_str_has_prefix(shown + 3, " 5."))
            shown[4] = '4';
    }
    g_autofree char *line = access_log_line("reject", facts, smtpd->protocol, shown);

    log_info("%s: %s%s", smtpd_queue_id(smtpd), line, smtpd_trace_note(smtpd));
}

void smtpd_log_client(const Smtpd *smtpd, const char *id)
{
    const Origin *origin = &smtpd->transaction->envelope->origin;
    const char *ident = smtpd->forwarded.given & (1u << XF_IDENT) ? smtpd->forwarded.value[XF_IDENT] : NULL;
    g_autoptr(GString) line = g_string_new(NULL);

    g_string_printf(line, "%s: client=%s", id ? id : "NOQUEUE", smtpd->client.text);
    if (smtpd->sasl_username)
        g_string_append_printf(line, ", sasl_method=%s, sasl_username=%s", smtpd->sasl_method, smtpd->sasl_username);
    if (smtpd->transaction->mail.auth)
        g_string_append_printf(line, ", sasl_sender=%s", smtpd->transaction->mail.auth);
    if (ident && *ident)
        g_string_append_printf(line, ", orig_queue_id=%s", ident);
    if (smtpd->forwarded.given & XF_CLIENT_SET) {
        g_string_append_printf(line, ", orig_client=%s", origin->name);
        if (strcmp(origin->addr, "unknown") != 0)
            g_string_append_printf(line, "[%s]", origin->addr);
    }
    if (*smtpd_trace_note(smtpd))
        g_string_append_printf(line, ",%s", smtpd_trace_note(smtpd));
    log_info("%s", line->str);
}

void smtpd_refuse_bare_newline(Smtpd *smtpd, const AccessFacts *facts)
{
    g_autofree char *text = g_strdup_printf("%d 5.5.2 %s Error: bare <LF> received", smtpd->settings->bare_newline_code,
                                            smtpd->settings->hostname);

    smtpd_log_reject(smtpd, facts, "bare <LF> received");
    session_reply(smtpd->session, text);
}

void smtpd_refuse_for_trouble(Smtpd *smtpd, const char *where)
{
    g_autofree char *text = g_strdup_printf("421 4.3.0 %s Server local data error", smtpd->settings->hostname);

    log_info("%s: reject: %s from %s: %s", smtpd_queue_id(smtpd), where, smtpd->client.text, text);
    session_reply(smtpd->session, text);
}

static void log_notes(const Smtpd *smtpd, const GPtrArray *lines)
{
    static const char warning[] = "warning: ";

    for (guint i = 0; lines && i < lines->len; i++) {
        const char *line = g_ptr_array_index(lines, i);
        if (g_str_has_prefix(line, warning))
            log_warning("%s", line + strlen(warning));
        else
            log_info("%s: %s", smtpd_queue_id(smtpd), line);
    }
}

/* What access rules ask for beside yes or no. */
static void take_actions(Transaction *transaction, Decision *decision)
{
    for (guint i = 0; decision->prepend && i < decision->prepend->len; i++)
        g_ptr_array_add(transaction->prepend, g_strdup(g_ptr_array_index(decision->prepend, i)));
    transaction->discard |= decision->discard;
    transaction->hold |= decision->hold;
    if (decision->filter) {
        g_free(transaction->filter);
        transaction->filter = g_steal_pointer(&decision->filter);
    }
    if (decision->redirect) {
        g_free(transaction->redirect);
        transaction->redirect = g_steal_pointer(&decision->redirect);
    }
    for (guint i = 0; decision->bcc && i < decision->bcc->len; i++)
        g_ptr_array_add(transaction->bcc, g_strdup(g_ptr_array_index(decision->bcc, i)));
}

void smtpd_forget_doubts(Smtpd *smtpd, AccessStage from)
{
    for (int stage = from; stage < ACCESS_DOUBTS; stage++)
        g_clear_pointer(&smtpd->doubts[stage], g_free);
}

Reply *smtpd_take_decision(Smtpd *smtpd, const AccessFacts *facts)
{
    g_autoptr(Decision) decision = g_steal_pointer(&smtpd->decision);

    log_notes(smtpd, decision->log);
    if (decision->stage < ACCESS_DOUBTS) {
        smtpd_forget_doubts(smtpd, decision->stage);
        smtpd->doubts[decision->stage] = g_steal_pointer(&decision->doubt);
    }
    if (smtpd->transaction) /* what a recipient asked for before it was refused counts, too */
        take_actions(smtpd->transaction, decision);
    if (decision->kind == DECISION_REJECT) {
        smtpd_log_reject(smtpd, facts, decision->reply);
        return reply_new(decision->reply);
    }
    return NULL;
}

bool smtpd_lacks_lookup_place(const Smtpd *smtpd)
{
    Gate *gate = smtpd->service->lookup_gate;

    return gate && !session_at_gate(smtpd->session, gate);
}

Outcome smtpd_decide(Smtpd *smtpd, AccessStage stage, const AccessFacts *facts)
{
    if (smtpd_lacks_lookup_place(smtpd))
        return outcome_gate(smtpd->service->lookup_gate);
    decision_free(smtpd->decision);
    smtpd->decision = access_check(smtpd->settings->access, stage, facts);
    if (smtpd->decision->kind == DECISION_NEED)
        return outcome_wait(inquiry_deadline(smtpd->inquiry), true);
    inquiry_settled(smtpd->inquiry);
    return outcome_done();
}

Outcome smtpd_check_command(Smtpd *smtpd, AccessStage stage, const AccessFacts *facts, Reply **ret_refusal)
{
    if (smtpd->checked == smtpd->session->finished + 1)
        return outcome_done();
    Outcome outcome = smtpd_decide(smtpd, stage, facts);
    if (outcome.kind != OUTCOME_DONE)
        return outcome;
    smtpd->checked = smtpd->session->finished + 1;
    Reply *refusal = smtpd_take_decision(smtpd, facts);
    if (refusal)
        *ret_refusal = refusal;
    return outcome;
}
