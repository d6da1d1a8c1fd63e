/* SPDX-License-Identifier: MIT */
#ifndef STILE_STATE_RENEWALS_H
#define STILE_STATE_RENEWALS_H

/*
 * state/renewals - which subscriptions are due: once in each billing month, on
 * the anchor day in the organization's time zone (the last day of a month that
 * is shorter).
 *
 * Once       the number of the month that was renewed last tells what is due;
 *            to keep it is the caller's, in the same durable step as the
 *            grant. A month that is in it is never renewed again, whatever
 *            clock, anchor or zone do.
 * Missed     after a standstill over several months only the month that it is
 *            now is renewed: credits of a month belong to that month, and
 *            nobody could use those of a month that has passed.
 * Anchor     a later anchor day in the same month: the next renewal is that of
 *            the next month. An earlier one that has passed: due at once,
 *            unless this month was renewed.
 * Threads    the control thread.
 */
#include "state/period.h"

#include <stdbool.h>
#include <stdint.h>

struct renewals;

/* Grants what is due for this month and records its number. Another result than
 * 0: it could not, and is asked again a step later. It sets nothing here. */
typedef int renewals_due(void *arg, uint32_t org, const struct period *month);

/* Organizations below `orgs_max`. -ENOMEM. */
int renewals_new(struct renewals **ret_renewals, uint32_t orgs_max,
		 renewals_due *due, void *arg);
struct renewals *renewals_free(struct renewals *r);

/* `last`: number of the month that was renewed last, 0: none yet. What is due
 * already is renewed at the next step. Errors as turnover_set(). */
int renewals_set(struct renewals *r, uint32_t org, const char *zone,
		 unsigned anchor_day, uint32_t last, uint64_t civil_ms);
/* It has no subscription any more. */
void renewals_clear(struct renewals *r, uint32_t org);

/* Once a second. True: there is more to do at once. */
bool renewals_step(struct renewals *r, uint64_t civil_ms);

#endif
