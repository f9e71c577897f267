/* xforward.c - XFORWARD and XCLIENT attributes. Values come from filters and proxies that are trusted with the client's
 * identity, but made of what the client sent: they are checked and cleaned like a client's own. */
#include "smtp/xforward.h"
#include "base/log.h"
#include "mail/xtext.h"

#include <arpa/inet.h>
#include <string.h>

#define VALUE_MAX 255 /* octets of an encoded value */
#define PROTO_MAX 64
#define PAYLOAD_MAX 498 /* octets of " NAME=value..." behind the verb: 512 less verb and line end, as Postfix counts   \
                         */
#define LABEL_MAX 63
#define UNAVAILABLE "[UNAVAILABLE]"

static const char *const names[XF_COUNT] = {
    [XF_NAME] = "NAME",   [XF_ADDR] = "ADDR",         [XF_PORT] = "PORT",         [XF_HELO] = "HELO",
    [XF_IDENT] = "IDENT", [XF_PROTO] = "PROTO",       [XF_SOURCE] = "SOURCE",     [XF_REVERSE_NAME] = "REVERSE_NAME",
    [XF_LOGIN] = "LOGIN", [XF_DESTADDR] = "DESTADDR", [XF_DESTPORT] = "DESTPORT",
};

/* Also the order of sending. */
static const XfAttr forwarded[] = {XF_NAME, XF_ADDR, XF_PORT, XF_HELO, XF_IDENT, XF_PROTO, XF_SOURCE};

#define XFORWARD_SET                                                                                                   \
    (1u << XF_NAME | 1u << XF_ADDR | 1u << XF_PORT | 1u << XF_HELO | 1u << XF_IDENT | 1u << XF_PROTO | 1u << XF_SOURCE)
#define XCLIENT_SET                                                                                                    \
    (1u << XF_NAME | 1u << XF_ADDR | 1u << XF_PORT | 1u << XF_HELO | 1u << XF_PROTO | 1u << XF_REVERSE_NAME |          \
     1u << XF_LOGIN | 1u << XF_DESTADDR | 1u << XF_DESTPORT)

void xf_attrs_clear(XfAttrs *attrs)
{
    for (int i = 0; i < XF_COUNT; i++)
        g_free(attrs->value[i]);
    *attrs = (XfAttrs){0};
}

static void store(XfAttrs *attrs, XfAttr attr, char *value)
{
    g_free(attrs->value[attr]);
    attrs->value[attr] = value;
    attrs->tempunavail &= ~(1u << attr);
}

void xf_attrs_set(XfAttrs *attrs, XfAttr attr, const char *value)
{
    store(attrs, attr, g_strdup(value));
    attrs->given |= 1u << attr;
}

/* XF_COUNT: none of set. */
static XfAttr find_name(const char *name, size_t len, unsigned set)
{
    for (int i = 0; i < XF_COUNT; i++)
        if ((set & 1u << i) && strlen(names[i]) == len && g_ascii_strncasecmp(name, names[i], len) == 0)
            return (XfAttr)i;
    return XF_COUNT;
}

static unsigned offer_of_words(const char *line, size_t len)
{
    const char *end = line + len;
    unsigned offered = 0;
    bool is_first = true;

    while (line < end) {
        size_t word = 0;
        while (line + word < end && line[word] != ' ' && line[word] != '\t')
            word++;
        if (word > 0 && is_first && (word != 8 || g_ascii_strncasecmp(line, "XFORWARD", 8) != 0))
            return 0;
        if (word > 0 && !is_first) {
            XfAttr attr = find_name(line, word, XFORWARD_SET);
            offered |= attr == XF_COUNT ? 0 : 1u << attr;
        }
        is_first = is_first && word == 0;
        line += word + 1;
    }
    return offered;
}

unsigned xforward_offer_parse(const char *line)
{
    return offer_of_words(line, strlen(line));
}

/* Where a reply line goes on behind its code: that is what stands before the first '-' or blank, as in smtpd(8). */
static const char *behind_code(const char *line, const char *end)
{
    while (line < end && (*line == '-' || *line == ' '))
        line++;
    while (line < end && *line != '-' && *line != ' ')
        line++;
    return line < end ? line + 1 : end;
}

unsigned xforward_offer_in(const char *reply_text)
{
    unsigned offered = 0;

    for (;;) {
        size_t len = strcspn(reply_text, "\n");
        const char *end = reply_text + len, *words = behind_code(reply_text, end);
        offered |= offer_of_words(words, (size_t)(end - words));
        if (reply_text[len] == '\0')
            return offered;
        reply_text += len + 1;
    }
}

/* " NAME=value" */
static char *encode_attribute(const XfAttrs *attrs, XfAttr attr)
{
    const char *value = attrs->value[attr];

    if (!value || value[0] == '\0')
        return g_strdup_printf(" %s=" UNAVAILABLE, names[attr]);
    g_autofree char *encoded = xtext_encode(value);
    return g_strdup_printf(" %s=%s%s", names[attr], attr == XF_ADDR && strchr(value, ':') ? "IPv6:" : "", encoded);
}

GPtrArray *xforward_commands(const XfAttrs *attrs, unsigned offered, char **ret_warning)
{
    GPtrArray *commands = g_ptr_array_new_with_free_func(g_free);
    g_autoptr(GString) payload = g_string_new(NULL);

    *ret_warning = NULL;
    for (size_t i = 0; i < G_N_ELEMENTS(forwarded); i++) {
        if (!(offered & 1u << forwarded[i]))
            continue;
        g_autofree char *attribute = encode_attribute(attrs, forwarded[i]);
        size_t len = strlen(attribute);
        if (payload->len > 0 && payload->len + len > PAYLOAD_MAX) {
            g_ptr_array_add(commands, g_strconcat("XFORWARD", payload->str, NULL));
            g_string_truncate(payload, 0);
        }
        if (len > PAYLOAD_MAX && !*ret_warning)
            *ret_warning = g_strdup_printf("XFORWARD command payload %s=%.10s... exceeds SMTP protocol limit",
                                           names[forwarded[i]], strchr(attribute, '=') + 1);
        g_string_append(payload, attribute);
    }
    if (payload->len > 0)
        g_ptr_array_add(commands, g_strconcat("XFORWARD", payload->str, NULL));
    return commands;
}

static bool is_hostname(const char *name)
{
    size_t label = 0, len = strlen(name);
    bool is_numeric = true;

    if (len == 0 || len > VALUE_MAX)
        return false;
    for (const char *at = name; *at; at++) {
        if (*at == '.') {
            if (label == 0 || at[1] == '\0')
                return false;
            label = 0;
            continue;
        }
        bool is_hyphen = *at == '-';
        if (!g_ascii_isalnum(*at) && *at != '_' && !is_hyphen)
            return false;
        if (++label > LABEL_MAX || (is_hyphen && (label == 1 || at[1] == '.' || at[1] == '\0')))
            return false;
        is_numeric = is_numeric && g_ascii_isdigit(*at);
    }
    return !is_numeric; /* an address is no name */
}

/* Canonical, or NULL. Unlike inet_pton() it takes "001.2.3.4", as Postfix does. */
static char *parse_ipv4(const char *text)
{
    unsigned part[4];

    for (int i = 0; i < 4; i++) {
        size_t digits = strspn(text, "0123456789");
        if (digits < 1 || digits > 3 || text[digits] != (i < 3 ? '.' : '\0'))
            return NULL;
        part[i] = (unsigned)g_ascii_strtoull(text, NULL, 10);
        if (part[i] > 255)
            return NULL;
        text += digits + 1;
    }
    return g_strdup_printf("%u.%u.%u.%u", part[0], part[1], part[2], part[3]);
}

static char *parse_address(const char *value, bool ipv4, bool ipv6)
{
    struct in6_addr address;
    char text[INET6_ADDRSTRLEN];

    if (g_ascii_strncasecmp(value, "IPv6:", 5) != 0)
        return ipv4 ? parse_ipv4(value) : NULL;
    if (inet_pton(AF_INET6, value + 5, &address) != 1)
        return NULL;
    bool mapped = ipv4 && IN6_IS_ADDR_V4MAPPED(&address); /* as for a connection from such an address */
    if ((!ipv6 && !mapped) ||
        !inet_ntop(mapped ? AF_INET : AF_INET6, address.s6_addr + (mapped ? 12 : 0), text, sizeof text))
        return NULL;
    return g_strdup(text);
}

static char *parse_port(const char *value)
{
    size_t len = strlen(value);

    return len >= 1 && len <= 5 && strspn(value, "0123456789") == len ? g_strdup(value) : NULL;
}

/* One of two words in any case, as it is written here. */
static char *parse_choice(const char *value, const char *one, const char *other)
{
    if (g_ascii_strcasecmp(value, one) == 0)
        return g_strdup(one);
    return g_ascii_strcasecmp(value, other) == 0 ? g_strdup(other) : NULL;
}

/* As a HELO name is cleaned: nothing in it may break a log line, a Received: header, or another command
 * (as smtpd(8) does it). */
static char *clean(const char *value)
{
    char *text = log_quote(value, strlen(value));

    return g_strdelimit(text, " <>()\\\";@", '?');
}

/* The value to store, or NULL: bad syntax. value is decoded; cleaned for XFORWARD and in addresses. */
static char *parse_value(XfAttr attr, const char *value, bool is_xclient, bool ipv4, bool ipv6)
{
    if (g_ascii_strcasecmp(value, UNAVAILABLE) == 0 && !(is_xclient && attr == XF_PROTO))
        return g_strdup("");
    switch (attr) {
    case XF_NAME:
    case XF_REVERSE_NAME:
        return is_hostname(value) ? g_strdup(value) : NULL;
    case XF_ADDR:
    case XF_DESTADDR:
        return parse_address(value, ipv4, ipv6);
    case XF_PORT:
    case XF_DESTPORT:
        return parse_port(value);
    case XF_PROTO:
        if (is_xclient)
            return parse_choice(value, "SMTP", "ESMTP");
        return strlen(value) <= PROTO_MAX ? g_strdup(value) : NULL;
    case XF_SOURCE:
        return parse_choice(value, "LOCAL", "REMOTE");
    case XF_HELO:
        return clean(value);
    case XF_LOGIN:
        return log_quote(value, strlen(value));
    case XF_IDENT:
    case XF_COUNT:
    default:
        return g_strdup(value);
    }
}

/* word: "NAME=value". NULL, or the error reply. */
static char *take_attribute(const char *word, bool is_xclient, bool ipv4, bool ipv6, XfAttrs *attrs, unsigned *given)
{
    const char *verb = is_xclient ? "XCLIENT" : "XFORWARD";
    const char *equals = strchr(word, '=');

    if (!equals || equals[1] == '\0')
        return g_strdup("501 5.5.4 Error: attribute=value expected");
    if (strlen(equals + 1) > VALUE_MAX)
        return g_strdup("501 5.5.4 Error: attribute value too long");

    XfAttr attr = find_name(word, (size_t)(equals - word), is_xclient ? XCLIENT_SET : XFORWARD_SET);
    if (attr == XF_COUNT) {
        g_autofree char *shown = log_quote(word, (size_t)(equals - word));
        return g_strdup_printf("501 5.5.4 Bad %s attribute name: %s", verb, shown);
    }
    if (is_xclient && (attr == XF_NAME || attr == XF_REVERSE_NAME) &&
        g_ascii_strcasecmp(equals + 1, "[TEMPUNAVAIL]") == 0) {
        store(attrs, attr, g_strdup(""));
        attrs->tempunavail |= 1u << attr;
        *given |= 1u << attr;
        return NULL;
    }

    g_autofree char *decoded = xtext_decode(equals + 1);
    const char *raw = decoded ? decoded : equals + 1; /* what is no xtext stands for itself */
    bool is_address = attr == XF_ADDR || attr == XF_DESTADDR;
    g_autofree char *text = is_xclient && !is_address ? log_quote(raw, strlen(raw)) : clean(raw);
    char *value = parse_value(attr, text, is_xclient, ipv4, ipv6);
    if (!value)
        return g_strdup_printf("501 5.5.4 Bad %s syntax: %s", names[attr], text);
    store(attrs, attr, value);
    *given |= 1u << attr;
    if (is_xclient && attr == XF_NAME && *value) { /* unless another one follows */
        store(attrs, XF_REVERSE_NAME, g_strdup(value));
        *given |= 1u << XF_REVERSE_NAME;
    }
    return NULL;
}

/* The next word of *at, "..." and <...> kept together; NULL: no more. */
static char *next_word(const char **at)
{
    const char *start = *at + strspn(*at, " \t"), *end;
    bool is_quoted = false, is_bracketed = false;

    for (end = start; *end; end++) {
        if (is_quoted && *end == '\\' && end[1])
            end++;
        else if (*end == '"')
            is_quoted = !is_quoted;
        else if (!is_quoted && (*end == '<' || *end == '>'))
            is_bracketed = *end == '<';
        else if ((*end == ' ' || *end == '\t') && !is_quoted && !is_bracketed)
            break;
    }
    *at = end;
    return end > start ? g_strndup(start, (gsize)(end - start)) : NULL;
}

char *xforward_command_parse(const char *line, bool is_xclient, bool ipv4, bool ipv6, XfAttrs *attrs)
{
    const char *at = line;
    unsigned given = 0, count = 0;

    g_free(next_word(&at)); /* the verb */
    for (;;) {
        g_autofree char *word = next_word(&at);
        if (!word)
            break;
        char *refusal = take_attribute(word, is_xclient, ipv4, ipv6, attrs, &given);
        if (refusal)
            return refusal;
        count++;
    }
    if (count == 0)
        return g_strdup_printf("501 5.5.4 Syntax: %s attribute=value...", is_xclient ? "XCLIENT" : "XFORWARD");
    attrs->given |= given;
    return NULL;
}
