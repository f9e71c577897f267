/* inspector.h - what looks at a message before it is passed on, and the chain of them that a filter line has
 * (`filter_inspectors`):
 *
 *     filter_inspectors = { checks: header_checks=pcre:/f, timeout=10s, size_limit=10M, on_failure=tempfail },
 *         { command: argv=/usr/bin/spamc -E -x, user=nobody }, { smtp: 127.0.0.1:10030 }
 *
 * An element is a kind, an optional value, and attributes between commas; braces protect a value with commas. Every
 * kind has name=, timeout=, size_limit= and on_failure=, its own besides. `$name` is expanded as in all of main.cf, but
 * not in argv=, where it is the inspector's.
 *
 * Inspectors run in order, in the thread of the session, behind a gate; each sees what those before it changed. The
 * first that does not accept ends the chain. */
#pragma once
#include "config/config.h"
#include "dns/resolver.h"
#include "filter/message.h"

/* The text of a refusal that is an inspector's own failure: strangers learn no more of it than of any other. */
#define INSPECTOR_FAILED "Error: queue file write error"

typedef struct Inspector Inspector;
typedef struct InspectorSettings InspectorSettings;

/* One inspection. */
typedef struct {
    const Message *message;
    Resolver *resolver; /* for names of servers */
    gint64 deadline;    /* clock_ms(): an answer later than that is none */
    ContentPlace place; /* for content of one's own */
} Inspection;

/* A kind of inspector, constant. */
typedef struct {
    const char *kind;
    bool passes_on;         /* what it accepts it has passed on itself: nothing may follow it */
    const char *value_name; /* the attribute that a value without a name is; NULL: none */
    /* Before the first thread and while the process is still what it was started as (root, if the master is).
     * *ret_state is the inspector's own, freed by close. */
    bool (*open)(InspectorSettings *settings, void **ret_state, GError **error);
    /* Any thread, several at once. Fills verdict and returns true, or false: it could not say, and why. Blocks until
     * the deadline at most. */
    bool (*inspect)(void *state, const Inspection *inspection, Verdict *verdict, GError **error);
    void (*close)(void *state);
    /* A descriptor that becomes readable when the inspector can never answer again. NULL: there is none. */
    int (*descriptor)(void *state);
} InspectorClass;

extern const InspectorClass inspector_checks, inspector_command, inspector_smtp;

/* An attribute's text; NULL: not given. Asking marks it as known: an attribute that nobody asked for is an error when
 * the chain is opened. */
const char *settings_text(InspectorSettings *settings, const char *name);
const char *settings_name(InspectorSettings *settings); /* what the log calls it: name=, else the kind */
const Config *settings_config(InspectorSettings *settings);
/* Numbers with Postfix's time units, and octets with k, M, G. Absent: fallback. False: error. */
bool settings_seconds(InspectorSettings *settings, const char *name, gint64 fallback, gint64 *ret, GError **error);
bool settings_octets(InspectorSettings *settings, const char *name, gint64 fallback, gint64 *ret, GError **error);

typedef struct Inspectors Inspectors;

/* What one inspector did, for log and quarantine. */
typedef struct {
    const char *inspector; /* its name */
    const char *result;    /* verdict's name, "changed", "failed" or "skipped" */
    char *text;            /* why; NULL: nothing to tell */
    gint64 ms;
} InspectionRecord;

/* No element: a chain that accepts. NULL: error. */
Inspectors *inspectors_open(const Config *config, GError **error);
void inspectors_close(Inspectors *inspectors);                /* NULL is fine */
GArray *inspectors_descriptors(const Inspectors *inspectors); /* of int: see InspectorClass; caller unrefs */
bool inspectors_are_none(const Inspectors *inspectors);

/* Asks them in order until deadline. Changes are made in message. verdict: of the whole chain, without changes.
 * records: of InspectionRecord, appended to. Blocks. */
void inspectors_run(Inspectors *inspectors, Message *message, const ContentPlace *place, Resolver *resolver,
                    gint64 deadline, Verdict *verdict, GPtrArray *records);
/* Logs, for each inspector that was asked since the last time, how often it gave which verdict and why it gave none. */
void inspectors_log_statistics(Inspectors *inspectors);
void inspection_record_free(InspectionRecord *record);
