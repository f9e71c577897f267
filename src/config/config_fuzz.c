/* config_fuzz.c - main.cf as bytes, read, checked and searched; "$" expansion of all that is set. */
#include "config/findings.h"
#include "config/view.h"

#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    g_autoptr(MainCf) main_cf = main_cf_parse("/x", "/x/main.cf", (const char *)data, size, NULL);
    const ConfigScope scope = {.process_name = "smtpd", .service_name = "smtp"};

    if (!main_cf)
        return 0;
    config_free(config_new(main_cf, &scope, NULL));
    g_autoptr(Config) view = view_new_unchecked(main_cf, &scope, NULL);
    const GPtrArray *names = main_cf_names(main_cf);
    for (guint i = 0; view && i < names->len; i++) {
        const char *raw = view_raw(view, g_ptr_array_index(names, i));
        g_autofree char *text = raw ? config_expand(view, raw, NULL) : NULL;
        if (text)
            g_ptr_array_unref(config_split(text));
    }
    findings_report(main_cf, NULL, NULL);
    return 0;
}
