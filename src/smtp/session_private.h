/* session_private.h - what the engine's own files share: session.c (lines, commands, the task) and session_content.c.
 */
#pragma once
#include "smtp/session.h"

/* What an outcome asks for. True: the function is done, it replied. False: *step says what to wait for. */
bool session_settled(Session *session, Outcome outcome, Step *step);
/* Reads once. True: there is more in the buffer. False: *step is set, or the session is closing (then *step is not). */
bool session_read_more(Session *session, size_t limit, Step *step);
/* The running command has replied: counts it. */
void session_command_finished(Session *session);

/* PHASE_CONTENT: decodes what is in the buffer; PHASE_END: has the service reply. True: *step is set. */
bool session_take_content(Session *session, Step *step);
bool session_finish_content(Session *session, Step *step);
