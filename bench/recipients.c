/* recipients.c - clients that ask for one recipient each: EHLO, MAIL, RCPT and QUIT, waiting for every reply, then anew.
 *
 *     recipients PORT RECIPIENT CODE SESSIONS CLIENTS
 *
 * on 127.0.0.1, until so many sessions are over; CODE is what RCPT must get. Prints the 50th and 99th percentile of the time
 * from RCPT to its reply, in milliseconds. run.py compiles it. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { REPLY_MAX = 4096, SECONDS_MAX = 60, STACK_SIZE = 64 * 1024 };

static int port, wanted, sessions;
static const char *recipient;
static atomic_int begun;
static double *took; /* of each session, in milliseconds */

static void give_up(const char *why)
{
    fprintf(stderr, "recipients: %s\n", why);
    exit(1);
}

static double now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

/* Reads one reply, however many lines and pieces it comes in. */
static void expect(int fd, int code)
{
    char reply[REPLY_MAX];
    size_t len = 0;

    for (;;) {
        ssize_t got = recv(fd, reply + len, sizeof reply - 1 - len, 0);
        if (got <= 0)
            give_up("the server hung up, or was silent for too long");
        len += (size_t)got;
        reply[len] = '\0';
        if (reply[len - 1] != '\n')
            continue;
        reply[len - 1] = '\0';
        const char *last = strrchr(reply, '\n');
        last = last ? last + 1 : reply;
        if (strlen(last) > 3 && last[3] == '-') {
            reply[len - 1] = '\n';
            continue;
        }
        if (atoi(last) != code)
            give_up(last);
        return;
    }
}

static void say(int fd, const char *command, int code)
{
    if (send(fd, command, strlen(command), MSG_NOSIGNAL) < 0)
        give_up("the server hung up");
    expect(fd, code);
}

static int dial(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    struct timeval patience = {.tv_sec = SECONDS_MAX};
    int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) < 0)
        give_up("cannot connect");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    return fd;
}

static void *client(void *unused)
{
    char rcpt[512];
    int number;

    snprintf(rcpt, sizeof rcpt, "RCPT TO:<%s>\r\n", recipient);
    while ((number = begun++) < sessions) {
        int fd = dial();
        expect(fd, 220);
        say(fd, "EHLO client.test\r\n", 250);
        say(fd, "MAIL FROM:<a@client.test>\r\n", 250);
        double since = now_ms();
        say(fd, rcpt, wanted);
        took[number] = now_ms() - since;
        say(fd, "QUIT\r\n", 221);
        close(fd);
    }
    return unused;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
    if (argc != 6)
        give_up("need PORT RECIPIENT CODE SESSIONS CLIENTS");
    port = atoi(argv[1]);
    recipient = argv[2];
    wanted = atoi(argv[3]);
    sessions = atoi(argv[4]);
    int clients = atoi(argv[5]);
    pthread_t *threads = calloc((size_t)clients, sizeof *threads);
    pthread_attr_t attributes;
    took = calloc((size_t)sessions, sizeof *took);
    if (sessions < 1 || clients < 1 || !threads || !took)
        give_up("bad numbers");
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK_SIZE);
    for (int i = 0; i < clients; i++)
        if (pthread_create(&threads[i], &attributes, client, NULL) != 0)
            give_up("no more threads");
    for (int i = 0; i < clients; i++)
        pthread_join(threads[i], NULL);
    qsort(took, (size_t)sessions, sizeof *took, compare);
    printf("%.3f %.3f\n", took[sessions / 2], took[sessions - 1 - sessions / 100]);
    return 0;
}
