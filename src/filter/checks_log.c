/* checks_log.c - what the checks found, in the log. */
#include "filter/checks_log.h"
#include "base/log.h"

#define SHOWN_MAX 200 /* octets of what was found */

static void append(GString *line, const char *name, const char *value, const char *open, const char *close)
{
    if (value && *value)
        g_string_append_printf(line, " %s=%s%s%s", name, open, value, close);
}

void checks_log(const Message *message, const char *action, const char *context, const char *found, const char *text)
{
    const char *name = message->client.value[XF_NAME], *addr = message->client.value[XF_ADDR];
    const MessageRecipient *first = message->recipients->len > 0 ? message->recipients->pdata[0] : NULL;
    g_autoptr(GString) line = g_string_new(NULL);

    g_string_printf(line, "%s: %s %.*s from %s[%s]; from=<%s> to=<%s>", action, context, SHOWN_MAX, found,
                    name && *name ? name : "unknown", addr && *addr ? addr : "unknown",
                    message->sender ? message->sender : "", first ? first->address : "");
    append(line, "proto", message->client.value[XF_PROTO], "", "");
    append(line, "helo", message->client.value[XF_HELO], "<", ">");
    if (text && *text)
        g_string_append_printf(line, ": %s", text);
    log_info("%s", line->str);
}
