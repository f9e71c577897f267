/* policy_service.c - check_policy_service's argument. */
#include "policy/policy_service.h"
#include "base/fail.h"
#include "config/params.h"
#include "config/values.h"

#include <string.h>

#define PREFIX "smtpd_policy_service_"

void policy_service_free(PolicyService *service)
{
    if (!service)
        return;
    g_free(service->text);
    g_free(service->name);
    endpoint_free(service->endpoint);
    g_free(service->default_action);
    g_free(service->context);
    g_free(service);
}

static void read_defaults(PolicyService *service, const Config *config)
{
    service->timeout_ms = config_seconds(config, PREFIX "timeout") * 1000;
    service->max_idle_ms = config_seconds(config, PREFIX "max_idle") * 1000;
    service->max_ttl_ms = config_seconds(config, PREFIX "max_ttl") * 1000;
    service->retry_delay_ms = config_seconds(config, PREFIX "retry_delay") * 1000;
    service->request_limit = (int)config_int(config, PREFIX "request_limit");
    service->try_limit = (int)config_int(config, PREFIX "try_limit");
    service->default_action = g_strdup(config_string(config, PREFIX "default_action"));
    service->context = g_strdup(config_string(config, PREFIX "policy_context"));
}

/* "inet:HOST:PORT", "unix:PATH" */
static bool read_endpoint(PolicyService *service, const char *text, GError **error)
{
    const char *colon = strchr(text, ':');
    const char *address = colon ? colon + 1 : "";
    g_autofree char *transport = g_strndup(text, colon ? (gsize)(colon - text) : strlen(text));
    bool is_local = strcmp(transport, "unix") == 0 || strcmp(transport, "local") == 0;

    if (!*address)
        return fail(error, "need service transport:endpoint instead of \"%s\"", text);
    if (!is_local && strcmp(transport, "inet") != 0)
        return fail(error, "invalid transport name: %s in service: %s", transport, text);
    g_autofree char *spec = g_strconcat(is_local ? "unix:" : "inet:", address, NULL);
    service->name = g_strdup(address);
    service->endpoint = endpoint_parse(spec, ".", 0, error); /* the process is in $queue_directory */
    endpoint_announce(service->endpoint);
    return service->endpoint != NULL;
}

/* An option's value, checked as that of its parameter. */
static bool set_option(PolicyService *service, const char *option, const char *value, GError **error)
{
    const struct {
        const char *name;
        gint64 *ms;
        int *number;
        char **text;
    } options[] = {
        {"timeout", .ms = &service->timeout_ms},
        {"max_idle", .ms = &service->max_idle_ms},
        {"max_ttl", .ms = &service->max_ttl_ms},
        {"retry_delay", .ms = &service->retry_delay_ms},
        {"request_limit", .number = &service->request_limit},
        {"try_limit", .number = &service->try_limit},
        {"default_action", .text = &service->default_action},
        {"policy_context", .text = &service->context},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(options); i++) {
        if (strcmp(options[i].name, option) != 0)
            continue;
        g_autofree char *name = g_strconcat(PREFIX, option, NULL);
        const Param *param = params_find(name);
        gint64 number;
        Param shown = *param;
        shown.name = option;
        if (!value_parse(&shown, value, 's', "main.cf", &number, error))
            return false;
        if (options[i].ms)
            *options[i].ms = number * 1000;
        else if (options[i].number)
            *options[i].number = (int)number;
        else {
            g_free(*options[i].text);
            *options[i].text = g_strdup(value);
        }
        return true;
    }
    return fail(error, "unknown option: \"%s = %s\"", option, value);
}

/* "timeout=10s" or "{ default_action = DEFER try later }" */
static bool read_option(PolicyService *service, const char *word, GError **error)
{
    g_autofree char *inside = config_inside_braces(word);
    const char *option = inside ? inside : word;
    const char *equals = strchr(option, '=');

    if (!equals)
        return fail(error, "malformed option: missing '=' after attribute name: \"...%s...\"", option);
    g_autofree char *name = g_strstrip(g_strndup(option, (gsize)(equals - option)));
    g_autofree char *value = g_strstrip(g_strdup(equals + 1));
    if (!*name)
        return fail(error, "malformed option: missing attribute name: \"...%s...\"", option);
    return set_option(service, name, value, error);
}

PolicyService *policy_service_new(const char *text, const Config *config, GError **error)
{
    g_autoptr(PolicyService) service = g_new0(PolicyService, 1);
    g_autofree char *inside = config_inside_braces(text);
    g_autoptr(GPtrArray) words = config_split(inside ? inside : text);

    service->text = g_strdup(text);
    read_defaults(service, config);
    if (text[0] == '{' && !inside) {
        fail(error, "policy service syntax error: missing '}' in \"%s\"", text);
        return NULL;
    }
    if (words->len == 0) {
        fail(error, "empty policy service: \"%s\"", text);
        return NULL;
    }
    if (!read_endpoint(service, g_ptr_array_index(words, 0), error))
        return NULL;
    for (guint i = 1; i < words->len; i++)
        if (!read_option(service, g_ptr_array_index(words, i), error))
            return NULL;
    return g_steal_pointer(&service);
}
