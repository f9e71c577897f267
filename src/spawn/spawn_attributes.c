/* spawn_attributes.c - user= and argv= of a spawn line. */
#include "spawn/spawn_attributes.h"
#include "base/fail.h"

#include <grp.h>
#include <pwd.h>
#include <string.h>

void spawn_attributes_clear(SpawnAttributes *attributes)
{
    g_free(attributes->user);
    g_free(attributes->group);
    g_free(attributes->program);
    g_strfreev(attributes->argv);
    *attributes = (SpawnAttributes){0};
}

static bool take_user(SpawnAttributes *attributes, const char *value)
{
    const char *colon = strchr(value, ':');

    g_free(attributes->user);
    g_clear_pointer(&attributes->group, g_free);
    attributes->user = g_strndup(value, colon ? (gsize)(colon - value) : strlen(value));
    if (colon)
        attributes->group = g_strdup(colon + 1);
    return true;
}

/* argv= is the last attribute: all that follows is the command's. */
static void take_command(SpawnAttributes *attributes, const GPtrArray *words, guint at)
{
    g_autoptr(GPtrArray) argv = g_ptr_array_new();
    const char *first = (const char *)g_ptr_array_index(words, at) + strlen("argv=");

    if (*first)
        g_ptr_array_add(argv, g_strdup(first));
    for (guint i = at + 1; i < words->len; i++)
        g_ptr_array_add(argv, g_strdup(g_ptr_array_index(words, i)));
    g_ptr_array_add(argv, NULL);
    attributes->argv = (char **)g_ptr_array_free(g_steal_pointer(&argv), FALSE);
}

static bool read_words(SpawnAttributes *attributes, const GPtrArray *words, GError **error)
{
    for (guint i = 0; i < words->len; i++) {
        const char *word = g_ptr_array_index(words, i);
        if (g_str_has_prefix(word, "argv=")) {
            take_command(attributes, words, i);
            return true;
        }
        if (!g_str_has_prefix(word, "user="))
            return fail(error, "unknown attribute name: %s", word);
        take_user(attributes, word + strlen("user="));
    }
    return true;
}

static bool check_user(const SpawnAttributes *attributes, const char *mail_owner, GError **error)
{
    const struct passwd *owner = getpwnam(mail_owner);
    bool has_owner = owner != NULL;
    uid_t owner_uid = owner ? owner->pw_uid : 0;
    const struct passwd *user = getpwnam(attributes->user);

    if (!user)
        return fail(error, "unknown user name: %s", attributes->user);
    if (attributes->group && !getgrnam(attributes->group))
        return fail(error, "unknown group name: %s", attributes->group);
    if (user->pw_uid == 0)
        return fail(error, "request to deliver as root");
    if (has_owner && user->pw_uid == owner_uid)
        return fail(error, "request to deliver as %s", mail_owner);
    return true;
}

static bool find_program(SpawnAttributes *attributes, GError **error)
{
    attributes->program = g_find_program_in_path(attributes->argv[0]);
    if (attributes->program && attributes->program[0] == '/')
        return true;
    return fail(error, "argv=: there is no program %s", attributes->argv[0]);
}

bool spawn_attributes_parse(const GPtrArray *words, const char *mail_owner, SpawnAttributes *ret, GError **error)
{
    *ret = (SpawnAttributes){0};
    bool is_good = read_words(ret, words, error);
    if (is_good && !ret->user)
        is_good = fail(error, "missing user= attribute");
    if (is_good && (!ret->argv || !ret->argv[0]))
        is_good = fail(error, "missing argv= attribute");
    is_good = is_good && check_user(ret, mail_owner, error) && find_program(ret, error);
    if (!is_good)
        spawn_attributes_clear(ret);
    return is_good;
}
