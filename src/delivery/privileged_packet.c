/* privileged_packet.c - a line for the mailbox, then the request as the queue manager sends it. */
#include "delivery/privileged_packet.h"

#include <string.h>

static const char *const names[] = {
    [MAILBOX_FOUND] = "found", [MAILBOX_UNKNOWN] = "unknown", [MAILBOX_BAD_CONFIG] = "config"};

GString *privileged_packet(const DeliveryRequest *request, MailboxResult result, const char *path)
{
    GString *out = g_string_new(names[result]);
    g_autoptr(GString) text = delivery_request_to_text(request);

    g_string_append_c(out, ' ');
    spool_word_append(out, path ? path : "", DELIVERY_PACKET_MAX / 4);
    g_string_append_c(out, '\n');
    g_string_append_len(out, text->str, (gssize)text->len);
    return out;
}

DeliveryRequest *privileged_packet_read(const char *packet, size_t len, MailboxResult *ret_result, char **ret_path)
{
    const char *end = memchr(packet, '\n', len);
    g_autofree char *line = end ? g_strndup(packet, (gsize)(end - packet)) : NULL;
    char *blank = line ? strchr(line, ' ') : NULL;
    guint result = 0;

    if (!blank)
        return NULL;
    *blank = '\0';
    while (result < G_N_ELEMENTS(names) && strcmp(line, names[result]) != 0)
        result++;
    g_autofree char *path = spool_word_read(blank + 1);
    if (result == G_N_ELEMENTS(names) || !path || (result == MAILBOX_FOUND) != (path[0] == '/'))
        return NULL;
    DeliveryRequest *request = delivery_request_from_text(end + 1, len - (size_t)(end + 1 - packet), NULL);
    if (!request)
        return NULL;
    *ret_result = (MailboxResult)result;
    *ret_path = result == MAILBOX_FOUND ? g_steal_pointer(&path) : NULL;
    return request;
}
