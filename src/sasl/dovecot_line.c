/* dovecot_line.c - what a Dovecot authentication server says, and what it is told. */
#include "sasl/dovecot_line.h"

#include <string.h>

#define FIELDS_MAX 64
#define REASON_MAX 200 /* octets of a reason in a reply */

static const struct {
    const char *word; /* of MECH */
    unsigned bit;
} properties[] = {
    {"plaintext", SASL_PLAINTEXT},
    {"active", SASL_ACTIVE},
    {"dictionary", SASL_DICTIONARY},
    {"anonymous", SASL_ANONYMOUS},
    {"forward-secrecy", SASL_FORWARD_SECRECY},
    {"mutual-auth", SASL_MUTUAL},
    {"private", SASL_PRIVATE},
};

/* --- what it says --- */

/* A value as it was before it was made fit for a field, in place. */
static void unescape(char *text)
{
    char *to = text;

    for (; *text; text++) {
        if (*text == '\001' && text[1]) {
            text++;
            *to++ = *text == 't' ? '\t' : *text == 'n' ? '\n' : *text == 'r' ? '\r' : *text == '1' ? '\001' : '?';
        } else {
            *to++ = *text;
        }
    }
    *to = '\0';
}

static bool read_number(const char *text, guint64 *ret_number)
{
    return text && *text && g_ascii_string_to_unsigned(text, 10, 1, G_MAXUINT32, ret_number, NULL);
}

static const char *value_of(char **fields, const char *name)
{
    size_t len = strlen(name);

    for (char **field = fields; *field; field++)
        if (strncmp(*field, name, len) == 0 && (*field)[len] == '=')
            return *field + len + 1;
    return NULL;
}

static bool has(char **fields, const char *name)
{
    return g_strv_contains((const char *const *)fields, name);
}

static DovecotLine parse_mech(char **fields)
{
    const char *name = fields[0];
    DovecotLine line = {.kind = DOVECOT_LINE_BAD};

    if (!name || !*name || strlen(name) > SASL_NAME_MAX || name[strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_")])
        return line;
    line.kind = DOVECOT_LINE_MECH;
    line.name = g_strdup(name);
    for (size_t k = 0; k < G_N_ELEMENTS(properties); k++)
        if (has(fields + 1, properties[k].word))
            line.properties |= properties[k].bit;
    return line;
}

static bool parse_ok(char **fields, SaslAnswer *answer)
{
    const char *user = value_of(fields, "user");

    answer->status = SASL_DONE;
    if (user && *user)
        answer->user = sasl_harmless(user, SASL_LINE_MAX);
    return answer->user != NULL;
}

static bool parse_fail(char **fields, SaslAnswer *answer)
{
    const char *user = value_of(fields, "user"), *reason = value_of(fields, "reason"), *code = value_of(fields, "code");
    bool temporary = has(fields, "temp") || (code && strcmp(code, "temp_fail") == 0);

    answer->status = temporary ? SASL_TEMPORARY : SASL_FAILED;
    answer->user = user ? sasl_harmless(user, SASL_LINE_MAX) : NULL;
    answer->text = reason && *reason ? sasl_harmless(reason, REASON_MAX) : g_strdup("(reason unavailable)");
    return true;
}

static bool parse_cont(char **fields, SaslAnswer *answer)
{
    const char *challenge = fields[0] ? fields[0] : "";

    answer->status = SASL_CHALLENGE;
    answer->text = g_strdup(challenge);
    return sasl_is_base64(challenge);
}

static DovecotLine parse_answer(char **fields, bool (*parse)(char **fields, SaslAnswer *answer))
{
    DovecotLine line = {.kind = DOVECOT_LINE_ANSWER};

    if (read_number(fields[0], &line.number) && parse(fields + 1, &line.answer))
        return line;
    dovecot_line_clear(&line);
    return (DovecotLine){.kind = DOVECOT_LINE_BAD};
}

DovecotLine dovecot_line_parse(char *text)
{
    g_auto(GStrv) fields = g_strsplit(text, "\t", FIELDS_MAX);
    DovecotLine line = {.kind = DOVECOT_LINE_OTHER};
    guint64 major;

    if (!fields[0])
        return (DovecotLine){.kind = DOVECOT_LINE_BAD};
    for (char **field = fields; *field; field++)
        unescape(*field);
    if (strcmp(fields[0], "VERSION") == 0)
        line.kind = read_number(fields[1], &major) && major == 1 ? DOVECOT_LINE_VERSION : DOVECOT_LINE_BAD;
    else if (strcmp(fields[0], "MECH") == 0)
        line = parse_mech(fields + 1);
    else if (strcmp(fields[0], "DONE") == 0)
        line.kind = DOVECOT_LINE_READY;
    else if (strcmp(fields[0], "OK") == 0)
        line = parse_answer(fields + 1, parse_ok);
    else if (strcmp(fields[0], "FAIL") == 0)
        line = parse_answer(fields + 1, parse_fail);
    else if (strcmp(fields[0], "CONT") == 0)
        line = parse_answer(fields + 1, parse_cont);
    return line;
}

void dovecot_line_clear(DovecotLine *line)
{
    g_free(line->name);
    sasl_answer_clear(&line->answer);
    *line = (DovecotLine){0};
}

/* --- what it is told --- */

static void add_field(GString *out, const char *name, const char *value)
{
    static const char specials[] = "\001\t\n\r";

    g_string_append_printf(out, "\t%s=", name);
    for (const char *at = value ? value : ""; *at; at++) {
        const char *special = strchr(specials, *at);
        if (special)
            g_string_append_printf(out, "\001%c", "1tnr"[special - specials]);
        else
            g_string_append_c(out, *at);
    }
}

char *dovecot_line_auth(guint64 number, const char *service, const SaslStart *start)
{
    g_autoptr(GString) front = g_string_new(NULL);
    g_autofree char *mechanism = g_ascii_strup(start->mechanism, -1);

    g_string_printf(front, "AUTH\t%" G_GUINT64_FORMAT "\t%s", number, mechanism);
    add_field(front, "service", service);
    g_string_append(front, "\tnologin");
    add_field(front, "lip", start->local_addr);
    add_field(front, "rip", start->remote_addr);
    if (start->local_port && *start->local_port)
        add_field(front, "lport", start->local_port);
    if (start->remote_port && g_ascii_isdigit(*start->remote_port))
        add_field(front, "rport", start->remote_port);
    if (start->secured)
        g_string_append(front, "\tsecured");
    return start->response ? g_strconcat(front->str, "\tresp=", start->response, "\n", NULL)
                           : g_strconcat(front->str, "\n", NULL);
}

char *dovecot_line_cont(guint64 number, const char *response)
{
    g_autofree char *front = g_strdup_printf("CONT\t%" G_GUINT64_FORMAT "\t", number);

    return g_strconcat(front, response, "\n", NULL);
}
