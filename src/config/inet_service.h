/* inet_service.h - the name of an inet service in master.cf: port, host:port, [host]:port, [ipv6:ADDRESS]:port. */
#pragma once
#include <glib.h>
#include <stdbool.h>

typedef struct {
    char *host; /* no brackets, an address in its shortest form; NULL: none */
    guint16 port;
} InetService;

/* known_ports  the parameter known_tcp_ports
 *
 * False: error is worded as master(8) has it. Host names are not looked up. */
bool inet_service_parse(const char *name, const char *known_ports, InetService *ret_service, GError **error);

/* "25", "[127.0.0.1]:25". Caller frees. */
char *inet_service_canonical(const InetService *service);
