/* spawn_attributes.h - the words of a spawn line in master.cf (spawn(8)): user=NAME[:GROUP] and argv=COMMAND... */
#pragma once
#include "config/config.h"

typedef struct {
    char *user, *group; /* group NULL: the user's */
    char *program;      /* absolute path */
    char **argv;        /* NULL-terminated */
} SpawnAttributes;

/* mail_owner: whose rights no program may have, like root's. False: error, as Postfix words it; ret is then empty. */
bool spawn_attributes_parse(const GPtrArray *words, const char *mail_owner, SpawnAttributes *ret, GError **error);
void spawn_attributes_clear(SpawnAttributes *attributes);
