/* queue_command.h - `gatepost queue`, also under the names postqueue and mailq: shows the queue, has it tried
 * (postqueue(1)). */
#pragma once

/* argv[0] is the name for messages. -p (also without any option) lists, -j lists as JSON, -f has all deferred mail
 * tried now, -i ID one message; -c and -C DIR: where main.cf lies, else config_dir. Returns the exit status; has said
 * everything. */
int queue_command(int argc, char **argv, const char *config_dir);
