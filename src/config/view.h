/* view.h - what `gatepost config` and the search for mistakes need of a view besides config.h. */
#pragma once
#include "config/config.h"

/* A view whose values were neither expanded nor checked: only the functions here and config_expand() work. */
Config *view_new_unchecked(const MainCf *main_cf, const ConfigScope *scope, GError **error);

const char *view_raw(const Config *config, const char *name);         /* set or default, not expanded; NULL: neither */
const char *view_raw_default(const Config *config, const char *name); /* NULL: no such parameter */
