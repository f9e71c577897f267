/* server.c - exchanges, and which mechanisms are for whom. */
#include "base/clock.h"
#include "base/fail.h"
#include "base/log.h"
#include "config/config.h"
#include "sasl/private.h"

#include <string.h>

#define LOST "Connection lost to authentication server"

static const struct {
    const char *without, *with; /* of smtpd_sasl_security_options */
    unsigned bit;
} options[] = {
    {"noplaintext", NULL, SASL_PLAINTEXT},           {"noactive", NULL, SASL_ACTIVE},
    {"nodictionary", NULL, SASL_DICTIONARY},         {"noanonymous", NULL, SASL_ANONYMOUS},
    {NULL, "forward_secrecy", SASL_FORWARD_SECRECY}, {NULL, "mutual_auth", SASL_MUTUAL},
};

bool sasl_policy_parse(const char *words, SaslPolicy *policy, GError **error)
{
    g_autoptr(GPtrArray) list = config_split(words);

    policy->without = SASL_PRIVATE;
    policy->with = 0;
    for (guint i = 0; i < list->len; i++) {
        const char *word = g_ptr_array_index(list, i);
        bool known = false;
        for (size_t k = 0; k < G_N_ELEMENTS(options); k++) {
            bool without = options[k].without && g_ascii_strcasecmp(word, options[k].without) == 0;
            bool with = options[k].with && g_ascii_strcasecmp(word, options[k].with) == 0;
            policy->without |= without ? options[k].bit : 0;
            policy->with |= with ? options[k].bit : 0;
            known |= with || without;
        }
        if (!known)
            return fail(error, "unknown SASL security option \"%s\"", word);
    }
    return true;
}

bool sasl_is_base64(const char *text)
{
    size_t len = strlen(text), pad = 0;

    while (pad < 2 && pad < len && text[len - 1 - pad] == '=')
        pad++;
    for (size_t i = 0; i < len - pad; i++)
        if (!g_ascii_isalnum(text[i]) && text[i] != '+' && text[i] != '/')
            return false;
    return len % 4 == 0;
}

char *sasl_harmless(const char *text, size_t max)
{
    return log_quote(text, MIN(strlen(text), max));
}

void sasl_forget(char *text)
{
    if (text)
        explicit_bzero(text, strlen(text));
    g_free(text);
}

void sasl_answer_clear(SaslAnswer *answer)
{
    g_free(answer->text);
    g_free(answer->user);
    *answer = (SaslAnswer){0};
}

/* --- for back ends --- */

static void mechanism_free(gpointer data)
{
    SaslMechanism *mechanism = data;

    g_free(mechanism->name);
    g_free(mechanism);
}

GPtrArray *sasl_mechanisms_new(void)
{
    return g_ptr_array_new_with_free_func(mechanism_free);
}

void sasl_mechanisms_add(GPtrArray *mechanisms, const char *name, unsigned properties)
{
    SaslMechanism *mechanism = g_new0(SaslMechanism, 1);

    mechanism->name = g_strdup(name);
    mechanism->properties = properties;
    g_ptr_array_add(mechanisms, mechanism);
}

static void exchange_free(gpointer data)
{
    SaslExchange *exchange = data;

    sasl_answer_clear(&exchange->answer);
    g_free(exchange);
}

void sasl_init(SaslServer *server, const SaslBackend *backend, Sched *sched)
{
    server->backend = backend;
    server->sched = sched;
    pthread_mutex_init(&server->lock, NULL);
    server->exchanges = g_hash_table_new_full(g_int64_hash, g_int64_equal, NULL, exchange_free);
    server->askers = g_array_new(FALSE, FALSE, sizeof(TaskRef));
}

/* Under the lock, or with nobody else left. */
static void remove_exchange(SaslServer *server, SaslExchange *exchange)
{
    if (exchange->part)
        server->backend->release(exchange->part);
    g_hash_table_remove(server->exchanges, &exchange->number);
}

void sasl_clear(SaslServer *server)
{
    GHashTableIter all;
    gpointer exchange;

    g_hash_table_iter_init(&all, server->exchanges);
    while (g_hash_table_iter_next(&all, NULL, &exchange))
        if (((SaslExchange *)exchange)->part)
            server->backend->release(((SaslExchange *)exchange)->part);
    g_hash_table_unref(server->exchanges);
    g_array_unref(server->askers);
    if (server->mechanisms)
        g_ptr_array_unref(server->mechanisms);
    pthread_mutex_destroy(&server->lock);
}

void sasl_learn(SaslServer *server, GPtrArray *mechanisms)
{
    if (mechanisms && server->mechanisms)
        g_ptr_array_unref(server->mechanisms);
    if (mechanisms)
        server->mechanisms = mechanisms;
    for (guint i = 0; i < server->askers->len; i++)
        sched_wake(server->sched, g_array_index(server->askers, TaskRef, i), WAKE_ANSWER);
    g_array_set_size(server->askers, 0);
}

static void answer_with(SaslServer *server, SaslExchange *exchange, SaslAnswer *answer)
{
    sasl_answer_clear(&exchange->answer);
    exchange->answer = *answer;
    exchange->has_answer = true;
    *answer = (SaslAnswer){0};
    sched_wake(server->sched, exchange->task, WAKE_ANSWER);
}

void sasl_give(SaslServer *server, guint64 number, SaslAnswer *answer)
{
    SaslExchange *exchange = g_hash_table_lookup(server->exchanges, &number);

    if (exchange && !exchange->has_answer)
        answer_with(server, exchange, answer);
}

void sasl_give_up(SaslServer *server)
{
    GHashTableIter all;
    gpointer value;

    g_hash_table_iter_init(&all, server->exchanges);
    while (g_hash_table_iter_next(&all, NULL, &value)) {
        SaslExchange *exchange = value;
        SaslAnswer answer = {.status = SASL_TEMPORARY};
        if (exchange->has_answer && exchange->answer.status != SASL_CHALLENGE)
            continue;
        answer.text = g_strdup(LOST);
        answer_with(server, exchange, &answer);
    }
}

/* --- for sessions --- */

void sasl_free(SaslServer *server)
{
    if (server)
        server->backend->free(server);
}

size_t sasl_response_max(const SaslServer *server)
{
    return server->backend->response_max;
}

static bool is_for(const SaslMechanism *mechanism, const SaslPolicy *policy)
{
    return !(mechanism->properties & policy->without) && !(~mechanism->properties & policy->with) &&
           match_string(policy->filter, mechanism->name) == MATCH_YES;
}

static char *names_for(const GPtrArray *mechanisms, const SaslPolicy *policy)
{
    g_autoptr(GString) names = g_string_new(NULL);

    for (guint i = 0; i < mechanisms->len; i++) {
        const SaslMechanism *mechanism = g_ptr_array_index(mechanisms, i);
        if (is_for(mechanism, policy))
            g_string_append_printf(names, "%s%s", names->len > 0 ? " " : "", mechanism->name);
    }
    return names->len > 0 ? g_string_free(g_steal_pointer(&names), FALSE) : NULL;
}

SaslKnowledge sasl_mechanisms(SaslServer *server, const SaslPolicy *policy, TaskRef task, char **ret_names)
{
    g_autoptr(GPtrArray) mechanisms = NULL;

    *ret_names = NULL;
    pthread_mutex_lock(&server->lock);
    SaslKnowledge knowledge = server->backend->look(server);
    if (knowledge == SASL_KNOWN)
        mechanisms = g_ptr_array_ref(server->mechanisms);
    else if (knowledge == SASL_NOT_YET)
        g_array_append_val(server->askers, task);
    pthread_mutex_unlock(&server->lock);
    if (mechanisms)
        *ret_names = names_for(mechanisms, policy);
    return knowledge;
}

/* Under the lock. What was known counts while the server is away: it is asked once it is there. */
static bool is_offered(const SaslServer *server, const SaslStart *start)
{
    if (server->backend->knows_policy)
        return match_string(start->policy->filter, start->mechanism) == MATCH_YES;
    for (guint i = 0; server->mechanisms && i < server->mechanisms->len; i++) {
        const SaslMechanism *mechanism = g_ptr_array_index(server->mechanisms, i);
        if (g_ascii_strcasecmp(mechanism->name, start->mechanism) == 0)
            return is_for(mechanism, start->policy);
    }
    return false;
}

/* One that begins: "=" stands for an empty one (RFC 4954 section 4). */
static bool is_response(const char *text)
{
    return strcmp(text, "=") == 0 || sasl_is_base64(text);
}

static void refuse(SaslExchange *exchange, const char *why)
{
    exchange->has_answer = true;
    exchange->answer = (SaslAnswer){.status = SASL_FAILED, .text = g_strdup(why)};
}

guint64 sasl_start(SaslServer *server, const SaslStart *start, TaskRef task)
{
    const SaslBackend *backend = server->backend;
    SaslExchange *exchange = g_new0(SaslExchange, 1);

    pthread_mutex_lock(&server->lock);
    do
        server->last_number = server->last_number % G_MAXUINT32 + 1;
    while (g_hash_table_contains(server->exchanges, &server->last_number));
    exchange->number = server->last_number;
    exchange->task = task;
    exchange->asked = clock_ms();
    g_hash_table_insert(server->exchanges, &exchange->number, exchange);
    if (!is_offered(server, start))
        refuse(exchange, backend->no_mechanism);
    else if (start->response && backend->bad_initial && !is_response(start->response))
        refuse(exchange, backend->bad_initial);
    else
        backend->start(server, exchange, start);
    guint64 number = exchange->number;
    pthread_mutex_unlock(&server->lock);
    return number;
}

void sasl_continue(SaslServer *server, guint64 number, const char *response)
{
    const SaslBackend *backend = server->backend;

    pthread_mutex_lock(&server->lock);
    SaslExchange *exchange = g_hash_table_lookup(server->exchanges, &number);
    if (exchange && exchange->answer.status == SASL_CHALLENGE) { /* else it has failed meanwhile */
        sasl_answer_clear(&exchange->answer);
        exchange->has_answer = false;
        exchange->asked = clock_ms();
        if (backend->bad_continued && !sasl_is_base64(response)) {
            backend->cancel(server, exchange, false);
            refuse(exchange, backend->bad_continued);
        } else {
            backend->next(server, exchange, response);
        }
    }
    pthread_mutex_unlock(&server->lock);
}

SaslAnswer sasl_take(SaslServer *server, guint64 number)
{
    SaslAnswer answer = {.status = SASL_WAIT};

    pthread_mutex_lock(&server->lock);
    SaslExchange *exchange = g_hash_table_lookup(server->exchanges, &number);
    if (!exchange) {
        answer = (SaslAnswer){.status = SASL_TEMPORARY, .text = g_strdup(LOST)};
    } else if (exchange->has_answer) {
        answer = exchange->answer;
        exchange->answer = (SaslAnswer){.status = answer.status};
        if (answer.status != SASL_CHALLENGE)
            remove_exchange(server, exchange);
    }
    pthread_mutex_unlock(&server->lock);
    return answer;
}

void sasl_cancel(SaslServer *server, guint64 number, bool hangs)
{
    pthread_mutex_lock(&server->lock);
    SaslExchange *exchange = g_hash_table_lookup(server->exchanges, &number);
    if (exchange) {
        server->backend->cancel(server, exchange, hangs);
        remove_exchange(server, exchange);
    }
    pthread_mutex_unlock(&server->lock);
}
