/* The grammar of MAIL, RCPT and BDAT on any line, under all rules. */
#include "mail/address.h"
#include "smtp/command.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A refusal is one line, whatever of the command stands in it. */
static void check_refusal(const char *reply)
{
    if (reply && ((reply[0] != '5' && reply[0] != '4') || strpbrk(reply, "\r\n")))
        abort();
}

/* What we have understood is understood as the same by whom we tell it. */
static void check_address(const char *address, const CommandRules *rules)
{
    const char *domain = address_domain(address);

    if (!domain || !address_domain_is_valid(domain, true) || address[0] == '@')
        return;
    g_autofree char *external = address_quote(address);
    g_autofree char *line = g_strdup_printf("RCPT TO:<%s>", external);
    g_autofree char *bad = NULL;
    RcptCommand rcpt;
    g_autofree char *reply = rcpt_command_parse(line, rules, &rcpt, &bad);
    if (reply || strcmp(rcpt.address, address) != 0)
        abort();
    rcpt_command_clear(&rcpt);
}

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
    check_refusal(mail_reply);
    if (mail.address && *mail.address)
        check_address(mail.address, &rules);
    mail_command_clear(&mail);
    g_autofree char *rcpt_reply = rcpt_command_parse(line, &rules, &rcpt, &bad_rcpt);
    if ((rcpt_reply == NULL) != (rcpt.address != NULL) || (rcpt.address && !*rcpt.address))
        abort();
    check_refusal(rcpt_reply);
    if (rcpt.address)
        check_address(rcpt.address, &rules);
    rcpt_command_clear(&rcpt);
    if (bdat_command_parse(line, &count, &last) && count > G_MAXINT64)
        abort();
    return 0;
}
