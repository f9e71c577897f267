/* trace_command.h - `gatepost trace`: the way of one message through the mail log. */
#pragma once

/* Reads maillog_file and its rotated neighbours, or what --log names. Returns the exit status: 1 when nothing was
 * found. */
int trace_command(int argc, char **argv, const char *config_dir);
