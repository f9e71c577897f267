/* smtp_tls.c - TLS on the way to a next hop. */
#include "delivery/smtp_tls.h"
#include "base/clock.h"
#include "base/log.h"
#include "smtp/hop_tls.h"

#include <pthread.h>
#include <string.h>

#define SESSIONS_MAX 1000 /* kept; then all are forgotten: they only save time */

typedef struct {
    TlsSession *session;
    gint64 until; /* clock_ms() */
} KeptSession;

struct SmtpTls {
    TlsPolicies *policies;
    TlsContext *context;
    bool wants_sessions;
    gint64 session_ms;
    pthread_mutex_t lock; /* of sessions */
    GHashTable *sessions; /* KeptSession by session_key() */
};

static void kept_session_free(void *data)
{
    KeptSession *kept = data;

    tls_session_free(kept->session);
    g_free(kept);
}

/* Mail for a next hop whose anchors are not there waits; other mail need not. */
static void keep_anchors(TlsContext *context, const GPtrArray *files)
{
    for (guint i = 0; i < files->len; i++) {
        g_autoptr(GError) error = NULL;
        if (!tls_context_keep_anchors(context, g_ptr_array_index(files, i), &error))
            log_warning("%s", error->message);
    }
}

bool smtp_tls_open(const Config *config, SmtpTls **ret_tls, GError **error)
{
    g_autoptr(TlsPolicies) policies = tls_policies_new(config, error);

    *ret_tls = NULL;
    if (!policies)
        return false;
    if (tls_policies_are_none(policies) && !config_bool(config, "requiretls_enable"))
        return true;
    TlsContext *context = hop_tls_context(config, error);
    if (!context)
        return false;
    keep_anchors(context, tls_policies_anchors(policies));
    SmtpTls *tls = *ret_tls = g_new0(SmtpTls, 1);
    tls->policies = g_steal_pointer(&policies);
    tls->context = context;
    tls->wants_sessions = *config_string(config, "smtp_tls_session_cache_database") != '\0';
    tls->session_ms = config_seconds(config, "smtp_tls_session_cache_timeout") * 1000;
    tls->sessions = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, kept_session_free);
    pthread_mutex_init(&tls->lock, NULL);
    return true;
}

void smtp_tls_free(SmtpTls *tls)
{
    if (!tls)
        return;
    tls_policies_free(tls->policies);
    tls_context_unref(tls->context);
    g_hash_table_unref(tls->sessions);
    pthread_mutex_destroy(&tls->lock);
    g_free(tls);
}

bool smtp_tls_policy(const SmtpTls *tls, const char *nexthop, TlsLevel least, TlsPolicy *ret_policy)
{
    *ret_policy = (TlsPolicy){0};
    if (!tls)
        return least == TLS_LEVEL_NONE;
    return tls_policy_find(tls->policies, nexthop, ret_policy) && tls_policy_raise(tls->policies, least, ret_policy);
}

/* ---- sessions ---- */

static void append_words(GString *key, char **words)
{
    for (; *words; words++)
        g_string_append_printf(key, "%s\n", *words);
    g_string_append_c(key, '\n');
}

/* All that a session was checked against when it was made: it is not resumed where anything else is asked. */
static char *session_key(const SmtpTlsPeer *peer)
{
    const TlsPolicy *policy = peer->policy;
    GString *key = g_string_new(NULL);

    g_string_printf(key, "%s\n%s\n%s\n%d %x %x %x\n%s\n%s\n", peer->relay, peer->domain, peer->host, policy->level,
                    (unsigned)policy->protocols.min, (unsigned)policy->protocols.max, policy->protocols.excluded,
                    policy->ciphers, policy->server_name);
    append_words(key, policy->match);
    append_words(key, policy->trust_anchors);
    return g_string_free(key, FALSE);
}

/* A ticket is used once: nobody shall see that two connections are the same client's. */
static TlsSession *take_session(SmtpTls *tls, const SmtpTlsPeer *peer)
{
    g_autofree char *key = session_key(peer);
    TlsSession *session = NULL;

    pthread_mutex_lock(&tls->lock);
    KeptSession *kept = g_hash_table_lookup(tls->sessions, key);
    if (kept && clock_ms() < kept->until)
        session = g_steal_pointer(&kept->session);
    g_hash_table_remove(tls->sessions, key);
    pthread_mutex_unlock(&tls->lock);
    return session;
}

void smtp_tls_end(SmtpTls *tls, const SmtpTlsPeer *peer, const Client *client)
{
    Tls *connection = client_tls(client);
    TlsSession *session = tls && tls->wants_sessions && connection ? tls_take_session(connection) : NULL;

    if (session && !hop_tls_is_good_enough(connection, peer->policy->level))
        g_clear_pointer(&session, tls_session_free); /* it would be as bad when it is resumed */
    if (!session)
        return;
    KeptSession *kept = g_new0(KeptSession, 1);
    *kept = (KeptSession){.session = session, .until = clock_ms() + tls->session_ms};
    pthread_mutex_lock(&tls->lock);
    if (g_hash_table_size(tls->sessions) >= SESSIONS_MAX)
        g_hash_table_remove_all(tls->sessions);
    g_hash_table_replace(tls->sessions, session_key(peer), kept);
    pthread_mutex_unlock(&tls->lock);
}

/* ---- handshake ---- */

bool smtp_tls_start(SmtpTls *tls, const SmtpTlsPeer *peer, Client *client, const char **ret_why)
{
    Tls *connection = tls_new(tls->context, client_fd(client), peer->relay);
    g_autoptr(GError) error = NULL;

    *ret_why = "Cannot start TLS: handshake failure";
    if (!hop_tls_expect(connection, peer->policy, peer->domain, peer->host, peer->relay, &error)) {
        log_warning("%s: %s: aborting TLS session", peer->relay, error->message);
        tls_free(connection);
        return false;
    }
    TlsSession *session = take_session(tls, peer);
    tls_offer_session(connection, session);
    tls_session_free(session);
    if (!client_start_tls(client, connection, &error))
        return false;
    tls_log_established(connection);
    *ret_why = "Server certificate not verified";
    return hop_tls_is_good_enough(connection, peer->policy->level);
}
