/* command.c - the inspector for content filtering software that does not speak SMTP: a program gets the message on
 * standard input, and its exit status is the verdict. */
#include "base/clock.h"
#include "base/fail.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/runner.h"
#include "filter/command_arguments.h"
#include "filter/command_status.h"
#include "filter/content_octets.h"
#include "filter/inspector.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#define SAID_MAX 4096 /* octets kept of what a program says: the last ones */
#define CPU_LIMIT 60  /* seconds */
#define MEMORY_LIMIT ((gint64)1 << 30)
#define CONCURRENCY_LIMIT 20

typedef enum { STDOUT_IGNORE, STDOUT_TEXT, STDOUT_MESSAGE } StdoutUse;

typedef struct {
    CommandArguments *arguments;
    CommandStatus status;
    StdoutUse stdout_use;
    int null; /* /dev/null, which may be out of reach later; -1: not needed */
    Runner *runner;
    guint64 size_max; /* octets of a changed message */
    pthread_mutex_t lock;
    pthread_cond_t place_free; /* on the monotonic clock */
    guint places;              /* programs that may still start */
} Command;

/* --- opening --- */

static bool read_stdout(Command *command, InspectorSettings *settings, GError **error)
{
    static const char *const words[] = {"ignore", "text", "message"};
    const char *text = settings_text(settings, "stdout");

    for (size_t i = 0; text && i < G_N_ELEMENTS(words); i++)
        if (strcmp(text, words[i]) == 0) {
            command->stdout_use = (StdoutUse)i;
            return true;
        }
    return !text || fail(error, "command: stdout=%s: message, text or ignore is expected", text);
}

static bool start_runner(Command *command, InspectorSettings *settings, GError **error)
{
    const char *user = settings_text(settings, "user"), *directory = settings_text(settings, "directory");
    const Config *config = settings_config(settings);
    gint64 memory, cpu;

    if (!settings_octets(settings, "memory_limit", MEMORY_LIMIT, &memory, error) ||
        !settings_seconds(settings, "cpu_limit", CPU_LIMIT, &cpu, error))
        return false;
    if (!user && geteuid() == 0)
        user = config_string(config, "default_privs");
    if (user && geteuid() == 0 && (strcmp(user, "root") == 0 || strcmp(user, config_string(config, "mail_owner")) == 0))
        return fail(error, "command: user=%s: a program that reads strangers' mail must be neither root nor mail_owner",
                    user);
    RunnerProgram program = {.program = command_arguments_program(command->arguments),
                             .user = user,
                             .directory = directory ? directory : "/tmp",
                             .memory_limit = (guint64)memory,
                             .cpu_limit = (guint)cpu};
    command->runner = runner_start(&program, error);
    return command->runner || (g_prefix_error(error, "command: "), false);
}

static bool read_settings(Command *command, InspectorSettings *settings, GError **error)
{
    const char *argv = settings_text(settings, "argv");
    gint64 size_max = config_int(settings_config(settings), "message_size_limit"), places;

    if (!argv)
        return fail(error, "command: argv= is missing");
    command->arguments = command_arguments_new(argv, error);
    if (!command->arguments || !command_status_init(&command->status, settings_text(settings, "exit"), error) ||
        !read_stdout(command, settings, error) ||
        !settings_octets(settings, "concurrency_limit", CONCURRENCY_LIMIT, &places, error))
        return false;
    if (places < 1 || places > G_MAXINT)
        return fail(error, "command: concurrency_limit must be 1 or more");
    command->places = (guint)places;
    if (command->stdout_use == STDOUT_IGNORE && (command->null = open("/dev/null", O_WRONLY | O_CLOEXEC)) < 0)
        return fail_errno(error, "command: open /dev/null");
    command->size_max = size_max > 0 ? (guint64)size_max : G_MAXUINT64;
    return start_runner(command, settings, error);
}

static void command_close(void *state)
{
    Command *command = state;

    runner_stop(command->runner);
    fd_clear(&command->null);
    command_arguments_free(command->arguments);
    pthread_cond_destroy(&command->place_free);
    pthread_mutex_destroy(&command->lock);
    g_free(command);
}

static bool command_open(InspectorSettings *settings, void **ret_state, GError **error)
{
    Command *command = g_new0(Command, 1);
    pthread_condattr_t monotonic;

    command->null = -1;
    pthread_mutex_init(&command->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&command->place_free, &monotonic);
    pthread_condattr_destroy(&monotonic);
    *ret_state = command;
    return read_settings(command, settings, error);
}

/* --- how many at once --- */

static bool take_place(Command *command, gint64 deadline)
{
    struct timespec until = {.tv_sec = deadline / 1000, .tv_nsec = deadline % 1000 * 1000000};
    int failure = 0;

    pthread_mutex_lock(&command->lock);
    while (command->places == 0 && failure == 0)
        failure = pthread_cond_timedwait(&command->place_free, &command->lock, &until);
    bool taken = command->places > 0;
    command->places -= taken;
    pthread_mutex_unlock(&command->lock);
    return taken;
}

static void give_place_back(Command *command)
{
    pthread_mutex_lock(&command->lock);
    command->places++;
    pthread_cond_signal(&command->place_free);
    pthread_mutex_unlock(&command->lock);
}

/* --- one run --- */

typedef struct {
    const Command *command;
    const Inspection *inspection;
    int input;          /* the message as a file */
    int run;            /* -1: it has ended */
    int output, errors; /* our ends of its pipes; -1: closed, or not wanted */
    GString *said;
    OctetReader reader; /* of a message on its standard output */
    RunnerResult result;
    int file; /* the private copy as it was left; -1: none */
} CommandRun;

static void keep_said(CommandRun *run, const char *data, size_t len)
{
    g_string_append_len(run->said, data, (gssize)len);
    if (run->said->len > SAID_MAX)
        g_string_erase(run->said, 0, (gssize)(run->said->len - SAID_MAX));
}

static bool take_output(CommandRun *run, const char *data, size_t len, GError **error)
{
    if (run->command->stdout_use == STDOUT_TEXT) {
        keep_said(run, data, len);
        return true;
    }
    if (octets_add(&run->reader, data, len))
        return true;
    int failure = content_failed(run->reader.to);
    return fail(error, "its message: %s", failure ? g_strerror(failure) : "larger than message_size_limit");
}

/* Reads once. Closes fd at its end. */
static bool drain(CommandRun *run, int *fd, GError **error)
{
    char chunk[4096];
    ssize_t len = read(*fd, chunk, sizeof chunk);

    if (len < 0 && (errno == EAGAIN || errno == EINTR))
        return true;
    if (len <= 0) {
        fd_clear(fd);
        return true;
    }
    if (fd == &run->output)
        return take_output(run, chunk, (size_t)len, error);
    if (run->command->stdout_use != STDOUT_TEXT)
        keep_said(run, chunk, (size_t)len);
    return true;
}

/* Until it has ended and all that it wrote is read. */
static bool attend(CommandRun *run, GError **error)
{
    while (run->run >= 0 || run->output >= 0 || run->errors >= 0) {
        struct pollfd polls[] = {{.fd = run->run, .events = POLLIN},
                                 {.fd = run->output, .events = POLLIN},
                                 {.fd = run->errors, .events = POLLIN}};
        int timeout = clock_poll_timeout(run->inspection->deadline);
        if (timeout == 0 || poll(polls, G_N_ELEMENTS(polls), timeout) < 0) {
            if (timeout != 0 && errno == EINTR)
                continue;
            return fail(error, "%s: no answer in time", command_arguments_program(run->command->arguments));
        }
        if ((polls[1].revents && !drain(run, &run->output, error)) ||
            (polls[2].revents && !drain(run, &run->errors, error)))
            return false;
        if (polls[0].revents && !runner_finish(fd_steal(&run->run), &run->result, &run->file, error))
            return false;
    }
    return true;
}

static bool make_pipe(int *ret_ours, int *ret_theirs)
{
    int ends[2];

    if (pipe2(ends, O_CLOEXEC) < 0)
        return false;
    *ret_ours = ends[0];
    *ret_theirs = ends[1];
    return fd_set_nonblock(ends[0], true);
}

static bool start(CommandRun *run, GError **error)
{
    const Command *command = run->command;
    const Message *message = run->inspection->message;
    g_auto(GStrv) argv = command_arguments_expand(command->arguments, message, error);
    g_auto(GStrv) environment = command_environment(message);
    auto_fd output = -1, errors = -1;

    if (!argv)
        return false;
    bool piped = command->null >= 0 || make_pipe(&run->output, &output);
    run->input = octets_to_file(message->content, run->inspection->place.directory);
    if (!piped || !make_pipe(&run->errors, &errors) || run->input < 0)
        return fail_errno(error, "cannot give it the message");
    RunnerRequest request = {.argv = argv,
                             .environment = environment,
                             .input = run->input,
                             .output = command->null >= 0 ? command->null : output,
                             .errors = errors,
                             .with_file = command_arguments_with_file(command->arguments)};
    run->run = runner_begin(command->runner, &request, run->inspection->deadline, error);
    return run->run >= 0;
}

/* --- what came of it --- */

static bool take_file_back(const CommandRun *run, Verdict *verdict, GError **error)
{
    const Inspection *inspection = run->inspection;

    if (run->file < 0)
        return fail(error, "its copy of the message is gone");
    int equal = octets_files_equal(run->input, run->file);
    if (equal == 1)
        return true;
    verdict->content = content_new(inspection->place.directory, inspection->place.account);
    OctetReader reader = {.to = verdict->content, .limit = run->command->size_max};
    if (equal == 0 && octets_from_file(&reader, run->file))
        return true;
    return fail(error, "its copy of the message cannot be taken back");
}

static bool take_message(CommandRun *run, Verdict *verdict, GError **error)
{
    if (run->reader.octets == 0)
        return fail(error, "no message on its standard output");
    if (!octets_finish(&run->reader))
        return fail(error, "its message: %s", g_strerror(content_failed(run->reader.to)));
    verdict->content = g_steal_pointer(&run->reader.to);
    return true;
}

static bool conclude(CommandRun *run, Verdict *verdict, GError **error)
{
    const Command *command = run->command;
    const char *program = command_arguments_program(command->arguments);
    int value = run->result.value;

    if (run->result.kind == RUN_FAILED)
        return fail(error, "%s: %s", program, g_strerror(value));
    if (run->result.kind == RUN_KILLED)
        return fail(error, "%s: killed by signal %d", program, value);
    if (!command_status_apply(&command->status, value, run->said->str, verdict)) {
        g_autofree char *said = log_quote(run->said->str, run->said->len);
        return fail(error, "%s: exit status %d: %s", program, value, said);
    }
    bool unchanged = verdict->kind != VERDICT_ACCEPT && verdict->kind != VERDICT_QUARANTINE;
    if (unchanged)
        return true;
    if (command->stdout_use == STDOUT_MESSAGE && verdict->kind == VERDICT_ACCEPT)
        return take_message(run, verdict, error);
    return !command_arguments_with_file(command->arguments) || take_file_back(run, verdict, error);
}

static void run_clear(CommandRun *run)
{
    fd_clear(&run->run); /* kills what still runs */
    fd_clear(&run->input);
    fd_clear(&run->output);
    fd_clear(&run->errors);
    fd_clear(&run->file);
    content_free(run->reader.to);
    g_string_free(run->said, TRUE);
}

static bool command_inspect(void *state, const Inspection *inspection, Verdict *verdict, GError **error)
{
    Command *command = state;

    if (!take_place(command, inspection->deadline))
        return fail(error, "concurrency_limit programs run already");
    CommandRun run = {.command = command,
                      .inspection = inspection,
                      .input = -1,
                      .run = -1,
                      .output = -1,
                      .errors = -1,
                      .file = -1,
                      .said = g_string_new(NULL)};
    run.reader = (OctetReader){.to = content_new(inspection->place.directory, inspection->place.account),
                               .limit = command->size_max};
    bool done = start(&run, error) && attend(&run, error) && conclude(&run, verdict, error);
    run_clear(&run);
    give_place_back(command);
    return done;
}

static int command_descriptor(void *state)
{
    return runner_descriptor(((Command *)state)->runner);
}

const InspectorClass inspector_command = {
    .kind = "command",
    .open = command_open,
    .inspect = command_inspect,
    .close = command_close,
    .descriptor = command_descriptor,
};
