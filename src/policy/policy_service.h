/* policy_service.h - what check_policy_service names: where a policy server listens, and how it is asked
 * (SMTPD_POLICY_README). Constant. */
#pragma once
#include "config/config.h"
#include "net/endpoint.h"

typedef struct {
    char *text;         /* as written, braces and all */
    char *name;         /* for log lines: "127.0.0.1:9998", "private/policy" */
    Endpoint *endpoint; /* addresses may be empty: to be looked up at each connect */
    gint64 timeout_ms;  /* to connect; to send a request and to have its reply */
    gint64 max_idle_ms, max_ttl_ms, retry_delay_ms;
    int request_limit; /* requests on one connection; 0: no limit */
    int try_limit;
    char *default_action, *context;
} PolicyService;

/* text: "inet:HOST:PORT", "unix:PATH" ("local:" is "unix:"), or "{ inet:HOST:PORT, timeout=10s, { default_action =
 * DEFER try later }, ... }", whose options take the place of config's smtpd_policy_service_*. NULL: error, without a
 * prefix. */
PolicyService *policy_service_new(const char *text, const Config *config, GError **error);
void policy_service_free(PolicyService *service); /* NULL is fine */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(PolicyService, policy_service_free)
