/* trace_line.c - a line of the mail log, taken apart. */
#include "cli/trace_line.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define QUEUE_ID_MIN 6
#define QUEUE_ID_MAX 32
#define ID_MAX 255 /* XFORWARD's values are no longer */
#define STAMP_LENGTH 15
#define DAY_US (G_GINT64_CONSTANT(86400) * G_USEC_PER_SEC)

static TraceText text_of(const char *start, const char *end)
{
    return (TraceText){start, (size_t)(end - start)};
}

/* ---- stamp and tag ---- */

static const char *skip_digits(const char *at)
{
    while (g_ascii_isdigit(*at))
        at++;
    return at;
}

/* "Nov 22 14:00:01", a fraction may follow. NULL: no. */
static const char *skip_short_stamp(const char *line)
{
    static const char shape[] = "Aaa 00 00:00:00"; /* the day's first digit may be a blank */

    for (size_t i = 0; i < STAMP_LENGTH; i++) {
        bool fits = shape[i] == 'A' || shape[i] == 'a' ? g_ascii_isalpha(line[i])
                    : shape[i] == '0'                  ? g_ascii_isdigit(line[i]) || (i == 4 && line[i] == ' ')
                                                       : line[i] == shape[i];
        if (!fits)
            return NULL;
    }
    line += STAMP_LENGTH;
    return *line == '.' ? skip_digits(line + 1) : line;
}

/* "2026-11-22T14:00:01.25+01:00": checked when the time is wanted. */
static const char *skip_long_stamp(const char *line)
{
    const char *end = line + strcspn(line, " ");

    return g_ascii_isdigit(line[0]) && end - line >= 19 && line[4] == '-' && line[10] == 'T' ? end : NULL;
}

/* "HOST TAG[NUMBER]: " */
static const char *parse_head(const char *line, TraceLine *ret)
{
    const char *end = skip_short_stamp(line);

    if (!end)
        end = skip_long_stamp(line);
    if (!end || *end != ' ')
        return NULL;
    ret->stamp = text_of(line, end);
    const char *host = end + 1;
    const char *tag = strchr(host, ' ');
    if (!tag)
        return NULL;
    tag++;
    const char *bracket = tag + strcspn(tag, " [:");
    const char *digits_end = *bracket == '[' ? skip_digits(bracket + 1) : bracket;
    if (bracket == tag || digits_end == bracket || digits_end == bracket + 1 || !g_str_has_prefix(digits_end, "]: "))
        return NULL;
    const char *program = tag;
    for (const char *at = tag; at < bracket; at++)
        if (*at == '/')
            program = at + 1;
    ret->program = text_of(program, bracket);
    ret->number = text_of(bracket + 1, digits_end);
    ret->session = text_of(host, digits_end + 1);
    return digits_end + 3;
}

/* ---- parts of the text ---- */

/* What stands between the first `before` and the next `after`; after "": up to the end. */
static TraceText between(const char *text, const char *before, const char *after)
{
    const char *start = strstr(text, before);

    if (!start)
        return (TraceText){0};
    start += strlen(before);
    const char *end = *after ? strstr(start, after) : start + strlen(start);
    return end ? text_of(start, end) : (TraceText){0};
}

static TraceText word(const char *start)
{
    return text_of(start, start + strcspn(start, ", "));
}

/* The id is the last word, so no text before it can pass for it. */
static TraceText id_at_end(const char *text)
{
    const char *blank = strrchr(text, ' ');

    if (!blank || !g_str_has_prefix(blank, " trace="))
        return (TraceText){0};
    const char *start = blank + strlen(" trace=");
    size_t len = strlen(start);
    for (size_t i = 0; i < len; i++)
        if (!g_ascii_isalnum(start[i]) && !strchr("._+@:-?", start[i]))
            return (TraceText){0};
    return len <= ID_MAX ? (TraceText){start, len} : (TraceText){0};
}

/* "END-OF-MESSAGE: REPLY; from=<S> to=<R> proto=..." */
static void parse_verdict(TraceLine *ret, const char *rest)
{
    static const char queued[] = "queued as ";

    ret->reply = between(rest, "END-OF-MESSAGE: ", "; from=<");
    ret->sender = between(rest, "; from=<", "> to=<");
    ret->recipient = between(rest, "> to=<", ret->kind == TRACE_FILTER ? "> nrcpt=" : "> proto=");
    ret->trace = id_at_end(rest);
    if (ret->reply.len == 0)
        return;
    const char *last = ret->reply.at + ret->reply.len;
    const char *start = last;
    while (start > ret->reply.at && g_ascii_isalnum(start[-1]))
        start--;
    size_t before = (size_t)(start - ret->reply.at);
    if (ret->reply.at[0] == '2' && before >= strlen(queued) &&
        memcmp(start - strlen(queued), queued, strlen(queued)) == 0 && start < last && last - start <= QUEUE_ID_MAX)
        ret->queued_as = text_of(start, last);
}

/* "reject: RCPT from C: REPLY; from=<S> to=<R> proto=..." */
static void parse_reject(TraceLine *ret, const char *text)
{
    ret->client = between(text, " from ", ": ");
    ret->sender = between(text, "; from=<", ">");
    ret->recipient = between(text, "> to=<", ">");
    ret->trace = id_at_end(text);
}

static void parse_queue_line(TraceLine *ret, const char *rest)
{
    ret->kind = TRACE_QUEUE;
    if (g_str_has_prefix(rest, "client=")) {
        ret->kind = TRACE_QUEUED;
        ret->client = word(rest + strlen("client="));
        TraceText id = between(rest, ", orig_queue_id=", "");
        ret->trace = id.len > 0 ? word(id.at) : id;
        TraceText original = between(rest, ", orig_client=", "");
        ret->original = original.len > 0 ? word(original.at) : original;
    } else if (g_str_has_prefix(rest, "to=<")) {
        ret->kind = TRACE_DELIVERY;
        TraceText status = between(rest, ", status=", "");
        ret->verdict = status.len > 0 ? word(status.at) : status;
        ret->recipient = between(rest, "to=<", ">, ");
    } else if (g_str_has_prefix(rest, "from=<")) {
        ret->sender = between(rest, "from=<", ">, ");
    }
}

/* The lines of a server; true: it was one. */
static bool parse_smtpd(TraceLine *ret, const char *text)
{
    static const struct {
        const char *prefix;
        TraceKind kind;
    } shapes[] = {
        {"connect from ", TRACE_CONNECT},
        {"disconnect from ", TRACE_DISCONNECT},
        {"NOQUEUE: client=", TRACE_CLIENT},
        {"NOQUEUE: reject: ", TRACE_REJECT},
        {"warning: connect to proxy filter ", TRACE_TROUBLE},
        {"warning: timeout talking to proxy ", TRACE_TROUBLE},
        {"warning: lost connection with proxy ", TRACE_TROUBLE},
        {"warning: proxy ", TRACE_TROUBLE},
        {"lost connection after ", TRACE_BROKEN},
        {"timeout after ", TRACE_BROKEN},
        {"too many errors after ", TRACE_BROKEN},
        {"proxy-accept: ", TRACE_PROXY},
        {"proxy-reject: ", TRACE_PROXY},
    };
    const char *rest = text;

    for (size_t i = 0; i < G_N_ELEMENTS(shapes) && ret->kind == TRACE_OTHER; i++)
        if (g_str_has_prefix(text, shapes[i].prefix)) {
            ret->kind = shapes[i].kind;
            rest += strlen(shapes[i].prefix);
        }
    switch (ret->kind) {
    case TRACE_CONNECT:
    case TRACE_DISCONNECT:
        ret->client = word(rest);
        break;
    case TRACE_CLIENT:
        ret->client = word(rest);
        ret->trace = id_at_end(text);
        break;
    case TRACE_REJECT:
        parse_reject(ret, text);
        break;
    case TRACE_TROUBLE:
        ret->trace = id_at_end(text);
        break;
    case TRACE_PROXY:
        ret->verdict = text_of(text + strlen("proxy-"), rest - 2);
        parse_verdict(ret, rest);
        break;
    default:
        break;
    }
    return ret->kind != TRACE_OTHER;
}

static bool parse_filter(TraceLine *ret, const char *text)
{
    static const char *const troubles[] = {"warning: connect to next hop ", "warning: timeout talking to next hop ",
                                           "warning: lost connection with next hop "};
    const char *colon = strstr(text, ": END-OF-MESSAGE: ");

    for (size_t i = 0; i < G_N_ELEMENTS(troubles); i++)
        if (g_str_has_prefix(text, troubles[i])) {
            ret->kind = TRACE_TROUBLE;
            ret->trace = id_at_end(text);
            return true;
        }
    if (g_str_has_prefix(text, "connect from "))
        ret->kind = TRACE_CONNECT;
    else if (g_str_has_prefix(text, "disconnect from "))
        ret->kind = TRACE_DISCONNECT;
    else if (colon && g_str_has_prefix(text, "filter-")) {
        ret->kind = TRACE_FILTER;
        ret->verdict = text_of(text + strlen("filter-"), colon);
        parse_verdict(ret, colon + 2);
    }
    return ret->kind != TRACE_OTHER;
}

bool trace_line_parse(const char *line, TraceLine *ret)
{
    *ret = (TraceLine){0};
    ret->text = parse_head(line, ret);
    if (!ret->text)
        return false;
    if ((trace_text_is(ret->program, "smtpd") && parse_smtpd(ret, ret->text)) ||
        (trace_text_is(ret->program, "filter") && parse_filter(ret, ret->text)))
        return true;
    const char *start = ret->text + (g_str_has_prefix(ret->text, "warning: ") ? strlen("warning: ") : 0);
    const char *end = start;
    while (g_ascii_isalnum(*end))
        end++;
    if (end - start < QUEUE_ID_MIN || end - start > QUEUE_ID_MAX || !g_str_has_prefix(end, ": "))
        return true;
    ret->queue_id = text_of(start, end);
    parse_queue_line(ret, end + 2);
    return true;
}

/* ---- time ---- */

static int month_of(const char *name)
{
    static const char names[] = "JanFebMarAprMayJunJulAugSepOctNovDec";

    for (int i = 0; i < 12; i++)
        if (memcmp(names + 3 * i, name, 3) == 0)
            return i;
    return -1;
}

static gint64 fraction_us(const char *text)
{
    gint64 us = 0;

    if (*text++ != '.')
        return 0;
    for (gint64 unit = 100000; unit > 0 && g_ascii_isdigit(*text); unit /= 10)
        us += (*text++ - '0') * unit;
    return us;
}

static int two_digits(const char *text)
{
    return (text[0] == ' ' ? 0 : text[0] - '0') * 10 + text[1] - '0';
}

static gint64 to_us(struct tm broken_down)
{
    broken_down.tm_isdst = -1;
    time_t seconds = mktime(&broken_down);

    return seconds < 0 ? -1 : (gint64)seconds * G_USEC_PER_SEC;
}

static gint64 short_time(const char *stamp, gint64 not_after_us)
{
    time_t latest = (time_t)((not_after_us + DAY_US) / G_USEC_PER_SEC);
    struct tm now, then = {.tm_mon = month_of(stamp), .tm_mday = two_digits(stamp + 4)};

    if (then.tm_mon < 0 || then.tm_mday < 1 || then.tm_mday > 31 || !localtime_r(&latest, &now))
        return -1;
    then.tm_hour = two_digits(stamp + 7);
    then.tm_min = two_digits(stamp + 10);
    then.tm_sec = two_digits(stamp + 13);
    then.tm_year = now.tm_year;
    gint64 us = to_us(then);
    if (us > not_after_us + DAY_US) {
        then.tm_year--;
        us = to_us(then);
    }
    return us < 0 ? -1 : us + fraction_us(stamp + STAMP_LENGTH);
}

static gint64 long_time(TraceText stamp)
{
    g_autofree char *text = trace_text_dup(stamp);
    g_autoptr(GTimeZone) local = g_time_zone_new_local();
    g_autoptr(GDateTime) time = g_date_time_new_from_iso8601(text, local);

    return time ? g_date_time_to_unix(time) * G_USEC_PER_SEC + g_date_time_get_microsecond(time) : -1;
}

gint64 trace_line_time(const TraceLine *line, gint64 not_after_us)
{
    return g_ascii_isdigit(line->stamp.at[0]) ? long_time(line->stamp) : short_time(line->stamp.at, not_after_us);
}

/* ---- stages ---- */

static bool is_seconds(TraceText text)
{
    for (size_t i = 0; i < text.len; i++)
        if (!g_ascii_isdigit(text.at[i]) && !strchr(".e+-", text.at[i]))
            return false;
    return text.len > 0 && text.len < 16;
}

/* Where "a/b/c" begins. NULL: nowhere. */
static const char *find_delays(const TraceLine *line)
{
    const char *behind = line->text;

    if (line->recipient.len > 0)
        behind = line->recipient.at + line->recipient.len;
    if (line->kind != TRACE_PROXY && line->kind != TRACE_FILTER && line->kind != TRACE_DELIVERY)
        return NULL;
    const char *delays = strstr(behind, " delays=");
    return delays ? delays + strlen(" delays=") : NULL;
}

bool trace_line_stage(const TraceLine *line, guint index, TraceText *ret_name, TraceText *ret_seconds)
{
    static const char *const delivery[] = {"before queue manager", "in queue manager", "connection", "delivery"};
    const char *at = find_delays(line);

    for (guint i = 0; at && i < index; i++) {
        at += strcspn(at, "/, ");
        at = *at == '/' ? at + 1 : NULL;
    }
    if (!at)
        return false;
    const char *end = at + strcspn(at, "/, ");
    if (line->kind == TRACE_DELIVERY) {
        if (index >= G_N_ELEMENTS(delivery))
            return false;
        *ret_name = (TraceText){delivery[index], strlen(delivery[index])};
        *ret_seconds = text_of(at, end);
    } else {
        const char *colon = memrchr(at, ':', (size_t)(end - at));
        if (!colon)
            return false;
        *ret_name = text_of(at, colon);
        *ret_seconds = text_of(colon + 1, end);
    }
    return is_seconds(*ret_seconds);
}
