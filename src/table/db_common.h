/* db_common.h - what tables that ask a database (SQL, LDAP) have in common besides their parameters: the template of a
 * query, which keys are asked about at all, and how the values of an answer become one.
 *
 * In a template %s is the key, %u its local part (all of it where there is no '@'), %d its domain, %1 to %9 the labels
 * of the domain from the right, %% a percent sign; %S, %U and %D are the same. A key that lacks something that a
 * template needs (a domain, so many labels, a local part that is not empty) is not asked about: it is in no such table.
 */
#pragma once
#include "table/db_params.h"

/* ---- Templates of queries ---- */

typedef struct DbTemplate DbTemplate;

/* text: of the parameter called name, for errors. NULL: error ("SOURCE: Invalid NAME template: TEXT"). */
DbTemplate *db_template_new(const DbParams *params, const char *name, const char *text, GError **error);
void db_template_free(DbTemplate *query); /* NULL is fine */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DbTemplate, db_template_free)

/* Whether key has all that the template needs. */
bool db_template_accepts(const DbTemplate *query, const char *key);

/* A part of the key as the database wants it between its quotes; the caller frees. NULL: error. */
typedef char *DbQuote(void *context, const char *text, GError **error);
/* key: an accepted one. The caller frees. NULL: quote failed. */
char *db_template_expand(const DbTemplate *query, const char *key, DbQuote *quote, void *context, GError **error);

/* The text of the query for SQL: the parameter "query", or one made of the older parameters select_function (where
 * the database has_functions), or select_field, table, where_field and additional_conditions. NULL: error. */
DbTemplate *db_template_new_sql(const DbParams *params, bool has_functions, GError **error);

/* ---- Keys and results ---- */

typedef struct DbRules DbRules; /* the parameters domain, result_format and expansion_limit */

/* spec: "type:name", for log lines. format_name: "result_format". params and spec live as long as the result. */
DbRules *db_rules_new(const DbParams *params, const char *spec, const char *format_name, GError **error);
void db_rules_free(DbRules *rules); /* NULL is fine */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(DbRules, db_rules_free)

/* FOUND: the database is to be asked about key. ABSENT: it need not be. FAILED: error.
 *
 * query      what is to be asked
 * utf8       the database takes no other text; a key that is none is in no such table */
TableResult db_rules_admit(const DbRules *rules, const DbTemplate *query, bool utf8, const char *key, GError **error);

/* The values of one answer. Values that are empty (a warning), or lack what the format needs, do not count. */
typedef struct {
    const DbRules *rules;
    const char *key;
    GString *text; /* values so far, joined by commas */
    int count;
} DbAnswer;
void db_answer_init(DbAnswer *answer, const DbRules *rules, const char *key); /* key lives as long as answer */
void db_answer_clear(DbAnswer *answer);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(DbAnswer, db_answer_clear)
/* value: NULL is none. False: error, as there are too many values or octets; the lookup has failed. */
bool db_answer_add(DbAnswer *answer, const char *value, GError **error);
TableResult db_answer_end(DbAnswer *answer, char **ret_value); /* FOUND or ABSENT */
