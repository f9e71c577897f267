/* private.h - compiled lists, and the state of one evaluation. For the files of this folder alone.
 *
 * A list is an array of rules: a restriction's function and its argument. A restriction answers OK (the list ends,
 * permitted), REJECT (everything ends; the reply is in the decision), NEED (everything ends, to be evaluated again when
 * the inquiry has an answer) or NEXT. */
#pragma once
#include "access/access.h"
#include "access/dns_list.h"
#include "table/match.h"
#include "table/table.h"

typedef enum { VERDICT_NEXT, VERDICT_OK, VERDICT_REJECT, VERDICT_NEED } Verdict;

static inline bool ends_all(Verdict verdict) /* OK ends its own list only */
{
    return verdict == VERDICT_REJECT || verdict == VERDICT_NEED;
}

typedef struct Evaluation Evaluation;
typedef struct Rule Rule;
typedef struct List List;

typedef Verdict RestrictionFunc(Evaluation *evaluation, const Rule *rule);
typedef enum {
    ARGUMENT_NONE,
    ARGUMENT_TABLE,
    ARGUMENT_POLICY, /* the next word, a policy service */
    ARGUMENT_CCERT,  /* a table, or { table, { search_order = ... } } */
    ARGUMENT_LIST,   /* a DNS list; NULL where there is none */
    ARGUMENT_TEXT,   /* the next word, as it is; NULL where there is none */
    ARGUMENT_FINAL,  /* none, and what follows in the list is never reached */
} ArgumentKind;

#define SEARCH_CERT 'c'
#define SEARCH_KEY 'k'

typedef struct {
    const char *name;
    RestrictionFunc *function;
    ArgumentKind argument;
    RestrictionFunc *ahead; /* puts its questions while one before it waits for an answer; NULL */
} Restriction;

/* restrictions.c. NULL: no such restriction. */
const Restriction *restriction_find(const char *name);
const char *restriction_successor(const char *name); /* what to use instead of one that there is no more; NULL */

struct Rule {
    char *word;                     /* as written */
    const Restriction *restriction; /* NULL: class, problem, or a table alone */
    Table *table;                   /* ARGUMENT_TABLE, or alone */
    char *text;                     /* ARGUMENT_TEXT; ARGUMENT_CCERT: SEARCH_ characters, in order */
    PolicyService *policy;          /* ARGUMENT_POLICY */
    DnsList *dns_list;              /* ARGUMENT_LIST */
    const List *class;              /* the list of a restriction class */
    char *problem;                  /* why it cannot be evaluated: logged when it should be, and a 451 */
};

struct List {
    GArray *rules; /* of Rule */
};

/* What the whole list is about, unless a restriction says otherwise. */
typedef struct {
    const char *class;         /* "Recipient address" */
    const char *default_check; /* what a table alone means: "check_recipient_access"; NULL: nothing */
} Subject;

/* What to do about an address that a probe did not find good: unverified_*. */
typedef struct {
    gint64 reject_code, defer_code;
    bool defers_at_once; /* ..._tempfail_action = defer */
    char *reason;        /* instead of what the probe found; "": none */
} Unverified;

struct Access {
    const Config *config;
    const Route *route;
    bool delay_reject, relay_first, allow_routing;
    bool check_recipients, check_senders; /* implicit reject_unlisted_... */
    bool anybody_exists;                  /* no_unknown_recipient_checks: nor explicit ones */
    MatchList *mynetworks, *permit_log;
    Tables *clientcerts;   /* relay_clientcerts */
    Tables *sender_logins; /* smtpd_sender_login_maps */
    bool parents_match;    /* smtpd_access_maps is in parent_domain_matches_subdomains */
    char *delimiters, *null_key;
    gint64 reject_code, defer_code, map_reject_code, map_defer_code, relay_code, invalid_code, non_fqdn_code,
        multi_bounce_code, unknown_client_code, unknown_hostname_code, unknown_address_code, rbl_code;
    bool defer_unknown_hostname, defer_unknown_address; /* tempfail_action is defer: at once, not only if permitted */
    bool ipv4, ipv6;                                    /* inet_protocols */
    Tables *rbl_replies;
    char *rbl_reply, *expansion_filter, *hostname;
    MatchList *mx_backup_networks;
    bool mx_backup_anywhere; /* there are none */
    Unverified unverified_sender, unverified_recipient;
    gint64 probe_wait_ms; /* for a result that is not there yet */
    GHashTable *classes;  /* name to List */
    List *client, *helo, *sender, *relay, *recipient, *data, *end_of_data, *etrn;
};

/* list.c. Compiling adds rules to a list, so that classes can name each other. in_table: the text comes from an access
 * table: what is not supported is found when evaluated. False: error (never in_table, where no tables may be). */
List *list_new(void);
bool list_compile(List *list, const Access *access, const char *text, bool in_table, GError **error);
void list_free(List *list); /* NULL is fine */

struct Evaluation {
    const Access *access;
    const AccessFacts *facts;
    Decision *decision;
    char *sender, *recipient; /* where the addresses lead: completed, routing followed; NULL where unknown */
    char *client;             /* "name[addr]" */

    Subject subject;  /* of the list that is evaluated */
    const char *what; /* what it is about, as replies show it */

    unsigned depth;                          /* of lists within lists */
    unsigned warn_if_reject;                 /* depth at which it was said, 0: not */
    char *defer_if_permit, *defer_if_reject; /* the reply to give then; NULL */
    bool in_default_action;                  /* of a policy service that failed */
    bool recipient_checked, sender_checked;  /* for existence */
    unsigned questions; /* so far, of those that are asked anew each time they stand in a list: they are told apart by
                           their number */
};

/* ---- decision.c ---- */
char *access_client(const AccessFacts *facts); /* "name[addr]"; caller frees */
Decision *decision_new(void);                  /* PERMIT, and nothing else */

/* ---- evaluate.c ---- */
#define DEPTH_MAX 100 /* of lists within lists */
Verdict evaluate_list(Evaluation *evaluation, const List *list);

/* What a refusal says. dsn: its first digit becomes the code's. */
typedef struct {
    gint64 code;
    const char *dsn;
    const char *what, *class; /* "<what>: class rejected: text"; class NULL: "<what>: text"; what NULL: "text" */
    const char *text;
} Refusal;
Verdict refuse(Evaluation *evaluation, const Refusal *refusal);
/* What smtpd_log_access_permit_actions logs: "action=OK for Recipient address=x from TABLE". table NULL: none.
 * Returns VERDICT_OK. Restrictions need not call it: what a "permit..." permits goes through it anyhow. */
typedef struct {
    const char *action, *what, *class, *table;
} Permission;
Verdict allow(Evaluation *evaluation, const Permission *permission);
/* A refusal that warn_if_reject does not soften: something is broken here. */
Verdict refuse_for_trouble(Evaluation *evaluation, const char *reply);
Verdict refuse_for_configuration(Evaluation *evaluation);            /* 451 4.3.5 Server configuration error */
Verdict refuse_for_lookup(Evaluation *evaluation, const char *what); /* 451 4.3.0 <what>: Temporary lookup failure */
/* Existing reply texts of route/. */
Verdict refuse_with(Evaluation *evaluation, const char *reply);
/* For the end of the lists. warn_if_reject turns the first into a warning, and does nothing to the second. */
void defer_if_permit(Evaluation *evaluation, const Refusal *refusal);
void defer_if_reject(Evaluation *evaluation, const Refusal *refusal);
void note(Evaluation *evaluation, const char *format, ...) G_GNUC_PRINTF(2, 3); /* a line of the decision's log */
void note_event(Evaluation *evaluation, const char *what, const char *text);    /* in access_log_line()'s form */

/* ---- lookup.c ---- */
RestrictionFunc check_ccert_access, check_sasl_access, check_client_access, check_helo_access, check_sender_access,
    check_recipient_access, check_etrn_access;

/* ---- login.c ---- */
RestrictionFunc reject_sender_login_mismatch, reject_known_sender_login_mismatch,
    reject_authenticated_sender_login_mismatch, reject_unauthenticated_sender_login_mismatch;

/* ---- unverified.c ---- */
RestrictionFunc reject_unverified_recipient, reject_unverified_sender;
void unverified_read(Access *access, const Config *config);

/* ---- policy.c ---- */
#define POLICY_ARGUMENT_MISSING "restriction check_policy_service must be followed by transport:server"
RestrictionFunc check_policy_service;

/* A name and its parents, then, where they are absent, an address and its networks; each may be NULL. */
typedef struct {
    const char *name, *addr;
    const char *what, *class; /* as replies show it */
} Host;
/* *ret_found: there was something, which may say to go on. */
Verdict check_host_access(Evaluation *evaluation, const Table *table, const Host *host, bool *ret_found);

/* ---- restrictions.c ---- */
typedef enum { DESTINATION_OURS, DESTINATION_ELSEWHERE, DESTINATION_UNCERTAIN } Destination;
Destination find_destination(const Evaluation *evaluation); /* of the recipient */
RestrictionFunc permit_auth_destination;
Verdict refuse_invalid_literal(Evaluation *evaluation); /* a HELO name that begins with '[', unless it is good */

/* ---- dns.c ---- */
/* What DNS says; NULL: VERDICT_NEED. Owned by the inquiry. A session asks each question once. */
const DnsAnswer *ask_dns(Evaluation *evaluation, const char *name, DnsType type);
const char *dns_trouble(const DnsAnswer *answer);     /* why there are no records, as h_errno(3) puts it */
const char *address_trouble(const DnsAnswer *answer); /* the same of addresses, as getaddrinfo(3) does */
/* The host of an address as it was given: behind its last '@', or all of it. */
const char *domain_of(const char *address);
/* Asks about the addresses of hosts from the one at start on, as many as may be asked at once. */
void ask_addresses_ahead(Evaluation *evaluation, const DnsAnswer *hosts, guint start);

/* ---- unknown.c ---- */
RestrictionFunc reject_unknown_client_hostname, reject_unknown_reverse_client_hostname, reject_unknown_helo_hostname,
    reject_unknown_sender_domain, reject_unknown_recipient_domain;

/* ---- servers.c ---- */
RestrictionFunc check_client_mx_access, check_client_ns_access, check_client_a_access, check_reverse_client_mx_access,
    check_reverse_client_ns_access, check_reverse_client_a_access, check_helo_mx_access, check_helo_ns_access,
    check_helo_a_access, check_sender_mx_access, check_sender_ns_access, check_sender_a_access,
    check_recipient_mx_access, check_recipient_ns_access, check_recipient_a_access,
    check_reverse_client_hostname_access;

/* ---- listed.c ---- */
RestrictionFunc reject_rbl_client, reject_rhsbl_client, reject_rhsbl_reverse_client, reject_rhsbl_helo,
    reject_rhsbl_sender, reject_rhsbl_recipient, permit_dnswl_client, permit_rhswl_client;
RestrictionFunc ask_address_list, ask_client_list, ask_reverse_client_list, ask_helo_list, ask_sender_list,
    ask_recipient_list;

/* ---- listed_reply.c ---- */
typedef struct {
    const DnsList *list;
    const char *what, *class; /* what is listed */
    const char *reason;       /* the list's own text; "" for none */
} Listing;
Verdict refuse_listed(Evaluation *evaluation, const Listing *listing);

/* ---- mx_backup.c ---- */
RestrictionFunc permit_mx_backup;
RestrictionFunc reject_plaintext_session, permit_tls_clientcerts, permit_tls_all_clientcerts; /* tls.c */

/* ---- action.c ---- */
/* What was found in a table. */
typedef struct {
    const char *table; /* spec */
    const char *key;
    const char *what, *class; /* of what was looked up */
    const char *default_check;
    const char *value;
} Found;
Verdict apply_action(Evaluation *evaluation, const Found *found);

/* ---- dsn_class.c ---- */
/* Sender, recipient and other classes have their own address status codes: corrects dsn ("5.1.8") and says so in the
 * log. Caller frees. */
char *dsn_for_class(Evaluation *evaluation, const char *dsn, const char *class);

/* ---- hostname.c ---- */
bool hostname_is_valid(const char *name);   /* letters, digits, '-' and '_'; not all numeric */
bool hostname_is_literal(const char *text); /* "[1.2.3.4]", "[IPv6:::1]" */
bool hostname_is_address(const char *text); /* numeric, without brackets */
