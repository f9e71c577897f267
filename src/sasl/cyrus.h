/* cyrus.h - Cyrus SASL (smtpd_sasl_type = cyrus) as a back end of server.h: libsasl2, its plugins, and saslauthd.
 *
 * The library is of the process: cyrus_open() has it read its configuration ($smtpd_sasl_path.conf in
 * $cyrus_sasl_config_path) and load its plugins, before root is given up. Its functions block, in databases mostly, so
 * an exchange is a task that goes behind a gate for each of its steps. Who is not answered within SASL_TIME_MS is told
 * to come again: one call cannot be ended, but the gate's places bound how many hang.
 *
 * saslauthd is asked by saslauthd.h, with a deadline. Where smtpd.conf names it among its pwcheck_method, it is asked
 * first.
 *
 * Of what the library logs, errors, warnings and failures are logged, other things with -v; never what is below that,
 * which may hold passwords. Memory that it frees, and the stack of its calls, are overwritten. */
#pragma once
#include "base/account.h"
#include "sasl/server.h"

#define CYRUS_PLACES 32            /* calls into the library at once */
#define CYRUS_EXCHANGE_OCTETS 8192 /* of memory that one takes, about, also while its client says nothing */

typedef struct {
    const char *config_path; /* cyrus_sasl_config_path: directories, with ':' between them */
    const char *name;        /* smtpd_sasl_path: of the file there, without .conf */
    const char *host;        /* myhostname: the realm of users that name none, in databases */
    const char *realm;       /* smtpd_sasl_local_domain; "": none */
    const char *service;     /* smtpd_sasl_service */
    const char *root;        /* where / will be later; NULL: where it is */
} CyrusOptions;

/* The strings outlive the process's sessions. Once, before the first thread; says what it will want to sandbox.h. */
bool cyrus_open(const CyrusOptions *options, GError **error);
/* What will not work although the library has started: texts for the log. For a process that has become what it will
 * be, with its user and its root. Freed with g_ptr_array_unref(). */
GPtrArray *cyrus_doubts(void);
/* Before sched_run(). account: of what clients make us hold; not touched after sched_free(). */
SaslServer *sasl_new_cyrus(Sched *sched, Account *account);
