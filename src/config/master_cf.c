/* master_cf.c - master.cf as a list of services. */
#include "config/master_cf.h"
#include "base/fail.h"
#include "base/log.h"
#include "config/inet_service.h"
#include "config/lines.h"
#include "config/master_entry.h"
#include "config/master_parse.h"

#include <netdb.h>
#include <string.h>
#include <sys/socket.h>

static const struct {
    const char *word;
    ServiceType type;
} types[] = {
    {"inet", SERVICE_INET}, {"unix", SERVICE_UNIX}, {"unix-dgram", SERVICE_UNIX_DGRAM},
    {"fifo", SERVICE_FIFO}, {"pass", SERVICE_PASS},
};

/* Programs that keep state which two processes cannot share, that make their own processes, or that must change users.
 */
static const struct {
    const char *command;
    int maxproc;     /* -1: any */
    bool privileged; /* unprivileged must be n */
} rules[] = {
    {"cleanup", 0, false}, {"bounce", 0, false},  {"defer", 0, false},  {"trace", 0, false},
    {"flush", 0, false},   {"pickup", 1, false},  {"qmgr", 1, false},   {"tlsmgr", 1, false},
    {"anvil", 1, false},   {"scache", 1, false},  {"verify", 1, false}, {"postlogd", 1, false},
    {"local", -1, true},   {"virtual", -1, true}, {"pipe", -1, true},   {"spawn", -1, true},
};

static void service_free(void *data)
{
    Service *service = data;

    if (!service)
        return;
    g_free(service->name);
    g_free(service->identity);
    g_free(service->host);
    g_free(service->command);
    if (service->overrides)
        g_ptr_array_unref(service->overrides);
    if (service->arguments)
        g_ptr_array_unref(service->arguments);
    g_free(service);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Service, service_free)

/* The field's text; its default where it is "-". NULL: error. */
static const char *field_text(const MasterEntry *entry, MasterField field, const char *default_text, GError **error)
{
    if (strcmp(entry->fields[field], "-") != 0)
        return entry->fields[field];
    if (!default_text)
        fail(error, "field \"%s\" has no default value", master_field_name(field));
    return default_text;
}

static bool fail_value(GError **error, MasterField field, const char *text)
{
    g_autofree char *shown = log_quote(text, strlen(text));

    return fail(error, "field \"%s\": bad value: \"%s\"", master_field_name(field), shown);
}

static bool read_bool(const MasterEntry *entry, MasterField field, const char *default_text, bool *ret_value,
                      GError **error)
{
    const char *text = field_text(entry, field, default_text, error);

    if (strcmp(text, "y") != 0 && strcmp(text, "n") != 0)
        return fail_value(error, field, text);
    *ret_value = text[0] == 'y';
    return true;
}

/* Digits; what follows them is of no account. */
static bool read_number(const MasterEntry *entry, MasterField field, const char *default_text, int *ret_value,
                        GError **error)
{
    const char *text = field_text(entry, field, default_text, error);
    size_t digits = strspn(text, "0123456789");

    if (digits == 0 || digits > 9)
        return fail_value(error, field, text);
    *ret_value = (int)g_ascii_strtoll(text, NULL, 10);
    return true;
}

static bool read_type(const MasterEntry *entry, Service *service, GError **error)
{
    const char *text = field_text(entry, FIELD_TYPE, NULL, error);

    if (!text)
        return false;
    for (size_t i = 0; i < G_N_ELEMENTS(types); i++) {
        if (strcmp(types[i].word, text) == 0) {
            service->type = types[i].type;
            return true;
        }
    }
    g_autofree char *shown = log_quote(text, strlen(text));
    return fail(error, "bad transport type: %s", shown);
}

const char *master_type_word(ServiceType type)
{
    for (size_t i = 0; i < G_N_ELEMENTS(types); i++)
        if (types[i].type == type)
            return types[i].word;
    g_assert_not_reached();
}

/* What follows the type in the identity, and in the warning about two entries of one service. */
static char *canonical_name(const Service *service)
{
    const InetService inet = {.host = service->host, .port = service->port};

    if (service->type == SERVICE_INET)
        return inet_service_canonical(&inet);
    return g_strdup_printf("%s/%s", service->is_private ? "private" : "public", service->name);
}

static bool read_endpoint(const MasterEntry *entry, const Config *config, Service *service, GError **error)
{
    InetService inet = {0};

    if (!read_bool(entry, FIELD_PRIVATE, "y", &service->is_private, error))
        return false;
    if (service->type == SERVICE_INET) {
        if (service->is_private)
            return fail(error, "inet service cannot be private");
        if (!inet_service_parse(service->name, config_string(config, "known_tcp_ports"), &inet, error))
            return false;
        service->host = inet.host;
        service->port = inet.port;
    }
    g_autofree char *canonical = canonical_name(service);
    bool is_port_alone = service->type == SERVICE_INET && !service->host;
    service->identity =
        g_strdup_printf("%s/%s%s", master_type_word(service->type), is_port_alone ? ":" : "", canonical);
    return true;
}

static bool read_numbers(const MasterEntry *entry, const Config *config, Service *service, GError **error)
{
    const char *chroot_default = config_level_at_least(config, 1, 0) ? "n" : "y";
    g_autofree char *limit = g_strdup_printf("%" G_GINT64_FORMAT, config_int(config, "default_process_limit"));
    const char *wakeup = entry->fields[FIELD_WAKEUP];

    if (!read_bool(entry, FIELD_UNPRIVILEGED, "y", &service->unprivileged, error) ||
        !read_bool(entry, FIELD_CHROOT, chroot_default, &service->chroot, error) ||
        !read_number(entry, FIELD_WAKEUP, "0", &service->wakeup, error) ||
        !read_number(entry, FIELD_MAXPROC, limit, &service->maxproc, error))
        return false;
    service->wakeup_when_used = wakeup[strlen(wakeup) - 1] == '?';
    return true;
}

static bool read_command(const MasterEntry *entry, Service *service, GError **error)
{
    const char *command = field_text(entry, FIELD_COMMAND, NULL, error);
    MasterOptions options;

    if (!command || !master_entry_options(entry, &options, error))
        return false;
    service->command = g_strdup(command);
    service->overrides = options.overrides;
    service->verbose = options.verbose;
    service->arguments = g_ptr_array_new_with_free_func(g_free);
    for (guint i = options.rest; i < entry->arguments->len; i++)
        g_ptr_array_add(service->arguments, g_strdup(g_ptr_array_index(entry->arguments, i)));
    if (strcmp(command, "smtpd") == 0 && service->arguments->len > 0) {
        const char *first = g_ptr_array_index(service->arguments, 0);
        g_autofree char *shown = log_quote(first, strlen(first));
        return fail(error, "unexpected command-line argument: %s", shown);
    }
    if (options.debugger)
        log_warning("service %s: option -D has no effect here", service->name);
    return true;
}

static bool check_rules(const Service *service, GError **error)
{
    for (size_t i = 0; i < G_N_ELEMENTS(rules); i++) {
        if (strcmp(rules[i].command, service->command) != 0)
            continue;
        if (rules[i].maxproc >= 0 && service->maxproc != rules[i].maxproc)
            return fail(error, "service %s requires a process limit of %d", service->name, rules[i].maxproc);
        if (rules[i].privileged && service->unprivileged)
            return fail(error, "service %s requires privileged operation", service->name);
    }
    return true;
}

static Service *read_service(const char *text, int line, const Config *config, GError **error)
{
    g_autoptr(MasterEntry) entry = master_entry_new(text, error);
    g_autoptr(Service) service = g_new0(Service, 1);

    if (!entry)
        return NULL;
    const char *name = field_text(entry, FIELD_NAME, NULL, error);
    if (!name)
        return NULL;
    service->line = line;
    service->name = g_strdup(name);
    if (!read_type(entry, service, error) || !read_endpoint(entry, config, service, error) ||
        !read_numbers(entry, config, service, error) || !read_command(entry, service, error) ||
        !check_rules(service, error))
        return NULL;
    return g_steal_pointer(&service);
}

/* Adds service, in the place of an earlier one with its identity. */
static void add_service(GPtrArray *services, Service *service)
{
    for (guint i = 0; i < services->len; i++) {
        const Service *earlier = g_ptr_array_index(services, i);
        if (strcmp(earlier->identity, service->identity) != 0)
            continue;
        g_autofree char *canonical = canonical_name(earlier);
        g_autofree char *shown = log_quote(earlier->name, strlen(earlier->name));
        log_warning("duplicate master.cf entry for service \"%s\" (%s) -- using the last entry", shown, canonical);
        g_ptr_array_remove_index(services, i);
        break;
    }
    g_ptr_array_add(services, service);
}

/* Whether the list master_service_disable has the service: elements are type or name/type, the first that fits counts.
 */
static bool is_disabled(const GPtrArray *list, const Service *service)
{
    const char *type = master_type_word(service->type);
    g_autofree char *full = g_strdup_printf("%s/%s", service->name, type);

    for (guint i = 0; i < list->len; i++) {
        const char *element = g_ptr_array_index(list, i);
        bool is_negated = element[0] == '!';
        if (strcmp(element + is_negated, type) == 0 || strcmp(element + is_negated, full) == 0)
            return !is_negated;
    }
    return false;
}

GPtrArray *master_cf_parse(Lines *lines, const char *path, const Config *config, GError **error)
{
    g_autoptr(GPtrArray) services = g_ptr_array_new_with_free_func(service_free);
    g_autoptr(GPtrArray) disabled = config_split(config_string(config, "master_service_disable"));
    g_autoptr(GError) failure = NULL;
    const char *text;
    int line = 0;

    while ((text = lines_next(lines, &line, &failure))) {
        Service *service = read_service(text, line, config, &failure);
        if (!service) {
            fail(error, "%s: line %d: %s", path, line, failure->message);
            return NULL;
        }
        add_service(services, service);
    }
    if (failure) {
        g_propagate_error(error, g_steal_pointer(&failure));
        return NULL;
    }
    for (guint i = services->len; i-- > 0;)
        if (is_disabled(disabled, g_ptr_array_index(services, i)))
            g_ptr_array_remove_index(services, i);
    return g_steal_pointer(&services);
}

/* Whether a service's host has an address in a protocol that is on. */
static bool check_host(const Service *service, const char *protocols, GError **error)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    bool any = strstr(protocols, "all") != NULL;
    bool found = false;
    struct addrinfo *addresses = NULL;

    if (getaddrinfo(service->host, NULL, &hints, &addresses) != 0)
        return fail(error, "bad hostname or network address: %s", service->name);
    for (struct addrinfo *at = addresses; at; at = at->ai_next)
        found |= any || (at->ai_family == AF_INET && strstr(protocols, "ipv4")) ||
                 (at->ai_family == AF_INET6 && strstr(protocols, "ipv6"));
    freeaddrinfo(addresses);
    return found || fail(error, "no valid IP address found: %s", service->name);
}

GPtrArray *master_cf_read(const char *dir, const Config *config, GError **error)
{
    g_autofree char *path = g_strdup_printf("%s/master.cf", dir);
    g_autoptr(Lines) lines = lines_open(path, error);
    g_autoptr(GPtrArray) services = lines ? master_cf_parse(lines, path, config, error) : NULL;
    g_autoptr(GError) failure = NULL;

    for (guint i = 0; services && i < services->len; i++) {
        const Service *service = g_ptr_array_index(services, i);
        if (service->host && !check_host(service, config_string(config, "inet_protocols"), &failure)) {
            fail(error, "%s: line %d: %s", path, service->line, failure->message);
            return NULL;
        }
    }
    return g_steal_pointer(&services);
}
