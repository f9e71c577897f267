/* delivery_log.c - the log line of a delivery attempt. */
#include "spool/delivery_log.h"
#include "base/log.h"
#include "mail/address.h"

#include <string.h>

/* Two significant digits, as Postfix gives them; smaller ones down to the resolution. */
void delivery_log_append_delay(GString *out, gint64 us, int resolution)
{
    gint64 unit = G_USEC_PER_SEC;
    int decimals = 0;

    us = MAX(us, 0);
    if (us < 10 * (gint64)G_USEC_PER_SEC)
        for (; decimals < resolution && us < 10 * unit; decimals++)
            unit /= 10;
    gint64 count = (us + unit / 2) / unit;
    gint64 per_second = G_USEC_PER_SEC / unit;
    g_string_append_printf(out, "%" G_GINT64_FORMAT, count / per_second);
    gint64 rest = count % per_second;
    if (rest == 0)
        return;
    for (; rest % 10 == 0; rest /= 10)
        decimals--;
    g_string_append_printf(out, ".%0*" G_GINT64_FORMAT, decimals, rest);
}

static void append_address(GString *out, const char *address)
{
    g_autofree char *quoted = address_quote(address);

    g_string_append_printf(out, "<%s>", quoted);
}

static const char *status_of(const DeliveryTimes *times, const Result *result)
{
    if (times->probe == PROBE_NONE)
        return result_status_name(result->status);
    if (result->status == RESULT_SENT)
        return "deliverable";
    return times->probe == PROBE_ANY ? "undeliverable" : "undeliverable-but-not-cached";
}

void delivery_log(const DeliveryTimes *times, const Result *result, int resolution)
{
    g_autoptr(GString) line = g_string_new(times->id);
    const Recipient *recipient = times->recipient;
    gint64 active = times->active_us ? times->active_us : result->time_us;
    gint64 agent = times->agent_us ? times->agent_us : result->time_us;
    gint64 connected = times->connected_us ? times->connected_us : result->time_us;
    const gint64 marks[] = {times->arrival_us, active, agent, connected, result->time_us};

    g_string_append(line, ": to=");
    append_address(line, recipient->address);
    if (recipient->original && recipient->original[0] != '\0' &&
        g_ascii_strcasecmp(recipient->original, recipient->address) != 0) {
        g_string_append(line, ", orig_to=");
        append_address(line, recipient->original);
    }
    g_string_append_printf(line, ", relay=%s, delay=", result->relay ? result->relay : "none");
    delivery_log_append_delay(line, result->time_us - times->arrival_us, resolution);
    g_string_append(line, ", delays=");
    for (size_t i = 1; i < G_N_ELEMENTS(marks); i++) {
        if (i > 1)
            g_string_append_c(line, '/');
        delivery_log_append_delay(line, marks[i] - marks[i - 1], resolution);
    }
    g_string_append_printf(line, ", dsn=%s, status=%s (%s)", result->dsn, status_of(times, result),
                           result->text ? result->text : "");
    log_info_as(times->program, "%s", line->str);
}
