/* The grammar of MAIL, RCPT and BDAT on any line, under all rules. */
#include "mail/address.h"
#include "smtp/command.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    MailCommand mail;
    RcptCommand rcpt;
    guint64 count;
    bool last;

    if (size == 0)
        return 0;
    unsigned bits = data[0];
    CommandRules rules = {bits & 1, bits & 2, bits & 4, bits & 8, bits & 16, bits & 32, bits & 64, bits & 128};
    g_autofree char *line = g_strndup((const char *)data + 1, size - 1);
    g_autofree char *bad_mail = NULL;
    g_autofree char *bad_rcpt = NULL;

    g_autofree char *mail_reply = mail_command_parse(line, &rules, &mail, &bad_mail);
    if ((mail_reply == NULL) != (mail.address != NULL) || (bad_mail && !mail_reply) || mail.size < 0)
        abort();
    mail_command_clear(&mail);
    g_autofree char *rcpt_reply = rcpt_command_parse(line, &rules, &rcpt, &bad_rcpt);
    if ((rcpt_reply == NULL) != (rcpt.address != NULL) || (rcpt.address && !*rcpt.address))
        abort();
    rcpt_command_clear(&rcpt);
    if (bdat_command_parse(line, &count, &last) && count > G_MAXINT64)
        abort();
    return 0;
}
