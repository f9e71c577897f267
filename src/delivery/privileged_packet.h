/* privileged_packet.h - what virtual's root part tells its children: a delivery for one recipient, and where its
 * mailbox is. */
#pragma once
#include "delivery/mailbox.h"
#include "spool/delivery_request.h"

#define PRIVILEGED_PACKET_MAX (2 * DELIVERY_PACKET_MAX)

/* path: NULL unless FOUND. */
GString *privileged_packet(const DeliveryRequest *request, MailboxResult result, const char *path);
/* NULL: not such a packet. *ret_path: NULL unless FOUND; the caller frees. */
DeliveryRequest *privileged_packet_read(const char *packet, size_t len, MailboxResult *ret_result, char **ret_path);
