/* settings.c - main.cf's words for an SMTP server, read once. */
#include "smtpd/settings.h"
#include "base/fail.h"
#include "base/log.h"

#include <string.h>

#define DEFAULT_SLOTS 100 /* where the line has no limit: dialogues with the filter at once */

static const struct {
    const char *name;
    unsigned bit;
} ehlo_keywords[] = {
    {"pipelining", EHLO_PIPELINING},
    {"size", EHLO_SIZE},
    {"vrfy", EHLO_VRFY},
    {"etrn", EHLO_ETRN},
    {"starttls", EHLO_STARTTLS},
    {"auth", EHLO_AUTH},
    {"verp", EHLO_XVERP},
    {"xclient", EHLO_XCLIENT},
    {"xforward", EHLO_XFORWARD},
    {"enhancedstatuscodes", EHLO_ENHANCEDSTATUSCODES},
    {"8bitmime", EHLO_8BITMIME},
    {"dsn", EHLO_DSN},
    {"smtputf8", EHLO_SMTPUTF8},
    {"chunking", EHLO_CHUNKING},
    {"requiretls", EHLO_REQUIRETLS},
    {"limits", EHLO_LIMITS},
    {"silent-discard", EHLO_SILENT_DISCARD},
};

unsigned settings_parse_discard(const char *keywords)
{
    g_autoptr(GPtrArray) words = config_split(keywords);
    unsigned bits = 0;

    for (guint i = 0; i < words->len; i++) {
        const char *word = g_ptr_array_index(words, i);
        unsigned bit = 0;
        for (size_t k = 0; k < G_N_ELEMENTS(ehlo_keywords); k++)
            if (g_ascii_strcasecmp(word, ehlo_keywords[k].name) == 0)
                bit = ehlo_keywords[k].bit;
        bits |= bit; /* unknown ones are passed over: later releases have more */
    }
    return bits;
}

static void read_limits(Settings *settings)
{
    const Config *config = settings->config;

    settings->limits = (SessionLimits){
        .hostname = config_string(config, "myhostname"),
        .timeout_ms = config_seconds(config, "smtpd_timeout") * 1000,
        .request_deadline = config_bool(config, "smtpd_per_request_deadline"),
        .min_data_rate = config_int(config, "smtpd_min_data_rate"),
        .line_max = (size_t)config_int(config, "line_length_limit"),
        .soft_error_limit = (int)config_int(config, "smtpd_soft_error_limit"),
        .hard_error_limit = (int)config_int(config, "smtpd_hard_error_limit"),
        .junk_limit = (int)config_int(config, "smtpd_junk_command_limit"),
        .error_sleep_ms = config_seconds(config, "smtpd_error_sleep_time") * 1000,
        .soft_bounce = config_bool(config, "soft_bounce"),
    };
}

static void read_protocol(Settings *settings)
{
    const Config *config = settings->config;
    const char *protocols = config_string(config, "inet_protocols");

    settings->inet_protocols = protocols;
    settings->hostname = config_string(config, "myhostname");
    settings->banner = config_string(config, "smtpd_banner");
    settings->reject_footer = config_string(config, "smtpd_reject_footer");
    settings->expansion_filter = config_string(config, "smtpd_expansion_filter");
    settings->soft_bounce = config_bool(config, "soft_bounce");
    settings->mail_name = config_string(config, "mail_name");
    settings->helo_required = config_bool(config, "smtpd_helo_required");
    settings->disable_vrfy = config_bool(config, "disable_vrfy_command");
    settings->delay_reject = config_bool(config, "smtpd_delay_reject");
    settings->delay_open = config_bool(config, "smtpd_delay_open_until_valid_rcpt");
    settings->peername_lookup = config_bool(config, "smtpd_peername_lookup");
    settings->port_logging = config_bool(config, "smtpd_client_port_logging");
    settings->hide_client_session = config_bool(config, "smtpd_hide_client_session");
    settings->ipv4 = strstr(protocols, "ipv4") || strstr(protocols, "all");
    settings->ipv6 = strstr(protocols, "ipv6") || strstr(protocols, "all");
    settings->requiretls = config_bool(config, "requiretls_enable");
    settings->requiretls_header = config_bool(config, "requiretls_esmtp_header");
    settings->sasl_enabled = config_bool(config, "smtpd_sasl_auth_enable");
    settings->rules = (CommandRules){
        .allow_min_user = config_bool(config, "allow_min_user"),
        .strict_rfc821 = config_bool(config, "strict_rfc821_envelopes"),
        .smtputf8 = config_bool(config, "smtputf8_enable"),
        .strict_smtputf8 = config_bool(config, "strict_smtputf8"),
        .dsn = true,
        .size = true,
        .body8bit = true,
        .auth = true,
    };
    settings->discard = settings_parse_discard(config_string(config, "smtpd_discard_ehlo_keywords"));
    settings->message_size_limit = config_int(config, "message_size_limit");
    settings->queue_minfree = config_int(config, "queue_minfree");
    settings->recipient_limit = (int)config_int(config, "smtpd_recipient_limit");
    settings->announce_limits = config_bool(config, "smtpd_announce_limits");
    settings->recipient_overshoot = (int)config_int(config, "smtpd_recipient_overshoot_limit");
    settings->forbid_unauth_pipelining = config_bool(config, "smtpd_forbid_unauth_pipelining");
    settings->bare_newline_code = (int)config_int(config, "smtpd_forbid_bare_newline_reject_code");
    settings->connection_count_limit = (int)config_int(config, "smtpd_client_connection_count_limit");
    settings->rate_limits[RATE_CONNECTION] = (int)config_int(config, "smtpd_client_connection_rate_limit");
    settings->rate_limits[RATE_MESSAGE] = (int)config_int(config, "smtpd_client_message_rate_limit");
    settings->rate_limits[RATE_RECIPIENT] = (int)config_int(config, "smtpd_client_recipient_rate_limit");
    settings->rate_limits[RATE_NEW_TLS] = (int)config_int(config, "smtpd_client_new_tls_session_rate_limit");
    settings->rate_limits[RATE_AUTH] = (int)config_int(config, "smtpd_client_auth_rate_limit");
    settings->rate_unit_ms = config_seconds(config, "anvil_rate_time_unit") * 1000;
    settings->ipv4_prefix = (unsigned)config_int(config, "smtpd_client_ipv4_prefix_length");
    settings->ipv6_prefix = (unsigned)config_int(config, "smtpd_client_ipv6_prefix_length");
    settings->content_filter = config_string(config, "content_filter");
}

static void read_bare_newline(Settings *settings)
{
    static const struct {
        const char *word;
        BareNewline policy;
    } words[] = {
        {"no", BARE_NEWLINE_NO},     {"yes", BARE_NEWLINE_NORMALIZE}, {"normalize", BARE_NEWLINE_NORMALIZE},
        {"note", BARE_NEWLINE_NOTE}, {"reject", BARE_NEWLINE_REJECT},
    };
    const char *value = config_string(settings->config, "smtpd_forbid_bare_newline");

    settings->bare_newline = BARE_NEWLINE_NORMALIZE; /* the table of parameters lets nothing else through */
    for (size_t i = 0; i < G_N_ELEMENTS(words); i++)
        if (g_ascii_strcasecmp(value, words[i].word) == 0)
            settings->bare_newline = words[i].policy;
}

static void read_overrides(Settings *settings)
{
    g_autoptr(GPtrArray) words = config_split(config_string(settings->config, "receive_override_options"));

    settings->address_mappings = settings->body_checks = settings->unknown_recipient_checks = true;
    for (guint i = 0; i < words->len; i++) {
        const char *word = g_ptr_array_index(words, i);
        if (g_ascii_strcasecmp(word, "no_address_mappings") == 0)
            settings->address_mappings = false;
        else if (g_ascii_strcasecmp(word, "no_header_body_checks") == 0)
            settings->body_checks = false;
        else if (g_ascii_strcasecmp(word, "no_unknown_recipient_checks") == 0)
            settings->unknown_recipient_checks = false;
    }
}

static bool read_lists(Settings *settings, GError **error)
{
    const Config *config = settings->config;
    const struct {
        const char *name;
        MatchList **list;
    } lists[] = {
        {"smtpd_noop_commands", &settings->noop_commands},
        {"smtpd_forbidden_commands", &settings->forbidden_commands},
        {"smtpd_forbid_bare_newline_exclusions", &settings->bare_newline_exclusions},
        {"smtpd_client_event_limit_exceptions", &settings->event_exceptions},
        {"smtpd_upstream_proxy_hosts", &settings->upstream_hosts},
        {"smtpd_authorized_xforward_hosts", &settings->xforward_hosts},
        {"smtpd_authorized_xclient_hosts", &settings->xclient_hosts},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(lists); i++) {
        *lists[i].list = match_list_new(lists[i].name, config_string(config, lists[i].name), 0, error);
        if (!*lists[i].list)
            return false;
    }
    settings->discard_maps = tables_open(config_string(config, "smtpd_discard_ehlo_keyword_address_maps"), error);
    if (!settings->discard_maps)
        return false;
    settings->command_filter = tables_open(config_string(config, "smtpd_command_filter"), error);
    if (!settings->command_filter)
        return false;
    settings->footer_maps = tables_open(config_string(config, "smtpd_reject_footer_maps"), error);
    return settings->footer_maps != NULL;
}

static bool read_upstream(Settings *settings, GError **error)
{
    const Config *config = settings->config;
    const char *protocol = config_string(config, "smtpd_upstream_proxy_protocol");
    g_autoptr(GPtrArray) hosts = config_split(config_string(config, "smtpd_upstream_proxy_hosts"));

    if (!*protocol)
        return true;
    if (strcmp(protocol, "haproxy") != 0)
        return fail(error, "unsupported smtpd_upstream_proxy_protocol value: %s", protocol);
    settings->upstream_timeout_ms = config_seconds(config, "smtpd_upstream_proxy_timeout") * 1000;
    settings->upstream_is_anybody = hosts->len == 0;
    return true;
}

/* local_header_rewrite_clients: of its words, those that need no more than the client's address. */
static bool read_rewrite_clients(Settings *settings, GError **error)
{
    const char *value = config_string(settings->config, "local_header_rewrite_clients");
    g_autoptr(GPtrArray) words = config_split(value);
    const char *networks = "";

    for (guint i = 0; i < words->len; i++) {
        const char *word = g_ptr_array_index(words, i);
        if (g_ascii_strcasecmp(word, "permit_inet_interfaces") == 0)
            settings->rewrite_for_inet_interfaces = true;
        else if (g_ascii_strcasecmp(word, "permit_mynetworks") == 0)
            networks = config_string(settings->config, "mynetworks");
        else
            return fail(error,
                        "local_header_rewrite_clients: \"%s\" is not supported: "
                        "use permit_inet_interfaces or permit_mynetworks",
                        word);
    }
    settings->rewrite_networks = match_list_new("local_header_rewrite_clients", networks, 0, error);
    return settings->rewrite_networks != NULL;
}

static bool read_proxy(Settings *settings, int maxproc, GError **error)
{
    const Config *config = settings->config;
    const char *filter = config_string(config, "smtpd_proxy_filter");
    const char *slots = config_string(config, "smtpd_proxy_concurrency_limit");

    settings->speed_adjust = config_list_has(config_string(config, "smtpd_proxy_options"), "speed_adjust");
    settings->proxy_trace = config_bool(config, "smtpd_proxy_trace");
    settings->proxy_ehlo = config_string(config, "smtpd_proxy_ehlo");
    settings->proxy_timeout_ms = config_seconds(config, "smtpd_proxy_timeout") * 1000;
    settings->proxy_wait_ms = config_seconds(config, "smtpd_proxy_wait_time") * 1000;
    settings->proxy_wait_limit = (int)config_int(config, "smtpd_proxy_wait_limit");
    settings->proxy_reuse = config_bool(config, "smtpd_proxy_connection_reuse");
    settings->proxy_reuse_limit = (int)config_int(config, "smtpd_proxy_connection_reuse_limit");
    settings->proxy_idle_ms = config_seconds(config, "smtpd_proxy_connection_idle") * 1000;
    settings->proxy_pipelining = config_bool(config, "smtpd_proxy_pipelining");
    settings->proxy_slots = (int)g_ascii_strtoll(slots, NULL, 10);
    if (settings->proxy_slots <= 0)
        settings->proxy_slots = maxproc > 0 ? maxproc : DEFAULT_SLOTS;
    if (!*filter)
        return true;
    settings->proxy = endpoint_parse(filter, config_string(config, "queue_directory"), 0, error);
    endpoint_announce(settings->proxy);
    if (!settings->proxy)
        g_prefix_error(error, "smtpd_proxy_filter: ");
    return settings->proxy && hop_tls_open(config, "smtpd_proxy_tls_security_level", &settings->proxy_tls, error);
}

static bool read_sasl(Settings *settings, GError **error)
{
    const Config *config = settings->config;
    const char *type = config_string(config, "smtpd_sasl_type"), *path = config_string(config, "smtpd_sasl_path");
    bool has_kind = g_str_has_prefix(path, "inet:") || g_str_has_prefix(path, "unix:");
    g_autofree char *place = has_kind ? g_strdup(path) : g_strconcat("unix:", path, NULL);
    const struct {
        const char *name;
        SaslPolicy *policy;
    } policies[] = {{"smtpd_sasl_security_options", &settings->sasl.plain},
                    {"smtpd_sasl_tls_security_options", &settings->sasl.tls}};

    settings->sasl.filter = match_list_new("smtpd_sasl_mechanism_filter",
                                           config_string(config, "smtpd_sasl_mechanism_filter"), 0, error);
    settings->sasl.exceptions =
        settings->sasl.filter
            ? match_list_new("smtpd_sasl_exceptions_networks", config_string(config, "smtpd_sasl_exceptions_networks"),
                             0, error)
            : NULL;
    if (!settings->sasl.exceptions)
        return false;
    settings->sasl.service = config_string(config, "smtpd_sasl_service");
    settings->sasl.needs_tls = config_bool(config, "smtpd_tls_auth_only");
    settings->sasl.old_keyword = config_bool(config, "broken_sasl_auth_clients");
    settings->sasl.in_received = config_bool(config, "smtpd_sasl_authenticated_header");
    settings->sasl.response_limit = (size_t)config_int(config, "smtpd_sasl_response_limit");
    if (!settings->sasl_enabled)
        return true;
    for (size_t i = 0; i < G_N_ELEMENTS(policies); i++) {
        policies[i].policy->filter = settings->sasl.filter;
        if (!sasl_policy_parse(config_string(config, policies[i].name), policies[i].policy, error)) {
            g_prefix_error(error, "%s: ", policies[i].name);
            return false;
        }
    }
    if (strcmp(type, "cyrus") == 0) {
        const char *directories = config_string(config, "cyrus_sasl_config_path");
        settings->sasl.cyrus_path = *directories
                                        ? g_strdup(directories)
                                        : g_strconcat(config_string(config, "config_directory"), "/sasl:/usr/lib/sasl2", NULL);
        return true;
    }
    if (strcmp(type, "dovecot") != 0)
        return fail(error, "smtpd_sasl_type = %s: use cyrus or dovecot", type);
    settings->sasl.endpoint = endpoint_parse(place, config_string(config, "queue_directory"), 0, error);
    if (!settings->sasl.endpoint)
        g_prefix_error(error, "smtpd_sasl_path: ");
    endpoint_announce(settings->sasl.endpoint);
    return settings->sasl.endpoint != NULL;
}

static bool find_blocking(const Settings *settings)
{
    const MatchList *lists[] = {settings->noop_commands,    settings->forbidden_commands,
                                settings->event_exceptions, settings->bare_newline_exclusions,
                                settings->xforward_hosts,   settings->xclient_hosts,
                                settings->upstream_hosts,   settings->rewrite_networks,
                                settings->sasl.exceptions};
    bool blocks = access_blocks(settings->access) || tables_block(settings->discard_maps);

    for (size_t i = 0; i < G_N_ELEMENTS(lists); i++)
        blocks |= match_list_blocks(lists[i]);
    return blocks;
}

Settings *settings_new(const MainCf *main_cf, const ConfigScope *scope, int maxproc, TlsTickets *tickets,
                       const Settings *like, GError **error)
{
    Settings *settings = g_new0(Settings, 1);

    settings->config = config_new(main_cf, scope, error);
    if (settings->config) {
        read_limits(settings);
        read_protocol(settings);
        read_bare_newline(settings);
        read_overrides(settings);
        settings->route = route_new(settings->config, error);
        if (settings->route && read_lists(settings, error) && read_rewrite_clients(settings, error) &&
            read_upstream(settings, error) && read_sasl(settings, error) && read_proxy(settings, maxproc, error) &&
            tls_server_read(settings->config, tickets, scope->service_name, like ? &like->tls : NULL, &settings->tls,
                            error) &&
            (settings->access = access_new(settings->config, settings->route, error))) {
            settings->lookups_block = find_blocking(settings);
            return settings;
        }
    }
    settings_free(settings);
    return NULL;
}

void settings_free(Settings *settings)
{
    if (!settings)
        return;
    access_free(settings->access);
    route_free(settings->route);
    tables_free(settings->discard_maps);
    tables_free(settings->command_filter);
    tables_free(settings->footer_maps);
    match_list_free(settings->noop_commands);
    match_list_free(settings->forbidden_commands);
    match_list_free(settings->bare_newline_exclusions);
    match_list_free(settings->event_exceptions);
    match_list_free(settings->upstream_hosts);
    match_list_free(settings->xforward_hosts);
    match_list_free(settings->xclient_hosts);
    match_list_free(settings->rewrite_networks);
    match_list_free(settings->sasl.filter);
    match_list_free(settings->sasl.exceptions);
    endpoint_free(settings->sasl.endpoint);
    g_free(settings->sasl.cyrus_path);
    endpoint_free(settings->proxy);
    hop_tls_free(settings->proxy_tls);
    tls_server_clear(&settings->tls);
    config_free(settings->config);
    g_free(settings);
}
