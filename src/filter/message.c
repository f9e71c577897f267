/* message.c - a message that the filter holds back until it is judged. */
#include "filter/message.h"
#include "mail/address.h"
#include "mail/ids.h"
#include "smtp/command.h"

#include <errno.h>
#include <string.h>

static void message_recipient_free(gpointer data)
{
    MessageRecipient *recipient = data;

    g_free(recipient->line);
    g_free(recipient->address);
    g_free(recipient);
}

char *message_trace_note(const Message *message)
{
    const char *ident = message->client.value[XF_IDENT];

    return ident && *ident ? id_trace_note(ident) : g_strdup("");
}

void message_init(Message *message)
{
    memset(message, 0, sizeof *message);
    message->xforward = g_ptr_array_new_with_free_func(g_free);
    message->recipients = g_ptr_array_new_with_free_func(message_recipient_free);
}

void message_clear(Message *message)
{
    message_forget_transaction(message);
    message_forget_client(message);
    g_ptr_array_unref(message->xforward);
    g_ptr_array_unref(message->recipients);
}

void message_forget_transaction(Message *message)
{
    g_clear_pointer(&message->mail, g_free);
    g_clear_pointer(&message->sender, g_free);
    g_ptr_array_set_size(message->recipients, 0);
    g_clear_pointer(&message->content, content_free);
    message->size = 0;
    message->envelope_changed = false;
}

void message_forget_client(Message *message)
{
    xf_attrs_clear(&message->client);
    g_ptr_array_set_size(message->xforward, 0);
}

/* --- envelope --- */

/* Where the path of a MAIL or RCPT line stands: "MAIL FROM:<a@b> SIZE=1", "MAIL FROM: a@b". False: nowhere. */
static bool find_path(const char *line, size_t *ret_at, size_t *ret_len)
{
    const char *colon = strchr(line, ':');

    if (!colon)
        return false;
    const char *path = colon + 1 + strspn(colon + 1, " \t");
    g_autoptr(GPtrArray) words = command_words(path);
    *ret_at = (size_t)(path - line);
    *ret_len = words && words->len > 0 ? strlen(words->pdata[0]) : strlen(path);
    return true;
}

/* What the next hop took as an address without being understood here stands as it is: inspectors see it, nobody is
 * served by a refusal. */
static char *address_of(const char *line)
{
    size_t at, len;

    if (!find_path(line, &at, &len))
        return g_strdup("");
    char *address = address_parse_path(line + at, len, false);
    return address ? address : g_strndup(line + at, len);
}

void message_begin(Message *message, const char *mail_line)
{
    message_forget_transaction(message);
    message->mail = g_strdup(mail_line);
    message->sender = address_of(mail_line);
}

void message_add_recipient(Message *message, const char *rcpt_line)
{
    MessageRecipient *recipient = g_new0(MessageRecipient, 1);

    recipient->line = g_strdup(rcpt_line);
    recipient->address = address_of(rcpt_line);
    g_ptr_array_add(message->recipients, recipient);
}

static void change_sender(Message *message, const char *address)
{
    size_t at, len;
    g_autofree char *quoted = address_quote(address);

    g_assert(find_path(message->mail, &at, &len));
    g_autofree char *line = g_strdup_printf("%.*s<%s>%s", (int)at, message->mail, quoted, message->mail + at + len);
    g_free(message->mail);
    message->mail = g_steal_pointer(&line);
    g_free(message->sender);
    message->sender = g_strdup(address);
    message->envelope_changed = true;
}

static bool has_recipient(const Message *message, const char *address, guint *ret_index)
{
    for (guint i = 0; i < message->recipients->len; i++) {
        const MessageRecipient *recipient = message->recipients->pdata[i];
        if (address_equal(recipient->address, address)) {
            *ret_index = i;
            return true;
        }
    }
    return false;
}

static void add_address(Message *message, const char *address)
{
    guint index;

    if (has_recipient(message, address, &index))
        return;
    g_autofree char *quoted = address_quote(address);
    g_autofree char *line = g_strdup_printf("RCPT TO:<%s>", quoted);
    message_add_recipient(message, line);
    message->envelope_changed = true;
}

static void change_recipients(Message *message, const Verdict *verdict)
{
    guint index;

    for (guint i = 0; verdict->removed && i < verdict->removed->len; i++)
        while (has_recipient(message, verdict->removed->pdata[i], &index)) {
            g_ptr_array_remove_index(message->recipients, index);
            message->envelope_changed = true;
        }
    if (verdict->redirect) {
        g_ptr_array_set_size(message->recipients, 0);
        add_address(message, verdict->redirect);
    }
    for (guint i = 0; verdict->added && i < verdict->added->len; i++)
        add_address(message, verdict->added->pdata[i]);
}

/* --- content --- */

static bool count_piece(void *user, const char *data, size_t len, bool ends_line)
{
    guint64 *size = user;

    *size += len + (ends_line ? 2 : 0);
    return true;
}

static bool replace_content(Message *message, Content *content, int *ret_errno)
{
    guint64 size = 0;

    if (!content_failed(content))
        content_replay(content, count_piece, &size);
    *ret_errno = content_failed(content);
    if (*ret_errno) {
        content_free(content);
        return false;
    }
    content_free(message->content);
    message->content = content;
    message->size = size;
    return true;
}

bool message_apply(Message *message, Verdict *verdict, const ContentPlace *place, int *ret_errno)
{
    if (verdict->content && !replace_content(message, g_steal_pointer(&verdict->content), ret_errno))
        return false;
    if (verdict->edits && !edits_are_empty(verdict->edits)) {
        Content *edited = content_new(place->directory, place->account);
        if (!edits_apply(verdict->edits, message->content, edited)) {
            *ret_errno = content_failed(message->content) ? content_failed(message->content) : content_failed(edited);
            if (*ret_errno == 0)
                *ret_errno = EIO;
            content_free(edited);
            return false;
        }
        if (!replace_content(message, edited, ret_errno))
            return false;
    }
    if (verdict->sender)
        change_sender(message, verdict->sender);
    change_recipients(message, verdict);
    return true;
}
