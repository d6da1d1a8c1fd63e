/* SPDX-License-Identifier: MIT */
/* Which periods budgets have: the kind is the budget's, time zone and anchor
 * day are its organization's. */
#include "state/registry_internal.h"

#include "base/epoch.h"

#include <errno.h>
#include <string.h>

#define KIND_BITS 8
#define KIND_MASK 255u

int registry_zone_check(struct registry *g, const char *zone)
{
	struct zone *z;
	int r = zone_open(&z, zone);

	if (r == 0)
		zone_free(z);
	if (r == -ENOENT)
		return registry_fail(g, REGISTRY_INVALID,
				     "no such time zone; expected a name such "
				     "as Europe/Berlin");
	if (r < 0)
		return registry_fail(g, r, "time zone %s: %s", zone,
				     strerror(-r));
	return 0;
}

static int follow(struct registry *g, const struct budget_record *b,
		  const struct org_record *org)
{
	int r = periods_set(g->periods, b->project, b->idx,
			    (enum period_kind)b->period, org->timezone,
			    org->anchor_day, (uint64_t)registry_now_ms(g));

	if (r < 0)
		return registry_fail(g, r,
				     "time zone %s of organization %.8s: %s "
				     "(install tzdata)",
				     org->timezone, org->id.c, strerror(-r));
	return 0;
}

/* Numbers of another kind mean other times. A process that died between the
 * change of the record and this has left them to us. */
static void begin_anew(struct registry *g, const struct budget_record *b)
{
	struct project *p = &g->arena->projects[b->project];
	unsigned shift = b->idx * KIND_BITS;
	uint32_t had = p->kinds >> shift & KIND_MASK;

	if (had == b->period)
		return;
	if (had != 0)
		apply_budget_reset(g, b->project, b->idx);
	p->kinds ^= (had ^ b->period) << shift;
}

uint8_t registry_budget_kind(const struct project *p, int idx)
{
	return (uint8_t)(p->kinds >> idx * KIND_BITS & KIND_MASK);
}

int registry_budget_follow(struct registry *g, const struct budget_record *b)
{
	struct org_record org;
	int r = registry_from_records(
		g,
		records_org_get(g->records, g->arena->projects[b->project].org,
				&org),
		"org");

	if (r != 0)
		return r;
	begin_anew(g, b);
	return follow(g, b, &org);
}

struct rebilling {
	struct registry *g;
	const struct org_record *org;
};

static int rebill_budget(const struct budget_record *b, void *arg)
{
	const struct rebilling *re = arg;

	return follow(re->g, b, re->org);
}

static int rebill_project(const struct project_record *p, void *arg)
{
	const struct rebilling *re = arg;

	return records_each_budget(re->g->records, p->slot, rebill_budget, arg);
}

int registry_rebill(struct registry *g, uint32_t slot)
{
	struct org_record org;
	struct rebilling re = {g, &org};
	int r = registry_from_records(
		g, records_org_get(g->records, slot, &org), "org");

	if (r == 0)
		r = records_each_project(g->records, slot, 0, 0, rebill_project,
					 &re);
	epoch_wait(g->epoch);
	return r;
}
