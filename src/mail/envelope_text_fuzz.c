/* Whatever is read writes itself in the same way. */
#include "mail/envelope_text.h"

#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    g_autoptr(Envelope) envelope = envelope_from_text((const char *)data, size, NULL);
    if (!envelope)
        return 0;
    g_autoptr(GString) first = envelope_to_text(envelope);
    g_autoptr(Envelope) back = envelope_from_text(first->str, first->len, NULL);
    if (!back)
        abort();
    g_autoptr(GString) second = envelope_to_text(back);
    if (!g_string_equal(first, second))
        abort();
    return 0;
}
