/* virtual.c - delivery to virtual mailboxes, in a process that is the mailboxes' user already. */
#include "delivery/virtual.h"
#include "base/log.h"
#include "delivery/agents.h"
#include "delivery/virtual_private.h"
#include "mail/address.h"

#include <unistd.h>

typedef struct {
    VirtualOptions options;
    Mailboxes *mailboxes;
} Virtual;

VirtualOptions virtual_options(const Config *config)
{
    char host[256] = "localhost";

    gethostname(host, sizeof host - 1);
    return (VirtualOptions){.limit = (guint64)config_int(config, "virtual_mailbox_limit"),
                            .original = config_bool(config, "enable_original_recipient"),
                            .host = g_strdup(host),
                            .config = config};
}

/* Return-Path, X-Original-To, Delivered-To. A line end inside an address would be a header of the sender's making: '?'.
 */
static char *make_headers(const VirtualOptions *options, const Envelope *envelope, const Recipient *recipient)
{
    const char *original = recipient->original && recipient->original[0] ? recipient->original : recipient->address;
    g_autofree char *sender = address_quote(envelope->sender ? envelope->sender : "");
    g_autofree char *first = address_quote(original);
    g_autofree char *final = address_quote(recipient->address);
    g_autoptr(GString) out = g_string_new(NULL);

    g_string_append_printf(out, "Return-Path: <%s>\n", g_strdelimit(sender, "\r\n", '?'));
    if (options->original)
        g_string_append_printf(out, "X-Original-To: %s\n", g_strdelimit(first, "\r\n", '?'));
    g_string_append_printf(out, "Delivered-To: %s\n", g_strdelimit(final, "\r\n", '?'));
    return g_string_free(g_steal_pointer(&out), FALSE);
}

static Outcome outcome_of(const GError *error, const char *text)
{
    switch ((MaildirError)error->code) {
    case MAILDIR_ERROR_FULL:
        return (Outcome){.status = RESULT_DEFERRED, .dsn = "4.3.0", .text = text};
    case MAILDIR_ERROR_QUOTA:
    case MAILDIR_ERROR_TOO_LARGE:
        return (Outcome){.status = RESULT_BOUNCED, .dsn = "5.2.2", .text = text};
    case MAILDIR_ERROR_CORRUPT:
        return (Outcome){.status = RESULT_DEFERRED, .dsn = "4.3.0", .text = text, .kind = REPORT_CORRUPT};
    case MAILDIR_ERROR_MESSAGE:
        return (Outcome){.status = RESULT_DEFERRED, .dsn = "4.3.0", .text = text};
    case MAILDIR_ERROR_SYSTEM:
        break;
    }
    return (Outcome){.status = RESULT_DEFERRED, .dsn = "4.2.0", .text = text};
}

void virtual_deliver_to(const VirtualOptions *options, Attempt *attempt, guint index, const char *path)
{
    g_autofree char *headers = make_headers(options, attempt_envelope(attempt), attempt_recipient(attempt, index));
    const MaildirMail mail = {.message = attempt->message,
                              .number = attempt_number(attempt, index),
                              .headers = headers,
                              .again = attempt->request->again,
                              .limit = options->limit,
                              .host = options->host};
    g_autoptr(GError) error = NULL;
    Outcome outcome = {.status = RESULT_SENT, .dsn = "2.0.0", .text = "delivered to maildir"};
    g_autofree char *text = NULL;

    attempt->connected_us = attempt->agent_us;
    if (attempt_is_probe(attempt)) {
        outcome.text = "delivers to maildir";
    } else if (!maildir_deliver(path, &mail, &error)) {
        text = g_strconcat("maildir delivery failed: ", error->message, NULL);
        outcome = outcome_of(error, text);
    }
    outcome.relay = "virtual";
    attempt_finish(attempt, index, &outcome);
}

void virtual_finish_without(Attempt *attempt, guint index, MailboxResult result)
{
    g_autofree char *folded = address_fold(attempt_recipient(attempt, index)->address);
    g_autofree char *unknown = g_strdup_printf("unknown user: \"%s\"", folded);

    attempt->connected_us = attempt->agent_us;
    if (result == MAILBOX_UNKNOWN)
        attempt_finish(attempt, index,
                       &(Outcome){.status = RESULT_BOUNCED, .dsn = "5.1.1", .relay = "virtual", .text = unknown});
    else
        attempt_finish(attempt, index,
                       &(Outcome){.status = RESULT_DEFERRED,
                                  .dsn = "4.3.5",
                                  .relay = "virtual",
                                  .text = "mail system configuration error"});
}

static void *open_virtual(const Config *config, const char *service_name, GError **error)
{
    Virtual *virtual = g_new0(Virtual, 1);

    virtual->options = virtual_options(config);
    virtual->mailboxes = mailboxes_open(config, error);
    return virtual->mailboxes ? virtual : NULL;
}

static void deliver(const void *state, Attempt *attempt)
{
    const Virtual *virtual = state;

    for (guint i = 0; i < attempt_count(attempt); i++) {
        const char *address = attempt_recipient(attempt, i)->address;
        Mailbox mailbox = {0};
        MailboxResult result = mailbox_find(virtual->mailboxes, address, &mailbox);
        if (result == MAILBOX_FOUND && mailbox.uid != geteuid()) {
            log_warning("recipient %s: its mailbox belongs to user id %u, but this system runs as %u and is not root",
                        address, mailbox.uid, geteuid());
            result = MAILBOX_BAD_CONFIG;
        }
        if (result == MAILBOX_FOUND)
            virtual_deliver_to(&virtual->options, attempt, i, mailbox.path);
        else
            virtual_finish_without(attempt, i, result);
        mailbox_clear(&mailbox);
    }
}

const Agent virtual_agent = {"virtual", open_virtual, deliver, NULL};
