/* delivery_request.h - what queue manager and delivery agents say to each other.
 *
 * The queue manager connects to private/TRANSPORT (SEQPACKET) once for each delivery and sends one packet: the request
 * as text, with the message's descriptor, which holds the message's lock. The agent answers with reports, one line for
 * each recipient, any number of lines in a packet, in any order, each after the result stands in the message's file. A
 * connection that ends before every recipient has its report tells that an agent died: the results in the file are then
 * all that is known. */
#pragma once
#include "spool/spool_format.h"

#define DELIVERY_PACKET_MAX 65536    /* octets of a request or of a packet of reports */
#define DELIVERY_RECIPIENTS_MAX 1000 /* of one request */
#define DELIVERY_ADDRESS_MAX 4096    /* octets of an address; longer ones are not delivered to */

typedef struct {
    guint number;  /* in the envelope */
    char *address; /* as there: for who decides what the recipient is before anybody reads the message */
} DeliveryRecipient;

typedef struct {
    char *id;
    char *transport, *nexthop;
    bool again;         /* an earlier attempt is possible, its result unknown: look for what it may have left */
    gint64 active_us;   /* when the queue manager took the message up (clock_wall_us()) */
    GArray *recipients; /* of DeliveryRecipient */
} DeliveryRequest;

DeliveryRequest *delivery_request_new(void);
void delivery_request_free(DeliveryRequest *request);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DeliveryRequest, delivery_request_free)
/* False: there is no room for another one, or the address is too long. */
bool delivery_request_add(DeliveryRequest *request, guint number, const char *address);

GString *delivery_request_to_text(const DeliveryRequest *request);
/* NULL: error, FAIL_ERROR. */
DeliveryRequest *delivery_request_from_text(const char *text, size_t len, GError **error);

/* Besides what became of the recipient: that it speaks against the destination (unreachable, hangs up); that the
 * content is damaged; that the result could not be written into the file, so that only the queue manager can keep it
 * from being tried again. */
typedef enum { REPORT_PLAIN, REPORT_SITE_FAILED, REPORT_CORRUPT, REPORT_UNRECORDED } ReportKind;
typedef struct {
    guint recipient;
    ReportKind kind;
    ResultStatus status;
    char dsn[12];
    char *text;
} DeliveryReport;
void delivery_report_clear(DeliveryReport *report);
void delivery_report_append(GString *out, const DeliveryReport *report); /* with LF */
/* line: without LF. False: not a report. */
bool delivery_report_read(const char *line, DeliveryReport *ret_report);
