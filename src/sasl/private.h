/* private.h - the seam between the exchanges, which sessions see (server.h), and who authenticates: a back end. */
#pragma once
#include "sasl/server.h"

#include <pthread.h>

typedef struct {
    char *name;
    unsigned properties; /* SASL_ bits */
} SaslMechanism;

typedef struct {
    guint64 number;
    TaskRef task;
    gint64 asked; /* clock_ms() of the last thing that was said */
    bool has_answer;
    SaslAnswer answer;
    void *part; /* the back end's */
} SaslExchange;

/* The functions are called under the lock of the server, and none may block. What they find out is told by
 * sasl_give(). */
typedef struct {
    const char *no_mechanism; /* why, where that is not offered */
    bool knows_policy;        /* but for the filter: it refuses by itself what is not for a client, or not there */
    const char *bad_initial, *bad_continued; /* why, where a response is no base64; NULL: the back end finds that out */
    size_t response_max;                     /* octets of a response */
    SaslKnowledge (*look)(SaslServer *server); /* NOT_YET: sasl_learn() will come */
    void (*start)(SaslServer *server, SaslExchange *exchange, const SaslStart *start);
    void (*next)(SaslServer *server, SaslExchange *exchange, const char *response);
    void (*cancel)(SaslServer *server, SaslExchange *exchange, bool hangs);
    void (*release)(void *part);      /* of an exchange that ends, however it does; NULL: it has none */
    void (*free)(SaslServer *server); /* its own part, and all */
} SaslBackend;

struct SaslServer {
    const SaslBackend *backend;
    Sched *sched;
    pthread_mutex_t lock;
    GPtrArray *mechanisms; /* of SaslMechanism; replaced, never changed. NULL: none known yet */
    GHashTable *exchanges; /* by number */
    guint64 last_number;
    GArray *askers; /* TaskRef of those who wait for the mechanisms */
};

void sasl_init(SaslServer *server, const SaslBackend *backend, Sched *sched);
void sasl_clear(SaslServer *server);

GPtrArray *sasl_mechanisms_new(void);
void sasl_mechanisms_add(GPtrArray *mechanisms, const char *name, unsigned properties);

/* All three under the lock. */
void sasl_learn(SaslServer *server,
                GPtrArray *mechanisms); /* takes them; NULL: what was known stays, who waits wakes */
void sasl_give(SaslServer *server, guint64 number, SaslAnswer *answer); /* takes its texts; nobody may wait any more */
void sasl_give_up(SaslServer *server);                                  /* all that is under way fails, for now */

/* A text of the other side for replies and log lines: one line, nothing that is not shown. */
char *sasl_harmless(const char *text, size_t max);
/* Overwrites it first. NULL is fine. */
void sasl_forget(char *text);
