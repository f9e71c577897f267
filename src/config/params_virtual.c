/* params_virtual.c - parameters: Virtual mailboxes. */
#include "config/param_rows.h"

const Param param_rows_virtual[] = {
    {"virtual_mailbox_domains", STRING, SUPPORTED, "$virtual_mailbox_maps", 0, 0, NULL, NULL,
     "Domains whose mail goes to virtual mailboxes"},
    {"virtual_mailbox_maps", STRING, SUPPORTED, "", 0, 0, NULL, NULL, "Tables from recipient to mailbox"},
    {"virtual_mailbox_base", STRING, SUPPORTED, "", 0, 0, NULL, NULL, "Directory of all virtual mailboxes"},
    {"virtual_uid_maps", STRING, SUPPORTED, "", 0, 0, NULL, NULL, "Tables from recipient to user id"},
    {"virtual_gid_maps", STRING, SUPPORTED, "", 0, 0, NULL, NULL, "Tables from recipient to group id"},
    {"virtual_minimum_uid", INT, SUPPORTED, "100", 1, 0, NULL, NULL, "Least user id"},
    {"virtual_mailbox_limit", INT, SUPPORTED, "51200000", 0, G_MAXINT64, NULL, NULL,
     "Octets of one mailbox; 0 for no limit"},
    {"virtual_mailbox_lock", WORDS, UNSUPPORTED, "fcntl, dotlock", 0, 0, "fcntl flock dotlock", NULL,
     "Locks of mailboxes that are files"},
    {"virtual_transport", STRING, SUPPORTED, "virtual", 0, 0, NULL, NULL, "Transport of virtual mailboxes"},
    {"virtual_delivery_status_filter", STRING, UNSUPPORTED, "$default_delivery_status_filter", 0, 0, NULL, NULL,
     "Table that replaces status codes"},
    {"pipe_delivery_status_filter", STRING, UNSUPPORTED, "$default_delivery_status_filter", 0, 0, NULL, NULL,
     "Table that replaces status codes of pipe"},
    {"default_delivery_status_filter", STRING, UNSUPPORTED, "", 0, 0, NULL, NULL,
     "Table that replaces status codes of all agents"},
};
const size_t param_count_virtual = G_N_ELEMENTS(param_rows_virtual);
