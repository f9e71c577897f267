/* rewrite.c - completion, canonical maps, masquerading; and lookups of addresses, which aliases share. */
#include "cleanup/rewrite.h"
#include "base/log.h"
#include "mail/address.h"
#include "mail/address_list.h"

#include <string.h>

#define CANONICAL_MAX 10  /* entries followed from one to the next */
#define RESULTS_MAX 65536 /* addresses taken from one entry; the caller has limits of its own */

/* The bare local part is a key for domains that are this machine. */
static bool domain_is_ours(const Cleanup *cleanup, const char *address)
{
    const char *domain = address_domain(address);

    return !domain || g_ascii_strcasecmp(domain, cleanup->myorigin) == 0 ||
           route_class(cleanup->route, address) == CLASS_LOCAL;
}

/* One result as it stands in the table, made complete. extension: with its delimiter, or NULL. */
static char *complete_result(const Cleanup *cleanup, const char *result, const char *key, const char *extension)
{
    g_autofree char *text = NULL;

    if (result[0] == '@' && result[1]) {
        g_autofree char *local_part = address_local_part(key);
        text = g_strconcat(local_part, result, NULL);
    } else if (extension) {
        g_autofree char *local_part = address_local_part(result);
        const char *domain = address_domain(result);
        text = g_strconcat(local_part, extension, domain ? "@" : NULL, domain, NULL);
    }
    return route_complete(cleanup->route, text ? text : result);
}

static GPtrArray *complete_results(const Job *job, const AddressMaps *maps, const char *value, const char *key,
                                   const char *extension)
{
    g_autoptr(GPtrArray) addresses = address_list_split(value, RESULTS_MAX);
    g_autoptr(GPtrArray) results = g_ptr_array_new_with_free_func(g_free);

    for (guint i = 0; i < addresses->len; i++) {
        const char *result = g_ptr_array_index(addresses, i);
        g_ptr_array_add(results, complete_result(job->cleanup, result, key, maps->propagates ? extension : NULL));
    }
    if (results->len == 0)
        log_warning_as("cleanup", "%s: %s: no address in the entry for %s: %s", job->id, maps->name, key, value);
    return results->len > 0 ? g_steal_pointer(&results) : NULL;
}

GPtrArray *rewrite_lookup(const Job *job, const AddressMaps *maps, const char *address, bool *ret_failed)
{
    const Cleanup *cleanup = job->cleanup;
    g_autofree char *value = NULL;
    g_autofree char *extension = NULL;

    *ret_failed = false;
    if (tables_is_empty(maps->tables))
        return NULL;
    AddressLookup how = {cleanup->delimiters, domain_is_ours(cleanup, address), true};
    g_autofree char *external = address_quote(address);
    TableResult result = tables_lookup_address(maps->tables, external, &how, &value, &extension);
    /* Tables have addresses in the form that people write, but some have the other. */
    if (result == TABLE_ABSENT && strcmp(external, address) != 0)
        result = tables_lookup_address(maps->tables, address, &how, &value, &extension);
    switch (result) {
    case TABLE_FOUND:
        return complete_results(job, maps, value, address, extension);
    case TABLE_FAILED:
        log_warning_as("cleanup", "%s: %s map lookup problem for %s -- message not accepted, try again later", job->id,
                       maps->name, address);
        *ret_failed = true;
        return NULL;
    case TABLE_ABSENT:
        break;
    }
    return NULL;
}

/* Replaces *address. False: a table did not answer, or leads in a circle. */
static bool apply_canonical(const Job *job, const AddressMaps *maps, Role role, char **address)
{
    if (!(maps->roles & role))
        return true;
    for (int i = 0; i < CANONICAL_MAX; i++) {
        bool failed;
        g_autoptr(GPtrArray) results = rewrite_lookup(job, maps, *address, &failed);
        if (!results)
            return !failed;
        const char *result = g_ptr_array_index(results, 0);
        bool settled = address_equal(result, *address);
        g_free(*address);
        *address = g_strdup(result);
        if (settled)
            return true;
    }
    log_warning_as("cleanup", "%s: unreasonable %s map nesting for %s -- message not accepted, try again later",
                   job->id, maps->name, *address);
    return false;
}

static bool is_masquerade_exception(const Cleanup *cleanup, const char *address)
{
    g_autofree char *local_part = address_local_part(address);

    for (guint i = 0; i < cleanup->masquerade_exceptions->len; i++)
        if (g_ascii_strcasecmp(g_ptr_array_index(cleanup->masquerade_exceptions, i), local_part) == 0)
            return true;
    return false;
}

static void masquerade(const Cleanup *cleanup, Role role, char **address)
{
    const char *domain = address_domain(*address);

    if (!domain || !(cleanup->masquerade_roles & role) || is_masquerade_exception(cleanup, *address))
        return;
    for (guint i = 0; i < cleanup->masquerade_domains->len; i++) {
        const char *parent = g_ptr_array_index(cleanup->masquerade_domains, i);
        bool excepted = parent[0] == '!';
        parent += excepted;
        size_t len = strlen(domain), parent_len = strlen(parent);
        if (len < parent_len || g_ascii_strcasecmp(domain + len - parent_len, parent) != 0)
            continue;
        if (len == parent_len)
            return;
        if (domain[len - parent_len - 1] != '.')
            continue;
        if (!excepted) {
            g_autofree char *local_part = address_local_part(*address);
            g_free(*address);
            *address = g_strconcat(local_part, "@", parent, NULL);
        }
        return;
    }
}

/* Takes over the complete address. */
static char *map_address(const Job *job, Role role, char *complete)
{
    const Cleanup *cleanup = job->cleanup;
    g_autofree char *address = complete;
    const AddressMaps *own = role & ROLE_ANY_SENDER ? &cleanup->sender_canonical : &cleanup->recipient_canonical;

    if (!job->mappings)
        return g_steal_pointer(&address);
    if (!apply_canonical(job, own, role, &address) || !apply_canonical(job, &cleanup->canonical, role, &address))
        return NULL;
    masquerade(cleanup, role, &address);
    return g_steal_pointer(&address);
}

char *rewrite_address(const Job *job, Role role, const char *address)
{
    return address[0] ? map_address(job, role, route_complete(job->cleanup->route, address)) : g_strdup("");
}

char *rewrite_remote_address(const Job *job, Role role, const char *address)
{
    const char *domain = job->cleanup->remote_domain;

    if (!address[0] || address_domain(address))
        return map_address(job, role, g_strdup(address));
    return map_address(job, role, g_strconcat(address, "@", domain, NULL));
}
