/* services.h - what a service process runs. */
#pragma once

/* main() of a process that the master started: argv[1] is "--service". Returns the exit status. */
int services_main(int argc, char **argv);
