/* release.c - a message on its way out of quarantine. What the next hop may believe, and what our index says:
 *
 *     up to the content's last line   nothing was sent; "releasing", which anybody may take up again
 *     before the final dot goes out   it may have the message; "uncertain"
 *     reply 2xx                       it has; "released"
 *     reply 4xx, 5xx                  it has not; "quarantined" */
#include "quarantine/release.h"
#include "base/clock.h"
#include "base/fail.h"
#include "base/fd.h"
#include "base/log.h"
#include "quarantine/private.h"
#include "smtp/dial.h"
#include "smtp/envelope_lines.h"

#include <string.h>
#include <sys/stat.h>

typedef struct {
    Quarantine *quarantine;
    const QuarantineRelease *release;
    const char *nexthop;
    QuarantineRecord *record;
    GArray *chosen; /* guint: numbers of recipients */
    Content *content;
    Endpoint *endpoint; /* of nexthop, once connected */
    Client *client;
    Reply *reply;
} Releasing;

/* ---- the index ---- */

static const char message_state_sql[] =
    "UPDATE message SET state = CASE"
    "  WHEN EXISTS(SELECT 1 FROM recipient WHERE id = ?1 AND state = 2) THEN 2"
    "  WHEN EXISTS(SELECT 1 FROM recipient WHERE id = ?1 AND state = 1) THEN 1"
    "  WHEN EXISTS(SELECT 1 FROM recipient WHERE id = ?1 AND state = 0) THEN 0 ELSE 3 END WHERE id = ?1";
G_STATIC_ASSERT(QUARANTINE_HELD == 0 && QUARANTINE_RELEASING == 1 && QUARANTINE_UNCERTAIN == 2);

/* Of one recipient, whose state was `before`. A forced release that comes to nothing, or is interrupted before the dot,
 * leaves what was known of an earlier one. */
static QuarantineState next_state(QuarantineState before, QuarantineState wanted)
{
    bool fresh = before == QUARANTINE_HELD || before == QUARANTINE_RELEASING;

    return fresh || wanted > QUARANTINE_RELEASING ? wanted : before;
}

static bool update_rows(Releasing *releasing, QuarantineState wanted, GError **error)
{
    for (guint i = 0; i < releasing->chosen->len; i++) {
        guint number = g_array_index(releasing->chosen, guint, i);
        QuarantineState before = g_array_index(releasing->record->states, QuarantineState, number);
        if (!db_run(releasing->quarantine, error, "UPDATE recipient SET state = ? WHERE id = ? AND number = ?", "iti",
                    (gint64)next_state(before, wanted), releasing->record->id, (gint64)number))
            return false;
    }
    return db_run(releasing->quarantine, error, message_state_sql, "t", releasing->record->id);
}

static bool add_event(Releasing *releasing, const char *what, GError **error)
{
    return db_run(releasing->quarantine, error, "INSERT INTO event(id, at, who, what) VALUES(?,?,?,?)", "titt",
                  releasing->record->id, clock_wall_us(), releasing->release->who, what);
}

/* what: for the message's history; NULL: nothing. */
static bool set_state(Releasing *releasing, QuarantineState state, const char *what, GError **error)
{
    if (!db_enter(releasing->quarantine, error))
        return false;
    bool done = db_begin(releasing->quarantine, error) && update_rows(releasing, state, error) &&
                (!what || add_event(releasing, what, error)) && db_commit(releasing->quarantine, NULL, error);
    db_leave(releasing->quarantine);
    return done;
}

static bool refuse(GError **error, QuarantineError code, const char *id, const char *text)
{
    g_set_error(error, QUARANTINE_ERROR, (int)code, "%s: %s", id, text);
    return false;
}

static bool choose_recipients(Releasing *releasing, GError **error)
{
    const QuarantineRecord *record = releasing->record;
    const char *pattern = releasing->release->recipient;
    guint matching = 0;

    for (guint i = 0; i < record->envelope->recipients->len; i++) {
        const Recipient *recipient = g_ptr_array_index(record->envelope->recipients, i);
        QuarantineState state = g_array_index(record->states, QuarantineState, i);
        if (pattern && !quarantine_matches(pattern, recipient->address))
            continue;
        matching++;
        if (state == QUARANTINE_UNCERTAIN && !releasing->release->force)
            return refuse(error, QUARANTINE_ERROR_UNCERTAIN, record->id,
                          "may have been released: the end of an earlier release is not known");
        if (state != QUARANTINE_RELEASED || releasing->release->force)
            g_array_append_val(releasing->chosen, i);
    }
    if (matching == 0)
        return refuse(error, QUARANTINE_ERROR_NOT_FOUND, record->id, "has no such recipient");
    return releasing->chosen->len > 0 ||
           refuse(error, QUARANTINE_ERROR_RELEASED, record->id, "has been released before");
}

/* ---- the dialogue; false: error is set, and nothing was delivered ---- */

static bool nexthop_failed(const Releasing *releasing, const char *what, const char *why, GError **error)
{
    g_set_error(error, QUARANTINE_ERROR, QUARANTINE_ERROR_NEXTHOP, "%s: next hop %s: %s: %s", releasing->record->id,
                releasing->nexthop, what, why);
    return false;
}

/* After an answer to line was, or was not, read: whether it is of the class. */
static bool expect(Releasing *releasing, bool answered, const char *line, int class, GError *why, GError **error)
{
    if (answered && reply_is(releasing->reply, class))
        return true;
    g_autofree char *said = answered ? reply_for_log(releasing->reply) : NULL;
    g_autofree char *shown = log_quote(line, strlen(line));
    return nexthop_failed(releasing, shown, answered ? said : why->message, error);
}

static bool say(Releasing *releasing, const char *line, int class, GError **error)
{
    g_autoptr(GError) why = NULL;
    bool answered = client_command_line(releasing->client, &releasing->reply, &why, line);

    return expect(releasing, answered, line, class, why, error);
}

static bool connect_nexthop(Releasing *releasing, GError **error)
{
    const QuarantineRelease *release = releasing->release;
    g_autofree char *peer = g_strdup_printf("next hop %s", releasing->nexthop);
    g_autoptr(GError) why = NULL;

    if (!*releasing->nexthop)
        return fail(error, "%s: no next hop is known: set quarantine_nexthop, or name one", releasing->record->id);
    releasing->endpoint = endpoint_parse(releasing->nexthop, release->base_dir, 0, error);
    if (!releasing->endpoint)
        return false;
    releasing->client =
        dial(release->resolver, releasing->endpoint, release->families, peer, release->timeout_ms, &why);
    if (!releasing->client)
        return nexthop_failed(releasing, "connect", why->message, error);
    bool greeted = client_read_reply(releasing->client, &releasing->reply, &why);
    return expect(releasing, greeted, "greeting", 2, why, error);
}

/* Where the filter would have spoken TLS; then hello is said once more. */
static bool start_tls(Releasing *releasing, const char *hello, GError **error)
{
    const QuarantineRelease *release = releasing->release;
    g_autoptr(GError) why = NULL;
    const HopTls *tls = release->find_tls(release->tls_user, releasing->nexthop);
    bool good = hop_tls_upgrade(tls, releasing->client, releasing->endpoint, hello, &releasing->reply, &why);

    return good ? expect(releasing, true, hello, 2, NULL, error)
                : nexthop_failed(releasing, "TLS", why->message, error);
}

static bool say_hello(Releasing *releasing, unsigned *ret_offers, GError **error)
{
    g_autofree char *hello = g_strdup_printf("EHLO %s", releasing->release->hostname);
    g_autofree char *warning = NULL;

    if (!say(releasing, hello, 2, error) || !start_tls(releasing, hello, error))
        return false;
    *ret_offers = offers_in(reply_text(releasing->reply));
    g_autoptr(GPtrArray) commands =
        xforward_commands(&releasing->record->client, xforward_offer_in(reply_text(releasing->reply)), &warning);
    for (guint i = 0; i < commands->len; i++)
        if (!say(releasing, g_ptr_array_index(commands, i), 2, error))
            return false;
    return true;
}

static bool count_octets(void *user, const char *data, size_t len, bool ends_line)
{
    guint64 *size = user;

    *size += len + (ends_line ? 2 : 0);
    return true;
}

static bool say_envelope(Releasing *releasing, unsigned offers, GError **error)
{
    const Envelope *envelope = releasing->record->envelope;
    guint64 size = 0;

    if (envelope->smtputf8 && !(offers & OFFER_SMTPUTF8))
        return nexthop_failed(releasing, "EHLO", "SMTPUTF8 is needed and not offered", error);
    content_replay(releasing->content, count_octets, &size); /* a failure shows when it is sent */
    g_autofree char *mail = envelope_mail_line(envelope, offers, size, true);
    if (!say(releasing, mail, 2, error))
        return false;
    for (guint i = 0; i < releasing->chosen->len; i++) {
        guint number = g_array_index(releasing->chosen, guint, i);
        g_autofree char *rcpt = envelope_rcpt_line(g_ptr_array_index(envelope->recipients, number), offers, true);
        if (!say(releasing, rcpt, 2, error))
            return false;
    }
    return say(releasing, "DATA", 3, error);
}

typedef struct {
    Client *client;
    GError *why;
} Sending;

static bool send_piece(void *user, const char *data, size_t len, bool ends_line)
{
    Sending *sending = user;

    return client_content(sending->client, data, len, ends_line, &sending->why);
}

static bool send_content(Releasing *releasing, GError **error)
{
    Sending sending = {.client = releasing->client};

    client_begin_content(releasing->client);
    if (content_replay(releasing->content, send_piece, &sending))
        return true;
    if (!sending.why)
        return fail(error, "%s: cannot be read: %s", releasing->record->id,
                    g_strerror(content_failed(releasing->content)));
    nexthop_failed(releasing, "sending content", sending.why->message, error);
    g_error_free(sending.why);
    return false;
}

static bool say_all_but_the_dot(Releasing *releasing, GError **error)
{
    unsigned offers;

    return connect_nexthop(releasing, error) && say_hello(releasing, &offers, error) &&
           say_envelope(releasing, offers, error) && send_content(releasing, error);
}

/* ---- the end ---- */

/* Nothing was delivered: as before, with a note. That this cannot be written down does no harm: whoever comes next may
 * take it up. */
static void hold_again(Releasing *releasing, const GError *why)
{
    g_autofree char *what = g_strdup_printf("not released: %s", why->message);

    client_free(g_steal_pointer(&releasing->client)); /* without a word: inside content any could end it */
    set_state(releasing, QUARANTINE_HELD, what, NULL);
}

static bool finish(Releasing *releasing, char **ret_reply, GError **error)
{
    g_autoptr(GError) why = NULL;
    bool answered = client_end_content(releasing->client, &releasing->reply, &why);

    bool final =
        answered && (reply_is(releasing->reply, 2) || reply_is(releasing->reply, 4) || reply_is(releasing->reply, 5));

    if (!final) {
        g_autofree char *what = g_strdup_printf("may have been released to %s: no reply to the end of the message: %s",
                                                releasing->nexthop, why ? why->message : "not SMTP");
        set_state(releasing, QUARANTINE_UNCERTAIN, what, NULL);
        return refuse(error, QUARANTINE_ERROR_UNCERTAIN, releasing->record->id, what);
    }
    g_autofree char *said = reply_for_log(releasing->reply);
    if (!reply_is(releasing->reply, 2)) {
        nexthop_failed(releasing, "end of message", said, &why);
        hold_again(releasing, why);
        g_propagate_error(error, g_steal_pointer(&why));
        return false;
    }
    client_quit(g_steal_pointer(&releasing->client));
    g_autofree char *what =
        g_strdup_printf("released to %s, %u recipient(s): %s", releasing->nexthop, releasing->chosen->len, said);
    if (!set_state(releasing, QUARANTINE_RELEASED, what, &why)) {
        g_set_error(error, QUARANTINE_ERROR, QUARANTINE_ERROR_UNCERTAIN, "%s: was released (%s), but: %s",
                    releasing->record->id, said, why->message);
        return false;
    }
    *ret_reply = g_steal_pointer(&said);
    return true;
}

static bool release_chosen(Releasing *releasing, char **ret_reply, GError **error)
{
    g_autofree char *begins =
        g_strdup_printf("release to %s begins%s", releasing->nexthop, releasing->release->force ? " (forced)" : "");
    GError *why = NULL;

    if (!set_state(releasing, QUARANTINE_RELEASING, begins, error))
        return false;
    if (say_all_but_the_dot(releasing, &why) && set_state(releasing, QUARANTINE_UNCERTAIN, NULL, &why))
        return finish(releasing, ret_reply, error);
    hold_again(releasing, why);
    g_propagate_error(error, why);
    return false;
}

/* The lock goes with the content. */
static bool open_content(Releasing *releasing, const char *id, GError **error)
{
    struct stat status;
    auto_fd fd = quarantine_lock_content(releasing->quarantine, id, error);

    if (fd < 0)
        return false;
    if (fstat(fd, &status) < 0)
        return fail_errno(error, "content of %s", id);
    releasing->record = quarantine_load(releasing->quarantine, id, error);
    if (!releasing->record)
        return false;
    if ((guint64)status.st_size != releasing->record->size)
        return fail(error, "%s: the content is damaged: %" G_GINT64_FORMAT " octets instead of %" G_GUINT64_FORMAT, id,
                    (gint64)status.st_size, releasing->record->size);
    releasing->content = content_of_file(fd_steal(&fd), status.st_size);
    return true;
}

bool quarantine_release(Quarantine *quarantine, const char *typed, const QuarantineRelease *release, char **ret_reply,
                        GError **error)
{
    Releasing releasing = {.quarantine = quarantine, .release = release};
    g_autofree char *id = quarantine_id_parse(typed, error);

    if (!id)
        return false;
    releasing.chosen = g_array_new(FALSE, FALSE, sizeof(guint));
    bool opened = open_content(&releasing, id, error);
    if (opened)
        releasing.nexthop = release->nexthop ? release->nexthop : releasing.record->nexthop;
    bool done = opened && choose_recipients(&releasing, error) && release_chosen(&releasing, ret_reply, error);
    client_free(releasing.client);
    endpoint_free(releasing.endpoint);
    reply_free(releasing.reply);
    content_free(releasing.content);
    quarantine_record_free(releasing.record);
    g_array_unref(releasing.chosen);
    return done;
}
