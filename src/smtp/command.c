/* command.c - MAIL, RCPT and BDAT. The order of the tests is Postfix's, since a line with two faults must get the same
 * reply. */
#include "smtp/command.h"
#include "base/log.h"
#include "mail/address.h"
#include "mail/xtext.h"

#include <string.h>

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

/* --- words --- */

/* Past the group that begins at p with '<' (which may hold groups) or '"'. NULL: it does not end. No recursion: the
 * depth is the client's. */
static const char *skip_group(const char *p)
{
    bool quoted = false;
    unsigned depth = 0;

    for (; *p; p++) {
        if (*p == '\\') {
            if (!*++p)
                return NULL;
        } else if (*p == '"') {
            quoted = !quoted;
        } else if (!quoted && *p == '<') {
            depth++;
        } else if (!quoted && *p == '>') {
            depth--;
        }
        if (depth == 0 && !quoted)
            return p + 1;
    }
    return NULL;
}

/* Past the word that begins at p. NULL: a group in it does not end. */
static const char *skip_word(const char *p)
{
    while (*p && !is_blank(*p)) {
        if (*p == '<' || *p == '"')
            p = skip_group(p);
        else
            p += p[0] == '\\' && p[1] ? 2 : 1;
        if (!p)
            return NULL;
    }
    return p;
}

/* A group that does not end takes the rest of the line into its word; *ret_unclosed is that word's index, or -1. */
static GPtrArray *split_words(const char *line, int *ret_unclosed)
{
    GPtrArray *words = g_ptr_array_new_with_free_func(g_free);

    *ret_unclosed = -1;
    for (;;) {
        while (is_blank(*line))
            line++;
        if (!*line)
            return words;
        const char *end = skip_word(line);
        if (!end) {
            *ret_unclosed = (int)words->len;
            end = line + strlen(line);
        }
        g_ptr_array_add(words, g_strndup(line, (gsize)(end - line)));
        line = end;
    }
}

GPtrArray *command_words(const char *line)
{
    int unclosed;
    g_autoptr(GPtrArray) words = split_words(line, &unclosed);

    return unclosed < 0 ? g_steal_pointer(&words) : NULL;
}

/* --- what MAIL and RCPT share --- */

/* What one of the two commands is called, and how it refuses. */
typedef struct {
    const char *keyword; /* "FROM:" */
    const char *syntax, *bad_address;
    bool empty_ok;
} PathCommand;

static const PathCommand mail_path = {"FROM:", "501 5.5.4 Syntax: MAIL FROM:<address>",
                                      "501 5.1.7 Bad sender address syntax", true};
static const PathCommand rcpt_path = {"TO:", "501 5.5.4 Syntax: RCPT TO:<address>",
                                      "501 5.1.3 Bad recipient address syntax", false};

bool command_lacks_path(const char *error)
{
    return error && (strcmp(error, mail_path.syntax) == 0 || strcmp(error, rcpt_path.syntax) == 0);
}

/* "MAIL  from: <a> SIZE=1" into words from the address on. NULL: there is none. */
static GPtrArray *words_after_keyword(const char *line, const char *keyword, int *ret_unclosed)
{
    while (is_blank(*line))
        line++;
    while (*line && !is_blank(*line))
        line++;
    while (is_blank(*line))
        line++;
    if (g_ascii_strncasecmp(line, keyword, strlen(keyword)) != 0)
        return NULL;
    g_autoptr(GPtrArray) words = split_words(line + strlen(keyword), ret_unclosed);
    return words->len > 0 ? g_steal_pointer(&words) : NULL;
}

static bool is_ascii(const char *text)
{
    for (; *text; text++)
        if ((unsigned char)*text >= 0x80)
            return false;
    return true;
}

static char *path_address(const char *word, bool strict, bool utf8)
{
    g_autofree char *address = strict && word[0] != '<' ? NULL : address_parse_path(word, strlen(word), strict);
    const char *domain = address ? address_domain(address) : NULL;

    if (address && !g_utf8_validate(address, -1, NULL)) /* where smtputf8_enable=no has let it through */
        return NULL;
    if (domain && !address_domain_is_valid(domain, utf8))
        return NULL;
    return g_steal_pointer(&address);
}

static char *without_brackets(const char *word)
{
    size_t len = strlen(word);

    return len >= 2 && word[0] == '<' && word[len - 1] == '>' ? g_strndup(word + 1, len - 2) : g_strdup(word);
}

/* The first word of words as a path. NULL and *ret_text, *ret_address are set, or the reply. */
static char *take_path(const PathCommand *command, const GPtrArray *words, bool unclosed, const CommandRules *rules,
                       bool utf8, char **ret_text, char **ret_address, char **ret_bad_address)
{
    const char *word = g_ptr_array_index(words, 0);
    g_autofree char *address = unclosed ? NULL : path_address(word, rules->strict_rfc821, utf8);

    if (!address || (address[0] == '\0' && !command->empty_ok) || (address[0] == '-' && !rules->allow_min_user)) {
        if (ret_bad_address && !unclosed) /* which is a bad command, not a bad address */
            *ret_bad_address = g_strdup(word);
        return g_strdup(command->bad_address);
    }
    if (rules->strict_smtputf8 && !utf8 && !is_ascii(address))
        return g_strdup("553 5.6.7 Must declare SMTPUTF8 to send unicode address");
    *ret_text = without_brackets(word);
    *ret_address = g_steal_pointer(&address);
    return NULL;
}

/* What follows "NAME=" in option, or NULL. */
static const char *option_value(const char *option, const char *name)
{
    size_t len = strlen(name);

    return g_ascii_strncasecmp(option, name, len) == 0 && option[len] == '=' ? option + len + 1 : NULL;
}

static char *unsupported(const char *option)
{
    g_autofree char *shown = log_quote(option, strlen(option));

    return g_strdup_printf("555 5.5.4 Unsupported option: %s", shown);
}

#define DSN_DISABLED "501 5.7.1 DSN support is disabled"

/* --- MAIL --- */

static char *take_size(MailCommand *mail, const char *value)
{
    gint64 size = 0;
    bool overflow = false;

    for (const char *p = value; *p; p++) {
        if (!g_ascii_isdigit(*p))
            return g_strdup("501 5.5.4 Bad message size syntax");
        int digit = *p - '0';
        if (size > (G_MAXINT64 - digit) / 10)
            overflow = true;
        else
            size = size * 10 + digit;
    }
    if (!*value)
        return g_strdup("501 5.5.4 Bad message size syntax");
    if (overflow)
        return g_strdup("552 5.3.4 Message size exceeds file system imposed limit");
    mail->size = size;
    return NULL;
}

/* False: neither of the two, which is an unsupported option and no syntax error. */
static bool take_body(MailCommand *mail, const char *value)
{
    if (g_ascii_strcasecmp(value, "7BIT") == 0)
        mail->body = BODY_7BIT;
    else if (g_ascii_strcasecmp(value, "8BITMIME") == 0)
        mail->body = BODY_8BITMIME;
    else
        return false;
    return true;
}

static char *take_auth(MailCommand *mail, const char *value)
{
    if (mail->auth)
        return g_strdup("503 5.5.4 Error: multiple AUTH= options");
    if (strcmp(value, "<>") != 0)
        mail->auth = g_strdup(value);
    return NULL;
}

static char *take_ret(MailCommand *mail, const char *value)
{
    DsnRet ret = g_ascii_strcasecmp(value, "FULL") == 0   ? DSN_RET_FULL
                 : g_ascii_strcasecmp(value, "HDRS") == 0 ? DSN_RET_HDRS
                                                          : DSN_RET_NONE;

    if (mail->ret != DSN_RET_NONE || ret == DSN_RET_NONE)
        return g_strdup("501 5.5.4 Bad RET parameter syntax");
    mail->ret = ret;
    return NULL;
}

static char *take_envid(MailCommand *mail, const char *value)
{
    g_autofree char *decoded = xtext_decode(value); /* not NUL [3.12]: it would cut the value in a delivery report */
    bool good = decoded && decoded[0] != '\0' && !mail->envid;

    for (const char *p = decoded; good && *p; p++)
        good = g_ascii_isprint(*p) || *p == '\t';
    if (!good)
        return g_strdup("501 5.5.4 Bad ENVID parameter syntax");
    mail->envid = g_strdup(value);
    return NULL;
}

static char *take_verp(MailCommand *mail, const char *value)
{
    static const char allowed[] = "-=+";

    if (strlen(value) != 2 || strspn(value, allowed) != 2)
        return g_strdup_printf("501 5.5.4 Error: XVERP needs two characters from %s", allowed);
    g_free(mail->verp);
    mail->verp = g_strdup(value);
    return NULL;
}

static char *take_mail_option(const char *option, const CommandRules *rules, MailCommand *mail)
{
    const char *value;

    if (rules->size && (value = option_value(option, "SIZE")))
        return take_size(mail, value);
    if (rules->body8bit && (value = option_value(option, "BODY")) && take_body(mail, value))
        return NULL;
    if (rules->auth && (value = option_value(option, "AUTH")))
        return take_auth(mail, value);
    if ((value = option_value(option, "RET")))
        return rules->dsn ? take_ret(mail, value) : g_strdup(DSN_DISABLED);
    if ((value = option_value(option, "ENVID")))
        return rules->dsn ? take_envid(mail, value) : g_strdup(DSN_DISABLED);
    if (rules->smtputf8 && g_ascii_strcasecmp(option, "SMTPUTF8") == 0) {
        mail->smtputf8 = true;
        return NULL;
    }
    if (rules->requiretls && g_ascii_strcasecmp(option, "REQUIRETLS") == 0) {
        mail->requiretls = true;
        return NULL;
    }
    if (rules->verp && g_ascii_strcasecmp(option, "XVERP") == 0) {
        g_free(mail->verp);
        mail->verp = g_strdup("");
        return NULL;
    }
    if (rules->verp && (value = option_value(option, "XVERP")))
        return take_verp(mail, value);
    return unsupported(option);
}

static char *parse_mail(const char *line, const CommandRules *rules, MailCommand *mail, char **ret_bad_address)
{
    int unclosed;
    bool utf8 = false;
    g_autoptr(GPtrArray) words = words_after_keyword(line, mail_path.keyword, &unclosed);

    if (!words)
        return g_strdup(mail_path.syntax);
    for (guint i = 1; i < words->len && rules->smtputf8; i++) /* whether it was said decides about the address */
        utf8 |= g_ascii_strcasecmp(g_ptr_array_index(words, i), "SMTPUTF8") == 0;
    char *refusal =
        take_path(&mail_path, words, unclosed == 0, rules, utf8, &mail->text, &mail->address, ret_bad_address);
    for (guint i = 1; i < words->len && !refusal; i++)
        refusal = take_mail_option(g_ptr_array_index(words, i), rules, mail);
    if (!refusal && mail->verp && mail->address[0] == '\0')
        refusal = g_strdup("503 5.5.4 Error: XVERP requires non-null sender");
    return refusal;
}

char *mail_command_parse(const char *line, const CommandRules *rules, MailCommand *ret, char **ret_bad_address)
{
    *ret = (MailCommand){0};
    if (ret_bad_address)
        *ret_bad_address = NULL;
    char *refusal = parse_mail(line, rules, ret, ret_bad_address);
    if (refusal)
        mail_command_clear(ret);
    return refusal;
}

char *mail_command_without(const char *line, const char *parameter)
{
    int unclosed;
    g_autoptr(GPtrArray) words = words_after_keyword(line, mail_path.keyword, &unclosed);
    g_autoptr(GString) rest = g_string_new("MAIL FROM:");

    for (guint i = 0; words && i < words->len; i++) {
        const char *word = g_ptr_array_index(words, i);
        if (i == 0 || g_ascii_strcasecmp(word, parameter) != 0)
            g_string_append_printf(rest, "%s%s", i > 0 ? " " : "", word);
    }
    return g_string_free(g_steal_pointer(&rest), FALSE);
}

void mail_command_clear(MailCommand *command)
{
    g_free(command->text);
    g_free(command->address);
    g_free(command->envid);
    g_free(command->auth);
    g_free(command->verp);
    *command = (MailCommand){0};
}

/* --- RCPT --- */

static char *take_notify(RcptCommand *rcpt, const char *value)
{
    static const struct {
        const char *name;
        unsigned flag;
    } names[] = {
        {"NEVER", DSN_NOTIFY_NEVER},
        {"SUCCESS", DSN_NOTIFY_SUCCESS},
        {"FAILURE", DSN_NOTIFY_FAILURE},
        {"DELAY", DSN_NOTIFY_DELAY},
    };
    g_auto(GStrv) words = g_strsplit(value, ",", -1);
    unsigned set = 0;

    for (char **word = words; *word; word++) {
        unsigned flag = 0;
        for (size_t i = 0; i < G_N_ELEMENTS(names); i++)
            if (g_ascii_strcasecmp(*word, names[i].name) == 0)
                flag = names[i].flag;
        if (flag == 0 && **word != '\0') {
            log_warning("unknown DSN NOTIFY command value \"%s\" in \"%s\"", *word, value);
            set |= DSN_NOTIFY_NEVER | DSN_NOTIFY_SUCCESS; /* what cannot be */
        }
        set |= flag;
    }
    if (set == 0 || rcpt->notify != 0 || ((set & DSN_NOTIFY_NEVER) && set != DSN_NOTIFY_NEVER))
        return g_strdup("501 5.5.4 Error: Bad NOTIFY parameter syntax");
    rcpt->notify = set;
    return NULL;
}

/* RFC 6533 section 3: UTF-8, or "\x{HEX}" for a character. */
static bool utf8_orcpt_is_valid(const char *text)
{
    if (!g_utf8_validate(text, -1, NULL))
        return false;
    while ((text = strchr(text, '\\'))) {
        guint64 character = 0;
        const char *p = text + 3;
        if (strncmp(text, "\\x{", 3) != 0)
            return false;
        for (; g_ascii_isxdigit(*p) && character <= 0x10ffff; p++)
            character = character * 16 + (guint64)g_ascii_xdigit_value(*p);
        if (*p != '}' || character == 0 || character > 0x10ffff || !g_unichar_validate((gunichar)character))
            return false;
        text = p + 1;
    }
    return true;
}

static char *take_orcpt(RcptCommand *rcpt, const char *value)
{
    const char *semicolon = strchr(value, ';');
    bool good = semicolon && semicolon > value && !rcpt->orcpt;

    if (good && g_ascii_strncasecmp(value, "utf-8;", 6) == 0) {
        good = utf8_orcpt_is_valid(semicolon + 1);
    } else if (good) {
        g_autofree char *decoded = xtext_decode(semicolon + 1);
        good = decoded != NULL;
    }
    if (!good)
        return g_strdup("501 5.5.4 Error: Bad ORCPT parameter syntax");
    rcpt->orcpt = g_strdup(value);
    return NULL;
}

static char *take_rcpt_option(const char *option, const CommandRules *rules, RcptCommand *rcpt)
{
    const char *value;

    if ((value = option_value(option, "NOTIFY")))
        return rules->dsn ? take_notify(rcpt, value) : g_strdup(DSN_DISABLED);
    if ((value = option_value(option, "ORCPT")))
        return rules->dsn ? take_orcpt(rcpt, value) : g_strdup(DSN_DISABLED);
    return unsupported(option);
}

static char *parse_rcpt(const char *line, const CommandRules *rules, RcptCommand *rcpt, char **ret_bad_address)
{
    int unclosed;
    g_autoptr(GPtrArray) words = words_after_keyword(line, rcpt_path.keyword, &unclosed);

    if (!words)
        return g_strdup(rcpt_path.syntax);
    char *refusal = take_path(&rcpt_path, words, unclosed == 0, rules, rules->smtputf8, &rcpt->text, &rcpt->address,
                              ret_bad_address);
    for (guint i = 1; i < words->len && !refusal; i++)
        refusal = take_rcpt_option(g_ptr_array_index(words, i), rules, rcpt);
    return refusal;
}

char *rcpt_command_parse(const char *line, const CommandRules *rules, RcptCommand *ret, char **ret_bad_address)
{
    *ret = (RcptCommand){0};
    if (ret_bad_address)
        *ret_bad_address = NULL;
    char *refusal = parse_rcpt(line, rules, ret, ret_bad_address);
    if (refusal)
        rcpt_command_clear(ret);
    return refusal;
}

char *vrfy_address_parse(const char *text, const CommandRules *rules, bool utf8, RcptCommand *ret,
                         char **ret_bad_address)
{
    g_autoptr(GPtrArray) words = g_ptr_array_new();
    CommandRules tolerant = *rules;

    *ret = (RcptCommand){0};
    *ret_bad_address = NULL;
    tolerant.strict_rfc821 = false;
    g_ptr_array_add(words, (char *)text);
    return take_path(&rcpt_path, words, false, &tolerant, utf8, &ret->text, &ret->address, ret_bad_address);
}

void rcpt_command_clear(RcptCommand *command)
{
    g_free(command->text);
    g_free(command->address);
    g_free(command->orcpt);
    *command = (RcptCommand){0};
}

/* --- BDAT --- */

bool bdat_command_parse(const char *line, guint64 *ret_count, bool *ret_last)
{
    g_autoptr(GPtrArray) words = command_words(line);

    if (!words || words->len < 2 || words->len > 3)
        return false;
    *ret_last = words->len == 3;
    if (*ret_last && g_ascii_strcasecmp(g_ptr_array_index(words, 2), "LAST") != 0)
        return false;
    const char *count = g_ptr_array_index(words, 1);
    return g_ascii_isdigit(count[0]) && g_ascii_string_to_unsigned(count, 10, 0, G_MAXINT64, ret_count, NULL);
}
