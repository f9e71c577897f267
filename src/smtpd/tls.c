/* tls.c - TLS of an SMTP server: settings, tables of server names, STARTTLS and what follows it (TLS_README). */
#include "smtpd/tls.h"
#include "base/fail.h"
#include "base/fd.h"
#include "base/log.h"
#include "smtp/tls_settings.h"
#include "smtpd/state.h"

#include <string.h>

#define CHAIN_OCTETS_MAX 1000000 /* of keys and certificates for one name */

/* --- the tables of server names --- */

/* Of tables that are text, values name files; these are read when the process starts, while it may. Of indexed ones,
 * values are what postmap -F stored: the files' content in base64. */
struct SniMaps {
    Tables *tables;
    GHashTable *chains; /* text of a value: PEM */
};

/* Content of all files that a value names, one behind the other. */
static char *read_files(const char *names, GError **error)
{
    g_auto(GStrv) files = g_strsplit_set(names, ", \t\r\n", -1);
    g_autoptr(GString) chain = g_string_new(NULL);

    for (char **file = files; *file; file++) {
        g_autofree char *text = NULL;
        size_t len;
        if (!**file)
            continue;
        text = fd_read_file(*file, CHAIN_OCTETS_MAX - MIN(chain->len, CHAIN_OCTETS_MAX), &len, error);
        if (!text)
            return NULL;
        g_string_append_len(chain, text, (gssize)len);
        g_string_append_c(chain, '\n');
    }
    return g_string_free(g_steal_pointer(&chain), FALSE);
}

/* NULL: it is no base64 of PEM. */
static char *decode(const char *value)
{
    gsize len = 0;
    size_t octets = strlen(value);

    if (octets == 0 || octets > CHAIN_OCTETS_MAX * 2 || strchr(value, '.'))
        return NULL;
    g_autofree guchar *data = g_base64_decode(value, &len);
    if (!data || len == 0)
        return NULL;
    char *text = g_strndup((const char *)data, len);
    if (!strstr(text, "-----BEGIN "))
        g_clear_pointer(&text, g_free);
    return text;
}

typedef struct {
    SniMaps *maps;
    GError **error;
    bool good;
} Reading;

static bool read_entry(void *context, const char *key, const char *value)
{
    Reading *reading = context;
    g_autofree char *indexed = decode(value), *read = NULL;

    if (g_hash_table_contains(reading->maps->chains, value))
        return true;
    if (!indexed)
        read = read_files(value, reading->error);
    const char *chain = indexed ? indexed : read;
    reading->good = chain && tls_chain_check(chain, indexed ? "the table" : value, reading->error);
    if (!reading->good)
        g_prefix_error(reading->error, "tls_server_sni_maps: %s: ", key);
    else if (read)
        g_hash_table_insert(reading->maps->chains, g_strdup(value), g_steal_pointer(&read));
    return reading->good;
}

static void sni_maps_free(SniMaps *maps)
{
    if (!maps)
        return;
    tables_free(maps->tables);
    g_hash_table_unref(maps->chains);
    g_free(maps);
}

static bool read_entries(SniMaps *maps, const Table *table, GError **error)
{
    Reading reading = {.maps = maps, .error = error, .good = true};
    g_autoptr(GError) cannot_list = NULL;

    if (table_blocks(table))
        return fail(error, "tls_server_sni_maps: %s asks another system, which a handshake does not wait for",
                    table_spec(table));
    g_autoptr(Table) listed = table_open_strict(table_spec(table), false, error);
    if (!listed)
        return false;
    table_walk(listed, read_entry, &reading,
               &cannot_list); /* patterns cannot be listed: their files are read when asked for */
    return reading.good;
}

static SniMaps *sni_maps_new(const char *specs, GError **error)
{
    SniMaps *maps = g_new0(SniMaps, 1);
    bool good;

    maps->chains = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    maps->tables = tables_open(specs, error);
    good = maps->tables != NULL;
    for (guint i = 0; good && i < tables_count(maps->tables); i++)
        good = read_entries(maps, tables_get(maps->tables, i), error);
    if (!good)
        g_clear_pointer(&maps, sni_maps_free);
    return maps;
}

/* The name itself, then its parents, each with a dot in front. */
static TableResult look_up_name(const Tables *tables, const char *name, char **ret_value)
{
    TableResult result = tables_lookup(tables, name, ret_value);

    for (const char *at = strchr(name, '.'); at && result == TABLE_ABSENT; at = strchr(at + 1, '.'))
        result = tables_lookup_part(tables, at, ret_value);
    return result;
}

static char *find_chain(const void *user, const char *name, bool *ret_failed)
{
    const SniMaps *maps = user;
    g_autofree char *value = NULL;
    g_autoptr(GError) error = NULL;
    TableResult result = look_up_name(maps->tables, name, &value);

    *ret_failed = result == TABLE_FAILED;
    if (result != TABLE_FOUND)
        return NULL;
    const char *known = g_hash_table_lookup(maps->chains, value);
    char *chain = known ? g_strdup(known) : decode(value);
    if (!chain)
        chain = read_files(value, &error);
    *ret_failed = !chain;
    if (error)
        log_warning("tls_server_sni_maps: %s: %s", name, error->message);
    return chain;
}

/* --- settings --- */

/* True: known; *ret_on and *ret_required are set. */
static bool read_level(const Config *config, bool *ret_on, bool *ret_required, GError **error)
{
    const char *level = config_string(config, "smtpd_tls_security_level");
    bool enforce = config_bool(config, "smtpd_enforce_tls"), use = enforce || config_bool(config, "smtpd_use_tls");

    if (*level) {
        static const char *const stronger[] = {"verify", "secure", "fingerprint", "dane", "dane-only"};
        enforce = g_ascii_strcasecmp(level, "encrypt") == 0;
        use = enforce || g_ascii_strcasecmp(level, "may") == 0;
        for (size_t i = 0; i < G_N_ELEMENTS(stronger); i++) {
            if (g_ascii_strcasecmp(level, stronger[i]) == 0) {
                log_warning("smtpd_tls_security_level: unsupported TLS level \"%s\", using \"encrypt\"", level);
                use = enforce = true;
            }
        }
        if (!use && g_ascii_strcasecmp(level, "none") != 0)
            return fail(error, "invalid TLS level \"%s\" in smtpd_tls_security_level", level);
    }
    *ret_on = use;
    *ret_required = enforce;
    return true;
}

static bool is_given(const Config *config, const char *name)
{
    const char *value = config_string(config, name);

    return *value && g_ascii_strcasecmp(value, "none") != 0;
}

/* smtpd_tls_cert_file = none is how one says that there shall be none. */
static bool has_certificate(const Config *config, bool *ret_wants_none)
{
    *ret_wants_none = g_ascii_strcasecmp(config_string(config, "smtpd_tls_cert_file"), "none") == 0;
    return is_given(config, "smtpd_tls_chain_files") || is_given(config, "smtpd_tls_cert_file") ||
           is_given(config, "smtpd_tls_dcert_file") || is_given(config, "smtpd_tls_eccert_file");
}

/* *ret_usable: TLS can be spoken, as there is a certificate, or shall be none. Without it STARTTLS stays and gets a
 * reply that says why, as with Postfix; a service that speaks TLS from the start would be good for nothing. */
static bool check_certificate(const Config *config, const TlsServer *tls, bool *ret_usable, GError **error)
{
    bool wants_none, has_one = has_certificate(config, &wants_none);

    *ret_usable = has_one || (wants_none && !tls->asks);
    if (!*ret_usable && tls->wrapper)
        return fail(error, "smtpd_tls_wrappermode is on, but there is no certificate: set smtpd_tls_chain_files");
    if (!has_one && tls->asks)
        log_warning("Need a server cert to request client certs");
    if (!*ret_usable)
        log_warning("No server certs available. TLS won't be enabled");
    return true;
}

static bool make_context(const Config *config, TlsTickets *tickets, const char *line, const TlsServer *like,
                         TlsServer *tls, GError **error)
{
    TlsSettings settings;
    const char *maps = config_string(config, "tls_server_sni_maps");

    if (!tls_settings_read(config, "smtpd", TLS_SERVER, tls->required, tls->asks, &settings, error))
        return false;
    settings.options.verify = tls->needs_trust ? TLS_VERIFY_NEED : tls->asks ? TLS_VERIFY_ASK : TLS_VERIFY_NONE;
    settings.options.dh_file = config_string(config, "smtpd_tls_dh1024_param_file");
    settings.options.session_time = (int)config_seconds(config, "smtpd_tls_session_cache_timeout");
    settings.options.tickets = tickets;
    settings.options.session_for = line;
    if (*maps) {
        tls->names = sni_maps_new(maps, error);
        settings.options.find_chain = find_chain;
        settings.options.find_user = tls->names;
    }
    if (!*maps || tls->names)
        tls->context = tls_context_new(&settings.options, like ? like->context : NULL, error);
    tls_settings_clear(&settings);
    return tls->context != NULL;
}

bool tls_server_read(const Config *config, TlsTickets *tickets, const char *line, const TlsServer *like, TlsServer *tls,
                     GError **error)
{
    bool usable;

    *tls = (TlsServer){.wrapper = config_bool(config, "smtpd_tls_wrappermode"),
                       .received_header = config_bool(config, "smtpd_tls_received_header"),
                       .time_ms = config_seconds(config, "smtpd_starttls_timeout") * 1000};
    if (!read_level(config, &tls->on, &tls->required, error))
        return false;
    tls->on |= tls->wrapper;
    tls->required |= tls->wrapper;
    if (!tls->on)
        return true;
    bool wants_trust = config_bool(config, "smtpd_tls_req_ccert");
    if (wants_trust && !tls->required)
        log_warning("Can't require client certs unless TLS is required");
    tls->needs_trust = wants_trust && tls->required;
    tls->asks = tls->needs_trust || config_bool(config, "smtpd_tls_ask_ccert");
    if (tls_library_init(config_string(config, "tls_config_file"), config_string(config, "tls_config_name"), error) &&
        check_certificate(config, tls, &usable, error) &&
        (!usable || make_context(config, tickets, line, like, tls, error)))
        return true;
    tls_server_clear(tls);
    return false;
}

void tls_server_clear(TlsServer *tls)
{
    tls_context_unref(tls->context);
    sni_maps_free(tls->names);
    *tls = (TlsServer){0};
}

/* --- sessions --- */

static void start(Smtpd *smtpd, const char *after)
{
    const TlsServer *tls = &smtpd->settings->tls;
    size_t dropped = session_start_tls(smtpd->session, tls->context, tls->time_ms);

    if (dropped > 0 && after)
        log_warning("%zu octets after %s from %s are thrown away: they came before TLS", dropped, after,
                    smtpd->client.text);
}

Outcome command_starttls(Session *session, const char *line)
{
    Smtpd *smtpd = smtpd_of(session);
    const char *arguments = line + strlen("STARTTLS");

    if (arguments[strspn(arguments, " \t")]) {
        session_reply(session, "501 5.5.4 Syntax: STARTTLS");
    } else if (session->stream.tls) {
        session_reply(session, "554 5.5.1 Error: TLS already active");
    } else if (!smtpd->settings->tls.on || (smtpd->client.discard & EHLO_STARTTLS)) {
        session_reply(session, "502 5.5.1 Error: command not implemented");
    } else if (!smtpd->settings->tls.context) {
        session_reply(session, "454 4.7.0 TLS not available due to local problem");
    } else if (limits_refuse_tls(smtpd)) {
        session_replyf(session, "454 4.7.0 Error: too many new TLS sessions from %s", smtpd->client.text);
        log_warning("Refusing STARTTLS request from %s for service %s", smtpd->client.text,
                    smtpd->service->process->name);
    } else {
        start(smtpd, "STARTTLS");
        session_reply(session, "220 2.0.0 Ready to start TLS");
    }
    return outcome_done();
}

bool tls_wraps(Smtpd *smtpd)
{
    if (!smtpd->settings->tls.wrapper || smtpd->session->stream.tls)
        return false;
    if (limits_refuse_tls(smtpd)) {
        log_warning("Refusing TLS service request from %s for service %s", smtpd->client.text,
                    smtpd->service->process->name);
        session_hang_up(smtpd->session);
    } else {
        session_start_tls(smtpd->session, smtpd->settings->tls.context, smtpd->settings->tls.time_ms);
    }
    return true;
}

/* Who may not go on learns it as the answer to the first command, as from Postfix: many clients read no greeting. */
static void check_trust(Smtpd *smtpd, const TlsFacts *facts)
{
    if (!smtpd->settings->tls.needs_trust || facts->peer >= TLS_PEER_TRUSTED)
        return;
    smtpd->tls_problem =
        facts->peer == TLS_PEER_NONE ? "No client certificate presented" : "Client certificate not trusted";
    log_info("NOQUEUE: abort: TLS from %s: %s", smtpd->client.text, smtpd->tls_problem);
}

void tls_secured(Session *session)
{
    Smtpd *smtpd = smtpd_of(session);
    const TlsFacts *facts = session_tls(session);

    transaction_end(smtpd, true);
    g_clear_pointer(&smtpd->helo, g_free);
    g_clear_pointer(&smtpd->sasl_method, g_free);
    g_clear_pointer(&smtpd->sasl_username, g_free);
    if (!facts->resumed && limits_count_tls(smtpd)) {
        session_replyf(session, "421 4.7.0 %s Error: too many new TLS sessions from %s", smtpd->settings->hostname,
                       smtpd->client.text);
        return;
    }
    check_trust(smtpd, facts);
}

bool tls_aborts(Smtpd *smtpd)
{
    if (!smtpd->tls_problem)
        return false;
    session_replyf(smtpd->session, "421 4.7.1 %s Error: %s", smtpd->settings->hostname, smtpd->tls_problem);
    session_uncounted(smtpd->session);
    return true;
}

bool tls_is_lacking(Smtpd *smtpd, const Command *command)
{
    static const char *const allowed[] = {"HELO", "EHLO", "XCLIENT", "STARTTLS", "NOOP", "QUIT", "HELP"};

    if (!smtpd->settings->tls.required || smtpd->session->stream.tls || !command->verb)
        return false;
    for (size_t i = 0; i < G_N_ELEMENTS(allowed); i++)
        if (strcmp(command->verb, allowed[i]) == 0)
            return false;
    session_reply(smtpd->session, "530 5.7.0 Must issue a STARTTLS command first");
    return true;
}

char *tls_received(const Smtpd *smtpd)
{
    const TlsFacts *facts = smtpd->settings->tls.received_header ? session_tls(smtpd->session) : NULL;

    if (!facts)
        return NULL;
    GString *text = g_string_new(NULL);
    g_autofree char *signatures = tls_facts_signatures(facts);
    char *client = strstr(signatures, " client-signature ");
    g_autofree char *of_client = client ? g_strdup(client) : g_strdup("");
    if (client)
        *client = '\0';
    g_string_printf(text, "(using %s with cipher %s (%d/%d bits)", facts->protocol, facts->cipher, facts->used_bits,
                    facts->algorithm_bits);
    if (*signatures)
        g_string_append_printf(text, "\n\t%s", signatures);
    if (*of_client)
        g_string_append_printf(text, "\n\t%s", of_client);
    g_string_append(text, ")\n\t");
    if (facts->peer != TLS_PEER_NONE)
        g_string_append_printf(text, "(Client CN \"%s\", Issuer \"%s\" (%s))", facts->peer_name, facts->issuer_name,
                               facts->peer >= TLS_PEER_TRUSTED ? "verified OK" : "not verified");
    else
        g_string_append(text, smtpd->settings->tls.asks ? "(Client did not present a certificate)"
                                                        : "(No client certificate requested)");
    return g_string_free(text, FALSE);
}
