/* policy.c - check_policy_service: what a policy server is told, and what its answer does (SMTPD_POLICY_README). */
#include "access/private.h"
#include "base/log.h"
#include "mail/xtext.h"

#include <string.h>

/* --- the inquiry's source --- */

typedef struct {
    const PolicyService *service;
    const char *attributes, *instance;
} Question;

typedef struct {
    char *action; /* NULL: the service failed */
} Answer;

static guint64 ask(void *source, const void *data, TaskRef task, void **ret_answer)
{
    const Question *question = data;

    return policy_client_ask(source, question->service, question->attributes, question->instance, task);
}

static void *take(void *source, guint64 number)
{
    char *action;

    if (!policy_client_take(source, number, &action))
        return NULL;
    Answer *answer = g_new0(Answer, 1);
    answer->action = action;
    return answer;
}

static void cancel(void *source, guint64 number)
{
    policy_client_cancel(source, number);
}

static void answer_free(void *data)
{
    Answer *answer = data;

    g_free(answer->action);
    g_free(answer);
}

static size_t size_of(const void *data)
{
    const Answer *answer = data;

    return sizeof *answer + (answer->action ? strlen(answer->action) + 1 : 0);
}

static const InquiryKind policy_kind = {
    .ask = ask, .take = take, .cancel = cancel, .free = answer_free, .size = size_of};

/* --- the request --- */

static void add(GString *text, const char *name, const char *value)
{
    size_t start = text->len;

    g_string_append_printf(text, "%s=%s", name, value ? value : "");
    g_strdelimit(text->str + start, "\n", ' '); /* no value can be two attributes */
    g_string_append_c(text, '\n');
}

static void add_number(GString *text, const char *name, guint64 value)
{
    g_string_append_printf(text, "%s=%" G_GUINT64_FORMAT "\n", name, value);
}

static bool is_content_state(const char *state)
{
    return strcmp(state, "DATA") == 0 || strcmp(state, "BDAT") == 0 || strcmp(state, "END-OF-MESSAGE") == 0;
}

/* Names in a certificate are the client's word unless an authority vouches for them. */
static void add_tls(GString *text, const TlsFacts *tls)
{
    bool trusted = tls && tls->peer >= TLS_PEER_TRUSTED;
    g_autofree char *subject = xtext_encode(trusted ? tls->peer_name : "");
    g_autofree char *issuer = xtext_encode(trusted ? tls->issuer_name : "");

    add(text, "ccert_subject", subject);
    add(text, "ccert_issuer", issuer);
    add(text, "ccert_fingerprint", tls ? tls->cert_fingerprint : "");
    add(text, "ccert_pubkey_fingerprint", tls ? tls->key_fingerprint : "");
    add(text, "encryption_protocol", tls ? tls->protocol : "");
    add(text, "encryption_cipher", tls ? tls->cipher : "");
    add_number(text, "encryption_keysize", tls ? (guint64)tls->used_bits : 0);
}

/* All that smtpd(8) sends, in its order. */
static char *attributes_of(const Evaluation *evaluation, const PolicyService *service)
{
    const AccessFacts *facts = evaluation->facts;
    const Config *config = evaluation->access->config;
    GString *text = g_string_new(NULL);

    add(text, "request", "smtpd_access_policy");
    add(text, "protocol_state", strcmp(facts->state, "BDAT") == 0 ? "DATA" : facts->state);
    add(text, "protocol_name", facts->protocol ? facts->protocol : "SMTP");
    add(text, "client_address", facts->client_addr);
    add(text, "client_name", facts->client_name);
    add(text, "client_port", facts->client_port);
    add(text, "reverse_client_name", facts->reverse_name);
    add(text, "server_address", facts->server_addr);
    add(text, "server_port", facts->server_port);
    add(text, "helo_name", facts->helo);
    add(text, "sender", facts->sender);
    add(text, "recipient", facts->recipient);
    add_number(text, "recipient_count", is_content_state(facts->state) ? facts->recipient_count : 0);
    add(text, "queue_id", facts->queue_id);
    add(text, "instance", facts->instance);
    add_number(text, "size", facts->size);
    add(text, "etrn_domain", facts->etrn_domain);
    add(text, "stress", facts->stress ? "yes" : "");
    add(text, "sasl_method", facts->sasl_method);
    add(text, "sasl_username", facts->sasl_username);
    add(text, "sasl_sender", facts->sasl_sender);
    add_tls(text, facts->tls);
    add(text, "policy_context", service->context);
    add(text, "compatibility_level", config_string(config, "compatibility_level"));
    add(text, "mail_version", config_string(config, "mail_version"));
    return g_string_free(text, FALSE);
}

/* --- the answer --- */

static Verdict apply(Evaluation *evaluation, const PolicyService *service, const char *action)
{
    return apply_action(evaluation, &(Found){.table = service->text,
                                             .key = "policy query",
                                             .what = evaluation->what,
                                             .class = evaluation->subject.class,
                                             .default_check = evaluation->subject.default_check,
                                             .value = action});
}

/* A default action that names a service that fails, too, ends there. */
static Verdict apply_default(Evaluation *evaluation, const PolicyService *service)
{
    if (evaluation->in_default_action)
        return refuse_for_trouble(evaluation, "451 4.3.5 Server configuration problem");
    evaluation->in_default_action = true;
    Verdict verdict = apply(evaluation, service, service->default_action);
    evaluation->in_default_action = false;
    return verdict;
}

static bool is_text(Evaluation *evaluation, const PolicyService *service, const char *action)
{
    if (!config_bool(evaluation->access->config, "smtputf8_enable") || g_utf8_validate(action, -1, NULL))
        return true;
    g_autofree char *shown = log_quote(action, strlen(action));
    note(evaluation, "warning: malformed UTF-8 in policy server %s response: \"%s\"", service->text, shown);
    return false;
}

Verdict check_policy_service(Evaluation *evaluation, const Rule *rule)
{
    const AccessFacts *facts = evaluation->facts;
    g_autofree char *key = g_strdup_printf("policy %u", evaluation->questions++);

    g_autofree char *attributes = attributes_of(evaluation, rule->policy);
    const Question question = {
        .service = rule->policy, .attributes = attributes, .instance = facts->instance ? facts->instance : ""};
    const Answer *answer = inquiry_answer(facts->inquiry, &policy_kind, facts->policy, key, &question);
    if (!answer)
        return VERDICT_NEED;
    if (!answer->action || !is_text(evaluation, rule->policy, answer->action))
        return apply_default(evaluation, rule->policy);
    return apply(evaluation, rule->policy, answer->action);
}
