/* command_arguments.c - argv= of a command inspector. */
#include "filter/command_arguments.h"
#include "base/fail.h"
#include "base/runner.h"
#include "config/config.h"
#include "mail/address.h"

#include <string.h>

#define NULL_SENDER "MAILER-DAEMON" /* pipe(8), null_sender */

struct CommandArguments {
    GPtrArray *words; /* of char* */
    bool with_file;
};

typedef enum {
    NAME_SENDER,
    NAME_RECIPIENT,
    NAME_ADDRESS,
    NAME_HOSTNAME,
    NAME_HELO,
    NAME_PORT,
    NAME_PROTOCOL,
    NAME_SIZE,
    NAME_FILE,
    NAME_COUNT
} Name;
static const char *const names[NAME_COUNT] = {"sender",          "recipient",   "client_address",
                                              "client_hostname", "client_helo", "client_port",
                                              "client_protocol", "size",        "file"};

/* The name at text, which begins with '$': "$name", "${name}" or "$(name)". *ret_len: with all that belongs to it.
 * NAME_COUNT: there is no such name; *ret_len 2 for "$$". */
static Name name_at(const char *text, size_t *ret_len)
{
    char close = text[1] == '{' ? '}' : text[1] == '(' ? ')' : '\0';
    const char *start = text + 1 + (close != '\0');
    size_t len = strspn(start, "abcdefghijklmnopqrstuvwxyz_");

    *ret_len = (size_t)(start - text) + len + (close != '\0');
    if (text[1] == '$')
        *ret_len = 2;
    if (close && start[len] != close)
        return NAME_COUNT;
    for (int i = 0; i < NAME_COUNT; i++)
        if (strlen(names[i]) == len && strncmp(names[i], start, len) == 0)
            return (Name)i;
    return NAME_COUNT;
}

static bool names_in_word(const char *word, Name wanted)
{
    size_t len;

    for (const char *at = strchr(word, '$'); at; at = strchr(at + len, '$'))
        if (name_at(at, &len) == wanted)
            return true;
    return false;
}

static bool check_word(const char *word, GError **error)
{
    size_t len;
    int files = 0;

    for (const char *at = strchr(word, '$'); at; at = strchr(at + len, '$')) {
        Name name = name_at(at, &len);
        if (name == NAME_COUNT && at[1] != '$')
            return fail(error, "command: argv: \"%s\": unknown name behind \"$\"", at);
        files += name == NAME_FILE;
    }
    return files <= 1 || fail(error, "command: argv: \"%s\": ${file} stands more than once in one argument", word);
}

/* Words between blanks; braces around a word keep its blanks. */
static GPtrArray *split_words(const char *text)
{
    GPtrArray *words = g_ptr_array_new_with_free_func(g_free);

    for (;;) {
        text += strspn(text, " \t\n");
        if (!*text)
            return words;
        const char *close = *text == '{' ? strchr(text, '}') : NULL;
        size_t len = close ? (size_t)(close - text - 1) : strcspn(text, " \t\n");
        g_ptr_array_add(words, g_strndup(text + (close != NULL), len));
        text += len + (close ? 2 : 0);
    }
}

CommandArguments *command_arguments_new(const char *text, GError **error)
{
    g_autoptr(GPtrArray) words = split_words(text);
    bool with_file = false;

    if (words->len == 0) {
        fail(error, "command: argv is empty");
        return NULL;
    }
    for (guint i = 0; i < words->len; i++) {
        if (!check_word(words->pdata[i], error))
            return NULL;
        with_file = with_file || names_in_word(words->pdata[i], NAME_FILE);
    }
    CommandArguments *arguments = g_new0(CommandArguments, 1);
    arguments->words = g_steal_pointer(&words);
    arguments->with_file = with_file;
    return arguments;
}

void command_arguments_free(CommandArguments *arguments)
{
    if (!arguments)
        return;
    g_ptr_array_unref(arguments->words);
    g_free(arguments);
}

const char *command_arguments_program(const CommandArguments *arguments)
{
    return arguments->words->pdata[0];
}

bool command_arguments_with_file(const CommandArguments *arguments)
{
    return arguments->with_file;
}

/* --- expanding --- */

static const char *client_value(const Message *message, XfAttr attr)
{
    const char *value = message->client.value[attr];

    return value && *value ? value : "unknown";
}

static char *value_of(Name name, const Message *message, const char *recipient)
{
    switch (name) {
    case NAME_SENDER:
        return *message->sender ? address_quote(message->sender) : g_strdup(NULL_SENDER);
    case NAME_RECIPIENT:
        return address_quote(recipient);
    case NAME_ADDRESS:
        return g_strdup(client_value(message, XF_ADDR));
    case NAME_HOSTNAME:
        return g_strdup(client_value(message, XF_NAME));
    case NAME_HELO:
        return g_strdup(client_value(message, XF_HELO));
    case NAME_PORT:
        return g_strdup(client_value(message, XF_PORT));
    case NAME_PROTOCOL:
        return g_strdup(client_value(message, XF_PROTO));
    case NAME_SIZE:
        return g_strdup_printf("%" G_GUINT64_FORMAT, message->size);
    default:
        return g_strdup(RUNNER_FILE);
    }
}

static char *expand_word(const char *word, const Message *message, const char *recipient)
{
    GString *out = g_string_new(NULL);
    size_t len;

    for (; *word; word += len) {
        len = strcspn(word, "$");
        if (len > 0) {
            g_string_append_len(out, word, (gssize)len);
            continue;
        }
        Name name = name_at(word, &len);
        if (name == NAME_COUNT) {
            g_string_append_c(out, '$');
            continue;
        }
        g_autofree char *value = value_of(name, message, recipient);
        if (name != NAME_FILE)
            g_strdelimit(value, RUNNER_FILE, '?');
        g_string_append(out, value);
    }
    return g_string_free(out, FALSE);
}

static bool add_argument(GPtrArray *to, const char *word, const Message *message, const char *recipient, GError **error)
{
    char *argument = expand_word(word, message, recipient);

    g_ptr_array_add(to, argument);
    return argument[0] != '-' || word[0] == '-' ||
           fail(error, "argument \"%s\" would become the option \"%s\"", word, argument);
}

char **command_arguments_expand(const CommandArguments *arguments, const Message *message, GError **error)
{
    g_autoptr(GPtrArray) all = g_ptr_array_new_with_free_func(g_free);

    for (guint i = 0; i < arguments->words->len; i++) {
        const char *word = arguments->words->pdata[i];
        guint count = names_in_word(word, NAME_RECIPIENT) ? message->recipients->len : 1;
        for (guint j = 0; j < count; j++) {
            const MessageRecipient *recipient = j < message->recipients->len ? message->recipients->pdata[j] : NULL;
            if (!add_argument(all, word, message, recipient ? recipient->address : "", error))
                return NULL;
        }
    }
    g_ptr_array_add(all, NULL);
    g_ptr_array_set_free_func(all, NULL);
    return (char **)g_ptr_array_free(g_steal_pointer(&all), FALSE);
}

char **command_environment(const Message *message)
{
    char **all = g_new0(char *, 6);
    g_autoptr(GString) recipients = g_string_new("RECIPIENT=");
    g_autofree char *sender = address_quote(message->sender);

    for (guint i = 0; i < message->recipients->len; i++) {
        g_autofree char *address = address_quote(((MessageRecipient *)message->recipients->pdata[i])->address);
        g_string_append_printf(recipients, "%s%s", i > 0 ? "\n" : "", address);
    }
    all[0] = g_strconcat("SENDER=", *message->sender ? sender : "", NULL);
    all[1] = g_strdup(recipients->str);
    all[2] = g_strconcat("CLIENT_ADDRESS=", client_value(message, XF_ADDR), NULL);
    all[3] = g_strconcat("CLIENT_HELO=", client_value(message, XF_HELO), NULL);
    all[4] = g_strdup("PATH=/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin");
    return all;
}
