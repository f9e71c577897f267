/* logdest.c - where the mail log goes. */
#include "master/logdest.h"
#include "base/fail.h"
#include "base/fd.h"
#include "base/log.h"
#include "config/lines.h"
#include "config/main_cf.h"
#include "config/view.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <syslog.h>
#include <unistd.h>

static const struct {
    const char *name;
    int facility;
} facilities[] = {
    {"auth", LOG_AUTH},     {"authpriv", LOG_AUTHPRIV}, {"cron", LOG_CRON},     {"daemon", LOG_DAEMON},
    {"ftp", LOG_FTP},       {"kern", LOG_KERN},         {"lpr", LOG_LPR},       {"mail", LOG_MAIL},
    {"news", LOG_NEWS},     {"syslog", LOG_SYSLOG},     {"user", LOG_USER},     {"uucp", LOG_UUCP},
    {"local0", LOG_LOCAL0}, {"local1", LOG_LOCAL1},     {"local2", LOG_LOCAL2}, {"local3", LOG_LOCAL3},
    {"local4", LOG_LOCAL4}, {"local5", LOG_LOCAL5},     {"local6", LOG_LOCAL6}, {"local7", LOG_LOCAL7},
};

static bool find_facility(const char *name, int *ret_facility, GError **error)
{
    for (size_t i = 0; i < G_N_ELEMENTS(facilities); i++) {
        if (g_ascii_strcasecmp(name, facilities[i].name) != 0)
            continue;
        *ret_facility = facilities[i].facility;
        return true;
    }
    return fail(error, "syslog_facility: unknown facility: %s", name);
}

/* A prefix is a whole file name or a directory. */
static bool has_prefix(const char *path, const char *prefix)
{
    size_t len = strlen(prefix);

    while (len > 1 && prefix[len - 1] == '/')
        len--;
    return strncmp(path, prefix, len) == 0 && (path[len] == '\0' || path[len] == '/');
}

static bool check_path(const char *path, const char *prefixes, GError **error)
{
    g_autoptr(GPtrArray) allowed = config_split(prefixes);

    for (guint i = 0; i < allowed->len; i++)
        if (has_prefix(path, g_ptr_array_index(allowed, i)) && !strstr(path, "/../"))
            return true;
    return fail(error, "maillog_file '%s' lies in none of maillog_file_prefixes: %s", path, prefixes);
}

typedef enum { FILE_PATH, FILE_PREFIXES, FILE_PERMISSIONS, HOSTNAME, FACILITY, SETTING_COUNT } Setting;
static const char *const setting_names[] = {
    [FILE_PATH] = "maillog_file",
    [FILE_PREFIXES] = "maillog_file_prefixes",
    [FILE_PERMISSIONS] = "maillog_file_permissions",
    [HOSTNAME] = "myhostname",
    [FACILITY] = "syslog_facility",
};

static int open_file(const char *path, const char *permissions, GError **error)
{
    mode_t mode = (mode_t)strtol(permissions, NULL, 8);
    struct stat status;
    mode_t mask = umask(0); /* the administrator named the permissions */
    auto_fd fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, mode & 0666);

    umask(mask);
    if (fd < 0 || fstat(fd, &status) < 0 || !fd_set_nonblock(fd, false)) {
        fail_errno(error, "open maillog_file %s", path);
        return -1;
    }
    if (!S_ISREG(status.st_mode) && !S_ISCHR(status.st_mode)) { /* /dev/null is fine */
        fail(error, "maillog_file %s is not a file", path);
        return -1;
    }
    return fd_steal(&fd);
}

/* One word, whatever an unchecked name holds: log tools count words. */
static char *first_label(const char *hostname)
{
    size_t len = strspn(hostname, G_CSET_A_2_Z G_CSET_a_2_z G_CSET_DIGITS "_-");

    return len > 0 ? g_strndup(hostname, len) : g_strdup("localhost");
}

static bool open_destination(const char *const settings[SETTING_COUNT], LogDestination *ret_destination, GError **error)
{
    const char *path = settings[FILE_PATH];
    LogDestination destination = {.fd = -1};

    if (!find_facility(settings[FACILITY], &destination.facility, error))
        return false;
    if (*path != '\0') {
        if (!check_path(path, settings[FILE_PREFIXES], error))
            return false;
        destination.stdout_ = strcmp(path, "/dev/stdout") == 0;
        destination.fd = destination.stdout_ ? fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3)
                                             : open_file(path, settings[FILE_PERMISSIONS], error);
        if (destination.fd < 0 && destination.stdout_)
            fail_errno(error, "maillog_file %s", path);
        if (destination.fd < 0)
            return false;
        destination.host = first_label(settings[HOSTNAME]);
    }
    *ret_destination = destination;
    return true;
}

bool log_destination_open(const Config *config, LogDestination *ret_destination, GError **error)
{
    const char *settings[SETTING_COUNT];

    for (int i = 0; i < SETTING_COUNT; i++)
        settings[i] = config_string(config, setting_names[i]);
    return open_destination(settings, ret_destination, error);
}

bool log_destination_open_unchecked(const MainCf *main_cf, LogDestination *ret_destination, GError **error)
{
    const ConfigScope scope = {.process_name = "master", .stress = ""};
    g_autoptr(Config) view = view_new_unchecked(main_cf, &scope, error);
    char *settings[SETTING_COUNT + 1] = {NULL};

    for (int i = 0; view && i < SETTING_COUNT; i++) {
        g_autofree char *reference = g_strdup_printf("$%s", setting_names[i]);
        settings[i] = config_expand(view, reference, error);
        if (!settings[i])
            g_clear_pointer(&view, config_free);
    }
    bool opened = view && open_destination((const char *const *)settings, ret_destination, error);
    for (int i = 0; i < SETTING_COUNT; i++)
        g_free(settings[i]);
    return opened;
}

bool log_destination_guess(const char *config_dir, LogDestination *ret_destination)
{
    g_autofree char *path = g_build_filename(config_dir, "main.cf", NULL);
    g_autoptr(Lines) lines = lines_open(path, NULL);
    g_autoptr(GString) good = g_string_new(NULL);
    const char *line;

    while (lines && (line = lines_next(lines, NULL, NULL))) {
        const char *at = line + strspn(line, " \t");
        if (g_str_has_prefix(at, "maillog_file") || g_str_has_prefix(at, "myhostname") ||
            g_str_has_prefix(at, "syslog"))
            g_string_append_printf(good, "%s\n", at);
    }
    g_autoptr(MainCf) main_cf = main_cf_parse(config_dir, path, good->str, good->len, NULL);
    return main_cf && log_destination_open_unchecked(main_cf, ret_destination, NULL);
}

void log_destination_clear(LogDestination *destination)
{
    fd_clear(&destination->fd);
    g_clear_pointer(&destination->host, g_free);
}

void log_destination_use(const LogDestination *destination, const char *syslog_name, const char *program)
{
    log_set_tag(syslog_name, program);
    if (destination->fd >= 0)
        log_to_file(destination->fd, destination->host);
    else
        log_to_syslog(destination->facility);
}
