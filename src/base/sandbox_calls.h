/* sandbox_calls.h - lists of system calls, for sandbox.c alone. */
#pragma once
#include "base/sandbox.h"

/* Names, up to a NULL. Those that this machine does not have are passed over. */
extern const char *const sandbox_denied[];         /* to everybody */
extern const char *const sandbox_denied_users[];   /* but with SANDBOX_BECOMES */
extern const char *const sandbox_denied_forks[];   /* but with SANDBOX_FORKS */
extern const char *const sandbox_allowed_common[]; /* allow-list: to everybody */

typedef struct {
    SandboxCalls calls;
    const char *const *names;
} SandboxGroup;
extern const SandboxGroup sandbox_groups[]; /* allow-list: to those who say so */
extern const size_t sandbox_group_count;
