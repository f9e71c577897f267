/* check_slots.c - does the server behind a filter take as many connections as the servers before it may open through
 * it? Else some messages wait between the two until they time out. */
#include "base/log.h"
#include "cli/control.h"

#include <stdlib.h>
#include <string.h>

static Config *view_of(const Plan *plan, const Service *line)
{
    const ConfigScope scope = {
        .process_name = "smtpd", .service_name = line->name, .stress = "", .overrides = line->overrides};

    return strcmp(line->command, "smtpd") == 0 ? config_new(plan->main_cf, &scope, NULL) : NULL;
}

typedef struct {
    char *filter; /* the one that is used; NULL: none yet */
    bool several; /* then nobody can tell which server is behind which */
    int slots;    /* of all lines with it */
    bool unlimited;
} Before;

static void add_before(Before *before, const Service *line, const Config *view)
{
    const char *filter = config_string(view, "smtpd_proxy_filter");
    const char *limit = config_string(view, "smtpd_proxy_concurrency_limit");
    int slots = *limit != '\0' ? atoi(limit) : line->maxproc;

    if (*filter == '\0')
        return;
    before->several |= before->filter && strcmp(before->filter, filter) != 0;
    before->unlimited |= slots <= 0;
    before->slots += slots;
    if (!before->filter)
        before->filter = g_strdup(filter);
}

static void check_after(const Plan *plan, const Before *before, const Service *line, const Config *view)
{
    if (*config_string(view, "smtpd_proxy_filter") != '\0' ||
        *config_string(view, "smtpd_authorized_xforward_hosts") == '\0' || line->maxproc == 0)
        return;
    if (!before->unlimited && line->maxproc >= before->slots)
        return;
    g_autofree char *slots = before->unlimited ? g_strdup("any number of") : g_strdup_printf("%d", before->slots);
    log_warning("%s/master.cf: line %d: this server takes %d connections, but %s may come through filter %s",
                plan->config_dir, line->line, line->maxproc, slots, before->filter);
}

void check_slots(const Plan *plan)
{
    Before before = {NULL, false, 0, false};

    for (guint i = 0; i < plan->services->len; i++) {
        const Service *line = ((const PlanService *)g_ptr_array_index(plan->services, i))->line;
        g_autoptr(Config) view = view_of(plan, line);
        if (view)
            add_before(&before, line, view);
    }
    for (guint i = 0; before.filter && !before.several && i < plan->services->len; i++) {
        const Service *line = ((const PlanService *)g_ptr_array_index(plan->services, i))->line;
        g_autoptr(Config) view = view_of(plan, line);
        if (view)
            check_after(plan, &before, line, view);
    }
    g_free(before.filter);
}
