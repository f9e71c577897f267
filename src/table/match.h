/* match.h - match lists: mynetworks, mydestination, *_hosts, *_exceptions, ... (postconf(5): literals, /file,
 * type:table, !, first match wins). */
#pragma once
#include <glib.h>
#include <stdbool.h>

typedef struct MatchList MatchList;
typedef enum { MATCH_NO, MATCH_YES, MATCH_FAILED } MatchResult; /* FAILED: logged; the decision becomes temporary */

enum {
    MATCH_PARENT = 1
}; /* "example.com" also matches its subdomains (parent_domain_matches_subdomains names the list) */

/* The /files are read anew when they change, see reload.h.
 *
 * name: the parameter, for log lines. NULL: a table cannot be used (see table_open()). Bad elements are found when
 * evaluated. */
MatchList *match_list_new(const char *name, const char *patterns, unsigned flags, GError **error);
void match_list_free(MatchList *list);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(MatchList, match_list_free)

bool match_list_blocks(const MatchList *list); /* one of its tables does, see table_blocks() */

/* host: a client. name may be "unknown"; addr is numeric without brackets ("::1"); addr "" for a unix-domain client
 * matches nothing. */
MatchResult match_host(const MatchList *list, const char *name, const char *addr);
MatchResult match_domain(const MatchList *list, const char *domain);
MatchResult match_string(const MatchList *list, const char *text); /* whole text, case-insensitive */
