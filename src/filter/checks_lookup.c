/* checks_lookup.c - one lookup of the checks, and its action. */
#include "base/clock.h"
#include "base/fail.h"
#include "base/log.h"
#include "filter/checks.h"
#include "filter/checks_action.h"
#include "filter/checks_log.h"
#include "mail/header.h"
#include "route/dsn.h"

#include <string.h>

static const struct {
    const char *name, *context;
    bool header;   /* what is put in or in its place must be a header */
    bool editable; /* it can be dropped, replaced, preceded */
} maps[CHECKS_MAPS] = {
    [CHECKS_HEADER] = {"header_checks", "header", true, true},
    [CHECKS_MIME_HEADER] = {"mime_header_checks", "header", true, true},
    [CHECKS_NESTED_HEADER] = {"nested_header_checks", "header", true, true},
    [CHECKS_BODY] = {"body_checks", "body", false, true},
    [CHECKS_ATTACHMENT_NAME] = {"attachment_names", "attachment", false, false},
    [CHECKS_ATTACHMENT_TYPE] = {"attachment_types", "attachment type", false, false},
};

/* One thing that was found. */
typedef struct {
    Checking *checking;
    ChecksMap map;
    const char *key;
    const char *text; /* behind the action */
} Found;

const char *checks_map_name(ChecksMap map)
{
    return maps[map].name;
}

bool checks_fail(Checking *checking, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    g_autofree char *why = g_strdup_vprintf(format, args);
    va_end(args);
    if (!checking->error)
        fail(&checking->error, "%s", why);
    return false;
}

static void show(const Found *found, const char *action, const char *text)
{
    checks_log(found->checking->inspection->message, action, maps[found->map].context, found->key, text);
}

static char *reason_of(const Found *found)
{
    g_autofree char *line = g_strndup(found->text[0] ? found->text : found->key, 200);

    return g_strdup_printf("%s: %s", maps[found->map].name, line);
}

static void reject(const Found *found)
{
    Verdict *verdict = found->checking->verdict;
    g_autofree char *reason = reason_of(found);
    const char *text = found->text[0] ? found->text : "message content rejected";
    size_t own = dsn_length(text);
    bool temporary = own > 0 && text[0] != '5';

    if (own > 0 && text[0] == '2')
        log_warning("bad DSN action in %s -- need 4.x.x or 5.x.x", maps[found->map].name);
    g_autofree char *shown = g_strdup_printf("%s%s", own > 0 ? "" : "5.7.1 ", text);
    show(found, "reject", shown);
    if (temporary)
        verdict_tempfail(verdict, 451, "4.7.1", text, reason);
    else
        verdict_reject(verdict, 550, "5.7.1", text, reason);
    found->checking->over = true;
}

static void quarantine(const Found *found)
{
    if (found->checking->held)
        return;
    show(found, "hold", found->text);
    found->checking->held = true;
    found->checking->reason = reason_of(found);
}

static void discard(const Found *found)
{
    g_autofree char *reason = reason_of(found);

    show(found, "discard", found->text);
    verdict_discard(found->checking->verdict, reason);
    found->checking->over = true;
}

static void pass(const Found *found)
{
    show(found, "pass", found->text);
    verdict_stop(found->checking->verdict);
    found->checking->over = true;
}

/* REDIRECT and BCC. */
static void change_recipients(const Found *found, CheckAction action)
{
    bool redirects = action == CHECK_REDIRECT;
    g_autofree char *address = check_action_address(found->text);

    if (!address) {
        log_warning("bad %s \"%s\" in %s map -- need user@domain", redirects ? "REDIRECT target" : "BCC address",
                    found->text, maps[found->map].name);
        return;
    }
    show(found, redirects ? "redirect" : "bcc", found->text);
    if (!redirects) {
        verdict_add_recipient(found->checking->verdict, address);
        return;
    }
    verdict_redirect(found->checking->verdict, address);
    found->checking->over = true;
}

/* Whether text can stand where PREPEND or REPLACE put it. */
static bool fits(const Found *found, const char *action)
{
    const char *map = maps[found->map].name;

    if (!found->text[0]) {
        log_warning("%s action without text in %s map", action, map);
        return false;
    }
    if (maps[found->map].header && header_name(found->text, strlen(found->text), NULL) == 0) {
        log_warning("bad %s header text \"%s\" in %s map -- need \"headername: headervalue\"", action, found->text,
                    map);
        return false;
    }
    return true;
}

static CheckChange change(const Found *found, CheckAction action, char **ret_text)
{
    if (!maps[found->map].editable) {
        checks_fail(found->checking, "%s: attachments cannot be changed: \"%s\" is no action for them",
                    maps[found->map].name, action == CHECK_IGNORE ? "IGNORE" : "STRIP, REPLACE or PREPEND");
        return CHANGE_NONE;
    }
    if (action == CHECK_IGNORE)
        return CHANGE_DROP;
    if (action == CHECK_STRIP) {
        show(found, "strip", found->text);
        return CHANGE_DROP;
    }
    bool replaces = action == CHECK_REPLACE;
    if (!fits(found, replaces ? "REPLACE" : "PREPEND"))
        return CHANGE_NONE;
    show(found, replaces ? "replace" : "prepend", found->text);
    *ret_text = g_strdup(found->text);
    return replaces ? CHANGE_REPLACE : CHANGE_PREPEND;
}

static CheckChange act(const Found *found, CheckAction action, const char *value, char **ret_text)
{
    switch (action) {
    case CHECK_REJECT:
        reject(found);
        break;
    case CHECK_DISCARD:
        discard(found);
        break;
    case CHECK_QUARANTINE:
        quarantine(found);
        break;
    case CHECK_PASS:
        pass(found);
        break;
    case CHECK_WARN:
        show(found, "warning", found->text);
        break;
    case CHECK_INFO:
        show(found, "info", found->text);
        break;
    case CHECK_REDIRECT:
    case CHECK_BCC:
        change_recipients(found, action);
        break;
    case CHECK_FILTER:
        log_warning("FILTER in %s map has no effect in a filter: %s", maps[found->map].name, value);
        break;
    case CHECK_DUNNO:
        break;
    case CHECK_IGNORE:
    case CHECK_STRIP:
    case CHECK_REPLACE:
    case CHECK_PREPEND:
        return change(found, action, ret_text);
    case CHECK_UNKNOWN:
        log_warning("unknown command in %s map: %s", maps[found->map].name, value);
        break;
    }
    return CHANGE_NONE;
}

CheckChange checks_lookup(Checking *checking, ChecksMap map, const char *key, char **ret_text)
{
    const Tables *tables = checking->checks->tables[map];
    Found found = {.checking = checking, .map = map, .key = key};
    g_autofree char *value = NULL;

    if (!tables || !*key || checking->over || checking->error)
        return CHANGE_NONE;
    if (clock_ms() >= checking->inspection->deadline) {
        checks_fail(checking, "no time is left");
        return CHANGE_NONE;
    }
    TableResult result = tables_lookup(tables, key, &value);
    if (result == TABLE_ABSENT)
        return CHANGE_NONE;
    if (result == TABLE_FAILED || !*value) {
        if (result == TABLE_FOUND)
            log_warning("%s lookup of %.100s returns an empty string result", maps[map].name, key);
        checks_fail(checking, "%s map lookup problem", maps[map].name);
        return CHANGE_NONE;
    }
    CheckAction action = check_action_parse(value, &found.text);
    return act(&found, action, value, ret_text);
}
