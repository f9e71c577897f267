/* simple_agents.c - agents that deliver nothing: discard(8) says sent, error(8) says bounced, or deferred under the
 * service name retry. Their text is the next hop, with a status code in front or without. */
#include "delivery/agents.h"

#include <string.h>

typedef struct {
    ResultStatus status;
    const char *dsn; /* where the next hop has none */
} Simple;

static void *open_discard(const Config *config, const char *service_name, GError **error)
{
    Simple *simple = g_new0(Simple, 1);

    *simple = (Simple){RESULT_SENT, "2.0.0"};
    return simple;
}

static void *open_error(const Config *config, const char *service_name, GError **error)
{
    Simple *simple = g_new0(Simple, 1);

    *simple =
        strcmp(service_name, "retry") == 0 ? (Simple){RESULT_DEFERRED, "4.0.0"} : (Simple){RESULT_BOUNCED, "5.0.0"};
    return simple;
}

static void deliver(const void *state, Attempt *attempt)
{
    const Simple *simple = state;
    const char *text = attempt->request->nexthop;
    size_t len = strspn(text, "0123456789.");
    g_autofree char *code = g_strndup(text, len);
    bool has_code = result_dsn_is_valid(code) && (text[len] == ' ' || text[len] == '\0');

    if (has_code)
        text += len + strspn(text + len, " ");
    attempt->connected_us = attempt->agent_us;
    attempt_finish_rest(attempt,
                        &(Outcome){.status = simple->status, .dsn = has_code ? code : simple->dsn, .text = text});
}

const Agent discard_agent = {"discard", open_discard, deliver, NULL};
const Agent error_agent = {"error", open_error, deliver, NULL};
