/* inet_service.c - names of inet services. */
#include "config/inet_service.h"
#include "base/fail.h"
#include "base/log.h"
#include "config/config.h"
#include "config/values.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <string.h>

static bool fail_name(GError **error, const char *what, const char *name)
{
    g_autofree char *shown = log_quote(name, strlen(name));

    return fail(error, "%s in \"%s\"", what, shown);
}

/* The number that known_tcp_ports has for a name: "lmtp=24, smtps=submissions=465". -1: none. */
static int known_port(const char *known_ports, const char *name)
{
    g_autoptr(GPtrArray) elements = config_split(known_ports);

    for (guint i = 0; i < elements->len; i++) {
        g_auto(GStrv) parts = g_strsplit(g_ptr_array_index(elements, i), "=", -1);
        guint last = g_strv_length(parts) - 1;
        for (guint j = 0; j < last; j++)
            if (strcmp(parts[j], name) == 0)
                return atoi(parts[last]);
    }
    return -1;
}

static bool parse_port(const char *name, const char *port, const char *known_ports, guint16 *ret_port, GError **error)
{
    size_t digits = strspn(port, "0123456789");
    gint64 number;

    if (digits > 0) {
        if (port[digits])
            return fail_name(error, "garbage after numerical service", name);
        number = digits > 9 ? -1 : g_ascii_strtoll(port, NULL, 10);
    } else {
        struct servent entry, *found = NULL;
        char buffer[4096];
        number = known_port(known_ports, port);
        if (number < 0 && getservbyname_r(port, "tcp", &entry, buffer, sizeof buffer, &found) == 0 && found)
            number = ntohs((guint16)found->s_port);
    }
    if (number < 1 || number > 65535) {
        g_autofree char *shown = log_quote(name, strlen(name));
        return fail(error, "bad hostname or network address: %s", shown);
    }
    *ret_port = (guint16)number;
    return true;
}

/* A host as it is kept: an address in its shortest form, or a name. NULL: neither. */
static char *normal_host(const char *host)
{
    struct in6_addr address;
    char text[INET6_ADDRSTRLEN];
    int family = strchr(host, ':') ? AF_INET6 : AF_INET;

    if (inet_pton(family, host, &address) == 1)
        return g_strdup(inet_ntop(family, &address, text, sizeof text));
    return value_is_hostname(host) ? g_ascii_strdown(host, -1) : NULL;
}

/* Splits "[host]:port", "host:port" at the last colon, or ":port"; a single word is a port. */
static bool split_name(const char *name, char **ret_host, const char **ret_port, GError **error)
{
    const char *colon;

    if (name[0] == '[') {
        const char *end = strchr(name, ']');
        if (!end)
            return fail_name(error, "missing \"]\"", name);
        if (end[1] && end[1] != ':')
            return fail_name(error, "garbage after \"]\"", name);
        *ret_host = g_strndup(name + 1, (gsize)(end - name - 1));
        *ret_port = end[1] ? end + 2 : end + 1;
        return true;
    }
    colon = strrchr(name, ':');
    *ret_host = colon && colon > name ? g_strndup(name, (gsize)(colon - name)) : NULL;
    *ret_port = colon ? colon + 1 : name;
    return true;
}

bool inet_service_parse(const char *name, const char *known_ports, InetService *ret_service, GError **error)
{
    g_autofree char *host = NULL, *normal = NULL;
    const char *port = NULL, *address;
    guint16 number;

    if (!split_name(name, &host, &port, error))
        return false;
    if (*port == '\0')
        return fail_name(error, "missing service information", name);
    if (host) {
        bool is_tagged = name[0] == '[' && g_ascii_strncasecmp(host, "ipv6:", 5) == 0;
        address = is_tagged ? host + 5 : host;
        if (is_tagged && !strchr(address, ':'))
            return fail_name(error, "malformed IPv6 address", name);
        normal = normal_host(address);
        if (!normal)
            return fail_name(error, is_tagged ? "malformed IPv6 address" : "valid hostname or network address required",
                             name);
    }
    if (!parse_port(name, port, known_ports, &number, error))
        return false;
    ret_service->host = g_steal_pointer(&normal);
    ret_service->port = number;
    return true;
}

char *inet_service_canonical(const InetService *service)
{
    return service->host ? g_strdup_printf("[%s]:%d", service->host, service->port)
                         : g_strdup_printf("%d", service->port);
}
