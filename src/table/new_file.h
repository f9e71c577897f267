/* new_file.h - a file that takes the place of another at once when it is whole, or not at all. */
#pragma once
#include <glib.h>
#include <stdbool.h>

typedef struct {
    char *path;      /* to be replaced */
    char *temporary; /* beside it; NULL once renamed */
} NewFile;

/* Makes an empty file, for its owner alone, beside path. Returns its descriptor, which is the caller's; -1: error. */
int new_file_begin(NewFile *file, const char *path, GError **error);
/* Syncs and renames, with the owner and permissions of model_path if that exists (NULL: none), else of the file
 * replaced: a table that may be read only by some is not opened to all by its index. */
bool new_file_commit(NewFile *file, const char *model_path, GError **error);
void new_file_clear(NewFile *file); /* without commit: nothing changed */
