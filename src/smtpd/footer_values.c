/* footer_values.c - what smtpd_reject_footer may say of a session. */
#include "mail/address.h"
#include "smtpd/footer.h"
#include "smtpd/state.h"

#include <string.h>
#include <time.h>

static const char *local_time(char *buffer, size_t size)
{
    time_t now = time(NULL);
    struct tm tm;

    localtime_r(&now, &tm);
    strftime(buffer, size, "%b %d %H:%M:%S", &tm);
    return buffer;
}

typedef struct {
    const Smtpd *smtpd;
    char time[32];
    char *part; /* of an address: the last one asked for */
} FooterFacts;

/* The part of an address that name says: "sender", "sender_name" or "sender_domain". */
static const char *address_part(FooterFacts *facts, const char *address, const char *part)
{
    if (!address || !*part)
        return address;
    g_free(facts->part);
    facts->part = strcmp(part, "_name") == 0 ? address_local_part(address) : g_strdup(address_domain(address));
    return facts->part;
}

static const char *footer_value(void *data, const char *name, bool *ret_exists)
{
    FooterFacts *facts = data;
    const Smtpd *smtpd = facts->smtpd;
    const Transaction *transaction = smtpd->transaction;
    const struct {
        const char *name, *value;
    } values[] = {
        {"client", smtpd->client.text},
        {"client_address", smtpd->client.addr},
        {"client_name", smtpd->client.name},
        {"client_port", smtpd->client.port},
        {"helo_name", smtpd->helo},
        {"localtime", local_time(facts->time, sizeof facts->time)},
        {"reverse_client_name", smtpd->client.reverse_name},
        {"server_name", smtpd->settings->hostname},
    };
    const struct {
        const char *name, *address;
    } addresses[] = {
        {"sender", transaction ? transaction->mail.address : NULL},
        {"recipient", transaction ? transaction->first_recipient : NULL},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(values); i++)
        if (strcmp(name, values[i].name) == 0)
            return values[i].value;
    for (size_t i = 0; i < G_N_ELEMENTS(addresses); i++) {
        const char *part = name + strlen(addresses[i].name);
        if (g_str_has_prefix(name, addresses[i].name) &&
            (!*part || strcmp(part, "_name") == 0 || strcmp(part, "_domain") == 0))
            return address_part(facts, addresses[i].address, part);
    }
    *ret_exists = false;
    return NULL;
}

char *smtpd_footer(const Session *session, const Reply *reply)
{
    const Smtpd *smtpd = smtpd_of(session);
    const Settings *settings = smtpd->settings;
    FooterFacts facts = {.smtpd = smtpd};
    char *footer = footer_for(reply, settings->footer_maps, settings->reject_footer, settings->expansion_filter,
                              footer_value, &facts);

    g_free(facts.part);
    return footer;
}
