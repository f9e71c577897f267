/* maildir.h - a message into a Maildir, so that a crash at any point neither loses nor doubles it.
 *
 * Written in tmp/, synced, moved into new/, new/ synced: only then is it delivered. The name derives from the message's
 * key and the recipient's number, so that a later attempt finds what an earlier one left, in new/ or (flags cut off) in
 * cur/. */
#pragma once
#include "spool/spool_message.h"

typedef enum {
    MAILDIR_ERROR_SYSTEM, /* text: "create maildir file P: why" */
    MAILDIR_ERROR_FULL,   /* the disk is */
    MAILDIR_ERROR_QUOTA,
    MAILDIR_ERROR_TOO_LARGE, /* than the limit, or the system's */
    MAILDIR_ERROR_MESSAGE,   /* the message cannot be read */
    MAILDIR_ERROR_CORRUPT,   /* it does not match its checksum */
} MaildirError;
#define MAILDIR_ERROR (maildir_error_quark())
GQuark maildir_error_quark(void);

typedef struct {
    const SpoolMessage *message;
    guint number;        /* of the recipient */
    const char *headers; /* go above the content, LF ends */
    bool again;          /* an earlier attempt is possible */
    guint64 limit;       /* octets of the file; 0: none */
    const char *host;    /* for the file's name */
} MaildirMail;

/* directory ends in '/'; it and tmp/, new/, cur/ are made when missing (mode 0700). The calling process must be the
 * mailbox's user. */
bool maildir_deliver(const char *directory, const MaildirMail *mail, GError **error);
