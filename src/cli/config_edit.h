/* config_edit.h - changes to the text of main.cf (postconf -e, -X, -#). */
#pragma once
#include <glib.h>
#include <stdbool.h>

typedef enum { CONFIG_EDIT_SET, CONFIG_EDIT_REMOVE, CONFIG_EDIT_COMMENT } ConfigEdit;

/* The text with each change made. changes: "name=value" for SET, else "name". SET replaces the first statement of the name and drops
 * others, or adds one at the end; comments, also inside a changed statement, and the order stay. NULL: error. */
char *config_edit_text(const char *text, ConfigEdit edit, const GPtrArray *changes, GError **error);

/* The same for a file, which is replaced in one step with its owner and mode kept. */
bool config_edit_file(const char *path, ConfigEdit edit, const GPtrArray *changes, GError **error);
