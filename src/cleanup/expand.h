/* expand.h - recipients as the client named them into recipients as they are delivered to: rewriting, virtual aliases, blind copies, no address twice. */
#pragma once
#include "cleanup/rules.h"

typedef enum {
    EXPAND_DONE,
    EXPAND_FAILED, /* a table did not answer: 451, queue file write error */
    EXPAND_LIMIT,  /* too many, too long, or in a circle: 451 4.6.0 */
} ExpandResult;

/* Replaces envelope's recipients; its sender is rewritten already. When not DONE, it has been logged, and the recipients are undefined. */
ExpandResult expand_recipients(const Job *job, Envelope *envelope);
