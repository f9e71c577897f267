/* literals.c - strings that patterns need. Of each string an index holds four octets, found in a text with one hash for
 * each of its octets. */
#include "table/literals.h"

#include <string.h>

#define SLOTS 65536

/* --- reading a pattern --- */

typedef struct {
    GPtrArray *literals;
    GString *run; /* of plain characters, as far as it came */
} Reading;

static void end_run(Reading *reading)
{
    if (reading->run->len >= LITERAL_MIN && reading->literals->len < LITERALS_PER_MAX)
        g_ptr_array_add(reading->literals, g_strdup(reading->run->str));
    g_string_truncate(reading->run, 0);
}

/* The last character of the run may occur no time. */
static void end_run_before_last(Reading *reading)
{
    if (reading->run->len > 0)
        g_string_truncate(reading->run, reading->run->len - 1);
    end_run(reading);
}

/* at: '['. Returns what follows the class; NULL: not understood. */
static const char *skip_class(const char *at)
{
    at++;
    at += *at == '^';
    for (bool first = true; first || *at != ']'; first = false) {
        if (*at == '\0')
            return NULL;
        if (*at == '\\' && (at[1] == '\0' || at[1] == 'Q' || at[1] == 'E'))
            return NULL;
        if (*at == '[' && strchr(":.=", at[1]) && at[1]) {
            const char end[] = {at[1], ']', '\0'};
            const char *close = strstr(at + 2, end);
            if (!close)
                return NULL;
            at = close + 2;
            continue;
        }
        at += *at == '\\' ? 2 : 1;
    }
    return at + 1;
}

/* at: behind "(?". Whether the group is one that means no more than its content, or sets options that change nothing
 * here. */
static bool is_plain_group(const char *at)
{
    if (*at == '<')
        return at[1] == '=' || at[1] == '!';
    if (*at != '\0' && strchr(":=!>|", *at))
        return true;
    at += strspn(at, "imsU-");
    return *at == ':' || *at == ')';
}

/* at: '('. Returns what follows the group; NULL: not understood. */
static const char *skip_group(const char *at)
{
    int level = 0;

    do {
        if (*at == '\0' || (*at == '\\' && (at[1] == '\0' || at[1] == 'Q')))
            return NULL;
        if (*at == '(' && (at[1] == '*' || (at[1] == '?' && !is_plain_group(at + 2))))
            return NULL;
        if (*at == '[') {
            at = skip_class(at);
            if (!at)
                return NULL;
            continue;
        }
        level += *at == '(' ? 1 : *at == ')' ? -1 : 0;
        at += *at == '\\' ? 2 : 1;
    } while (level > 0);
    return at;
}

/* at: behind the backslash. False: not understood. */
static bool read_escape(Reading *reading, char c)
{
    if (c == '\0' || (unsigned char)c >= 0x80)
        return false;
    if (!g_ascii_isalnum(c)) {
        g_string_append_c(reading->run, c);
        return true;
    }
    end_run(reading);
    return strchr("dDsSwWbBAzZGhHvVR", c) != NULL;
}

/* at: '{'. What is no quantifier stands for itself, and is passed over too. */
static const char *skip_braces(Reading *reading, const char *at)
{
    size_t len = strspn(at + 1, "0123456789, ");

    end_run_before_last(reading);
    return at[1 + len] == '}' ? at + len + 2 : at + 1;
}

/* Reads what stands at at. Returns what follows it; NULL: not understood. */
static const char *read_item(Reading *reading, const char *at)
{
    switch (*at) {
    case '\\':
        return read_escape(reading, at[1]) ? at + 2 : NULL;
    case '(':
        end_run(reading);
        return skip_group(at);
    case '[':
        end_run(reading);
        return skip_class(at);
    case '{':
        return skip_braces(reading, at);
    case '|':
    case ')':
        return NULL;
    case '*':
    case '?':
        end_run_before_last(reading);
        return at + 1;
    case '+':
    case '.':
    case '^':
    case '$':
        end_run(reading);
        return at + 1;
    default:
        if ((unsigned char)*at >= 0x80)
            return NULL;
        g_string_append_c(reading->run, g_ascii_tolower(*at));
        return at + 1;
    }
}

GPtrArray *literals_of(const char *pattern)
{
    Reading reading = {.literals = g_ptr_array_new_with_free_func(g_free), .run = g_string_new(NULL)};

    while (pattern && *pattern)
        pattern = read_item(&reading, pattern);
    end_run(&reading);
    if (!pattern)
        g_ptr_array_set_size(reading.literals, 0);
    g_string_free(reading.run, TRUE);
    return reading.literals;
}

/* --- the index --- */

typedef struct {
    guint32 octets; /* four of a literal */
    guint pattern;
    guint8 bit; /* which of its literals */
} Entry;

struct LiteralIndex {
    GArray *entries;          /* of Entry, by slot */
    GByteArray *needed;       /* for each pattern a bit for each of its literals */
    guint32 first[SLOTS + 1]; /* entry of each slot */
    guint64 used[SLOTS / 64]; /* a bit for each slot that has entries */
};

static guint slot_of(guint32 octets)
{
    return (octets * 2654435761u) >> 16;
}

static guint32 add_octet(guint32 octets, char c)
{
    unsigned char lower = (unsigned char)c;

    if (lower >= 'A' && lower <= 'Z')
        lower |= 0x20;
    return octets << 8 | lower;
}

LiteralIndex *literal_index_new(void)
{
    LiteralIndex *index = g_new0(LiteralIndex, 1);

    index->entries = g_array_new(FALSE, FALSE, sizeof(Entry));
    index->needed = g_byte_array_new();
    return index;
}

void literal_index_free(LiteralIndex *index)
{
    if (!index)
        return;
    g_array_unref(index->entries);
    g_byte_array_unref(index->needed);
    g_free(index);
}

/* The four octets that look least like those of any text. */
static guint32 rarest(const char *literal)
{
    static const char common[] = " aehinorst-:=/.";
    guint32 octets = 0, best = 0;
    int best_score = -1;

    for (size_t i = 0; literal[i]; i++) {
        int score = 0;
        octets = add_octet(octets, literal[i]);
        if (i + 1 < LITERAL_MIN)
            continue;
        for (size_t back = 0; back < LITERAL_MIN; back++)
            score += strchr(common, literal[i - back]) == NULL;
        if (score > best_score) {
            best_score = score;
            best = octets;
        }
    }
    return best;
}

void literal_index_add(LiteralIndex *index, const GPtrArray *literals)
{
    guint8 needed = 0;

    for (guint i = 0; i < literals->len; i++) {
        Entry entry = {.octets = rarest(literals->pdata[i]), .pattern = index->needed->len, .bit = (guint8)(1u << i)};
        g_array_append_val(index->entries, entry);
        needed |= entry.bit;
    }
    g_byte_array_append(index->needed, &needed, 1);
}

static gint compare_entries(gconstpointer a, gconstpointer b)
{
    guint left = slot_of(((const Entry *)a)->octets), right = slot_of(((const Entry *)b)->octets);

    return left < right ? -1 : left > right;
}

void literal_index_finish(LiteralIndex *index)
{
    guint entry = 0;

    g_array_sort(index->entries, compare_entries);
    for (guint slot = 0; slot < SLOTS; slot++) {
        index->first[slot] = entry;
        for (; entry < index->entries->len && slot_of(g_array_index(index->entries, Entry, entry).octets) == slot;
             entry++)
            index->used[slot / 64] |= G_GUINT64_CONSTANT(1) << (slot % 64);
    }
    index->first[SLOTS] = entry;
}

bool literal_index_is_useful(const LiteralIndex *index)
{
    return index->entries->len > 0;
}

static void found(const LiteralIndex *index, guint slot, guint32 octets, guint8 *seen)
{
    for (guint32 i = index->first[slot]; i < index->first[slot + 1]; i++) {
        const Entry *entry = &g_array_index(index->entries, Entry, i);
        if (entry->octets == octets)
            seen[entry->pattern] |= entry->bit;
    }
}

bool *literal_index_look(const LiteralIndex *index, const char *text, size_t len)
{
    guint count = index->needed->len;
    g_autofree guint8 *seen = g_malloc0(MAX(count, 1));
    bool *may_match = g_new(bool, MAX(count, 1));
    guint32 octets = 0;

    for (size_t i = 0; i < len; i++) {
        octets = add_octet(octets, text[i]);
        guint slot = slot_of(octets);
        if (i + 1 >= LITERAL_MIN && (index->used[slot / 64] >> (slot % 64) & 1) != 0)
            found(index, slot, octets, seen);
    }
    for (guint i = 0; i < count; i++)
        may_match[i] = seen[i] == index->needed->data[i];
    return may_match;
}
