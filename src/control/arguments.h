/* SPDX-License-Identifier: MIT */
#ifndef STILE_CONTROL_ARGUMENTS_H
#define STILE_CONTROL_ARGUMENTS_H

/*
 * control/arguments - the command line of stiled, and the configuration that
 * comes out of it.
 *
 * Threads    the main thread, before any other runs.
 */
#include "control/config.h"

#define EXIT_FAILED 1 /* could not start, or not stop cleanly */
#define EXIT_USAGE 2

/*
 * -1: start with *ret_config. Otherwise the exit status: what was asked for has
 * been printed (--help, --check-config ...), or what is wrong has been told.
 */
int arguments_read(int argc, char **argv, struct config *ret_config);

#endif
