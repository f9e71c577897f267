/* sasl_line.h - lines of Dovecot's authentication protocol, version 1 (its client side). No I/O here. */
#pragma once
#include "sasl/sasl.h"

typedef enum {
    SASL_LINE_OTHER, /* nothing that we need */
    SASL_LINE_BAD,   /* not what a server may say */
    SASL_LINE_VERSION,
    SASL_LINE_MECH,
    SASL_LINE_READY, /* the end of its greeting */
    SASL_LINE_ANSWER,
} SaslLineKind;

typedef struct {
    SaslLineKind kind;
    char *name;          /* MECH */
    unsigned properties; /* MECH: SASL_ bits */
    guint64 number;      /* ANSWER */
    SaslAnswer answer;
} SaslLine;

/* line: without its end; it is changed. */
SaslLine sasl_line_parse(char *line);
void sasl_line_clear(SaslLine *line);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(SaslLine, sasl_line_clear)

/* "AUTH\t..\n", "CONT\t..\n": in memory of exactly that size, so that it can be overwritten. */
char *sasl_line_auth(guint64 number, const char *service, const SaslStart *start);
char *sasl_line_cont(guint64 number, const char *response);
