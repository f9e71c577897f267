/* rules.h - tables that are lists of rules tried in order (regexp, pcre, cidr): where the rules come from, and
 * if/endif. */
#pragma once
#include <glib.h>
#include <stdbool.h>

/* Takes a rule. The text is a logical line, or the trimmed content of an inline element; line counts physical lines
 * or elements from 1. */
typedef void RuleReader(void *context, char *text, int line);

/* Reads "/file" by its logical lines, or "{{rule}, {rule}, ...}". type: for errors. False: error. */
bool rules_read(const char *type, const char *name, RuleReader *reader, void *context, GError **error);

/* Which rule ends the block that an IF begins. Reading pushes the index of each IF and pops it at ENDIF. */
typedef struct {
    GArray *open; /* guint: indexes of the IFs without an ENDIF yet */
} RuleBlocks;
void rule_blocks_init(RuleBlocks *blocks);
void rule_blocks_clear(RuleBlocks *blocks);
void rule_blocks_begin(RuleBlocks *blocks, guint index);
bool rule_blocks_end(RuleBlocks *blocks, guint *ret_index); /* the IF that this ENDIF closes. False: none is open */

/* "if" or "endif", in any case, at text and not part of a longer word. */
bool rule_word(const char *text, const char *word);
/* Takes '!' and blanks off the front of text; returns whether their number is odd. */
bool rule_negated(char **text);
