/* tls_test.c - contexts and connections: two of ours speak to each other. */
#include "base/log.h"
#include "net/tls_private.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

static char *directory;

static char *path(const char *name)
{
    return g_build_filename(directory, name, NULL);
}

static void run(const char *format, ...) G_GNUC_PRINTF(1, 2);
static void run(const char *format, ...)
{
    g_autofree char *command = NULL;
    va_list args;

    va_start(args, format);
    command = g_strdup_vprintf(format, args);
    va_end(args);
    g_autofree char *whole = g_strdup_printf("cd %s && { %s ; } >/dev/null 2>&1", directory, command);
    assert_int_equal(system(whole), 0);
}

/* An authority, and certificates of it: "server" (server.example), "client", "other" (another authority's), "expired".
 */
static int make_certificates(void **state)
{
    static const char *const names[] = {"server", "client", "old"};

    signal(SIGPIPE, SIG_IGN);
    directory = g_dir_make_tmp("tls_test_XXXXXX", NULL);
    run("for i in ca otherca; do openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 9"
        " -subj /CN=$i -keyout $i.key -out $i.pem; done");
    for (size_t i = 0; i < G_N_ELEMENTS(names); i++)
        run("n=%s; openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=$n.example -keyout "
            "$n.key"
            " -out $n.csr; echo subjectAltName=DNS:$n.example >$n.ext;"
            " openssl x509 -req -in $n.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days %d -extfile $n.ext -out "
            "$n.pem;"
            " cat $n.key $n.pem >$n.chain",
            names[i], strcmp(names[i], "old") == 0 ? -1 : 9);
    run("openssl req -x509 -key otherca.key -days 9 -subj /CN=ca -out forged.pem;"
        " echo authorityKeyIdentifier=none >bare.ext;"
        " openssl x509 -req -in server.csr -CA ca.pem -CAkey ca.key -days 9 -extfile bare.ext -out bare.pem;"
        " cat server.key bare.pem forged.pem >forged.chain; cat server.key server.pem ca.pem >whole.chain");
    run("cat server.key server.pem otherca.pem >wrong.chain; cat client.key server.pem >mixed.chain; cp server.pem "
        "bare.chain;"
        " echo nothing >none.chain; openssl ec -in server.key -aes128 -passout pass:x -out secret.key;"
        " cat secret.key server.pem >secret.chain; cat server.key >lone.chain");
    return 0;
}

static int remove_certificates(void **state)
{
    run("rm -r %s", directory);
    g_free(directory);
    return 0;
}

static TlsOptions options_of(TlsRole role)
{
    return (TlsOptions){.role = role, .ciphers = "HIGH", .digest = "sha256", .verify_depth = 9, .session_time = 3600};
}

static TlsContext *context_of(const TlsOptions *options)
{
    g_autoptr(GError) error = NULL;
    TlsContext *context = tls_context_new(options, NULL, &error);

    if (error)
        print_error("%s\n", error->message);
    assert_non_null(context);
    return context;
}

typedef struct {
    int fds[2];
    Tls *server, *client;
} Pair;

static Pair pair_of(TlsContext *server, TlsContext *client)
{
    Pair pair;

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair.fds), 0);
    pair.server = tls_new(server, pair.fds[0], "client[127.0.0.1]");
    pair.client = tls_new(client, pair.fds[1], "server[127.0.0.1]");
    return pair;
}

static bool shake(Pair *pair)
{
    TlsStatus server = TLS_WANT_READ, client = TLS_WANT_READ;

    for (int i = 0; i < 20 && (server != TLS_DONE || client != TLS_DONE); i++) {
        if (client == TLS_WANT_READ || client == TLS_WANT_WRITE)
            client = tls_handshake(pair->client);
        if (server == TLS_WANT_READ || server == TLS_WANT_WRITE)
            server = tls_handshake(pair->server);
    }
    return server == TLS_DONE && client == TLS_DONE;
}

static void part(Pair *pair)
{
    tls_free(pair->server);
    tls_free(pair->client);
    close(pair->fds[0]);
    close(pair->fds[1]);
}

static void octets_go_both_ways(void **state)
{
    g_autofree char *chain = path("server.chain"), *ca = path("ca.pem");
    TlsOptions of_server = options_of(TLS_SERVER), of_client = options_of(TLS_CLIENT);
    char got[100];
    size_t len;

    of_server.chain_files = chain;
    of_client.ca_file = ca;
    g_autoptr(TlsContext) server = context_of(&of_server), client = context_of(&of_client);
    Pair pair = pair_of(server, client);
    tls_expect_names(pair.client, (const char *const[]){"server.example", NULL});
    assert_true(shake(&pair));
    assert_int_equal(tls_facts(pair.client)->peer, TLS_PEER_VERIFIED);
    assert_string_equal(tls_facts(pair.client)->peer_name, "server.example");
    assert_string_equal(tls_facts(pair.client)->issuer_name, "ca");
    assert_int_equal(strlen(tls_facts(pair.client)->cert_fingerprint), 95);
    assert_int_equal(tls_facts(pair.server)->peer, TLS_PEER_NONE);
    assert_string_equal(tls_facts(pair.server)->protocol, "TLSv1.3");
    g_autofree char *signatures = tls_facts_signatures(tls_facts(pair.server));
    assert_string_equal(signatures, " key-exchange X25519 server-signature ECDSA (prime256v1) server-digest SHA256");

    assert_int_equal(tls_read(pair.server, got, sizeof got, &len), TLS_WANT_READ);
    assert_int_equal(tls_peek(pair.server), TLS_WANT_READ);
    assert_int_equal(tls_write(pair.client, "hello", 5, &len), TLS_DONE);
    assert_int_equal(tls_peek(pair.server), TLS_DONE);
    assert_int_equal(tls_read(pair.server, got, sizeof got, &len), TLS_DONE);
    assert_memory_equal(got, "hello", 5);
    tls_close_notify(pair.server);
    assert_int_equal(tls_read(pair.client, got, sizeof got, &len), TLS_END);
    part(&pair);
}

/* Whoever reads finds it: who waits for octets, and who looks whether there are any. */
static void a_flood_of_messages_is_told(void **state)
{
    g_autofree char *chain = path("server.chain"), *file = path("log");
    TlsOptions of_server = options_of(TLS_SERVER), of_client = options_of(TLS_CLIENT);
    char octet;
    size_t len;

    of_server.chain_files = chain;
    g_autoptr(TlsContext) server = context_of(&of_server), client = context_of(&of_client);
    for (int peeks = 0; peeks < 2; peeks++) {
        g_autofree char *logged = NULL;
        Pair pair = pair_of(server, client);
        assert_true(shake(&pair));
        for (int i = 0; i <= TLS_ASIDES_MAX; i++) {
            assert_int_equal(SSL_key_update(pair.client->ssl, SSL_KEY_UPDATE_NOT_REQUESTED), 1);
            assert_int_equal(SSL_do_handshake(pair.client->ssl), 1);
        }
        log_to_file(open(file, O_RDWR | O_CREAT | O_TRUNC, 0600), "host");
        TlsStatus status = peeks ? tls_peek(pair.server) : tls_read(pair.server, &octet, 1, &len);
        assert_true(status == TLS_LOST || status == TLS_ERROR);
        log_to_file(open("/dev/null", O_WRONLY), "host");
        assert_true(g_file_get_contents(file, &logged, NULL, NULL));
        assert_non_null(strstr(logged, "warning: client[127.0.0.1]: too many TLS messages without data\n"));
        part(&pair);
    }
}

/* A reader that does not read: the writer is told to wait, and may give the same octets from elsewhere. */
static void a_full_connection_is_waited_for(void **state)
{
    g_autofree char *chain = path("server.chain");
    TlsOptions of_server = options_of(TLS_SERVER), of_client = options_of(TLS_CLIENT);
    enum { ALL = 4000000 };
    g_autofree char *data = g_malloc0(ALL), *copy = g_malloc0(ALL + 10);
    char got[20000];
    size_t sent = 0, read = 0, len;
    TlsStatus status;

    of_server.chain_files = chain;
    g_autoptr(TlsContext) server = context_of(&of_server), client = context_of(&of_client);
    Pair pair = pair_of(server, client);
    assert_true(shake(&pair));
    while ((status = tls_write(pair.server, data + sent, ALL - sent, &len)) == TLS_DONE)
        sent += len;
    assert_int_equal(status, TLS_WANT_WRITE);
    assert_in_range(sent, 1, ALL - 1);
    while (read < ALL) {
        if (tls_read(pair.client, got, sizeof got, &len) == TLS_DONE)
            read += len;
        if (sent < ALL && tls_write(pair.server, copy + sent, ALL - sent, &len) == TLS_DONE)
            sent += len;
    }
    assert_int_equal(sent, ALL);
    part(&pair);
}

static void a_lost_peer_is_told(void **state)
{
    g_autofree char *chain = path("server.chain");
    TlsOptions of_server = options_of(TLS_SERVER), of_client = options_of(TLS_CLIENT);
    char got[10];
    size_t len;

    of_server.chain_files = chain;
    g_autoptr(TlsContext) server = context_of(&of_server), client = context_of(&of_client);
    Pair pair = pair_of(server, client);
    assert_int_equal(write(pair.fds[1], "EHLO there\r\n", 12), 12);
    assert_int_equal(tls_handshake(pair.server), TLS_ERROR);
    assert_int_equal(tls_handshake(pair.server), TLS_ERROR);
    part(&pair);

    pair = pair_of(server, client);
    assert_int_equal(tls_handshake(pair.server), TLS_WANT_READ);
    shutdown(pair.fds[1], SHUT_RDWR);
    assert_int_equal(tls_handshake(pair.server), TLS_END);
    part(&pair);

    pair = pair_of(server, client);
    assert_true(shake(&pair));
    shutdown(pair.fds[1], SHUT_RDWR); /* without a word */
    assert_int_equal(tls_read(pair.server, got, sizeof got, &len), TLS_END);
    assert_true(tls_write(pair.server, "x", 1, &len) >= TLS_END);
    part(&pair);
}

static void clients_show_certificates(void **state)
{
    static const struct {
        const char *chain;
        TlsPeerStatus status;
        const char *name;
    } cases[] = {
        {"client.chain", TLS_PEER_TRUSTED, "client.example"},
        {"old.chain", TLS_PEER_UNTRUSTED, "old.example"},
        {NULL, TLS_PEER_NONE, ""},
    };
    g_autofree char *chain = path("server.chain"), *ca = path("ca.pem");
    TlsOptions of_server = options_of(TLS_SERVER);

    of_server.chain_files = chain;
    of_server.ca_file = ca;
    of_server.verify = TLS_VERIFY_ASK;
    g_autoptr(TlsContext) server = context_of(&of_server);
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        TlsOptions of_client = options_of(TLS_CLIENT);
        g_autofree char *own = cases[i].chain ? path(cases[i].chain) : NULL;
        of_client.chain_files = own;
        g_autoptr(TlsContext) client = context_of(&of_client);
        Pair pair = pair_of(server, client);
        assert_true(shake(&pair));
        assert_int_equal(tls_facts(pair.server)->peer, cases[i].status);
        assert_string_equal(tls_facts(pair.server)->peer_name, cases[i].name);
        assert_true((tls_facts(pair.server)->why_untrusted != NULL) == (cases[i].status == TLS_PEER_UNTRUSTED));
        part(&pair);
    }
}

static void names_and_fingerprints_verify(void **state)
{
    g_autofree char *chain = path("server.chain"), *ca = path("ca.pem"), *other = path("otherca.pem");
    const struct {
        const char *ca, *name;
        bool by_key;
        TlsPeerStatus status;
    } cases[] = {
        {ca, "server.example", false, TLS_PEER_VERIFIED},
        {ca, ".example", false, TLS_PEER_VERIFIED},
        {ca, "other.example", false, TLS_PEER_TRUSTED},
        {other, "server.example", false, TLS_PEER_UNTRUSTED},
        {other, "other.example", false, TLS_PEER_UNTRUSTED},
        {NULL, NULL, false, TLS_PEER_UNTRUSTED},
        {ca, NULL, false, TLS_PEER_TRUSTED},
        {NULL, NULL, true, TLS_PEER_VERIFIED},
    };
    TlsOptions of_server = options_of(TLS_SERVER);
    g_autofree char *key = NULL;

    of_server.chain_files = chain;
    g_autoptr(TlsContext) server = context_of(&of_server);
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        TlsOptions of_client = options_of(TLS_CLIENT);
        of_client.ca_file = cases[i].ca;
        g_autoptr(TlsContext) client = context_of(&of_client);
        Pair pair = pair_of(server, client);
        if (cases[i].name)
            tls_expect_names(pair.client, (const char *const[]){cases[i].name, NULL});
        if (cases[i].by_key)
            tls_expect_fingerprints(pair.client, (const char *const[]){"00:11", key, NULL});
        assert_true(shake(&pair));
        assert_int_equal(tls_facts(pair.client)->peer, cases[i].status);
        g_free(key);
        key = g_ascii_strdown(tls_facts(pair.client)->key_fingerprint, -1);
        part(&pair);
    }
}

/* From where the process can read them no more once it serves. */
static void authorities_are_read_at_once(void **state)
{
    enum { DIRECTORY, DEFAULT, ANCHORS, UNNAMED };
    static const TlsPeerStatus wanted[] = {TLS_PEER_VERIFIED, TLS_PEER_VERIFIED, TLS_PEER_VERIFIED, TLS_PEER_UNTRUSTED};
    g_autofree char *chain = path("server.chain"), *hashed = path("hashed"), *file = path("hashed/ca.pem");
    TlsOptions of_server = options_of(TLS_SERVER);

    of_server.chain_files = chain;
    g_autoptr(TlsContext) server = context_of(&of_server);
    for (int way = DIRECTORY; way <= UNNAMED; way++) {
        TlsOptions of_client = options_of(TLS_CLIENT);
        run("mkdir hashed; ln -s ../ca.pem hashed/ca.pem");
        if (way != UNNAMED)
            run("openssl rehash hashed");
        of_client.ca_path = way == DIRECTORY || way == UNNAMED ? hashed : NULL;
        of_client.default_ca = way == DEFAULT;
        setenv("SSL_CERT_DIR", hashed, 1);
        g_autoptr(TlsContext) client = context_of(&of_client);
        if (way == ANCHORS)
            assert_true(tls_context_keep_anchors(client, file, NULL));
        run("rm -r hashed");
        Pair pair = pair_of(server, client);
        tls_expect_names(pair.client, (const char *const[]){"server.example", NULL});
        if (way == ANCHORS)
            assert_true(tls_trust_only(pair.client, (const char *const[]){file, NULL}, NULL));
        else
            assert_false(tls_trust_only(pair.client, (const char *const[]){file, NULL}, NULL));
        assert_true(shake(&pair));
        assert_int_equal(tls_facts(pair.client)->peer, wanted[way]);
        part(&pair);
    }
    unsetenv("SSL_CERT_DIR");
}

static void sessions_are_resumed(void **state)
{
    g_autofree char *chain = path("server.chain"), *own = path("client.chain"), *ca = path("ca.pem");
    int fd;
    char got[10];
    size_t len;

    assert_true(tls_tickets_create(&fd));
    TlsTickets *tickets = tls_tickets_map(fd), *again = tls_tickets_map(fd);
    close(fd);
    for (int version = 0x303; version <= 0x304; version++) {
        TlsOptions of_server = options_of(TLS_SERVER), of_client = options_of(TLS_CLIENT);
        of_server.chain_files = chain;
        of_server.tickets = tickets;
        of_server.session_for = "one";
        of_server.verify = TLS_VERIFY_ASK;
        of_server.ca_file = ca;
        of_server.protocols.max = version;
        of_client.chain_files = own;
        g_autoptr(TlsContext) server = context_of(&of_server), client = context_of(&of_client);
        of_server.tickets = again; /* another process */
        g_autoptr(TlsContext) second = context_of(&of_server);
        of_server.session_for = "two"; /* another service: it may trust others */
        g_autoptr(TlsContext) stranger = context_of(&of_server);

        Pair pair = pair_of(server, client);
        assert_true(shake(&pair));
        assert_false(tls_facts(pair.server)->resumed);
        assert_int_equal(tls_read(pair.client, got, sizeof got, &len), TLS_WANT_READ);
        TlsSession *session = tls_take_session(pair.client);
        assert_non_null(session);
        part(&pair);

        pair = pair_of(second, client);
        tls_offer_session(pair.client, session);
        assert_true(shake(&pair));
        assert_true(tls_facts(pair.server)->resumed);
        assert_int_equal(tls_facts(pair.server)->peer, TLS_PEER_TRUSTED);
        assert_string_equal(tls_facts(pair.server)->peer_name, "client.example");
        part(&pair);

        pair = pair_of(stranger, client);
        tls_offer_session(pair.client, session);
        if (shake(&pair)) /* TLSv1.2 ends it with an alert, so that the client asks anew */
            assert_false(tls_facts(pair.server)->resumed);
        part(&pair);
        tls_session_free(session);
    }
    tls_tickets_unmap(tickets);
    tls_tickets_unmap(again);
}

/* ---- the keys of tickets turn over ---- */

static gint64 passed_ms; /* of the keys' clock; the library has its own */
gint64 __real_clock_ms(void);
gint64 __wrap_clock_ms(void);
gint64 __wrap_clock_ms(void)
{
    return __real_clock_ms() + passed_ms;
}

/* Whether the session was resumed. *session is replaced where the server gave a new ticket. */
static bool resume(TlsContext *server, TlsContext *client, TlsSession **session)
{
    Pair pair = pair_of(server, client);
    char got[10];
    size_t len;

    tls_offer_session(pair.client, *session);
    assert_true(shake(&pair));
    assert_int_equal(tls_read(pair.client, got, sizeof got, &len), TLS_WANT_READ);
    bool resumed = tls_facts(pair.server)->resumed;
    TlsSession *next = tls_take_session(pair.client);
    part(&pair);
    tls_session_free(*session);
    *session = next;
    return resumed;
}

/* session_time is 3600: a key issues for 1800 seconds, and opens for 1800 more. */
static void ticket_keys_turn_over(void **state)
{
    static const struct {
        int made_at, used_at; /* seconds after the first key was made */
        bool resumed;
        int again_at;
    } cases[] = {
        {0, 1790, true, 1790},    {1790, 1810, true, 3610}, /* the next key is in use, and has made a new ticket */
        {1790, 3590, true, 3610}, {1790, 3610, false, 3610},
        {1810, 3610, true, 3610}, {0, 99000, false, 99000}, /* nobody came in between */
    };
    g_autofree char *chain = path("server.chain");
    int fd;

    for (int version = 0x303; version <= 0x304; version++)
        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
            TlsOptions of_server = options_of(TLS_SERVER), of_client = options_of(TLS_CLIENT);
            TlsSession *first = NULL, *session = NULL;
            passed_ms = 0;
            assert_true(tls_tickets_create(&fd));
            of_server.chain_files = chain;
            of_server.tickets = tls_tickets_map(fd);
            of_server.protocols.max = version;
            close(fd);
            g_autoptr(TlsContext) server = context_of(&of_server), client = context_of(&of_client);
            assert_false(resume(server, client, &first)); /* makes the key */
            passed_ms = cases[i].made_at * 1000;
            assert_false(resume(server, client, &session));
            passed_ms = cases[i].used_at * 1000;
            if (resume(server, client, &session) != cases[i].resumed)
                fail_msg("version %x: made at %d, used at %d", version, cases[i].made_at, cases[i].used_at);
            passed_ms = cases[i].again_at * 1000;
            assert_true(resume(server, client, &session));
            tls_session_free(first);
            tls_session_free(session);
            tls_tickets_unmap(of_server.tickets);
        }
    passed_ms = 0;
}

/* ---- names ---- */

static char *find_chain(const void *user, const char *name, bool *ret_failed)
{
    char *text = NULL;

    *ret_failed = strcmp(name, "broken.example") == 0;
    if (strcmp(name, "client.example") == 0) {
        g_autofree char *file = path("client.chain");
        assert_true(g_file_get_contents(file, &text, NULL, NULL));
    }
    return strcmp(name, "bad.example") == 0 ? g_strdup("nothing") : text;
}

static void names_choose_certificates(void **state)
{
    static const struct {
        const char *asked, *got;
    } cases[] = {
        {"client.example", "client.example"},
        {"CLIENT.example", "client.example"},
        {"unknown.example", "server.example"},
        {"not a name", "server.example"},
        {NULL, "server.example"},
        {"broken.example", NULL},
        {"bad.example", NULL},
    };
    g_autofree char *chain = path("server.chain");
    TlsOptions of_server = options_of(TLS_SERVER), of_client = options_of(TLS_CLIENT);

    of_server.chain_files = chain;
    of_server.find_chain = find_chain;
    g_autoptr(TlsContext) server = context_of(&of_server), client = context_of(&of_client);
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        Pair pair = pair_of(server, client);
        if (cases[i].asked)
            assert_true(tls_set_server_name(pair.client, cases[i].asked));
        assert_int_equal(shake(&pair), cases[i].got != NULL);
        if (cases[i].got) {
            assert_string_equal(tls_facts(pair.client)->peer_name, cases[i].got);
            bool known = strcmp(cases[i].got, "client.example") == 0;
            assert_true((tls_facts(pair.server)->server_name != NULL) == known);
        }
        part(&pair);
    }
}

static void bad_files_are_refused(void **state)
{
    static const struct {
        const char *chain, *message;
    } cases[] = {
        {"wrong.chain",
         "wrong certificate chain in * \"server.example\" was not issued by \"otherca\", which follows it *"},
        {"forged.chain", "wrong certificate chain in * \"ca\", which follows it (certificate signature failure)"},
        {"mixed.chain", "the key in * is not that of the certificate in *"},
        {"bare.chain", "*bare.chain: a certificate without a key before it"},
        {"lone.chain", "the key in *lone.chain is not followed by its certificate"},
        {"none.chain", "*none.chain holds neither key nor certificate in PEM form"},
        {"absent.chain", "cannot open *absent.chain: No such file or directory"},
        {"secret.chain", "the key in *secret.chain has a pass phrase"},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        TlsOptions options = options_of(TLS_SERVER);
        g_autofree char *chain = path(cases[i].chain);
        g_autoptr(GError) error = NULL;
        options.chain_files = chain;
        assert_null(tls_context_new(&options, NULL, &error));
        if (!g_pattern_match_simple(cases[i].message, error->message))
            fail_msg("%s: %s", cases[i].chain, error->message);
    }
}

static void chains_are_checked_before_their_use(void **state)
{
    static const struct {
        const char *chain;
        bool good;
    } cases[] = {{"server.chain", true}, {"whole.chain", true}, {"old.chain", true},  {"forged.chain", false},
                 {"mixed.chain", false}, {"none.chain", false}, {"lone.chain", false}};

    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *chain = path(cases[i].chain), *text = NULL;
        g_autoptr(GError) error = NULL;
        assert_true(g_file_get_contents(chain, &text, NULL, NULL));
        assert_int_equal(tls_chain_check(text, chain, &error), cases[i].good);
        assert_true((error == NULL) == cases[i].good);
    }
}

static void pairs_of_files_are_read(void **state)
{
    g_autofree char *cert = path("server.pem"), *key = path("server.key"), *other = path("client.key");
    TlsOptions options = options_of(TLS_SERVER);
    g_autoptr(GError) error = NULL;

    options.pairs[1].cert_file = cert;
    options.pairs[1].key_file = key;
    g_autoptr(TlsContext) context = context_of(&options);
    g_autoptr(TlsContext) same = tls_context_new(&options, context, NULL);
    assert_ptr_equal(same, context);
    options.pairs[1].key_file = other;
    assert_null(tls_context_new(&options, context, &error));
    assert_true(g_pattern_match_simple("the key in * is not that of the certificate in *", error->message));
    options.pairs[1].key_file = cert;
    assert_null(tls_context_new(&options, NULL, NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(octets_go_both_ways),           cmocka_unit_test(a_full_connection_is_waited_for),
        cmocka_unit_test(a_lost_peer_is_told),           cmocka_unit_test(clients_show_certificates),
        cmocka_unit_test(names_and_fingerprints_verify), cmocka_unit_test(sessions_are_resumed),
        cmocka_unit_test(names_choose_certificates),     cmocka_unit_test(bad_files_are_refused),
        cmocka_unit_test(pairs_of_files_are_read),       cmocka_unit_test(chains_are_checked_before_their_use),
        cmocka_unit_test(ticket_keys_turn_over),         cmocka_unit_test(authorities_are_read_at_once),
        cmocka_unit_test(a_flood_of_messages_is_told),
    };

    return cmocka_run_group_tests(tests, make_certificates, remove_certificates);
}
