/* dovecot_line.h - lines of Dovecot's authentication protocol, version 1 (its client side). No I/O here. */
#pragma once
#include "sasl/private.h"

typedef enum {
    DOVECOT_LINE_OTHER, /* nothing that we need */
    DOVECOT_LINE_BAD,   /* not what a server may say */
    DOVECOT_LINE_VERSION,
    DOVECOT_LINE_MECH,
    DOVECOT_LINE_READY, /* the end of its greeting */
    DOVECOT_LINE_ANSWER,
} DovecotLineKind;

typedef struct {
    DovecotLineKind kind;
    char *name;          /* MECH */
    unsigned properties; /* MECH: SASL_ bits */
    guint64 number;      /* ANSWER */
    SaslAnswer answer;
} DovecotLine;

/* line: without its end; it is changed. */
DovecotLine dovecot_line_parse(char *line);
void dovecot_line_clear(DovecotLine *line);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(DovecotLine, dovecot_line_clear)

/* "AUTH\t..\n", "CONT\t..\n": in memory of exactly that size, so that it can be overwritten. */
char *dovecot_line_auth(guint64 number, const char *service, const SaslStart *start);
char *dovecot_line_cont(guint64 number, const char *response);
