/* dovecot_line_fuzz.c - any octets as lines of an authentication server: an answer names its exchange, a login has a
 * name, a challenge is base64, and no text that is shown makes a second line. */
#include "sasl/dovecot_line.h"

#include <stdint.h>
#include <string.h>

static void check_shown(const char *text)
{
    for (; text && *text; text++)
        g_assert(!g_ascii_iscntrl(*text));
}

static void check(const DovecotLine *line)
{
    const SaslAnswer *answer = &line->answer;

    g_assert((line->kind == DOVECOT_LINE_MECH) == (line->name != NULL));
    g_assert(!line->name || (*line->name && strlen(line->name) <= SASL_NAME_MAX));
    check_shown(line->name);
    check_shown(answer->user);
    check_shown(answer->text);
    if (line->kind != DOVECOT_LINE_ANSWER) {
        g_assert(!answer->user && !answer->text);
        return;
    }
    g_assert(line->number >= 1 && line->number <= G_MAXUINT32);
    g_assert(answer->status != SASL_WAIT);
    g_assert(answer->status != SASL_DONE || (answer->user && *answer->user));
    g_assert(answer->status == SASL_DONE || answer->text);
    g_assert(answer->status != SASL_CHALLENGE || sasl_is_base64(answer->text));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    g_autofree char *text = size > 0 ? g_strndup((const char *)data, size) : g_strdup(""); /* data may be NULL then */
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);

    for (char **at = lines; *at; at++) {
        g_auto(DovecotLine) line = dovecot_line_parse(*at);
        check(&line);
    }
    return 0;
}
