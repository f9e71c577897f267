/* quarantine_command.h - `gatepost quarantine`: what the filter keeps back, for administrators. */
#pragma once

/* argv[1] is list, show, release, delete or expire; see gatepost(8). As root it becomes mail_owner first: what it reads
 * was written by strangers. Returns the exit status; has said everything. */
int quarantine_command(int argc, char **argv, const char *config_dir);
