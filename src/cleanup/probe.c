/* probe.c - probes on their way into the spool: an envelope without content. */
#include "base/clock.h"
#include "base/fail.h"
#include "base/log.h"
#include "cleanup/expand.h"
#include "cleanup/rewrite.h"

static Envelope *make_envelope(const char *address, Probe kind)
{
    Envelope *envelope = envelope_new();

    envelope->probe = kind;
    envelope->arrival_us = clock_wall_us();
    envelope->origin = (Origin){.name = g_strdup("localhost"),
                                .addr = g_strdup("127.0.0.1"),
                                .port = g_strdup("unknown"),
                                .protocol = g_strdup("SMTP"),
                                .is_local = true};
    envelope->smtputf8 = !g_str_is_ascii(address); /* smtputf8_autodetect_classes */
    envelope_add(envelope, address);
    return envelope;
}

char *cleanup_probe(Cleanup *cleanup, const char *sender, const char *address, Probe kind, GError **error)
{
    g_autoptr(Envelope) envelope = make_envelope(address, kind);
    SpoolWriter *writer = spool_create(cleanup->spool, error);

    if (!writer)
        return NULL;
    g_autofree char *id = g_strdup(spool_writer_id(writer));
    const Job job = {.cleanup = cleanup, .id = id, .mappings = true, .probe = true};
    envelope->sender = rewrite_address(&job, ROLE_ENVELOPE_SENDER, sender);
    if (!envelope->sender || expand_recipients(&job, envelope) != EXPAND_DONE) {
        spool_abort(writer);
        fail(error, "%s: the address to probe cannot be mapped: %s", id, address);
        return NULL;
    }
    log_info_as("cleanup", "%s: message-id=<>", id);
    if (!spool_commit(writer, envelope, false, error))
        return NULL;
    return g_steal_pointer(&id);
}
