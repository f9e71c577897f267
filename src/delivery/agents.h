/* agents.h - the agents that there are: what each does with a delivery. */
#pragma once
#include "config/config.h"
#include "delivery/attempt.h"

typedef struct {
    const char *command; /* in master.cf */
    /* Before privileges are given up and before threads; the state is then constant, for all threads. service_name: as
     * in master.cf. NULL: error. */
    void *(*open)(const Config *config, const char *service_name, GError **error);
    /* Finishes every recipient. */
    void (*deliver)(const void *state, Attempt *attempt);
    /* What open would find wrong with the configuration, without a process of its own. NULL: nothing. */
    bool (*check)(const Config *config, GError **error);
} Agent;

extern const Agent discard_agent, error_agent, smtp_agent, virtual_agent;
