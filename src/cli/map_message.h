/* map_message.h - the keys that a message on standard input has for header_checks(5) and body_checks(5): options -h, -b
 * and -m of postmap(1). */
#pragma once
#include <glib.h>
#include <stdbool.h>

typedef struct {
    bool headers; /* each header is a key, with its line ends */
    bool body;    /* each line of the body is one; the empty line in front of it, too */
    bool mime;    /* headers are also those of parts and attached messages; without it all that is body */
} MapMessage;

/* Calls each with every key until it returns false or the message ends. */
void map_message_keys(const MapMessage *wanted, bool (*each)(void *user, const char *key), void *user);
