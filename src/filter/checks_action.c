/* checks_action.c - the actions of header_checks(5). */
#include "filter/checks_action.h"
#include "mail/address.h"

#include <string.h>

CheckAction check_action_parse(const char *value, const char **ret_text)
{
    static const struct {
        const char *name;
        CheckAction action;
    } rows[] = {
        {"BCC", CHECK_BCC},         {"DISCARD", CHECK_DISCARD},   {"DUNNO", CHECK_DUNNO},
        {"OK", CHECK_DUNNO},        {"FILTER", CHECK_FILTER},     {"HOLD", CHECK_QUARANTINE},
        {"IGNORE", CHECK_IGNORE},   {"INFO", CHECK_INFO},         {"PASS", CHECK_PASS},
        {"PREPEND", CHECK_PREPEND}, {"REDIRECT", CHECK_REDIRECT}, {"QUARANTINE", CHECK_QUARANTINE},
        {"REJECT", CHECK_REJECT},   {"REPLACE", CHECK_REPLACE},   {"STRIP", CHECK_STRIP},
        {"WARN", CHECK_WARN},
    };
    size_t len = strcspn(value, " \t");

    *ret_text = value + len;
    while (g_ascii_isspace(**ret_text))
        (*ret_text)++;
    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++)
        if (strlen(rows[i].name) == len && g_ascii_strncasecmp(value, rows[i].name, len) == 0)
            return rows[i].action;
    return CHECK_UNKNOWN;
}

char *check_action_address(const char *text)
{
    g_autofree char *address = address_parse_path(text, strlen(text), false);
    const char *domain = address ? address_domain(address) : NULL;

    if (!domain || domain - 1 == address || !address_domain_is_valid(domain, true))
        return NULL;
    return g_steal_pointer(&address);
}
