/* quarantine_put.c - for the tests of the whole: puts standard input (LF line ends) into a quarantine as a filter
 * would, `count` times, and says each id when it is stored.
 *
 *     quarantine_put DIRECTORY sender=a@b recipient=c@d ... reason=... nexthop=... trace=... body=8bit utf8=yes
 * NAME=... ... */
#include "base/clock.h"
#include "quarantine/quarantine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const struct {
    const char *word;
    XfAttr attribute;
} client_words[] = {{"NAME", XF_NAME},   {"ADDR", XF_ADDR},   {"PORT", XF_PORT},    {"HELO", XF_HELO},
                    {"IDENT", XF_IDENT}, {"PROTO", XF_PROTO}, {"SOURCE", XF_SOURCE}};

static const char *value_of(const char *word, const char *name)
{
    size_t len = strlen(name);

    return strncmp(word, name, len) == 0 && word[len] == '=' ? word + len + 1 : NULL;
}

static void take_word(const char *word, QuarantineMessage *message, Envelope *envelope, XfAttrs *client)
{
    const char *value;

    if ((value = value_of(word, "sender")))
        envelope->sender = g_strdup(value);
    else if ((value = value_of(word, "recipient")))
        envelope_add(envelope, value);
    else if ((value = value_of(word, "reason")))
        message->reason = value;
    else if ((value = value_of(word, "nexthop")))
        message->nexthop = value;
    else if ((value = value_of(word, "trace")))
        message->trace = value;
    else if (strcmp(word, "body=8bit") == 0)
        envelope->body = BODY_8BITMIME;
    else if (strcmp(word, "utf8=yes") == 0)
        envelope->smtputf8 = true;
    for (size_t i = 0; i < G_N_ELEMENTS(client_words); i++)
        if ((value = value_of(word, client_words[i].word)))
            xf_attrs_set(client, client_words[i].attribute, value);
}

static void read_content(Content *content)
{
    char *line = NULL;
    size_t size = 0;
    ssize_t len;

    while ((len = getline(&line, &size, stdin)) > 0) {
        bool ends_line = line[len - 1] == '\n';
        content_add(content, line, (size_t)(ends_line ? len - 1 : len), ends_line);
    }
    free(line);
}

/* Each line is one write: whoever records our calls sees what was promised when. */
static void say(const char *text)
{
    g_autofree char *line = g_strconcat(text, "\n", NULL);

    if (write(STDOUT_FILENO, line, strlen(line)) < 0)
        _exit(3);
}

int main(int argc, char **argv)
{
    static const QuarantineVerdict verdict = {"checks", "quarantine", "because", 5};
    g_autoptr(Envelope) envelope = envelope_new();
    g_autoptr(GError) error = NULL;
    Account account = {0};
    XfAttrs client = {0};
    QuarantineMessage message = {
        .envelope = envelope, .client = &client, .reason = "test", .verdicts = &verdict, .verdict_count = 1};
    bool stored;
    int count = 1;

    if (argc < 3)
        return 2;
    umask(077);
    for (int i = 2; i < argc; i++) {
        take_word(argv[i], &message, envelope, &client);
        if (value_of(argv[i], "count"))
            count = atoi(value_of(argv[i], "count"));
    }
    envelope->arrival_us = clock_wall_us();
    g_autoptr(Quarantine) quarantine = quarantine_open(argv[1], &error);
    message.content = content_new("/tmp", &account);
    read_content(message.content);
    for (stored = quarantine != NULL; stored && count > 0; count--) {
        g_autofree char *id = NULL;
        stored = quarantine_store(quarantine, &message, &id, &error);
        if (stored)
            say(id);
    }
    if (!stored)
        say(error->message);
    content_free(message.content);
    xf_attrs_clear(&client);
    return stored ? 0 : 1;
}
