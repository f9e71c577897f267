/* config.h - main.cf as one program of one service sees it: the file, that service's -o overrides, the defaults of the parameter
 * table, and $ expansion over all of them (postconf(5)). Every known parameter is checked when a view is made, so that
 * the getters cannot fail; a view is constant afterwards and may be read by all threads. */
#pragma once
#include <glib.h>
#include <stdbool.h>

typedef struct MainCf MainCf; /* the raw statements of main.cf */
typedef struct Config Config; /* a view */

/* Reads DIR/main.cf. Warnings (overridden entries etc.) are logged. NULL: error's text is Postfix's, without "fatal: ". */
MainCf *main_cf_read(const char *dir, GError **error);
void main_cf_free(MainCf *main_cf);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(MainCf, main_cf_free)

typedef struct {
    const char *process_name;     /* $process_name: "smtpd", "master", ... */
    const char *service_name;     /* $service_name: as in master.cf; NULL: process_name */
    const char *stress;           /* $stress: "" or "yes" */
    const GPtrArray *overrides;   /* of "name=value" strings from -o, later ones win; may be NULL */
} ConfigScope;

/* main_cf stays the caller's and is not needed afterwards. NULL: error holds the first bad parameter's message, as Postfix words it. */
Config *config_new(const MainCf *main_cf, const ConfigScope *scope, GError **error);
void config_free(Config *config);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Config, config_free)

/* Getters. name must stand in the parameter table with that type (else it is a caller's mistake: g_assert). Times are in seconds
 * whatever the parameter's default unit. Strings are expanded, trimmed, owned by config, never NULL. */
const char *config_string(const Config *config, const char *name);
bool config_bool(const Config *config, const char *name);
gint64 config_int(const Config *config, const char *name);
gint64 config_seconds(const Config *config, const char *name);
/* Any name, known or not (per-transport parameters, restriction classes, user-defined): expanded value, or NULL where neither set nor known. */
const char *config_lookup(const Config *config, const char *name);
bool config_is_set(const Config *config, const char *name); /* by main.cf or -o, not by default */
/* TRANSPORT_destination_concurrency_limit and the like: the transport's own, else default_name's. */
gint64 config_transport_int(const Config *config, const char *transport, const char *suffix, const char *default_name);
/* The same for a time (TRANSPORT_destination_rate_delay, ...), in seconds. */
gint64 config_transport_seconds(const Config *config, const char *transport, const char *suffix, const char *default_name);

const char *config_directory(const Config *config); /* the DIR of main_cf_read() */
/* Expands text with this view's parameters. Caller frees. NULL: error. */
char *config_expand(const Config *config, const char *text, GError **error);
/* Splits a list at commas and blanks; {...} protects an element and its braces are kept. Elements are the array's. */
GPtrArray *config_split(const char *list);
bool config_list_has(const char *list, const char *word); /* in any case */
/* The text inside a whole pair of braces, trimmed; NULL: there is none. Caller frees. */
char *config_inside_braces(const char *text);
/* compatibility_level as in `config_level_at_least(config, 3, 6)`; unset means the newest. */
bool config_level_at_least(const Config *config, int major, int minor);
