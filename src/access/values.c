/* values.c - values of a session by name. */
#include "access/values.h"
#include "mail/address.h"

#include <string.h>
#include <time.h>

void access_values_clear(AccessValues *values)
{
    g_clear_pointer(&values->part, g_free);
}

static const char *local_time(char *buffer, size_t size)
{
    time_t now = time(NULL);
    struct tm tm;

    localtime_r(&now, &tm);
    strftime(buffer, size, "%b %d %H:%M:%S", &tm);
    return buffer;
}

/* The part of an address that a name says: "sender", "sender_name" or "sender_domain". The null sender has a name. */
static const char *address_part(AccessValues *values, const char *address, const char *part)
{
    if (!address)
        return NULL;
    if (*address == '\0')
        return strcmp(part, "_domain") == 0 ? NULL : "<>";
    if (*part == '\0')
        return address;
    g_free(values->part);
    values->part = strcmp(part, "_name") == 0 ? address_local_part(address) : g_strdup(address_domain(address));
    return values->part;
}

const char *access_value(AccessValues *values, const char *name, bool *ret_exists)
{
    const AccessFacts *facts = values->facts;
    const struct {
        const char *name, *value;
    } texts[] = {
        {"client", facts->client},
        {"client_address", facts->client_addr},
        {"client_name", facts->client_name},
        {"client_port", facts->client_port},
        {"helo_name", facts->helo},
        {"localtime", local_time(values->time, sizeof values->time)},
        {"reverse_client_name", facts->reverse_name},
        {"server_name", values->hostname},
    };
    const struct {
        const char *name, *address;
    } addresses[] = {{"sender", facts->sender}, {"recipient", facts->recipient}};

    for (size_t i = 0; i < G_N_ELEMENTS(texts); i++)
        if (strcmp(name, texts[i].name) == 0)
            return texts[i].value;
    for (size_t i = 0; i < G_N_ELEMENTS(addresses); i++) {
        const char *part = name + strlen(addresses[i].name);
        if (g_str_has_prefix(name, addresses[i].name) &&
            (!*part || strcmp(part, "_name") == 0 || strcmp(part, "_domain") == 0))
            return address_part(values, addresses[i].address, part);
    }
    *ret_exists = false;
    return NULL;
}
