/* context.c - libunbound's context: what it is told before the first question. */
#include "base/fail.h"
#include "base/sandbox.h"
#include "dns/resolver_private.h"

#include <errno.h>
#include <string.h>

static bool set_options(struct ub_ctx *ub, GError **error)
{
    static const char *const options[][2] = {
        /* The server that we ask knows names of private networks and laboratories too: ask it about them. It may run on
           this machine. */
        {"unblock-lan-zones:", "yes"},
        {"local-zone:", "test. transparent"},
        {"local-zone:", "home.arpa. transparent"},
        {"do-not-query-localhost:", "no"},
        /* A server that was down is used again soon after it is back. */
        {"infra-host-ttl:", "60"},
        {"infra-keep-probing:", "yes"},
        /* Questions on the network at once, and the cache: the library's own (16, 1 MB) are for small programs. */
        {"outgoing-range:", "1024"},
        /* The server that we ask is near, but what it asks may be far: it is given time, whatever the last answer took.
           libunbound forgets a question that it asks anew, and with its own patience with a near server gives up after
           two seconds. */
        {"infra-cache-min-rtt:", "3000"},
        {"rrset-roundrobin:", "no"}, /* the texts of a list are read in their order */
        {"msg-cache-size:", "4m"},
        {"rrset-cache-size:", "8m"},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(options); i++) {
        int failure = ub_ctx_set_option(ub, options[i][0], options[i][1]);
        if (failure != 0)
            return fail(error, "resolver option %s %s: %s", options[i][0], options[i][1], ub_strerror(failure));
    }
    int failure = ub_ctx_async(ub, 1);
    return failure == 0 || fail(error, "resolver thread: %s", ub_strerror(failure));
}

/* "192.0.2.53", "2001:db8::53", "127.0.0.1@5353" */
static bool add_server(struct ub_ctx *ub, const char *server, GError **error)
{
    g_auto(GStrv) parts = g_strsplit(server, "@", 2);
    g_autofree char *canonical = hosts_canonical_address(parts[0], NULL, NULL);
    guint64 port = 53;

    if (!canonical || (parts[1] && !g_ascii_string_to_unsigned(parts[1], 10, 1, G_MAXUINT16, &port, NULL)))
        return fail(error, "bad DNS server \"%s\": an address, or address@port, is right", server);
    g_autofree char *text = g_strdup_printf("%s@%u", canonical, (unsigned)port);
    sandbox_will_connect((guint16)port); /* for long answers */
    int failure = ub_ctx_set_fwd(ub, text);
    return failure == 0 || fail(error, "DNS server \"%s\": %s", server, ub_strerror(failure));
}

static bool add_servers(struct ub_ctx *ub, const char *servers, GError **error)
{
    g_auto(GStrv) words = g_strsplit_set(servers, " \t\r\n,", 0);
    bool any = false;

    for (int i = 0; words[i]; i++) {
        if (words[i][0] == '\0')
            continue;
        if (!add_server(ub, words[i], error))
            return false;
        any = true;
    }
    if (any)
        return true;
    sandbox_will_connect(53);
    int failure = ub_ctx_resolvconf(ub, NULL);
    if (failure == UB_READFILE && errno == ENOENT) /* resolv.conf(5): then the server is on this machine */
        failure = ub_ctx_set_fwd(ub, "127.0.0.1");
    return failure == 0 || fail(error, "/etc/resolv.conf: %s", ub_strerror(failure));
}

/* libunbound itself notices with the first question, and then answers none. */
static bool looks_like_an_anchor(const char *line)
{
    g_auto(GStrv) words = g_strsplit_set(line, " \t", 0);
    unsigned fields = 0; /* of the record's data: a DS or DNSKEY has four */
    bool is_data = false;

    for (int i = 0; words[i]; i++) {
        fields += is_data && *words[i];
        is_data = is_data || g_str_equal(words[i], "DS") || g_str_equal(words[i], "DNSKEY");
    }
    return fields >= 4;
}

/* Read here and now: libunbound opens its files with the first question, when the process may not any more. Comments
 * begin with ';', at the beginning of a line or behind a record. */
static bool add_trust_anchors(struct ub_ctx *ub, const char *path, GError **error)
{
    g_autofree char *text = NULL;
    unsigned records = 0;

    if (!g_file_get_contents(path, &text, NULL, error)) {
        g_prefix_error(error, "DNS trust anchor: ");
        return false;
    }
    g_auto(GStrv) lines = g_strsplit(text, "\n", 0);
    for (int i = 0; lines[i]; i++) {
        lines[i][strcspn(lines[i], ";")] = '\0';
        if (g_strstrip(lines[i])[0] == '\0')
            continue;
        if (!looks_like_an_anchor(lines[i]))
            return fail(error, "DNS trust anchor %s: not a DS or DNSKEY record: %s", path, lines[i]);
        int failure = ub_ctx_add_ta(ub, lines[i]);
        if (failure != 0)
            return fail(error, "DNS trust anchor %s: %s", path, ub_strerror(failure));
        records++;
    }
    return records > 0 || fail(error, "DNS trust anchor %s: no record", path);
}

struct ub_ctx *context_new(const ResolverOptions *options, GError **error)
{
    struct ub_ctx *ub = ub_ctx_create();

    if (!ub) {
        fail_errno(error, "cannot make a resolver");
        return NULL;
    }
    ub_ctx_debugout(ub, NULL); /* standard error is not its own */
    if (set_options(ub, error) && add_servers(ub, options->servers, error) &&
        (!options->trust_anchor || add_trust_anchors(ub, options->trust_anchor, error)))
        return ub;
    ub_ctx_delete(ub);
    return NULL;
}
