/* map_index.h - the part of `gatepost map` that writes. */
#pragma once
#include "cli/map_message.h"
#include "config/config.h"
#include <glib.h>
#include <stdbool.h>

/* The command line. */
typedef struct {
    const char *config_dir;
    const char *query, *delete; /* keys; "-": from standard input; NULL: not asked for */
    bool aliases;               /* the source is "name: value" (postalias) */
    bool list;
    int modes; /* how many of -d -q -s were given: one at most */
    bool incremental;
    bool exact;                                       /* keys are not folded */
    enum { NUL_AS_USUAL, NUL_NEVER, NUL_ALWAYS } nul; /* at the end of keys and values: -n, -N */
    bool keep_privileges;                             /* -o: root stays root for a file that is another user's */
    bool own_permissions;                             /* -p: the source's permissions are not taken over */
    bool replace;                                     /* -r: a later record replaces */
    bool quiet;                                       /* -w: and nothing is said of duplicates */
    bool any_octets;                                  /* -u: keys and values need not be UTF-8 */
    bool utf8_message;                                /* -U: but keys from a message must */
    bool files;                                       /* -F: values are of files, as base64 */
    MapMessage message;                               /* -b, -h, -m */
} MapOptions;

/* main.cf. NULL: error. */
Config *map_config(const MapOptions *options, GError **error);
/* The spec of a table named without type, by main.cf's default_database_type. NULL: error. Caller frees. */
char *map_complete_spec(const MapOptions *options, const char *spec, GError **error);
/* Reads a line of standard input without its end; NULL at the end of input. The caller frees. */
char *map_read_key(void);

/* Makes the index of a text file, or with -i adds records from standard input to it. */
bool map_make_index(const MapOptions *options, const char *name, GError **error);
/* Deletes a key, or those that standard input has, from all indexes named (NULL-terminated). ret_found: one was there.
 */
bool map_delete_keys(const MapOptions *options, char **names, bool *ret_found, GError **error);
