/* dirs.h - the directories below $queue_directory and $data_directory that the mail system needs. */
#pragma once
#include "master/owner.h"

/* Makes those that are missing, the message store's too; existing ones stay as they are. */
bool dirs_make(const Config *config, const Owner *owner, GError **error);

/* Messages in Postfix's own queue below queue_directory, which nothing here delivers. Directories that we may not read
 * count as empty. */
guint64 dirs_count_postfix_mail(const char *queue_directory);
