/* delivery_request.c - requests and reports as text. Both ends are ours, but may be of two releases during a reload:
 * what is not understood is an error, never a guess. */
#include "spool/delivery_request.h"
#include "base/fail.h"

#include <string.h>

#define FIRST "gatepost-delivery 1"

static void clear_recipient(void *data)
{
    DeliveryRecipient *recipient = data;

    g_free(recipient->address);
}

DeliveryRequest *delivery_request_new(void)
{
    DeliveryRequest *request = g_new0(DeliveryRequest, 1);

    request->recipients = g_array_new(FALSE, FALSE, sizeof(DeliveryRecipient));
    g_array_set_clear_func(request->recipients, clear_recipient);
    return request;
}

void delivery_request_free(DeliveryRequest *request)
{
    if (!request)
        return;
    g_free(request->id);
    g_free(request->transport);
    g_free(request->nexthop);
    g_array_unref(request->recipients);
    g_free(request);
}

/* Octets that the request's text cannot exceed: every octet of an address may become three. */
static size_t text_bound(const DeliveryRequest *request)
{
    size_t bound = 512 + 3 * (request->nexthop ? strlen(request->nexthop) : 0);

    for (guint i = 0; i < request->recipients->len; i++)
        bound += 32 + 3 * strlen(g_array_index(request->recipients, DeliveryRecipient, i).address);
    return bound;
}

bool delivery_request_add(DeliveryRequest *request, guint number, const char *address)
{
    size_t len = strlen(address);

    if (len > DELIVERY_ADDRESS_MAX || request->recipients->len >= DELIVERY_RECIPIENTS_MAX ||
        text_bound(request) + 32 + 3 * len > DELIVERY_PACKET_MAX)
        return false;
    DeliveryRecipient recipient = {.number = number, .address = g_strdup(address)};
    g_array_append_val(request->recipients, recipient);
    return true;
}

static void append_field(GString *out, const char *name, const char *value)
{
    g_string_append_printf(out, "%s ", name);
    spool_word_append(out, value, DELIVERY_PACKET_MAX);
    g_string_append_c(out, '\n');
}

GString *delivery_request_to_text(const DeliveryRequest *request)
{
    GString *out = g_string_new(FIRST "\n");

    append_field(out, "id", request->id);
    append_field(out, "transport", request->transport);
    append_field(out, "nexthop", request->nexthop);
    append_field(out, "attempt", request->again ? "again" : "first");
    g_string_append_printf(out, "active %" G_GINT64_FORMAT "\n", request->active_us);
    for (guint i = 0; i < request->recipients->len; i++) {
        const DeliveryRecipient *recipient = &g_array_index(request->recipients, DeliveryRecipient, i);
        g_string_append_printf(out, "to %u ", recipient->number);
        spool_word_append(out, recipient->address, DELIVERY_ADDRESS_MAX);
        g_string_append_c(out, '\n');
    }
    return out;
}

static bool read_number(const char *text, guint64 max, guint64 *ret)
{
    return g_ascii_string_to_unsigned(text, 10, 0, max, ret, NULL);
}

/* The value of the field of this name in a line "name word". NULL: another line. */
static char *read_field(const char *line, const char *name)
{
    size_t len = strlen(name);

    return line && strncmp(line, name, len) == 0 && line[len] == ' ' ? spool_word_read(line + len + 1) : NULL;
}

static bool read_recipient(DeliveryRequest *request, const char *line)
{
    g_auto(GStrv) words = g_strsplit(line, " ", 4);
    guint64 number;

    if (g_strv_length(words) != 3 || strcmp(words[0], "to") != 0 || !read_number(words[1], G_MAXUINT, &number))
        return false;
    g_autofree char *address = spool_word_read(words[2]);
    return address && delivery_request_add(request, (guint)number, address);
}

DeliveryRequest *delivery_request_from_text(const char *text, size_t len, GError **error)
{
    g_autoptr(DeliveryRequest) request = delivery_request_new();
    g_autofree char *copy = g_strndup(text, len);
    g_auto(GStrv) lines = g_strsplit(copy, "\n", 0);
    guint count = g_strv_length(lines);

    if (len > DELIVERY_PACKET_MAX || strlen(copy) != len || count < 8 || strcmp(lines[0], FIRST) != 0 ||
        lines[count - 1][0] != '\0') {
        fail(error, "not a delivery request of this release");
        return NULL;
    }
    request->id = read_field(lines[1], "id");
    request->transport = read_field(lines[2], "transport");
    request->nexthop = read_field(lines[3], "nexthop");
    g_autofree char *attempt = read_field(lines[4], "attempt");
    g_autofree char *active = read_field(lines[5], "active");
    guint64 active_us = 0;
    bool good = request->id && id_is_valid(request->id) && request->transport && request->nexthop && attempt &&
                active && (g_str_equal(attempt, "again") || g_str_equal(attempt, "first")) &&
                read_number(active, G_MAXINT64, &active_us);
    for (guint i = 6; good && i < count - 1; i++)
        good = read_recipient(request, lines[i]);
    if (!good) {
        fail(error, "bad delivery request");
        return NULL;
    }
    request->again = g_str_equal(attempt, "again");
    request->active_us = (gint64)active_us;
    return g_steal_pointer(&request);
}

static const char *const kinds[] = {"plain", "site", "corrupt", "unrecorded"};

void delivery_report_clear(DeliveryReport *report)
{
    g_clear_pointer(&report->text, g_free);
}

void delivery_report_append(GString *out, const DeliveryReport *report)
{
    g_string_append_printf(out, "%u %s %s %s ", report->recipient, kinds[report->kind],
                           result_status_name(report->status), report->dsn);
    spool_word_append(out, report->text ? report->text : "", RESULT_TEXT_MAX);
    g_string_append_c(out, '\n');
}

bool delivery_report_read(const char *line, DeliveryReport *ret_report)
{
    g_auto(GStrv) words = g_strsplit(line, " ", 6);
    DeliveryReport report = {0};
    guint64 number;
    guint kind = 0;

    if (g_strv_length(words) != 5 || !read_number(words[0], G_MAXUINT, &number))
        return false;
    while (kind < G_N_ELEMENTS(kinds) && strcmp(words[1], kinds[kind]) != 0)
        kind++;
    if (kind == G_N_ELEMENTS(kinds) || !result_status_from_name(words[2], &report.status) ||
        !result_dsn_is_valid(words[3]) || !(report.text = spool_word_read(words[4])))
        return false;
    report.recipient = (guint)number;
    report.kind = (ReportKind)kind;
    g_strlcpy(report.dsn, words[3], sizeof report.dsn);
    *ret_report = report;
    return true;
}
