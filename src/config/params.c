/* params.c - finding rows of the parameter table. */
#include "config/param_rows.h"

#include <stdlib.h>
#include <string.h>

/* In the order of the manual. */
const ParamGroup param_groups[] = {
    {"SMTP server", param_rows_smtpd, &param_count_smtpd},
    {"Access control", param_rows_access, &param_count_access},
    {"Content filters", param_rows_proxy, &param_count_proxy},
    {"Quarantine", param_rows_quarantine, &param_count_quarantine},
    {"Milters", param_rows_milter, &param_count_milter},
    {"TLS and SASL in the SMTP server", param_rows_smtpd_tls, &param_count_smtpd_tls},
    {"TLS in general", param_rows_tls, &param_count_tls},
    {"SMTP client", param_rows_smtp, &param_count_smtp},
    {"TLS and SASL in the SMTP client", param_rows_smtp_tls, &param_count_smtp_tls},
    {"LMTP client", param_rows_lmtp, &param_count_lmtp},
    {"Queue and its manager", param_rows_queue, &param_count_queue},
    {"Headers and addresses of incoming mail", param_rows_cleanup, &param_count_cleanup},
    {"Addresses and routing", param_rows_route, &param_count_route},
    {"Local delivery", param_rows_local, &param_count_local},
    {"Virtual mailboxes", param_rows_virtual, &param_count_virtual},
    {"Bounces and notices", param_rows_bounce, &param_count_bounce},
    {"Address verification", param_rows_verify, &param_count_verify},
    {"Logging", param_rows_log, &param_count_log},
    {"The mail system and its processes", param_rows_process, &param_count_process},
    {"postscreen and tlsproxy, which do not exist here", param_rows_postscreen, &param_count_postscreen},
};
const size_t param_group_count = G_N_ELEMENTS(param_groups);

const ParamSuffix param_suffixes[] = {
    {"_destination_concurrency_limit", "default_destination_concurrency_limit",
     "Deliveries to one destination at once"},
    {"_destination_recipient_limit", "default_destination_recipient_limit", "Recipients of one delivery"},
    {"_destination_rate_delay", "default_destination_rate_delay", "Delay between deliveries to one destination"},
    {"_destination_concurrency_failed_cohort_limit", "default_destination_concurrency_failed_cohort_limit",
     "Failed rounds after which a destination is left alone"},
    {"_destination_concurrency_positive_feedback", "default_destination_concurrency_positive_feedback",
     "How fast concurrency grows"},
    {"_destination_concurrency_negative_feedback", "default_destination_concurrency_negative_feedback",
     "How fast concurrency shrinks"},
    {"_initial_destination_concurrency", "initial_destination_concurrency", "Deliveries to a new destination at once"},
    {"_transport_rate_delay", "default_transport_rate_delay", "Delay between deliveries"},
    {"_delivery_slot_cost", "default_delivery_slot_cost", "How many deliveries earn a large message's rival one"},
    {"_delivery_slot_discount", "default_delivery_slot_discount", "Percentage of that which may be lacking"},
    {"_delivery_slot_loan", "default_delivery_slot_loan", "Deliveries which may be lacking"},
    {"_minimum_delivery_slots", "default_minimum_delivery_slots", "Least size of a message that can be overtaken"},
    {"_extra_recipient_limit", "default_extra_recipient_limit", "Recipients in memory for overtaking messages"},
    {"_recipient_refill_limit", "default_recipient_refill_limit", "Recipients that are read at once"},
    {"_recipient_refill_delay", "default_recipient_refill_delay", "Greatest time between two such reads"},
    {"_recipient_limit", "default_recipient_limit", "Recipients in memory"},
    {"_time_limit", "command_time_limit", "Time limit of the programs that pipe and spawn start"},
};
const size_t param_suffix_count = G_N_ELEMENTS(param_suffixes);

const Param *params_find(const char *name)
{
    for (size_t group = 0; group < param_group_count; group++)
        for (size_t row = 0; row < *param_groups[group].count; row++)
            if (strcmp(param_groups[group].rows[row].name, name) == 0)
                return &param_groups[group].rows[row];
    return NULL;
}

static int compare_names(const void *a, const void *b)
{
    const Param *const *left = a, *const *right = b;

    return strcmp((*left)->name, (*right)->name);
}

void params_each(ParamEach *each, void *data)
{
    g_autoptr(GPtrArray) all = g_ptr_array_new();

    for (size_t group = 0; group < param_group_count; group++)
        for (size_t row = 0; row < *param_groups[group].count; row++)
            g_ptr_array_add(all, (void *)&param_groups[group].rows[row]);
    qsort(all->pdata, all->len, sizeof *all->pdata, compare_names);
    for (guint i = 0; i < all->len; i++)
        each(all->pdata[i], data);
}

const ParamSuffix *params_find_suffix(const char *name)
{
    size_t len = strlen(name);

    for (size_t i = 0; i < param_suffix_count; i++) {
        size_t suffix_len = strlen(param_suffixes[i].suffix);
        if (len > suffix_len && strcmp(name + len - suffix_len, param_suffixes[i].suffix) == 0)
            return &param_suffixes[i];
    }
    return NULL;
}
