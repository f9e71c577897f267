/* quarantine_hops.c - TLS towards the next hops of filters. */
#include "cli/quarantine_hops.h"
#include "config/master_cf.h"

#include <string.h>

struct QuarantineHops {
    HopTls *other;       /* for who is no filter's next hop */
    GHashTable *filters; /* HopTls, or NULL for none, by filter_nexthop */
};

static void free_tls(void *tls)
{
    hop_tls_free(tls);
}

static void add(QuarantineHops *hops, const char *nexthop, HopTls *tls)
{
    if (g_hash_table_contains(hops->filters, nexthop) &&
        hop_tls_level(g_hash_table_lookup(hops->filters, nexthop)) >= hop_tls_level(tls))
        hop_tls_free(tls);
    else
        g_hash_table_insert(hops->filters, g_strdup(nexthop), tls);
}

static bool add_filter(QuarantineHops *hops, const MainCf *main_cf, const Service *line, GError **error)
{
    const ConfigScope scope = {
        .process_name = line->command, .service_name = line->name, .stress = "", .overrides = line->overrides};
    g_autoptr(Config) view = config_new(main_cf, &scope, error);
    HopTls *tls = NULL;

    if (!view || !hop_tls_open(view, "filter_tls_security_level", &tls, error)) {
        g_prefix_error(error, "master.cf: line %d: ", line->line);
        return false;
    }
    add(hops, config_string(view, "filter_nexthop"), tls);
    return true;
}

QuarantineHops *quarantine_hops_open(const char *config_dir, const Config *config, GError **error)
{
    g_autoptr(MainCf) main_cf = main_cf_read(config_dir, error);
    g_autoptr(GPtrArray) lines = main_cf ? master_cf_read(config_dir, config, error) : NULL;
    QuarantineHops *hops = g_new0(QuarantineHops, 1);

    hops->filters = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, free_tls);
    bool good = lines && hop_tls_open(config, "filter_tls_security_level", &hops->other, error);
    for (guint i = 0; good && i < lines->len; i++) {
        const Service *line = g_ptr_array_index(lines, i);
        good = strcmp(line->command, "filter") != 0 || add_filter(hops, main_cf, line, error);
    }
    if (good)
        return hops;
    quarantine_hops_free(hops);
    return NULL;
}

void quarantine_hops_free(QuarantineHops *hops)
{
    if (!hops)
        return;
    hop_tls_free(hops->other);
    g_hash_table_unref(hops->filters);
    g_free(hops);
}

const HopTls *quarantine_hops_find(const void *user, const char *nexthop)
{
    const QuarantineHops *hops = user;
    void *tls;

    return g_hash_table_lookup_extended(hops->filters, nexthop, NULL, &tls) ? tls : hops->other;
}
