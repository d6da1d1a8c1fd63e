/* SPDX-License-Identifier: MIT */
#ifndef STILE_CONTROL_RULE_TEXT_H
#define STILE_CONTROL_RULE_TEXT_H

/*
 * control/rule_text - limits and budgets as people write them.
 *
 *	limit    = window | gcra | inflight | "off"
 *	window   = rate                      100/60s
 *	gcra     = "gcra" rate ["burst" N]   gcra 10/1s burst 5
 *	inflight = "inflight" N ["lease" D]  inflight 5 lease 30s
 *	rate     = N "/" D
 *	D        = N ["ms" | "s" | "m" | "h" | "d"]  (a bare number: seconds)
 *	budget   = N "/" ("day" | "week" | "month" | "billing")
 *
 * Words stand apart by one or more spaces. A gcra without a burst has one of
 * 1; a lease not said is 60 seconds. "off" takes a plan's rule away.
 */
#include "state/records_plans.h"

#define RULE_TEXT_MAX 64 /* bytes of a formatted limit, with terminator */
#define RULE_TEXT_BURST 1u
#define RULE_TEXT_LEASE_MS 60000u

/* Fills in algorithm, limit, period_ms, burst, lease_ms and removed; the rest
 * stays. -EINVAL: not of that shape; -ERANGE: a number that no rule has. What
 * fits the level is effective_check()'s. */
int rule_text_parse(const char *text, struct rule_record *rule);
void rule_text_format(const struct rule_record *rule,
		      char out[static RULE_TEXT_MAX]);

/* "org", "project", "key", "route", "address"; false: none of them. */
bool rule_text_parse_level(const char *text, uint8_t *ret_level);
const char *rule_text_level(uint8_t level);

/* -EINVAL, -ERANGE. */
int budget_text_parse(const char *text, uint64_t *ret_units,
		      uint8_t *ret_period);
void budget_text_format(uint64_t units, uint8_t period,
			char out[static RULE_TEXT_MAX]);

#endif
