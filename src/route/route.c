/* route.c - a Route from the configuration. */
#include "route/route.h"
#include "route/private.h"

#include <string.h>

static bool is_listed(const char *list, const char *name)
{
    g_autoptr(GPtrArray) elements = config_split(list);

    return g_ptr_array_find_with_equal_func(elements, name, g_str_equal, NULL);
}

static bool open_list(const Config *config, const char *name, MatchList **ret, GError **error)
{
    const char *parents = config_string(config, "parent_domain_matches_subdomains");

    *ret = match_list_new(name, config_string(config, name), is_listed(parents, name) ? MATCH_PARENT : 0, error);
    return *ret != NULL;
}

static bool open_tables(const Config *config, const char *name, Tables **ret, GError **error)
{
    *ret = tables_open(config_string(config, name), error);
    if (!*ret)
        g_prefix_error(error, "%s: ", name);
    return *ret != NULL;
}

static void read_rewriting(Route *route, const Config *config)
{
    route->myorigin = g_strdup(config_string(config, "myorigin"));
    route->mydomain = g_strdup(config_string(config, "mydomain"));
    route->delimiters = g_strdup(config_string(config, "recipient_delimiter"));
    route->append_at_myorigin = config_bool(config, "append_at_myorigin");
    route->append_dot_mydomain = config_bool(config, "append_dot_mydomain");
    route->swap_bangpath = config_bool(config, "swap_bangpath");
    route->percent_hack = config_bool(config, "allow_percent_hack");
    route->resolve_dequoted = config_bool(config, "resolve_dequoted_address");
    route->resolve_numeric = config_bool(config, "resolve_numeric_domain");
}

static bool read_classes(Route *route, const Config *config, GError **error)
{
    route->doubles = route_doubles_new();
    route->own_addresses = route_own_addresses(config, error);
    return route->own_addresses && open_list(config, "mydestination", &route->mydestination, error) &&
           open_list(config, "virtual_alias_domains", &route->virtual_alias_domains, error) &&
           open_list(config, "virtual_mailbox_domains", &route->virtual_mailbox_domains, error) &&
           open_list(config, "relay_domains", &route->relay_domains, error);
}

static bool read_existence(Route *route, const Config *config, GError **error)
{
    route->code_local = config_int(config, "unknown_local_recipient_reject_code");
    route->code_virtual_alias = config_int(config, "unknown_virtual_alias_reject_code");
    route->code_virtual_mailbox = config_int(config, "unknown_virtual_mailbox_reject_code");
    route->code_relay = config_int(config, "unknown_relay_recipient_reject_code");
    route->show_table_name = config_bool(config, "show_user_unknown_table_name");
    return open_tables(config, "recipient_canonical_maps", &route->recipient_canonical, error) &&
           open_tables(config, "sender_canonical_maps", &route->sender_canonical, error) &&
           open_tables(config, "canonical_maps", &route->canonical, error) &&
           open_tables(config, "virtual_alias_maps", &route->virtual_alias, error) &&
           open_tables(config, "local_recipient_maps", &route->local_recipients, error) &&
           open_tables(config, "virtual_mailbox_maps", &route->virtual_mailboxes, error) &&
           open_tables(config, "relay_recipient_maps", &route->relay_recipients, error);
}

/* prefix: of the parameters' names. */
static bool read_transports(Route *route, const Config *config, const char *prefix, GError **error)
{
    const struct {
        const char *name;
        char **value;
    } texts[] = {{"local_transport", &route->local_transport},
                 {"virtual_transport", &route->virtual_transport},
                 {"relay_transport", &route->relay_transport},
                 {"default_transport", &route->default_transport},
                 {"relayhost", &route->relayhost}};
    g_autofree char *maps = g_strconcat(prefix, "transport_maps", NULL);

    for (size_t i = 0; i < G_N_ELEMENTS(texts); i++) {
        g_autofree char *name = g_strconcat(prefix, texts[i].name, NULL);
        *texts[i].value = g_strdup(config_string(config, name));
    }
    route->transport_parents = is_listed(config_string(config, "parent_domain_matches_subdomains"), "transport_maps");
    return open_tables(config, maps, &route->transports, error);
}

static void read_probes(Route *route, const Config *config)
{
    const char *sender = config_string(config, "address_verify_sender");

    route->probe_sender = g_strdup(strcmp(sender, "<>") == 0 ? "" : sender);
    route->probe_sender_ttl = config_seconds(config, "address_verify_sender_ttl");
}

static Route *open_route(const Config *config, const char *prefix, GError **error)
{
    g_autoptr(Route) route = g_new0(Route, 1);

    read_rewriting(route, config);
    read_probes(route, config);
    if (!read_classes(route, config, error) || !read_existence(route, config, error) ||
        !read_transports(route, config, prefix, error))
        return NULL;
    return g_steal_pointer(&route);
}

Route *route_new(const Config *config, GError **error)
{
    return open_route(config, "", error);
}

Route *route_new_for_probes(const Config *config, GError **error)
{
    return open_route(config, "address_verify_", error);
}

typedef struct {
    MatchList *list[4];
    Tables *tables[8];
} Lookups;

static Lookups lookups_of(const Route *route)
{
    return (Lookups){
        .list = {route->mydestination, route->virtual_alias_domains, route->virtual_mailbox_domains,
                 route->relay_domains},
        .tables = {route->recipient_canonical, route->sender_canonical, route->canonical, route->virtual_alias,
                   route->local_recipients, route->virtual_mailboxes, route->relay_recipients, route->transports},
    };
}

bool route_blocks(const Route *route)
{
    Lookups lookups = lookups_of(route);
    bool blocks = false;

    for (size_t i = 0; i < G_N_ELEMENTS(lookups.list); i++)
        blocks |= match_list_blocks(lookups.list[i]);
    for (size_t i = 0; i < G_N_ELEMENTS(lookups.tables); i++)
        blocks |= tables_block(lookups.tables[i]);
    return blocks;
}

void route_free(Route *route)
{
    if (!route)
        return;
    Lookups lookups = lookups_of(route);
    char *texts[] = {route->myorigin,          route->mydomain,          route->delimiters,
                     route->local_transport,   route->virtual_transport, route->relay_transport,
                     route->default_transport, route->relayhost,         route->probe_sender};

    for (size_t i = 0; i < G_N_ELEMENTS(lookups.list); i++)
        match_list_free(lookups.list[i]);
    for (size_t i = 0; i < G_N_ELEMENTS(lookups.tables); i++)
        tables_free(lookups.tables[i]);
    for (size_t i = 0; i < G_N_ELEMENTS(texts); i++)
        g_free(texts[i]);
    g_clear_pointer(&route->own_addresses, g_hash_table_unref);
    route_doubles_free(route->doubles);
    g_free(route);
}
