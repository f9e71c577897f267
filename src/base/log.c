/* log.c - the mail log. */
#include "base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

/* Set before the first thread starts, constant afterwards. */
static struct {
    enum { TO_STDERR, TO_FILE, TO_SYSLOG } destination;
    int fd;
    int syslog; /* connected to /dev/log; -1: never used */
    int facility;
    char *host;
    char *syslog_name;
    char *program;
    bool also_stderr;
    GHashTable *said; /* texts; NULL: not noted */
    int verbose;
} target = {.destination = TO_STDERR, .fd = -1, .syslog = -1};

static const struct sockaddr_un syslog_address = {.sun_family = AF_UNIX, .sun_path = "/dev/log"};
static _Thread_local guint64 thread_number;

void log_set_tag(const char *syslog_name, const char *program)
{
    g_free(target.syslog_name);
    g_free(target.program);
    target.syslog_name = g_strdup(syslog_name);
    target.program = g_strdup(program);
}

void log_to_stderr(void)
{
    target.destination = TO_STDERR;
}

void log_to_file(int fd, const char *host)
{
    g_free(target.host);
    target.host = g_strdup(host);
    target.fd = fd;
    target.destination = TO_FILE;
}

/* syslog(3) knows one tag for all lines of a process, and puts a colon behind it that cannot be had without it. Ours
 * varies from line to line (cleanup's lines are written by smtpd) and has a session's number: so the datagrams are made
 * here. */
static int open_syslog(void)
{
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    if (fd >= 0)
        connect(fd, (const struct sockaddr *)&syslog_address, sizeof syslog_address); /* or later, by send_syslog() */
    return fd;
}

void log_to_syslog(int facility)
{
    if (target.syslog < 0)
        target.syslog = open_syslog();
    target.facility = facility;
    target.destination = TO_SYSLOG;
}

void log_also_stderr(bool on)
{
    target.also_stderr = on;
}

void log_only_problems_once(bool on)
{
    g_clear_pointer(&target.said, g_hash_table_unref);
    if (on)
        target.said = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
}

void log_set_verbose(int level)
{
    target.verbose = level;
}

int log_verbose(void)
{
    return target.verbose;
}

void log_set_number(guint64 number)
{
    thread_number = number;
}

guint64 log_number(void)
{
    return thread_number ? thread_number : (guint64)getpid();
}

/* Replaces what could end or forge a line. UTF-8 sequences that are whole stay. */
static void make_printable(char *text, size_t len)
{
    for (size_t i = 0; i < len;) {
        unsigned char octet = (unsigned char)text[i];
        if (octet < 0x80) {
            if (octet < 0x20 || octet == 0x7f)
                text[i] = '?';
            i++;
            continue;
        }
        gunichar character = g_utf8_get_char_validated(text + i, (gssize)(len - i));
        if (character == (gunichar)-1 || character == (gunichar)-2 || !g_unichar_isprint(character)) {
            text[i++] = '?';
            continue;
        }
        i += (size_t)(g_utf8_next_char(text + i) - (text + i));
    }
}

char *log_quote(const char *data, size_t len)
{
    char *text = g_malloc(len + 1);

    memcpy(text, data, len);
    text[len] = '\0';
    make_printable(text, len);
    return text;
}

char *log_escape(const char *data, size_t len)
{
    GString *text = g_string_new(NULL);

    for (size_t i = 0; i < len; i++) {
        const char *named = memchr("\r\n\t\\", data[i], 4);
        if (named)
            g_string_append_printf(text, "\\%c", "rnt\\"[named - "\r\n\t\\"]);
        else if (g_ascii_isprint(data[i]))
            g_string_append_c(text, data[i]);
        else
            g_string_append_printf(text, "\\%03o", (unsigned char)data[i]);
    }
    return g_string_free(text, FALSE);
}

static void write_line(int fd, const char *line, size_t len)
{
    while (write(fd, line, len) < 0 && errno == EINTR)
        ;
}

static void send_stderr(const char *program, const char *text)
{
    char line[LOG_LINE_MAX + 256];
    int len;

    if (target.syslog_name)
        len = snprintf(line, sizeof line, "%s/%s: %s\n", target.syslog_name, program, text);
    else
        len = snprintf(line, sizeof line, "%s: %s\n", program, text);
    write_line(STDERR_FILENO, line, MIN((size_t)len, sizeof line - 1));
}

static void make_stamp(char *stamp, size_t size)
{
    time_t now = time(NULL);
    struct tm broken_down;

    localtime_r(&now, &broken_down);
    strftime(stamp, size, "%b %e %H:%M:%S", &broken_down);
}

static void send_file(const char *program, const char *text)
{
    char line[LOG_LINE_MAX + 512];
    char stamp[32];

    make_stamp(stamp, sizeof stamp);
    int len = snprintf(line, sizeof line, "%s %s %s/%s[%" G_GUINT64_FORMAT "]: %s\n", stamp, target.host,
                       target.syslog_name, program, log_number(), text);
    write_line(target.fd, line, MIN((size_t)len, sizeof line - 1));
}

static void send_syslog(int priority, const char *program, const char *text)
{
    char line[LOG_LINE_MAX + 512];
    char stamp[32];

    make_stamp(stamp, sizeof stamp);
    int len = snprintf(line, sizeof line, "<%d>%s %s/%s[%" G_GUINT64_FORMAT "]: %s", target.facility | priority, stamp,
                       target.syslog_name, program, log_number(), text);
    size_t size = MIN((size_t)len, sizeof line - 1);
    if (send(target.syslog, line, size, MSG_NOSIGNAL) >= 0)
        return;
    /* syslogd was restarted, and its socket is a new one. Threads may do this at the same time: a datagram socket
     * connects in one step. */
    if (errno != EMSGSIZE &&
        connect(target.syslog, (const struct sockaddr *)&syslog_address, sizeof syslog_address) == 0)
        send(target.syslog, line, size, MSG_NOSIGNAL);
}

G_GNUC_PRINTF(4, 0)
static void emit(int priority, const char *program, const char *prefix, const char *format, va_list args)
{
    char text[LOG_LINE_MAX];
    int saved = errno;

    if (target.said && priority > LOG_WARNING)
        return;
    int start = snprintf(text, sizeof text, "%s", prefix);

    if (!program)
        program = target.program ? target.program : "gatepost";
    vsnprintf(text + start, sizeof text - (size_t)start, format, args);
    make_printable(text, strlen(text));
    if (target.said && !g_hash_table_add(target.said, g_strdup(text)))
        return;
    if (target.destination == TO_FILE)
        send_file(program, text);
    else if (target.destination == TO_SYSLOG)
        send_syslog(priority, program, text);
    if (target.destination == TO_STDERR || target.also_stderr)
        send_stderr(program, text);
    errno = saved;
}

#define EMIT(priority, program, prefix)                                                                                \
    do {                                                                                                               \
        va_list args;                                                                                                  \
        va_start(args, format);                                                                                        \
        emit(priority, program, prefix, format, args);                                                                 \
        va_end(args);                                                                                                  \
    } while (0)

void log_info(const char *format, ...)
{
    EMIT(LOG_INFO, NULL, "");
}

void log_warning(const char *format, ...)
{
    EMIT(LOG_WARNING, NULL, "warning: ");
}

void log_error(const char *format, ...)
{
    EMIT(LOG_ERR, NULL, "error: ");
}

void log_fatal(const char *format, ...)
{
    EMIT(LOG_CRIT, NULL, "fatal: ");
}

void log_info_as(const char *program, const char *format, ...)
{
    EMIT(LOG_INFO, program, "");
}

void log_warning_as(const char *program, const char *format, ...)
{
    EMIT(LOG_WARNING, program, "warning: ");
}
