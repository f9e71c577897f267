/* cyrus_doubts.c - what of Cyrus SASL's configuration will not work, although the library starts with it: it finds that
 * out with the first client, and tells the log of its own words then. */
#include "config/config.h"
#include "sasl/cyrus_library.h"

#include <errno.h>
#include <unistd.h>

static void G_GNUC_PRINTF(2, 3) add(GPtrArray *doubts, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    g_ptr_array_add(doubts, g_strdup_vprintf(format, args));
    va_end(args);
}

static void doubt_methods(GPtrArray *doubts, const char *methods)
{
    static const char known[] = "auxprop auxprop-hashed saslauthd authdaemond pwcheck alwaystrue";
    g_autoptr(GPtrArray) words = config_split(methods);

    for (guint i = 0; i < words->len; i++)
        if (!config_list_has(known, g_ptr_array_index(words, i)))
            add(doubts, "pwcheck_method: there is no method \"%s\"", (char *)g_ptr_array_index(words, i));
}

static void doubt_file(GPtrArray *doubts, const char *what, const char *path, int mode)
{
    if (access(path, mode) < 0)
        add(doubts, "%s %s: %s", what, path, g_strerror(errno));
}

static void doubt_mechanisms(GPtrArray *doubts)
{
    const CyrusLibrary *library = cyrus_library();
    g_autoptr(GPtrArray) words = config_split(cyrus_configured("mech_list", ""));

    for (guint i = 0; i < words->len; i++) {
        g_autofree char *name = g_ascii_strup(g_ptr_array_index(words, i), -1);
        if (!g_hash_table_contains(library->plugins, name))
            add(doubts, "mech_list: no plugin has a mechanism \"%s\"", name);
    }
    if (library->mechanisms->len == 0)
        add(doubts, "there is no mechanism to offer");
}

GPtrArray *cyrus_doubts(void)
{
    GPtrArray *doubts = g_ptr_array_new_with_free_func(g_free);
    const char *methods = cyrus_configured("pwcheck_method", "auxprop");

    doubt_methods(doubts, methods);
    if (cyrus_library()->saslauthd)
        doubt_file(doubts, "saslauthd_path: saslauthd cannot be asked at", cyrus_library()->saslauthd->path, W_OK);
    if (config_list_has(methods, "auxprop") && config_list_has(cyrus_configured("auxprop_plugin", "sasldb"), "sasldb"))
        doubt_file(doubts, "sasldb_path: users cannot be read in", cyrus_configured("sasldb_path", "/etc/sasldb2"),
                   R_OK);
    doubt_mechanisms(doubts);
    return doubts;
}
