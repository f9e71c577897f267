/* exist.c - whether there is such a recipient. */
#include "base/log.h"
#include "mail/address.h"
#include "route/dsn.h"
#include "route/private.h"

#include <string.h>

/* Who is asked for, and how a refusal names that. */
typedef struct {
    const char *label;     /* "Recipient address" */
    const char *dsn;       /* of an unknown user, "5.1.1" */
    const char *alias_dsn; /* of one that no alias knows */
    const char *text;      /* the address, as the reply shows it */
    bool is_sender;
} Role;

typedef enum { KNOWN, UNKNOWN, UNCERTAIN } Knowledge;

static Knowledge from_table(TableResult result)
{
    return result == TABLE_FOUND ? KNOWN : result == TABLE_ABSENT ? UNKNOWN : UNCERTAIN;
}

/* Tables have addresses in the form that people write, but some have the other. */
static Knowledge look_up(const Route *route, const Tables *tables, const Resolved *resolved)
{
    AddressLookup how = {.delimiters = route->delimiters,
                         .domain_is_local =
                             resolved->class == CLASS_LOCAL ||
                             (resolved->domain && g_ascii_strcasecmp(resolved->domain, route->myorigin) == 0),
                         .with_at_domain = true};
    g_autofree char *external = address_quote(resolved->address);
    g_autofree char *value = NULL;
    Knowledge knowledge = from_table(tables_lookup_address(tables, external, &how, &value, NULL));

    if (knowledge == UNKNOWN && strcmp(external, resolved->address) != 0)
        knowledge = from_table(tables_lookup_address(tables, resolved->address, &how, &value, NULL));
    return knowledge;
}

static Knowledge look_up_maps(const Route *route, const Resolved *resolved, bool is_sender)
{
    const Tables *maps[] = {route->recipient_canonical, route->canonical, route->virtual_alias,
                            is_sender ? route->sender_canonical : NULL};

    for (size_t i = 0; i < G_N_ELEMENTS(maps) && maps[i]; i++) {
        Knowledge knowledge = look_up(route, maps[i], resolved);
        if (knowledge != UNKNOWN)
            return knowledge;
    }
    return UNKNOWN;
}

/* Addresses that every mail system has. */
static bool is_indispensable(const Resolved *resolved)
{
    static const char *const names[] = {"postmaster", "mailer-daemon", "double-bounce"};
    g_autofree char *local_part = address_local_part(resolved->address);

    if (!*local_part)
        return true;
    for (size_t i = 0; i < G_N_ELEMENTS(names); i++)
        if (g_ascii_strcasecmp(local_part, names[i]) == 0)
            return true;
    return false;
}

static char *unknown_user(const Route *route, const Role *role, const char *detail, gint64 code, const char *table)
{
    const char *dsn = code < 500 ? "4" : "5";
    g_autofree char *named = g_strdup_printf(" in %s table", table);

    return g_strdup_printf("%d %s%s <%s>: %s rejected: User unknown%s", (int)code, dsn, detail + 1, role->text,
                           role->label, route->show_table_name ? named : "");
}

/* The refusal of a transport that only says no. */
static char *undeliverable(const Role *role, bool permanent, const char *nexthop)
{
    size_t len = dsn_length(nexthop);
    g_autofree char *detail = len > 0 ? g_strndup(nexthop + 1, len - 1) : g_strdup(role->dsn + 1);
    g_autofree char *text = g_strstrip(g_strdup(nexthop + len));

    return g_strdup_printf("%s%s <%s>: %s rejected: %s", permanent ? "550 5" : "450 4", detail, role->text, role->label,
                           text);
}

static Existence from_class_table(const Route *route, const Resolved *resolved, const Role *role, char **ret_reply)
{
    const Tables *tables;
    const char *name;
    gint64 code;

    if (resolved->class == CLASS_LOCAL && is_indispensable(resolved))
        return EXISTS_YES;
    if (resolved->class == CLASS_LOCAL) {
        tables = route->local_recipients;
        name = "local recipient";
        code = route->code_local;
    } else if (resolved->class == CLASS_VIRTUAL_MAILBOX) {
        tables = route->virtual_mailboxes;
        name = "virtual mailbox";
        code = route->code_virtual_mailbox;
    } else if (resolved->class == CLASS_RELAY) {
        tables = route->relay_recipients;
        name = "relay recipient";
        code = route->code_relay;
    } else {
        return EXISTS_YES;
    }
    if (tables_is_empty(tables))
        return EXISTS_YES;
    Knowledge knowledge = look_up(route, tables, resolved);
    if (knowledge == UNKNOWN)
        *ret_reply = unknown_user(route, role, role->dsn, code, name);
    return knowledge == KNOWN ? EXISTS_YES : knowledge == UNKNOWN ? EXISTS_NO : EXISTS_FAILED;
}

static Existence check(const Route *route, const char *address, const Role *role, char **ret_reply)
{
    g_auto(Resolved) resolved = route_follow(route, address);
    g_auto(Transport) transport = {0};

    if (resolved.class == CLASS_FAILED)
        return EXISTS_FAILED;
    Knowledge mapped = look_up_maps(route, &resolved, role->is_sender);
    if (mapped != UNKNOWN)
        return mapped == KNOWN ? EXISTS_YES : EXISTS_FAILED;
    if (resolved.class == CLASS_VIRTUAL_ALIAS) {
        if (strcmp(role->alias_dsn, "5.1.1") != 0)
            log_info("mapping DSN status 5.1.1 into %s status %s", role->label, role->alias_dsn);
        *ret_reply = unknown_user(route, role, role->alias_dsn, route->code_virtual_alias, "virtual alias");
        return EXISTS_NO;
    }
    if (!route_find_transport(route, &resolved, &transport))
        return EXISTS_FAILED;
    bool is_error = strcmp(transport.transport, "error") == 0;
    if (is_error || strcmp(transport.transport, "retry") == 0) {
        *ret_reply = undeliverable(role, is_error, transport.nexthop);
        return EXISTS_NO;
    }
    return from_class_table(route, &resolved, role, ret_reply);
}

bool route_is_mapped(const Route *route, const char *address)
{
    g_auto(Resolved) resolved = route_follow(route, address);

    return look_up_maps(route, &resolved, false) == KNOWN;
}

Existence route_recipient_exists(const Route *route, const char *address, const char *text, char **ret_reply)
{
    return check(route, address, &(Role){"Recipient address", "5.1.1", "5.1.1", text, false}, ret_reply);
}

Existence route_sender_exists(const Route *route, const char *address, const char *text, char **ret_reply)
{
    if (!*address)
        return EXISTS_YES;
    return check(route, address, &(Role){"Sender address", "5.1.0", "5.1.7", text, true}, ret_reply);
}
