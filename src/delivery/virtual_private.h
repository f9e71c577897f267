/* virtual_private.h - what virtual's agent and its children do alike. */
#pragma once
#include "delivery/attempt.h"
#include "delivery/virtual.h"

void virtual_deliver_to(const VirtualOptions *options, Attempt *attempt, guint index, const char *path);
/* For a recipient that has no mailbox: unknown, or badly configured. */
void virtual_finish_without(Attempt *attempt, guint index, MailboxResult result);
