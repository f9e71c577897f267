/* config_show.h - what `gatepost config` prints, as text. No I/O but the log. */
#pragma once
#include "config/main_cf.h"
#include "config/master_entry.h"

typedef enum { CONFIG_ALL, CONFIG_SET, CONFIG_DEFAULTS } ConfigWhich;

typedef struct {
    ConfigWhich which;
    bool expand;         /* -x */
    bool fold;           /* -f */
    bool names_only;     /* -H */
    bool values_only;    /* -h */
    bool names_directory; /* config_directory counts as set */
} ConfigStyle;

/* Lines of "name = value". names: of parameters; NULL or empty: all that style->which asks for, sorted. A name that is unknown is
 * warned of. used: of findings_used(). NULL: error (of an expansion). */
char *config_show_params(const MainCf *main_cf, const GPtrArray *entries, GHashTable *used, const ConfigStyle *style,
                         const GPtrArray *names, GError **error);

/* master.cf: entries is of MasterEntry. patterns: "name", "name/type" and, for fields and overrides, "name/type/WHAT", each part may be
 * "*"; none: all. One that fits nothing is warned of. NULL: error. */
char *config_show_services(const GPtrArray *entries, const ConfigStyle *style, const GPtrArray *patterns, GError **error);
char *config_show_fields(const GPtrArray *entries, const ConfigStyle *style, const GPtrArray *patterns, GError **error);
char *config_show_overrides(const MainCf *main_cf, const GPtrArray *entries, const ConfigStyle *style,
                            const GPtrArray *patterns, GError **error);

/* Adds words, between blanks, to a text whose last line is `column` long, as far as 80 columns where fold is set; continued lines are
 * indented by four. */
void config_show_words(GString *text, size_t *column, const char *words, bool fold);
