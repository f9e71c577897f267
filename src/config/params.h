/* params.h - the parameter table: the only place where a parameter is declared. What is checked, shown by `gatepost config`,
 * and described in gatepost-parameters(5) comes from here. The rows stand in params_*.c, one file per subsystem. */
#pragma once
#include <glib.h>
#include <stdbool.h>

typedef enum {
    PARAM_STRING,   /* min: the least length */
    PARAM_RAW,      /* a string that is not expanded here: its `$` are for the program that uses it */
    PARAM_HOSTNAME, /* a string that must be a valid host name */
    PARAM_BOOL,     /* yes, no */
    PARAM_INT,      /* min to max */
    PARAM_TIME,     /* seconds, min to max; without a unit in that of the default */
    PARAM_WORDS,    /* any number of the words, between commas and blanks */
    PARAM_ENUM,     /* one of the words */
} ParamType;

typedef enum {
    PARAM_SUPPORTED,
    PARAM_UNSUPPORTED, /* of a subsystem that does not exist yet: a warning when it is set */
    PARAM_PROTECTS,    /* the same, and mail would pass unprotected: no start while it is set to anything but its default or a harmless word */
    PARAM_NO_EFFECT,   /* about something that is done in another way here: a warning when it is set */
} ParamSupport;

typedef struct {
    const char *name;
    ParamType type;
    ParamSupport support;
    const char *default_text; /* not expanded. NULL: found out when the program starts (params_computed()) */
    gint64 min, max;          /* max 0: INT_MAX */
    const char *words;        /* WORDS, ENUM: those there are; PROTECTS: values without which mail may pass, with a warning but for "none". Between blanks; NULL: any */
    const char *since;        /* Postfix release that brought it or this default, from 3.8 on; "ours"; NULL: before */
    const char *help;         /* one line, no full stop */
} Param;

typedef struct {
    const char *title;
    const Param *rows;
    const size_t *count;
} ParamGroup;

/* All of them, in the order of the manual. */
extern const ParamGroup param_groups[];
extern const size_t param_group_count;

const Param *params_find(const char *name); /* NULL: no such row. Searches all rows: a view has an index */

typedef void ParamEach(const Param *param, void *data);
void params_each(ParamEach *each, void *data); /* sorted by name */

/* Parameters that exist for each transport or service: TRANSPORT_destination_concurrency_limit and so on. */
typedef struct {
    const char *suffix; /* "_destination_concurrency_limit" */
    const char *source; /* the parameter with the default for all, which has the same type */
    const char *help;
} ParamSuffix;
extern const ParamSuffix param_suffixes[];
extern const size_t param_suffix_count;

/* The suffix that name ends with, after at least one more character; NULL: none. */
const ParamSuffix *params_find_suffix(const char *name);
