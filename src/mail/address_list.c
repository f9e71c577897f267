/* address_list.c - finds addresses between names, comments and separators. An element of the list is one address,
 * either all of it, or what stands in its brackets; address.c reads it. */
#include "mail/address_list.h"
#include "mail/address.h"

#include <string.h>

#define NONE ((size_t)-1)

typedef struct {
    const char *text;
    size_t len;
    size_t start, end;  /* of the present element's words; NONE, 0 */
    size_t open, close; /* what stands in its brackets; NONE */
    bool split;         /* see address_list_split() */
    GArray *spans;
} Finder;

static void span_clear(void *span)
{
    g_free(((AddressSpan *)span)->address);
}

/* Index behind the comment that begins at i; the text's end where it does not end. Likewise skip_quoted() for what ends
 * at `close`. */
static size_t skip_comment(const Finder *finder, size_t i)
{
    unsigned depth = 0;

    for (; i < finder->len; i++) {
        if (finder->text[i] == '\\')
            i++;
        else if (finder->text[i] == '(')
            depth++;
        else if (finder->text[i] == ')' && --depth == 0)
            return i + 1;
    }
    return finder->len;
}

static size_t skip_quoted(const Finder *finder, size_t i, char close)
{
    for (i++; i < finder->len; i++) {
        if (finder->text[i] == '\\')
            i++;
        else if (finder->text[i] == close)
            return i + 1;
    }
    return finder->len;
}

static void reset_element(Finder *finder)
{
    finder->start = finder->open = finder->close = NONE;
    finder->end = 0;
}

static void add_span(Finder *finder, size_t at, size_t len, char *address)
{
    AddressSpan span = {at, len, address};

    if (address[0])
        g_array_append_val(finder->spans, span);
    else
        g_free(address);
}

static void add_words(Finder *finder, size_t at, size_t end)
{
    for (size_t i = at; i < end; i++) {
        size_t len = 0;
        while (i + len < end && !strchr(" \t\n", finder->text[i + len]))
            len++;
        char *address = len > 0 ? address_parse_path(finder->text + i, len, false) : NULL;
        if (address)
            add_span(finder, i, len, address);
        i += len;
    }
}

static void end_element(Finder *finder)
{
    bool bracketed = finder->open != NONE;
    size_t at = bracketed ? finder->open : finder->start;
    size_t end = bracketed ? finder->close : finder->end;

    if (at != NONE && end != NONE && end > at) {
        char *address = address_parse_path(finder->text + at, end - at, false);
        if (address)
            add_span(finder, at, end - at, address);
        else if (finder->split && !bracketed)
            add_words(finder, at, end);
    }
    reset_element(finder);
}

/* Takes what begins at i; returns the index behind it. */
static size_t take(Finder *finder, size_t i)
{
    bool in_brackets = finder->open != NONE && finder->close == NONE;
    size_t next = i + 1;

    switch (finder->text[i]) {
    case ' ':
    case '\t':
    case '\n':
        return next;
    case '(':
        return skip_comment(finder, i);
    case '<':
        finder->open = next;
        finder->close = NONE;
        return next;
    case '>':
        if (in_brackets)
            finder->close = i;
        return next;
    case ',':
    case ';':
        if (!in_brackets)
            end_element(finder);
        return next;
    case ':': /* what stood before it is a group's name */
        if (!in_brackets)
            reset_element(finder);
        return next;
    case '"':
        next = skip_quoted(finder, i, '"');
        break;
    case '[':
        next = skip_quoted(finder, i, ']');
        break;
    case '\\':
        next = MIN(i + 2, finder->len);
        break;
    default:
        break;
    }
    if (finder->start == NONE)
        finder->start = i;
    finder->end = next;
    return next;
}

static GArray *find(const char *text, size_t len, guint max, bool split)
{
    Finder finder = {.text = text, .len = len, .split = split, .spans = g_array_new(FALSE, FALSE, sizeof(AddressSpan))};

    g_array_set_clear_func(finder.spans, span_clear);
    reset_element(&finder);
    for (size_t i = 0; i < len && finder.spans->len < max;)
        i = take(&finder, i);
    if (finder.spans->len < max)
        end_element(&finder);
    return finder.spans;
}

GArray *address_list_find(const char *text, size_t len, guint max)
{
    return find(text, len, max, false);
}

GPtrArray *address_list_split(const char *text, guint max)
{
    g_autoptr(GArray) spans = find(text, strlen(text), max, true);
    GPtrArray *addresses = g_ptr_array_new_with_free_func(g_free);

    for (guint i = 0; i < spans->len; i++)
        g_ptr_array_add(addresses, g_steal_pointer(&g_array_index(spans, AddressSpan, i).address));
    return addresses;
}

bool address_list_map(const char *text, size_t len, guint max, AddressMap map, void *user, GString *out)
{
    g_autoptr(GArray) spans = address_list_find(text, len, max);
    bool changed = false;
    size_t done = 0;

    for (guint i = 0; i < spans->len; i++) {
        const AddressSpan *span = &g_array_index(spans, AddressSpan, i);
        g_autofree char *mapped = map(user, span->address);
        if (!mapped || strcmp(mapped, span->address) == 0)
            continue;
        g_autofree char *quoted = address_quote(mapped);
        g_string_append_len(out, text + done, (gssize)(span->at - done));
        g_string_append(out, quoted);
        done = span->at + span->len;
        changed = true;
    }
    g_string_append_len(out, text + done, (gssize)(len - done));
    return changed;
}
