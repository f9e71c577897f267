/* expand_fuzz.c - "$" expansion: the first line is expanded, the others are "name=value". */
#include "config/expand.h"

#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *find(const char *name, void *data)
{
    char **lines = data;
    size_t len = strlen(name);

    for (char **line = lines + 1; lines[0] && *line; line++)
        if (strncmp(*line, name, len) == 0 && (*line)[len] == '=')
            return *line + len + 1;
    return NULL;
}

static void count(const char *name, void *data)
{
    *(size_t *)data += strlen(name);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    g_autofree char *text = g_strndup((const char *)data, size);
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    size_t total = 0;

    if (!lines[0])
        return 0;
    g_free(expand_text(lines[0], find, lines, NULL));
    expand_names(lines[0], count, &total);
    return 0;
}
