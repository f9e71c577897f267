/* backend.h - what a type of lookup table provides. For the files of this folder alone; callers have table.h. */
#pragma once
#include "table/reload.h"
#include "table/table.h"

/* How opening fails. UNAVAILABLE: the table may be there tomorrow (or was mistyped); lookups fail until then.
 * UNUSABLE: this program cannot read such a table at all, so that nothing may start with it. Errors of other domains
 * count as UNAVAILABLE. */
typedef enum { TABLE_ERROR_UNAVAILABLE, TABLE_ERROR_UNUSABLE } TableError;
#define TABLE_ERROR (table_error_quark())
GQuark table_error_quark(void);

typedef struct {
    const char *type;
    bool folds;      /* keys are compared without regard to case: table.c folds them before lookup() */
    bool whole_keys; /* see table_takes_whole_keys() */

    /* Sets table->data. name: what follows "type:", never empty. May correct table->whole_keys and
     * blocks. */
    bool (*open)(Table *table, const char *name, GError **error);
    /* Any thread. ret_value is set when FOUND. FAILED: error says why. */
    TableResult (*lookup)(const Table *table, const char *key, char **ret_value, GError **error);
    void (*free)(void *data);
    /* Calls each with all entries until it returns false. NULL where a table has none to list. */
    bool (*walk)(const Table *table, TableEach *each, void *context, GError **error);
    bool blocks; /* a lookup may wait for another system */
} TableBackend;

struct Table {
    State state; /* of an instance: the files as they were once */
    char *spec;  /* as configured */
    bool whole_keys;
    bool blocks;

    /* A handle, as table_open() gives it, has no data of its own but an instance that changes with its files. */
    Reload *reload;
    unsigned users; /* of the handle: see table.c */

    /* An instance. */
    const TableBackend *backend;
    char *unavailable;  /* why it could not be opened; NULL when it was */
    bool exact;         /* keys are not folded */
    bool is_substitute; /* read in place of an index */
    void *data;         /* the backend's; NULL when unavailable */
};

extern const TableBackend table_btree, table_cdb, table_cidr, table_environ, table_fail, table_hash, table_inline,
    table_ldap, table_lmdb, table_mysql, table_pcre, table_pgsql, table_pipemap, table_randmap, table_regexp,
    table_socketmap, table_sqlite, table_static, table_tcp, table_texthash, table_unionmap, table_unix;

/* Names a file whose change makes the table another. To be called before the file is opened. */
void table_watch(Table *table, const char *path);

/* As table_open_strict(). is_substitute: for an index that is not read itself. */
Table *table_open_substitute(const char *spec, bool exact, GError **error);

/* The key as this table has it: folded, or not. The caller frees. */
char *table_key(const Table *table, const char *key);

/* Text in braces, "{ a, {b c} }": returns what is between them, trimmed, and sets *ret_rest to what follows the closing
 * brace. NULL: text does not begin with '{', or nothing closes it. The caller frees. */
char *brace_content(const char *text, const char **ret_rest);
