/* mailbox.h - whose a virtual mailbox is and where it lies: virtual_mailbox_base, virtual_mailbox_maps,
 * virtual_uid_maps, virtual_gid_maps (VIRTUAL_README). Looks into tables, never at mailboxes. */
#pragma once
#include "config/config.h"
#include <sys/types.h>

typedef struct Mailboxes Mailboxes; /* constant; any thread */

Mailboxes *mailboxes_open(const Config *config, GError **error);

typedef struct {
    char *path; /* absolute, ends in '/': a Maildir */
    uid_t uid;
    gid_t gid;
} Mailbox;
void mailbox_clear(Mailbox *mailbox);

typedef enum {
    MAILBOX_FOUND,
    MAILBOX_UNKNOWN,    /* no such user */
    MAILBOX_BAD_CONFIG, /* a table or value is wrong, or a table does not answer: logged */
} MailboxResult;
/* address: internal form. *ret_mailbox is set when FOUND; the caller clears it. */
MailboxResult mailbox_find(const Mailboxes *mailboxes, const char *address, Mailbox *ret_mailbox);
