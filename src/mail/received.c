/* received.c - our Received: header. */
#include "mail/received.h"
#include "mail/date.h"

#include <string.h>

char *received_header(const ReceivedInfo *info)
{
    GString *header = g_string_new("Received: ");
    g_autofree char *date = date_for_header(info->wall_us);

    if (!info->hide_client) {
        bool tag = strchr(info->addr, ':') && g_ascii_strncasecmp(info->addr, "IPv6:", 5) != 0;
        g_string_append_printf(header, "from %s (%s [%s%s])\n\t", info->helo ? info->helo : info->name, info->name,
                               tag ? "IPv6:" : "", info->addr);
        if (info->tls)
            g_string_append_printf(header, "%s\n\t", info->tls);
        if (info->login)
            g_string_append_printf(header, "(Authenticated sender: %s)\n\t", info->login);
    }
    g_string_append_printf(header, "by %s (%s)", info->by, info->mail_name);
    if (!info->hide_client)
        g_string_append_printf(header, " with %s", info->with);
    if (info->id)
        g_string_append_printf(header, " id %s", info->id);
    if (info->recipient)
        g_string_append_printf(header, "\n\tfor <%s>; %s", info->recipient, date);
    else
        g_string_append_printf(header, ";\n\t%s", date);
    return g_string_free(header, FALSE);
}
