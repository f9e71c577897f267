/* sqlite_files.h - what SQLite opens for reading, and the files beside a database that it looks for, are those of
 * base/source.h wherever that knows them, so that databases of tables can be opened anew by a process that may not. */
#pragma once

#define SQLITE_FILES_LOOK_MS 200 /* how long an answer about a journal counts */

void sqlite_files_use(void);                  /* from now on, in this process. Again: nothing */
void sqlite_files_name(const char *database); /* to base/source.h, with those beside it; before root is given up */
