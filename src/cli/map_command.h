/* map_command.h - `gatepost map`, also under the name postmap: makes, changes and asks lookup tables (postmap(1));
 * under the name postalias from texts of aliases (postalias(1)). */
#pragma once

/* argv[0] is the name, also for messages; options and tables follow. config_dir: where main.cf lies, unless -c is
 * given; it is read only when a table is named without its type, or has its parameters there. Returns the exit status;
 * has said everything. */
int map_command(int argc, char **argv, const char *config_dir);
