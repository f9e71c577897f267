/* captured.h - for tests: what a call logs, as lines without their time, host and number: "warning: ...\n". */
#pragma once
#include "base/log.h"

#include <glib.h>
#include <string.h>
#include <unistd.h>

static int captured_ends[2];

static inline void captured_start(void)
{
    if (pipe(captured_ends) < 0)
        g_error("pipe");
    log_set_tag("postfix", "test");
    log_to_file(captured_ends[1], "mx");
    log_set_number(1);
}

/* At most what a pipe holds (64 kB). The caller frees. */
static inline char *captured_stop(void)
{
    GString *text = g_string_new(NULL);
    char chunk[4096];
    ssize_t count;

    log_to_stderr();
    close(captured_ends[1]);
    while ((count = read(captured_ends[0], chunk, sizeof chunk)) > 0)
        g_string_append_len(text, chunk, count);
    close(captured_ends[0]);

    g_auto(GStrv) lines = g_strsplit(text->str, "\n", -1);
    g_string_truncate(text, 0);
    for (char **line = lines; *line && **line; line++) {
        const char *at = strstr(*line, "/test[1]: ");
        g_string_append_printf(text, "%s\n", at ? at + strlen("/test[1]: ") : *line);
    }
    return g_string_free(text, FALSE);
}
