/* dsn_class.c - enhanced status codes (RFC 3463) in access tables, for whom they are about. */
#include "access/private.h"
#include "base/log.h"

#include <string.h>

/* Codes x.1.N: what N becomes for a sender and for a recipient. A recipient's "bad sender" cannot be, nor the reverse.
 */
static const char *const sender_codes[] = {"1.0", "1.7", "1.8", "1.7", "1.7", "1.0", "1.7", "1.7", "1.8"};
static const char *const recipient_codes[] = {"1.0", "1.1", "1.2", "1.3", "1.4", "1.5", "1.6", "1.3", "1.2"};

static const char *detail_for_class(unsigned number, const char *class)
{
    if (strcmp(class, "Sender address") == 0)
        return sender_codes[number];
    if (strcmp(class, "Recipient address") == 0)
        return recipient_codes[number];
    return "0.0";
}

char *dsn_for_class(Evaluation *evaluation, const char *dsn, const char *class)
{
    if (strncmp(dsn + 1, ".1.", 3) != 0)
        return g_strdup(dsn);
    gint64 number = g_ascii_strtoll(dsn + 4, NULL, 10);
    bool is_known = number >= 0 && number < (gint64)G_N_ELEMENTS(sender_codes);
    g_autofree char *mapped =
        g_strdup_printf("%c.%s", dsn[0], detail_for_class(is_known ? (unsigned)number : 0, class));
    if (strcmp(mapped, dsn) != 0)
        log_info("mapping DSN status %s into %s status %s", dsn, class,
                 mapped); /* without a queue id, so not in the decision */
    return g_steal_pointer(&mapped);
}
