/* Whatever is parsed survives quoting and parsing again. */
#include "mail/address.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    g_autofree char *internal = address_parse_path((const char *)data, size, false);
    if (!internal)
        return 0;
    const char *domain = address_domain(internal);
    if (domain && (!address_domain_is_valid(domain, true) || internal[0] == '@'))
        return 0;
    g_autofree char *external = address_quote(internal);
    g_autofree char *again = address_parse_path(external, strlen(external), false);
    if (!again || strcmp(again, internal) != 0)
        abort();
    g_autofree char *folded = address_fold(internal);
    if (!folded)
        abort();
    g_autofree char *local = address_local_part(internal);
    address_extension(local, "+-");
    return 0;
}
