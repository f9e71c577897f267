/* cyrus_library.c - starts libsasl2. What is asked of it is in cyrus.c. */
#include "sasl/cyrus_library.h"
#include "base/fail.h"
#include "base/log.h"
#include "base/sandbox.h"
#include "config/config.h"
#include "sasl/private.h"

#include <dlfcn.h>
#include <malloc.h>
#include <sasl/saslplug.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The library's state is of the process, and so is what its callbacks need. Constant once there are threads. */
static CyrusLibrary library;
static const sasl_utils_t *utilities;

const CyrusLibrary *cyrus_library(void)
{
    return &library;
}

/* --- what it calls --- */

static void erase_and_free(void *memory)
{
    if (memory)
        explicit_bzero(memory, malloc_usable_size(memory));
    free(memory);
}

static void *erase_and_resize(void *memory, size_t size)
{
    size_t old = memory ? malloc_usable_size(memory) : 0;
    void *new = malloc(size);

    if (new &&memory)
        memcpy(new, memory, MIN(old, size));
    if (new)
        erase_and_free(memory);
    return new;
}

/* Berkeley DB, with which sasldb's plugin reads, would give back pages full of passwords as they are. Best effort:
 * nothing else is done where it has another name. */
static void have_database_erase(void)
{
    void *berkeley = dlopen("libdb-5.3.so", RTLD_NOW | RTLD_NOLOAD);
    int (*set_free)(void (*function)(void *memory)) = NULL;
    int (*set_realloc)(void *(*function)(void *memory, size_t size)) = NULL;

    if (!berkeley)
        return;
    *(void **)&set_free = dlsym(berkeley, "db_env_set_func_free");
    *(void **)&set_realloc = dlsym(berkeley, "db_env_set_func_realloc");
    if (set_free && set_realloc) {
        set_free(erase_and_free);
        set_realloc(erase_and_resize);
    }
    dlclose(berkeley); /* the plugin keeps it */
}

/* As libldap's, which sets its own for its part of the library. */
static void *mutex_new(void)
{
    pthread_mutex_t *mutex = malloc(sizeof *mutex);

    if (mutex)
        pthread_mutex_init(mutex, NULL);
    return mutex;
}

static int mutex_lock(void *mutex)
{
    return pthread_mutex_lock(mutex);
}

static int mutex_unlock(void *mutex)
{
    return pthread_mutex_unlock(mutex);
}

static void mutex_free(void *mutex)
{
    pthread_mutex_destroy(mutex);
    free(mutex);
}

/* Below SASL_LOG_NOTE its lines may hold passwords. */
static int log_line(void *context, int level, const char *message)
{
    g_autofree char *text = log_quote(message, strlen(message));

    if (library.methods && !*library.methods && g_str_has_prefix(message, "unknown password verifier"))
        return SASL_OK; /* saslauthd was all */
    if (level == SASL_LOG_ERR || level == SASL_LOG_WARN)
        log_warning("SASL authentication problem: %s", text);
    else if (level == SASL_LOG_FAIL)
        log_warning("SASL authentication failure: %s", text);
    else if (level == SASL_LOG_NOTE && log_verbose() > 0)
        log_info("SASL authentication info: %s", text);
    return SASL_OK;
}

/* Before its configuration. */
static int get_option(void *context, const char *plugin, const char *option, const char **ret_value, unsigned *ret_len)
{
    if (!library.methods || strcmp(option, "pwcheck_method") != 0)
        return SASL_FAIL;
    *ret_value = library.methods;
    if (ret_len)
        *ret_len = (unsigned)strlen(library.methods);
    return SASL_OK;
}

/* A plugin that has nothing, but is given what the others get: how to read the configuration. */
static int take_utilities(const sasl_utils_t *given, int max, int *ret_version, sasl_server_plug_t **ret_list,
                          int *ret_count)
{
    utilities = given;
    *ret_version = SASL_SERVER_PLUG_VERSION;
    *ret_list = NULL;
    *ret_count = 0;
    return SASL_OK;
}

/* --- its configuration --- */

const char *cyrus_configured(const char *option, const char *preset)
{
    const char *value = NULL;

    return utilities && utilities->getopt(utilities->getopt_context, NULL, option, &value, NULL) == SASL_OK && value
               ? value
               : preset;
}

static bool read_methods(GError **error)
{
    g_autoptr(GPtrArray) methods = config_split(cyrus_configured("pwcheck_method", "auxprop"));
    g_autoptr(GString) others = g_string_new(NULL);
    bool has_saslauthd = false;

    for (guint i = 0; i < methods->len; i++) {
        const char *method = g_ptr_array_index(methods, i);
        if (g_ascii_strcasecmp(method, "saslauthd") == 0)
            has_saslauthd = true;
        else
            g_string_append_printf(others, "%s%s", others->len > 0 ? " " : "", method);
    }
    if (!has_saslauthd)
        return true;
    g_autofree char *place = g_strconcat("unix:", cyrus_configured("saslauthd_path", "/var/run/saslauthd/mux"), NULL);
    library.saslauthd = endpoint_parse(place, "/", 0, error);
    library.methods = g_string_free(g_steal_pointer(&others), FALSE);
    return library.saslauthd != NULL;
}

/* The directory of path, now and under the new root. */
static void will_read(const char *path)
{
    g_autofree char *directory = g_path_get_dirname(path);

    sandbox_will_use(directory, SANDBOX_READ);
    if (library.options.root) {
        g_autofree char *inside = g_strconcat(library.options.root, directory, NULL);
        sandbox_will_use(inside, SANDBOX_READ);
    }
}

/* What its plugins read later, but for sasldb's file, is theirs: SQL, LDAP, Kerberos. */
static void say_what_it_reads(void)
{
    g_autoptr(GPtrArray) plugins = config_split(cyrus_configured("auxprop_plugin", "sasldb"));
    bool has_others = false;

    for (guint i = 0; i < plugins->len; i++)
        has_others |= g_ascii_strcasecmp(g_ptr_array_index(plugins, i), "sasldb") != 0;
    if (has_others)
        sandbox_will_ask_library();
    will_read(cyrus_configured("sasldb_path", "/etc/sasldb2"));
    if (!library.options.root)
        return;
    g_autofree char *devices = g_build_filename(library.options.root, "dev", NULL);
    g_autofree char *random = g_build_filename(devices, "urandom", NULL);
    sandbox_will_use(devices, SANDBOX_READ);
    if (access(random, R_OK) < 0)
        log_warning("%s is not there: Cyrus SASL under this chroot has no good random numbers for its challenges",
                    random);
}

/* --- what there is --- */

/* Which of our properties a plugin has says what it does not claim. */
static void note_properties(server_sasl_mechanism_t *mechanism, sasl_info_callback_stage_t stage, void *context)
{
    static const struct {
        unsigned flag, without, with;
    } flags[] = {
        {SASL_SEC_NOPLAINTEXT, SASL_PLAINTEXT, 0},           {SASL_SEC_NOACTIVE, SASL_ACTIVE, 0},
        {SASL_SEC_NODICTIONARY, SASL_DICTIONARY, 0},         {SASL_SEC_NOANONYMOUS, SASL_ANONYMOUS, 0},
        {SASL_SEC_FORWARD_SECRECY, 0, SASL_FORWARD_SECRECY}, {SASL_SEC_MUTUAL_AUTH, 0, SASL_MUTUAL},
    };
    GHashTable *all = context;
    unsigned properties = 0;

    if (stage != SASL_INFO_LIST_MECH || !mechanism || !mechanism->plug || !mechanism->plug->mech_name)
        return;
    for (size_t i = 0; i < G_N_ELEMENTS(flags); i++)
        properties |= mechanism->plug->security_flags & flags[i].flag ? flags[i].with : flags[i].without;
    g_hash_table_insert(all, g_strdup(mechanism->plug->mech_name), GUINT_TO_POINTER(properties));
}

int cyrus_connect(const sasl_callback_t *callbacks, const SaslPolicy *policy, sasl_conn_t **ret_connection)
{
    static const struct {
        unsigned without, with, flag;
    } flags[] = {
        {SASL_PLAINTEXT, 0, SASL_SEC_NOPLAINTEXT},           {SASL_ACTIVE, 0, SASL_SEC_NOACTIVE},
        {SASL_DICTIONARY, 0, SASL_SEC_NODICTIONARY},         {SASL_ANONYMOUS, 0, SASL_SEC_NOANONYMOUS},
        {0, SASL_FORWARD_SECRECY, SASL_SEC_FORWARD_SECRECY}, {0, SASL_MUTUAL, SASL_SEC_MUTUAL_AUTH},
    };
    const CyrusOptions *options = &library.options;
    sasl_security_properties_t properties = {.max_ssf = 0}; /* no layers: that is TLS's business */

    for (size_t i = 0; policy && i < G_N_ELEMENTS(flags); i++)
        if ((policy->without & flags[i].without) || (policy->with & flags[i].with))
            properties.security_flags |= flags[i].flag;
    int code = sasl_server_new(options->service, options->host, *options->realm ? options->realm : NULL, NULL, NULL,
                               callbacks, 0, ret_connection);
    return code == SASL_OK ? sasl_setprop(*ret_connection, SASL_SEC_PROPS, &properties) : code;
}

static bool read_mechanisms(GError **error)
{
    GHashTable *all = library.plugins = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    sasl_conn_t *connection = NULL;
    const char *names = NULL;
    int code = cyrus_connect(NULL, NULL, &connection);

    library.mechanisms = sasl_mechanisms_new();
    sasl_server_plugin_info(NULL, note_properties, all);
    if (code == SASL_OK)
        code = sasl_listmech(connection, NULL, "", " ", "", &names, NULL, NULL);
    g_auto(GStrv) list = g_strsplit(code == SASL_OK ? names : "", " ", -1);
    for (char **name = list; *name; name++)
        if (**name)
            sasl_mechanisms_add(library.mechanisms, *name, GPOINTER_TO_UINT(g_hash_table_lookup(all, *name)));
    sasl_dispose(&connection);
    return code == SASL_OK || code == SASL_NOMECH ||
           fail(error, "Cyrus SASL: no list of mechanisms: %s", sasl_errstring(code, NULL, NULL));
}

bool cyrus_open(const CyrusOptions *options, GError **error)
{
    static const sasl_callback_t callbacks[] = {
        {SASL_CB_LOG, (int (*)(void))(void (*)(void))log_line, NULL},
        {SASL_CB_GETOPT, (int (*)(void))(void (*)(void))get_option, NULL},
        {SASL_CB_LIST_END, NULL, NULL},
    };

    library.options = *options;
    g_autofree char *path = g_strdup(options->config_path);
    sasl_set_alloc(malloc, calloc, erase_and_resize, erase_and_free);
    sasl_set_mutex(mutex_new, mutex_lock, mutex_unlock, mutex_free);
    int code = sasl_set_path(SASL_PATH_TYPE_CONFIG, path);
    if (code == SASL_OK)
        code = sasl_server_init(callbacks, options->name);
    if (code != SASL_OK)
        return fail(error, "SASL per-process initialization failed: %s", sasl_errstring(code, NULL, NULL));
    sasl_server_add_plugin("gatepost", take_utilities);
    have_database_erase();
    if (!read_methods(error) || !read_mechanisms(error))
        return false;
    say_what_it_reads();
    return true;
}
