/* params_quarantine.c - parameters: Quarantine. */
#include "config/param_rows.h"

const Param param_rows_quarantine[] = {
    {"quarantine_directory", STRING, SUPPORTED, "$data_directory/quarantine", 1, 0, NULL, "ours",
     "Where the filter keeps what it puts in quarantine; in main.cf only, for the commands look there"},
    {"quarantine_nexthop", STRING, SUPPORTED, "", 0, 0, NULL, "ours",
     "Where released messages go; empty: the filter_nexthop of the filter that stored them"},
    {"quarantine_max_age", TIME, SUPPORTED, "30d", 0, 0, NULL, "ours",
     "How long a message stays in quarantine; 0 for no limit"},
    {"quarantine_max_size", INT, SUPPORTED, "1073741824", 0, G_MAXINT64, NULL, "ours",
     "Octets of all messages in quarantine, above which the oldest go; 0 for no limit"},
};
const size_t param_count_quarantine = G_N_ELEMENTS(param_rows_quarantine);
