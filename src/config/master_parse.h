/* master_parse.h - master_cf_read() without its file and without looking up hosts. */
#pragma once
#include "config/lines.h"
#include "config/master_cf.h"

GPtrArray *master_cf_parse(Lines *lines, const char *path, const Config *config, GError **error);
const char *master_type_word(ServiceType type); /* "inet" */
