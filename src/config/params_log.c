/* params_log.c - parameters: Logging. */
#include "config/param_rows.h"

const Param param_rows_log[] = {
    {"syslog_name", STRING, SUPPORTED, "${multi_instance_name?{$multi_instance_name}:{postfix}}", 1, 0, NULL, NULL,
     "First part of the tag of log lines"},
    {"syslog_facility", ENUM, SUPPORTED, "mail", 0, 0,
     "auth authpriv cron daemon ftp kern lpr mail news syslog user uucp local0 local1 local2 local3 local4 local5 "
     "local6 local7",
     NULL, "Facility of log lines"},
    {"maillog_file", STRING, SUPPORTED, "", 0, 0, NULL, NULL, "File that gets the log; empty: syslog"},
    {"maillog_file_prefixes", STRING, SUPPORTED, "/var, /dev/stdout", 1, 0, NULL, NULL, "Where that file may lie"},
    {"maillog_file_permissions", STRING, SUPPORTED, "0600", 0, 0, NULL, "3.9", "Permissions of that file"},
    {"maillog_file_rotate_suffix", STRING, SUPPORTED, "%Y%m%d-%H%M%S", 1, 0, NULL, NULL,
     "Suffix of a rotated log file"},
    {"maillog_file_compressor", STRING, SUPPORTED, "gzip", 1, 0, NULL, NULL,
     "Program that compresses a rotated log file"},
    {"info_log_address_format", ENUM, SUPPORTED, "external", 0, 0, "external internal", NULL,
     "Form of addresses in the log"},
    {"respectful_logging", BOOL, NO_EFFECT, "${{$compatibility_level} <level {3.6} ? {no} : {yes}}", 0, 0, NULL, NULL,
     "Words in the log"},
    {"helpful_warnings", BOOL, SUPPORTED, "yes", 0, 0, NULL, NULL, "Whether doubtful settings are warned of"},
    {"debug_peer_list", STRING, UNSUPPORTED, "", 0, 0, NULL, NULL, "Peers of which more is logged"},
    {"debug_peer_level", INT, UNSUPPORTED, "2", 1, 0, NULL, NULL, "How much more"},
    {"debugger_command", STRING, NO_EFFECT, "", 0, 0, NULL, NULL, "Command that -D starts"},
};
const size_t param_count_log = G_N_ELEMENTS(param_rows_log);
