/* doubles.c - domains that are listed in two classes: what becomes of their mail depends on the order of the classes,
 * which nobody who lists them twice has in mind. */
#include "base/log.h"
#include "route/private.h"

#define DOMAINS_MAX 1000 /* that are remembered */

/* Whether it is the first time that domain is asked about. */
static bool is_new(Doubles *doubles, const char *domain)
{
    pthread_mutex_lock(&doubles->lock);
    if (g_hash_table_size(doubles->domains) >= DOMAINS_MAX)
        g_hash_table_remove_all(doubles->domains);
    bool added = g_hash_table_add(doubles->domains, g_ascii_strdown(domain, -1));
    pthread_mutex_unlock(&doubles->lock);
    return added;
}

void route_warn_of_doubles(const Route *route, const char *domain, AddressClass class)
{
    const struct {
        const char *name;
        const MatchList *list;
        MatchResult (*match)(const MatchList *list, const char *domain);
        bool is_besides_local; /* relay_domains may name what is local */
    } lists[] = {
        [CLASS_LOCAL] = {"mydestination", route->mydestination, match_string, true},
        [CLASS_VIRTUAL_ALIAS] = {"virtual_alias_domains", route->virtual_alias_domains, match_string, true},
        [CLASS_VIRTUAL_MAILBOX] = {"virtual_mailbox_domains", route->virtual_mailbox_domains, match_string, true},
        [CLASS_RELAY] = {"relay_domains", route->relay_domains, match_domain, false},
    };

    if (!domain || class >= CLASS_RELAY || !is_new(route->doubles, domain))
        return;
    for (AddressClass other = class + 1; other <= CLASS_RELAY; other++)
        if ((class != CLASS_LOCAL || lists[other].is_besides_local) && !match_list_blocks(lists[other].list) &&
            lists[other].match(lists[other].list, domain) == MATCH_YES)
            log_warning("do not list domain %s in BOTH %s and %s", domain, lists[class].name, lists[other].name);
}

Doubles *route_doubles_new(void)
{
    Doubles *doubles = g_new0(Doubles, 1);

    pthread_mutex_init(&doubles->lock, NULL);
    doubles->domains = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    return doubles;
}

void route_doubles_free(Doubles *doubles)
{
    if (!doubles)
        return;
    g_hash_table_unref(doubles->domains);
    pthread_mutex_destroy(&doubles->lock);
    g_free(doubles);
}
