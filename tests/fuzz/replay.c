/* replay.c - a fuzz target without the fuzzer: replays every file of the directories that are its arguments. So what
 * once broke is tried by every build, with any compiler and sanitizer. */
#include <glib.h>
#include <stdint.h>
#include <stdio.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int replay(const char *path)
{
    g_autofree char *text = NULL;
    g_autoptr(GError) error = NULL;
    size_t len = 0;

    if (!g_file_get_contents(path, &text, &len, &error)) {
        fprintf(stderr, "%s\n", error->message);
        return 1;
    }
    fprintf(stderr, "%s\n", path); /* the last one named is the one that ended us */
    /* Without the NUL that GLib puts behind it, so that AddressSanitizer sees what reads too far. */
    g_autofree uint8_t *data = g_memdup2(text, len);
    return LLVMFuzzerTestOneInput(data, len);
}

int main(int argc, char **argv)
{
    int failed = 0, seen = 0;

    for (int i = 1; i < argc; i++) {
        g_autoptr(GDir) dir = g_dir_open(argv[i], 0, NULL);
        for (const char *name; dir && (name = g_dir_read_name(dir)); seen++) {
            g_autofree char *path = g_build_filename(argv[i], name, NULL);
            failed |= replay(path);
        }
    }
    if (seen == 0) {
        LLVMFuzzerTestOneInput((const uint8_t *)"", 0);
        fprintf(stderr, "nothing to replay\n");
    }
    return failed;
}
