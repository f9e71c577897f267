/* address_list.c - cuts a list into parts: addresses, the names and comments beside them, and what separates elements.
 * An element's address is either all of its words, or what stands in its brackets; address.c reads it. */
#include "mail/address_list.h"
#include "mail/address.h"

#include <string.h>

#define LINE_MAX_OCTETS 70 /* a line of a list that is written anew gets no longer where a comma allows it */

typedef enum {
    PART_NAME,    /* a word of a display name, or one that is no address */
    PART_COMMENT, /* with its parentheses */
    PART_ADDRESS,
    PART_BRACKETS, /* an address in brackets; the text is what stands between them */
    PART_COMMA,
    PART_GROUP, /* the colon behind a group's name */
    PART_GROUP_END,
    PART_REST, /* what was not looked at */
} PartKind;

typedef struct {
    PartKind kind;
    size_t at, len;
    char *address; /* internal form; NULL where it is none */
} Part;

typedef struct {
    const char *text;
    size_t len;
    GArray *words; /* of the present element: Part, PART_NAME, PART_COMMENT, PART_BRACKETS in their order */
    GArray *parts;
} Finder;

static void part_clear(void *part)
{
    g_free(((Part *)part)->address);
}

/* ---- words ---- */

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

/* Index of the bracket that closes the one at i; the text's end where none does. */
static size_t find_bracket(const Finder *finder, size_t i)
{
    while (++i < finder->len && finder->text[i] != '>') {
        if (finder->text[i] == '"')
            i = skip_quoted(finder, i, '"') - 1;
        else if (finder->text[i] == '(')
            i = skip_comment(finder, i) - 1;
        else if (finder->text[i] == '\\')
            i++;
    }
    return MIN(i, finder->len);
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n';
}

static size_t skip_word(const Finder *finder, size_t i)
{
    bool route = finder->text[i] == '@'; /* a source route has a colon */

    while (i < finder->len) {
        char c = finder->text[i];
        if (is_blank(c) || strchr("(<,;", c) || (c == ':' && !route))
            return c ? i : i + 1;
        if (c == '"')
            i = skip_quoted(finder, i, '"');
        else if (c == '[')
            i = skip_quoted(finder, i, ']');
        else
            i += c == '\\' ? 2 : 1;
    }
    return finder->len;
}

static void add(GArray *parts, PartKind kind, size_t at, size_t end, char *address)
{
    Part part = {kind, at, end - at, address};

    g_array_append_val(parts, part);
}

/* ---- elements ---- */

/* One address of all the words, NULL where they are none. *ret_at, *ret_end: from the first to the last. */
static char *join_words(const Finder *finder, size_t *ret_at, size_t *ret_end)
{
    bool any = false;

    for (guint i = 0; i < finder->words->len; i++) {
        const Part *word = &g_array_index(finder->words, Part, i);
        if (word->kind != PART_NAME)
            continue;
        if (!any)
            *ret_at = word->at;
        *ret_end = word->at + word->len;
        any = true;
    }
    return any ? address_parse_path(finder->text + *ret_at, *ret_end - *ret_at, false) : NULL;
}

static void add_word(Finder *finder, const Part *word)
{
    char *address = address_parse_path(finder->text + word->at, word->len, false);

    if (address && !address[0])
        g_clear_pointer(&address, g_free);
    add(finder->parts, address ? PART_ADDRESS : PART_NAME, word->at, word->at + word->len, address);
}

static void end_bare_element(Finder *finder)
{
    size_t at = 0, end = 0;
    g_autofree char *address = join_words(finder, &at, &end);
    bool whole = address && address[0];

    if (whole)
        add(finder->parts, PART_ADDRESS, at, end, g_steal_pointer(&address));
    for (guint i = 0; !whole && i < finder->words->len; i++)
        if (g_array_index(finder->words, Part, i).kind == PART_NAME)
            add_word(finder, &g_array_index(finder->words, Part, i));
    for (guint i = 0; i < finder->words->len; i++)
        if (g_array_index(finder->words, Part, i).kind == PART_COMMENT)
            g_array_append_val(finder->parts, g_array_index(finder->words, Part, i));
}

/* Words before the last brackets are names, those behind are addresses of their own. */
static void end_bracketed_element(Finder *finder, guint last)
{
    for (guint i = 0; i < finder->words->len; i++) {
        Part part = g_array_index(finder->words, Part, i);
        if (part.kind == PART_BRACKETS)
            part.address = address_parse_path(finder->text + part.at, part.len, false);
        if (part.address && !part.address[0])
            g_clear_pointer(&part.address, g_free);
        if (part.kind == PART_NAME && i > last)
            add_word(finder, &part);
        else
            g_array_append_val(finder->parts, part);
    }
}

static void end_element(Finder *finder, bool is_group_name)
{
    guint last = G_MAXUINT; /* brackets */

    for (guint i = 0; i < finder->words->len; i++)
        if (g_array_index(finder->words, Part, i).kind == PART_BRACKETS)
            last = i;
    if (is_group_name)
        g_array_append_vals(finder->parts, finder->words->data, finder->words->len);
    else if (last == G_MAXUINT)
        end_bare_element(finder);
    else
        end_bracketed_element(finder, last);
    g_array_set_size(finder->words, 0);
}

/* Takes what begins at i; returns the index behind it. */
static size_t take(Finder *finder, size_t i)
{
    size_t end;

    switch (finder->text[i]) {
    case ' ':
    case '\t':
    case '\n':
        return i + 1;
    case '(':
        end = skip_comment(finder, i);
        add(finder->words, PART_COMMENT, i, end, NULL);
        return end;
    case '<':
        end = find_bracket(finder, i);
        if (end < finder->len) {
            add(finder->words, PART_BRACKETS, i + 1, end, NULL);
            return end + 1;
        }
        end_element(finder, false);
        add(finder->parts, PART_REST, i, end, NULL);
        return end;
    case ',':
        end_element(finder, false);
        add(finder->parts, PART_COMMA, i, i + 1, NULL);
        return i + 1;
    case ';':
        end_element(finder, false);
        add(finder->parts, PART_GROUP_END, i, i + 1, NULL);
        return i + 1;
    case ':': /* what stands before it is a group's name */
        end_element(finder, true);
        add(finder->parts, PART_GROUP, i, i + 1, NULL);
        return i + 1;
    default:
        end = skip_word(finder, i);
        add(finder->words, PART_NAME, i, end, NULL);
        return end;
    }
}

static GArray *find(const char *text, size_t len, guint max)
{
    Finder finder = {.text = text,
                     .len = len,
                     .words = g_array_new(FALSE, FALSE, sizeof(Part)),
                     .parts = g_array_new(FALSE, FALSE, sizeof(Part))};
    size_t i = 0;

    g_array_set_clear_func(finder.parts, part_clear);
    while (i < len && finder.parts->len + finder.words->len < max)
        i = take(&finder, i);
    if (i < len) {
        if (finder.words->len > 0) { /* their element would be cut */
            const Part *open = &g_array_index(finder.words, Part, 0);
            i = open->at - (open->kind == PART_BRACKETS);
        }
        while (i < len && is_blank(text[i]))
            i++;
        add(finder.parts, PART_REST, i, len, NULL);
    } else {
        end_element(&finder, false);
    }
    g_array_unref(finder.words);
    return finder.parts;
}

GPtrArray *address_list_split(const char *text, guint max)
{
    g_autoptr(GArray) parts = find(text, strlen(text), G_MAXUINT);
    GPtrArray *addresses = g_ptr_array_new_with_free_func(g_free);

    for (guint i = 0; i < parts->len && addresses->len < max; i++)
        if (g_array_index(parts, Part, i).address)
            g_ptr_array_add(addresses, g_steal_pointer(&g_array_index(parts, Part, i).address));
    return addresses;
}

/* ---- writing a list anew ---- */

/* Where the list may be folded there is '\n', until fold(). */
static const char *separator(PartKind before, PartKind next)
{
    bool ends = next == PART_COMMA || next == PART_GROUP || next == PART_GROUP_END;

    switch (before) {
    case PART_COMMA:
        return "\n";
    case PART_GROUP:
        return " ";
    case PART_GROUP_END:
        return next == PART_COMMA ? "" : ",\n";
    default:
        return ends ? "" : next == PART_ADDRESS ? ",\n" : " ";
    }
}

/* Octets of the text, without its folding. */
static void append_unfolded(GString *out, const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (text[i] != '\n')
            g_string_append_c(out, text[i]);
}

static void append_part(GString *out, const char *text, const Part *part)
{
    g_autofree char *quoted = part->address ? address_quote(part->address) : NULL;

    if (part->kind == PART_BRACKETS)
        g_string_append_c(out, '<');
    if (quoted)
        g_string_append(out, quoted);
    else
        append_unfolded(out, text + part->at, part->len);
    if (part->kind == PART_BRACKETS)
        g_string_append_c(out, '>');
}

/* out has one line so far, and gets the others. */
static void append_folded(GString *out, const GString *list)
{
    size_t start = 0; /* of the line that is being written, in out */

    for (size_t i = 0, len; i < list->len; i += len + 1) {
        const char *end = memchr(list->str + i, '\n', list->len - i);
        len = end ? (size_t)(end - list->str) - i : list->len - i;
        if (i > 0 && out->len - start + 1 + len < LINE_MAX_OCTETS) {
            g_string_append_c(out, ' ');
        } else if (i > 0) {
            g_string_append(out, "\n\t");
            start = out->len;
        }
        g_string_append_len(out, list->str + i, (gssize)len);
    }
}

static void append_list(GString *out, const char *text, const GArray *parts)
{
    g_autoptr(GString) list = g_string_new(" ");

    for (guint i = 0; i < parts->len; i++) {
        const Part *part = &g_array_index(parts, Part, i);
        if (i > 0)
            g_string_append(list, separator(g_array_index(parts, Part, i - 1).kind, part->kind));
        append_part(list, text, part);
    }
    append_folded(out, list);
}

static bool map_part(const char *text, Part *part, AddressMap map, void *user)
{
    bool has_route = part->address && text[part->at] == '@' && part->address[0] != '@';
    g_autofree char *mapped = part->address ? map(user, part->address) : NULL;

    if (!mapped || strcmp(mapped, part->address) == 0)
        return has_route;
    g_free(part->address);
    part->address = g_steal_pointer(&mapped);
    return true;
}

bool address_list_map(const char *text, size_t len, guint max, AddressMap map, void *user, GString *out)
{
    g_autoptr(GArray) parts = find(text, len, max);
    bool changed = false;

    for (guint i = 0; i < parts->len; i++)
        changed |= map_part(text, &g_array_index(parts, Part, i), map, user);
    if (changed)
        append_list(out, text, parts);
    else
        g_string_append_len(out, text, (gssize)len);
    return changed;
}
