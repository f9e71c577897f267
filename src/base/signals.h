/* signals.h - threads that signals do not disturb: these are the first thread's business. */
#pragma once
#include <signal.h>

/* Until signals_restore() no signal comes to this thread, nor ever to those that it makes meanwhile; but for SIGSYS, by
 * which a refused system call is reported in the thread that made it (sandbox.h): the kernel ends a process that blocks
 * it at once. */
void signals_block(sigset_t *ret_old);
void signals_restore(const sigset_t *old);
