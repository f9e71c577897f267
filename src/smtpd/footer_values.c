/* footer_values.c - what smtpd_reject_footer may say of a session. */
#include "access/values.h"
#include "smtpd/footer.h"
#include "smtpd/state.h"

static const char *footer_value(void *data, const char *name, bool *ret_exists)
{
    return access_value(data, name, ret_exists);
}

char *smtpd_footer(const Session *session, const Reply *reply)
{
    const Smtpd *smtpd = smtpd_of(session);
    const Settings *settings = smtpd->settings;
    AccessFacts facts = smtpd_facts(smtpd, "");
    g_auto(AccessValues) values = {.facts = &facts, .hostname = settings->hostname};

    if (smtpd->transaction)
        facts.recipient = smtpd->transaction->first_recipient;
    return footer_for(reply, settings->footer_maps, settings->reject_footer, settings->expansion_filter, footer_value,
                      &values);
}
