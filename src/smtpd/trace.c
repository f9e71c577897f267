/* trace.c - the id that a message has from here on, on every hop, and what its stages here took. */
#include "base/clock.h"
#include "mail/ids.h"
#include "smtpd/state.h"

#include <string.h>

#define NOTE " trace="
#define ID_LENGTH 12

const char *smtpd_trace_note(const Smtpd *smtpd)
{
    const char *note = smtpd->transaction ? smtpd->transaction->trace_note : NULL;

    return note ? note : "";
}

const char *smtpd_ident(const Smtpd *smtpd)
{
    const char *given = smtpd->forwarded.given & (1u << XF_IDENT) ? smtpd->forwarded.value[XF_IDENT] : NULL;
    const char *note = smtpd_trace_note(smtpd);

    if (given && *given)
        return given;
    return *note ? note + strlen(NOTE) : NULL;
}

void trace_begin(Smtpd *smtpd)
{
    Transaction *transaction = smtpd->transaction;
    const char *given = smtpd_ident(smtpd);

    transaction->times.begun_ms = clock_ms();
    if (!smtpd->settings->proxy_trace || !smtpd->service->sink->is_proxy)
        return;
    g_autofree char *id = given ? g_strdup(given) : id_new_spoken(ID_LENGTH);
    transaction->trace_note = id_trace_note(id);
}

static double seconds(gint64 ms)
{
    return (double)MAX(ms, 0) / 1000;
}

/* With speed_adjust the wait for a filter slot comes after the content, else before it. */
char *trace_times(const Smtpd *smtpd)
{
    const Transaction *transaction = smtpd->transaction;
    gint64 now = clock_ms();
    gint64 end = transaction->times.content_end_ms ? transaction->times.content_end_ms : now;
    gint64 receive = end - transaction->times.begun_ms, filter = now - end, wait = transaction->times.wait_ms;

    if (!transaction->trace_note)
        return g_strdup("");
    *(smtpd->settings->speed_adjust ? &filter : &receive) -= wait;
    return g_strdup_printf(" delay=%.3f delays=receive:%.3f/wait:%.3f/filter:%.3f%s",
                           seconds(now - transaction->times.begun_ms), seconds(receive), seconds(wait), seconds(filter),
                           transaction->trace_note);
}
