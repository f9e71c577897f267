/* smtp_inspector.c - another SMTP filter at the end of the chain. It gets the message as our own next hop would, and
 * what it takes it passes on itself: its reply is the verdict. */
#include "base/clock.h"
#include "base/fail.h"
#include "filter/inspector.h"
#include "net/endpoint.h"
#include "smtp/dial.h"
#include "smtp/hop_tls.h"

#include <string.h>

typedef struct {
    Endpoint *endpoint;
    HopTls *tls; /* NULL: none */
    char *peer;  /* for log lines */
    const char *families, *hostname;
    gint64 timeout_ms;
} SmtpInspector;

static bool smtp_open(InspectorSettings *settings, void **ret_state, GError **error)
{
    const Config *config = settings_config(settings);
    const char *name = settings_text(settings, "endpoint"), *level = settings_text(settings, "tls_security_level");
    SmtpInspector *smtp = g_new0(SmtpInspector, 1);

    *ret_state = smtp;
    if (!name || !*name)
        return fail(error, "smtp: the address of a filter is missing, as in { smtp: 127.0.0.1:10030 }");
    smtp->endpoint = endpoint_parse(name, config_string(config, "queue_directory"), 0, error);
    endpoint_announce(smtp->endpoint);
    if (!smtp->endpoint) {
        g_prefix_error(error, "smtp: ");
        return false;
    }
    smtp->peer = g_strdup_printf("filter %s", name);
    smtp->families = config_string(config, "inet_protocols");
    smtp->hostname = config_string(config, "myhostname");
    smtp->timeout_ms = config_seconds(config, "filter_timeout") * 1000;
    return hop_tls_open_text(config, "smtp: tls_security_level", level ? level : "", &smtp->tls, error);
}

static void smtp_close(void *state)
{
    SmtpInspector *smtp = state;

    endpoint_free(smtp->endpoint);
    hop_tls_free(smtp->tls);
    g_free(smtp->peer);
    g_free(smtp);
}

/* --- the dialogue --- */

typedef struct {
    Client *client;
    Verdict *verdict;
} Dialogue;

/* A reply that ends the dialogue is the verdict. False: it is no answer. */
static bool conclude(Dialogue *dialogue, const Reply *reply, GError **error)
{
    Verdict *verdict = dialogue->verdict;

    if (!reply_is(reply, 2) && !reply_is(reply, 4) && !reply_is(reply, 5)) {
        g_autofree char *shown = reply_for_log(reply);
        return fail(error, "it says \"%s\"", shown);
    }
    verdict->kind = reply_is(reply, 2) ? VERDICT_TAKEN : reply_is(reply, 4) ? VERDICT_TEMPFAIL : VERDICT_REJECT;
    verdict->reply = g_strdup(reply_text(reply));
    verdict->reason = reply_for_log(reply);
    return true;
}

/* Sends line and wants a reply of that class. False: error, or the verdict was given. */
static bool say(Dialogue *dialogue, const char *line, int class, Reply **ret_reply, GError **error)
{
    if (!client_command_line(dialogue->client, ret_reply, error, line))
        return false;
    if (reply_is(*ret_reply, class))
        return true;
    conclude(dialogue, *ret_reply, error);
    return false;
}

/* No refusal at this stage is about the message. */
static bool greet(const SmtpInspector *smtp, Dialogue *dialogue, unsigned *ret_offered, GError **error)
{
    g_autoptr(Reply) reply = NULL;
    g_autofree char *ehlo = g_strdup_printf("EHLO %s", smtp->hostname);

    if (!client_read_reply(dialogue->client, &reply, error))
        return false;
    if (reply_is(reply, 2) && !client_command_line(dialogue->client, &reply, error, ehlo))
        return false;
    if (reply_is(reply, 2) && !hop_tls_upgrade(smtp->tls, dialogue->client, smtp->endpoint, ehlo, &reply, error))
        return false;
    *ret_offered = xforward_offer_in(reply_text(reply));
    g_autofree char *shown = reply_for_log(reply);
    return reply_is(reply, 2) || fail(error, "it greets with \"%s\"", shown);
}

static bool tell_envelope(Dialogue *dialogue, const Message *message, unsigned offered, GError **error)
{
    g_autofree char *warning = NULL;
    g_autoptr(GPtrArray) lines = xforward_commands(&message->client, offered, &warning);
    g_autoptr(Reply) reply = NULL;

    for (guint i = 0; i < lines->len; i++)
        if (!say(dialogue, lines->pdata[i], 2, &reply, error))
            return false;
    if (!say(dialogue, message->mail, 2, &reply, error))
        return false;
    for (guint i = 0; i < message->recipients->len; i++)
        if (!say(dialogue, ((MessageRecipient *)message->recipients->pdata[i])->line, 2, &reply, error))
            return false;
    return say(dialogue, "DATA", 3, &reply, error);
}

static bool send_piece(void *user, const char *data, size_t len, bool ends_line)
{
    return client_content(user, data, len, ends_line, NULL);
}

/* What is lost behind the final dot may have been taken: that is no failure to inspect, but an answer nobody has. */
static bool tell_content(Dialogue *dialogue, Content *content, GError **error)
{
    g_autoptr(Reply) reply = NULL;

    client_begin_content(dialogue->client);
    content_replay(content, send_piece, dialogue->client);
    if (content_failed(content))
        return fail(error, "content: %s", g_strerror(content_failed(content)));
    if (client_end_content(dialogue->client, &reply, error))
        return conclude(dialogue, reply, error);
    if (!client_dot_sent(dialogue->client))
        return false;
    verdict_tempfail(dialogue->verdict, 451, "4.3.0", INSPECTOR_FAILED, (*error)->message);
    g_clear_error(error);
    return true;
}

static bool smtp_inspect(void *state, const Inspection *inspection, Verdict *verdict, GError **error)
{
    const SmtpInspector *smtp = state;
    const Message *message = inspection->message;
    g_autoptr(GError) why = NULL;
    unsigned offered;

    gint64 left = MIN(smtp->timeout_ms, inspection->deadline - clock_ms());
    g_autoptr(Client) client =
        dial(inspection->resolver, smtp->endpoint, smtp->families, smtp->peer, MAX(left, 1), &why);
    if (client)
        client_set_timeout(client, smtp->timeout_ms);
    Dialogue dialogue = {.client = client, .verdict = verdict};
    if (client)
        client_set_deadline(client, inspection->deadline);
    bool answered = client && greet(smtp, &dialogue, &offered, &why) &&
                    tell_envelope(&dialogue, message, offered, &why) && tell_content(&dialogue, message->content, &why);
    if (answered || verdict->reply) {
        client_quit(g_steal_pointer(&client));
        return true;
    }
    return fail(error, "%s: %s", smtp->peer, why ? why->message : "lost connection");
}

const InspectorClass inspector_smtp = {
    .kind = "smtp",
    .value_name = "endpoint",
    .passes_on = true,
    .open = smtp_open,
    .inspect = smtp_inspect,
    .close = smtp_close,
};
