/* command_status.c - what a command inspector's exit status means. */
#include "filter/command_status.h"
#include "base/fail.h"

#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#define EX_DISCARD 99
#define REJECT_CODE 550
#define TEMPFAIL_CODE 451

static const struct {
    int code;
    VerdictKind kind;
    const char *status, *text;
} standard[] = {
    {EX_OK, VERDICT_ACCEPT, "5.7.1", "Message refused"},
    {EX_USAGE, VERDICT_REJECT, "5.3.0", "command line usage error"},
    {EX_DATAERR, VERDICT_REJECT, "5.6.0", "data format error"},
    {EX_NOINPUT, VERDICT_REJECT, "5.3.0", "cannot open input"},
    {EX_NOUSER, VERDICT_REJECT, "5.1.1", "user unknown"},
    {EX_NOHOST, VERDICT_REJECT, "5.1.2", "host name unknown"},
    {EX_UNAVAILABLE, VERDICT_REJECT, "5.7.1", "Message refused"},
    {EX_SOFTWARE, VERDICT_REJECT, "5.3.0", "internal software error"},
    {EX_OSERR, VERDICT_TEMPFAIL, "4.3.0", "system resource problem"},
    {EX_OSFILE, VERDICT_REJECT, "5.3.0", "critical OS file missing"},
    {EX_CANTCREAT, VERDICT_REJECT, "5.2.0", "can't create user output file"},
    {EX_IOERR, VERDICT_REJECT, "5.3.0", "input/output error"},
    {EX_TEMPFAIL, VERDICT_TEMPFAIL, "4.3.0", "temporary failure"},
    {EX_PROTOCOL, VERDICT_REJECT, "5.5.0", "remote error in protocol"},
    {EX_NOPERM, VERDICT_REJECT, "5.7.0", "permission denied"},
    {EX_CONFIG, VERDICT_REJECT, "5.3.5", "local configuration error"},
    {EX_DISCARD, VERDICT_DISCARD, "5.7.1", "Message refused"},
};

static bool parse_one(CommandStatus *status, const char *item, GError **error)
{
    static const VerdictKind kinds[] = {VERDICT_ACCEPT, VERDICT_REJECT, VERDICT_TEMPFAIL, VERDICT_DISCARD,
                                        VERDICT_QUARANTINE};
    char *end;
    long code = g_ascii_isdigit(*item) ? strtol(item, &end, 10) : -1;

    if (code >= 0 && code <= 255 && *end == ':') {
        g_autofree char *word = g_strstrip(g_strdup(end + 1));
        for (size_t i = 0; i < G_N_ELEMENTS(kinds); i++)
            if (strcmp(word, verdict_name(kinds[i])) == 0) {
                status->kind[code] = (gint8)kinds[i];
                return true;
            }
    }
    return fail(error, "command: exit=%s: expected STATUS:VERDICT with accept, reject, tempfail, discard or quarantine",
                item);
}

bool command_status_init(CommandStatus *status, const char *spec, GError **error)
{
    memset(status->kind, -1, sizeof status->kind);
    for (size_t i = 0; i < G_N_ELEMENTS(status->kind); i++) {
        status->status[i] = "5.7.1";
        status->text[i] = "Message refused";
    }
    for (size_t i = 0; i < G_N_ELEMENTS(standard); i++) {
        status->kind[standard[i].code] = (gint8)standard[i].kind;
        status->status[standard[i].code] = standard[i].status;
        status->text[standard[i].code] = standard[i].text;
    }
    if (!spec)
        return true;
    g_auto(GStrv) items = g_strsplit_set(spec, ", \t\n", -1);
    for (char **item = items; *item; item++)
        if (**item && !parse_one(status, *item, error))
            return false;
    return true;
}

/* The last line that is not blank. */
static char *last_line(const char *said)
{
    g_auto(GStrv) lines = g_strsplit(said, "\n", -1);

    for (guint i = g_strv_length(lines); i-- > 0;)
        if (*g_strstrip(lines[i]))
            return g_strdup(lines[i]);
    return NULL;
}

bool command_status_apply(const CommandStatus *status, int code, const char *said, Verdict *verdict)
{
    g_autofree char *line = last_line(said);
    const char *text = line ? line : status->text[code];

    switch ((int)status->kind[code]) {
    case VERDICT_ACCEPT:
        return true;
    case VERDICT_REJECT:
        verdict_reject(verdict, REJECT_CODE, status->status[code], text, NULL);
        return true;
    case VERDICT_TEMPFAIL:
        verdict_tempfail(verdict, TEMPFAIL_CODE, status->status[code], text, NULL);
        return true;
    case VERDICT_DISCARD:
        verdict_discard(verdict, text);
        return true;
    case VERDICT_QUARANTINE:
        verdict_quarantine(verdict, text);
        return true;
    default:
        return false;
    }
}
