/* master_entry.h - one logical line of master.cf, taken apart but not understood. */
#pragma once
#include <glib.h>
#include <stdbool.h>

/* The fields in their order. */
typedef enum {
    FIELD_NAME,
    FIELD_TYPE,
    FIELD_PRIVATE,
    FIELD_UNPRIVILEGED,
    FIELD_CHROOT,
    FIELD_WAKEUP,
    FIELD_MAXPROC,
    FIELD_COMMAND,
    FIELD_COUNT,
} MasterField;

typedef struct {
    char *fields[FIELD_COUNT];
    GPtrArray *arguments; /* char *, of the command. Braces around a whole one are removed, with the blanks inside them */
} MasterEntry;

/* NULL: error is `missing "command" field`, `missing '}' in "..."` or `syntax error after '}' in "..."`. */
MasterEntry *master_entry_new(const char *line, GError **error);
void master_entry_free(MasterEntry *entry);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(MasterEntry, master_entry_free)

/* As error messages call it: "service name", "transport type", "max_proc", ... */
const char *master_field_name(MasterField field);

/* The arguments as options. They end before the first that is none, or after "--". */
typedef struct {
    GPtrArray *overrides; /* char *: "name=value" of -o, blanks around the '=' dropped where it has one */
    guint rest;           /* the index of the first argument that is no option */
    int verbose;          /* how many -v */
    bool debugger;        /* -D */
} MasterOptions;

/* False: `invalid option: x`. ret_options->overrides is the caller's to unref on success. */
bool master_entry_options(const MasterEntry *entry, MasterOptions *ret_options, GError **error);
