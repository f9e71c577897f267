/* signals.c - the mask of threads. */
#include "base/signals.h"

#include <stddef.h>

void signals_block(sigset_t *ret_old)
{
    sigset_t all;

    sigfillset(&all);
    sigdelset(&all, SIGSYS);
    pthread_sigmask(SIG_SETMASK, &all, ret_old);
}

void signals_restore(const sigset_t *old)
{
    pthread_sigmask(SIG_SETMASK, old, NULL);
}
