/* The resolver against a small DNS server on a loopback port, a thread of this program. Tasks use g_assert: cmocka's
 * assertions work in the first thread only. */
#include "base/clock.h"
#include "dns/resolver.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define WATCHDOG_S 120
#define TIMEOUT_S 10

/* --- the server --- */

enum { A = 1, NS = 2, CNAME = 5, PTR = 12, MX = 15, TXT = 16, AAAA = 28 };
enum { NOERROR = 0, SERVFAIL = 2, NXDOMAIN = 3, REFUSED = 5, SILENCE = -1 };

typedef struct {
    const char *name;
    int type;
    int rcode;
    int data_type;    /* 0: as type */
    const char *data; /* NULL: no answer section */
} Record;

static const Record zone[] = {
    {"1.2.0.192.in-addr.arpa", PTR, NOERROR, 0, "Mail.example.org"},
    {"mail.example.org", A, NOERROR, 0, "192.0.2.1"},
    {"2.2.0.192.in-addr.arpa", PTR, NOERROR, 0, "forged.example.org"},
    {"forged.example.org", A, NOERROR, 0, "192.0.2.99"},
    {"3.2.0.192.in-addr.arpa", PTR, NOERROR, 0, "gone.example.org"},
    {"gone.example.org", A, NXDOMAIN, 0, NULL},
    {"4.2.0.192.in-addr.arpa", PTR, NOERROR, 0, "six.example.org"},
    {"six.example.org", A, NOERROR, 0, NULL},
    {"six.example.org", AAAA, NOERROR, 0, "2001:db8::1"},
    {"5.2.0.192.in-addr.arpa", PTR, NXDOMAIN, 0, NULL},
    {"6.2.0.192.in-addr.arpa", PTR, SERVFAIL, 0, NULL},
    {"7.2.0.192.in-addr.arpa", PTR, NOERROR, 0, "flaky.example.org"},
    {"flaky.example.org", A, SERVFAIL, 0, NULL},
    {"flaky.example.org", AAAA, NOERROR, 0, "2001:db8::7"},
    {"8.2.0.192.in-addr.arpa", PTR, NOERROR, 0, "evil\r\n.example.org"},
    {"9.2.0.192.in-addr.arpa", PTR, NOERROR, 0, "127.0.0.1"},
    {"10.2.0.192.in-addr.arpa", PTR, NOERROR, CNAME, "10.sub.2.0.192.in-addr.arpa"},
    {"10.sub.2.0.192.in-addr.arpa", PTR, NOERROR, 0, "delegated.example.org"},
    {"delegated.example.org", A, NOERROR, 0, "192.0.2.10"},
    {"11.2.0.192.in-addr.arpa", PTR, NOERROR, 0, "hosted.example.test"},
    {"12.2.0.192.in-addr.arpa", PTR, REFUSED, 0, NULL},
    {"13.2.0.192.in-addr.arpa", PTR, NOERROR, 0, "silent.example.org"},
    {"silent.example.org", A, SILENCE, 0, NULL},
    {"1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa", PTR, NOERROR, 0, "six.example.org"},
    {"both.example.org", A, NOERROR, 0, "192.0.2.50"},
    {"both.example.org", AAAA, NOERROR, 0, "2001:db8::50"},
    {"late1.example.org", A, NOERROR, 0, "192.0.2.61"},
    {"late2.example.org", A, NOERROR, 0, "192.0.2.62"},
    {"alias.example.org", A, NOERROR, CNAME, "mail.example.org"},
    {"alias.example.org", AAAA, NOERROR, CNAME, "mail.example.org"},
    {"example.org", MX, NOERROR, 0, "mail.example.org"},
    {"example.org", NS, NOERROR, 0, "ns.example.org"},
    {"example.org", TXT, NOERROR, 0, "listed"},
    {"nullmx.example.org", MX, NOERROR, 0, ""},
    {"badmx.example.org", MX, NOERROR, 0, "-bad-"},
    {"alias.example.org", MX, NOERROR, CNAME, "example.org"},
    {"nomx.example.org", MX, NOERROR, 0, NULL},
    {"flaky.example.org", MX, SERVFAIL, 0, NULL},
    {"ring1.example.org", MX, NOERROR, CNAME, "ring2.example.org"},
    {"ring2.example.org", MX, NOERROR, CNAME, "ring1.example.org"},
};

typedef struct {
    int socket;
    char address[32]; /* "127.0.0.1@PORT" */
    pthread_t thread;
    atomic_uint questions;
} Server;

static void put16(GByteArray *packet, unsigned value)
{
    guint8 octets[2] = {(guint8)(value >> 8), (guint8)value};

    g_byte_array_append(packet, octets, 2);
}

static GByteArray *wire_name(const char *name)
{
    GByteArray *wire = g_byte_array_new();
    g_auto(GStrv) labels = g_strsplit(name, ".", 0);

    for (int i = 0; labels[i] && *name; i++) {
        guint8 len = (guint8)strlen(labels[i]);
        g_byte_array_append(wire, &len, 1);
        g_byte_array_append(wire, (const guint8 *)labels[i], len);
    }
    g_byte_array_append(wire, (const guint8 *)"", 1);
    return wire;
}

static void put_answer(GByteArray *packet, int type, const char *data)
{
    g_autoptr(GByteArray) octets = NULL;
    guint8 address[16];

    if (type == A || type == AAAA) {
        g_assert_cmpint(inet_pton(type == A ? AF_INET : AF_INET6, data, address), ==, 1);
        octets = g_byte_array_new();
        g_byte_array_append(octets, address, type == A ? 4 : 16);
    } else {
        octets = wire_name(data);
        if (type == MX)
            g_byte_array_prepend(octets, (const guint8 *)"\0\012", 2);
        if (type == TXT)
            g_byte_array_set_size(octets, octets->len - 1); /* one string, without the root at the end of a name */
    }
    put16(packet, 0xc00c); /* the name of the question */
    put16(packet, (unsigned)type);
    put16(packet, 1);
    put16(packet, 0);
    put16(packet, 60);
    put16(packet, octets->len);
    g_byte_array_append(packet, octets->data, octets->len);
}

/* Fills in a record for the many generated names: 198.18.X.Y is hX-Y.gen.test. */
static bool generate(const char *name, int type, Record *record, char data[64])
{
    unsigned x, y;
    int end = 0;

    if (type == PTR && sscanf(name, "%u.%u.18.198.in-addr.arp%n", &y, &x, &end) == 2 && end > 0)
        g_snprintf(data, 64, "h%u-%u.gen.test", x, y);
    else if (type == A && sscanf(name, "h%u-%u.gen.tes%n", &x, &y, &end) == 2 && end > 0)
        g_snprintf(data, 64, "198.18.%u.%u", x, y);
    else
        return false;
    *record = (Record){.type = type, .rcode = NOERROR, .data = data};
    return true;
}

static void answer_question(Server *server, const guint8 *question, size_t len, const struct sockaddr_in *peer)
{
    g_autoptr(GString) name = g_string_new(NULL);
    Record record = {.rcode = NXDOMAIN};
    char data[64];
    size_t at = 12;

    while (at < len && question[at] != 0) {
        g_string_append_printf(name, "%s%.*s", name->len ? "." : "", question[at], (const char *)question + at + 1);
        at += question[at] + 1u;
    }
    if (at + 5 > len)
        return;
    int type = question[at + 1] << 8 | question[at + 2];
    if (!generate(name->str, type, &record, data))
        for (size_t i = 0; i < G_N_ELEMENTS(zone); i++)
            if (zone[i].type == type && g_ascii_strcasecmp(zone[i].name, name->str) == 0)
                record = zone[i];
    if (record.rcode == SILENCE)
        return;
    if (g_str_has_prefix(name->str, "late"))
        usleep(150000);

    g_autoptr(GByteArray) packet = g_byte_array_new();
    g_byte_array_append(packet, question, 2);
    put16(packet, 0x8180u | (unsigned)record.rcode);
    put16(packet, 1);
    put16(packet, record.data ? 1 : 0);
    put16(packet, 0);
    put16(packet, 0);
    g_byte_array_append(packet, question + 12, (guint)(at + 5 - 12));
    if (record.data)
        put_answer(packet, record.data_type ? record.data_type : type, record.data);
    sendto(server->socket, packet->data, packet->len, 0, (const struct sockaddr *)peer, sizeof *peer);
}

static void *serve(void *data)
{
    Server *server = data;

    for (;;) {
        struct sockaddr_in peer;
        socklen_t size = sizeof peer;
        guint8 question[1500];
        ssize_t len = recvfrom(server->socket, question, sizeof question, 0, (struct sockaddr *)&peer, &size);
        if (len == 1) /* the test is over */
            return NULL;
        if (len < 12)
            continue;
        atomic_fetch_add(&server->questions, 1);
        answer_question(server, question, (size_t)len, &peer);
    }
}

static void server_bind(Server *server, struct sockaddr_in *address)
{
    socklen_t size = sizeof *address;

    *address = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    server->socket = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(server->socket, (struct sockaddr *)address, size), 0);
    assert_int_equal(getsockname(server->socket, (struct sockaddr *)address, &size), 0);
    g_snprintf(server->address, sizeof server->address, "127.0.0.1@%u", ntohs(address->sin_port));
    atomic_store(&server->questions, 0);
}

static Server live, dead; /* dead: a socket that nobody reads */
static struct sockaddr_in live_address;
static char *hosts_file;

static int set_up(void **state)
{
    static const char text[] = "127.0.0.1 localhost\n192.0.2.11 hosted.example.test\n192.0.2.20 known.example.test\n"
                               "2001:db8::20 known.example.test\n";
    struct sockaddr_in ignored;
    int fd = g_file_open_tmp("hosts-XXXXXX", &hosts_file, NULL);

    alarm(WATCHDOG_S);
    assert_true(fd >= 0);
    close(fd);
    assert_true(g_file_set_contents(hosts_file, text, -1, NULL));
    server_bind(&dead, &ignored);
    server_bind(&live, &live_address);
    return pthread_create(&live.thread, NULL, serve, &live);
}

static int tear_down(void **state)
{
    sendto(live.socket, "", 1, 0, (struct sockaddr *)&live_address, sizeof live_address);
    pthread_join(live.thread, NULL);
    close(live.socket);
    close(dead.socket);
    unlink(hosts_file);
    g_free(hosts_file);
    return 0;
}

static Resolver *new_resolver(const Server *server, int timeout)
{
    ResolverOptions options = {.servers = server->address, .hosts_file = hosts_file, .timeout = timeout};
    g_autoptr(GError) error = NULL;
    Resolver *resolver = resolver_new(&options, &error);

    if (!resolver)
        fail_msg("%s", error->message);
    return resolver;
}

/* --- names of clients --- */

typedef struct {
    Sched *sched;
    Resolver *resolver;
    const char *addr;
    char text[32];
    guint64 query;
    PeerName *name;
    atomic_uint *left;
    gint64 waited;
} Client;

static Step ask_name(void *data, TaskRef self, unsigned reasons)
{
    Client *client = data;

    if (reasons & WAKE_START) {
        client->waited = clock_ms();
        client->name = resolver_peer_name(client->resolver, client->addr, self, &client->query);
        g_assert_true((client->query == 0) == (client->name != NULL));
    } else {
        g_assert_false(reasons & WAKE_TIMER);
        client->name = resolver_take_peer_name(client->resolver, client->query);
    }
    if (!client->name)
        return step_park(0, clock_ms() + 60000);
    client->waited = clock_ms() - client->waited;
    if (client->query)
        g_assert_null(resolver_take_peer_name(client->resolver, client->query));
    if (atomic_fetch_sub(client->left, 1) == 1)
        sched_quit(client->sched);
    return step_end();
}

static void ask_names(Resolver *resolver, Client *clients, unsigned count)
{
    Sched *sched = sched_new(3, NULL);
    atomic_uint left = count;

    assert_non_null(sched);
    resolver_start(resolver, sched);
    for (unsigned i = 0; i < count; i++) {
        clients[i].sched = sched;
        clients[i].resolver = resolver;
        clients[i].left = &left;
        sched_add(sched, -1, ask_name, NULL, &clients[i]);
    }
    sched_run(sched);
    sched_free(sched);
}

static void names_are_verified(void **state)
{
    static const struct {
        const char *addr;
        DnsStatus status;
        const char *name, *reverse, *warning;
    } rows[] = {
        {"192.0.2.1", DNS_OK, "Mail.example.org", "Mail.example.org", NULL},
        {"::ffff:192.0.2.1", DNS_OK, "Mail.example.org", "Mail.example.org", NULL},
        {"192.0.2.2", DNS_NOT_FOUND, "unknown", "forged.example.org",
         "hostname forged.example.org does not resolve to address 192.0.2.2"},
        {"192.0.2.3", DNS_NOT_FOUND, "unknown", "gone.example.org",
         "hostname gone.example.org does not resolve to address 192.0.2.3: Name or service not known"},
        {"192.0.2.4", DNS_NOT_FOUND, "unknown", "six.example.org",
         "hostname six.example.org does not resolve to address 192.0.2.4: No address associated with hostname"},
        {"192.0.2.5", DNS_NOT_FOUND, "unknown", "unknown", NULL},
        {"192.0.2.6", DNS_TEMPORARY, "unknown", "unknown", NULL},
        {"192.0.2.7", DNS_TEMPORARY, "unknown", "flaky.example.org",
         "hostname flaky.example.org does not resolve to address 192.0.2.7: Temporary failure in name resolution"},
        {"192.0.2.8", DNS_NOT_FOUND, "unknown", "unknown", NULL},
        {"192.0.2.9", DNS_NOT_FOUND, "unknown", "unknown", NULL},
        {"192.0.2.10", DNS_OK, "delegated.example.org", "delegated.example.org", NULL},
        {"192.0.2.11", DNS_OK, "hosted.example.test", "hosted.example.test", NULL},
        {"192.0.2.12", DNS_TEMPORARY, "unknown", "unknown", NULL},
        {"192.0.2.20", DNS_OK, "known.example.test", "known.example.test", NULL},
        {"127.0.0.1", DNS_OK, "localhost", "localhost", NULL},
        {"2001:db8::1", DNS_OK, "six.example.org", "six.example.org", NULL},
        {"2001:DB8::20", DNS_OK, "known.example.test", "known.example.test", NULL},
        {"2001:db8::2", DNS_NOT_FOUND, "unknown", "unknown", NULL},
        {"unknown", DNS_NOT_FOUND, "unknown", "unknown", NULL},
        {"", DNS_NOT_FOUND, "unknown", "unknown", NULL},
    };
    Client clients[G_N_ELEMENTS(rows)] = {0};
    Resolver *resolver = new_resolver(&live, TIMEOUT_S);

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++)
        clients[i].addr = rows[i].addr;
    ask_names(resolver, clients, G_N_ELEMENTS(rows));
    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        PeerName *name = clients[i].name;
        if (name->status != rows[i].status || strcmp(name->name, rows[i].name) != 0 ||
            strcmp(name->reverse, rows[i].reverse) != 0 || g_strcmp0(name->warning, rows[i].warning) != 0)
            fail_msg("%s: %d %s %s %s", rows[i].addr, name->status, name->name, name->reverse, name->warning);
        peer_name_free(name);
    }
    resolver_free(resolver);
}

static void many_ask_at_once(void **state)
{
    enum { COUNT = 600 };
    g_autofree Client *clients = g_new0(Client, COUNT);
    Resolver *resolver = new_resolver(&live, 30);

    for (unsigned i = 0; i < COUNT; i++) {
        g_snprintf(clients[i].text, sizeof clients[i].text, "198.18.%u.%u", i / 200, i % 200 + 1);
        clients[i].addr = clients[i].text;
    }
    ask_names(resolver, clients, COUNT);
    for (unsigned i = 0; i < COUNT; i++) {
        g_autofree char *wanted = g_strdup_printf("h%u-%u.gen.test", i / 200, i % 200 + 1);
        assert_string_equal(clients[i].name->name, wanted);
        peer_name_free(clients[i].name);
    }
    resolver_free(resolver);
}

/* More than may be asked: all are answered nevertheless, within the time limit. */
static void a_dead_server_is_a_temporary_error_in_time(void **state)
{
    enum { COUNT = 1500 };
    unsigned refused = 0;
    g_autofree Client *clients = g_new0(Client, COUNT);
    Resolver *resolver = new_resolver(&dead, 1);

    for (unsigned i = 0; i < COUNT; i++) {
        g_snprintf(clients[i].text, sizeof clients[i].text, "198.18.%u.%u", i / 200, i % 200 + 1);
        clients[i].addr = clients[i].text;
    }
    ask_names(resolver, clients, COUNT);
    for (unsigned i = 0; i < COUNT; i++) {
        assert_int_equal(clients[i].name->status, DNS_TEMPORARY);
        assert_string_equal(clients[i].name->name, "unknown");
        assert_null(clients[i].name->warning);
        assert_true(clients[i].waited < 10000);
        refused += clients[i].query == 0;
        peer_name_free(clients[i].name);
    }
    assert_in_range(refused, COUNT - 1024, COUNT - 1000);
    resolver_free(resolver);
}

static void a_name_that_cannot_be_checked_in_time_is_told(void **state)
{
    Client client = {.addr = "192.0.2.13"};
    Resolver *resolver = new_resolver(&live, 1);

    ask_names(resolver, &client, 1);
    assert_int_equal(client.name->status, DNS_TEMPORARY);
    assert_string_equal(client.name->reverse, "silent.example.org");
    assert_string_equal(client.name->warning, "hostname silent.example.org does not resolve to address 192.0.2.13: "
                                              "Temporary failure in name resolution");
    peer_name_free(client.name);
    resolver_free(resolver);
}

static Step ask_and_cancel(void *data, TaskRef self, unsigned reasons)
{
    Client *client = data;

    if (reasons & WAKE_START) {
        client->name = resolver_peer_name(client->resolver, client->addr, self, &client->query);
        peer_name_free(client->name); /* so fast an answer leaves nothing to cancel, which must do no harm */
        resolver_cancel(client->resolver, client->query);
        resolver_cancel(client->resolver, client->query);
        return step_park(0, clock_ms() + 300); /* the answer comes meanwhile */
    }
    g_assert_null(resolver_take_peer_name(client->resolver, client->query));
    if (!(reasons & WAKE_TIMER)) /* the wake may come, the answer may not */
        return step_park(0, clock_ms() + 300);
    if (atomic_fetch_sub(client->left, 1) == 1)
        sched_quit(client->sched);
    return step_end();
}

static void a_cancelled_query_is_never_answered(void **state)
{
    Resolver *resolver = new_resolver(&live, TIMEOUT_S);
    Sched *sched = sched_new(2, NULL);
    atomic_uint left = 50;
    Client clients[50];

    resolver_start(resolver, sched);
    for (int i = 0; i < 50; i++) {
        clients[i] = (Client){.sched = sched, .resolver = resolver, .left = &left};
        g_snprintf(clients[i].text, sizeof clients[i].text, "198.18.0.%d", i);
        clients[i].addr = clients[i].text;
        sched_add(sched, -1, ask_and_cancel, NULL, &clients[i]);
    }
    sched_run(sched);
    sched_free(sched);
    resolver_free(resolver);
}

/* --- addresses of servers --- */

static char *addresses_of(Resolver *resolver, const char *host, const char *families, gint64 wait_ms)
{
    static const char *const statuses[] = {"ok", "none", "later"};
    GPtrArray *addresses = NULL;
    DnsStatus status = resolver_addresses(resolver, host, families, clock_ms() + wait_ms, &addresses);
    GString *text = g_string_new(statuses[status]);

    for (guint i = 0; i < addresses->len; i++)
        g_string_append_printf(text, " %s", (char *)g_ptr_array_index(addresses, i));
    g_ptr_array_unref(addresses);
    return g_string_free(text, FALSE);
}

static const struct {
    const char *host, *families, *wanted;
} address_rows[] = {
    {"both.example.org", "all", "ok 192.0.2.50 2001:db8::50"},
    {"both.example.org", "ipv4", "ok 192.0.2.50"},
    {"BOTH.example.org", "ipv6", "ok 2001:db8::50"},
    {"both.example.org", "ipv4, ipv6", "ok 192.0.2.50 2001:db8::50"},
    {"alias.example.org", "ipv4", "ok 192.0.2.1"},
    {"known.example.test", "all", "ok 192.0.2.20 2001:db8::20"},
    {"Known.example.test", "ipv6", "ok 2001:db8::20"},
    {"hosted.example.test", "ipv6", "none"},
    {"localhost", "all", "ok 127.0.0.1"},
    {"127.0.0.2", "all", "ok 127.0.0.2"},
    {"2001:DB8::1", "all", "ok 2001:db8::1"},
    {"2001:db8::1", "ipv4", "none"},
    {"gone.example.org", "all", "none"},
    {"six.example.org", "ipv4", "none"},
    {"flaky.example.org", "ipv4", "later"},
    {"flaky.example.org", "all", "ok 2001:db8::7"},
    {"bad name", "all", "none"},
    {"", "all", "none"},
    {"..", "all", "none"},
    {"1.2.3", "all", "none"},
};

static void hosts_resolve_without_a_scheduler(void **state)
{
    Resolver *resolver = new_resolver(&live, TIMEOUT_S);

    for (size_t i = 0; i < G_N_ELEMENTS(address_rows); i++) {
        g_autofree char *got = addresses_of(resolver, address_rows[i].host, address_rows[i].families, 8000);
        if (strcmp(got, address_rows[i].wanted) != 0)
            fail_msg("%s %s: %s", address_rows[i].host, address_rows[i].families, got);
    }
    resolver_free(resolver);
}

static void *resolve_some(void *data)
{
    for (unsigned i = 1; i <= 40; i++) {
        unsigned x = i % 7; /* the same names in all threads, so that they wait for each other's answers */
        g_autofree char *host = g_strdup_printf("h%u-%u.gen.test", x, i),
                        *wanted = g_strdup_printf("ok 198.18.%u.%u", x, i),
                        *got = addresses_of(data, host, "ipv4", 8000);
        g_assert_cmpstr(got, ==, wanted);
    }
    return NULL;
}

static void threads_share_a_resolver_without_a_scheduler(void **state)
{
    Resolver *resolver = new_resolver(&live, TIMEOUT_S);
    pthread_t threads[6];

    for (int i = 0; i < 6; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, resolve_some, resolver), 0);
    for (int i = 0; i < 6; i++)
        pthread_join(threads[i], NULL);
    resolver_free(resolver);
}

static void *resolve_late(void *data)
{
    g_autofree char *got = addresses_of(data, "late1.example.org", "ipv4", 8000);

    g_assert_cmpstr(got, ==, "ok 192.0.2.61");
    return NULL;
}

/* The first thread takes the answers for both until it has its own; then the second has to. */
static void the_taking_of_answers_is_handed_over(void **state)
{
    Resolver *resolver = new_resolver(&live, TIMEOUT_S);
    unsigned before = atomic_load(&live.questions);
    gint64 start = clock_ms();
    pthread_t thread;

    assert_int_equal(pthread_create(&thread, NULL, resolve_late, resolver), 0);
    while (atomic_load(&live.questions) == before && clock_ms() - start < 5000)
        usleep(1000);
    g_autofree char *got = addresses_of(resolver, "late2.example.org", "ipv4", 8000);
    assert_string_equal(got, "ok 192.0.2.62");
    pthread_join(thread, NULL);
    assert_true(clock_ms() - start < 5000);
    resolver_free(resolver);
}

typedef struct {
    Sched *sched;
    Resolver *resolver;
    Gate *gate;
    atomic_int left;
} GateTest;

static Step resolve_behind_gate(void *data, TaskRef self, unsigned reasons)
{
    GateTest *test = data;

    if (!(reasons & WAKE_GATE))
        return step_gate(test->gate, CLOCK_NEVER);
    resolve_some(test->resolver);
    if (atomic_fetch_sub(&test->left, 1) == 1)
        sched_quit(test->sched);
    return step_end();
}

static void hosts_resolve_behind_a_gate(void **state)
{
    GateTest test = {.sched = sched_new(1, NULL), .resolver = new_resolver(&live, TIMEOUT_S), .left = 4};

    test.gate = sched_gate_new(test.sched, 2);
    resolver_start(test.resolver, test.sched);
    for (int i = 0; i < 4; i++)
        sched_add(test.sched, -1, resolve_behind_gate, NULL, &test);
    sched_run(test.sched);
    sched_free(test.sched);
    resolver_free(test.resolver);
}

static void a_dead_server_holds_no_thread_longer_than_asked(void **state)
{
    Resolver *resolver = new_resolver(&dead, 1);
    gint64 start = clock_ms();

    g_autofree char *first = addresses_of(resolver, "both.example.org", "all", 200);
    assert_string_equal(first, "later");
    assert_true(clock_ms() - start < 900);
    g_autofree char *second = addresses_of(resolver, "both.example.org", "all", 60000);
    assert_string_equal(second, "later");
    assert_true(clock_ms() - start < 5000);
    resolver_free(resolver);
}

/* --- records --- */

static const struct {
    const char *name;
    DnsType type;
    const char *wanted;
} record_rows[] = {
    {"example.org", DNS_MX, "ok 10:mail.example.org"},
    {"example.org", DNS_NS, "ok 0:ns.example.org"},
    {"example.org", DNS_TXT, "ok 0:listed"},
    {"mail.example.org", DNS_A, "ok 0:192.0.2.1"},
    {"six.example.org", DNS_AAAA, "ok 0:2001:db8::1"},
    {"six.example.org", DNS_A, "none"},
    {"2.2.0.192.in-addr.arpa", DNS_PTR, "ok 0:forged.example.org"},
    {"nullmx.example.org", DNS_MX, "ok 0:"},
    {"badmx.example.org", DNS_MX, "malformed"},
    {"alias.example.org", DNS_MX, "ok 10:mail.example.org"},
    {"nomx.example.org", DNS_MX, "none"},
    {"nosuch.example.org", DNS_MX, "none!"},
    {"flaky.example.org", DNS_MX, "later"},
    {"ring1.example.org", DNS_MX, "later"},
    {"bad name", DNS_MX, "none!"},
    {"example.org.", DNS_MX, "none!"},
    {"", DNS_MX, "none!"},
    {"known.example.test", DNS_A, "none!"}, /* the hosts file is for addresses of hosts */
    {"known.example.test", DNS_ADDRESSES, "ok 0:192.0.2.20 0:2001:db8::20"},
    {"both.example.org", DNS_ADDRESSES, "ok 0:192.0.2.50 0:2001:db8::50"},
    {"six.example.org", DNS_ADDRESSES, "ok 0:2001:db8::1"},
    {"nosuch.example.org", DNS_ADDRESSES, "none!"},
    {"::ffff:192.0.2.1", DNS_ADDRESSES, "ok 0:192.0.2.1"},
};

static char *shown(const DnsAnswer *answer)
{
    static const char *const statuses[] = {"ok", "none", "later", "malformed"};
    GString *text = g_string_new(statuses[answer->status]);

    if (answer->no_such_name)
        g_string_append_c(text, '!');
    for (guint i = 0; i < answer->records->len; i++)
        g_string_append_printf(text, " %u:%s", dns_answer_record(answer, i)->preference,
                               dns_answer_record(answer, i)->text);
    return g_string_free(text, FALSE);
}

static void records_are_found_by_threads(void **state)
{
    Resolver *resolver = new_resolver(&live, TIMEOUT_S);

    for (size_t i = 0; i < G_N_ELEMENTS(record_rows); i++) {
        g_autoptr(DnsAnswer) answer =
            resolver_records(resolver, record_rows[i].name, record_rows[i].type, clock_ms() + 8000);
        g_autofree char *got = shown(answer);
        if (strcmp(got, record_rows[i].wanted) != 0)
            fail_msg("%s: %s, wanted %s", record_rows[i].name, got, record_rows[i].wanted);
    }
    resolver_free(resolver);
}

typedef struct {
    Sched *sched;
    Resolver *resolver;
    size_t row;
    guint64 query;
    DnsAnswer *answer;
    atomic_uint *left;
} Asker;

static Step ask_records(void *data, TaskRef self, unsigned reasons)
{
    Asker *asker = data;

    if (reasons & WAKE_START)
        asker->answer = resolver_ask(asker->resolver, record_rows[asker->row].name, record_rows[asker->row].type, self,
                                     &asker->query);
    else
        asker->answer = resolver_take(asker->resolver, asker->query);
    g_assert_false(reasons & WAKE_TIMER);
    if (!asker->answer)
        return step_park(0, clock_ms() + 60000);
    if (asker->query)
        g_assert_null(resolver_take(asker->resolver, asker->query));
    if (atomic_fetch_sub(asker->left, 1) == 1)
        sched_quit(asker->sched);
    return step_end();
}

static void records_are_found_by_tasks(void **state)
{
    Resolver *resolver = new_resolver(&live, TIMEOUT_S);
    Sched *sched = sched_new(3, NULL);
    atomic_uint left = G_N_ELEMENTS(record_rows);
    Asker askers[G_N_ELEMENTS(record_rows)];

    resolver_start(resolver, sched);
    for (size_t i = 0; i < G_N_ELEMENTS(askers); i++) {
        askers[i] = (Asker){.sched = sched, .resolver = resolver, .row = i, .left = &left};
        sched_add(sched, -1, ask_records, NULL, &askers[i]);
    }
    sched_run(sched);
    sched_free(sched);
    for (size_t i = 0; i < G_N_ELEMENTS(askers); i++) {
        g_autofree char *got = shown(askers[i].answer);
        if (strcmp(got, record_rows[i].wanted) != 0)
            fail_msg("%s: %s, wanted %s", record_rows[i].name, got, record_rows[i].wanted);
        dns_answer_free(askers[i].answer);
    }
    resolver_free(resolver);
}

static void records_of_a_dead_server_are_a_temporary_error_in_time(void **state)
{
    ResolverOptions options = {.servers = dead.address, .hosts_file = hosts_file, .timeout = 60, .question_timeout = 1};
    Resolver *resolver = resolver_new(&options, NULL);
    gint64 start = clock_ms();

    g_autoptr(DnsAnswer) answer = resolver_records(resolver, "example.org", DNS_MX, clock_ms() + 60000);
    assert_int_equal(answer->status, DNS_TEMPORARY);
    assert_true(clock_ms() - start < 10000);
    resolver_free(resolver);
}

/* --- proofs --- */

/* Nobody signed the server's zones, so nothing that it says can be proved. */
static void what_is_not_proved_is_a_temporary_error(void **state)
{
    g_autofree char *path = NULL;
    int fd = g_file_open_tmp("anchor-XXXXXX", &path, NULL);
    ResolverOptions options = {
        .servers = live.address, .hosts_file = hosts_file, .timeout = TIMEOUT_S, .trust_anchor = path};

    close(fd);
    assert_true(g_file_set_contents(path,
                                    "; the root\n.\t172800\tIN\tDS\t20326 8 2 "
                                    "e06d44b80b8f1d39a95c0b0d7c65d08458e880409bbc683457104237c7f8ec8d\t; comment\n\n",
                                    -1, NULL));
    Resolver *resolver = resolver_new(&options, NULL);
    assert_non_null(resolver);
    g_autoptr(DnsAnswer) answer = resolver_records(resolver, "example.org", DNS_MX, clock_ms() + 8000);
    assert_int_equal(answer->status, DNS_TEMPORARY);
    assert_int_equal(answer->records->len, 0);
    resolver_free(resolver);
    unlink(path);
}

static void bad_anchors_are_refused(void **state)
{
    static const char *const rows[] = {"", "; nothing\n", ". IN DS what\n"};
    g_autofree char *path = NULL;
    int fd = g_file_open_tmp("anchor-XXXXXX", &path, NULL);
    ResolverOptions options = {
        .servers = live.address, .hosts_file = hosts_file, .timeout = TIMEOUT_S, .trust_anchor = path};

    close(fd);
    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autoptr(GError) error = NULL;
        assert_true(g_file_set_contents(path, rows[i], -1, NULL));
        assert_null(resolver_new(&options, &error));
        assert_non_null(strstr(error->message, "DNS trust anchor"));
    }
    unlink(path);
    assert_null(resolver_new(&options, NULL));
}

/* --- options --- */

static void bad_servers_are_refused(void **state)
{
    static const char *const rows[] = {"localhost",       "127.0.0.1@0",  "127.0.0.1@x",
                                       "127.0.0.1@65536", "127.0.0.1, x", "@53"};

    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        ResolverOptions options = {.servers = rows[i], .hosts_file = hosts_file, .timeout = 1};
        g_autoptr(GError) error = NULL;
        assert_null(resolver_new(&options, &error));
        assert_non_null(strstr(error->message, "bad DNS server"));
    }
    ResolverOptions good = {.servers = " 127.0.0.1  ::1@5353,192.0.2.1 ", .hosts_file = "/nonexistent", .timeout = 1};
    Resolver *resolver = resolver_new(&good, NULL);
    assert_non_null(resolver);
    resolver_free(resolver);
    ResolverOptions system = {.servers = "", .hosts_file = "/etc/hosts", .timeout = 1};
    resolver = resolver_new(&system, NULL);
    assert_non_null(resolver);
    resolver_free(resolver);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_verified),
        cmocka_unit_test(many_ask_at_once),
        cmocka_unit_test(a_dead_server_is_a_temporary_error_in_time),
        cmocka_unit_test(a_name_that_cannot_be_checked_in_time_is_told),
        cmocka_unit_test(a_cancelled_query_is_never_answered),
        cmocka_unit_test(hosts_resolve_without_a_scheduler),
        cmocka_unit_test(threads_share_a_resolver_without_a_scheduler),
        cmocka_unit_test(the_taking_of_answers_is_handed_over),
        cmocka_unit_test(hosts_resolve_behind_a_gate),
        cmocka_unit_test(a_dead_server_holds_no_thread_longer_than_asked),
        cmocka_unit_test(records_are_found_by_threads),
        cmocka_unit_test(records_are_found_by_tasks),
        cmocka_unit_test(records_of_a_dead_server_are_a_temporary_error_in_time),
        cmocka_unit_test(what_is_not_proved_is_a_temporary_error),
        cmocka_unit_test(bad_anchors_are_refused),
        cmocka_unit_test(bad_servers_are_refused),
    };
    signal(SIGPIPE, SIG_IGN); /* as in every service process */
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
