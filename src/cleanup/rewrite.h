/* rewrite.h - addresses of envelope and headers in the form that the rest of the system works with (ADDRESS_REWRITING_README): complete, canonical,
 * masqueraded. */
#pragma once
#include "cleanup/rules.h"

/* What one lookup of an address in maps gives: an array of complete addresses, never empty, or NULL when there is no entry. FAILED and refusals aside,
 * "@domain" as a result keeps the local part, and an extension that the key had and the entry has not goes on to the results where maps->propagates.
 * *ret_failed: a table did not answer, already logged with the message's id. */
GPtrArray *rewrite_lookup(const Job *job, const AddressMaps *maps, const char *address, bool *ret_failed);

/* The address in its role, rewritten; caller frees. "" stays "". NULL: a table did not answer, logged. */
char *rewrite_address(const Job *job, Role role, const char *address);
/* The same for headers that are not ours to complete: $remote_header_rewrite_domain instead of $myorigin. */
char *rewrite_remote_address(const Job *job, Role role, const char *address);
