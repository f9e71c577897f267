/* logrotate.c - gives maillog_file a name with the time in it, has the master open a new one, and compresses the old.
 */
#include "base/log.h"
#include "cli/control.h"

#include <errno.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SETTLE_US 1000000 /* processes go on to write to the old file until they got the new descriptor */

extern char **environ;

static char *rotated_name(const Config *config, const char *path)
{
    char suffix[256];
    time_t now = time(NULL);
    struct tm broken_down;

    localtime_r(&now, &broken_down);
    g_autofree char *format = g_strdup(config_string(config, "maillog_file_rotate_suffix"));
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral" /* the format is the administrator's */
    size_t len = strftime(suffix, sizeof suffix, format, &broken_down);
#pragma GCC diagnostic pop
    return len > 0 ? g_strdup_printf("%s.%s", path, suffix) : NULL;
}

static int compress(const Config *config, const char *path)
{
    const char *program = config_string(config, "maillog_file_compressor");
    const char *const argv[] = {program, path, NULL};
    pid_t pid;
    int status;

    int failed = posix_spawnp(&pid, program, NULL, NULL, (char **)argv, environ);
    if (failed) {
        log_fatal("run %s: %s", program, g_strerror(failed));
        return 1;
    }
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    if (status == 0)
        return 0;
    log_fatal("%s %s failed", program, path);
    return 1;
}

int logrotate_command(const char *config_dir)
{
    g_autoptr(Control) control = control_open(config_dir, CONTROL_LOG_NEEDED);
    bool ours = false;

    if (!control || !control_read(control, false))
        return 1;
    const char *path = config_string(control->plan->config, "maillog_file");
    if (*path == '\0' || control->log.stdout_) {
        log_fatal("maillog_file is '%s': nothing to rotate", path);
        return 1;
    }
    g_autofree char *rotated = rotated_name(control->plan->config, path);
    if (!rotated || access(rotated, F_OK) == 0) {
        log_fatal("cannot rotate %s: %s", path,
                  rotated ? "rotated in this very second already" : "maillog_file_rotate_suffix is too long");
        return 1;
    }
    pid_t pid = control_find_master(control, &ours);
    if (pid < 0)
        return 1;
    if (rename(path, rotated) < 0) {
        log_fatal("rename %s to %s: %s", path, rotated, g_strerror(errno));
        return 1;
    }
    if (ours && kill(pid, SIGUSR2) < 0) {
        log_fatal("signal to process %d: %s", (int)pid, g_strerror(errno));
        return 1;
    }
    if (ours)
        g_usleep(SETTLE_US);
    return compress(control->plan->config, rotated);
}
