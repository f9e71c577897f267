/* config_fuzz.c - main.cf as bytes, read, checked and searched; "$" expansion of all that is set. Where a view could be
 * made, no getter fails. */
#include "base/log.h"
#include "config/findings.h"
#include "config/params.h"
#include "config/view.h"

#include <fcntl.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void get(const Param *param, void *data)
{
    const Config *config = data;

    g_assert(config_string(config, param->name));
    if (param->type == PARAM_BOOL)
        config_bool(config, param->name);
    else if (param->type == PARAM_INT)
        g_assert(config_int(config, param->name) >= param->min);
    else if (param->type == PARAM_TIME)
        g_assert(config_seconds(config, param->name) >= param->min);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool quiet;

    if (!quiet) {
        log_set_tag("x", "x");
        log_to_file(open("/dev/null", O_WRONLY | O_CLOEXEC), "x");
        quiet = true;
    }
    g_autoptr(MainCf) main_cf = main_cf_parse("/x", "/x/main.cf", (const char *)data, size, NULL);
    const ConfigScope scope = {.process_name = "smtpd", .service_name = "smtp"};

    if (!main_cf)
        return 0;
    g_autoptr(Config) config = config_new(main_cf, &scope, NULL);
    if (config)
        params_each(get, config);
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
