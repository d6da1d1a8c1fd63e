/* SPDX-License-Identifier: MIT */
#ifndef STILE_STATE_ZONE_RULE_H
#define STILE_STATE_ZONE_RULE_H

/*
 * state/zone_rule - the rule of a time zone in POSIX form, as the last line of
 * a TZif file has it: "CET-1CEST,M3.5.0,M10.5.0/3". For zone.c.
 *
 * Bounds     text up to ZONE_RULE_MAX; offsets up to 24 h, times of a change
 *            up to 167 h either way (RFC 9636).
 */
#include <stdbool.h>
#include <stdint.h>

#define ZONE_RULE_MAX 127

enum zone_change_form {
	CHANGE_WEEKDAY, /* Mm.w.d */
	CHANGE_JULIAN,  /* Jn, 1..365: 29 February has no number */
	CHANGE_DAY,     /* n, 0..365 */
};

struct zone_change {
	enum zone_change_form form;
	unsigned month, week, day;
	int32_t time_s; /* of that day, as clocks show it before the change */
};

struct zone_rule {
	int32_t standard_s, summer_s; /* added to UTC */
	bool has_summer;
	struct zone_change begin, end; /* of summer time */
};

bool zone_rule_parse(struct zone_rule *rule, const char *text);

/* The offset at an instant; *ret_end: until when it stays, later than utc_s. */
int32_t zone_rule_offset(const struct zone_rule *rule, int64_t utc_s,
			 int64_t *ret_end);

#endif
