/* db_params.h - the parameters of a table that asks a database (sqlite_table(5), pgsql_table(5), mysql_table(5),
 * ldap_table(5)). What follows "type:" is the path of a file with statements as in main.cf, whose `$` mean nothing; or,
 * where it begins with neither '/' nor '.', a NAME whose parameters stand in main.cf: NAME_query and so on. Such names
 * are looked up where table_set_parameters() said. */
#pragma once
#include "table/table.h"

typedef struct DbParams DbParams;

/* The file is watched for the table. NULL: error ("open PATH: No such file or directory"). */
DbParams *db_params_read(Table *table, const char *name, GError **error);
void db_params_free(DbParams *params); /* NULL is fine */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DbParams, db_params_free)

const char *db_params_source(const DbParams *params); /* the file, or NAME */

/* NULL: not set. Like all that is returned here, owned by params. */
const char *db_params_get(const DbParams *params, const char *name);
/* fallback where it is not set. NULL: it is empty or not set and has no fallback: error, as Postfix words it. */
const char *db_params_need(const DbParams *params, const char *name, const char *fallback, GError **error);
bool db_params_int(const DbParams *params, const char *name, int fallback, int min, int *ret_number, GError **error);
bool db_params_bool(const DbParams *params, const char *name, bool fallback, bool *ret_value, GError **error);
/* Seconds; without a unit (s m h d w) seconds are meant. */
bool db_params_seconds(const DbParams *params, const char *name, int fallback, int min, int *ret_seconds,
                       GError **error);
