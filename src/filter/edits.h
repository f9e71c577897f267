/* edits.h - changes to a message's content, noted while it is read and made afterwards in one pass. Lines that no edit
 * names go through octet for octet, so that signatures over them survive. No I/O but the content's. */
#pragma once
#include "mail/content.h"

typedef struct Edits Edits;

Edits *edits_new(void);
void edits_free(Edits *edits); /* NULL is fine */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Edits, edits_free)
bool edits_are_empty(const Edits *edits);

/* In front of line (counted from 0 in the content as it was read) inserts text, then drops so many lines from there.
 * text: lines joined by '\n', none at the end; NULL: none; it may hold any octet but CR. At one line the insertions
 * stand in the order of the calls. */
void edits_splice(Edits *edits, guint64 line, guint64 drop, const char *text);
/* The same within a line: in front of its octet `column` inserts text, in which '\n' ends a line, then drops so many
 * octets, never the line's end. Columns of one line come in order, and it is not dropped by edits_splice(). */
void edits_splice_octets(Edits *edits, guint64 line, guint64 column, guint64 drop, const char *text);
/* The body (what follows the empty line) is replaced by body's lines; body becomes the edits'. */
void edits_replace_body(Edits *edits, Content *body);

/* Copies from to to with the edits made. False: content_failed() of one of them tells. */
bool edits_apply(const Edits *edits, Content *from, Content *to);

/* Where the headers of a message stand. Logical header n begins at `line` and has `lines` lines; the section ends
 * before line `end`, which is the empty line, the first line that is no header, or the end of the message. */
typedef struct {
    char *name; /* as written */
    guint64 line, lines;
} HeaderPlace;
typedef struct {
    GArray *places; /* of HeaderPlace */
    guint64 end;
    bool has_body; /* there is an empty line or other text behind the headers */
} HeaderPlaces;
HeaderPlaces *header_places_new(Content *content); /* NULL: content_failed() tells */
void header_places_free(HeaderPlaces *places);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(HeaderPlaces, header_places_free)

/* text: "Name: value", folded by '\n' and a blank. Behind the last header; in front of header `index` (past the last:
 * behind it); instead of the nth header (from 1) of that name, in any letter case, or added where there is none. */
void edits_add_header(Edits *edits, const HeaderPlaces *places, const char *text);
void edits_insert_header(Edits *edits, const HeaderPlaces *places, guint index, const char *text);
void edits_replace_header(Edits *edits, const HeaderPlaces *places, const char *name, guint nth, const char *text);
/* False: there is no such header. */
bool edits_remove_header(Edits *edits, const HeaderPlaces *places, const char *name, guint nth);
