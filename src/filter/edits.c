/* edits.c - changes to a message's content, made in one pass. */
#include "filter/edits.h"
#include "mail/header.h"

#include <string.h>

typedef struct {
    guint64 line, drop;
    guint order; /* of the calls */
    char *text;
} Splice;

typedef struct {
    guint64 line, column, drop;
    char *text;
} OctetSplice;

struct Edits {
    GArray *splices; /* of Splice */
    GArray *octets;  /* of OctetSplice, in the order of the content */
    Content *body;
};

static void splice_clear(gpointer data)
{
    g_free(((Splice *)data)->text);
}

static void octet_splice_clear(gpointer data)
{
    g_free(((OctetSplice *)data)->text);
}

Edits *edits_new(void)
{
    Edits *edits = g_new0(Edits, 1);

    edits->splices = g_array_new(FALSE, FALSE, sizeof(Splice));
    g_array_set_clear_func(edits->splices, splice_clear);
    edits->octets = g_array_new(FALSE, FALSE, sizeof(OctetSplice));
    g_array_set_clear_func(edits->octets, octet_splice_clear);
    return edits;
}

void edits_free(Edits *edits)
{
    if (!edits)
        return;
    g_array_unref(edits->splices);
    g_array_unref(edits->octets);
    content_free(edits->body);
    g_free(edits);
}

bool edits_are_empty(const Edits *edits)
{
    return edits->splices->len == 0 && edits->octets->len == 0 && !edits->body;
}

void edits_splice(Edits *edits, guint64 line, guint64 drop, const char *text)
{
    Splice splice = {.line = line, .drop = drop, .order = edits->splices->len, .text = g_strdup(text)};

    g_array_append_val(edits->splices, splice);
}

void edits_splice_octets(Edits *edits, guint64 line, guint64 column, guint64 drop, const char *text)
{
    OctetSplice splice = {.line = line, .column = column, .drop = drop, .text = g_strdup(text)};

    g_array_append_val(edits->octets, splice);
}

void edits_replace_body(Edits *edits, Content *body)
{
    content_free(edits->body);
    edits->body = body;
}

/* --- making them --- */

typedef struct {
    const Splice *splices;
    guint count, next;
    const GArray *octets; /* of OctetSplice */
    guint next_octets;
    guint64 column;      /* of the next piece in its line */
    guint64 drop_before; /* octets of the line in front of this column are dropped */
    Content *to;
    guint64 line;       /* that the next piece belongs to */
    guint64 drop_until; /* lines before it are dropped */
    bool in_line;
    guint64 body_line; /* the first line that a new body replaces; G_MAXUINT64: none */
} Pass;

static gint compare_splices(gconstpointer a, gconstpointer b)
{
    const Splice *left = a, *right = b;

    if (left->line != right->line)
        return left->line < right->line ? -1 : 1;
    return left->order < right->order ? -1 : left->order > right->order;
}

static void insert(Pass *pass, const char *text)
{
    while (text) {
        const char *end = strchrnul(text, '\n');
        content_add(pass->to, text, (size_t)(end - text), true);
        text = *end ? end + 1 : NULL;
    }
}

static void reach_line(Pass *pass)
{
    for (; pass->next < pass->count && pass->splices[pass->next].line <= pass->line; pass->next++) {
        const Splice *splice = &pass->splices[pass->next];
        insert(pass, splice->text);
        pass->drop_until = MAX(pass->drop_until, splice->line + splice->drop);
    }
}

static void copy_octets(Pass *pass, const char *data, size_t len, bool ends_line)
{
    size_t dropped = MIN(len, pass->drop_before - MIN(pass->column, pass->drop_before));

    content_add(pass->to, data + dropped, len - dropped, ends_line);
    pass->column += len;
}

static void copy_piece(Pass *pass, const char *data, size_t len, bool ends_line)
{
    for (; pass->next_octets < pass->octets->len; pass->next_octets++) {
        const OctetSplice *splice = &g_array_index(pass->octets, OctetSplice, pass->next_octets);
        if (splice->line != pass->line || splice->column >= pass->column + len + ends_line)
            break;
        size_t before = (size_t)(splice->column - pass->column);
        copy_octets(pass, data, before, false);
        data += before;
        len -= before;
        for (const char *text = splice->text; text && *text;) {
            const char *end = strchrnul(text, '\n');
            content_add(pass->to, text, (size_t)(end - text), *end == '\n');
            text = *end ? end + 1 : end;
        }
        pass->drop_before = splice->column + splice->drop;
    }
    copy_octets(pass, data, len, ends_line);
}

static bool take_piece(void *user, const char *data, size_t len, bool ends_line)
{
    Pass *pass = user;

    if (!pass->in_line) {
        reach_line(pass);
        pass->column = pass->drop_before = 0;
    }
    if (pass->line >= pass->drop_until && pass->line < pass->body_line)
        copy_piece(pass, data, len, ends_line);
    pass->in_line = !ends_line;
    pass->line += ends_line;
    return content_failed(pass->to) == 0;
}

static bool take_body(void *user, const char *data, size_t len, bool ends_line)
{
    content_add(user, data, len, ends_line);
    return content_failed(user) == 0;
}

bool edits_apply(const Edits *edits, Content *from, Content *to)
{
    g_autoptr(GArray) sorted = g_array_copy(edits->splices);
    Pass pass = {.to = to, .count = sorted->len, .octets = edits->octets, .body_line = G_MAXUINT64};

    g_array_set_clear_func(sorted, NULL);
    g_array_sort(sorted, compare_splices);
    pass.splices = (const Splice *)(void *)sorted->data;
    if (edits->body) {
        g_autoptr(HeaderPlaces) places = header_places_new(from);
        if (!places)
            return false;
        pass.body_line = places->end;
    }
    if (!content_replay(from, take_piece, &pass) || content_failed(to))
        return false;
    pass.line = G_MAXUINT64;
    reach_line(&pass); /* what stands behind the last line */
    if (edits->body) {
        content_add(to, "", 0, true);
        return content_replay(edits->body, take_body, to) && !content_failed(to);
    }
    return content_failed(to) == 0;
}

/* --- headers --- */

typedef struct {
    HeaderPlaces *places;
    GString *start; /* of the present line */
    guint64 line;
} Locating;

#define NAME_MAX_SEEN 1000 /* octets of a line in which a header's name must end */

static bool ends_headers(Locating *locating)
{
    const GString *start = locating->start;
    GArray *places = locating->places->places;
    bool folded = start->len > 0 && (start->str[0] == ' ' || start->str[0] == '\t');
    size_t name = folded ? 0 : header_name(start->str, start->len, NULL);

    if (folded && places->len > 0) {
        g_array_index(places, HeaderPlace, places->len - 1).lines++;
        return false;
    }
    if (name == 0)
        return true;
    HeaderPlace place = {.name = g_strndup(start->str, name), .line = locating->line, .lines = 1};
    g_array_append_val(places, place);
    return false;
}

static bool locate(void *user, const char *data, size_t len, bool ends_line)
{
    Locating *locating = user;
    size_t room = NAME_MAX_SEEN - MIN(locating->start->len, NAME_MAX_SEEN);

    g_string_append_len(locating->start, data, (gssize)MIN(len, room));
    if (!ends_line)
        return true;
    if (ends_headers(locating)) {
        locating->places->has_body = true;
        return false;
    }
    g_string_truncate(locating->start, 0);
    locating->line++;
    return true;
}

static void place_clear(gpointer data)
{
    g_free(((HeaderPlace *)data)->name);
}

HeaderPlaces *header_places_new(Content *content)
{
    g_autoptr(HeaderPlaces) places = g_new0(HeaderPlaces, 1);
    g_autoptr(GString) start = g_string_new(NULL);
    Locating locating = {.places = places, .start = start};

    places->places = g_array_new(FALSE, FALSE, sizeof(HeaderPlace));
    g_array_set_clear_func(places->places, place_clear);
    content_replay(content, locate, &locating);
    if (content_failed(content))
        return NULL;
    places->end = locating.line;
    return g_steal_pointer(&places);
}

void header_places_free(HeaderPlaces *places)
{
    if (!places)
        return;
    g_array_unref(places->places);
    g_free(places);
}

/* NULL: there is none. */
static const HeaderPlace *find_header(const HeaderPlaces *places, const char *name, guint nth)
{
    for (guint i = 0; i < places->places->len; i++) {
        const HeaderPlace *place = &g_array_index(places->places, HeaderPlace, i);
        if (g_ascii_strcasecmp(place->name, name) == 0 && --nth == 0)
            return place;
    }
    return NULL;
}

void edits_add_header(Edits *edits, const HeaderPlaces *places, const char *text)
{
    edits_splice(edits, places->end, 0, text);
}

void edits_insert_header(Edits *edits, const HeaderPlaces *places, guint index, const char *text)
{
    bool in_front = index < places->places->len;

    edits_splice(edits, in_front ? g_array_index(places->places, HeaderPlace, index).line : places->end, 0, text);
}

void edits_replace_header(Edits *edits, const HeaderPlaces *places, const char *name, guint nth, const char *text)
{
    const HeaderPlace *place = find_header(places, name, nth);

    if (place)
        edits_splice(edits, place->line, place->lines, text);
    else
        edits_add_header(edits, places, text);
}

bool edits_remove_header(Edits *edits, const HeaderPlaces *places, const char *name, guint nth)
{
    const HeaderPlace *place = find_header(places, name, nth);

    if (place)
        edits_splice(edits, place->line, place->lines, NULL);
    return place != NULL;
}
