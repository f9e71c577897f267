/* rules.h - cleanup's constant configuration, for the files of this folder. */
#pragma once
#include "cleanup/cleanup.h"
#include "route/route.h"
#include "table/table.h"

/* Where an address stands; a set of these is a *_classes parameter. */
typedef enum {
    ROLE_ENVELOPE_SENDER = 1,
    ROLE_ENVELOPE_RECIPIENT = 2,
    ROLE_HEADER_SENDER = 4,
    ROLE_HEADER_RECIPIENT = 8,
} Role;
#define ROLE_ANY_SENDER (ROLE_ENVELOPE_SENDER | ROLE_HEADER_SENDER)

typedef struct {
    const char *name; /* of the parameter, for the log */
    Tables *tables;
    unsigned roles;   /* addresses that are looked up */
    bool propagates;  /* propagate_unmatched_extensions names its kind */
} AddressMaps;

struct Cleanup {
    const Config *config;
    Spool *spool;
    Route *route;

    const char *myhostname, *myorigin, *delimiters;
    guint64 message_size_limit; /* 0: none */
    gint64 header_size_limit, hopcount_limit, header_address_limit;
    GPtrArray *drop_headers;        /* names */
    const char *undisclosed_header; /* "" : none */
    const char *remote_domain;      /* remote_header_rewrite_domain */
    bool always_add_headers;
    bool requiretls; /* the header for it counts */

    AddressMaps sender_canonical, recipient_canonical, canonical;
    GPtrArray *masquerade_domains; /* with '!' where excepted */
    GPtrArray *masquerade_exceptions;
    unsigned masquerade_roles;

    AddressMaps virtual_alias;
    gint64 alias_expansion_limit, alias_recursion_limit, alias_length_limit;
    const char *always_bcc;
    AddressMaps sender_bcc, recipient_bcc;
    bool original_recipient; /* enable_original_recipient */
    gint64 duplicate_limit;  /* 0: none */
};

/* Of one message: who it is for the log, what is to be done. */
typedef struct {
    const Cleanup *cleanup;
    const char *id;
    bool mappings; /* not receive_override_options=no_address_mappings */
    bool probe;    /* nobody gets copies */
} Job;
