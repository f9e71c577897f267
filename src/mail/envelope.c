/* envelope.c - construction and destruction of envelopes. */
#include "mail/envelope.h"

Envelope *envelope_new(void)
{
    Envelope *envelope = g_new0(Envelope, 1);

    envelope->recipients = g_ptr_array_new_with_free_func((GDestroyNotify)recipient_free);
    return envelope;
}

void envelope_free(Envelope *envelope)
{
    if (!envelope)
        return;
    g_free(envelope->sender);
    g_ptr_array_unref(envelope->recipients);
    origin_clear(&envelope->origin);
    g_free(envelope->envid);
    g_free(envelope->content_filter);
    g_free(envelope);
}

Recipient *envelope_add(Envelope *envelope, const char *address)
{
    Recipient *recipient = g_new0(Recipient, 1);

    recipient->address = g_strdup(address);
    recipient->original = g_strdup("");
    g_ptr_array_add(envelope->recipients, recipient);
    return recipient;
}

void recipient_free(Recipient *recipient)
{
    if (!recipient)
        return;
    g_free(recipient->address);
    g_free(recipient->original);
    g_free(recipient->dsn_orcpt);
    g_free(recipient);
}

void origin_clear(Origin *origin)
{
    g_free(origin->name);
    g_free(origin->addr);
    g_free(origin->port);
    g_free(origin->helo);
    g_free(origin->protocol);
    g_free(origin->sasl_method);
    g_free(origin->sasl_username);
    g_free(origin->sasl_sender);
    *origin = (Origin){0};
}

void origin_copy(Origin *to, const Origin *from)
{
    Origin copy = {
        .name = g_strdup(from->name),
        .addr = g_strdup(from->addr),
        .port = g_strdup(from->port),
        .helo = g_strdup(from->helo),
        .protocol = g_strdup(from->protocol),
        .sasl_method = g_strdup(from->sasl_method),
        .sasl_username = g_strdup(from->sasl_username),
        .sasl_sender = g_strdup(from->sasl_sender),
        .is_local = from->is_local,
    };

    origin_clear(to); /* after the copy: to and from may be one */
    *to = copy;
}
