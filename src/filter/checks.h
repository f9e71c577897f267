/* checks.h - the parts of the `checks:` inspector (checks.c), for its files alone. */
#pragma once
#include "filter/checks_mime.h"
#include "filter/inspector.h"
#include "table/table.h"

typedef struct TypePool TypePool; /* checks_type.h */

typedef enum {
    CHECKS_HEADER,
    CHECKS_MIME_HEADER,
    CHECKS_NESTED_HEADER,
    CHECKS_BODY,
    CHECKS_ATTACHMENT_NAME,
    CHECKS_ATTACHMENT_TYPE,
    CHECKS_MAPS
} ChecksMap;

/* The inspector, constant. */
typedef struct {
    char *name;
    Tables *tables[CHECKS_MAPS]; /* NULL: none */
    MimeLimits limits;
    guint64 body_limit; /* octets of a body segment that are looked up: body_checks_size_limit; 0: all */
    guint64 parts_limit;
    TypePool *types; /* NULL: types are not asked for */
} Checks;

/* One inspection. */
typedef struct {
    const Checks *checks;
    const Inspection *inspection;
    Verdict *verdict;
    bool over;     /* an action says that nothing more is looked at */
    bool held;     /* QUARANTINE */
    char *reason;  /* held */
    GError *error; /* it cannot say; NULL: it can */
} Checking;

/* What an action makes of the thing that was looked up. */
typedef enum { CHANGE_NONE, CHANGE_DROP, CHANGE_REPLACE, CHANGE_PREPEND } CheckChange;

/* checks_lookup.c: looks key up in a map, does and logs what the action says. *ret_text: for REPLACE and PREPEND, the
 * caller frees. Sets over where nothing more is to be looked at, and error where the answer cannot be had in time or is
 * none. */
CheckChange checks_lookup(Checking *checking, ChecksMap map, const char *key, char **ret_text);
const char *checks_map_name(ChecksMap map); /* "header_checks", ...: as in the settings and in the log */
/* False, and error is set. */
bool checks_fail(Checking *checking, const char *format, ...) G_GNUC_PRINTF(2, 3);
