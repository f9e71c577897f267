/* inspector_settings.c - the elements of filter_inspectors. */
#include "filter/inspector_settings.h"
#include "base/fail.h"
#include "config/values.h"

#include <string.h>

#define VERBATIM "argv" /* its `$` are the inspector's */

typedef struct {
    char *name; /* "": a value in front of the attributes, until it has one */
    char *value;
    bool known;
} Attribute;

struct InspectorSettings {
    const Config *config;
    char *kind;
    GArray *attributes; /* of Attribute */
};

static void attribute_clear(gpointer data)
{
    Attribute *attribute = data;

    g_free(attribute->name);
    g_free(attribute->value);
}

void inspector_settings_free(InspectorSettings *settings)
{
    if (!settings)
        return;
    g_array_unref(settings->attributes);
    g_free(settings->kind);
    g_free(settings);
}

/* --- text --- */

/* The offset of the first octet of set outside of braces, or of the end. */
static size_t span_outside_braces(const char *text, const char *set)
{
    int level = 0;
    size_t i;

    for (i = 0; text[i]; i++) {
        if (level == 0 && strchr(set, text[i]))
            break;
        if (text[i] == '{')
            level++;
        else if (text[i] == '}' && level > 0)
            level--;
    }
    return i;
}

/* Without the braces around all of it, if there are such; trimmed. */
static char *without_braces(char *text)
{
    g_strstrip(text);
    size_t len = strlen(text);

    if (len < 2 || text[0] != '{' || text[len - 1] != '}')
        return text;
    text[len - 1] = '\0';
    bool whole = strchr(text + 1 + span_outside_braces(text + 1, "}"), '}') == NULL;
    if (!whole) {
        text[len - 1] = '}';
        return text;
    }
    memmove(text, text + 1, len - 1);
    return g_strstrip(text);
}

/* The length of the attribute name in front of '=', 0: there is none. */
static size_t name_length(const char *text)
{
    size_t len = strspn(text, "abcdefghijklmnopqrstuvwxyz_");
    size_t blanks = strspn(text + len, " \t\n");

    return len > 0 && text[len + blanks] == '=' ? len : 0;
}

/* --- parsing --- */

static bool add_attribute(InspectorSettings *settings, const char *name, size_t name_len, const char *value,
                          GError **error)
{
    Attribute attribute = {.name = g_strndup(name, name_len)};
    g_autofree char *text = without_braces(g_strdup(value));

    for (guint i = 0; i < settings->attributes->len; i++)
        if (strcmp(g_array_index(settings->attributes, Attribute, i).name, attribute.name) == 0) {
            fail(error, "%s: attribute \"%s\" is given twice", settings->kind, attribute.name);
            g_free(attribute.name);
            return false;
        }
    attribute.value =
        strcmp(attribute.name, VERBATIM) == 0 ? g_steal_pointer(&text) : config_expand(settings->config, text, error);
    if (!attribute.value) {
        g_free(attribute.name);
        return false;
    }
    g_array_append_val(settings->attributes, attribute);
    return true;
}

/* Attributes stand between commas. What follows a comma and does not begin with NAME= belongs to the value before. */
static size_t attribute_length(const char *text)
{
    size_t len = span_outside_braces(text, ",");

    while (text[len]) {
        const char *next = text + len + 1;
        next += strspn(next, " \t\n");
        if (name_length(next) > 0 || !*next)
            break;
        len = (size_t)(next - text) + span_outside_braces(next, ",");
    }
    return len;
}

static bool parse_attributes(InspectorSettings *settings, const char *text, GError **error)
{
    for (;;) {
        text += strspn(text, " \t\n,");
        if (!*text)
            return true;
        size_t len = attribute_length(text);
        size_t name_len = name_length(text);
        g_autofree char *whole = g_strndup(text, len);
        const char *value = name_len > 0 ? strchr(whole, '=') + 1 : whole;
        if (name_len == 0 && settings->attributes->len > 0)
            return fail(error, "%s: \"%s\" is no attribute: name=value is expected", settings->kind, whole);
        if (!add_attribute(settings, whole, name_len, value, error))
            return false;
        text += len;
    }
}

InspectorSettings *inspector_settings_new(const char *element, const Config *config, GError **error)
{
    g_autoptr(InspectorSettings) settings = g_new0(InspectorSettings, 1);
    g_autofree char *text = g_strdup(element);

    settings->config = config;
    settings->attributes = g_array_new(FALSE, TRUE, sizeof(Attribute));
    g_array_set_clear_func(settings->attributes, attribute_clear);
    without_braces(text);
    size_t kind_len = strspn(text, "abcdefghijklmnopqrstuvwxyz_");
    if (strcmp(text, element) == 0 || kind_len == 0 || text[kind_len] != ':') {
        fail(error, "\"%s\": expected { KIND: attribute=value, ... }", element);
        return NULL;
    }
    settings->kind = g_strndup(text, kind_len);
    if (!parse_attributes(settings, text + kind_len + 1, error))
        return NULL;
    return g_steal_pointer(&settings);
}

/* --- asking --- */

const char *inspector_settings_kind(const InspectorSettings *settings)
{
    return settings->kind;
}

static Attribute *find(InspectorSettings *settings, const char *name)
{
    for (guint i = 0; i < settings->attributes->len; i++) {
        Attribute *attribute = &g_array_index(settings->attributes, Attribute, i);
        if (strcmp(attribute->name, name) == 0)
            return attribute;
    }
    return NULL;
}

bool inspector_settings_name_value(InspectorSettings *settings, const char *name, GError **error)
{
    Attribute *value = find(settings, "");

    if (!value)
        return true;
    if (!name)
        return fail(error, "%s: \"%s\" is no attribute: name=value is expected", settings->kind, value->value);
    if (find(settings, name))
        return fail(error, "%s: attribute \"%s\" is given twice", settings->kind, name);
    g_free(value->name);
    value->name = g_strdup(name);
    return true;
}

bool inspector_settings_all_known(const InspectorSettings *settings, GError **error)
{
    for (guint i = 0; i < settings->attributes->len; i++) {
        const Attribute *attribute = &g_array_index(settings->attributes, Attribute, i);
        if (!attribute->known)
            return fail(error, "%s: unknown attribute \"%s\"", settings->kind, attribute->name);
    }
    return true;
}

const char *settings_text(InspectorSettings *settings, const char *name)
{
    Attribute *attribute = find(settings, name);

    if (!attribute)
        return NULL;
    attribute->known = true;
    return attribute->value;
}

const char *settings_name(InspectorSettings *settings)
{
    const char *name = settings_text(settings, "name");

    return name && *name ? name : settings->kind;
}

const Config *settings_config(InspectorSettings *settings)
{
    return settings->config;
}

bool settings_seconds(InspectorSettings *settings, const char *name, gint64 fallback, gint64 *ret, GError **error)
{
    static const Param seconds = {.name = "", .type = PARAM_TIME};
    const char *text = settings_text(settings, name);

    *ret = fallback;
    if (!text)
        return true;
    if (!value_parse(&seconds, text, 's', "", ret, NULL))
        return fail(error, "%s: %s=%s: a time such as 10s or 2m is expected", settings->kind, name, text);
    return true;
}

bool settings_octets(InspectorSettings *settings, const char *name, gint64 fallback, gint64 *ret, GError **error)
{
    static const char units[] = "kMG";
    const char *text = settings_text(settings, name);
    char *end = NULL;

    *ret = fallback;
    if (!text)
        return true;
    gint64 number = g_ascii_isdigit(*text) ? g_ascii_strtoll(text, &end, 10) : -1;
    const char *unit = end && *end ? strchr(units, *end) : NULL;
    int shift = unit ? 10 * (int)(unit - units + 1) : 0;
    bool fits = number >= 0 && number <= (G_MAXINT64 >> shift);
    if (!fits || end[unit != NULL] != '\0')
        return fail(error, "%s: %s=%s: a number of octets is expected, such as 10000, 64k or 10M", settings->kind, name,
                    text);
    *ret = number << shift;
    return true;
}
