/* mailbox.c - lookups for virtual mailboxes. */
#include "delivery/mailbox.h"
#include "base/fail.h"
#include "base/log.h"
#include "mail/address.h"
#include "table/table.h"

#include <string.h>

struct Mailboxes {
    const char *base;
    const char *delimiters;
    guint64 minimum_uid;
    Tables *mailbox_maps, *uid_maps, *gid_maps;
};

Mailboxes *mailboxes_open(const Config *config, GError **error)
{
    gint64 limit = config_int(config, "virtual_mailbox_limit"),
           message_limit = config_int(config, "message_size_limit");

    if (limit > 0 && (message_limit == 0 || message_limit > limit)) {
        fail(error, "main.cf configuration error: virtual_mailbox_limit is smaller than message_size_limit");
        return NULL;
    }
    Mailboxes *mailboxes = g_new0(Mailboxes, 1);
    mailboxes->base = config_string(config, "virtual_mailbox_base");
    mailboxes->delimiters = config_string(config, "recipient_delimiter");
    mailboxes->minimum_uid = (guint64)config_int(config, "virtual_minimum_uid");
    if (!(mailboxes->mailbox_maps = tables_open(config_string(config, "virtual_mailbox_maps"), error)) ||
        !(mailboxes->uid_maps = tables_open(config_string(config, "virtual_uid_maps"), error)) ||
        !(mailboxes->gid_maps = tables_open(config_string(config, "virtual_gid_maps"), error)))
        return NULL; /* the process ends */
    return mailboxes;
}

void mailbox_clear(Mailbox *mailbox)
{
    g_clear_pointer(&mailbox->path, g_free);
}

static TableResult look_up(const Mailboxes *mailboxes, const Tables *tables, const char *address, char **ret_value)
{
    const AddressLookup how = {.delimiters = mailboxes->delimiters, .with_at_domain = true};
    g_autofree char *external = address_quote(address);
    TableResult result = tables_lookup_address(tables, external, &how, ret_value, NULL);

    /* Tables have addresses in the form that people write, but some have the other. */
    if (result == TABLE_ABSENT && strcmp(external, address) != 0)
        result = tables_lookup_address(tables, address, &how, ret_value, NULL);
    return result;
}

/* A uid or gid. 0 is nobody's mailbox. */
static bool find_number(const Mailboxes *mailboxes, const Tables *tables, const char *what, guint64 min,
                        const char *address, guint64 *ret_number)
{
    g_autofree char *value = NULL;

    switch (look_up(mailboxes, tables, address, &value)) {
    case TABLE_FOUND:
        if (g_ascii_string_to_unsigned(value, 10, MAX(min, 1), G_MAXUINT32 - 1, ret_number, NULL))
            return true;
        log_warning("recipient %s: bad %s %s in virtual_%s_maps", address, what, value, what);
        return false;
    case TABLE_ABSENT:
        log_warning("recipient %s: not found in virtual_%s_maps", address, what);
        return false;
    case TABLE_FAILED:
        break; /* logged */
    }
    return false;
}

/* One place outside the base is refused although tables are the administrator's: parts of addresses get into them by
 * patterns. */
static bool path_is_safe(const char *path)
{
    return path[0] == '/' && !strstr(path, "/../") && !g_str_has_suffix(path, "/..") && strlen(path) < 4000 &&
           !strchr(path, '\n');
}

MailboxResult mailbox_find(const Mailboxes *mailboxes, const char *address, Mailbox *ret_mailbox)
{
    g_autofree char *folded = address_fold(address);
    g_autofree char *value = NULL;
    guint64 uid, gid;

    switch (look_up(mailboxes, mailboxes->mailbox_maps, folded, &value)) {
    case TABLE_ABSENT:
        return MAILBOX_UNKNOWN;
    case TABLE_FAILED:
        return MAILBOX_BAD_CONFIG;
    case TABLE_FOUND:
        break;
    }
    g_autofree char *path = g_strconcat(mailboxes->base, "/", value, NULL);
    if (!path_is_safe(path)) {
        log_warning("recipient %s: bad mailbox path %s: check virtual_mailbox_base and virtual_mailbox_maps", address,
                    path);
        return MAILBOX_BAD_CONFIG;
    }
    if (!g_str_has_suffix(path, "/")) {
        log_warning("recipient %s: %s is not a Maildir: only names that end in \"/\" are supported", address, path);
        return MAILBOX_BAD_CONFIG;
    }
    if (!find_number(mailboxes, mailboxes->uid_maps, "uid", mailboxes->minimum_uid, folded, &uid) ||
        !find_number(mailboxes, mailboxes->gid_maps, "gid", 1, folded, &gid))
        return MAILBOX_BAD_CONFIG;
    ret_mailbox->path = g_steal_pointer(&path);
    ret_mailbox->uid = (uid_t)uid;
    ret_mailbox->gid = (gid_t)gid;
    return MAILBOX_FOUND;
}
