/* tls_clients.c - clients that speak TLS, a connection for each of what they do.
 *
 *     tls_clients PORT KIND COUNT CLIENTS
 *
 * on 127.0.0.1, COUNT times, by CLIENTS at once. KIND is
 *     mail      STARTTLS with a full handshake, a message of 4096 octets
 *     plain     greeting, QUIT
 *     full      TLS first, full handshake; greeting, QUIT
 *     resumed   likewise, with a session that is resumed
 *     bare, bare-resumed   the handshake alone: no SMTP server is there
 *
 * tls.py compiles it. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { REPLY_MAX = 4096, SECONDS_MAX = 60, STACK_SIZE = 128 * 1024, OCTETS = 4096, LINE = 64 };

typedef struct {
    int fd;
    SSL *ssl; /* NULL: plaintext */
} Peer;

static const char *kind;
static int port, count;
static atomic_int begun;
static SSL_CTX *context;
static SSL_SESSION *session; /* to resume; NULL: none */
static char message[OCTETS + 100];

static void give_up(const char *why)
{
    fprintf(stderr, "tls_clients: %s\n", why);
    exit(1);
}

static bool is(const char *name)
{
    return strcmp(kind, name) == 0;
}

static Peer dial(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    struct timeval patience = {.tv_sec = SECONDS_MAX};
    Peer peer = {.fd = socket(AF_INET, SOCK_STREAM, 0)};
    int one = 1;

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (peer.fd < 0 || connect(peer.fd, (struct sockaddr *)&address, sizeof address) < 0)
        give_up("cannot connect");
    setsockopt(peer.fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    setsockopt(peer.fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    return peer;
}

static void secure(Peer *peer, SSL_SESSION *resumed)
{
    peer->ssl = SSL_new(context);
    SSL_set_fd(peer->ssl, peer->fd);
    if (resumed)
        SSL_set_session(peer->ssl, resumed);
    if (SSL_connect(peer->ssl) != 1)
        give_up("no handshake");
    if (resumed && !SSL_session_reused(peer->ssl))
        give_up("the session was not resumed");
}

static void hang_up(Peer *peer)
{
    if (peer->ssl) {
        SSL_shutdown(peer->ssl);
        SSL_free(peer->ssl);
    }
    close(peer->fd);
}

static void say(Peer *peer, const char *text)
{
    int len = (int)strlen(text);

    if ((peer->ssl ? SSL_write(peer->ssl, text, len) : (int)send(peer->fd, text, (size_t)len, MSG_NOSIGNAL)) != len)
        give_up("the server hung up");
}

/* Reads one reply, however many lines and pieces it comes in. */
static void expect(Peer *peer, int code)
{
    char reply[REPLY_MAX];
    int len = 0;

    for (;;) {
        int room = (int)sizeof reply - 1 - len;
        int got =
            peer->ssl ? SSL_read(peer->ssl, reply + len, room) : (int)recv(peer->fd, reply + len, (size_t)room, 0);
        if (got <= 0)
            give_up("the server hung up, or was silent for too long");
        len += got;
        reply[len] = '\0';
        if (reply[len - 1] != '\n')
            continue;
        reply[len - 1] = '\0';
        const char *last = strrchr(reply, '\n');
        last = last ? last + 1 : reply;
        if (atoi(last) != code)
            give_up(last);
        if (strlen(last) <= 3 || last[3] != '-')
            return;
        reply[len - 1] = '\n';
    }
}

static void ask(Peer *peer, const char *command, int code)
{
    say(peer, command);
    expect(peer, code);
}

static void send_mail(Peer *peer)
{
    expect(peer, 220);
    ask(peer, "EHLO client.test\r\n", 250);
    ask(peer, "STARTTLS\r\n", 220);
    secure(peer, NULL);
    ask(peer, "EHLO client.test\r\n", 250);
    ask(peer, "MAIL FROM:<a@client.test>\r\n", 250);
    ask(peer, "RCPT TO:<user@example.test>\r\n", 250);
    ask(peer, "DATA\r\n", 354);
    ask(peer, message, 250);
}

static void once(void)
{
    Peer peer = dial();

    if (is("mail"))
        send_mail(&peer);
    else if (!is("plain"))
        secure(&peer, session);
    if (strncmp(kind, "bare", 4) != 0) {
        if (!is("mail"))
            expect(&peer, 220);
        ask(&peer, "QUIT\r\n", 221);
    }
    hang_up(&peer);
}

static void *client(void *unused)
{
    while (begun++ < count)
        once();
    return unused;
}

static int keep_session(SSL *ssl, SSL_SESSION *made)
{
    SSL_SESSION_free(session);
    session = made;
    return 1;
}

/* A server that says nothing sends its tickets all the same: they are waited for a moment. */
static void get_session(void)
{
    struct timeval moment = {.tv_usec = 300000};
    Peer peer = dial();
    char octet;

    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(context, keep_session);
    secure(&peer, NULL);
    if (is("resumed")) {
        expect(&peer, 220);
        ask(&peer, "QUIT\r\n", 221);
    } else {
        setsockopt(peer.fd, SOL_SOCKET, SO_RCVTIMEO, &moment, sizeof moment);
        SSL_read(peer.ssl, &octet, 1);
    }
    hang_up(&peer);
    SSL_CTX_sess_set_new_cb(context, NULL);
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    if (!session)
        give_up("nothing to resume");
}

static void make_message(void)
{
    size_t at = (size_t)sprintf(message, "Subject: measured\r\n\r\n");

    for (; at < OCTETS; at += LINE) {
        memset(message + at, 'x', LINE);
        memcpy(message + at + LINE - 2, "\r\n", 2);
    }
    strcpy(message + at, ".\r\n");
}

int main(int argc, char **argv)
{
    if (argc != 5)
        give_up("need PORT KIND COUNT CLIENTS");
    port = atoi(argv[1]);
    kind = argv[2];
    count = atoi(argv[3]);
    int clients = atoi(argv[4]);
    pthread_t *threads = calloc((size_t)clients, sizeof *threads);
    pthread_attr_t attributes;
    context = SSL_CTX_new(TLS_client_method());
    if (count < 1 || clients < 1 || !threads || !context)
        give_up("bad numbers");
    signal(SIGPIPE, SIG_IGN);
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    make_message();
    if (is("resumed") || is("bare-resumed"))
        get_session();
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK_SIZE);
    for (int i = 0; i < clients; i++)
        if (pthread_create(&threads[i], &attributes, client, NULL) != 0)
            give_up("no more threads");
    for (int i = 0; i < clients; i++)
        pthread_join(threads[i], NULL);
    return 0;
}
