/* ldap_search.c - searches, and those that their results ask for: members of groups, by DN or URL. */
#include "base/clock.h"
#include "base/fail.h"
#include "base/log.h"
#include "table/ldap_private.h"

#include <string.h>

#define OCTETS_MAX (16 * 1024 * 1024) /* of all values of one lookup */
#define DEPTH_MAX 1000 /* of recursion, whatever the limit says: each level is a bit of a thread's stack */

typedef enum { KIND_TERMINAL, KIND_LEAF, KIND_ORDINARY, KIND_SPECIAL, KIND_NONE } Kind;

typedef struct {
    Kind kind;
    const char *attribute; /* the settings' */
    char *text;
} Value;

static void clear_value(void *data)
{
    Value *value = data;

    g_free(value->text);
}

static void unref_values(void *values)
{
    g_array_unref(values);
}

/* Whether a description of an attribute is base, or base with options ("mail;lang-de" of "mail"). */
static bool is_subtype(const char *base, const char *attribute)
{
    size_t len = strlen(base);

    return g_ascii_strncasecmp(base, attribute, len) == 0 && (attribute[len] == '\0' || attribute[len] == ';');
}

static Kind kind_of(const LdapSettings *settings, const char *attribute, const char **ret_configured)
{
    for (guint i = 0; i < settings->attributes->len - 1; i++) {
        *ret_configured = g_ptr_array_index(settings->attributes, i);
        if (is_subtype(*ret_configured, attribute))
            return i < settings->leaf_at       ? KIND_TERMINAL
                   : i < settings->ordinary_at ? KIND_LEAF
                   : i < settings->special_at  ? KIND_ORDINARY
                                               : KIND_SPECIAL;
    }
    return KIND_NONE;
}

static bool take_values(LdapLookup *lookup, GArray *values, Kind kind, const char *attribute, struct berval **octets,
                        GError **error)
{
    for (; octets && *octets; octets++) {
        const struct berval *value = *octets;
        if (memchr(value->bv_val, '\0', value->bv_len))
            return fail(error, "%s: a value of %s is no text", lookup->settings->source, attribute);
        lookup->octets += value->bv_len + sizeof(Value);
        if (lookup->octets > OCTETS_MAX)
            return fail(error, "%s: more than %d octets of results", lookup->settings->source, OCTETS_MAX);
        Value taken = {.kind = kind, .attribute = attribute, .text = g_strndup(value->bv_val, value->bv_len)};
        g_array_append_val(values, taken);
    }
    return true;
}

/* What entry has of the attributes wanted. NULL: error. */
static GArray *read_entry(LdapLookup *lookup, LDAPMessage *entry, GError **error)
{
    g_autoptr(GArray) values = g_array_new(FALSE, FALSE, sizeof(Value));
    BerElement *position = NULL;
    bool ok = true;

    g_array_set_clear_func(values, clear_value);
    for (char *attribute = ldap_first_attribute(lookup->ldap, entry, &position); attribute;
         attribute = ok ? ldap_next_attribute(lookup->ldap, entry, position) : NULL) {
        const char *configured;
        Kind kind = kind_of(lookup->settings, attribute, &configured);
        struct berval **octets = kind != KIND_NONE ? ldap_get_values_len(lookup->ldap, entry, attribute) : NULL;
        ok = take_values(lookup, values, kind, configured, octets, error);
        if (octets)
            ldap_value_free_len(octets);
        ldap_memfree(attribute);
    }
    if (position)
        ber_free(position, 0);
    return ok ? g_steal_pointer(&values) : NULL;
}

/* Messages of a search until its result. Returns an LDAP result code; error is set where that tells nothing. */
static int read_entries(LdapLookup *lookup, int operation, gint64 deadline, GPtrArray *entries, GError **error)
{
    for (;;) {
        LDAPMessage *message;
        int result = LDAP_OTHER;
        int code = ldap_wait(lookup->ldap, operation, deadline, &message);
        if (code != LDAP_SUCCESS)
            return code;
        switch (ldap_msgtype(message)) {
        case LDAP_RES_SEARCH_ENTRY: {
            GArray *values = read_entry(lookup, message, error);
            ldap_msgfree(message);
            if (!values)
                return LDAP_OTHER;
            g_ptr_array_add(entries, values);
            break;
        }
        case LDAP_RES_SEARCH_RESULT:
            code = ldap_parse_result(lookup->ldap, message, &result, NULL, NULL, NULL, NULL, 1);
            return code == LDAP_SUCCESS ? result : code;
        default: /* a reference to another server, that is not followed, or followed by the library */
            ldap_msgfree(message);
        }
    }
}

/* All entries that match, in ret_entries: of GArray of Value. Returns an LDAP result code. */
static int search(LdapLookup *lookup, const char *base, int scope, const char *filter, char **attributes,
                  GPtrArray *entries, GError **error)
{
    const LdapSettings *settings = lookup->settings;
    gint64 deadline = MIN(lookup->deadline, clock_ms() + settings->timeout * (gint64)1000);
    struct timeval limit = {.tv_sec = settings->timeout};
    int operation;
    int code = ldap_search_ext(lookup->ldap, base, scope, filter, attributes, 0, NULL, NULL, &limit,
                               settings->size_limit, &operation);

    if (code == LDAP_SUCCESS)
        code = read_entries(lookup, operation, deadline, entries, error);
    return code;
}

static bool fail_search(LdapLookup *lookup, int code, GError **error)
{
    lookup->code = code;
    if (error && *error)
        return false;
    return fail(error, "%s: Search error %d: %s", lookup->settings->source, code, ldap_err2string(code));
}

static bool has_kind(const GArray *values, Kind kind)
{
    for (guint i = 0; i < values->len; i++)
        if (g_array_index(values, Value, i).kind == kind)
            return true;
    return false;
}

static bool take_entries(LdapLookup *lookup, const GPtrArray *entries, GError **error);

static bool follow(LdapLookup *lookup, const char *what, const char *base, int scope, const char *filter,
                   char **attributes, GError **error)
{
    g_autoptr(GPtrArray) entries = g_ptr_array_new_with_free_func(unref_values);
    int code = search(lookup, base, scope, filter, attributes, entries, error);

    if (code == LDAP_SUCCESS)
        return take_entries(lookup, entries, error);
    if (code != LDAP_NO_SUCH_OBJECT)
        return fail_search(lookup, code, error);
    log_warning("%s: DN %.200s not found, skipping", lookup->settings->source, what); /* a member that has left */
    return true;
}

/* Of the attributes that a URL lists, those that the table wants, too. */
static GPtrArray *common_attributes(const LdapSettings *settings, char **listed)
{
    GPtrArray *common = g_ptr_array_new();

    for (guint i = 0; i < settings->attributes->len - 1; i++) {
        char *own = g_ptr_array_index(settings->attributes, i);
        bool is_wanted = !listed || !*listed;
        for (char **other = listed; other && *other && !is_wanted; other++) {
            if (strcmp(*other, "*") == 0 || is_subtype(*other, own)) {
                is_wanted = true;
            } else if (is_subtype(own, *other)) {
                g_ptr_array_add(common, *other);
            }
        }
        if (is_wanted)
            g_ptr_array_add(common, own);
    }
    g_ptr_array_add(common, NULL);
    return common;
}

static bool follow_url(LdapLookup *lookup, const char *text, GError **error)
{
    LDAPURLDesc *url = NULL;
    bool ok = true;

    if (ldap_url_parse(text, &url) != LDAP_URL_SUCCESS)
        return fail(error, "%s: malformed URL %.200s", lookup->settings->source, text);
    g_autoptr(GPtrArray) attributes = common_attributes(lookup->settings, url->lud_attrs);
    if (attributes->len > 1)
        ok = follow(lookup, text, url->lud_dn ? url->lud_dn : "",
                    url->lud_scope < 0 || url->lud_scope == LDAP_SCOPE_DEFAULT ? LDAP_SCOPE_BASE : url->lud_scope,
                    url->lud_filter ? url->lud_filter : "(objectClass=*)", (char **)attributes->pdata, error);
    else
        log_warning("%s: ignoring URL %.200s: it has none of the result attributes", lookup->settings->source, text);
    ldap_free_urldesc(url);
    return ok;
}

static bool follow_value(LdapLookup *lookup, const Value *value, GError **error)
{
    if (lookup->depth >= MIN(lookup->settings->recursion_limit, DEPTH_MAX))
        return fail(error, "%s: Recursion limit exceeded for special attribute %s=%.200s", lookup->settings->source,
                    value->attribute, value->text);
    lookup->depth++;
    bool ok = ldap_is_ldap_url(value->text)
                  ? follow_url(lookup, value->text, error)
                  : follow(lookup, value->text, value->text, LDAP_SCOPE_BASE, "(objectClass=*)",
                           (char **)lookup->settings->attributes->pdata, error);
    lookup->depth--;
    return ok;
}

/* Terminal values stand alone; leaf ones stand where there are no members. */
static bool take_entry(LdapLookup *lookup, const GArray *values, GError **error)
{
    bool is_terminal = has_kind(values, KIND_TERMINAL);
    bool is_leaf = !has_kind(values, KIND_SPECIAL);

    for (guint i = 0; i < values->len; i++) {
        const Value *value = &g_array_index(values, Value, i);
        bool ok = true;
        if (is_terminal ? value->kind == KIND_TERMINAL
                        : value->kind == KIND_ORDINARY || (value->kind == KIND_LEAF && is_leaf))
            ok = db_answer_add(lookup->answer, value->text, error);
        else if (!is_terminal && value->kind == KIND_SPECIAL)
            ok = follow_value(lookup, value, error);
        if (!ok)
            return false;
    }
    return true;
}

static bool take_entries(LdapLookup *lookup, const GPtrArray *entries, GError **error)
{
    for (guint i = 0; i < entries->len; i++)
        if (!take_entry(lookup, g_ptr_array_index(entries, i), error))
            return false;
    return true;
}

bool ldap_collect(LdapLookup *lookup, const char *base, const char *filter, GError **error)
{
    g_autoptr(GPtrArray) entries = g_ptr_array_new_with_free_func(unref_values);
    int code = search(lookup, base, lookup->settings->scope, filter, (char **)lookup->settings->attributes->pdata,
                      entries, error);

    if (code == LDAP_NO_SUCH_OBJECT && lookup->settings->base_varies)
        return true;
    if (code == LDAP_NO_SUCH_OBJECT)
        return fail(error, "%s: Search base '%s' not found: %d: %s", lookup->settings->source, base, code,
                    ldap_err2string(code));
    return code == LDAP_SUCCESS ? take_entries(lookup, entries, error) : fail_search(lookup, code, error);
}
