/* quarantine_options.h - the words of `gatepost quarantine`. */
#pragma once
#include "quarantine/quarantine.h"

typedef enum {
    QUARANTINE_LIST = 1 << 0,
    QUARANTINE_SHOW = 1 << 1,
    QUARANTINE_RELEASE = 1 << 2,
    QUARANTINE_DELETE = 1 << 3,
    QUARANTINE_EXPIRE = 1 << 4
} QuarantineAction;

typedef struct {
    QuarantineAction action;
    GPtrArray *ids; /* of const char *, argv's; empty: filter says which */
    QuarantineFilter filter;
    bool filtered; /* a filter was given */
    bool all, json, content, raw, force;
    const char *nexthop; /* NULL: not given */
    const char *config_dir;
} QuarantineOptions;

/* now_us: what "2h" counts from. False: *ret_usage (caller frees) says what is wrong. */
bool quarantine_options_read(int argc, char **argv, gint64 now_us, QuarantineOptions *options, char **ret_usage);
void quarantine_options_clear(QuarantineOptions *options);
