/* checks_content_type.c - the type and the boundary of a part. */
#include "filter/checks_content_type.h"

#include <string.h>

#define TOKENS 3 /* of "name = value" and "type / subtype"; those that follow mean nothing */

typedef struct {
    bool is_word; /* a token or a quoted string; else the one special character */
    bool is_quoted;
    GString *text;
} Token;

static bool is_special(char c)
{
    return c != '\0' && strchr("()<>@,;:\\\"/[]?=", c) != NULL;
}

static bool is_blank(char c)
{
    return c == ' ' || g_ascii_iscntrl(c);
}

/* at: behind the parenthesis. Returns what follows the comment. */
static const char *skip_comment(const char *at)
{
    for (int level = 1; *at && level > 0; at++) {
        if (*at == '\\' && at[1])
            at++;
        else if (*at == '(')
            level++;
        else if (*at == ')')
            level--;
    }
    return at;
}

/* at: behind the quote. */
static const char *read_quoted(const char *at, GString *text)
{
    for (; *at && *at != '"'; at++) {
        if (*at == '\n') /* a fold */
            continue;
        if (*at == '\\' && at[1])
            at++;
        g_string_append_c(text, *at);
    }
    return *at ? at + 1 : at;
}

/* Reads one token into *ret, moves *at behind it. False: the parameter ends here. */
static bool read_token(const char **at, Token *ret)
{
    g_string_truncate(ret->text, 0);
    while (**at && (is_blank(**at) || **at == '('))
        *at = **at == '(' ? skip_comment(*at + 1) : *at + 1;
    if (**at == '\0' || **at == ';')
        return false;
    ret->is_quoted = **at == '"';
    ret->is_word = ret->is_quoted || !is_special(**at);
    if (ret->is_quoted) {
        *at = read_quoted(*at + 1, ret->text);
    } else if (!ret->is_word) {
        g_string_append_c(ret->text, *(*at)++);
    } else {
        const char *end = *at;
        while (*end && !is_special(*end) && !is_blank(*end))
            end++;
        g_string_append_len(ret->text, *at, end - *at);
        *at = end;
    }
    return true;
}

/* Reads up to a semicolon or the end, and behind it. Returns the number of tokens kept. */
static size_t read_parameter(const char **at, Token tokens[TOKENS], Token *scratch)
{
    size_t count = 0;

    while (read_token(at, count < TOKENS ? &tokens[count] : scratch))
        count += count < TOKENS;
    if (**at == ';')
        (*at)++;
    return count;
}

static bool is_word(const Token *token, const char *word)
{
    return token->is_word && !token->is_quoted && g_ascii_strcasecmp(token->text->str, word) == 0;
}

static bool is_sign(const Token *token, char sign)
{
    return !token->is_word && token->text->str[0] == sign;
}

static MimeTypeKind kind_of(const Token tokens[TOKENS], size_t count)
{
    bool has_subtype = count >= 3 && is_sign(&tokens[1], '/');

    if (count > 0 && is_word(&tokens[0], "multipart"))
        return has_subtype && is_word(&tokens[2], "digest") ? MIME_TYPE_DIGEST : MIME_TYPE_MULTIPART;
    if (has_subtype && is_word(&tokens[0], "message") &&
        (is_word(&tokens[2], "rfc822") || is_word(&tokens[2], "global")))
        return MIME_TYPE_MESSAGE;
    return MIME_TYPE_OTHER;
}

void mime_content_type_parse(const char *value, guint max, MimeContentType *ret)
{
    Token tokens[TOKENS], scratch = {.text = g_string_new(NULL)};

    for (size_t i = 0; i < TOKENS; i++)
        tokens[i].text = g_string_new(NULL);
    size_t count = read_parameter(&value, tokens, &scratch);
    ret->kind = kind_of(tokens, count);
    bool has_parts = ret->kind == MIME_TYPE_MULTIPART || ret->kind == MIME_TYPE_DIGEST;
    while (has_parts && *value) {
        count = read_parameter(&value, tokens, &scratch);
        if (count < TOKENS || !is_word(&tokens[0], "boundary") || !is_sign(&tokens[1], '='))
            continue;
        if (!ret->boundaries)
            ret->boundaries = g_ptr_array_new_with_free_func(g_free);
        if (ret->boundaries->len < max)
            g_ptr_array_add(ret->boundaries, g_strdup(tokens[2].text->str));
    }
    for (size_t i = 0; i < TOKENS; i++)
        g_string_free(tokens[i].text, TRUE);
    g_string_free(scratch.text, TRUE);
}

void mime_content_type_clear(MimeContentType *type)
{
    g_clear_pointer(&type->boundaries, g_ptr_array_unref);
}
