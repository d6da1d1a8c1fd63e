/* SPDX-License-Identifier: MIT */
#ifndef STILE_CONTROL_API_USAGE_H
#define STILE_CONTROL_API_USAGE_H

/* control/api_usage - a report of usage as it is gathered, for api_usage.c and
 * api_usage_csv.c. */
#include "control/api_call.h"
#include "state/usage_read.h"

struct usage_report {
	struct call *c;
	const struct org_record *org;
	enum usage_by by;
	json_t *rows; /* NULL: memory was short */
};

/* The rows as text/csv with a line of titles; RFC 4180. */
void usage_csv(const struct usage_report *r);

#endif
