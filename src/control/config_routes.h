/* SPDX-License-Identifier: MIT */
#ifndef STILE_CONTROL_CONFIG_ROUTES_H
#define STILE_CONTROL_CONFIG_ROUTES_H

/*
 * control/config_routes - the group `routes` of the configuration: what a
 * request on each costs, and the scope that its key needs. Names are the
 * operator's, so they are not in the table of options. For config*.c only.
 */
#include "control/config_reader.h"

#define CONFIG_ROUTES "routes" /* the name of the group */

/* Reads what stands at the name into r->config->routes, in the place of what
 * was there. */
void config_routes_read(struct reader *r, uint32_t line);

/* The group in the reference. */
void config_routes_describe(FILE *out);

#endif
