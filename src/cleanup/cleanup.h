/* cleanup.h - intake of a message into the spool (cleanup(8)): what the SMTP server receives becomes a queue file. Adds
 * and drops headers, checks limits, maps recipients, logs under the tag cleanup. One Intake per message; used by one
 * session at a time. */
#pragma once
#include "config/config.h"
#include "smtp/reply.h"
#include "spool/spool.h"

typedef struct Cleanup Cleanup; /* constant configuration with its tables, shared by all sessions */
typedef struct Intake Intake;

/* config and spool stay the caller's and outlive the cleanup. Tables are opened by cleanup_new(), before root is given
 * up; the spool, which is the user's, comes afterwards, and before the first message. */
Cleanup *cleanup_new(const Config *config, GError **error);
void cleanup_use_spool(Cleanup *cleanup, Spool *spool);
void cleanup_free(Cleanup *cleanup); /* NULL is fine */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Cleanup, cleanup_free)

typedef struct {
    bool address_mappings; /* false: receive_override_options=no_address_mappings */
    bool body_checks;      /* no_header_body_checks, for when they come */
} IntakeOptions;

/* Creates the queue file. Of envelope, the sender and origin.is_local must be known by now and stay (a From: header may
 * be made of them while content comes in); it is not kept. NULL: error is for the log, the client gets 451 4.3.0 Error:
 * queue file write error. */
Intake *intake_new(Cleanup *cleanup, const Envelope *envelope, const IntakeOptions *options, GError **error);
const char *intake_id(const Intake *intake);

/* Goes above everything: access' PREPEND first, then our Received: (whole header, '\n' inside for folding). Before the
 * first content. */
void intake_prepend(Intake *intake, const char *header);
/* One piece of canonical content. Errors (space, limit) are remembered for intake_finish(); what comes after one is
 * dropped. */
void intake_content(Intake *intake, const char *data, size_t len, bool ends_line);
/* The end of content: completes headers, maps sender and recipients. Fills envelope's recipients anew (aliases
 * expanded, originals kept), and sets requiretls if a header Require-TLS-ESMTP: yes asks for it. Does not block on
 * disk, but waits for tables. Returns NULL when the message may be committed, else the refusal (552, 554 5.4.0 too many
 * hops, 451, ...), already logged; envelope's recipients are then undefined, and the intake is to be aborted. */
Reply *intake_finish(Intake *intake, Envelope *envelope);
/* Blocks (behind a gate): spool_commit(), logs nothing on success. Frees intake. hold: the message goes to hold/. NULL:
 * committed; else the reply (451 4.3.0 Error: queue file write error), logged. */
Reply *intake_commit(Intake *intake, const Envelope *envelope, bool hold);
/* The message is not queued: its file is removed, and the log says so ("QID: removed (canceled)"). NULL is fine. */
void intake_abort(Intake *intake);
/* The same for a message that was accepted in order to vanish (DISCARD): "QID: removed (discarded)". */
void intake_discard(Intake *intake);

/* A probe (mail/envelope.h) of an address, complete, in internal form: an envelope alone, mapped like any other but for
 * blind copies, in the queue. kind: not PROBE_NONE. Waits for tables and makes a file, but is not synced. Returns the
 * queue id, for who tells the queue manager; NULL: error. */
char *cleanup_probe(Cleanup *cleanup, const char *sender, const char *address, Probe kind, GError **error);
