/* SPDX-License-Identifier: MIT */
#include "stilectl_time.h"

#include "stilectl.h"

#include "base/rfc3339.h"
#include "control/config.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

int time_from_when(const char *when, int64_t now_ms,
		   char out[static TIME_TEXT_MAX])
{
	int64_t at_ms = 0;
	uint64_t distance_ms;
	int r;

	if (when[0] != '+') {
		r = rfc3339_parse(when, &at_ms);
	} else {
		r = config_parse_duration(when + 1, &distance_ms);
		if (r == 0 &&
		    distance_ms > (uint64_t)(RFC3339_LAST_MS - now_ms))
			r = -ERANGE;
		if (r == 0)
			at_ms = now_ms + (int64_t)distance_ms;
	}
	if (r == -ERANGE) {
		ctl_error("--expires: there is no such time as \"%s\"", when);
		return CTL_TROUBLE;
	}
	if (r < 0) {
		ctl_error("--expires wants a time such as 2030-01-31T12:00:00Z "
			  "or a distance such as +30d (units ms s m h d), not "
			  "\"%s\"",
			  when);
		return CTL_TROUBLE;
	}
	rfc3339_format(at_ms, out);
	return 0;
}

void time_for_people(const char *rfc3339, char out[static TIME_TEXT_MAX])
{
	int64_t ms;

	if (rfc3339_parse(rfc3339, &ms) < 0) {
		snprintf(out, TIME_TEXT_MAX, "%s", rfc3339);
		return;
	}
	rfc3339_format(ms - ms % 1000, out);
	*strchr(out, 'T') = ' ';
}

void time_elapsed(int64_t s, char out[static TIME_TEXT_MAX])
{
	static const struct {
		const char *name;
		int64_t s;
	} units[] = {{"d ", 86400}, {"h ", 3600}, {"m ", 60}, {"s", 1}};
	size_t len = 0;

	for (unsigned i = 0; i < sizeof(units) / sizeof(*units); i++) {
		int64_t n = s / units[i].s;

		s %= units[i].s;
		if (n == 0 && len == 0 && units[i].s > 1)
			continue;
		len += (size_t)snprintf(out + len, TIME_TEXT_MAX - len,
					"%" PRId64 "%s", n, units[i].name);
		if (len >= TIME_TEXT_MAX)
			return;
	}
}
