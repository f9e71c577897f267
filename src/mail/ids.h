/* ids.h - names of messages: the queue id that people and log tools see, and the key that is never used twice.
 *
 * A queue id has one of Postfix's two shapes, with random bits where Postfix has the inode number. It is unique only while its message lives,
 * and only because its file is made with O_EXCL: whoever makes one tries again with a new one when the name is taken. Both have the length that
 * mailq's columns are made for.
 *
 *   short   5 hexadecimal digits: microseconds within the second; 6 more: random (the first of them is never 0)      "71CBCA76164"
 *   long    base 52 (digits and consonants): seconds since 1970 (6 or more), microseconds (4); "z"; random in base 51  "4jXNL14QtWz1bgVh" */
#pragma once
#include <glib.h>
#include <stdbool.h>

#define ID_MAX 31 /* octets of the longest queue id */

char *id_new_short(gint64 wall_us); /* caller frees */
char *id_new_long(gint64 wall_us);  /* caller frees */
/* For ids that come from outside (a command line, a file name): letters and digits only, 6 to ID_MAX of them. Not whether such a message exists. */
bool id_is_valid(const char *id);
bool id_is_long(const char *id); /* of a valid id */

/* Never used again, on this machine or another. Maildir names, bounce ids and quarantine names derive from it. */
typedef struct {
    guint64 arrival_ns; /* since 1970 */
    guint64 random;
} MessageKey;

MessageKey message_key_new(void);
char *message_key_to_text(const MessageKey *key);                     /* two times 16 lower-case hexadecimal digits; caller frees */
bool message_key_from_text(const char *text, MessageKey *ret_key); /* exactly that form */

#define ID_SPOKEN_DIGITS "0123456789bcdfghjkmnpqrstvwxyz"
/* length random ones of these, up to 13: no vowels, so that none is a word; no l, which looks like 1; one case, so that it can be said on the
 * telephone. Caller frees. */
char *id_new_spoken(size_t length);

/* " trace=ID", for the end of a log line. An id from outside may be any text: here it is one word, and no part of it looks like the end of
 * something else. Caller frees. */
char *id_trace_note(const char *id);

guint64 random_bits(void); /* 64 from getrandom(2) */
