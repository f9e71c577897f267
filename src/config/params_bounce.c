/* params_bounce.c - parameters: Bounces and notices. */
#include "config/param_rows.h"

const Param param_rows_bounce[] = {
    {"notify_classes", WORDS, UNSUPPORTED, "resource, software", 0, 0,
     "bounce 2bounce data delay policy protocol resource software", NULL,
     "Kinds of trouble that the postmaster is told of"},
    {"bounce_notice_recipient", STRING, UNSUPPORTED, "postmaster", 1, 0, NULL, NULL, "Who gets notices of bounces"},
    {"2bounce_notice_recipient", STRING, UNSUPPORTED, "postmaster", 1, 0, NULL, NULL,
     "Who gets bounces that cannot be delivered"},
    {"delay_notice_recipient", STRING, UNSUPPORTED, "postmaster", 1, 0, NULL, NULL, "Who gets notices of delayed mail"},
    {"error_notice_recipient", STRING, UNSUPPORTED, "postmaster", 0, 0, NULL, NULL,
     "Who gets notices of other trouble"},
    {"double_bounce_sender", STRING, SUPPORTED, "double-bounce", 1, 0, NULL, NULL,
     "Sender of mail that must not be bounced"},
    {"empty_address_recipient", STRING, SUPPORTED, "MAILER-DAEMON", 1, 0, NULL, NULL,
     "Recipient that stands for the null sender"},
    {"bounce_size_limit", INT, UNSUPPORTED, "50000", 1, 0, NULL, NULL, "Octets of a message that its bounce holds"},
    {"bounce_template_file", STRING, UNSUPPORTED, "", 0, 0, NULL, NULL, "Texts of bounces"},
    {"soft_bounce", BOOL, SUPPORTED, "no", 0, 0, NULL, NULL, "Whether permanent failures are treated as temporary"},
    {"backwards_bounce_logfile_compatibility", BOOL, NO_EFFECT, "yes", 0, 0, NULL, NULL,
     "Whether bounce logs have their old form, too"},
    {"enable_threaded_bounces", BOOL, UNSUPPORTED, "no", 0, 0, NULL, NULL, "Whether bounces refer to the message's id"},
    {"disable_verp_bounces", BOOL, UNSUPPORTED, "no", 0, 0, NULL, NULL, "Whether bounces to VERP senders are plain"},
    {"default_verp_delimiters", STRING, UNSUPPORTED, "+=", 2, 0, NULL, NULL, "Delimiters of VERP addresses"},
    {"verp_delimiter_filter", STRING, UNSUPPORTED, "-=+", 1, 0, NULL, NULL, "Characters that may be such delimiters"},
};
const size_t param_count_bounce = G_N_ELEMENTS(param_rows_bounce);
