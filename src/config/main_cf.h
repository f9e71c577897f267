/* main_cf.h - the statements of main.cf, for those that need more than a view of them (see config.h for reading). */
#pragma once
#include "config/config.h"

/* As main_cf_read(), from text; path is what messages call it. */
MainCf *main_cf_parse(const char *dir, const char *path, const char *text, size_t len, GError **error);

/* Any file of such statements. */
MainCf *main_cf_read_file(const char *dir, const char *path, GError **error);

/* Sets or replaces a value, as if the file had it. */
void main_cf_set(MainCf *main_cf, const char *name, const char *value);

const char *main_cf_dir(const MainCf *main_cf);
const char *main_cf_path(const MainCf *main_cf); /* DIR/main.cf */
const char *main_cf_get(const MainCf *main_cf, const char *name); /* raw value; NULL: not set */
const GPtrArray *main_cf_names(const MainCf *main_cf); /* const char *, in the order of the file, each once */
