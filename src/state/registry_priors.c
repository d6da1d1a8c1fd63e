/* SPDX-License-Identifier: MIT */
/*
 * Rules whose subjects are counted in another table from now on: another plan,
 * a rule of the organization's own in place of the plan's or back, a limit that
 * outgrew the entries of its table, another number of subjects. The rule reads
 * the old table (gate/prior.h) until nothing in it matters.
 *
 * Why no decision misses what another one charged. Workers go by the rules that
 * they found at the beginning of their section, so for a while some go by the
 * old ones and some by the new. A change is published in two steps, with a
 * grace period behind each:
 *
 *	before         charges the old table, reads the old one
 *	announcement   charges the old table, reads both
 *	the new rules  charge the new table, read both
 *
 * Of two neighbours in this list both are gone by at the same time, never of
 * three, and each of two reads what the other one charges: the new table only
 * when somebody may charge it. All of it in one version of the organization.
 *
 * To and fro between two plans is two tables that change places. A rule that
 * has all the predecessors it may have keeps its table as long as it is the
 * same rule (tables_take()). One that follows another rule has no choice: then
 * the oldest is forgotten.
 */
#include "state/registry_internal.h"

#include "base/epoch.h"
#include "gate/meter.h"
#include "gate/step.h"

#include <string.h>

#define NS_PER_S UINT64_C(1000000000)

/* How long what is counted at an instant may matter. Stamps are rounded up by
 * less than a sixty-fourth of a window. */
static uint64_t extent_ns(const struct rule *r)
{
	if (r->algorithm == RULE_GCRA)
		return r->limit * r->unit_ns;
	return (r->span + r->span / 64 + 2) * CLOCK_TICK_NS;
}

/* In whole seconds, so that organizations which change together go on sharing
 * their rules. */
static uint64_t until_ns(const struct rule *a, const struct rule *b)
{
	uint64_t x = extent_ns(a), y = extent_ns(b);
	uint64_t at = instant_now().ns + (x > y ? x : y);

	return (at / NS_PER_S + 1) * NS_PER_S;
}

static void raise_to(uint64_t *at, uint64_t value)
{
	if (*at < value)
		*at = value;
}

const struct rule *priors_old(const struct plan *had, const struct rule *r)
{
	for (uint32_t i = 0; had != NULL && i < had->rules_count; i++) {
		const struct rule *old = &had->rules[i];

		if (old->level == r->level && old->algorithm == r->algorithm &&
		    old->route == r->route &&
		    memcmp(old->name, r->name, RULE_NAME_LEN) == 0)
			return old;
	}
	return NULL;
}

static bool has_prior(const struct rule *r, uint64_t block)
{
	for (unsigned i = 0; i < RULE_PRIORS_MAX; i++)
		if (r->prior[i] == block)
			return true;
	return false;
}

/* In front or at the end; what does not fit is the oldest. */
static void put_first(struct rule *r, uint64_t block)
{
	memmove(&r->prior[1], &r->prior[0],
		(RULE_PRIORS_MAX - 1) * sizeof(r->prior[0]));
	r->prior[0] = block;
}

static void put_last(struct rule *r, uint64_t block)
{
	unsigned i = 0;

	while (i < RULE_PRIORS_MAX && r->prior[i] != 0)
		i++;
	if (i < RULE_PRIORS_MAX)
		r->prior[i] = block;
}

/* Does none of its predecessors count anything of this organization any more?
 */
static bool over(struct registry *g, uint32_t org, const struct rule *r,
		 uint64_t ns)
{
	if (ns < r->prior_until_ns)
		return false;
	if (r->algorithm != RULE_CONCURRENCY)
		return true;
	/* A hold may last longer than the leases that it has. */
	for (unsigned i = 0; i < RULE_PRIORS_MAX && r->prior[i] != 0; i++) {
		g->priors.scans++;
		if (leases_any(g, org, block_at(g->arena, r->prior[i]),
			       sizeof(word_t) << RING_LOG2(r->prior[i])))
			return false;
	}
	return true;
}

bool priors_full(struct registry *g, uint32_t org, const struct rule *old)
{
	return old->prior[RULE_PRIORS_MAX - 1] != 0 &&
	       !over(g, org, old, instant_now().ns);
}

void priors_follow(struct registry *g, uint32_t org, const struct rule *old,
		   struct rule *r)
{
	bool moved;

	if (old == NULL || r->table == 0 || r->level == LEVEL_ADDRESS)
		return;
	moved = old->table != r->table;
	if (moved)
		put_first(r, old->table);
	if (old->prior[0] != 0 && !over(g, org, old, instant_now().ns)) {
		for (unsigned i = 0; i < RULE_PRIORS_MAX; i++)
			if (old->prior[i] != r->table)
				put_last(r, old->prior[i]);
		raise_to(&r->prior_until_ns, old->prior_until_ns);
	}
	if (r->prior[0] == 0)
		r->prior_until_ns = 0;
	else if (moved || extent_ns(old) != extent_ns(r))
		raise_to(&r->prior_until_ns, until_ns(old, r));
	if (moved)
		raise_to(&r->prior_until_ns,
			 subjects_note(g->arena, old->table)->until_ns);
}

void priors_shrink(struct registry *g, uint64_t table, const struct rule *from,
		   const struct rule *to)
{
	/* Of a window what the shorter one does not count is remembered as long
	 * as it happens to be there. */
	if (from->algorithm == RULE_GCRA && extent_ns(from) > extent_ns(to))
		raise_to(&subjects_note(g->arena, table)->until_ns,
			 until_ns(from, to));
}

int priors_announce(struct registry *g, const struct plan *had,
		    const struct plan *plan, uint64_t *ret_block)
{
	_Alignas(LINE_BYTES) uint8_t image[PLAN_BYTES_MAX];
	struct plan *between = (struct plan *)(void *)image;
	bool any = false;
	size_t len;

	*ret_block = 0;
	if (had == NULL)
		return 0;
	len = apply_plan_image(had, image);
	for (uint32_t i = 0; i < plan->rules_count; i++) {
		const struct rule *r = &plan->rules[i];
		const struct rule *old = priors_old(had, r);
		struct rule *to;

		if (old == NULL || r->prior[0] == 0 || r->table == old->table ||
		    has_prior(old, r->table))
			continue;
		to = &between->rules[old - had->rules];
		put_first(to, r->table);
		raise_to(&to->prior_until_ns, r->prior_until_ns);
		any = true;
	}
	if (!any)
		return 0;
	plan_complete(between);
	return share_image(g, image, len, ret_block);
}

/* ---- when they do not matter any more ---- */

void priors_note(struct registry *g, const struct plan *plan)
{
	for (uint32_t i = 0; i < plan->rules_count; i++) {
		const struct rule *r = &plan->rules[i];

		if (r->prior[0] != 0 && (g->priors.due_ns == 0 ||
					 g->priors.due_ns > r->prior_until_ns))
			g->priors.due_ns = r->prior_until_ns;
	}
}

/* The same rules without predecessors that do not matter; 0: all do. */
static int without(struct registry *g, uint32_t org, const struct plan *plan,
		   uint64_t ns, uint64_t *ret_block)
{
	_Alignas(LINE_BYTES) uint8_t image[PLAN_BYTES_MAX];
	struct plan *to = (struct plan *)(void *)image;
	size_t len = apply_plan_image(plan, image);
	bool any = false;

	*ret_block = 0;
	for (uint32_t i = 0; i < to->rules_count; i++) {
		struct rule *r = &to->rules[i];

		if (r->prior[0] == 0 || !over(g, org, r, ns))
			continue;
		memset(r->prior, 0, sizeof(r->prior));
		r->prior_until_ns = 0;
		any = true;
	}
	if (!any)
		return 0;
	plan_complete(to);
	return share_image(g, image, len, ret_block);
}

/* Organizations whose rules a step finds to be those of the one before, those
 * whose rules it looks at, and times that it looks at all holds for that: none
 * takes long. */
#define SKIP_MAX 65536u
#define LOOK_MAX 8192u
#define SCAN_MAX 128u

/* Adds those from the cursor on. */
static int collect(struct registry *g, uint64_t ns, struct plan_change *c)
{
	uint32_t end = slots_read(&g->arena->header->org_slots);
	uint64_t sound = 0; /* the last block of which nothing goes */
	uint32_t skips = 0, looks = 0;

	g->priors.scans = 0;
	for (; g->priors.cursor < end; g->priors.cursor++) {
		uint32_t org = g->priors.cursor, scans = g->priors.scans;
		uint64_t had = claim_load(&g->arena->orgs[org].plan);
		uint64_t block = 0;
		int r;

		if (had == 0 || had == sound) {
			if (++skips == SKIP_MAX)
				return 0;
			continue;
		}
		if (++looks == LOOK_MAX || scans >= SCAN_MAX)
			return 0;
		r = plan_change_room(c);
		if (r == 0)
			r = without(g, org, block_at(g->arena, had), ns,
				    &block);
		if (r < 0)
			return r;
		if (block == 0) {
			/* Whose leases are out is another question for each. */
			if (g->priors.scans == scans)
				sound = had;
			continue;
		}
		memset(&c->at[c->count], 0, sizeof(c->at[0]));
		c->at[c->count].org = org;
		c->at[c->count++].block = block;
	}
	g->priors.cursor = 0;
	return 0;
}

/* When the next one goes, of all blocks there are. */
static void find_due(struct registry *g)
{
	const struct shares *s = &g->shares;

	g->priors.due_ns = 0;
	for (size_t i = 0; i < s->room; i++)
		if (s->at[i].block != 0)
			priors_note(g, block_at(g->arena, s->at[i].block));
}

void priors_step(struct registry *g, uint64_t ns)
{
	struct plan_change c = {0};

	if (g->priors.due_ns == 0 || ns < g->priors.due_ns)
		return;
	/* Without room it is tried again: they do no harm. */
	(void)collect(g, ns, &c);
	if (c.count != 0)
		plan_change_apply(g, &c);
	else
		plan_change_abandon(g, &c);
	if (g->priors.cursor == 0)
		find_due(g);
}
