/* master_cf_fuzz.c - master.cf as bytes, and the view that each of its services has. */
#include "base/log.h"
#include "config/findings.h"
#include "config/master_parse.h"

#include <fcntl.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static MainCf *main_cf;
    static Config *config;
    const ConfigScope scope = {.process_name = "master"};

    if (!config) {
        log_set_tag("x", "x");
        log_to_file(open("/dev/null", O_WRONLY | O_CLOEXEC), "x");
        main_cf = main_cf_parse("/x", "/x/main.cf", "", 0, NULL);
        config = config_new(main_cf, &scope, NULL);
    }
    g_autoptr(Lines) lines = lines_open_text("M", (const char *)data, size);
    g_autoptr(GPtrArray) services = master_cf_parse(lines, "M", config, NULL);
    for (guint i = 0; services && i < services->len; i++) {
        const Service *service = g_ptr_array_index(services, i);
        const ConfigScope own = {
            .process_name = service->command, .service_name = service->name, .overrides = service->overrides};
        if (service->overrides->len > 0)
            config_free(config_new(main_cf, &own, NULL));
    }
    if (services)
        findings_report(main_cf, services, NULL);
    return 0;
}
