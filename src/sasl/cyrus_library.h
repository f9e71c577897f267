/* cyrus_library.h - what is one for a process: libsasl2, its configuration and plugins. */
#pragma once
#include "sasl/cyrus.h"

#include <sasl/sasl.h>

#define CYRUS_BAD_BASE64 (-1000) /* besides the library's own codes */

typedef struct {
    CyrusOptions options;
    GPtrArray *mechanisms; /* of SaslMechanism */
    GHashTable *plugins;   /* all that plugins have, by name */
    Endpoint *saslauthd;   /* NULL: pwcheck_method does not name it */
    char *methods;         /* pwcheck_method without it; NULL: as configured */
} CyrusLibrary;

const CyrusLibrary *cyrus_library(void); /* after cyrus_open() */
/* What its configuration says of an option. */
const char *cyrus_configured(const char *option, const char *preset);
/* A new connection of the library. callbacks outlive it. policy NULL: none. Returns a code of the library. */
int cyrus_connect(const sasl_callback_t *callbacks, const SaslPolicy *policy, sasl_conn_t **ret_connection);
