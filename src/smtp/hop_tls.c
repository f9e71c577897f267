/* hop_tls.c - TLS on the way to a peer that the configuration names. */
#include "smtp/hop_tls.h"
#include "base/log.h"
#include "smtp/envelope_lines.h"
#include "smtp/tls_settings.h"

#include <string.h>

struct HopTls {
    char *text; /* of the parameter */
    TlsPolicy policy;
    TlsContext *context;
};

TlsContext *hop_tls_context(const Config *config, GError **error)
{
    TlsSettings settings;

    if (!tls_library_init(config_string(config, "tls_config_file"), config_string(config, "tls_config_name"), error))
        return NULL;
    if (!tls_settings_read(config, "smtp", TLS_CLIENT, false, false, &settings, error))
        return NULL;
    TlsContext *context = tls_context_new(&settings.options, NULL, error);
    tls_settings_clear(&settings);
    return context;
}

static bool keep_anchors(TlsContext *context, char **files, GError **error)
{
    for (; *files; files++)
        if (!tls_context_keep_anchors(context, *files, error))
            return false;
    return true;
}

bool hop_tls_open(const Config *config, const char *parameter, HopTls **ret_tls, GError **error)
{
    return hop_tls_open_text(config, parameter, config_string(config, parameter), ret_tls, error);
}

bool hop_tls_open_text(const Config *config, const char *what, const char *text, HopTls **ret_tls, GError **error)
{
    g_autoptr(TlsContext) context = NULL;
    TlsPolicy policy;

    *ret_tls = NULL;
    if (!tls_policy_of_peer(config, what, text, &policy, error))
        return false;
    bool is_none = policy.level == TLS_LEVEL_NONE;
    if (is_none || !(context = hop_tls_context(config, error)) || !keep_anchors(context, policy.trust_anchors, error)) {
        tls_policy_clear(&policy);
        return is_none;
    }
    *ret_tls = g_new0(HopTls, 1);
    **ret_tls = (HopTls){.text = g_strdup(text), .policy = policy, .context = g_steal_pointer(&context)};
    return true;
}

void hop_tls_free(HopTls *tls)
{
    if (!tls)
        return;
    tls_policy_clear(&tls->policy);
    tls_context_unref(tls->context);
    g_free(tls->text);
    g_free(tls);
}

TlsLevel hop_tls_level(const HopTls *tls)
{
    return tls ? tls->policy.level : TLS_LEVEL_NONE;
}

bool hop_tls_equal(const HopTls *one, const HopTls *other)
{
    return g_strcmp0(one ? one->text : NULL, other ? other->text : NULL) == 0;
}

/* --- the policy of a connection --- */

bool hop_tls_expect(Tls *connection, const TlsPolicy *policy, const char *domain, const char *host, const char *peer,
                    GError **error)
{
    g_auto(GStrv) names = tls_policy_names(policy, domain, host);
    g_autofree char *server_name = tls_policy_server_name(policy, domain, host);

    if (!tls_limit(connection, &policy->protocols, policy->ciphers, error))
        return false;
    if (policy->level == TLS_LEVEL_FINGERPRINT)
        tls_expect_fingerprints(connection, (const char *const *)policy->match);
    else if (policy->level > TLS_LEVEL_FINGERPRINT)
        tls_expect_names(connection, (const char *const *)names);
    if (*policy->trust_anchors && !tls_trust_only(connection, (const char *const *)policy->trust_anchors, error))
        return false;
    if (server_name && !tls_set_server_name(connection, server_name))
        log_warning("%s: no host name that can be sent: %s", peer, server_name);
    return true;
}

bool hop_tls_is_good_enough(Tls *connection, TlsLevel level)
{
    return level < TLS_LEVEL_FINGERPRINT || tls_facts(connection)->peer == TLS_PEER_VERIFIED;
}

/* --- the dialogue --- */

static void G_GNUC_PRINTF(2, 3) set_failed(GError **error, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    g_autofree char *text = g_strdup_vprintf(format, args);
    va_end(args);
    g_set_error_literal(error, CLIENT_ERROR, CLIENT_ERROR_TLS, text);
}

static bool is_required(const HopTls *tls)
{
    return hop_tls_level(tls) >= TLS_LEVEL_ENCRYPT;
}

HopStep hop_tls_after_hello(const HopTls *tls, unsigned offers, GError **error)
{
    if (!tls)
        return HOP_PLAIN;
    if (offers & OFFER_STARTTLS)
        return HOP_SECURE;
    if (!is_required(tls))
        return HOP_PLAIN;
    set_failed(error, "TLS is required, but was not offered");
    return HOP_FAILED;
}

HopStep hop_tls_after_starttls(const HopTls *tls, const Reply *reply, GError **error)
{
    g_autofree char *shown = reply_for_log(reply);

    if (reply_is(reply, 2))
        return HOP_SECURE;
    if (!is_required(tls))
        return HOP_PLAIN;
    set_failed(error, "TLS is required, but STARTTLS was refused: %s", shown);
    return HOP_FAILED;
}

Tls *hop_tls_connection(const HopTls *tls, const Client *client, const Endpoint *endpoint, GError **error)
{
    const char *host = endpoint->host ? endpoint->host : "localhost";
    g_autoptr(Tls) connection = tls_new(tls->context, client_fd(client), endpoint->name);
    g_autoptr(GError) why = NULL;

    if (hop_tls_expect(connection, &tls->policy, host, host, endpoint->name, &why))
        return g_steal_pointer(&connection);
    set_failed(error, "Cannot start TLS: %s", why->message);
    return NULL;
}

bool hop_tls_secured(const HopTls *tls, const Client *client, GError **error)
{
    tls_log_established(client_tls(client));
    if (hop_tls_is_good_enough(client_tls(client), tls->policy.level))
        return true;
    set_failed(error, "Server certificate not verified");
    return false;
}

/* Whatever came without being asked for is no answer. */
static bool say(Client *client, const char *line, Reply **reply, GError **error)
{
    if (!client_heard_too_much(client))
        return client_command_line(client, reply, error, line);
    g_set_error_literal(error, CLIENT_ERROR, CLIENT_ERROR_LOST, "lost connection");
    return false;
}

bool hop_tls_upgrade(const HopTls *tls, Client *client, const Endpoint *endpoint, const char *hello, Reply **reply,
                     GError **error)
{
    HopStep step = hop_tls_after_hello(tls, offers_in(reply_text(*reply)), error);
    g_autoptr(Reply) answer = NULL;

    if (step == HOP_SECURE)
        step = say(client, "STARTTLS", &answer, error) ? hop_tls_after_starttls(tls, answer, error) : HOP_FAILED;
    if (step != HOP_SECURE)
        return step == HOP_PLAIN;
    Tls *connection = hop_tls_connection(tls, client, endpoint, error);
    return connection && client_start_tls(client, connection, error) && hop_tls_secured(tls, client, error) &&
           say(client, hello, reply, error);
}
