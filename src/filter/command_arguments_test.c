#include "base/runner.h"
#include "filter/command_arguments.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static Message *new_message(const char *mail, const char *first, const char *second)
{
    Message *message = g_new(Message, 1);

    message_init(message);
    message_begin(message, mail);
    message_add_recipient(message, first);
    message_add_recipient(message, second);
    xf_attrs_set(&message->client, XF_ADDR, "192.0.2.1");
    xf_attrs_set(&message->client, XF_HELO, "-helo");
    message->size = 42;
    return message;
}

static void free_message(Message *message)
{
    message_clear(message);
    g_free(message);
}

static void words_are_expanded(void **state)
{
    static const struct {
        const char *argv, *want;
    } rows[] = {
        {"/bin/x -a  b", "/bin/x|-a|b"},
        {"/x ${sender} $client_address $(size)", "/x|a@b|192.0.2.1|42"},
        {"/x --to=${recipient} z", "/x|--to=\"c d\"@e|--to=f@g|z"},
        {"/x {two words} {} $$5 $client_hostname", "/x|two words||$5|unknown"},
        {"/x --input=${file}", "/x|--input=\001"},
        {"/x -h$client_helo", "/x|-h-helo"},
    };
    Message *message = new_message("MAIL FROM:<a@b>", "RCPT TO:<\"c d\"@e>", "RCPT TO:<f@g>");

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autoptr(GError) error = NULL;
        CommandArguments *arguments = command_arguments_new(rows[i].argv, &error);
        assert_non_null(arguments);
        g_auto(GStrv) argv = command_arguments_expand(arguments, message, &error);
        g_autofree char *got = g_strjoinv("|", argv);
        assert_string_equal(got, rows[i].want);
        assert_int_equal(command_arguments_with_file(arguments), strstr(rows[i].argv, "file") != NULL);
        command_arguments_free(arguments);
    }
    free_message(message);
}

static void a_value_never_becomes_an_option(void **state)
{
    Message *message = new_message("MAIL FROM:<-rf@b>", "RCPT TO:<x@y>", "RCPT TO:<z@y>");
    CommandArguments *arguments = command_arguments_new("/x $sender", NULL);
    g_autoptr(GError) error = NULL;

    assert_null(command_arguments_expand(arguments, message, &error));
    assert_string_equal(error->message, "argument \"$sender\" would become the option \"-rf@b\"");
    command_arguments_free(arguments);
    arguments = command_arguments_new("/x -f$sender", NULL);
    g_auto(GStrv) argv = command_arguments_expand(arguments, message, NULL);
    assert_string_equal(argv[1], "-f-rf@b");
    command_arguments_free(arguments);
    free_message(message);
}

static void the_null_sender_has_a_name(void **state)
{
    Message *message = new_message("MAIL FROM:<>", "RCPT TO:<x@y>", "RCPT TO:<z@y>");
    CommandArguments *arguments = command_arguments_new("/x $sender", NULL);
    g_auto(GStrv) argv = command_arguments_expand(arguments, message, NULL);
    g_auto(GStrv) environment = command_environment(message);

    assert_string_equal(argv[1], "MAILER-DAEMON");
    assert_string_equal(environment[0], "SENDER=");
    assert_string_equal(environment[1], "RECIPIENT=x@y\nz@y");
    assert_string_equal(environment[2], "CLIENT_ADDRESS=192.0.2.1");
    assert_string_equal(environment[3], "CLIENT_HELO=-helo");
    command_arguments_free(arguments);
    free_message(message);
}

static void mistakes_are_named(void **state)
{
    static const struct {
        const char *argv, *want;
    } rows[] = {
        {" ", "command: argv is empty"},
        {"/x ${sendr}", "command: argv: \"${sendr}\": unknown name behind \"$\""},
        {"/x ${sender", "command: argv: \"${sender\": unknown name behind \"$\""},
        {"/x $file$file", "command: argv: \"$file$file\": ${file} stands more than once in one argument"},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autoptr(GError) error = NULL;
        assert_null(command_arguments_new(rows[i].argv, &error));
        assert_string_equal(error->message, rows[i].want);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words_are_expanded),
        cmocka_unit_test(a_value_never_becomes_an_option),
        cmocka_unit_test(the_null_sender_has_a_name),
        cmocka_unit_test(mistakes_are_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
