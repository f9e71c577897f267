/* programs.h - what the last field of a master.cf line may name, and what becomes of such a line here. */
#pragma once
#include <glib.h>
#include <stdbool.h>

typedef enum {
    PROGRAM_SERVER,   /* a process that serves clients: smtpd, filter, spawn */
    PROGRAM_QMGR,     /* a process, of which there is never more than one in a queue directory */
    PROGRAM_AGENT,    /* a process that qmgr gives deliveries to */
    PROGRAM_FUNCTION, /* a process in Postfix, a function of our processes here: nothing is started */
    PROGRAM_LATER,    /* known, not there yet: nothing is started, and a warning says so */
    PROGRAM_REFUSED,  /* who relies on it would be less protected without noticing: an error */
} ProgramKind;

typedef struct {
    const char *command; /* as in master.cf */
    ProgramKind kind;
    const char *runs;     /* processes: the service's program, "qmgr" for `oqmgr` too; NULL: command */
    bool takes_arguments; /* SERVER: other words than options */
    bool stays_outside;   /* of a chroot */
    const char *note;     /* LATER: what that means for mail; REFUSED: what to use instead */
} Program;

/* NULL: nothing that Postfix or we have. */
const Program *program_find(const char *command);
