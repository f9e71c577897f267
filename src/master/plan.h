/* plan.h - main.cf and master.cf, read and checked as a whole: what is to run. Nothing is started, bound or changed
 * here, so `check` uses it too. */
#pragma once
#include "config/config.h"
#include "config/master_cf.h"
#include "master/programs.h"

/* A line of master.cf that becomes a process. */
typedef struct {
    const Service *line; /* the plan's */
    const Program *program;
    char *syslog_name; /* as this line sees it */
} PlanService;

typedef struct {
    char *config_dir; /* absolute */
    MainCf *main_cf;
    Config *config;       /* main.cf as the master sees it */
    char *owner_override; /* "mail_owner=postfix" where that is not set and the directories are Postfix's; else NULL */
    GPtrArray *lines;     /* Service: all of master.cf */
    GPtrArray *services;  /* PlanService: those that become processes, in their order */
} Plan;

/* Three steps, since whoever reports a failure wants to know of main.cf as much as there is to know, to find the log.
 * NULL or false: error is what stands after "fatal: ". Warnings are logged. */
Plan *plan_new(const char *dir, GError **error);   /* reads DIR/main.cf: config, lines and services are NULL */
bool plan_read_config(Plan *plan, GError **error); /* config: main.cf's values, checked */
/* lines and services: master.cf, and every service's view of the values, so that no process can find a bad one later.
 */
bool plan_read_services(Plan *plan, GError **error);
/* What a line's views are made with: our override, then the line's. Unref it; the strings are the plan's. */
GPtrArray *plan_overrides(const Plan *plan, const Service *line);
void plan_free(Plan *plan);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Plan, plan_free)
