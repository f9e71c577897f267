/* probe.c - probes (mail/envelope.h): messages that nothing is delivered for. What comes out goes into the cache of
 * addresses (verify/cache.h), and the probe goes, whatever it was. */
#include "base/clock.h"
#include "mail/address.h"
#include "qmgr/qmgr_private.h"
#include "spool/delivery_log.h"

#include <string.h>

#define LIFETIME_US (1000 * (gint64)G_USEC_PER_SEC) /* nobody waits for one any more; what asked for it may ask again  \
                                                     */

static const Recipient *recipient_of(const Message *message, guint number)
{
    return g_ptr_array_index(spool_message_envelope(message->file)->recipients, number);
}

/* The address that was asked for. */
static const char *asked_for(const Recipient *recipient)
{
    return recipient->original && recipient->original[0] ? recipient->original : recipient->address;
}

bool probe_begin(Qmgr *qmgr, Message *message)
{
    const GPtrArray *recipients = spool_message_envelope(message->file)->recipients;
    const char *address = recipients->len > 0 ? asked_for(g_ptr_array_index(recipients, 0)) : "";

    if (clock_wall_us() - message->arrival_us > LIFETIME_US || recipients->len == 0 ||
        g_hash_table_size(qmgr->probes) >= qmgr->limits.probes_max || g_hash_table_contains(qmgr->probes, address))
        return false;
    message->probed_address = g_strdup(address);
    g_hash_table_add(qmgr->probes, message->probed_address);
    return true;
}

void probe_end(Qmgr *qmgr, Message *message)
{
    if (message->probed_address)
        g_hash_table_remove(qmgr->probes, message->probed_address);
    g_clear_pointer(&message->probed_address, g_free);
}

void probe_note(Qmgr *qmgr, const Message *message, guint number, ResultStatus status, const char *text)
{
    static const AddressStatus known_as[] = {
        [RESULT_SENT] = ADDRESS_OK, [RESULT_DEFERRED] = ADDRESS_DEFERRED, [RESULT_BOUNCED] = ADDRESS_BOUNCED};
    const Recipient *recipient = recipient_of(message, number);
    const CacheEntry entry = {
        .status = known_as[status], .updated = clock_wall_us() / G_USEC_PER_SEC, .text = (char *)text};

    if (!qmgr->verify || (message->probe == PROBE_GOOD && status != RESULT_SENT))
        return;
    verify_cache_put(qmgr->verify, recipient->address, &entry);
    if (strcmp(asked_for(recipient), recipient->address) != 0)
        verify_cache_put(qmgr->verify, asked_for(recipient), &entry);
}

/* One address for which many stand: which of them gets the mail does not matter, somebody does. */
bool probe_answer_alias(Qmgr *qmgr, Message *message)
{
    const Envelope *envelope = spool_message_envelope(message->file);

    if (envelope->recipients->len < 2)
        return false;
    const Recipient *first = g_ptr_array_index(envelope->recipients, 0);
    const Recipient asked = {.address = (char *)asked_for(first)};
    const Result result = {.status = RESULT_SENT,
                           .dsn = "2.0.0",
                           .time_us = clock_wall_us(),
                           .text = (char *)"aliased to multiple recipients"};
    const CacheEntry entry = {.status = ADDRESS_OK, .updated = result.time_us / G_USEC_PER_SEC, .text = result.text};
    const DeliveryTimes times = {.program = "cleanup",
                                 .id = message->id,
                                 .recipient = &asked,
                                 .arrival_us = message->arrival_us,
                                 .active_us = message->active_us,
                                 .probe = message->probe};

    if (qmgr->verify)
        verify_cache_put(qmgr->verify, asked.address, &entry);
    delivery_log(&times, &result, qmgr->limits.delay_resolution);
    return true;
}

bool probe_answer_local(Qmgr *qmgr, const char *address, OwnResult *ret_result, char **ret_text)
{
    g_autofree char *reply = NULL;
    g_autofree char *local_part = address_local_part(address);

    *ret_result = (OwnResult){.status = RESULT_SENT, .dsn = "2.0.0", .program = "local", .relay = "local"};
    switch (route_recipient_exists(qmgr->route, address, address, &reply)) {
    case EXISTS_YES:
        *ret_text = g_strdup("delivers to mailbox");
        return true;
    case EXISTS_NO:
        ret_result->status = RESULT_BOUNCED;
        ret_result->dsn = "5.1.1";
        *ret_text = g_strdup_printf("unknown user: \"%s\"", local_part);
        return true;
    case EXISTS_FAILED:
        break;
    }
    return false;
}
