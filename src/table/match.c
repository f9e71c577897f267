/* match.c - match lists. */
#include "table/match.h"
#include "base/log.h"
#include "config/config.h"
#include "config/lines.h"
#include "table/backend.h"
#include "table/network.h"

#include <string.h>

/* Files may name files; one that names itself must end. */
#define FILE_DEPTH_MAX 10

typedef struct {
    enum { ELEMENT_TEXT, ELEMENT_TABLE, ELEMENT_BROKEN } kind;
    bool negated;
    bool has_network;
    char *text;        /* as written, without '!'; BROKEN: why */
    char *network_why; /* it looks like a network and is none: found when evaluated */
    Network network;
    Table *table;
} Element;

/* What the files said once, if there are any in the list. */
typedef struct {
    State state;
    const char *name; /* of the list, while it is read */
    GArray *elements;
    bool blocks;
} Content;

struct MatchList {
    char *name, *patterns;
    unsigned flags;
    bool blocks;
    Reload *reload; /* of Content */
};

static void clear_element(void *data)
{
    Element *element = data;

    g_free(element->text);
    g_free(element->network_why);
    table_free(element->table);
}

static bool add_patterns(Content *content, const char *patterns, bool negated, int depth, GError **error);

static void add_broken(Content *content, char *why)
{
    Element element = {.kind = ELEMENT_BROKEN, .text = why};

    g_array_append_val(content->elements, element);
}

static bool add_file(Content *content, const char *path, bool negated, int depth, GError **error)
{
    g_autoptr(GError) why = NULL;
    if (depth < FILE_DEPTH_MAX)
        state_watch(&content->state, path);
    g_autoptr(Lines) lines = depth < FILE_DEPTH_MAX ? lines_open_source(path, &why) : NULL;

    while (lines) {
        const char *line = lines_next(lines, NULL, &why);
        if (!line)
            break;
        if (!add_patterns(content, line, negated, depth + 1, error))
            return false;
    }
    if (why)
        add_broken(content, g_strdup(why->message));
    else if (!lines)
        add_broken(content, g_strdup_printf("%s: files are nested too deeply", path));
    return true;
}

/* Only what has a '/' or brackets can be a bad network, for addresses of its family; anything else is a name. */
static void add_text(Content *content, const char *text, bool negated)
{
    Element element = {.kind = ELEMENT_TEXT, .negated = negated, .text = g_strdup(text)};
    g_autofree char *why = network_parse(text, &element.network);

    element.has_network = !why;
    if (strchr(text, '/') || *text == '[')
        element.network_why = g_steal_pointer(&why);
    g_array_append_val(content->elements, element);
}

static bool add_pattern(Content *content, const char *text, bool negated, int depth, GError **error)
{
    for (; *text == '!'; text++)
        negated = !negated;
    if (*text == '/')
        return add_file(content, text, negated, depth, error);
    if (*text == '[' || !strchr(text, ':')) {
        add_text(content, text, negated);
        return true;
    }
    Element element = {.kind = ELEMENT_TABLE, .negated = negated, .table = table_open(text, error)};
    if (!element.table)
        return false;
    content->blocks |= table_blocks(element.table);
    g_array_append_val(content->elements, element);
    return true;
}

static bool add_patterns(Content *content, const char *patterns, bool negated, int depth, GError **error)
{
    g_autoptr(GPtrArray) elements = config_split(patterns);

    for (guint i = 0; i < elements->len; i++) {
        const char *element = g_ptr_array_index(elements, i);
        if (*element == '#') { /* or the words of the comment were elements, which say who is trusted */
            log_warning("%s: comment at end of line is not supported: %s", content->name, strchr(patterns, '#'));
            return true;
        }
        if (!add_pattern(content, element, negated, depth, error))
            return false;
    }
    return true;
}

static void free_content(State *state)
{
    Content *content = (Content *)state;

    g_array_unref(content->elements);
    state_clear(state);
    g_free(content);
}

/* NULL: error. */
static Content *read_content(const char *name, const char *patterns, GError **error)
{
    Content *content = g_new0(Content, 1);

    content->state.refs = 1;
    content->name = name;
    content->elements = g_array_new(FALSE, TRUE, sizeof(Element));
    g_array_set_clear_func(content->elements, clear_element);
    if (add_patterns(content, patterns, false, 0, error))
        return content;
    free_content(&content->state);
    return NULL;
}

static const char *find_broken(const Content *content)
{
    for (guint i = 0; i < content->elements->len; i++) {
        const Element *element = &g_array_index(content->elements, Element, i);
        if (element->kind == ELEMENT_BROKEN)
            return element->text;
        if (element->network_why)
            return element->network_why;
    }
    return NULL;
}

static State *renew_content(const State *old, void *context)
{
    const MatchList *list = context;
    g_autoptr(GError) error = NULL;
    Content *fresh = read_content(list->name, list->patterns, &error);
    const char *why = !fresh                           ? error->message
                      : fresh->blocks && !list->blocks ? "a table in it waits for another system, which needs a reload"
                                                       : find_broken(fresh);

    if (!why || (fresh && find_broken((const Content *)old) && fresh->blocks <= list->blocks)) {
        log_info("%s: a file has changed -- reading it anew", list->name);
        return &fresh->state;
    }
    if (!find_broken((const Content *)old))
        log_warning("%s: a file has changed and cannot be read: going on with what it was: %s", list->name, why);
    if (fresh)
        free_content(&fresh->state);
    return NULL;
}

static const ReloadKind contents = {renew_content, free_content};

MatchList *match_list_new(const char *name, const char *patterns, unsigned flags, GError **error)
{
    Content *content = read_content(name, patterns, error);

    if (!content)
        return NULL;
    MatchList *list = g_new0(MatchList, 1);
    list->name = g_strdup(name);
    list->patterns = g_strdup(patterns);
    list->flags = flags;
    list->blocks = content->blocks;
    list->reload = reload_new(&contents, list, &content->state);
    return list;
}

void match_list_free(MatchList *list)
{
    if (!list)
        return;
    reload_free(list->reload);
    g_free(list->name);
    g_free(list->patterns);
    g_free(list);
}

bool match_list_blocks(const MatchList *list)
{
    return list->blocks;
}

static MatchResult from_table(const MatchList *list, const Table *table, const char *key)
{
    g_autofree char *value = NULL;

    switch (table_lookup(table, key, &value)) {
    case TABLE_FOUND:
        return MATCH_YES;
    case TABLE_ABSENT:
        return MATCH_NO;
    default:
        log_warning("%s: %s: table lookup problem", list->name, table_spec(table));
        return MATCH_FAILED;
    }
}

/* The name, then its parents: ".example.com", or "example.com" where parents match. */
static MatchResult match_name_in_table(const MatchList *list, const Table *table, const char *name)
{
    MatchResult result = from_table(list, table, name);

    if (table_takes_whole_keys(table))
        return result;
    for (const char *dot = strchr(name, '.'); result == MATCH_NO && dot; dot = strchr(dot + 1, '.')) {
        const char *parent = list->flags & MATCH_PARENT ? dot + 1 : dot;
        if (*parent)
            result = from_table(list, table, parent);
    }
    return result;
}

static bool text_matches_name(const MatchList *list, const char *text, const char *name)
{
    size_t text_len = strlen(text);
    size_t name_len = strlen(name);

    if (g_ascii_strcasecmp(text, name) == 0)
        return true;
    if (text_len == 0 || text_len >= name_len || g_ascii_strcasecmp(name + name_len - text_len, text) != 0)
        return false;
    if (list->flags & MATCH_PARENT)
        return *text != '.' && name[name_len - text_len - 1] == '.';
    return *text == '.';
}

static MatchResult element_matches_name(const MatchList *list, const Element *element, const char *name)
{
    if (element->kind == ELEMENT_TABLE)
        return match_name_in_table(list, element->table, name);
    return text_matches_name(list, element->text, name) ? MATCH_YES : MATCH_NO;
}

static MatchResult element_matches_address(const MatchList *list, const Element *element, const char *addr,
                                           const Network *address)
{
    if (element->kind == ELEMENT_TABLE)
        return from_table(list, element->table, addr);
    if (element->network_why && (strchr(element->text, ':') != NULL) == (strchr(addr, ':') != NULL)) {
        log_warning("%s: %s", list->name, element->network_why);
        return MATCH_FAILED;
    }
    return address && element->has_network && network_contains(&element->network, address) ? MATCH_YES : MATCH_NO;
}

/* Which of the ways to match a list has. */
typedef struct {
    const char *name;       /* with its parents; NULL: not looked at */
    const char *addr;       /* NULL: not looked at */
    const char *text;       /* whole; NULL: not looked at */
    const Network *address; /* addr, if it is one */
} Subject;

static MatchResult match_element(const MatchList *list, const Element *element, const Subject *subject)
{
    MatchResult result = MATCH_NO;

    if (element->kind == ELEMENT_BROKEN) {
        log_warning("%s: %s", list->name, element->text);
        return MATCH_FAILED;
    }
    if (subject->name)
        result = element_matches_name(list, element, subject->name);
    if (subject->addr && result == MATCH_NO)
        result = element_matches_address(list, element, subject->addr, subject->address);
    if (!subject->text)
        return result;
    if (element->kind == ELEMENT_TABLE)
        return from_table(list, element->table, subject->text);
    return g_ascii_strcasecmp(element->text, subject->text) == 0 ? MATCH_YES : MATCH_NO;
}

static MatchResult match_content(const MatchList *list, const Content *content, const Subject *subject)
{
    for (guint i = 0; i < content->elements->len; i++) {
        const Element *element = &g_array_index(content->elements, Element, i);
        MatchResult result = match_element(list, element, subject);
        if (result == MATCH_YES)
            return element->negated ? MATCH_NO : MATCH_YES;
        if (result == MATCH_FAILED)
            return MATCH_FAILED;
    }
    return MATCH_NO;
}

static MatchResult match(const MatchList *list, const Subject *subject)
{
    State *state = reload_take(list->reload);
    MatchResult result = match_content(list, (const Content *)state, subject);

    reload_give(list->reload, state);
    return result;
}

MatchResult match_host(const MatchList *list, const char *name, const char *addr)
{
    Network address;
    Subject subject = {.name = name, .addr = addr};

    if (!*addr)
        return MATCH_NO;
    if (network_parse_address(addr, &address))
        subject.address = &address;
    return match(list, &subject);
}

MatchResult match_domain(const MatchList *list, const char *domain)
{
    return match(list, &(Subject){.name = domain});
}

MatchResult match_string(const MatchList *list, const char *text)
{
    return match(list, &(Subject){.text = text});
}
