/* table.h - lookup tables, "type:name" (DATABASE_README). A table is opened once and then constant: any thread may look
 * up. */
#pragma once
#include <glib.h>
#include <stdbool.h>

typedef struct Table Table;
typedef struct Tables Tables; /* a list of tables, tried in order */

/* FAILED: a temporary error, already logged ("warning: TYPE:NAME lookup error for "key""); the decision becomes a 4xx,
 * never "not found". */
typedef enum { TABLE_ABSENT, TABLE_FOUND, TABLE_FAILED } TableResult;

/* "proxy:" in front of a type changes nothing. A table that cannot be opened is no failure here: it is logged, and
 * every lookup FAILED as in Postfix. NULL: unknown or unsupported type, bad syntax, or only an index exists that
 * cannot be read (hash:F with F.db alone): the error says what to do. */
Table *table_open(const char *spec, GError **error);
void table_free(Table *table);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Table, table_free)

/* Where tables named without a path (sqlite:NAME) have their parameters: NAME_query and so on in main.cf. For the whole
 * process, before tables are opened. get: the expanded value, which stays as it is, or NULL. */
typedef const char *TableParameter(void *context, const char *name);
void table_set_parameters(TableParameter *get, void *context);

/* ret_value is set when FOUND; the caller frees. Keys are folded as the type asks. */
TableResult table_lookup(const Table *table, const char *key, char **ret_value);
const char *table_spec(const Table *table); /* "type:name" as configured, for log lines */
bool table_takes_whole_keys(
    const Table *table); /* regexp, pcre, cidr, static: full key only, no parent domains, no address parts */

bool table_blocks(const Table *table); /* a lookup may wait for another system: not for threads that serve many */

/* A list as in main.cf, separated by commas or blanks; {...} and type:{...} are one element. NULL: as table_open(). */
Tables *tables_open(const char *specs, GError **error);
void tables_free(Tables *tables);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Tables, tables_free)
guint tables_count(const Tables *tables);
const Table *tables_get(const Tables *tables, guint index);
bool tables_is_empty(const Tables *tables);
bool tables_block(const Tables *tables); /* one of them does, see table_blocks() */
TableResult tables_lookup(const Tables *tables, const char *key, char **ret_value);
/* As tables_lookup() for parts of a key ("user@", "@domain", a parent domain): passes over tables that take whole keys
 * only. */
TableResult tables_lookup_part(const Tables *tables, const char *key, char **ret_value);

/* A mail address by the usual chain: user+ext@dom, user@dom, [user+ext, user when domain is local], @dom. delimiters:
 * recipient_delimiter, "" for none. ret_extension, if not NULL: the extension with its delimiter when the match dropped
 * it, else NULL. */
typedef struct {
    const char *delimiters;
    bool domain_is_local; /* bare local part is looked up too */
    bool with_at_domain;  /* the @dom step */
} AddressLookup;
TableResult tables_lookup_address(const Tables *tables, const char *address, const AddressLookup *how, char **ret_value,
                                  char **ret_extension);

/* For tools. A table that cannot be opened is an error ("open database F.lmdb: No such file or directory"); nothing is
 * logged about failures, and error may stay unset when FAILED. exact: keys are not folded, neither the table's nor
 * those looked up. */
Table *table_open_strict(const char *spec, bool exact, GError **error);
TableResult table_query(const Table *table, const char *key, char **ret_value, GError **error);
/* A key as tables that fold have it. The caller frees. */
char *table_fold_key(const char *key);
/* Calls each with all entries until it returns false. An error for types that cannot list theirs. */
typedef bool TableEach(void *context, const char *key, const char *value);
bool table_walk(const Table *table, TableEach *each, void *context, GError **error);
