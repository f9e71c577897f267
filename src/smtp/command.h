/* command.h - the grammar of SMTP commands with arguments (RFC 5321 4.1, 1870, 6152, 3461, 6531; tolerances: those of smtpd(8)).
 * Pure functions: line in, record or reply text out. They know no session state and no access rules. */
#pragma once
#include "mail/envelope.h"
#include <stddef.h>

typedef struct {
    bool allow_min_user;  /* an address may begin with '-': programs behind us may take it for an option */
    bool strict_rfc821;   /* strict_rfc821_envelopes */
    bool smtputf8;        /* MAIL: smtputf8_enable and keyword not discarded; RCPT, VRFY: the client declared SMTPUTF8 with MAIL or VRFY */
    bool strict_smtputf8;
    bool dsn;             /* DSN keyword not discarded */
    bool size;            /* SIZE= and BODY= are known. Postfix takes them also where their keywords are discarded: so should who sets these */
    bool body8bit;
    bool verp;            /* client in authorized_verp_clients */
    bool auth;            /* AUTH= is accepted */
    bool requiretls;      /* requiretls_enable, the session is inside TLS, and the keyword not discarded */
} CommandRules;

typedef struct {
    char *text;    /* the address as the client wrote it, without brackets: for replies and log lines; "" for <> */
    char *address; /* internal form; its domain, if it has one, is valid */
    gint64 size;   /* SIZE=, or 0 */
    BodyType body;
    DsnRet ret;
    char *envid;   /* as received (xtext), or NULL */
    char *auth;    /* as received, or NULL */
    bool smtputf8;
    bool requiretls; /* RFC 8689 */
    char *verp;    /* the two delimiters, "" for $default_verp_delimiters, or NULL: no XVERP */
} MailCommand;

typedef struct {
    char *text;
    char *address;
    unsigned notify;
    char *orcpt;   /* "type;xtext" as received, or NULL */
} RcptCommand;

/* line: the whole command, without line end, may hold any octet but NUL, CR, LF. Return NULL and fill *ret (clear it with ..._clear), or return the
 * reply ("501 5.5.4 Syntax: MAIL FROM:<address>") and leave *ret zeroed; caller frees the reply. ret_bad_address: set to the text for
 * "Illegal address syntax from C in MAIL command: <text>" when that is what was wrong, else NULL; may be NULL. */
char *mail_command_parse(const char *line, const CommandRules *rules, MailCommand *ret, char **ret_bad_address);
char *rcpt_command_parse(const char *line, const CommandRules *rules, RcptCommand *ret, char **ret_bad_address);
/* text: the address that is asked for; utf8: SMTPUTF8 was declared. Fills ret like RCPT. It may be a whole mailbox, `phrase <address>`, and
 * what is strict for envelopes is not for it. */
char *vrfy_address_parse(const char *text, const CommandRules *rules, bool utf8, RcptCommand *ret, char **ret_bad_address);
/* error: of MAIL or RCPT, or NULL. True: there is no word behind FROM: or TO:. */
bool command_lacks_path(const char *error);
/* The MAIL command line, word by word, but for a parameter that has no value, in any case. Caller frees. */
char *mail_command_without(const char *line, const char *parameter);
void mail_command_clear(MailCommand *command);
void rcpt_command_clear(RcptCommand *command);

/* Words of a line by blanks, with "..." and <...> kept together. NULL: an unclosed group. The words are the array's. */
GPtrArray *command_words(const char *line);

/* BDAT count [LAST], the count below 2^63. False: malformed. */
bool bdat_command_parse(const char *line, guint64 *ret_count, bool *ret_last);
