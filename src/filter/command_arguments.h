/* command_arguments.h - argv= of a command inspector: words between blanks, {...} keeps blanks, with pipe(8)'s names
 * behind
 * `$`. Pure functions. */
#pragma once
#include "filter/message.h"

typedef struct CommandArguments CommandArguments;

/* NULL: error, for an unknown name or no word at all. */
CommandArguments *command_arguments_new(const char *text, GError **error);
void command_arguments_free(CommandArguments *arguments); /* NULL is fine */
const char *command_arguments_program(const CommandArguments *arguments);
bool command_arguments_with_file(const CommandArguments *arguments); /* ${file} is named */

/* For one message, NULL-terminated; caller frees. An argument that names ${recipient} becomes one for each recipient.
 * ${file} becomes RUNNER_FILE. NULL: a stranger's value would make an option of an argument that is none in argv=. */
char **command_arguments_expand(const CommandArguments *arguments, const Message *message, GError **error);
/* SENDER, RECIPIENT (one a line), CLIENT_ADDRESS, CLIENT_HELO, and a PATH. */
char **command_environment(const Message *message);
