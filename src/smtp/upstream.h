/* upstream.h - the header by which a proxy in front of an SMTP server (haproxy and others) says who its client is:
 * PROXY protocol versions 1 and 2, as haproxy's proxy-protocol.txt has it and as Postfix takes it. A pure function of
 * octets.
 *
 *     PROXY TCP4 192.0.2.1 198.51.100.1 4711 25 CR LF                                   version 1
 *     CR LF CR LF NUL CR LF QUIT LF, 0x21, 0x11, length (16 bits), addresses, ports     version 2
 *
 * Version 1: TCP4 or TCP6 (any case); CR may be missing; further words are passed over; UNKNOWN is refused, as Postfix
 * does. Version 2: PROXY over TCP with IPv4 or IPv6, what follows the ports (TLVs) is skipped; LOCAL, whatever else it
 * says, means the proxy speaks for itself (a health check). An IPv6 address that is a mapped IPv4 address becomes that
 * one. */
#pragma once
#include <glib.h>
#include <stdbool.h>
#include <stddef.h>

#define UPSTREAM_HEADER_MAX 536 /* octets, with everything in it: what one TCP segment can always hold (RFC 879) */

typedef enum {
    UPSTREAM_MORE, /* so far so good: the header is not complete */
    UPSTREAM_DONE,
    UPSTREAM_BAD,
} UpstreamResult;

typedef struct {
    size_t len;             /* octets of the header: what follows is the client's */
    bool is_local;          /* the addresses of the connection count; the texts are empty */
    char addr[46], port[6]; /* canonical, as inet_ntop() writes them */
    char server_addr[46], server_port[6];
} UpstreamHeader;

/* data, len: all that has come so far. ipv4, ipv6: families that are enabled (inet_protocols); an address of another is
 * refused. DONE fills *ret. BAD sets *ret_why ("bad or missing client address"). */
UpstreamResult upstream_parse(const char *data, size_t len, bool ipv4, bool ipv6, UpstreamHeader *ret,
                              const char **ret_why);
/* Why a header that is not complete, and never will be, is none. */
const char *upstream_cut_short(const char *data, size_t len);
