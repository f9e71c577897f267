/* xforward_fuzz.c - a command from any octets; what was accepted is then sent on, and must be accepted as the same
 * there. */
#include "smtp/xforward.h"

#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    g_autofree char *line = g_strndup((const char *)data, size);
    XfAttrs attrs = {0}, again = {0};
    g_autofree char *warning = NULL;
    unsigned offered = (1u << 7) - 1;

    g_strdelimit(line, "\r\n", ' ');
    g_autofree char *xclient = xforward_command_parse(line, true, true, true, &attrs);
    g_assert(xclient || attrs.given != 0);
    xf_attrs_clear(&attrs);
    g_autofree char *reply = xforward_command_parse(line, false, true, true, &attrs);
    g_assert(!reply || (g_str_has_prefix(reply, "501 5.5.4 ") && !strpbrk(reply, "\r\n\t\001\177")));
    g_assert(reply || attrs.given != 0);
    xforward_offer_in(line);

    g_autoptr(GPtrArray) commands = xforward_commands(&attrs, offered, &warning);
    g_autofree char *refusal = NULL;
    for (guint i = 0; i < commands->len && !refusal; i++) {
        g_assert(!strpbrk(commands->pdata[i], "\r\n"));
        refusal = xforward_command_parse(commands->pdata[i], false, true, true, &again);
    }
    if (refusal) /* an encoded value may be three times as long */
        g_assert(g_str_equal(refusal, "501 5.5.4 Error: attribute value too long"));
    for (int i = 0; i < XF_COUNT && !refusal; i++)
        g_assert(offered & 1u << i ? g_str_equal(attrs.value[i] ? attrs.value[i] : "", again.value[i])
                                   : !again.value[i]);
    xf_attrs_clear(&attrs);
    xf_attrs_clear(&again);
    return 0;
}
