/* log.h - the mail log, in Postfix's line shape (behaviour of postlogd(8) and syslog(3)):
 *
 *     Mon dd HH:MM:SS HOST SYSLOG_NAME/PROGRAM[NUMBER]: text
 *
 * One process has one destination. A line is one write(), so processes may share an O_APPEND file. Whatever is not
 * printable ASCII or UTF-8 becomes '?': no text from outside can make a second line.
 *
 * The number in brackets is the process id, or what the thread set with log_set_number(): a session's own number, so
 * that log tools pair its connect with its disconnect although sessions share a process. */
#pragma once
#include <glib.h>
#include <stdbool.h>
#include <stddef.h>

#define LOG_LINE_MAX 16384 /* octets of one line; longer text is cut */

/* The tag. Both strings are copied. Until a destination is set, lines go to standard error as "PROGRAM: text". */
void log_set_tag(const char *syslog_name, const char *program);

/* Destinations. All later lines go there. */
void log_to_stderr(void);
void log_to_file(int fd, const char *host); /* fd is kept, not closed; host is copied */
void log_to_syslog(int facility);           /* opened at once, so that a later chroot does no harm */
void log_also_stderr(bool on);              /* besides, "SYSLOG_NAME/PROGRAM: text" for a person at a terminal */

void log_set_verbose(int level); /* 0 unless -v was given */
int log_verbose(void);
/* Until it is turned off: warnings and what is graver, and each text once. For one thread. */
void log_only_problems_once(bool on);

/* Of the calling thread; 0 means the process id. */
void log_set_number(guint64 number);
guint64 log_number(void);

void log_info(const char *format, ...) G_GNUC_PRINTF(1, 2);
void log_warning(const char *format, ...) G_GNUC_PRINTF(1, 2); /* "warning: " in front */
void log_error(const char *format, ...) G_GNUC_PRINTF(1, 2);   /* "error: " */
void log_fatal(const char *format, ...) G_GNUC_PRINTF(1, 2);   /* "fatal: "; does not end the process */

/* The same under another Postfix program's name: what runs as a function here keeps its own tag (cleanup, qmgr, anvil).
 */
void log_info_as(const char *program, const char *format, ...) G_GNUC_PRINTF(2, 3);
void log_warning_as(const char *program, const char *format, ...) G_GNUC_PRINTF(2, 3);

/* Octets as text for a log line or an error: '?' for what is not printable. The caller frees. */
char *log_quote(const char *data, size_t len);
/* Octets as text that shows what they were: "\r", "\n", "\t", "\\" and "\ooo" for all that is not printable ASCII. The caller
 * frees. */
char *log_escape(const char *data, size_t len);
