/* params_proxy.c - parameters: Content filters. */
#include "config/param_rows.h"

const Param param_rows_proxy[] = {
    {"smtpd_proxy_filter", STRING, SUPPORTED, "", 0, 0, NULL, NULL, "Filter that gets the mail before it is accepted"},
    {"smtpd_proxy_ehlo", STRING, SUPPORTED, "$myhostname", 0, 0, NULL, NULL, "Name in EHLO to the filter"},
    {"smtpd_proxy_options", WORDS, SUPPORTED, "", 0, 0, "speed_adjust", NULL,
     "speed_adjust: take the message before connecting to the filter"},
    {"smtpd_proxy_timeout", TIME, SUPPORTED, "100s", 1, 0, NULL, NULL,
     "Time limit of a connect, read or write with the filter"},
    {"smtpd_proxy_concurrency_limit", STRING, SUPPORTED, "", 0, 0, NULL, "ours",
     "Filter connections of this service at once; empty: its process limit"},
    {"smtpd_proxy_wait_time", TIME, SUPPORTED, "$smtpd_proxy_timeout", 1, 0, NULL, "ours",
     "How long a session may wait for a filter connection"},
    {"smtpd_proxy_wait_limit", INT, SUPPORTED, "1000", 0, 0, NULL, "ours",
     "Sessions that may wait for a filter connection; beyond it MAIL is deferred"},
    {"filter_nexthop", STRING, SUPPORTED, "", 0, 0, NULL, "ours", "Where the filter service passes mail on"},
    {"filter_authorized_hosts", STRING, SUPPORTED, "127.0.0.0/8, [::1]/128", 0, 0, NULL, "ours",
     "Clients that the filter service serves"},
    {"filter_timeout", TIME, SUPPORTED, "$smtpd_proxy_timeout", 1, 0, NULL, "ours",
     "Time limit of a connect, read or write with the filter's next hop"},
    {"filter_inspectors", RAW, SUPPORTED, "", 0, 0, NULL, "ours",
     "What looks at mail in the filter, in order: { KIND: attribute=value, ... }, and so on"},
    {"filter_deadline", TIME, SUPPORTED, "50s", 1, 0, NULL, "ours",
     "Time for all inspectors and the next hop, up to the final dot, from the end of the content"},
    {"content_filter", STRING, PROTECTS, "", 0, 0, NULL, NULL,
     "Transport and next hop that all mail takes first, after the queue"},
    {"default_filter_nexthop", STRING, UNSUPPORTED, "", 0, 0, NULL, NULL, "Next hop where content_filter names none"},
    {"receive_override_options", WORDS, SUPPORTED, "", 0, 0,
     "no_unknown_recipient_checks no_address_mappings no_header_body_checks no_milters", NULL,
     "What of address mapping and content checks is left out"},
};
const size_t param_count_proxy = G_N_ELEMENTS(param_rows_proxy);
