/* policy_reply.c - the reply of a policy server, line by line. */
#include "policy/policy_reply.h"

#include <string.h>

#define ACTION "action"

void policy_reply_init(PolicyReply *reply)
{
    *reply = (PolicyReply){.line = g_string_new(NULL)};
}

void policy_reply_clear(PolicyReply *reply)
{
    if (reply->line)
        g_string_free(reply->line, TRUE);
    g_free(reply->action);
    *reply = (PolicyReply){0};
}

static bool is_action(const GString *line)
{
    size_t len = strlen(ACTION);

    return line->len >= len && memcmp(line->str, ACTION, len) == 0 && (line->str[len] == '=' || line->len == len);
}

/* A complete line; the line of a BAD one stays, for policy_reply_trouble(). */
static PolicyReplyStatus take_line(PolicyReply *reply)
{
    GString *line = reply->line;

    if (line->len == 0)
        return reply->action ? POLICY_REPLY_WHOLE : POLICY_REPLY_BAD;
    if (is_action(line) && !reply->action) {
        if (line->len == strlen(ACTION))
            return POLICY_REPLY_BAD;
        reply->action = g_strdup(line->str + strlen(ACTION) + 1);
    }
    g_string_truncate(line, 0);
    return POLICY_REPLY_MORE;
}

PolicyReplyStatus policy_reply_add(PolicyReply *reply, const char *data, size_t len, size_t *ret_used)
{
    for (size_t i = 0; i < len; i++) {
        *ret_used = i + 1;
        if (++reply->octets > POLICY_REPLY_MAX) {
            reply->is_long = true;
            return POLICY_REPLY_BAD;
        }
        if (data[i] != '\n') {
            g_string_append_c(reply->line, data[i]);
            continue;
        }
        PolicyReplyStatus status = take_line(reply);
        if (status != POLICY_REPLY_MORE)
            return status;
    }
    *ret_used = len;
    return POLICY_REPLY_MORE;
}

/* Where in a line the reply stands. */
static const char *place_of(const PolicyReply *reply)
{
    return memchr(reply->line->str, '=', reply->line->len) ? "input attribute value" : "input attribute name";
}

char *policy_reply_trouble(const PolicyReply *reply, PolicyReplyTrouble trouble, const char *name)
{
    if (trouble != POLICY_REPLY_IS_BAD && reply->octets == 0)
        return NULL;
    if (trouble == POLICY_REPLY_ENDED)
        return g_strdup_printf("premature end-of-input on %s while reading %s", name, place_of(reply));
    if (trouble == POLICY_REPLY_TIMED_OUT)
        return g_strdup_printf("timeout on %s while reading %s", name, place_of(reply));
    if (reply->is_long)
        return g_strdup_printf("string length > %d characters from %s while reading %s", POLICY_REPLY_MAX, name,
                               place_of(reply));
    if (reply->line->len == 0)
        return g_strdup_printf("missing attribute " ACTION " in input from %s", name);
    return g_strdup_printf("missing value for string attribute " ACTION " from %s", name);
}
