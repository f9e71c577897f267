/* date.h - points in time as mail headers and message ids write them. */
#pragma once
#include <glib.h>

/* RFC 5322 section 3.3 in local time, with the zone's name as Received: and Date: carry it: "Sun, 22 Nov 2026 08:42:08 +0000 (UTC)".
 * The day always has two digits; names are English whatever the locale. wall_us: as clock_wall_us(). Caller frees. */
char *date_for_header(gint64 wall_us);

/* "20261122084208", UTC: the first part of a Message-Id. Caller frees. */
char *date_digits(gint64 wall_us);
