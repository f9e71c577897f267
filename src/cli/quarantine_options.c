/* quarantine_options.c - the words of `gatepost quarantine`. */
#include "cli/quarantine_options.h"
#include "cli/time_option.h"

#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#define SELECTING (QUARANTINE_LIST | QUARANTINE_SHOW | QUARANTINE_RELEASE | QUARANTINE_DELETE)
#define ANY (SELECTING | QUARANTINE_EXPIRE)

typedef enum {
    ID = 1,
    SENDER,
    RECIPIENT,
    CLIENT,
    REASON,
    TRACE,
    SINCE,
    UNTIL,
    STATE,
    LIMIT,
    ALL,
    JSON,
    CONTENT,
    RAW,
    FORCE,
    NEXTHOP
} Name;

/* Which actions take which option. */
static const struct {
    struct option option;
    unsigned actions;
    bool filters;
} table[] = {
    {{"id", required_argument, NULL, ID}, SELECTING, false},
    {{"sender", required_argument, NULL, SENDER}, SELECTING, true},
    {{"recipient", required_argument, NULL, RECIPIENT}, SELECTING, true},
    {{"client", required_argument, NULL, CLIENT}, SELECTING, true},
    {{"reason", required_argument, NULL, REASON}, SELECTING, true},
    {{"trace", required_argument, NULL, TRACE}, SELECTING, true},
    {{"since", required_argument, NULL, SINCE}, SELECTING, true},
    {{"until", required_argument, NULL, UNTIL}, SELECTING, true},
    {{"state", required_argument, NULL, STATE}, SELECTING, true},
    {{"limit", required_argument, NULL, LIMIT}, SELECTING, true},
    {{"all", no_argument, NULL, ALL}, QUARANTINE_RELEASE | QUARANTINE_DELETE, false},
    {{"json", no_argument, NULL, JSON}, ANY, false},
    {{"content", no_argument, NULL, CONTENT}, QUARANTINE_SHOW, false},
    {{"raw", no_argument, NULL, RAW}, QUARANTINE_SHOW, false},
    {{"force", no_argument, NULL, FORCE}, QUARANTINE_RELEASE, false},
    {{"nexthop", required_argument, NULL, NEXTHOP}, QUARANTINE_RELEASE, false},
};

static const struct {
    const char *word;
    QuarantineAction action;
} actions[] = {{"list", QUARANTINE_LIST},
               {"show", QUARANTINE_SHOW},
               {"release", QUARANTINE_RELEASE},
               {"delete", QUARANTINE_DELETE},
               {"expire", QUARANTINE_EXPIRE}};

/* ---- values ---- */

static bool parse_states(const char *text, unsigned *ret_states)
{
    g_auto(GStrv) words = g_strsplit(text, ",", 0);

    for (char **word = words; *word; word++) {
        QuarantineState state;
        if (!quarantine_state_parse(*word, &state))
            return false;
        *ret_states |= 1u << state;
    }
    return *ret_states != 0;
}

static bool take_option(QuarantineOptions *options, Name name, gint64 now_us)
{
    QuarantineFilter *filter = &options->filter;
    const char *rest = "";
    gint64 number = 0;

    switch (name) {
    case ID:
        g_ptr_array_add(options->ids, optarg);
        return true;
    case SENDER:
        filter->sender = optarg;
        return true;
    case RECIPIENT:
        filter->recipient = optarg;
        return true;
    case CLIENT:
        filter->client = optarg;
        return true;
    case REASON:
        filter->reason = optarg;
        return true;
    case TRACE:
        filter->trace = optarg;
        return true;
    case SINCE:
        return time_option_parse(optarg, now_us, &filter->since_us);
    case UNTIL:
        return time_option_parse(optarg, now_us, &filter->until_us);
    case STATE:
        return parse_states(optarg, &filter->states);
    case LIMIT:
        if (!number_option_parse(optarg, G_MAXINT, &number, &rest) || *rest || number == 0)
            return false;
        filter->limit = (guint)number;
        return true;
    case ALL:
        options->all = true;
        return true;
    case JSON:
        options->json = true;
        return true;
    case CONTENT:
        options->content = true;
        return true;
    case RAW:
        options->raw = true;
        return true;
    case FORCE:
        options->force = true;
        return true;
    case NEXTHOP:
        options->nexthop = optarg;
        return true;
    }
    g_assert_not_reached();
}

/* ---- the whole ---- */

static bool read_option(QuarantineOptions *options, int row, gint64 now_us, char **ret_usage)
{
    const char *name = table[row].option.name;

    if (!(table[row].actions & options->action)) {
        *ret_usage = g_strdup_printf("--%s is not for this command", name);
        return false;
    }
    if (!take_option(options, (Name)table[row].option.val, now_us)) {
        *ret_usage = g_strdup_printf("--%s: bad value: %s", name, optarg);
        return false;
    }
    options->filtered = options->filtered || table[row].filters;
    return true;
}

/* Only `release ID --recipient` has both: there it says who of them. */
static char *contradiction(const QuarantineOptions *options)
{
    const QuarantineFilter *filter = &options->filter;
    bool only_recipient = filter->recipient && !filter->sender && !filter->client && !filter->reason &&
                          !filter->trace && !filter->since_us && !filter->until_us && !filter->states && !filter->limit;
    bool chooses = options->action & (QUARANTINE_RELEASE | QUARANTINE_DELETE);

    if (options->action == QUARANTINE_EXPIRE && options->ids->len > 0)
        return g_strdup("expire takes no ids: what is too old or too much goes");
    if (options->ids->len > 0 && options->all)
        return g_strdup("ids or --all, not both");
    if (options->ids->len > 0 && options->filtered && !(options->action == QUARANTINE_RELEASE && only_recipient))
        return g_strdup("ids or filters, not both");
    if (options->ids->len == 0 && !options->filtered && !options->all && chooses)
        return g_strdup("which messages? Give ids, filters, or --all");
    if (options->action == QUARANTINE_SHOW && options->ids->len == 0 && !options->filtered)
        return g_strdup("which messages? Give ids or filters");
    if (options->raw && (options->ids->len != 1 || options->json || options->content))
        return g_strdup("--raw is for one id, without --json and --content");
    return NULL;
}

static bool read_action(const char *word, QuarantineOptions *options)
{
    for (size_t i = 0; word && i < G_N_ELEMENTS(actions); i++)
        if (strcmp(word, actions[i].word) == 0)
            options->action = actions[i].action;
    return options->action != 0;
}

bool quarantine_options_read(int argc, char **argv, gint64 now_us, QuarantineOptions *options, char **ret_usage)
{
    struct option long_options[G_N_ELEMENTS(table) + 1] = {0};
    int option, row = 0;

    options->ids = g_ptr_array_new();
    *ret_usage = NULL;
    if (!read_action(argc > 1 ? argv[1] : NULL, options)) {
        *ret_usage = g_strdup("usage: quarantine list|show|release|delete|expire [option ...] [id ...]");
        return false;
    }
    for (size_t i = 0; i < G_N_ELEMENTS(table); i++)
        long_options[i] = table[i].option;
    optind = 0;
    opterr = 0;
    while ((option = getopt_long(argc - 1, argv + 1, "c:", long_options, &row)) != -1) {
        if (option == 'c')
            options->config_dir = optarg;
        else if (option == '?')
            *ret_usage = g_strdup_printf("bad option, or its value is missing: %s", argv[optind]);
        if (*ret_usage || (option != 'c' && !read_option(options, row, now_us, ret_usage)))
            return false;
    }
    for (int i = optind + 1; i < argc; i++)
        g_ptr_array_add(options->ids, argv[i]);
    *ret_usage = contradiction(options);
    return !*ret_usage;
}

void quarantine_options_clear(QuarantineOptions *options)
{
    g_clear_pointer(&options->ids, g_ptr_array_unref);
}
