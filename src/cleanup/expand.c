/* expand.c - virtual aliases and blind copies. */
#include "cleanup/expand.h"
#include "base/log.h"
#include "cleanup/rewrite.h"
#include "mail/address.h"
#include "mail/envelope_text.h"

#include <string.h>

/* Recipients on their way from one envelope into another. */
typedef struct {
    const Job *job;
    Envelope *out;
    GHashTable *seen;   /* of char *: what no_second() made of recipients; at most $duplicate_filter_limit */
    size_t text_octets; /* that the recipients take in the spool, about */
} Expansion;

/* False: there is such a recipient already. With enable_original_recipient, one who got it by two names gets it twice,
 * so that each name shows in a copy. The table is not keyed against chosen collisions: it is small by its limit. */
static bool is_first(Expansion *expansion, const Recipient *recipient)
{
    const Cleanup *cleanup = expansion->job->cleanup;
    g_autofree char *joined = cleanup->original_recipient
                                  ? g_strdup_printf("%s\n%u\n%s\n%s", recipient->dsn_orcpt ? recipient->dsn_orcpt : "",
                                                    recipient->notify, recipient->original, recipient->address)
                                  : g_strdup(recipient->address);
    char *key = address_fold(joined);

    if (g_hash_table_contains(expansion->seen, key)) {
        g_free(key);
        return false;
    }
    if (cleanup->duplicate_limit == 0 || g_hash_table_size(expansion->seen) < (guint64)cleanup->duplicate_limit)
        g_hash_table_add(expansion->seen, key);
    else
        g_free(key);
    return true;
}

static void add(Expansion *expansion, const char *address, const Recipient *from)
{
    Recipient candidate = {(char *)address, from->original, from->dsn_orcpt, from->notify};

    if (strcmp(address, from->original) == 0)
        candidate.original = (char *)"";
    if (!is_first(expansion, &candidate))
        return;
    Recipient *recipient = envelope_add(expansion->out, address);
    g_free(recipient->original);
    recipient->original = g_strdup(candidate.original);
    recipient->dsn_orcpt = g_strdup(from->dsn_orcpt);
    recipient->notify = from->notify;
    size_t octets = strlen(address) + strlen(candidate.original) + (from->dsn_orcpt ? strlen(from->dsn_orcpt) : 0);
    expansion->text_octets += 3 * octets + 64; /* escapes take three octets; the keys */
}

static ExpandResult over_limit(const Expansion *expansion, const char *what, const char *address)
{
    log_warning_as("cleanup", "%s: unreasonable %s map %s for %s -- message not accepted, try again later",
                   expansion->job->id, expansion->job->cleanup->virtual_alias.name, what, address);
    return EXPAND_LIMIT;
}

static ExpandResult result_too_long(const Expansion *expansion, const char *result, const char *address)
{
    log_warning_as(
        "cleanup",
        "%s: unreasonable %s result %.300s... in %s map expansion for %s -- message not accepted, try again later",
        expansion->job->id, expansion->job->cleanup->virtual_alias.name, result,
        expansion->job->cleanup->virtual_alias.name, address);
    return EXPAND_LIMIT;
}

static bool holds_address(const GPtrArray *results, const char *address)
{
    for (guint i = 0; i < results->len; i++)
        if (address_equal(g_ptr_array_index(results, i), address))
            return true;
    return false;
}

/* The first of results takes the place of list[i], unless that stays; the others go to the list's end. */
static void place(GPtrArray *list, guint i, const GPtrArray *results, bool stays)
{
    g_autofree char *old = g_strdup(g_ptr_array_index(list, i));

    for (guint n = 0; n < results->len; n++) {
        char *result = g_strdup(g_ptr_array_index(results, n));
        if (stays && address_equal(result, old)) {
            g_free(result);
        } else if (!stays && n == 0) {
            g_free(list->pdata[i]);
            list->pdata[i] = result;
        } else {
            g_ptr_array_add(list, result);
        }
    }
}

/* Follows list[i] until it has no entry; what else the entries name goes to the list's end. An entry that names its own
 * key means the mailbox of that name, and ends the way. */
static ExpandResult follow(const Expansion *expansion, GPtrArray *list, guint i, const char *original)
{
    const Cleanup *cleanup = expansion->job->cleanup;

    for (gint64 depth = 0;; depth++) {
        bool failed;
        const char *address = g_ptr_array_index(list, i);
        if (strlen(address) > (size_t)cleanup->alias_length_limit)
            return result_too_long(expansion, address, original);
        if (depth >= cleanup->alias_recursion_limit)
            return over_limit(expansion, "nesting", original);
        g_autoptr(GPtrArray) results = rewrite_lookup(expansion->job, &cleanup->virtual_alias, address, &failed);
        if (!results)
            return failed ? EXPAND_FAILED : EXPAND_DONE;
        if (list->len + results->len - 1 > (guint64)cleanup->alias_expansion_limit)
            return over_limit(expansion, "expansion size", original);
        bool is_final = holds_address(results, address);
        place(list, i, results, is_final);
        if (is_final)
            return EXPAND_DONE;
    }
}

static ExpandResult expand_aliases(Expansion *expansion, const char *address, const Recipient *from)
{
    g_autoptr(GPtrArray) list = g_ptr_array_new_with_free_func(g_free);

    g_ptr_array_add(list, g_strdup(address));
    if (expansion->job->mappings && !tables_is_empty(expansion->job->cleanup->virtual_alias.tables)) {
        for (guint i = 0; i < list->len; i++) {
            ExpandResult result = follow(expansion, list, i, address);
            if (result != EXPAND_DONE)
                return result;
        }
    }
    for (guint i = 0; i < list->len; i++)
        add(expansion, g_ptr_array_index(list, i), from);
    return expansion->text_octets < ENVELOPE_TEXT_MAX ? EXPAND_DONE : over_limit(expansion, "expansion size", address);
}

/* address: of a copy, complete or not. Nobody is told when it cannot be delivered. */
static ExpandResult add_copy(Expansion *expansion, const char *address)
{
    g_autofree char *rewritten = rewrite_address(expansion->job, ROLE_ENVELOPE_RECIPIENT, address);
    const Recipient from = {.original = (char *)"", .notify = DSN_NOTIFY_NEVER};

    return rewritten ? expand_aliases(expansion, rewritten, &from) : EXPAND_FAILED;
}

static ExpandResult add_mapped_copy(Expansion *expansion, const AddressMaps *maps, const char *address)
{
    bool failed;
    g_autoptr(GPtrArray) copies = address[0] ? rewrite_lookup(expansion->job, maps, address, &failed) : NULL;

    if (!copies)
        return address[0] && failed ? EXPAND_FAILED : EXPAND_DONE;
    return add_copy(expansion, g_ptr_array_index(copies, 0));
}

static ExpandResult take_recipient(Expansion *expansion, const Recipient *recipient)
{
    const Job *job = expansion->job;
    g_autofree char *address = rewrite_address(job, ROLE_ENVELOPE_RECIPIENT, recipient->address);
    Recipient from = *recipient;

    if (!address)
        return EXPAND_FAILED;
    if (!from.original || !from.original[0])
        from.original = recipient->address;
    ExpandResult result = expand_aliases(expansion, address, &from);
    if (result == EXPAND_DONE && job->mappings && !job->probe)
        result = add_mapped_copy(expansion, &job->cleanup->recipient_bcc, address);
    return result;
}

static ExpandResult add_copies(Expansion *expansion, const Envelope *envelope)
{
    const Cleanup *cleanup = expansion->job->cleanup;
    ExpandResult result = EXPAND_DONE;

    if (!expansion->job->mappings || expansion->job->probe)
        return EXPAND_DONE;
    if (cleanup->always_bcc[0])
        result = add_copy(expansion, cleanup->always_bcc);
    if (result == EXPAND_DONE)
        result = add_mapped_copy(expansion, &cleanup->sender_bcc, envelope->sender ? envelope->sender : "");
    return result;
}

ExpandResult expand_recipients(const Job *job, Envelope *envelope)
{
    g_autoptr(Envelope) out = envelope_new();
    g_autoptr(GHashTable) seen = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    Expansion expansion = {.job = job, .out = out, .seen = seen};
    ExpandResult result = EXPAND_DONE;

    for (guint i = 0; i < envelope->recipients->len && result == EXPAND_DONE; i++)
        result = take_recipient(&expansion, g_ptr_array_index(envelope->recipients, i));
    if (result == EXPAND_DONE)
        result = add_copies(&expansion, envelope);
    GPtrArray *expanded = out->recipients;
    out->recipients = envelope->recipients;
    envelope->recipients = expanded;
    return result;
}
