/* action_fuzz.c - access tables with hostile values, and hostile facts for them. */
#include "access/private.h"
#include "base/log.h"

#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A bare Access: no lists, no routing. */
static Access *make_access(void)
{
    Access *access = g_new0(Access, 1);

    access->classes = g_hash_table_new(g_str_hash, g_str_equal);
    access->mynetworks = match_list_new("mynetworks", "127.0.0.0/8", 0, NULL);
    access->permit_log = match_list_new("smtpd_log_access_permit_actions", "static:all", 0, NULL);
    access->delimiters = g_strdup("+");
    access->null_key = g_strdup("<>");
    access->map_reject_code = access->reject_code = access->relay_code = 554;
    access->map_defer_code = access->defer_code = 450;
    access->invalid_code = access->non_fqdn_code = 501;
    return access;
}

/* Restrictions that ask route/ are left to its own tests. */
static bool needs_route(const char *value)
{
    g_autofree char *lower = g_ascii_strdown(value, -1);

    return strstr(lower, "unauth_dest") || strstr(lower, "auth_dest") || strstr(lower, "inet_inter") ||
           strstr(lower, "unlisted") || strstr(lower, "recipient_maps");
}

/* Lines: the value of the table, the HELO name, the rest an address. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static Access *access;
    g_autofree char *text = g_strndup((const char *)data, size);
    g_auto(GStrv) parts = g_strsplit(text, "\n", 3);

    if (!access) {
        access = make_access();
        log_set_tag("x", "x");
        log_to_file(open("/dev/null", O_WRONLY), "x");
    }
    if (g_strv_length(parts) < 3 || needs_route(parts[0]))
        return 0;
    AccessFacts facts = {.state = "RCPT",
                         .client_name = "unknown",
                         .client_addr = parts[2],
                         .helo = parts[1],
                         .sender = parts[2],
                         .recipient = parts[2],
                         .behind_proxy_filter = size % 2};
    g_autoptr(Decision) decision = decision_new();
    Evaluation evaluation = {.access = access,
                             .facts = &facts,
                             .decision = decision,
                             .sender = parts[2],
                             .recipient = parts[2],
                             .client = parts[2],
                             .subject = {"Recipient address", "check_recipient_access"},
                             .what = parts[2]};
    apply_action(&evaluation, &(Found){.table = "inline:x",
                                       .key = parts[2],
                                       .what = parts[2],
                                       .class = "Recipient address",
                                       .default_check = "check_recipient_access",
                                       .value = parts[0]});
    if (decision->reply && (strlen(decision->reply) > 510 || strpbrk(decision->reply, "\r\n")))
        abort();
    g_free(evaluation.defer_if_permit);
    g_free(evaluation.defer_if_reject);
    return 0;
}
