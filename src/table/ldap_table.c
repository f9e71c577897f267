/* ldap_table.c - ldap:, its parameters (ldap_table(5)) and its lookups. */
#include "base/clock.h"
#include "base/fail.h"
#include "base/log.h"
#include "base/sandbox.h"
#include "config/config.h"
#include "table/backend.h"
#include "table/connecting.h"
#include "table/kept.h"
#include "table/ldap_private.h"
#include "table/network.h"

#include <string.h>

#define KEEP_MS 60000
#define LOOKUP_TIMEOUTS 10 /* all searches of a lookup, which may be one for each member of a group, in timeouts */

typedef struct {
    DbParams *params;
    LdapSettings settings;
    DbRules *rules;
    DbTemplate *base, *filter;
    Kept idle; /* of LDAP* */
} Directory;

static void clear_directory(void *data)
{
    Directory *directory = data;

    kept_clear(&directory->idle);
    db_template_free(directory->base);
    db_template_free(directory->filter);
    db_rules_free(directory->rules);
    g_free(directory->settings.urls);
    if (directory->settings.attributes)
        g_ptr_array_unref(directory->settings.attributes);
    db_params_free(directory->params);
}

static void free_directory(void *data)
{
    g_atomic_rc_box_release_full(data, clear_directory);
}

/* ---- Parameters ---- */

static const char *get(const DbParams *params, const char *name, const char *fallback)
{
    const char *value = db_params_get(params, name);

    return value ? value : fallback;
}

/* "host", "host:port" or URLs, which may not say more than the server. */
static char *read_servers(const DbParams *params, LdapSettings *settings, GError **error)
{
    g_autoptr(GPtrArray) words = config_split(get(params, "server_host", "localhost"));
    g_autoptr(GString) urls = g_string_new(NULL);
    int port;

    if (!db_params_int(params, "server_port", LDAP_PORT, 1, &port, error))
        return NULL;
    for (guint i = 0; i < words->len; i++) {
        const char *word = g_ptr_array_index(words, i);
        LDAPURLDesc *url = NULL;
        g_autofree char *made = NULL;
        if (!strstr(word, "://")) {
            const char *bracket = strrchr(word, ']');
            bool has_port = strchr(bracket ? bracket : word, ':') != NULL;
            word = made = has_port ? g_strdup_printf("ldap://%s", word) : g_strdup_printf("ldap://%s:%d", word, port);
        }
        if (ldap_url_parse(word, &url) != LDAP_URL_SUCCESS) {
            fail(error, "%s: bad LDAP server: %s", db_params_source(params), word);
            return NULL;
        }
        if (url->lud_dn && *url->lud_dn)
            log_warning("%s: what follows the server in %s is ignored", db_params_source(params), word);
        settings->uses_tls |= g_ascii_strcasecmp(url->lud_scheme, "ldaps") == 0;
        settings->has_names |= g_ascii_strcasecmp(url->lud_scheme, "ldapi") != 0 &&
                               !(url->lud_host && network_parse_address(url->lud_host, &(Network){0}));
        if (urls->len > 0)
            g_string_append_c(urls, ' ');
        g_string_append_len(urls, word,
                            (gssize)strcspn(strstr(word, "://") + 3, "/") + (strstr(word, "://") + 3 - word));
        ldap_free_urldesc(url);
    }
    return g_string_free(g_steal_pointer(&urls), FALSE);
}

static bool read_bind(const DbParams *params, LdapSettings *settings, GError **error)
{
    const char *how = get(params, "bind", "yes");

    if (g_ascii_strcasecmp(how, "sasl") == 0)
        return fail(error, "%s: bind = %s: this program binds with \"simple\" alone", settings->source, how);
    settings->bind = g_ascii_strcasecmp(how, "yes") == 0 || g_ascii_strcasecmp(how, "simple") == 0;
    if (!settings->bind && g_ascii_strcasecmp(how, "no") != 0 && g_ascii_strcasecmp(how, "none") != 0)
        return fail(error, "%s: unsupported parameter value: bind = %s", settings->source, how);
    settings->bind_dn = get(params, "bind_dn", "");
    settings->bind_pw = get(params, "bind_pw", "");
    return true;
}

static bool read_tls(const DbParams *params, LdapSettings *settings, GError **error)
{
    if (!db_params_bool(params, "start_tls", false, &settings->start_tls, error) ||
        !db_params_bool(params, "tls_require_cert", false, &settings->require_cert, error))
        return false;
    settings->uses_tls |= settings->start_tls;
    settings->ca_file = db_params_get(params, "tls_ca_cert_file");
    settings->ca_dir = db_params_get(params, "tls_ca_cert_dir");
    settings->cert = db_params_get(params, "tls_cert");
    settings->key = db_params_get(params, "tls_key");
    settings->random_file = db_params_get(params, "tls_random_file");
    settings->ciphers = db_params_get(params, "tls_cipher_suite");
    if (settings->uses_tls && settings->version < 3)
        return fail(error, "%s: TLS needs version = 3", settings->source);
    return true;
}

static void read_scope(const DbParams *params, LdapSettings *settings)
{
    static const struct {
        const char *name;
        int scope;
    } scopes[] = {{"sub", LDAP_SCOPE_SUBTREE}, {"one", LDAP_SCOPE_ONELEVEL}, {"base", LDAP_SCOPE_BASE}};
    const char *scope = get(params, "scope", "sub");

    settings->scope = LDAP_SCOPE_SUBTREE;
    for (size_t i = 0; i < G_N_ELEMENTS(scopes); i++)
        if (g_ascii_strcasecmp(scope, scopes[i].name) == 0) {
            settings->scope = scopes[i].scope;
            return;
        }
    log_warning("%s: Unrecognized value %s specified for scope; using sub", settings->source, scope);
}

static void add_attributes(const DbParams *params, LdapSettings *settings, const char *name, const char *fallback)
{
    g_autoptr(GPtrArray) words = config_split(get(params, name, fallback));

    for (guint i = 0; i < words->len; i++)
        g_ptr_array_add(settings->attributes, g_strdup(g_ptr_array_index(words, i)));
}

static void read_attributes(const DbParams *params, LdapSettings *settings)
{
    settings->attributes = g_ptr_array_new_with_free_func(g_free);
    add_attributes(params, settings, "terminal_result_attribute", "");
    settings->leaf_at = settings->attributes->len;
    add_attributes(params, settings, "leaf_result_attribute", "");
    settings->ordinary_at = settings->attributes->len;
    add_attributes(params, settings, "result_attribute", "maildrop");
    settings->special_at = settings->attributes->len;
    add_attributes(params, settings, "special_result_attribute", "");
    g_ptr_array_add(settings->attributes, NULL);
}

static bool read_numbers(const DbParams *params, LdapSettings *settings, GError **error)
{
    int expansion_limit;

    if (!db_params_int(params, "expansion_limit", 0, 0, &expansion_limit, error) ||
        !db_params_int(params, "size_limit", expansion_limit, 0, &settings->size_limit, error) ||
        !db_params_int(params, "recursion_limit", 1000, 1, &settings->recursion_limit, error) ||
        !db_params_int(params, "timeout", 10, 1, &settings->timeout, error) ||
        !db_params_int(params, "version", 3, 2, &settings->version, error) ||
        !db_params_int(params, "dereference", 0, 0, &settings->dereference, error) ||
        !db_params_int(params, "debuglevel", 0, 0, &settings->debuglevel, error) ||
        !db_params_bool(params, "chase_referrals", false, &settings->chase_referrals, error))
        return false;
    if (settings->version > 3)
        return fail(error, "%s: version = %d: 2 and 3 are right", settings->source, settings->version);
    if (settings->dereference > 3) {
        log_warning("%s: Unrecognized value %d specified for dereference; using 0", settings->source,
                    settings->dereference);
        settings->dereference = 0;
    }
    settings->timeout = MIN(settings->timeout, 3600);
    return true;
}

static bool read_settings(const DbParams *params, LdapSettings *settings, GError **error)
{
    static const char *const ignored[] = {"cache", "cache_expiry", "cache_size"};

    settings->source = db_params_source(params);
    settings->urls = read_servers(params, settings, error);
    if (!settings->urls || !read_numbers(params, settings, error) || !read_bind(params, settings, error) ||
        !read_tls(params, settings, error))
        return false;
    read_scope(params, settings);
    read_attributes(params, settings);
    for (size_t i = 0; i < G_N_ELEMENTS(ignored); i++)
        if (db_params_get(params, ignored[i]))
            log_warning("%s: ignoring %s", settings->source, ignored[i]);
    return true;
}

static bool read_all(Directory *directory, const char *spec, GError **error)
{
    DbParams *params = directory->params;
    const char *base = get(params, "search_base", "");
    const char *filter = get(params, "query_filter", "mailacceptinggeneralid=%s");
    const char *format = db_params_get(params, "result_format") ? "result_format" : "result_filter";

    if (!read_settings(params, &directory->settings, error))
        return false;
    directory->settings.base_varies = strchr(base, '%') != NULL;
    if (!strchr(filter, '%'))
        log_warning("%s: Fixed query_filter %s is probably useless", db_params_source(params), filter);
    directory->rules = db_rules_new(params, spec, format, error);
    directory->base = directory->rules ? db_template_new(params, "search_base", base, error) : NULL;
    directory->filter = directory->base ? db_template_new(params, "query_filter", filter, error) : NULL;
    return directory->filter != NULL;
}

static bool open_directory(Table *table, const char *name, GError **error)
{
    Directory *directory = g_atomic_rc_box_new0(Directory);

    sandbox_will_ask_library();
    kept_init(&directory->idle, KEEP_MS, ldap_end);
    directory->params = db_params_read(table, name, error);
    if (directory->params && read_all(directory, table->spec, error)) {
        table->data = directory;
        return true;
    }
    free_directory(directory);
    return false;
}

/* ---- Lookups ---- */

/* As octets of a filter (RFC 4515). */
static char *quote_filter(void *context, const char *text, GError **error)
{
    GString *quoted = g_string_new(NULL);

    for (; *text; text++) {
        if (strchr("*()\\", *text))
            g_string_append_printf(quoted, "\\%02X", (unsigned char)*text);
        else
            g_string_append_c(quoted, *text);
    }
    return g_string_free(quoted, FALSE);
}

/* As octets of a DN's value (RFC 4514). */
static char *quote_dn(void *context, const char *text, GError **error)
{
    GString *quoted = g_string_new(NULL);

    for (const char *c = text; *c; c++) {
        bool at_end = c == text || !c[1];
        if (strchr("\"+,;<>\\=", *c) || (*c == ' ' && at_end) || (*c == '#' && c == text))
            g_string_append_printf(quoted, "\\%02X", (unsigned char)*c);
        else
            g_string_append_c(quoted, *c);
    }
    return g_string_free(quoted, FALSE);
}

/* The connection is gone, or of no use. */
static bool is_lost(int code)
{
    return code == LDAP_SERVER_DOWN || code == LDAP_CONNECT_ERROR || code == LDAP_UNAVAILABLE || code == LDAP_BUSY;
}

static void *open_connection(void *directory, const void *nothing, gint64 deadline, GError **error)
{
    const Directory *own = directory;

    return ldap_open(&own->settings, deadline, error);
}

static LDAP *connect_to(Directory *directory, gint64 deadline, GError **error)
{
    static const Connecting how = {open_connection, ldap_end, clear_directory};
    g_autoptr(GError) why = NULL;

    if (!directory->settings.has_names)
        return ldap_open(&directory->settings, deadline, error);
    LDAP *ldap = connect_by(&how, directory, NULL, deadline, &why);
    if (!ldap)
        fail(error, "%s: %s", directory->settings.urls, why->message);
    return ldap;
}

/* Asks over a connection that was kept, if there is one; should it be lost, over a new one. */
static bool ask(Directory *directory, const char *base, const char *filter, DbAnswer *answer, GError **error)
{
    gint64 deadline = clock_ms() + directory->settings.timeout * (gint64)1000 * LOOKUP_TIMEOUTS;

    for (;;) {
        LdapLookup lookup = {.settings = &directory->settings, .deadline = deadline, .answer = answer, .depth = 1};
        g_autoptr(GError) why = NULL;
        void *kept = NULL;
        bool was_kept = kept_take(&directory->idle, &kept);

        lookup.ldap = was_kept ? kept : connect_to(directory, deadline, error);
        if (!lookup.ldap)
            return false;
        if (ldap_collect(&lookup, base, filter, &why)) {
            kept_give(&directory->idle, lookup.ldap);
            return true;
        }
        ldap_end(lookup.ldap);
        if (!was_kept || !is_lost(lookup.code)) {
            g_propagate_error(error, g_steal_pointer(&why));
            return false;
        }
        const char *key = answer->key;
        const DbRules *rules = answer->rules;
        db_answer_clear(answer);
        db_answer_init(answer, rules, key);
    }
}

static TableResult look_up(const Table *table, const char *key, char **ret_value, GError **error)
{
    Directory *directory = table->data;
    g_auto(DbAnswer) answer;
    TableResult result = db_rules_admit(directory->rules, directory->filter, true, key, error);

    db_answer_init(&answer, directory->rules, key);
    if (result != TABLE_FOUND)
        return result;
    if (!db_template_accepts(directory->base, key))
        return TABLE_ABSENT;
    g_autofree char *base = db_template_expand(directory->base, key, quote_dn, NULL, error);
    g_autofree char *filter = db_template_expand(directory->filter, key, quote_filter, NULL, error);
    return ask(directory, base, filter, &answer, error) ? db_answer_end(&answer, ret_value) : TABLE_FAILED;
}

const TableBackend table_ldap = {"ldap", true, false, open_directory, look_up, free_directory, .blocks = true};
