/* params_milter.c - parameters: Milters. */
#include "config/param_rows.h"

const Param param_rows_milter[] = {
    {"smtpd_milters", STRING, PROTECTS, "", 0, 0, NULL, NULL, "Milters for mail that comes by SMTP"},
    {"non_smtpd_milters", STRING, PROTECTS, "", 0, 0, NULL, NULL, "Milters for other mail"},
    {"smtpd_milter_maps", STRING, PROTECTS, "", 0, 0, NULL, NULL, "Tables from client address to milters"},
    {"milter_connect_timeout", TIME, UNSUPPORTED, "30s", 1, 0, NULL, NULL, "Time limit of connecting to a milter"},
    {"milter_command_timeout", TIME, UNSUPPORTED, "30s", 1, 0, NULL, NULL, "Time limit of an SMTP command at a milter"},
    {"milter_content_timeout", TIME, UNSUPPORTED, "300s", 1, 0, NULL, NULL, "Time limit of content at a milter"},
    {"milter_default_action", STRING, UNSUPPORTED, "tempfail", 1, 0, NULL, NULL, "What happens when a milter fails"},
    {"milter_protocol", STRING, UNSUPPORTED, "6", 1, 0, NULL, NULL, "Version of the milter protocol"},
    {"milter_connect_macros", STRING, UNSUPPORTED, "j {daemon_name} {daemon_addr} v _", 0, 0, NULL, NULL,
     "Macros sent at connect"},
    {"milter_helo_macros", STRING, UNSUPPORTED, "{tls_version} {cipher} {cipher_bits} {cert_subject} {cert_issuer}", 0,
     0, NULL, NULL, "Macros sent at HELO"},
    {"milter_mail_macros", STRING, UNSUPPORTED,
     "i {auth_type} {auth_authen} {auth_author} {mail_addr} {mail_host} {mail_mailer}", 0, 0, NULL, NULL,
     "Macros sent at MAIL"},
    {"milter_rcpt_macros", STRING, UNSUPPORTED, "i {rcpt_addr} {rcpt_host} {rcpt_mailer}", 0, 0, NULL, NULL,
     "Macros sent at RCPT"},
    {"milter_data_macros", STRING, UNSUPPORTED, "i", 0, 0, NULL, NULL, "Macros sent at DATA"},
    {"milter_end_of_header_macros", STRING, UNSUPPORTED, "i", 0, 0, NULL, NULL, "Macros sent at the end of the header"},
    {"milter_end_of_data_macros", STRING, UNSUPPORTED, "i", 0, 0, NULL, NULL, "Macros sent at the end of the content"},
    {"milter_unknown_command_macros", STRING, UNSUPPORTED, "", 0, 0, NULL, NULL, "Macros sent at an unknown command"},
    {"milter_macro_daemon_name", STRING, UNSUPPORTED, "$myhostname", 1, 0, NULL, NULL, "Value of {daemon_name}"},
    {"milter_macro_v", STRING, UNSUPPORTED, "$mail_name $mail_version", 1, 0, NULL, NULL, "Value of v"},
    {"milter_macro_defaults", STRING, UNSUPPORTED, "", 0, 0, NULL, NULL, "Values of other macros"},
    {"milter_header_checks", STRING, PROTECTS, "", 0, 0, NULL, NULL,
     "Tables that headers added by milters are looked up in"},
    {"internal_mail_filter_classes", STRING, UNSUPPORTED, "", 0, 0, NULL, NULL,
     "Kinds of internal mail that are filtered"},
};
const size_t param_count_milter = G_N_ELEMENTS(param_rows_milter);
