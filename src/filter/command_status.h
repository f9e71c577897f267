/* command_status.h - what a command inspector's exit status means. Pure functions. */
#pragma once
#include "filter/verdict.h"

typedef struct {
    gint8 kind[256];         /* VerdictKind, or -1: it could not say */
    const char *status[256]; /* enhanced status code of a refusal */
    const char *text[256];   /* and its words where the program gave none */
} CommandStatus;

/* 0 accepts, 69 rejects, 75 defers, 99 discards, the rest of sysexits.h as pipe(8) has it; then spec's:
 * "1:reject,2:tempfail" with the verdicts' names, NULL for none. False: error. */
bool command_status_init(CommandStatus *status, const char *spec, GError **error);

/* said: what the program said, its last line is the text of a refusal. False: the status is no answer. */
bool command_status_apply(const CommandStatus *status, int code, const char *said, Verdict *verdict);
