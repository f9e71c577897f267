/* delivery_fuzz.c - what queue manager and agents say to each other, from a peer that says anything. */
#include "spool/delivery_request.h"

#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    g_autoptr(DeliveryRequest) request = delivery_request_from_text((const char *)data, size, NULL);
    g_autofree char *line = g_strndup((const char *)data, size);
    DeliveryReport report;

    if (request) {
        g_autoptr(GString) text = delivery_request_to_text(request);
        g_autoptr(DeliveryRequest) again = delivery_request_from_text(text->str, text->len, NULL);
        g_assert(again && again->recipients->len == request->recipients->len);
    }
    if (delivery_report_read(line, &report))
        delivery_report_clear(&report);
    return 0;
}
