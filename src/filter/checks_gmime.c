/* checks_gmime.c - GMime. */
#include "filter/checks_gmime.h"
#include "mail/header.h"

#include <gmime/gmime.h>
#include <iconv.h>
#include <pthread.h>
#include <string.h>

#define NAMES_MAX 100 /* of one header */

/* GMime keeps character sets and converters for all threads; whether it guards them in all places is not ours to know.
 */
static pthread_mutex_t names_lock = PTHREAD_MUTEX_INITIALIZER;

struct MimeDecoder {
    GMimeFilter *filter;
};

/* iconv loads its modules from files when they are needed first. Under another root there are none then, and a name in
 * a character set that nobody can read would not be looked at: what mail comes in is loaded at the start, and stays as
 * long as somebody has it open. */
static void load_character_sets(void)
{
    static const char *const names[] = {
        "ISO-8859-1",  "ISO-8859-2", "ISO-8859-3",  "ISO-8859-4",  "ISO-8859-5",    "ISO-8859-6",  "ISO-8859-7",
        "ISO-8859-8",  "ISO-8859-9", "ISO-8859-10", "ISO-8859-11", "ISO-8859-13",   "ISO-8859-14", "ISO-8859-15",
        "ISO-8859-16", "CP1250",     "CP1251",      "CP1252",      "CP1253",        "CP1254",      "CP1255",
        "CP1256",      "CP1257",     "CP1258",      "KOI8-R",      "KOI8-U",        "GBK",         "GB18030",
        "GB2312",      "BIG5",       "BIG5-HKSCS",  "HZ-GB-2312",  "ISO-2022-CN",   "EUC-TW",      "SHIFT_JIS",
        "CP932",       "EUC-JP",     "EUC-JP-MS",   "ISO-2022-JP", "ISO-2022-JP-2", "EUC-KR",      "UHC",
        "ISO-2022-KR", "JOHAB",      "TIS-620",     "CP874",       "CP437",         "CP850",       "CP852",
        "CP866",       "MACINTOSH",  "VISCII",      "UTF-7",       "UTF-16",        "UTF-32",      "ARMSCII-8",
    };
    static iconv_t open[G_N_ELEMENTS(names)];

    for (size_t i = 0; i < G_N_ELEMENTS(names) && !open[i]; i++)
        open[i] = iconv_open("UTF-8", names[i]); /* one that the system lacks it lacks later as well */
}

void mime_library_init(void)
{
    g_mime_init();
    load_character_sets();
}

/* --- names --- */

static bool is_known(const GPtrArray *names, const char *name)
{
    for (guint i = 0; i < names->len; i++)
        if (strcmp(names->pdata[i], name) == 0)
            return true;
    return false;
}

static void add_name(GPtrArray *names, const char *name)
{
    g_autofree char *valid = g_utf8_make_valid(name, -1);
    GString *shown = g_string_new(NULL);

    for (const char *c = valid; *c; c++)
        if (!g_ascii_iscntrl(*c))
            g_string_append_c(shown, *c);
    if (shown->len > 0 && names->len < NAMES_MAX && !is_known(names, shown->str))
        g_ptr_array_add(names, g_string_free(shown, FALSE));
    else
        g_string_free(shown, TRUE);
}

static bool is_name(const char *parameter, size_t len)
{
    return (len == 4 && g_ascii_strncasecmp(parameter, "name", 4) == 0) ||
           (len == 8 && g_ascii_strncasecmp(parameter, "filename", 8) == 0);
}

static void add_parameters(GPtrArray *names, GMimeParamList *parameters)
{
    for (int i = 0; i < g_mime_param_list_length(parameters); i++) {
        GMimeParam *parameter = g_mime_param_list_get_parameter_at(parameters, i);
        const char *name = g_mime_param_get_name(parameter), *value = g_mime_param_get_value(parameter);
        if (!name || !value || !is_name(name, strlen(name)))
            continue;
        add_name(names, value);
        g_autofree char *decoded = g_mime_utils_header_decode_text(NULL, value);
        if (decoded)
            add_name(names, decoded);
    }
}

/* What follows "name=", up to the closing quote, or to a semicolon or the line's end. */
static void add_as_written(GPtrArray *names, const char *value)
{
    value += strspn(value, " \t\n");
    bool quoted = *value == '"';
    size_t len = quoted ? strcspn(value + 1, "\"") : strcspn(value, ";\n");
    g_autofree char *text = g_strstrip(g_strndup(value + quoted, len));
    g_autofree char *decoded = g_mime_utils_header_decode_text(NULL, text);

    add_name(names, text);
    if (decoded)
        add_name(names, decoded);
}

static void add_all_as_written(GPtrArray *names, const char *text)
{
    const char *equals;

    for (; (equals = strchr(text, '=')) != NULL && names->len < NAMES_MAX; text = equals + 1) {
        const char *end = equals;
        while (end > text && (end[-1] == ' ' || end[-1] == '\t'))
            end--;
        const char *begin = end;
        while (begin > text && g_ascii_isalpha(begin[-1]))
            begin--;
        if (is_name(begin, (size_t)(end - begin)))
            add_as_written(names, equals + 1);
    }
}

GPtrArray *mime_file_names(const char *header)
{
    GPtrArray *names = g_ptr_array_new_with_free_func(g_free);
    size_t len = strlen(header), value = 0;

    if (header_name(header, len, &value) == 0)
        return names;
    const char *text = header + value;
    pthread_mutex_lock(&names_lock);
    if (header_is(header, len, "Content-Type")) {
        GMimeContentType *type = g_mime_content_type_parse(NULL, text);
        if (type)
            add_parameters(names, g_mime_content_type_get_parameters(type));
        g_clear_object(&type);
    } else {
        GMimeContentDisposition *disposition = g_mime_content_disposition_parse(NULL, text);
        if (disposition)
            add_parameters(names, g_mime_content_disposition_get_parameters(disposition));
        g_clear_object(&disposition);
    }
    add_all_as_written(names, text);
    pthread_mutex_unlock(&names_lock);
    return names;
}

/* --- encodings --- */

MimeDecoder *mime_decoder_new(const char *value)
{
    value += strspn(value, " \t\n\"");
    g_autofree char *word = g_strndup(value, strcspn(value, " \t\n;(\""));
    GMimeContentEncoding encoding = g_mime_content_encoding_from_string(word);

    if (encoding != GMIME_CONTENT_ENCODING_BASE64 && encoding != GMIME_CONTENT_ENCODING_QUOTEDPRINTABLE &&
        encoding != GMIME_CONTENT_ENCODING_UUENCODE)
        return NULL;
    MimeDecoder *decoder = g_new0(MimeDecoder, 1);
    decoder->filter = g_mime_filter_basic_new(encoding, FALSE);
    return decoder;
}

void mime_decoder_free(MimeDecoder *decoder)
{
    if (!decoder)
        return;
    g_object_unref(decoder->filter);
    g_free(decoder);
}

void mime_decoder_add(MimeDecoder *decoder, const char *data, size_t len, GString *out)
{
    g_autofree char *copy = g_memdup2(data, len); /* GMime takes it as its own, though it changes nothing */
    char *decoded = NULL;
    size_t decoded_len = 0, room = 0;

    if (len == 0)
        return;
    g_mime_filter_filter(decoder->filter, copy, len, 0, &decoded, &decoded_len, &room);
    g_string_append_len(out, decoded, (gssize)decoded_len);
}
