/* ldap_open.c - connections to LDAP servers. libldap waits in many places: for a connection, for TLS, for a reply, and
 * inside of messages that do not end. All of them have the table's timeout here. */
#include "base/clock.h"
#include "base/fail.h"
#include "table/ldap_private.h"

#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>

#define MESSAGE_MAX (4 * 1024 * 1024) /* octets of one message, an entry with all its attributes */

static struct timeval time_left(gint64 deadline, int most_seconds)
{
    gint64 left = CLAMP(deadline - clock_ms(), 1, most_seconds * (gint64)1000);

    return (struct timeval){.tv_sec = left / 1000, .tv_usec = left % 1000 * 1000};
}

int ldap_wait(LDAP *ldap, int operation, gint64 deadline, LDAPMessage **ret_message)
{
    struct timeval left = time_left(deadline, G_MAXINT / 1000);
    LDAPMessage *message = NULL;
    int code = LDAP_OTHER;
    int type = clock_ms() >= deadline ? 0 : ldap_result(ldap, operation, LDAP_MSG_ONE, &left, &message);

    if (type > 0) {
        *ret_message = message;
        return LDAP_SUCCESS;
    }
    if (type == 0)
        return LDAP_TIMEOUT;
    ldap_get_option(ldap, LDAP_OPT_RESULT_CODE, &code);
    return code == LDAP_SUCCESS ? LDAP_OTHER : code;
}

/* Of each connection that libldap makes, before anything is said on it. */
static int limit_connection(LDAP *ldap, Sockbuf *buffer, LDAPURLDesc *url, struct sockaddr *address,
                            struct ldap_conncb *context)
{
    ber_len_t max = MESSAGE_MAX;
    struct timeval timeout = {.tv_sec = 10}, *set = NULL;
    ber_socket_t fd = -1;

    ber_sockbuf_ctrl(buffer, LBER_SB_OPT_SET_MAX_INCOMING, &max);
    if (ldap_get_option(ldap, LDAP_OPT_NETWORK_TIMEOUT, (void *)&set) == LDAP_OPT_SUCCESS && set) {
        timeout = *set;
        ldap_memfree(set);
    }
    if (ber_sockbuf_ctrl(buffer, LBER_SB_OPT_GET_FD, &fd) == 1 && fd >= 0) {
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof timeout);
    }
    return 0;
}

static void forget_connection(LDAP *ldap, Sockbuf *buffer, struct ldap_conncb *context)
{
}

static struct ldap_conncb on_connection = {.lc_add = limit_connection, .lc_del = forget_connection};

/* Returns an LDAP result code. */
static int bind_simply(LDAP *ldap, const LdapSettings *settings, gint64 deadline)
{
    const char *password = settings->bind_pw ? settings->bind_pw : "";
    struct berval secret = {.bv_len = strlen(password), .bv_val = (char *)(uintptr_t)password};
    LDAPMessage *message;
    int operation, result = LDAP_OTHER;
    int code = ldap_sasl_bind(ldap, settings->bind_dn, LDAP_SASL_SIMPLE, &secret, NULL, NULL, &operation);

    if (code == LDAP_SUCCESS)
        code = ldap_wait(ldap, operation, MIN(deadline, clock_ms() + settings->timeout * (gint64)1000), &message);
    if (code == LDAP_SUCCESS)
        code = ldap_parse_result(ldap, message, &result, NULL, NULL, NULL, NULL, 1);
    return code == LDAP_SUCCESS ? result : code;
}

/* Another server that the first one referred to. */
static int bind_again(LDAP *ldap, const char *url, ber_tag_t request, ber_int_t operation, void *settings)
{
    const LdapSettings *own = settings;

    return bind_simply(ldap, own, clock_ms() + own->timeout * (gint64)1000);
}

static int set_text(LDAP *ldap, int option, const char *value)
{
    return value && *value ? ldap_set_option(ldap, option, value) : LDAP_OPT_SUCCESS;
}

static int set_tls(LDAP *ldap, const LdapSettings *settings)
{
    int require = settings->require_cert ? LDAP_OPT_X_TLS_DEMAND : LDAP_OPT_X_TLS_NEVER;
    int is_server = 0;
    int code = ldap_set_option(ldap, LDAP_OPT_X_TLS_REQUIRE_CERT, &require);

    if (code == LDAP_OPT_SUCCESS)
        code = set_text(ldap, LDAP_OPT_X_TLS_CACERTFILE, settings->ca_file);
    if (code == LDAP_OPT_SUCCESS)
        code = set_text(ldap, LDAP_OPT_X_TLS_CACERTDIR, settings->ca_dir);
    if (code == LDAP_OPT_SUCCESS)
        code = set_text(ldap, LDAP_OPT_X_TLS_CERTFILE, settings->cert);
    if (code == LDAP_OPT_SUCCESS)
        code = set_text(ldap, LDAP_OPT_X_TLS_KEYFILE, settings->key);
    if (code == LDAP_OPT_SUCCESS && settings->random_file && *settings->random_file)
        ldap_set_option(ldap, LDAP_OPT_X_TLS_RANDOM_FILE,
                        settings->random_file); /* a library that has no need of it fails */
    if (code == LDAP_OPT_SUCCESS)
        code = set_text(ldap, LDAP_OPT_X_TLS_CIPHER_SUITE, settings->ciphers);
    return code == LDAP_OPT_SUCCESS ? ldap_set_option(ldap, LDAP_OPT_X_TLS_NEWCTX, &is_server) : code;
}

static int set_options(LDAP *ldap, const LdapSettings *settings, gint64 deadline)
{
    struct timeval timeout = time_left(deadline, settings->timeout);
    const struct {
        int option;
        const void *value;
    } options[] = {
        {LDAP_OPT_PROTOCOL_VERSION, &settings->version},
        {LDAP_OPT_NETWORK_TIMEOUT, &timeout},
        {LDAP_OPT_TIMEOUT, &timeout},
        {LDAP_OPT_RESTART, LDAP_OPT_ON},
        {LDAP_OPT_SIZELIMIT, &settings->size_limit},
        {LDAP_OPT_DEREF, &settings->dereference},
        {LDAP_OPT_CONNECT_CB, &on_connection},
        {LDAP_OPT_REFERRALS, settings->chase_referrals ? LDAP_OPT_ON : LDAP_OPT_OFF},
    };
    int code = LDAP_OPT_SUCCESS;

    for (size_t i = 0; i < G_N_ELEMENTS(options) && code == LDAP_OPT_SUCCESS; i++)
        code = ldap_set_option(ldap, options[i].option, options[i].value);
    if (code == LDAP_OPT_SUCCESS && settings->bind)
        code = ldap_set_rebind_proc(ldap, bind_again, (void *)(uintptr_t)settings);
    if (code == LDAP_OPT_SUCCESS && settings->debuglevel > 0)
        code = ldap_set_option(NULL, LDAP_OPT_DEBUG_LEVEL, &settings->debuglevel);
    return code == LDAP_OPT_SUCCESS && settings->uses_tls ? set_tls(ldap, settings) : code;
}

static bool prepare(LDAP *ldap, const LdapSettings *settings, gint64 deadline, GError **error)
{
    int code = set_options(ldap, settings, deadline);

    if (code != LDAP_OPT_SUCCESS)
        return fail(error, "%s: cannot set an option of the LDAP library: %s", settings->source, ldap_err2string(code));
    if (settings->start_tls && (code = ldap_start_tls_s(ldap, NULL, NULL)) != LDAP_SUCCESS)
        return fail(error, "Unable to set STARTTLS at server %s: %d: %s", settings->urls, code, ldap_err2string(code));
    if (settings->bind && (code = bind_simply(ldap, settings, deadline)) != LDAP_SUCCESS)
        return fail(error, "Unable to bind to server %s with dn %s: %d (%s)", settings->urls,
                    settings->bind_dn && *settings->bind_dn ? settings->bind_dn : "empty or implicit", code,
                    ldap_err2string(code));
    return true;
}

LDAP *ldap_open(const LdapSettings *settings, gint64 deadline, GError **error)
{
    LDAP *ldap = NULL;
    int code = ldap_initialize(&ldap, settings->urls);

    if (code != LDAP_SUCCESS) {
        fail(error, "Unable to init LDAP server %s: %s", settings->urls, ldap_err2string(code));
        return NULL;
    }
    if (prepare(ldap, settings, deadline, error))
        return ldap;
    ldap_end(ldap);
    return NULL;
}

void ldap_end(void *ldap)
{
    ldap_unbind_ext(ldap, NULL, NULL);
}
