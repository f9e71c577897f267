/* checks_action.h - the actions of header_checks(5), as a table gives them: "REJECT 5.7.1 go away". */
#pragma once
typedef enum {
    CHECK_BCC,
    CHECK_DISCARD,
    CHECK_DUNNO, /* and OK */
    CHECK_FILTER,
    CHECK_IGNORE,
    CHECK_INFO,
    CHECK_PASS,
    CHECK_PREPEND,
    CHECK_QUARANTINE, /* and HOLD */
    CHECK_REDIRECT,
    CHECK_REJECT,
    CHECK_REPLACE,
    CHECK_STRIP,
    CHECK_WARN,
    CHECK_UNKNOWN,
} CheckAction;

/* value: the table's answer. *ret_text: what follows the action, "" for nothing; a pointer into value. */
CheckAction check_action_parse(const char *value, const char **ret_text);

/* The address that REDIRECT and BCC name, in internal form, which the caller frees. NULL: it has no local part or no
 * domain, or is none. */
char *check_action_address(const char *text);
