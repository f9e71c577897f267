/* tls_client.c - a client that does with TLS 1.3 what no well-behaved one does; to a port of 127.0.0.1 where TLS comes
 * first.
 *
 *     tls_client PORT updates COUNT   changes its key again and again, without a word; prints how often it could
 *     tls_client PORT early TEXT      resumes a session and sends TEXT as early data, then QUIT inside the handshake;
 *                                     prints what became of the early data, and all that the server says */
#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { SECONDS_MAX = 30 };

static int port;

static void give_up(const char *why)
{
    fprintf(stderr, "tls_client: %s\n", why);
    ERR_print_errors_fp(stderr);
    exit(1);
}

static SSL *dial(SSL_CTX *context)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    struct timeval patience = {.tv_sec = SECONDS_MAX};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    SSL *ssl = SSL_new(context);

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0 || !ssl || connect(fd, (struct sockaddr *)&address, sizeof address) < 0)
        give_up("cannot connect");
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    SSL_set_fd(ssl, fd);
    return ssl;
}

static void hang_up(SSL *ssl)
{
    int fd = SSL_get_fd(ssl);

    SSL_free(ssl);
    close(fd);
}

/* Prints lines until one begins with that, or the end. */
static void read_until(SSL *ssl, const char *begin)
{
    char text[4096];
    size_t len;

    while (SSL_read_ex(ssl, text, sizeof text - 1, &len)) {
        text[len] = '\0';
        fputs(text, stdout);
        if (begin && strncmp(text, begin, strlen(begin)) == 0)
            return;
    }
}

static void change_keys(SSL_CTX *context, int count)
{
    SSL *ssl = dial(context);
    int done = 0;

    if (SSL_connect(ssl) != 1)
        give_up("no handshake");
    while (done < count && SSL_key_update(ssl, SSL_KEY_UPDATE_NOT_REQUESTED) == 1 && SSL_do_handshake(ssl) == 1)
        done++;
    printf("%d\n", done);
    hang_up(ssl);
}

static void send_early(SSL_CTX *context, const char *text)
{
    static const char *const words[] = {"not sent", "rejected", "accepted"};
    SSL *ssl = dial(context);
    size_t len;

    if (SSL_connect(ssl) != 1)
        give_up("no handshake");
    read_until(ssl, "220 ");
    SSL_SESSION *session = SSL_get1_session(ssl);
    SSL_set_shutdown(ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    hang_up(ssl);
    if (!SSL_SESSION_is_resumable(session) || !SSL_SESSION_set_max_early_data(session, 16384))
        give_up("nothing to resume");
    ssl = dial(context);
    SSL_set_session(ssl, session);
    SSL_SESSION_free(session);
    if (!SSL_write_early_data(ssl, text, strlen(text), &len) || SSL_connect(ssl) != 1)
        give_up("no handshake with early data");
    printf("%s %s\n", SSL_session_reused(ssl) ? "resumed" : "new", words[SSL_get_early_data_status(ssl)]);
    read_until(ssl, "220 ");
    SSL_write(ssl, "QUIT\r\n", 6);
    read_until(ssl, NULL);
    hang_up(ssl);
}

int main(int argc, char **argv)
{
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());

    if (argc != 4 || !context)
        give_up("need PORT, what to do, and a word for it");
    signal(SIGPIPE, SIG_IGN);
    SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION);
    port = atoi(argv[1]);
    if (strcmp(argv[2], "updates") == 0)
        change_keys(context, atoi(argv[3]));
    else if (strcmp(argv[2], "early") == 0)
        send_early(context, argv[3]);
    else
        give_up("what to do?");
    SSL_CTX_free(context);
    return 0;
}
