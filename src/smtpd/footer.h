/* footer.h - smtpd_reject_footer and smtpd_reject_footer_maps: text behind every refusal. */
#pragma once
#include "config/config.h"
#include "config/expand.h"
#include "smtp/reply.h"
#include "table/table.h"

/* The text for reply: what smtpd_reject_footer_maps has for its first line, else template; "\n" in it are line ends
 * afterwards, and names are expanded. allowed: smtpd_expansion_filter, all other octets of a value become '_'. Caller frees; NULL: none. */
char *footer_for(const Reply *reply, const Tables *maps, const char *template, const char *allowed, ExpandValue *value, void *data);
