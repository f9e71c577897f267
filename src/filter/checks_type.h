/* checks_type.h - what data is, whatever it says of itself: libmagic, for many threads. */
#pragma once
#include <glib.h>

#define TYPE_OCTETS_MAX 65536 /* that are looked at */

/* Each thread that asks at the same time has a copy of libmagic's own state. */
typedef struct TypePool TypePool;
TypePool *type_pool_new(GError **error); /* NULL: there is no database */
void type_pool_free(TypePool *pool);     /* NULL is fine */
/* The MIME type of what begins with data, "application/x-dosexec". NULL: error. The caller frees. */
char *type_pool_ask(TypePool *pool, const char *data, size_t len, GError **error);
