/* address.c - mail addresses. The grammar is RFC 5322's with RFC 5321's source routes, read tolerantly: comments and
 * blanks are allowed between words, a local part may have dots anywhere. */
#include "mail/address.h"

#include <arpa/inet.h>
#include <string.h>

typedef enum { END, WORD, QUOTED, LITERAL, SPECIAL, BAD } TokenType;

typedef struct {
    const char *at, *end; /* what is not read yet */
    const char *start;    /* of the token */
    TokenType type;
    char special;   /* of SPECIAL */
    GString *text;  /* WORD, LITERAL (with brackets): as is; QUOTED: without quotes and backslashes */
    bool had_extra; /* so far: comments, phrases, separators, all that is no address and a strict server refuses */
} Lexer;

static bool is_special(char c)
{
    return c != '\0' && strchr("()<>@,;:\\\".[]", c) != NULL;
}

/* What ends a word. Of the specials, ')' without its '(' does not. */
static bool is_delimiter(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || (is_special(c) && c != ')' && c != '\\');
}

/* Past the comment that begins here. One that does not end takes all there is. */
static void skip_comment(Lexer *lexer)
{
    int depth = 0;

    while (lexer->at < lexer->end) {
        char c = *lexer->at++;
        if (c == '\\' && lexer->at < lexer->end)
            lexer->at++;
        else if (c == '(')
            depth++;
        else if (c == ')' && --depth == 0)
            return;
    }
}

static void skip_blanks(Lexer *lexer)
{
    while (lexer->at < lexer->end) {
        if (*lexer->at == '(') {
            lexer->had_extra = true;
            skip_comment(lexer);
        } else if (*lexer->at == ' ' || *lexer->at == '\t' || *lexer->at == '\n') {
            lexer->at++;
        } else {
            return;
        }
    }
}

/* A quoted string or a domain literal, up to the octet `close`. */
static TokenType read_delimited(Lexer *lexer, char close, TokenType type)
{
    while (lexer->at < lexer->end) {
        char c = *lexer->at++;
        if (c == close)
            return type;
        if (c == '\\') {
            if (lexer->at == lexer->end)
                return BAD;
            c = *lexer->at++;
        }
        if (c != '\n') /* a folded header */
            g_string_append_c(lexer->text, c);
    }
    return BAD;
}

/* RFC 821 has quoted pairs outside quotes, too. */
static TokenType read_word(Lexer *lexer)
{
    for (; lexer->at < lexer->end && !is_delimiter(*lexer->at); lexer->at++) {
        if (*lexer->at == '\\' && ++lexer->at == lexer->end)
            return BAD;
        if (*lexer->at != '\n')
            g_string_append_c(lexer->text, *lexer->at);
    }
    return WORD;
}

static TokenType read_token(Lexer *lexer)
{
    skip_blanks(lexer);
    lexer->start = lexer->at;
    g_string_truncate(lexer->text, 0);
    if (lexer->at == lexer->end)
        return END;
    if (*lexer->at == '"') {
        lexer->at++;
        return read_delimited(lexer, '"', QUOTED);
    }
    if (*lexer->at == '[') {
        lexer->at++;
        g_string_append_c(lexer->text, '[');
        TokenType type = read_delimited(lexer, ']', LITERAL);
        g_string_append_c(lexer->text, ']');
        return type;
    }
    if (!is_delimiter(*lexer->at))
        return read_word(lexer);
    lexer->special = *lexer->at++;
    return SPECIAL;
}

static void next_token(Lexer *lexer)
{
    lexer->type = read_token(lexer);
}

static bool at_special(const Lexer *lexer, char c)
{
    return lexer->type == SPECIAL && lexer->special == c;
}

static bool at_word(const Lexer *lexer)
{
    return lexer->type == WORD || lexer->type == QUOTED || lexer->type == LITERAL;
}

/* Confines the lexer to what stands in the innermost brackets, if there are any: `phrase <address>`. Behind them only
 * separators may follow. */
static bool enter_brackets(Lexer *lexer)
{
    const char *begin = lexer->at, *close = NULL;
    bool had_phrase = false;

    for (next_token(lexer); lexer->type != END; next_token(lexer)) {
        if (lexer->type == BAD)
            return false;
        if (at_special(lexer, '>')) {
            close = close ? close : lexer->start;
        } else if (at_special(lexer, ',') || at_special(lexer, ';')) {
            had_phrase = true; /* or those of a source route, which matter to nobody */
        } else if (close) {
            return false;
        } else if (at_special(lexer, '<')) {
            lexer->had_extra |= had_phrase;
            begin = lexer->at;
        } else {
            had_phrase = true;
        }
        lexer->had_extra |= close && !at_special(lexer, '>');
    }
    lexer->at = begin;
    lexer->end = close ? close : lexer->end;
    return true;
}

static void skip_separators(Lexer *lexer)
{
    for (; at_special(lexer, ',') || at_special(lexer, ';'); next_token(lexer))
        lexer->had_extra = true;
}

/* Words and dots (and in a local part, colons). False: two words without one between them. */
static bool read_words(Lexer *lexer, GString *out, bool colon_ok)
{
    bool after_word = false;

    for (;; next_token(lexer)) {
        bool is_word = at_word(lexer);
        if (is_word && after_word)
            return false;
        if (is_word)
            g_string_append_len(out, lexer->text->str, (gssize)lexer->text->len);
        else if (at_special(lexer, '.') || (colon_ok && at_special(lexer, ':')))
            g_string_append_c(out, lexer->special);
        else
            return true;
        after_word = is_word;
    }
}

/* "@a,@b:" at the start is dropped (RFC 5321 appendix C); "@dom" without the colon is an address. */
static bool read_route(Lexer *lexer, GString *out)
{
    while (at_special(lexer, '@') || at_special(lexer, ',')) {
        g_string_append_c(out, lexer->special);
        next_token(lexer);
        if (!read_words(lexer, out, false))
            return false;
    }
    if (at_special(lexer, ':')) {
        g_string_truncate(out, 0);
        next_token(lexer);
    }
    return out->len != 1 && !strchr(out->str, ',');
}

static bool read_address(Lexer *lexer, GString *out)
{
    if (at_special(lexer, '@') && (!read_route(lexer, out) || out->len > 0))
        return out->len > 1 && out->str[0] == '@' && !strchr(out->str, ',');
    if (!read_words(lexer, out, true))
        return false;
    while (at_special(lexer, '@')) {
        g_string_append_c(out, '@');
        next_token(lexer);
        gsize before = out->len;
        if (!read_words(lexer, out, false) || out->len == before)
            return false;
    }
    return true;
}

char *address_parse_path(const char *text, size_t len, bool strict)
{
    g_autoptr(GString) token = g_string_new(NULL);
    g_autoptr(GString) out = g_string_new(NULL);
    Lexer lexer = {.at = text, .end = text + len, .text = token};

    if (memchr(text, '\0', len) || !enter_brackets(&lexer))
        return NULL;
    next_token(&lexer);
    skip_separators(&lexer);
    if (lexer.type != END && !read_address(&lexer, out))
        return NULL;
    skip_separators(&lexer);
    if (lexer.type != END || (strict && (lexer.had_extra || out->str[0] == '@')))
        return NULL;
    return g_string_free(g_steal_pointer(&out), FALSE);
}

static bool literal_is_valid(const char *domain)
{
    struct in6_addr addr;
    size_t len = strlen(domain);

    if (len < 3 || len > 128 || domain[len - 1] != ']')
        return false;
    g_autofree char *inside = g_strndup(domain + 1, len - 2);
    if (g_ascii_strncasecmp(inside, "IPv6:", 5) == 0)
        return inet_pton(AF_INET6, inside + 5, &addr) == 1;
    return inet_pton(AF_INET, inside, &addr) == 1;
}

/* RFC 1123 names, with '_' as many have it. All digits and dots would be an address without its brackets. */
static bool name_is_valid(const char *name)
{
    size_t len = strlen(name);
    size_t label = 0; /* octets of the present one */
    bool numeric = true;

    if (len > 0 && name[len - 1] == '.')
        len--;
    if (len == 0 || len > 255)
        return false;
    for (size_t i = 0; i < len; i++) {
        char c = name[i];
        if (c == '.') {
            if (label == 0 || name[i - 1] == '-')
                return false;
            label = 0;
            continue;
        }
        if (++label > 63 || (!g_ascii_isalnum(c) && c != '_' && (c != '-' || label == 1)))
            return false;
        if (!g_ascii_isdigit(c))
            numeric = false;
    }
    return label > 0 && name[len - 1] != '-' && !numeric;
}

static bool is_ascii(const char *text)
{
    for (; *text; text++)
        if ((unsigned char)*text >= 0x80)
            return false;
    return true;
}

bool address_domain_is_valid(const char *domain, bool utf8)
{
    if (domain[0] == '[')
        return literal_is_valid(domain);
    if (is_ascii(domain))
        return name_is_valid(domain);
    if (!utf8 || strlen(domain) > 1024 || !g_utf8_validate(domain, -1, NULL))
        return false;
    g_autofree char *ascii = g_hostname_to_ascii(domain); /* the limits are those of the form that DNS sees */
    return ascii && name_is_valid(ascii);
}

static bool is_dot_atom(const char *text, size_t len)
{
    if (len == 0 || text[0] == '.' || text[len - 1] == '.')
        return false;
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c == '.' ? text[i + 1] == '.' : (c <= 32 || c == 127 || is_special((char)c)))
            return false;
    }
    return true;
}

char *address_quote(const char *internal)
{
    const char *at = strrchr(internal, '@');
    size_t len = at ? (size_t)(at - internal) : strlen(internal);

    if (internal[0] == '\0' || is_dot_atom(internal, len))
        return g_strdup(internal);
    GString *out = g_string_new("\"");
    for (size_t i = 0; i < len; i++) {
        if (strchr("\"\\\r\n", internal[i]))
            g_string_append_c(out, '\\');
        g_string_append_c(out, internal[i]);
    }
    g_string_append_c(out, '"');
    if (at)
        g_string_append(out, at);
    return g_string_free(out, FALSE);
}

const char *address_domain(const char *internal)
{
    const char *at = strrchr(internal, '@');

    return at ? at + 1 : NULL;
}

char *address_local_part(const char *internal)
{
    const char *at = strrchr(internal, '@');

    return at ? g_strndup(internal, (gsize)(at - internal)) : g_strdup(internal);
}

const char *address_extension(const char *local_part, const char *delimiters)
{
    static const char *const whole[] = {"postmaster", "mailer-daemon", "double-bounce"};
    size_t len = strlen(local_part);
    size_t cut;

    if (delimiters[0] == '\0')
        return NULL;
    for (size_t i = 0; i < G_N_ELEMENTS(whole); i++)
        if (g_ascii_strcasecmp(local_part, whole[i]) == 0)
            return NULL;
    if (strchr(delimiters, '-') && (g_ascii_strncasecmp(local_part, "owner-", 6) == 0 ||
                                    (len > 8 && g_ascii_strcasecmp(local_part + len - 8, "-request") == 0)))
        return NULL;
    cut = strcspn(local_part, delimiters);
    return cut > 0 && cut < len ? local_part + cut + 1 : NULL;
}

char *address_fold(const char *internal)
{
    if (is_ascii(internal) || !g_utf8_validate(internal, -1, NULL))
        return g_ascii_strdown(internal, -1);
    return g_utf8_casefold(internal, -1);
}

bool address_equal(const char *a, const char *b)
{
    g_autofree char *a_folded = address_fold(a);
    g_autofree char *b_folded = address_fold(b);

    return strcmp(a_folded, b_folded) == 0;
}
