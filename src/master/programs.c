/* programs.c - what the last field of a master.cf line may name. */
#include "master/programs.h"

#include <string.h>

static const Program programs[] = {
    {"smtpd", PROGRAM_SERVER},
    {"filter", PROGRAM_SERVER},
    {"spawn", PROGRAM_SERVER, .takes_arguments = true},
    {"qmgr", PROGRAM_QMGR},
    {"oqmgr", PROGRAM_QMGR, .runs = "qmgr"},
    {"nqmgr", PROGRAM_QMGR, .runs = "qmgr"},
    {"virtual", PROGRAM_AGENT, .stays_outside = true},
    {"smtp", PROGRAM_AGENT},
    {"error", PROGRAM_AGENT},
    {"discard", PROGRAM_AGENT},

    {"anvil", PROGRAM_FUNCTION},
    {"cleanup", PROGRAM_FUNCTION},
    {"flush", PROGRAM_FUNCTION},
    {"pickup", PROGRAM_FUNCTION},
    {"postlogd", PROGRAM_FUNCTION},
    {"proxymap", PROGRAM_FUNCTION},
    {"scache", PROGRAM_FUNCTION},
    {"showq", PROGRAM_FUNCTION},
    {"tlsmgr", PROGRAM_FUNCTION},
    {"trivial-rewrite", PROGRAM_FUNCTION},
    {"verify", PROGRAM_FUNCTION},

    {"bounce", PROGRAM_LATER, .note = "nobody is notified; undeliverable mail is logged and kept on hold"},
    {"lmtp", PROGRAM_LATER, .note = "mail for such a transport is deferred"},
    {"local", PROGRAM_LATER, .note = "mail for such a transport is deferred"},
    {"pipe", PROGRAM_LATER, .note = "mail for such a transport is deferred"},

    {"dnsblog", PROGRAM_REFUSED, .note = "smtpd asks DNS lists itself: use reject_rbl_client"},
    {"postscreen", PROGRAM_REFUSED, .note = "let smtpd listen there; its restrictions take postscreen's place"},
    {"qmqpd", PROGRAM_REFUSED, .note = "let clients use SMTP, with smtpd"},
    {"tlsproxy", PROGRAM_REFUSED, .note = "smtpd and smtp speak TLS themselves"},
};

const Program *program_find(const char *command)
{
    for (size_t i = 0; i < G_N_ELEMENTS(programs); i++)
        if (strcmp(programs[i].command, command) == 0)
            return &programs[i];
    return NULL;
}
