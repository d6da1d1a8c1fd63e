/* SPDX-License-Identifier: MIT */
#include "state/renewals.h"

#include "base/check.h"
#include "state/turnover.h"

#include <errno.h>
#include <stdlib.h>

#define ORGS_MIN 1024

struct renewals {
	struct turnover *turnover;
	renewals_due *due;
	void *arg;
	uint32_t orgs_max, last_len;
	uint32_t *last; /* number of the month renewed last, by organization */
};

static int renew(void *arg, uint32_t org, const struct period *month)
{
	struct renewals *r = arg;
	int result = 0;

	if (month->number <= r->last[org])
		return 0;
	result = r->due(r->arg, org, month);
	if (result == 0)
		r->last[org] = month->number;
	return result;
}

int renewals_new(struct renewals **ret_renewals, uint32_t orgs_max,
		 renewals_due *due, void *arg)
{
	struct renewals *r = calloc(1, sizeof(*r));
	int result;

	if (r == NULL)
		return -ENOMEM;
	r->due = due;
	r->arg = arg;
	r->orgs_max = orgs_max;
	result = turnover_new(&r->turnover, orgs_max, renew, r);
	if (result < 0) {
		free(r);
		return result;
	}
	*ret_renewals = r;
	return 0;
}

struct renewals *renewals_free(struct renewals *r)
{
	if (r == NULL)
		return NULL;
	turnover_free(r->turnover);
	free(r->last);
	free(r);
	return NULL;
}

static int make_room(struct renewals *r, uint32_t org)
{
	uint64_t len = r->last_len < ORGS_MIN ? ORGS_MIN : r->last_len;
	uint32_t *grown;

	check(org < r->orgs_max);
	if (org < r->last_len)
		return 0;
	while (len <= org)
		len *= 2;
	grown = realloc(r->last, len * sizeof(*grown));
	if (grown == NULL)
		return -ENOMEM;
	r->last = grown;
	r->last_len = (uint32_t)len;
	return 0;
}

int renewals_set(struct renewals *r, uint32_t org, const char *zone,
		 unsigned anchor_day, uint32_t last, uint64_t civil_ms)
{
	struct period now = {0};
	int result = make_room(r, org);

	if (result == 0)
		result = turnover_set(r->turnover, org, PERIOD_BILLING, zone,
				      anchor_day, civil_ms, &now);
	if (result < 0)
		return result;
	r->last[org] = last;
	if (now.number > last)
		turnover_revisit(r->turnover, org);
	return 0;
}

void renewals_clear(struct renewals *r, uint32_t org)
{
	turnover_clear(r->turnover, org);
}

bool renewals_step(struct renewals *r, uint64_t civil_ms)
{
	return turnover_step(r->turnover, civil_ms);
}
