/* ldap_private.h - what the files of ldap_table(5) know of each other: settings, connections, searches. */
#pragma once
#include "table/db_common.h"

#include <ldap.h>

/* Texts are the parameters' or the settings' own. NULL: not set. */
typedef struct {
    const char *source; /* for log lines */
    char *urls;         /* of the servers, in the order to try, between blanks */
    int version, scope, dereference, debuglevel;
    int timeout; /* seconds, of each operation */
    int size_limit, recursion_limit;
    bool has_names;   /* servers that are known by name, so that the system's resolver is asked */
    bool base_varies; /* with the key: some may not exist */
    bool bind, start_tls, uses_tls, chase_referrals, require_cert;
    const char *bind_dn, *bind_pw;
    const char *ca_file, *ca_dir, *cert, *key, *random_file, *ciphers;
    GPtrArray *attributes;                  /* of char*, NULL-terminated: terminal, leaf, ordinary, special */
    guint leaf_at, ordinary_at, special_at; /* where those of a kind begin */
} LdapSettings;

/* Connects and binds. error: says which server. NULL: error. */
LDAP *ldap_open(const LdapSettings *settings, gint64 deadline, GError **error);
void ldap_end(void *ldap); /* closes at once */

/* The next message of an operation; the caller frees it (ldap_msgfree). Returns an LDAP result code: SUCCESS when there
 * is one. */
int ldap_wait(LDAP *ldap, int operation, gint64 deadline, LDAPMessage **ret_message);

/* What the directory has for one key: values go to answer. */
typedef struct {
    const LdapSettings *settings;
    LDAP *ldap;
    gint64 deadline; /* clock_ms(), of all searches */
    DbAnswer *answer;
    gsize octets; /* of values that came */
    int depth;    /* of groups in groups: 1 for the first search */
    int code;     /* LDAP result code of the search that failed */
} LdapLookup;

/* False: error. */
bool ldap_collect(LdapLookup *lookup, const char *base, const char *filter, GError **error);
