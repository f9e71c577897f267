/* rules.c - reads cleanup's configuration and opens its tables. */
#include "cleanup/rules.h"

static const struct {
    const char *name;
    Role role;
} roles[] = {
    {"envelope_sender", ROLE_ENVELOPE_SENDER},
    {"envelope_recipient", ROLE_ENVELOPE_RECIPIENT},
    {"header_sender", ROLE_HEADER_SENDER},
    {"header_recipient", ROLE_HEADER_RECIPIENT},
};

static unsigned read_roles(const Config *config, const char *parameter)
{
    const char *list = config_string(config, parameter);
    unsigned set = 0;

    for (size_t i = 0; i < G_N_ELEMENTS(roles); i++)
        if (config_list_has(list, roles[i].name))
            set |= roles[i].role;
    return set;
}

/* kind: its name in propagate_unmatched_extensions, or NULL. */
static bool open_maps(const Config *config, const char *parameter, unsigned set, const char *kind, AddressMaps *ret,
                      GError **error)
{
    ret->name = parameter;
    ret->roles = set;
    ret->propagates = kind && config_list_has(config_string(config, "propagate_unmatched_extensions"), kind);
    ret->tables = tables_open(config_string(config, parameter), error);
    return ret->tables != NULL;
}

static bool open_tables(Cleanup *cleanup, const Config *config, GError **error)
{
    return (cleanup->route = route_new(config, error)) &&
           open_maps(config, "sender_canonical_maps", read_roles(config, "sender_canonical_classes"), "canonical",
                     &cleanup->sender_canonical, error) &&
           open_maps(config, "recipient_canonical_maps", read_roles(config, "recipient_canonical_classes"), "canonical",
                     &cleanup->recipient_canonical, error) &&
           open_maps(config, "canonical_maps", read_roles(config, "canonical_classes"), "canonical",
                     &cleanup->canonical, error) &&
           open_maps(config, "virtual_alias_maps", ROLE_ENVELOPE_RECIPIENT, "virtual", &cleanup->virtual_alias,
                     error) &&
           open_maps(config, "sender_bcc_maps", ROLE_ENVELOPE_SENDER, NULL, &cleanup->sender_bcc, error) &&
           open_maps(config, "recipient_bcc_maps", ROLE_ENVELOPE_RECIPIENT, NULL, &cleanup->recipient_bcc, error);
}

Cleanup *cleanup_new(const Config *config, GError **error)
{
    g_autoptr(Cleanup) cleanup = g_new0(Cleanup, 1);

    cleanup->config = config;
    cleanup->myhostname = config_string(config, "myhostname");
    cleanup->myorigin = config_string(config, "myorigin");
    cleanup->delimiters = config_string(config, "recipient_delimiter");
    cleanup->message_size_limit = (guint64)config_int(config, "message_size_limit");
    cleanup->header_size_limit = config_int(config, "header_size_limit");
    cleanup->header_address_limit = config_int(config, "header_address_token_limit");
    cleanup->hopcount_limit = config_int(config, "hopcount_limit");
    cleanup->drop_headers = config_split(config_string(config, "message_drop_headers"));
    cleanup->undisclosed_header = config_string(config, "undisclosed_recipients_header");
    cleanup->remote_domain = config_string(config, "remote_header_rewrite_domain");
    cleanup->always_add_headers = config_bool(config, "always_add_missing_headers");
    cleanup->requiretls = config_bool(config, "requiretls_enable") && config_bool(config, "requiretls_esmtp_header");
    cleanup->masquerade_domains = config_split(config_string(config, "masquerade_domains"));
    cleanup->masquerade_exceptions = config_split(config_string(config, "masquerade_exceptions"));
    cleanup->masquerade_roles = read_roles(config, "masquerade_classes");
    cleanup->alias_expansion_limit = config_int(config, "virtual_alias_expansion_limit");
    cleanup->alias_recursion_limit = config_int(config, "virtual_alias_recursion_limit");
    cleanup->alias_length_limit = config_int(config, "virtual_alias_address_length_limit");
    cleanup->always_bcc = config_string(config, "always_bcc");
    cleanup->original_recipient = config_bool(config, "enable_original_recipient");
    cleanup->duplicate_limit = config_int(config, "duplicate_filter_limit");
    if (!open_tables(cleanup, config, error))
        return NULL;
    return g_steal_pointer(&cleanup);
}

void cleanup_use_spool(Cleanup *cleanup, Spool *spool)
{
    cleanup->spool = spool;
}

void cleanup_free(Cleanup *cleanup)
{
    if (!cleanup)
        return;
    g_clear_pointer(&cleanup->drop_headers, g_ptr_array_unref);
    g_clear_pointer(&cleanup->masquerade_domains, g_ptr_array_unref);
    g_clear_pointer(&cleanup->masquerade_exceptions, g_ptr_array_unref);
    tables_free(cleanup->sender_canonical.tables);
    tables_free(cleanup->recipient_canonical.tables);
    tables_free(cleanup->canonical.tables);
    tables_free(cleanup->virtual_alias.tables);
    tables_free(cleanup->sender_bcc.tables);
    tables_free(cleanup->recipient_bcc.tables);
    route_free(cleanup->route);
    g_free(cleanup);
}
