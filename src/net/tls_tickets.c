/* tls_tickets.c - the keys of session tickets, in shared memory. */
#include "net/tls_tickets.h"
#include "base/clock.h"
#include "base/fd.h"
#include "net/tls_private.h"

#include <errno.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define NAME_OCTETS 16
#define KEY_OCTETS 32

typedef struct {
    unsigned char name[NAME_OCTETS];
    unsigned char cipher[KEY_OCTETS], mac[KEY_OCTETS];
    gint64 made_ms; /* clock_ms(), of this boot; 0: there is none */
} TicketKey;

struct TlsTickets {
    pthread_mutex_t lock; /* of all processes; its holder may die */
    TicketKey keys[2];    /* the one that issues, and the one before */
};

bool tls_tickets_create(int *ret_fd)
{
    pthread_mutexattr_t attributes;
    int fd = memfd_create("gatepost tickets", MFD_CLOEXEC);

    if (fd < 0 || ftruncate(fd, sizeof(TlsTickets)) < 0) {
        fd_clear(&fd);
        return false;
    }
    TlsTickets *tickets = tls_tickets_map(fd);
    if (!tickets) {
        fd_clear(&fd);
        return false;
    }
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
    pthread_mutex_init(&tickets->lock, &attributes);
    pthread_mutexattr_destroy(&attributes);
    tls_tickets_unmap(tickets);
    *ret_fd = fd;
    return true;
}

TlsTickets *tls_tickets_map(int fd)
{
    TlsTickets *tickets = mmap(NULL, sizeof *tickets, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

    if (tickets == MAP_FAILED)
        return NULL;
    madvise(tickets, sizeof *tickets, MADV_DONTDUMP);
    return tickets;
}

void tls_tickets_unmap(TlsTickets *tickets)
{
    if (tickets)
        munmap(tickets, sizeof *tickets);
}

static bool enter(TlsTickets *tickets)
{
    int failure = pthread_mutex_lock(&tickets->lock);

    if (failure == EOWNERDEAD) { /* whoever died may have left half a key */
        OPENSSL_cleanse(tickets->keys, sizeof tickets->keys);
        pthread_mutex_consistent(&tickets->lock);
    }
    return failure == 0 || failure == EOWNERDEAD;
}

static bool make_key(TicketKey *key, gint64 now)
{
    if (RAND_bytes(key->name, sizeof key->name) != 1 || RAND_priv_bytes(key->cipher, sizeof key->cipher) != 1 ||
        RAND_priv_bytes(key->mac, sizeof key->mac) != 1)
        return false;
    key->made_ms = now;
    return true;
}

/* Forgets what is too old. life_ms: how long a key issues, and again as long it opens. */
static bool turn_over(TlsTickets *tickets, gint64 life_ms, gint64 now)
{
    TicketKey *keys = tickets->keys;

    if (!keys[0].made_ms || now >= keys[0].made_ms + life_ms) {
        keys[1] = keys[0];
        keys[0].made_ms = 0;
        if (!make_key(&keys[0], now))
            return false;
    }
    if (keys[1].made_ms && now >= keys[1].made_ms + 2 * life_ms)
        OPENSSL_cleanse(&keys[1], sizeof keys[1]);
    return true;
}

/* The key of that name, or with NULL the one that issues. False: there is none. */
static bool find_key(TlsTickets *tickets, const unsigned char *name, gint64 life_ms, TicketKey *ret_key, bool *ret_old)
{
    bool found = false;

    if (!enter(tickets))
        return false;
    bool ready = turn_over(tickets, life_ms, clock_ms());
    for (int i = 0; ready && i < (name ? 2 : 1) && !found; i++) {
        const TicketKey *key = &tickets->keys[i];
        found = key->made_ms && (!name || memcmp(key->name, name, NAME_OCTETS) == 0);
        if (found) {
            *ret_key = *key;
            *ret_old = i > 0;
        }
    }
    pthread_mutex_unlock(&tickets->lock);
    return found;
}

static bool set_keys(const TicketKey *key, const unsigned char *iv, EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac, int issue)
{
    OSSL_PARAM params[] = {OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, (void *)key->mac, sizeof key->mac),
                           OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, (char *)"SHA256", 0),
                           OSSL_PARAM_construct_end()};

    return EVP_CipherInit_ex(cipher, EVP_aes_256_cbc(), NULL, key->cipher, iv, issue) == 1 &&
           EVP_MAC_CTX_set_params(mac, params) == 1;
}

int tls_tickets_key(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac,
                    int issue)
{
    const Tls *tls = SSL_get_app_data(ssl);
    gint64 life_ms = (gint64)tls->context->session_time * 1000 / 2;
    TicketKey key;
    bool is_old = false;

    if (!find_key(tls->context->tickets, issue ? NULL : name, life_ms, &key, &is_old))
        return 0; /* no ticket, or a full handshake */
    bool good = !issue || RAND_bytes(iv, EVP_CIPHER_get_iv_length(EVP_aes_256_cbc())) == 1;
    good = good && set_keys(&key, iv, cipher, mac, issue);
    if (good && issue)
        memcpy(name, key.name, NAME_OCTETS);
    gint64 expires = (gint64)time(NULL) + (key.made_ms + 2 * life_ms - clock_ms()) / 1000;
    OPENSSL_cleanse(&key, sizeof key);
    if (!good)
        return -1;
    tls_log_ticket(tls, issue, expires);
    return is_old ? 2 : 1; /* 2: and a new ticket, please */
}
