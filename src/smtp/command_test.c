#include "smtp/command.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define SYNTAX "syntax"
#define ADDRESS "address"
#define UNSUPPORTED "555 5.5.4 Unsupported option: "
#define UNICODE "553 5.6.7 Must declare SMTPUTF8 to send unicode address"
#define SIZE "501 5.5.4 Bad message size syntax"
#define OVERFLOW "552 5.3.4 Message size exceeds file system imposed limit"
#define RET "501 5.5.4 Bad RET parameter syntax"
#define ENVID "501 5.5.4 Bad ENVID parameter syntax"
#define XVERP "501 5.5.4 Error: XVERP needs two characters from -=+"
#define NOTIFY "501 5.5.4 Error: Bad NOTIFY parameter syntax"
#define ORCPT "501 5.5.4 Error: Bad ORCPT parameter syntax"
#define SAME "same"
#define OMIT "omit" /* not tried under strict rules */

typedef struct {
    const char *line;
    const char *reply;  /* NULL: accepted */
    const char *strict; /* with strict_rfc821_envelopes and strict_smtputf8 */
} Row;

/* What Postfix 3.7.11 answered, line by line. */
static const Row mail_rows[] = {
    {"MAIL FROM:<a@b.test>", NULL, SAME},
    {"mail from:<a@b.test>", NULL, SAME},
    {"MAIL FROM: <a@b.test>", NULL, SAME},
    {"MAIL  FROM:<a@b.test>", NULL, SAME},
    {"MAIL FROM:a@b.test", NULL, ADDRESS},
    {"MAIL FROM:  a@b.test", NULL, ADDRESS},
    {"MAIL FROM :<a@b.test>", SYNTAX, SAME},
    {"MAIL FROM", SYNTAX, SAME},
    {"MAIL", SYNTAX, SAME},
    {"MAIL FROM:", SYNTAX, SAME},
    {"MAIL FROM:<>", NULL, SAME},
    {"MAIL FROM:< >", NULL, SAME},
    {"MAIL FROM: <> SIZE=100", NULL, SAME},
    {"MAIL <a@b.test>", SYNTAX, SAME},
    {"MAIL TO:<a@b.test>", SYNTAX, SAME},
    {"MAIL FROM<a@b.test>", SYNTAX, SAME},
    {"MAIL FROM:<a@b.test", ADDRESS, SAME},
    {"MAIL FROM:a@b.test>", NULL, ADDRESS},
    {"MAIL FROM:\"a b\"@b.test", NULL, ADDRESS},
    {"MAIL FROM:<\"a b\"@b.test>", NULL, SAME},
    {"MAIL FROM:<a b@b.test>", ADDRESS, SAME},
    {"MAIL FROM:<a @b.test>", NULL, SAME},
    {"MAIL FROM:< a@b.test >", NULL, SAME},
    {"MAIL FROM:<a@ b.test>", NULL, SAME},
    {"MAIL FROM:\"x\" <a@b.test>", UNSUPPORTED "<a@b.test>", ADDRESS},
    {"MAIL FROM:x <a@b.test>", UNSUPPORTED "<a@b.test>", ADDRESS},
    {"MAIL FROM:x<a@b.test>", NULL, ADDRESS},
    {"MAIL FROM:<x<a@b.test>>", NULL, ADDRESS},
    {"MAIL FROM:<<a@b.test>>", NULL, SAME},
    {"MAIL FROM:<a@b.test>SIZE=1", ADDRESS, SAME},
    {"MAIL FROM:<a@b.test>x", ADDRESS, SAME},
    {"MAIL FROM:<user>", NULL, SAME},
    {"MAIL FROM:<@dom.test>", NULL, ADDRESS},
    {"MAIL FROM:<@a,@b:user@dom.test>", NULL, SAME},
    {"MAIL FROM:<@a:user@dom.test>", NULL, SAME},
    {"MAIL FROM:<@a@b:user@dom.test>", NULL, SAME},
    {"MAIL FROM:<@:user@dom.test>", NULL, SAME},
    {"MAIL FROM:<@a,@b>", ADDRESS, SAME},
    {"MAIL FROM:<@>", ADDRESS, SAME},
    {"MAIL FROM:<.>", NULL, SAME},
    {"MAIL FROM:<@a:>", NULL, SAME},
    {"MAIL FROM:<a@>", ADDRESS, SAME},
    {"MAIL FROM:<a@b..c>", ADDRESS, SAME},
    {"MAIL FROM:<a@.b>", ADDRESS, SAME},
    {"MAIL FROM:<a@b.>", NULL, SAME},
    {"MAIL FROM:<a@b..>", ADDRESS, SAME},
    {"MAIL FROM:<a..b@b.test>", NULL, SAME},
    {"MAIL FROM:<.a@b.test>", NULL, SAME},
    {"MAIL FROM:<a.@b.test>", NULL, SAME},
    {"MAIL FROM:<a@[1.2.3.4]>", NULL, SAME},
    {"MAIL FROM:<a@[1.2.3]>", ADDRESS, SAME},
    {"MAIL FROM:<a@[IPv6:::1]>", NULL, SAME},
    {"MAIL FROM:<a@[ipv6:::1]>", NULL, SAME},
    {"MAIL FROM:<a@[::1]>", ADDRESS, SAME},
    {"MAIL FROM:<a@[]>", ADDRESS, SAME},
    {"MAIL FROM:<a@[1.2.3.4]x>", ADDRESS, SAME},
    {"MAIL FROM:<a@1.2.3.4>", ADDRESS, SAME},
    {"MAIL FROM:<a@123>", ADDRESS, SAME},
    {"MAIL FROM:<a@a.123>", NULL, SAME},
    {"MAIL FROM:<a@-b.test>", ADDRESS, SAME},
    {"MAIL FROM:<a@b-.test>", ADDRESS, SAME},
    {"MAIL FROM:<a@b_c.test>", NULL, SAME},
    {"MAIL FROM:<a@b*c.test>", ADDRESS, SAME},
    {"MAIL FROM:<a@b c.test>", ADDRESS, SAME},
    {"MAIL FROM:<a@b/c.test>", ADDRESS, SAME},
    {"MAIL FROM:<a@aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.test>", NULL, SAME},
    {"MAIL FROM:<a@aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.test>", ADDRESS, SAME},
    {"MAIL FROM:<a@b@c.test>", NULL, SAME},
    {"MAIL FROM:<a@b.test,c@d.test>", ADDRESS, SAME},
    {"MAIL FROM:<a,c@d.test>", ADDRESS, SAME},
    {"MAIL FROM:<a;c@d.test>", ADDRESS, SAME},
    {"MAIL FROM:<a:b@c.test>", NULL, SAME},
    {"MAIL FROM:<(c)a@b.test>", NULL, ADDRESS},
    {"MAIL FROM:<a@b.test(c)>", NULL, ADDRESS},
    {"MAIL FROM:<a@b.test (c d)>", NULL, ADDRESS},
    {"MAIL FROM:<(c)>", NULL, ADDRESS},
    {"MAIL FROM:<a(c@b.test>", NULL, ADDRESS},
    {"MAIL FROM:<a)c@b.test>", NULL, SAME},
    {"MAIL FROM:<a\\ b@b.test>", NULL, SAME},
    {"MAIL FROM:<a\\@c@b.test>", NULL, SAME},
    {"MAIL FROM:<a\\>", ADDRESS, SAME},
    {"MAIL FROM:<a\\\"b@b.test>", NULL, SAME},
    {"MAIL FROM:<\"a\"b@b.test>", ADDRESS, SAME},
    {"MAIL FROM:<\"a\".\"b\"@b.test>", NULL, SAME},
    {"MAIL FROM:<\"a\" b@b.test>", ADDRESS, SAME},
    {"MAIL FROM:<\"\"@b.test>", NULL, ADDRESS},
    {"MAIL FROM:<\"a\\\"b\"@b.test>", NULL, SAME},
    {"MAIL FROM:<\"a@c\"@b.test>", NULL, SAME},
    {"MAIL FROM:<\"a>b\"@b.test>", NULL, SAME},
    {"MAIL FROM:<\"a b@b.test>", ADDRESS, SAME},
    {"MAIL FROM:<a@\"b\".test>", NULL, SAME},
    {"MAIL FROM:<a[b]@b.test>", ADDRESS, SAME},
    {"MAIL FROM:<\303\251@b.test>", NULL, UNICODE},
    {"MAIL FROM:<a@\303\251.test>", ADDRESS, SAME},
    {"MAIL FROM:<a@\303\251.test> SMTPUTF8", NULL, SAME},
    {"MAIL FROM:<\303\251@b.test> SMTPUTF8", NULL, SAME},
    {"MAIL FROM:<a@b.test> smtputf8", NULL, SAME},
    {"MAIL FROM:<a@b.test> SMTPUTF8=x", UNSUPPORTED "SMTPUTF8=x", SAME},
    {"MAIL FROM:<a!b>", NULL, SAME},
    {"MAIL FROM:<a!b@c.test>", NULL, SAME},
    {"MAIL FROM:<a%b@c.test>", NULL, SAME},
    {"MAIL FROM:<a%b>", NULL, SAME},
    {"MAIL FROM:<a@b.test> SIZE=100", NULL, SAME},
    {"MAIL FROM:<a@b.test> size=100", NULL, SAME},
    {"MAIL FROM:<a@b.test> SIZE=", SIZE, SAME},
    {"MAIL FROM:<a@b.test> SIZE", UNSUPPORTED "SIZE", SAME},
    {"MAIL FROM:<a@b.test> SIZE=1k", SIZE, SAME},
    {"MAIL FROM:<a@b.test> SIZE=-1", SIZE, SAME},
    {"MAIL FROM:<a@b.test> SIZE=+1", SIZE, SAME},
    {"MAIL FROM:<a@b.test> SIZE=0", NULL, SAME},
    {"MAIL FROM:<a@b.test> SIZE=99999999", NULL, SAME},
    {"MAIL FROM:<a@b.test> SIZE=9223372036854775807", NULL, SAME},
    {"MAIL FROM:<a@b.test> SIZE=9223372036854775808", OVERFLOW, SAME},
    {"MAIL FROM:<a@b.test> SIZE=99999999999999999999", OVERFLOW, SAME},
    {"MAIL FROM:<a@b.test> SIZE=1 SIZE=2", NULL, SAME},
    {"MAIL FROM:<a@b.test> BODY=8BITMIME", NULL, SAME},
    {"MAIL FROM:<a@b.test> body=7bit", NULL, SAME},
    {"MAIL FROM:<a@b.test> BODY=BINARYMIME", UNSUPPORTED "BODY=BINARYMIME", SAME},
    {"MAIL FROM:<a@b.test> BODY=", UNSUPPORTED "BODY=", SAME},
    {"MAIL FROM:<a@b.test> BODY=7BIT BODY=8BITMIME", NULL, SAME},
    {"MAIL FROM:<a@b.test> AUTH", UNSUPPORTED "AUTH", SAME},
    {"MAIL FROM:<a@b.test> RET=FULL", NULL, SAME},
    {"MAIL FROM:<a@b.test> RET=hdrs", NULL, SAME},
    {"MAIL FROM:<a@b.test> RET=x", RET, SAME},
    {"MAIL FROM:<a@b.test> RET=", RET, SAME},
    {"MAIL FROM:<a@b.test> RET", UNSUPPORTED "RET", SAME},
    {"MAIL FROM:<a@b.test> RET=FULL RET=FULL", RET, SAME},
    {"MAIL FROM:<a@b.test> ENVID=x", NULL, SAME},
    {"MAIL FROM:<a@b.test> ENVID=", ENVID, SAME},
    {"MAIL FROM:<a@b.test> ENVID=x ENVID=y", ENVID, SAME},
    {"MAIL FROM:<a@b.test> ENVID=a+20b", NULL, SAME},
    {"MAIL FROM:<a@b.test> ENVID=a+2", ENVID, SAME},
    {"MAIL FROM:<a@b.test> ENVID=a+01b", ENVID, SAME},
    {"MAIL FROM:<a@b.test> ENVID=a=b", NULL, SAME},
    {"MAIL FROM:<a@b.test> ENVID=a+e9b", ENVID, SAME},
    {"MAIL FROM:<a@b.test> ENVID=\303\251", ENVID, SAME},
    {"MAIL FROM:<a@b.test> ENVID", UNSUPPORTED "ENVID", SAME},
    {"MAIL FROM:<a@b.test> XVERP", NULL, OMIT},
    {"MAIL FROM:<a@b.test> XVERP=+=", NULL, OMIT},
    {"MAIL FROM:<a@b.test> XVERP=", XVERP, OMIT},
    {"MAIL FROM:<a@b.test> XVERP=+", XVERP, OMIT},
    {"MAIL FROM:<a@b.test> XVERP=xy", XVERP, OMIT},
    {"MAIL FROM:<> XVERP", "503 5.5.4 Error: XVERP requires non-null sender", OMIT},
    {"MAIL FROM:<a@b.test> FOO=BAR", UNSUPPORTED "FOO=BAR", SAME},
    {"MAIL FROM:<a@b.test> <x>", UNSUPPORTED "<x>", SAME},
    {"MAIL FROM:<a@b.test> \"x y\"", UNSUPPORTED "\"x y\"", SAME},
    {"MAIL FROM:<a@b.test> SIZE=1 <x", UNSUPPORTED "<x", SAME},
    {"MAIL FROM:<a@b.test> HOLDMSG", UNSUPPORTED "HOLDMSG", SAME},
    {"MAIL FROM:<a@b.test> MT-PRIORITY=3", UNSUPPORTED "MT-PRIORITY=3", SAME},
    {"MAIL FROM:<a@b..c> FOO=BAR", ADDRESS, SAME},
    {"MAIL FROM:<a@b.test> SIZE=x FOO=BAR", SIZE, SAME},
    {"MAIL FROM:<a@b.test> FOO=BAR SIZE=x", UNSUPPORTED "FOO=BAR", SAME},
    {"MAIL FROM:<a@b.test> =", UNSUPPORTED "=", SAME},
    {"MAIL FROM:<a@b.test> SIZE=99999999 FOO=BAR", UNSUPPORTED "FOO=BAR", SAME},
    {"MAIL FROM:<a@b..c> SIZE=99999999", ADDRESS, SAME},
    {"MAIL FROM:<a@b.test> SIZE=<100>", SIZE, SAME},
    {"MAIL FROM:<a\011b@b.test>", ADDRESS, SAME},
    {"MAIL\011FROM:<a@b.test>\011SIZE=1", NULL, SAME},
    {"MAIL "
     "FROM:<"
     "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
     "@b.test>",
     NULL, SAME},
    {"MAIL FROM: <a@b.test> (comment)", UNSUPPORTED "(comment)", SAME},
    {"MAIL FROM:(c)<a@b.test>", NULL, ADDRESS},
    {"MAIL FROM:,<a@b.test>", NULL, ADDRESS},
    {"MAIL FROM:<a@b.test>,", NULL, ADDRESS},
    {"MAIL FROM:<a@b.test>,<c@d.test>", ADDRESS, SAME},
    {"MAIL FROM:<a\001b@b.test>", NULL, SAME},
    {"MAIL FROM:<a@b\001.test>", ADDRESS, SAME},
    {"MAIL FROM:<\"a\177\"@b.test>", NULL, SAME},
    /* ours: [3.12] refuses NUL; TAB is text */
    {"MAIL FROM:<a@b.test> ENVID=a+00b", ENVID, SAME},
    {"MAIL FROM:<a@b.test> ENVID=a+09b", NULL, SAME},
    {"MAIL FROM:<a@b.test> AUTH=x", NULL, SAME},
    {"MAIL FROM:<a@b.test> AUTH=", NULL, SAME},
    {"MAIL FROM:<a@b.test> AUTH", UNSUPPORTED "AUTH", SAME},
    {"MAIL FROM:<a@b.test> AUTH=<> AUTH=<>", NULL, SAME},
    {"MAIL FROM:<a@b.test> AUTH=<> AUTH=x", NULL, SAME},
    {"MAIL FROM:<a@b.test> AUTH=x AUTH=<>", "503 5.5.4 Error: multiple AUTH= options", SAME},
    {"MAIL FROM:<a@b.test> ENVID=\"a b\"", NULL, SAME},
    {"MAIL FROM:<a@b.test> X\001\r\nY", UNSUPPORTED "X???Y", SAME},
};

static const Row rcpt_rows[] = {
    {"RCPT TO:<u@example.test>", NULL, SAME},
    {"rcpt to: u@example.test", NULL, ADDRESS},
    {"RCPT TO:<>", ADDRESS, SAME},
    {"RCPT TO:", SYNTAX, SAME},
    {"RCPT TO", SYNTAX, SAME},
    {"RCPT", SYNTAX, SAME},
    {"RCPT TO:< >", ADDRESS, SAME},
    {"RCPT FROM:<u@example.test>", SYNTAX, SAME},
    {"RCPT TO:<u@>", ADDRESS, SAME},
    {"RCPT TO:<@example.test>", NULL, ADDRESS},
    {"RCPT TO:<u>", NULL, SAME},
    {"RCPT TO:<postmaster>", NULL, SAME},
    {"RCPT TO:<PostMaster>", NULL, SAME},
    {"RCPT TO:<\"postmaster\">", NULL, SAME},
    {"RCPT TO:postmaster", NULL, ADDRESS},
    {"RCPT TO:<u@example.test.>", NULL, SAME},
    {"RCPT TO:<@a,@b:u@example.test>", NULL, SAME},
    {"RCPT TO:<u v@example.test>", ADDRESS, SAME},
    {"RCPT TO:<\"\"@example.test>", NULL, ADDRESS},
    {"RCPT TO:<u@example.test", ADDRESS, SAME},
    {"RCPT TO:<u@example.test> NOTIFY=NEVER", NULL, SAME},
    {"RCPT TO:<u@example.test> notify=success,failure", NULL, SAME},
    {"RCPT TO:<u@example.test> NOTIFY=SUCCESS,FAILURE,DELAY", NULL, SAME},
    {"RCPT TO:<u@example.test> NOTIFY=NEVER,SUCCESS", NOTIFY, SAME},
    {"RCPT TO:<u@example.test> NOTIFY=SUCCESS,SUCCESS", NULL, SAME},
    {"RCPT TO:<u@example.test> NOTIFY=", NOTIFY, SAME},
    {"RCPT TO:<u@example.test> NOTIFY", UNSUPPORTED "NOTIFY", SAME},
    {"RCPT TO:<u@example.test> NOTIFY=,", NOTIFY, SAME},
    {"RCPT TO:<u@example.test> NOTIFY=SUCCESS,", NULL, SAME},
    {"RCPT TO:<u@example.test> NOTIFY=SUCCESS,,DELAY", NULL, SAME},
    {"RCPT TO:<u@example.test> NOTIFY=x", NOTIFY, SAME},
    {"RCPT TO:<u@example.test> NOTIFY=NEVER NOTIFY=NEVER", NOTIFY, SAME},
    {"RCPT TO:<u@example.test> ORCPT=rfc822;u@example.test", NULL, SAME},
    {"RCPT TO:<u@example.test> ORCPT=rfc822;u+40example.test", NULL, SAME},
    {"RCPT TO:<u@example.test> ORCPT=rfc822;u+4", ORCPT, SAME},
    {"RCPT TO:<u@example.test> ORCPT=rfc822;", NULL, SAME},
    {"RCPT TO:<u@example.test> ORCPT=rfc822", ORCPT, SAME},
    {"RCPT TO:<u@example.test> ORCPT=;x", ORCPT, SAME},
    {"RCPT TO:<u@example.test> ORCPT=", ORCPT, SAME},
    {"RCPT TO:<u@example.test> ORCPT", UNSUPPORTED "ORCPT", SAME},
    {"RCPT TO:<u@example.test> ORCPT=x y;z", ORCPT, SAME},
    {"RCPT TO:<u@example.test> ORCPT=foo;z", NULL, SAME},
    {"RCPT TO:<u@example.test> ORCPT=f(o;z", NULL, SAME},
    {"RCPT TO:<u@example.test> ORCPT=rfc822;a;b", NULL, SAME},
    {"RCPT TO:<u@example.test> ORCPT=rfc822;a=b", NULL, SAME},
    {"RCPT TO:<u@example.test> ORCPT=rfc822;+01", NULL, SAME},
    {"RCPT TO:<u@example.test> ORCPT=rfc822;+20", NULL, SAME},
    {"RCPT TO:<u@example.test> ORCPT=utf-8;u@example.test", NULL, SAME},
    {"RCPT TO:<u@example.test> ORCPT=utf-8;\\x{e9}@example.test", NULL, SAME},
    {"RCPT TO:<u@example.test> ORCPT=utf-8;\\x{E9}@example.test", NULL, SAME},
    {"RCPT TO:<u@example.test> ORCPT=UTF-8;\\x{20AC}@example.test", NULL, SAME},
    {"RCPT TO:<u@example.test> ORCPT=utf-8;\\x{G}@example.test", ORCPT, SAME},
    {"RCPT TO:<u@example.test> ORCPT=utf-8;\\x{110000}@example.test", ORCPT, SAME},
    {"RCPT TO:<u@example.test> ORCPT=utf-8;u+40example.test", NULL, SAME},
    {"RCPT TO:<u@example.test> ORCPT=utf-8;\303\251@example.test", NULL, SAME},
    {"RCPT TO:<u@example.test> ORCPT=rfc822;\303\251@example.test", NULL, SAME},
    {"RCPT TO:<u@example.test> ORCPT=rfc822;x ORCPT=rfc822;y", ORCPT, SAME},
    {"RCPT TO:<u@example.test> ORCPT=rfc822;\"a b\"", NULL, SAME},
    {"RCPT TO:<u@example.test> FOO", UNSUPPORTED "FOO", SAME},
    {"RCPT TO:<u@example.test> NOTIFY=x FOO", NOTIFY, SAME},
    {"RCPT TO:<u@b..c> FOO", ADDRESS, SAME},
    {"RCPT TO:<\303\251@example.test>", NULL, UNICODE},
    {"RCPT TO:<u@\303\251.test>", ADDRESS, SAME},
    /* ours: [3.12] refuses NUL; what is no character is refused */
    {"RCPT TO:<u@example.test> ORCPT=rfc822;u+00", ORCPT, SAME},
    {"RCPT TO:<u@example.test> ORCPT=utf-8;\\x{0}", ORCPT, SAME},
    {"RCPT TO:<u@example.test> ORCPT=utf-8;\\x{}", ORCPT, SAME},
    {"RCPT TO:<u@example.test> ORCPT=utf-8;\\x{D800}", ORCPT, SAME},
    {"RCPT TO:<u@example.test> ORCPT=utf-8;\\x{ffffffffffffffff1}", ORCPT, SAME},
    {"RCPT TO:<u@example.test> ORCPT=utf-8;\377", ORCPT, SAME},
};

static const CommandRules loose = {
    .smtputf8 = true, .dsn = true, .size = true, .body8bit = true, .verp = true, .auth = true};

static void check_reply(const char *line, const char *got, const char *want, const char *syntax, const char *address)
{
    if (want && strcmp(want, SYNTAX) == 0)
        want = syntax;
    else if (want && strcmp(want, ADDRESS) == 0)
        want = address;
    if (g_strcmp0(got, want) != 0)
        fail_msg("%s\n  got  %s\n  want %s", line, got ? got : "250", want ? want : "250");
}

/* An address that was read and is none is logged; a group that does not end is a bad command. */
static void check_bad_address(const char *line, const char *bad_address, const char *want)
{
    g_autoptr(GPtrArray) words = command_words(line);

    assert_int_equal(bad_address != NULL, words && want && strcmp(want, ADDRESS) == 0);
}

static void check_mail(const Row *row, bool strict)
{
    const char *want = strict && strcmp(row->strict ? row->strict : "", SAME) != 0 ? row->strict : row->reply;
    CommandRules rules = loose;
    MailCommand mail;
    g_autofree char *bad_address = NULL;

    rules.strict_rfc821 = rules.strict_smtputf8 = strict;
    if (want && strcmp(want, OMIT) == 0)
        return;
    g_autofree char *reply = mail_command_parse(row->line, &rules, &mail, &bad_address);
    check_reply(row->line, reply, want, "501 5.5.4 Syntax: MAIL FROM:<address>", "501 5.1.7 Bad sender address syntax");
    check_bad_address(row->line, bad_address, want);
    assert_int_equal(mail.address != NULL, reply == NULL);
    mail_command_clear(&mail);
}

static void check_rcpt(const Row *row, bool strict)
{
    const char *want = strict && strcmp(row->strict ? row->strict : "", SAME) != 0 ? row->strict : row->reply;
    CommandRules rules = loose;
    RcptCommand rcpt;
    g_autofree char *bad_address = NULL;

    rules.strict_rfc821 = rules.strict_smtputf8 = strict;
    rules.smtputf8 = false; /* not declared with MAIL */
    g_autofree char *reply = rcpt_command_parse(row->line, &rules, &rcpt, &bad_address);
    check_reply(row->line, reply, want, "501 5.5.4 Syntax: RCPT TO:<address>",
                "501 5.1.3 Bad recipient address syntax");
    check_bad_address(row->line, bad_address, want);
    assert_int_equal(rcpt.address != NULL, reply == NULL);
    rcpt_command_clear(&rcpt);
}

static void replies_are_those_of_postfix(void **state)
{
    for (int strict = 0; strict < 2; strict++) {
        for (size_t i = 0; i < G_N_ELEMENTS(mail_rows); i++)
            check_mail(&mail_rows[i], strict);
        for (size_t i = 0; i < G_N_ELEMENTS(rcpt_rows); i++)
            check_rcpt(&rcpt_rows[i], strict);
    }
}

static void mail_fills_its_record(void **state)
{
    MailCommand mail;
    static const char line[] =
        "mail from: <\"a b\"@b.test> size=0100 body=8bitmime auth=c+2Bd ret=hdrs envid=x+20y smtputf8 xverp=-=";

    assert_null(mail_command_parse(line, &loose, &mail, NULL));
    assert_string_equal(mail.text, "\"a b\"@b.test");
    assert_string_equal(mail.address, "a b@b.test");
    assert_int_equal(mail.size, 100);
    assert_int_equal(mail.body, BODY_8BITMIME);
    assert_int_equal(mail.ret, DSN_RET_HDRS);
    assert_string_equal(mail.auth, "c+2Bd");
    assert_string_equal(mail.envid, "x+20y");
    assert_true(mail.smtputf8);
    assert_string_equal(mail.verp, "-=");
    mail_command_clear(&mail);

    assert_null(mail_command_parse("MAIL FROM:<@a:x@y> XVERP SIZE=9223372036854775807", &loose, &mail, NULL));
    assert_string_equal(mail.text, "@a:x@y");
    assert_string_equal(mail.address, "x@y");
    assert_string_equal(mail.verp, "");
    assert_true(mail.size == G_MAXINT64);
    mail_command_clear(&mail);
}

static void leading_minus_needs_leave(void **state)
{
    CommandRules rules = loose;
    RcptCommand rcpt;

    g_autofree char *refusal = rcpt_command_parse("RCPT TO:<-f@b.test>", &rules, &rcpt, NULL);
    assert_string_equal(refusal, "501 5.1.3 Bad recipient address syntax");
    rules.allow_min_user = true;
    assert_null(rcpt_command_parse("RCPT TO:<-f@b.test>", &rules, &rcpt, NULL));
    assert_string_equal(rcpt.address, "-f@b.test");
    rcpt_command_clear(&rcpt);
}

static void rcpt_fills_its_record(void **state)
{
    RcptCommand rcpt;

    assert_null(
        rcpt_command_parse("RCPT TO:<u@example.test.> NOTIFY=success,DELAY ORCPT=rfc822;u+2Bx@y", &loose, &rcpt, NULL));
    assert_string_equal(rcpt.text, "u@example.test.");
    assert_string_equal(rcpt.address, "u@example.test.");
    assert_int_equal(rcpt.notify, DSN_NOTIFY_SUCCESS | DSN_NOTIFY_DELAY);
    assert_string_equal(rcpt.orcpt, "rfc822;u+2Bx@y");
    rcpt_command_clear(&rcpt);
    assert_null(rcpt_command_parse("RCPT TO:<u@\303\251.test>", &loose, &rcpt, NULL)); /* declared with MAIL */
    assert_int_equal(rcpt.notify, 0);
    rcpt_command_clear(&rcpt);
}

static void what_is_discarded_is_refused(void **state)
{
    static const struct {
        const char *line, *reply;
    } rows[] = {
        {"MAIL FROM:<a@b.test> RET=x", "501 5.7.1 DSN support is disabled"},
        {"MAIL FROM:<a@b.test> ENVID=", "501 5.7.1 DSN support is disabled"},
        {"MAIL FROM:<a@b.test> SMTPUTF8", UNSUPPORTED "SMTPUTF8"},
        {"MAIL FROM:<a@\303\251.test> SMTPUTF8", "501 5.1.7 Bad sender address syntax"},
        {"MAIL FROM:<a@b.test> XVERP", UNSUPPORTED "XVERP"},
        {"MAIL FROM:<> XVERP", UNSUPPORTED "XVERP"},
        {"RCPT TO:<a@b.test> NOTIFY=x", "501 5.7.1 DSN support is disabled"},
        {"RCPT TO:<a@b.test> ORCPT=", "501 5.7.1 DSN support is disabled"},
    };
    const CommandRules none = {0};
    MailCommand mail;
    RcptCommand rcpt;

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autofree char *reply = rows[i].line[0] == 'M' ? mail_command_parse(rows[i].line, &none, &mail, NULL)
                                                        : rcpt_command_parse(rows[i].line, &none, &rcpt, NULL);
        assert_string_equal(reply, rows[i].reply);
    }
    g_autofree char *verp = mail_command_parse("MAIL FROM:<> XVERP", &loose, &mail, NULL);
    assert_string_equal(verp, "503 5.5.4 Error: XVERP requires non-null sender");
}

static void requiretls_needs_leave_and_can_be_taken_out(void **state)
{
    static const CommandRules plain = {.size = true}, secured = {.size = true, .requiretls = true};
    static const char *const rows[][2] = {
        {"MAIL FROM:<a@b.test> REQUIRETLS", "MAIL FROM:<a@b.test>"},
        {"mail  from:  <\"a requiretls b\"@b.test>  requireTLS SIZE=1", "MAIL FROM:<\"a requiretls b\"@b.test> SIZE=1"},
        {"MAIL FROM:requiretls SIZE=1 REQUIRETLS", "MAIL FROM:requiretls SIZE=1"},
        {"MAIL FROM:<> SIZE=1 REQUIRETLS REQUIRETLS BODY=7BIT", "MAIL FROM:<> SIZE=1 BODY=7BIT"},
    };
    MailCommand mail;

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autofree char *line = mail_command_without(rows[i][0], "REQUIRETLS");
        assert_string_equal(line, rows[i][1]);
    }
    assert_null(mail_command_parse(rows[0][0], &secured, &mail, NULL));
    assert_true(mail.requiretls);
    mail_command_clear(&mail);
    assert_null(mail_command_parse(rows[0][1], &secured, &mail, NULL));
    assert_false(mail.requiretls);
    mail_command_clear(&mail);
    g_autofree char *refusal = mail_command_parse(rows[0][0], &plain, &mail, NULL);
    assert_string_equal(refusal, UNSUPPORTED "REQUIRETLS");
    g_autofree char *value = mail_command_parse("MAIL FROM:<> REQUIRETLS=yes", &secured, &mail, NULL);
    assert_string_equal(value, UNSUPPORTED "REQUIRETLS=yes");
}

static void long_lines_and_deep_groups_are_read(void **state)
{
    g_autofree char *open = g_strnfill(100000, '<');
    g_autofree char *line = g_strdup_printf("MAIL FROM:%s", open);
    MailCommand mail;
    g_autofree char *bad_address = NULL;

    g_autofree char *reply = mail_command_parse(line, &loose, &mail, &bad_address);
    assert_string_equal(reply, "501 5.1.7 Bad sender address syntax");
    assert_null(bad_address);
    memset(line + 10, '(', 100000);
    g_autofree char *comment = mail_command_parse(line, &loose, &mail, NULL);
    assert_null(comment);
    mail_command_clear(&mail);
}

static void words_are_split(void **state)
{
    static const struct {
        const char *line, *want;
    } rows[] = {
        {"", ""},
        {"  VRFY  a\tb ", "VRFY|a|b"},
        {"X \"a b\"c <d <e f> g> h", "X|\"a b\"c|<d <e f> g>|h"},
        {"X \"a\\\" b\" <a \\> b> <\"> \" >", "X|\"a\\\" b\"|<a \\> b>|<\"> \" >"},
        {"X a\\ b", "X|a\\ b"},
        {"X <a", NULL},
        {"X \"a", NULL},
        {"X <a\\>", NULL},
        {"X >", "X|>"},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autoptr(GPtrArray) words = command_words(rows[i].line);
        assert_int_equal(words == NULL, rows[i].want == NULL);
        if (!words)
            continue;
        g_ptr_array_add(words, NULL);
        g_autofree char *joined = g_strjoinv("|", (char **)words->pdata);
        assert_string_equal(joined, rows[i].want);
    }
}

static void bdat_is_parsed(void **state)
{
    static const char *const bad[] = {"BDAT",          "BDAT x",    "BDAT 1x",
                                      "BDAT -1",       "BDAT +1",   "BDAT 1 LAS",
                                      "BDAT 1 LAST x", "BDAT LAST", "BDAT 9223372036854775808",
                                      "BDAT <1",       "BDAT 0x1"};
    guint64 count;
    bool last;

    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++)
        if (bdat_command_parse(bad[i], &count, &last))
            fail_msg("accepted: %s", bad[i]);
    assert_true(bdat_command_parse("BDAT 010", &count, &last));
    assert_int_equal(count, 10);
    assert_false(last);
    assert_true(bdat_command_parse("bdat 0  last", &count, &last));
    assert_int_equal(count, 0);
    assert_true(last);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(replies_are_those_of_postfix),
        cmocka_unit_test(mail_fills_its_record),
        cmocka_unit_test(leading_minus_needs_leave),
        cmocka_unit_test(rcpt_fills_its_record),
        cmocka_unit_test(what_is_discarded_is_refused),
        cmocka_unit_test(requiretls_needs_leave_and_can_be_taken_out),
        cmocka_unit_test(long_lines_and_deep_groups_are_read),
        cmocka_unit_test(words_are_split),
        cmocka_unit_test(bdat_is_parsed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
