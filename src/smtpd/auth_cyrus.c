/* auth_cyrus.c - Cyrus SASL of a server: its start, and what is said of it in the log and by check. */
#include "smtpd/auth_cyrus.h"
#include "base/fail.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/root.h"
#include "base/service.h"
#include "sasl/cyrus.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

bool auth_cyrus_start(const Settings *settings, bool chroot, GError **error)
{
    const Config *config = settings->config;
    const CyrusOptions options = {.config_path = settings->sasl.cyrus_path,
                                  .name = config_string(config, "smtpd_sasl_path"),
                                  .host = settings->hostname,
                                  .realm = config_string(config, "smtpd_sasl_local_domain"),
                                  .service = settings->sasl.service,
                                  .root = chroot ? config_string(config, "queue_directory") : NULL};

    return !settings->sasl.cyrus_path || cyrus_open(&options, error);
}

static char *doubts_of(const Settings *settings)
{
    const char *name = config_string(settings->config, "smtpd_sasl_path");
    g_autoptr(GPtrArray) doubts = cyrus_doubts();
    GString *lines = g_string_new(NULL);

    for (guint i = 0; i < doubts->len; i++)
        g_string_append_printf(lines, "%s.conf: %s\n", name, (char *)g_ptr_array_index(doubts, i));
    return g_string_free(lines, FALSE);
}

static void log_lines(const char *text)
{
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);

    for (char **line = lines; *line; line++)
        if (**line)
            log_warning("%s", *line);
}

void auth_cyrus_warn(const Settings *settings)
{
    g_autofree char *doubts = settings->sasl.cyrus_path ? doubts_of(settings) : NULL;

    if (doubts)
        log_lines(doubts);
}

/* The library can be started once in a process, and who may read what is the owner's view of it: so this is a child,
 * which becomes what the service will be. Its exit status says whether it could. */
static void check_as_service(const Settings *settings, bool chroot, int out)
{
    bool changes = chroot && geteuid() == 0;
    g_autoptr(GError) error = NULL;

    if (changes)
        root_will_change(config_string(settings->config, "queue_directory"));
    bool good = auth_cyrus_start(settings, changes, &error) &&
                service_drop_privileges(config_string(settings->config, "mail_owner"), &error);
    g_autofree char *text = good ? doubts_of(settings) : g_strdup(error->message);
    _exit(fd_write_all(out, text, strlen(text)) && good ? 0 : 1);
}

bool auth_cyrus_check(const Settings *settings, bool chroot, GError **error)
{
    int ends[2], status = 0;
    g_autoptr(GString) text = g_string_new(NULL);
    char chunk[1000];
    ssize_t count;

    if (!settings->sasl.cyrus_path)
        return true;
    if (pipe2(ends, O_CLOEXEC) < 0)
        return fail_errno(error, "pipe");
    auto_fd in = ends[0], out = ends[1];
    pid_t pid = fork();
    if (pid == 0)
        check_as_service(settings, chroot, out);
    fd_clear(&out);
    while (pid > 0 && (count = read(in, chunk, sizeof chunk)) != 0)
        if (count > 0)
            g_string_append_len(text, chunk, count);
        else if (errno != EINTR)
            break;
    if (pid < 0 || waitpid(pid, &status, 0) != pid)
        return fail_errno(error, "fork");
    if (status != 0)
        return fail(error, "%s", text->len > 0 ? text->str : "Cyrus SASL ended the process that looked at it");
    log_lines(text->str);
    return true;
}
