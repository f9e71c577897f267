/* config_command.h - `gatepost config`, also under the name postconf: shows the configuration (postconf(1)). */
#pragma once

/* argv[0] is the name for messages; options and names follow. config_dir: where main.cf lies, unless -c is given.
 * Returns the exit status; has said everything. */
int config_command(int argc, char **argv, const char *config_dir);
