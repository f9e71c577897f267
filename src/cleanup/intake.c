/* intake.c - one message on its way into the spool. Its headers are looked at as they stream by, ours are added at
 * their end; the body goes straight through. Whatever is wrong is remembered and told at the end of content, since SMTP
 * has no earlier place for it. */
#include "base/log.h"
#include "cleanup/expand.h"
#include "cleanup/rewrite.h"
#include "mail/address.h"
#include "mail/address_list.h"
#include "mail/date.h"
#include "mail/header.h"
#include "mail/ids.h"

#include <string.h>

/* Headers that matter here. */
typedef enum {
    SEEN_MESSAGE_ID = 1,
    SEEN_DATE = 2,
    SEEN_FROM = 4,
    SEEN_RECIPIENT = 8, /* To, Cc, and their Resent- versions */
    SEEN_RESENT = 16,   /* any Resent- */
    SEEN_RESENT_MESSAGE_ID = 32,
    SEEN_RESENT_DATE = 64,
    SEEN_RESENT_FROM = 128,
    SEEN_RECEIVED = 256,
} Seen;

typedef struct {
    const char *name;
    unsigned seen;
    Role role; /* of the addresses in it; 0: none */
} KnownHeader;

static const KnownHeader known_headers[] = {
    {"Apparently-To", 0, ROLE_HEADER_RECIPIENT},
    {"Bcc", 0, ROLE_HEADER_RECIPIENT},
    {"Cc", SEEN_RECIPIENT, ROLE_HEADER_RECIPIENT},
    {"Date", SEEN_DATE, 0},
    {"Disposition-Notification-To", 0, ROLE_HEADER_SENDER},
    {"Errors-To", 0, ROLE_HEADER_SENDER},
    {"From", SEEN_FROM, ROLE_HEADER_SENDER},
    {"Mail-Followup-To", 0, ROLE_HEADER_SENDER},
    {"Message-Id", SEEN_MESSAGE_ID, 0},
    {"Received", SEEN_RECEIVED, 0},
    {"Reply-To", 0, ROLE_HEADER_SENDER},
    {"Resent-Bcc", SEEN_RESENT, ROLE_HEADER_RECIPIENT},
    {"Resent-Cc", SEEN_RESENT | SEEN_RECIPIENT, ROLE_HEADER_RECIPIENT},
    {"Resent-Date", SEEN_RESENT | SEEN_RESENT_DATE, 0},
    {"Resent-From", SEEN_RESENT | SEEN_RESENT_FROM, ROLE_HEADER_SENDER},
    {"Resent-Message-Id", SEEN_RESENT | SEEN_RESENT_MESSAGE_ID, 0},
    {"Resent-Reply-To", SEEN_RESENT, ROLE_HEADER_RECIPIENT},
    {"Resent-Sender", SEEN_RESENT, ROLE_HEADER_SENDER},
    {"Resent-To", SEEN_RESENT | SEEN_RECIPIENT, ROLE_HEADER_RECIPIENT},
    {"Return-Receipt-To", 0, ROLE_HEADER_SENDER},
    {"Sender", 0, ROLE_HEADER_SENDER},
    {"To", SEEN_RECIPIENT, ROLE_HEADER_RECIPIENT},
};

typedef enum { FAULT_NONE, FAULT_LIMIT, FAULT_SIZE, FAULT_HOPS, FAULT_WRITE } Fault;

struct Intake {
    const Cleanup *cleanup;
    Job job;
    SpoolWriter *writer;
    char *sender; /* as the client gave it */
    bool is_local, requiretls;
    HeaderReader reader;
    unsigned seen; /* Seen bits */
    gint64 hops;
    guint64 size;   /* octets of content, with two for each line end */
    guint64 lines;  /* written to the spool */
    bool open_line; /* what was written last has no line end yet */
    Fault fault;    /* the first; nothing more is written after it */
};

static void write_text(Intake *intake, const char *data, size_t len)
{
    if (intake->fault != FAULT_NONE)
        return;
    if (!spool_write(intake->writer, data, len))
        intake->fault = FAULT_WRITE;
    for (const char *end = data + len; (data = memchr(data, '\n', (size_t)(end - data))); data++)
        intake->lines++;
}

static void write_header(Intake *intake, const char *text, size_t len)
{
    write_text(intake, text, len);
    write_text(intake, "\n", 1);
}

static void G_GNUC_PRINTF(2, 3) add_header(Intake *intake, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    g_autofree char *text = g_strdup_vprintf(format, args);
    va_end(args);
    write_header(intake, text, strlen(text));
}

/* --- the client's headers --- */

static bool is_name(const char *text, size_t len, const char *name)
{
    return strlen(name) == len && g_ascii_strncasecmp(text, name, len) == 0;
}

static bool is_dropped(const Cleanup *cleanup, const char *name, size_t len)
{
    for (guint i = 0; i < cleanup->drop_headers->len; i++)
        if (is_name(name, len, g_ptr_array_index(cleanup->drop_headers, i)))
            return true;
    return false;
}

static const KnownHeader *find_known(const char *name, size_t len)
{
    static const KnownHeader other = {"", 0, 0};

    for (size_t i = 0; i < G_N_ELEMENTS(known_headers); i++)
        if (is_name(name, len, known_headers[i].name))
            return &known_headers[i];
    return &other;
}

static void log_message_id(const Intake *intake, const char *prefix, const char *value, size_t len)
{
    while (len > 0 && g_ascii_isspace(*value)) {
        value++;
        len--;
    }
    log_info_as("cleanup", "%s: %smessage-id=%.*s", intake->job.id, prefix, (int)len, value);
}

static void count_hop(Intake *intake)
{
    if (++intake->hops < intake->cleanup->hopcount_limit)
        return;
    log_warning_as("cleanup", "%s: message rejected: hopcount exceeded", intake->job.id);
    intake->fault = FAULT_HOPS;
}

typedef struct {
    Intake *intake;
    Role role;
} Rewrite;

static char *map_in_header(void *user, const char *address)
{
    const Rewrite *rewrite = user;
    Intake *intake = rewrite->intake;
    char *mapped = intake->is_local ? rewrite_address(&intake->job, rewrite->role, address)
                                    : rewrite_remote_address(&intake->job, rewrite->role, address);

    if (!mapped && intake->fault == FAULT_NONE)
        intake->fault = FAULT_WRITE;
    return mapped;
}

/* Blanks before the colon, which only the standard of 1982 knows, go. Otherwise the headers of strangers stay as they
 * are unless remote_header_rewrite_domain is set. */
static void write_with_addresses(Intake *intake, Role role, const char *text, size_t len, size_t value)
{
    const Cleanup *cleanup = intake->cleanup;
    g_autoptr(GString) out = g_string_new_len(text, (gssize)header_name(text, len, NULL));
    Rewrite rewrite = {intake, role};

    g_string_append_c(out, ':');
    if (role == 0 || (!intake->is_local && !cleanup->remote_domain[0]))
        g_string_append_len(out, text + value, (gssize)(len - value));
    else
        address_list_map(text + value, len - value, (guint)cleanup->header_address_limit, map_in_header, &rewrite, out);
    write_header(intake, out->str, out->len);
}

static bool asks_for_tls(const char *text, size_t len)
{
    size_t value;

    if (!header_is(text, len, REQUIRETLS_HEADER))
        return false;
    header_name(text, len, &value);
    g_autofree char *word = g_strstrip(g_strndup(text + value, len - value));
    return g_ascii_strcasecmp(word, "yes") == 0;
}

static void take_header(void *user, const char *text, size_t len)
{
    Intake *intake = user;
    size_t value = 0;
    size_t name_len = header_name(text, len, &value);
    const KnownHeader *known = find_known(text, name_len);

    if (intake->fault != FAULT_NONE)
        return;
    intake->seen |= known->seen;
    intake->requiretls |= intake->cleanup->requiretls && asks_for_tls(text, len);
    if (is_dropped(intake->cleanup, text, name_len))
        return;
    if (known->seen & SEEN_MESSAGE_ID)
        log_message_id(intake, "", text + value, len - value);
    else if (known->seen & SEEN_RESENT_MESSAGE_ID)
        log_message_id(intake, "resent-", text + value, len - value);
    else if (known->seen & SEEN_RECEIVED)
        count_hop(intake);
    write_with_addresses(intake, known->role, text, len, value);
}

/* --- the headers that are missing --- */

static void add_message_id(Intake *intake, const char *resent)
{
    const char *id = intake->job.id;
    g_autofree char *time = date_digits(spool_writer_time_us(intake->writer));
    bool is_long = id_is_long(id); /* such an id comes but once, and needs no time beside it */
    g_autofree char *value =
        g_strdup_printf("<%s%s%s@%s>", is_long ? "" : time, is_long ? "" : ".", id, intake->cleanup->myhostname);
    g_autofree char *log_prefix = g_ascii_strdown(resent, -1);

    add_header(intake, "%sMessage-Id: %s", resent, value);
    log_message_id(intake, log_prefix, value, strlen(value));
    if (!*resent)
        intake->seen |= SEEN_MESSAGE_ID;
}

static void add_from(Intake *intake, const char *resent)
{
    g_autofree char *sender = rewrite_address(&intake->job, ROLE_ENVELOPE_SENDER, intake->sender);
    g_autofree char *quoted = sender ? address_quote(sender[0] ? sender : "MAILER-DAEMON") : NULL;

    if (quoted)
        add_header(intake, "%sFrom: %s", resent, quoted);
    else if (intake->fault == FAULT_NONE)
        intake->fault = FAULT_WRITE;
}

static void add_missing_headers(Intake *intake)
{
    const char *resent = intake->seen & SEEN_RESENT ? "Resent-" : "";
    unsigned seen = intake->seen;

    if (!(seen & (*resent ? SEEN_RESENT_MESSAGE_ID : SEEN_MESSAGE_ID)))
        add_message_id(intake, resent);
    if (!(seen & (*resent ? SEEN_RESENT_DATE : SEEN_DATE))) {
        g_autofree char *date = date_for_header(spool_writer_time_us(intake->writer));
        add_header(intake, "%sDate: %s", resent, date);
    }
    if (!(seen & (*resent ? SEEN_RESENT_FROM : SEEN_FROM)))
        add_from(intake, resent);
    if (!(seen & SEEN_RECIPIENT) && intake->cleanup->undisclosed_header[0])
        add_header(intake, "%s", intake->cleanup->undisclosed_header);
}

static void end_headers(void *user)
{
    Intake *intake = user;

    if (intake->fault != FAULT_NONE)
        return;
    if (intake->is_local || intake->cleanup->always_add_headers)
        add_missing_headers(intake);
    if (!(intake->seen & SEEN_MESSAGE_ID))
        log_message_id(intake, "", "<>", 2);
}

/* --- the body --- */

static void take_body(void *user, const char *data, size_t len, bool ends_line)
{
    Intake *intake = user;

    write_text(intake, data, len);
    if (ends_line)
        write_text(intake, "\n", 1);
    intake->open_line = !ends_line && (len > 0 || intake->open_line);
}

static const HeaderSink sink = {take_header, end_headers, take_body};

/* --- the way in --- */

Intake *intake_new(Cleanup *cleanup, const Envelope *envelope, const IntakeOptions *options, GError **error)
{
    SpoolWriter *writer = spool_create(cleanup->spool, error);

    if (!writer)
        return NULL;
    Intake *intake = g_new0(Intake, 1);
    intake->cleanup = cleanup;
    intake->writer = writer;
    intake->job = (Job){.cleanup = cleanup, .id = spool_writer_id(writer), .mappings = options->address_mappings};
    intake->sender = g_strdup(envelope->sender ? envelope->sender : "");
    intake->is_local = envelope->origin.is_local;
    header_reader_init(&intake->reader, (size_t)cleanup->header_size_limit, &sink, intake);
    return intake;
}

static void intake_free(Intake *intake)
{
    header_reader_clear(&intake->reader);
    g_free(intake->sender);
    g_free(intake);
}

const char *intake_id(const Intake *intake)
{
    return intake->job.id;
}

void intake_prepend(Intake *intake, const char *header)
{
    if (header_name(header, strlen(header), NULL) > 0)
        take_header(intake, header, strlen(header));
    else
        log_warning_as("cleanup", "%s: not a header, not prepended: %s", intake->job.id, header);
}

void intake_content(Intake *intake, const char *data, size_t len, bool ends_line)
{
    const Cleanup *cleanup = intake->cleanup;

    if (intake->fault != FAULT_NONE)
        return;
    intake->size += len + (ends_line ? 2 : 0);
    if (cleanup->message_size_limit > 0 && intake->size > cleanup->message_size_limit) {
        log_warning_as("cleanup", "%s: queue file size limit exceeded", intake->job.id);
        intake->fault = FAULT_SIZE;
        return;
    }
    header_reader_add(&intake->reader, data, len, ends_line);
}

/* --- its end --- */

static Fault map_envelope(Intake *intake, Envelope *envelope)
{
    char *sender = rewrite_address(&intake->job, ROLE_ENVELOPE_SENDER, intake->sender);

    if (!sender)
        return FAULT_WRITE;
    g_free(envelope->sender);
    envelope->sender = sender;
    switch (expand_recipients(&intake->job, envelope)) {
    case EXPAND_DONE:
        break;
    case EXPAND_LIMIT:
        return FAULT_LIMIT;
    case EXPAND_FAILED:
        return FAULT_WRITE;
    }
    return FAULT_NONE;
}

static Reply *fault_reply(Fault fault)
{
    switch (fault) {
    case FAULT_NONE:
        return NULL;
    case FAULT_LIMIT:
        return reply_new("451 4.6.0 Alias expansion error");
    case FAULT_SIZE:
        return reply_new("552 5.3.4 Error: message file too big");
    case FAULT_HOPS:
        return reply_new("554 5.4.0 Error: too many hops");
    case FAULT_WRITE:
        break;
    }
    return reply_new("451 4.3.0 Error: queue file write error");
}

Reply *intake_finish(Intake *intake, Envelope *envelope)
{
    if (intake->fault == FAULT_NONE)
        header_reader_finish(&intake->reader);
    if (intake->open_line)
        write_text(intake, "\n", 1);
    intake->open_line = false;
    envelope->requiretls |= intake->requiretls;
    envelope->size = (gint64)(spool_writer_size(intake->writer) + intake->lines);
    if (intake->fault == FAULT_NONE)
        intake->fault = map_envelope(intake, envelope);
    return fault_reply(intake->fault);
}

Reply *intake_commit(Intake *intake, const Envelope *envelope, bool hold)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *id = g_strdup(intake->job.id);
    bool done = spool_commit(g_steal_pointer(&intake->writer), envelope, hold, &error);

    intake_free(intake);
    if (done)
        return NULL;
    log_warning_as("cleanup", "%s: %s", id, error->message);
    return fault_reply(FAULT_WRITE);
}

static void end_without_commit(Intake *intake, const char *how)
{
    if (!intake)
        return;
    log_info_as("cleanup", "%s: removed (%s)", intake->job.id, how);
    spool_abort(intake->writer);
    intake_free(intake);
}

void intake_abort(Intake *intake)
{
    end_without_commit(intake, "canceled");
}

void intake_discard(Intake *intake)
{
    end_without_commit(intake, "discarded");
}
