/* verdict.c - what an inspector says of a message. */
#include "filter/verdict.h"
#include "base/log.h"

#include <string.h>

#define TEXT_MAX 400 /* octets of a refusal's text: with code and status in front it is one line of SMTP */

void verdict_clear(Verdict *verdict)
{
    g_free(verdict->reply);
    g_free(verdict->reason);
    g_free(verdict->sender);
    g_free(verdict->redirect);
    g_clear_pointer(&verdict->added, g_ptr_array_unref);
    g_clear_pointer(&verdict->removed, g_ptr_array_unref);
    content_free(verdict->content);
    edits_free(verdict->edits);
    memset(verdict, 0, sizeof *verdict);
}

const char *verdict_name(VerdictKind kind)
{
    static const char *const names[] = {"accept", "reject", "tempfail", "discard", "quarantine", "accept"};

    return names[kind];
}

static void decide(Verdict *verdict, VerdictKind kind, const char *reason)
{
    verdict->kind = kind;
    g_free(verdict->reason);
    verdict->reason = g_strdup(reason);
}

/* The length of "d.d.d" in front of a text, with the blanks behind it (RFC 3463). 0: there is none. */
static size_t status_length(const char *text)
{
    size_t at = 1;

    if (!strchr("245", text[0]) || !text[0])
        return 0;
    for (int part = 0; part < 2; part++) {
        size_t digits = text[at] == '.' ? strspn(text + at + 1, "0123456789") : 0;
        if (digits < 1 || digits > 3)
            return 0;
        at += 1 + digits;
    }
    size_t blanks = strspn(text + at, " \t");
    return blanks > 0 || text[at] == '\0' ? at + blanks : 0;
}

static void refuse(Verdict *verdict, VerdictKind kind, int code, const char *status, const char *text,
                   const char *reason)
{
    size_t line = MIN(strcspn(text, "\n"), TEXT_MAX);
    g_autofree char *shown = g_strchomp(log_quote(text, line));
    size_t own = status_length(shown);
    g_autofree char *own_status = g_strchomp(g_strndup(shown, own));
    const char *used = own > 0 ? own_status : status;

    decide(verdict, kind, reason ? reason : shown);
    g_free(verdict->reply);
    verdict->reply = g_strdup_printf("%d %d%s %s", code, code / 100, used + 1, shown + own);
    g_strchomp(verdict->reply);
}

void verdict_reject(Verdict *verdict, int code, const char *status, const char *text, const char *reason)
{
    refuse(verdict, VERDICT_REJECT, code, status, text, reason);
}

void verdict_tempfail(Verdict *verdict, int code, const char *status, const char *text, const char *reason)
{
    refuse(verdict, VERDICT_TEMPFAIL, code, status, text, reason);
}

void verdict_discard(Verdict *verdict, const char *reason)
{
    decide(verdict, VERDICT_DISCARD, reason);
}

void verdict_quarantine(Verdict *verdict, const char *reason)
{
    decide(verdict, VERDICT_QUARANTINE, reason);
}

void verdict_stop(Verdict *verdict)
{
    verdict->stop = true;
}

void verdict_change_sender(Verdict *verdict, const char *address)
{
    g_free(verdict->sender);
    verdict->sender = g_strdup(address);
}

void verdict_redirect(Verdict *verdict, const char *address)
{
    g_free(verdict->redirect);
    verdict->redirect = g_strdup(address);
}

static void add_address(GPtrArray **addresses, const char *address)
{
    if (!*addresses)
        *addresses = g_ptr_array_new_with_free_func(g_free);
    g_ptr_array_add(*addresses, g_strdup(address));
}

void verdict_add_recipient(Verdict *verdict, const char *address)
{
    add_address(&verdict->added, address);
}

void verdict_remove_recipient(Verdict *verdict, const char *address)
{
    add_address(&verdict->removed, address);
}

Edits *verdict_edits(Verdict *verdict)
{
    if (!verdict->edits)
        verdict->edits = edits_new();
    return verdict->edits;
}
