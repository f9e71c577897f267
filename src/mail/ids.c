/* ids.c - queue ids and message keys. */
#include "mail/ids.h"
#include "base/clock.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

#define RANDOM_BITS 24

/* No vowels, so that no id is a word. The last digit, 'z', separates time from the random part, which therefore has
 * base 51. */
static const char digits[] = "0123456789BCDFGHJKLMNPQRSTVWXYZbcdfghjklmnpqrstvwxyz";
G_STATIC_ASSERT(sizeof digits - 1 == 52);

guint64 random_bits(void)
{
    guint64 bits;
    ssize_t got;

    do
        got = getrandom(&bits, sizeof bits, 0);
    while (got < 0 && errno == EINTR);
    if (got != (ssize_t)sizeof bits) /* such a small request fails on kernels without the call only */
        g_error("getrandom: %s", strerror(errno));
    return bits;
}

/* RANDOM_BITS of them with the top one set, so that the length is always the same. */
static guint64 random_part(void)
{
    return (random_bits() & ((G_GUINT64_CONSTANT(1) << RANDOM_BITS) - 1)) |
           (G_GUINT64_CONSTANT(1) << (RANDOM_BITS - 1));
}

static void append_number(GString *out, guint64 number, guint base, int width)
{
    char text[65];
    char *p = text + sizeof text - 1;

    *p = '\0';
    for (; number != 0 || width > 0; number /= base, width--)
        *--p = digits[number % base];
    g_string_append(out, p);
}

char *id_new_short(gint64 wall_us)
{
    return g_strdup_printf("%05X%" G_GINT64_MODIFIER "X", (unsigned)(wall_us % G_USEC_PER_SEC), random_part());
}

char *id_new_long(gint64 wall_us)
{
    GString *out = g_string_new(NULL);

    append_number(out, (guint64)(wall_us / G_USEC_PER_SEC), 52, 6);
    append_number(out, (guint64)(wall_us % G_USEC_PER_SEC), 52, 4);
    g_string_append_c(out, 'z');
    append_number(out, random_part(), 51, 1);
    return g_string_free(out, FALSE);
}

bool id_is_valid(const char *id)
{
    size_t len = strnlen(id, ID_MAX + 1);

    if (len < 6 || len > ID_MAX)
        return false;
    for (size_t i = 0; i < len; i++)
        if (!g_ascii_isalnum(id[i]))
            return false;
    return true;
}

char *id_new_spoken(size_t length)
{
    static const char spoken[] = ID_SPOKEN_DIGITS;
    guint64 bits = random_bits();
    char *id = g_malloc(length + 1);

    for (size_t i = 0; i < length; i++, bits /= sizeof spoken - 1)
        id[i] = spoken[bits % (sizeof spoken - 1)];
    id[length] = '\0';
    return id;
}

char *id_trace_note(const char *id)
{
    g_autofree char *word = g_strcanon(g_strdup(id), G_CSET_A_2_Z G_CSET_a_2_z G_CSET_DIGITS "._+@:-", '?');

    return g_strconcat(" trace=", word, NULL);
}

bool id_is_long(const char *id)
{
    const char *separator = strrchr(id, 'z'); /* 'z' is in no hexadecimal number */

    return separator && separator - id >= 10;
}

MessageKey message_key_new(void)
{
    return (MessageKey){(guint64)clock_wall_ns(), random_bits()};
}

char *message_key_to_text(const MessageKey *key)
{
    return g_strdup_printf("%016" G_GINT64_MODIFIER "x%016" G_GINT64_MODIFIER "x", key->arrival_ns, key->random);
}

static bool read_hex(const char *text, guint64 *ret)
{
    *ret = 0;
    for (int i = 0; i < 16; i++) {
        if (!g_ascii_isxdigit(text[i]) || g_ascii_isupper(text[i]))
            return false;
        *ret = *ret << 4 | (guint64)g_ascii_xdigit_value(text[i]);
    }
    return true;
}

bool message_key_from_text(const char *text, MessageKey *ret_key)
{
    return strnlen(text, 33) == 32 && read_hex(text, &ret_key->arrival_ns) && read_hex(text + 16, &ret_key->random);
}
