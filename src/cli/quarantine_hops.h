/* quarantine_hops.h - TLS towards filters' next hops: a released message goes as its filter would have sent it. */
#pragma once
#include "config/config.h"
#include "smtp/hop_tls.h"

typedef struct QuarantineHops QuarantineHops;

/* Reads master.cf, and keys, so before root is given up. config: main.cf alone. NULL: error. */
QuarantineHops *quarantine_hops_open(const char *config_dir, const Config *config, GError **error);
void quarantine_hops_free(QuarantineHops *hops); /* NULL is fine */
/* Of the filter with that filter_nexthop; of several the one that asks for most; of none: what main.cf says. NULL: no
 * TLS. hops is a QuarantineHops. */
const HopTls *quarantine_hops_find(const void *hops, const char *nexthop);
