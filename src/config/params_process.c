/* params_process.c - parameters: The mail system and its processes. */
#include "config/param_rows.h"

const Param param_rows_process[] = {
    {"compatibility_level", STRING, SUPPORTED, "3.12", 0, 0, NULL, "ours",
     "Release whose defaults are used; the newest where it is not set"},
    {"config_directory", STRING, SUPPORTED, NULL, 0, 0, NULL, NULL, "Directory of main.cf and master.cf"},
    {"alternate_config_directories", STRING, SUPPORTED, "", 0, 0, NULL, NULL,
     "Other such directories that set-group-id programs accept"},
    {"data_directory", STRING, SUPPORTED, "/var/lib/postfix", 1, 0, NULL, NULL, "Directory of caches and locks"},
    {"daemon_directory", STRING, NO_EFFECT, "/usr/lib/postfix/sbin", 1, 0, NULL, NULL,
     "Directory of Postfix's programs"},
    {"command_directory", STRING, NO_EFFECT, "/usr/sbin", 1, 0, NULL, NULL, "Directory of Postfix's commands"},
    {"meta_directory", STRING, NO_EFFECT, "/etc/postfix", 1, 0, NULL, NULL, "Directory of Postfix's file lists"},
    {"shlib_directory", STRING, NO_EFFECT, "/usr/lib/postfix", 1, 0, NULL, NULL, "Directory of Postfix's libraries"},
    {"html_directory", STRING, NO_EFFECT, "/usr/share/doc/postfix/html", 0, 0, NULL, NULL,
     "Directory of Postfix's HTML pages"},
    {"manpage_directory", STRING, NO_EFFECT, "/usr/share/man", 0, 0, NULL, NULL, "Directory of Postfix's manual pages"},
    {"readme_directory", STRING, NO_EFFECT, "/usr/share/doc/postfix", 0, 0, NULL, NULL,
     "Directory of Postfix's README files"},
    {"sample_directory", STRING, NO_EFFECT, "/etc/postfix", 0, 0, NULL, NULL, "Directory of Postfix's sample files"},
    {"mailq_path", STRING, NO_EFFECT, "/usr/bin/mailq", 0, 0, NULL, NULL, "Where mailq is"},
    {"newaliases_path", STRING, NO_EFFECT, "/usr/bin/newaliases", 0, 0, NULL, NULL, "Where newaliases is"},
    {"sendmail_path", STRING, NO_EFFECT, "/usr/sbin/sendmail", 0, 0, NULL, NULL, "Where sendmail is"},
    {"sendmail_fix_line_endings", STRING, UNSUPPORTED, "always", 0, 0, NULL, NULL,
     "When CRLF in submitted mail becomes LF"},
    {"mail_owner", STRING, SUPPORTED, NULL, 1, 0, NULL, NULL, "User that owns the queue and runs the services"},
    {"setgid_group", STRING, UNSUPPORTED, "postdrop", 1, 0, NULL, NULL,
     "Group of the commands that submit and list mail"},
    {"mail_version", STRING, SUPPORTED, GATEPOST_VERSION, 1, 0, NULL, NULL, "Version of the mail system"},
    {"mail_release_date", STRING, SUPPORTED, "20261122", 1, 0, NULL, "ours", "Date of its release"},
    {"process_id", STRING, SUPPORTED, NULL, 0, 0, NULL, NULL, "Id of the running process"},
    {"process_id_directory", STRING, SUPPORTED, "pid", 1, 0, NULL, NULL,
     "Directory of lock files, below queue_directory"},
    {"process_name", STRING, SUPPORTED, NULL, 0, 0, NULL, NULL, "Name of the running program"},
    {"service_name", STRING, SUPPORTED, NULL, 0, 0, NULL, NULL, "Name of the running service, as in master.cf"},
    {"default_process_limit", INT, SUPPORTED, "100", 1, 0, NULL, NULL, "maxproc of services that name none"},
    {"master_service_disable", STRING, SUPPORTED, "", 0, 0, NULL, NULL, "Services of master.cf that are not started"},
    {"service_throttle_time", TIME, SUPPORTED, "60s", 1, 0, NULL, NULL, "Pause after a service failed to start"},
    {"service_sandbox", ENUM, SUPPORTED, "deny-list", 0, 0, "off deny-list allow-list", "ours",
     "How service processes are fenced in: deny-list (system calls that lead out are refused; files and TCP ports are those "
     "that the configuration names, where the kernel has Landlock), allow-list (besides, a system call that the service is "
     "not known to need ends it), off"},
    {"daemon_timeout", TIME, SUPPORTED, "18000s", 1, 0, NULL, NULL,
     "How long the queue manager waits for a sign of life from a delivery"},
    {"max_idle", TIME, NO_EFFECT, "100s", 1, 0, NULL, NULL, "How long an idle process waits for work"},
    {"max_use", INT, NO_EFFECT, "100", 1, 0, NULL, NULL, "Clients that one process serves"},
    {"ipc_idle", TIME, NO_EFFECT, "5s", 1, 0, NULL, NULL, "How long an unused internal connection is kept"},
    {"ipc_timeout", TIME, NO_EFFECT, "3600s", 1, 0, NULL, NULL, "Time limit of internal requests"},
    {"ipc_ttl", TIME, NO_EFFECT, "1000s", 1, 0, NULL, NULL, "How long an internal connection is used"},
    {"trigger_timeout", TIME, NO_EFFECT, "10s", 1, 0, NULL, NULL, "Time limit of a wake-up"},
    {"application_event_drain_time", TIME, NO_EFFECT, "100s", 1, 0, NULL, NULL,
     "How long a process waits for the other side at its end"},
    {"fork_attempts", INT, NO_EFFECT, "5", 1, 0, NULL, NULL, "How often fork is tried"},
    {"fork_delay", TIME, NO_EFFECT, "1s", 1, 0, NULL, NULL, "Delay between those tries"},
    {"import_environment", STRING, UNSUPPORTED,
     "MAIL_CONFIG MAIL_DEBUG MAIL_LOGTAG TZ XAUTHORITY DISPLAY LANG=C POSTLOG_SERVICE POSTLOG_HOSTNAME", 0, 0, NULL,
     NULL, "Environment that is kept"},
    {"export_environment", STRING, SUPPORTED, "TZ MAIL_CONFIG LANG", 0, 0, NULL, NULL,
     "Environment that other programs get"},
    {"default_database_type", STRING, SUPPORTED, "hash", 1, 0, NULL, NULL, "Type of tables where commands name none"},
    {"berkeley_db_create_buffer_size", INT, NO_EFFECT, "16777216", 1, 0, NULL, NULL,
     "Buffer of Berkeley DB when a table is made"},
    {"berkeley_db_read_buffer_size", INT, NO_EFFECT, "131072", 1, 0, NULL, NULL,
     "Buffer of Berkeley DB when a table is read"},
    {"lmdb_map_size", INT, SUPPORTED, "16777216", 1, G_MAXINT64, NULL, NULL, "Octets of a new LMDB table, at first"},
    {"daemon_table_open_error_is_fatal", BOOL, UNSUPPORTED, "no", 0, 0, NULL, NULL,
     "Whether a table that cannot be opened ends a service"},
    {"proxy_read_maps", STRING, UNSUPPORTED,
     "$local_recipient_maps $mydestination $virtual_alias_maps $virtual_alias_domains $virtual_mailbox_maps "
     "$virtual_mailbox_domains $relay_recipient_maps $relay_domains $canonical_maps $sender_canonical_maps "
     "$recipient_canonical_maps $relocated_maps $transport_maps $mynetworks $smtpd_sender_login_maps $sender_bcc_maps "
     "$recipient_bcc_maps $smtp_generic_maps $lmtp_generic_maps $alias_maps $smtpd_client_restrictions "
     "$smtpd_helo_restrictions $smtpd_sender_restrictions $smtpd_relay_restrictions $smtpd_recipient_restrictions "
     "$address_verify_sender_dependent_default_transport_maps $address_verify_sender_dependent_relayhost_maps "
     "$address_verify_transport_maps $fallback_transport_maps $lmtp_discard_lhlo_keyword_address_maps "
     "$lmtp_pix_workaround_maps $lmtp_sasl_password_maps $lmtp_tls_policy_maps $mailbox_command_maps "
     "$mailbox_transport_maps $postscreen_discard_ehlo_keyword_address_maps $rbl_reply_maps "
     "$sender_dependent_default_transport_maps $sender_dependent_relayhost_maps "
     "$smtp_discard_ehlo_keyword_address_maps $smtp_pix_workaround_maps $smtp_sasl_password_maps $smtp_tls_policy_maps "
     "$smtpd_discard_ehlo_keyword_address_maps $smtpd_milter_maps $virtual_gid_maps $virtual_uid_maps "
     "$local_login_sender_maps $postscreen_reject_footer_maps $smtpd_reject_footer_maps $tls_server_sni_maps "
     "$tlsproxy_client_policy_maps $default_delivery_status_filter $lmtp_delivery_status_filter $lmtp_dns_reply_filter "
     "$lmtp_reply_filter $local_delivery_status_filter $pipe_delivery_status_filter $postscreen_command_filter "
     "$smtp_delivery_status_filter $smtp_dns_reply_filter $smtp_reply_filter $smtpd_command_filter "
     "$smtpd_dns_reply_filter $virtual_delivery_status_filter $body_checks $header_checks $lmtp_body_checks "
     "$lmtp_header_checks $lmtp_mime_header_checks $lmtp_nested_header_checks $milter_header_checks "
     "$mime_header_checks $nested_header_checks $smtp_body_checks $smtp_header_checks $smtp_mime_header_checks "
     "$smtp_nested_header_checks",
     0, 0, NULL, NULL, "Tables that proxymap may read"},
    {"proxy_write_maps", STRING, UNSUPPORTED,
     "$smtp_sasl_auth_cache_name $lmtp_sasl_auth_cache_name $address_verify_map $postscreen_cache_map", 0, 0, NULL,
     NULL, "Tables that proxymap may write"},
    {"tcp_windowsize", INT, UNSUPPORTED, "0", 0, 0, NULL, NULL, "Size of TCP windows; 0 for the system's"},
    {"fault_injection_code", INT, NO_EFFECT, "0", 0, 0, NULL, NULL, "For tests"},
    {"postlogd_watchdog_timeout", TIME, NO_EFFECT, "10s", 0, 0, NULL, NULL,
     "How long the log service may handle one request"},
    {"multi_instance_directories", STRING, UNSUPPORTED, "", 0, 0, NULL, NULL, "Other instances"},
    {"multi_instance_enable", BOOL, UNSUPPORTED, "no", 0, 0, NULL, NULL, "Whether this instance is managed"},
    {"multi_instance_group", STRING, UNSUPPORTED, "", 0, 0, NULL, NULL, "Its group"},
    {"multi_instance_name", STRING, UNSUPPORTED, "", 0, 0, NULL, NULL, "Its name"},
    {"multi_instance_wrapper", STRING, UNSUPPORTED, "", 0, 0, NULL, NULL, "Program that manages instances"},
    {"postmulti_control_commands", STRING, UNSUPPORTED, "reload flush", 0, 0, NULL, NULL,
     "Commands for running instances"},
    {"postmulti_start_commands", STRING, UNSUPPORTED, "start", 0, 0, NULL, NULL, "Commands that start"},
    {"postmulti_stop_commands", STRING, UNSUPPORTED, "stop abort drain quick-stop", 0, 0, NULL, NULL,
     "Commands that stop"},
    {"bounce_service_name", STRING, NO_EFFECT, "bounce", 1, 0, NULL, NULL, "Name of the service bounce"},
    {"cleanup_service_name", STRING, NO_EFFECT, "cleanup", 1, 0, NULL, NULL, "Name of the service cleanup"},
    {"connection_cache_service_name", STRING, NO_EFFECT, "scache", 1, 0, NULL, NULL, "Name of the service scache"},
    {"connection_cache_protocol_timeout", TIME, NO_EFFECT, "5s", 1, 0, NULL, NULL,
     "Time limit of the connection cache"},
    {"connection_cache_status_update_time", TIME, NO_EFFECT, "600s", 1, 0, NULL, NULL,
     "How often the connection cache logs"},
    {"connection_cache_ttl_limit", TIME, NO_EFFECT, "2s", 1, 0, NULL, NULL,
     "How long the connection cache keeps connections"},
    {"defer_service_name", STRING, NO_EFFECT, "defer", 1, 0, NULL, NULL, "Name of the service defer"},
    {"dnsblog_service_name", STRING, NO_EFFECT, "dnsblog", 1, 0, NULL, NULL, "Name of the service dnsblog"},
    {"dnsblog_reply_delay", TIME, NO_EFFECT, "0s", 0, 0, NULL, NULL, "For tests"},
    {"error_service_name", STRING, NO_EFFECT, "error", 0, 0, NULL, NULL, "Name of the service error"},
    {"flush_service_name", STRING, NO_EFFECT, "flush", 1, 0, NULL, NULL, "Name of the service flush"},
    {"pickup_service_name", STRING, NO_EFFECT, "pickup", 1, 0, NULL, NULL, "Name of the service pickup"},
    {"postlog_service_name", STRING, NO_EFFECT, "postlog", 1, 0, NULL, NULL, "Name of the service postlog"},
    {"proxymap_service_name", STRING, NO_EFFECT, "proxymap", 1, 0, NULL, NULL, "Name of the service proxymap"},
    {"proxywrite_service_name", STRING, NO_EFFECT, "proxywrite", 1, 0, NULL, NULL, "Name of the service proxywrite"},
    {"queue_service_name", STRING, NO_EFFECT, "qmgr", 1, 0, NULL, NULL, "Name of the service qmgr"},
    {"rewrite_service_name", STRING, NO_EFFECT, "rewrite", 1, 0, NULL, NULL, "Name of the service trivial-rewrite"},
    {"showq_service_name", STRING, NO_EFFECT, "showq", 1, 0, NULL, NULL, "Name of the service showq"},
    {"tlsmgr_service_name", STRING, NO_EFFECT, "tlsmgr", 0, 0, NULL, NULL, "Name of the service tlsmgr"},
    {"tlsproxy_service_name", STRING, NO_EFFECT, "tlsproxy", 1, 0, NULL, NULL, "Name of the service tlsproxy"},
    {"trace_service_name", STRING, NO_EFFECT, "trace", 1, 0, NULL, NULL, "Name of the service trace"},
    {"address_verify_service_name", STRING, NO_EFFECT, "verify", 1, 0, NULL, NULL, "Name of the service verify"},
    {"qmqpd_authorized_clients", STRING, NO_EFFECT, "", 0, 0, NULL, NULL,
     "Clients of qmqpd, which does not exist here"},
    {"qmqpd_client_port_logging", BOOL, NO_EFFECT, "no", 0, 0, NULL, NULL, "Whether qmqpd logs ports"},
    {"qmqpd_error_delay", TIME, NO_EFFECT, "1s", 0, 0, NULL, NULL, "Delay of errors in qmqpd"},
    {"qmqpd_timeout", TIME, NO_EFFECT, "300s", 1, 0, NULL, NULL, "Time limit in qmqpd"},
};
const size_t param_count_process = G_N_ELEMENTS(param_rows_process);
