/* SPDX-License-Identifier: MIT */
/* The pools of credits as an attempt of gate/step sees them, and what a check
 * draws from them. */
#include "gate/step.h"

static inline uint64_t left_in_pool(const struct step *s, const struct pool *p,
				    uint64_t route)
{
	return pool_left(p, step_value(s, &p->used),
			 step_value(s, &p->returned), route, s->wall_ms);
}

uint64_t step_credits(const struct step *s, uint64_t route)
{
	uint64_t left = 0;
	unsigned i;

	for (i = 0; i < s->credits->count; i++) {
		const struct pool *p = &s->credits->pools[i];

		left += left_in_pool(s, p, route);
	}
	return left;
}

static void set_draw(struct hold *h, unsigned i, uint64_t draw)
{
	/* PAIRS: as fill_hold(). */
	atomic_store_explicit(&h->draws[i], draw, memory_order_relaxed);
}

void step_no_draws(struct hold *h)
{
	unsigned i;

	for (i = 0; i < HOLD_DRAWS_MAX; i++)
		set_draw(h, i, 0);
}

/* Which pools are to be given back what, when the hold is settled at less. */
static void note_draw(struct hold *h, unsigned number, uint32_t pool,
		      uint64_t units)
{
	if (number < HOLD_DRAWS_MAX)
		set_draw(h, number, HOLD_DRAW(pool, units));
	else if (number == HOLD_DRAWS_MAX)
		step_no_draws(h);
}

void step_draw(struct step *s, uint64_t units, uint64_t route, struct hold *h)
{
	unsigned i, drawn = 0;

	for (i = 0; i < s->credits->count && units > 0; i++) {
		struct pool *p = &s->credits->pools[i];
		uint64_t take = left_in_pool(s, p, route);

		if (take > units)
			take = units;
		if (take == 0)
			continue;
		step_change(s, &p->used)->to += take;
		units -= take;
		if (h != NULL)
			note_draw(h, drawn++, p->id, take);
	}
}

void step_read_credits(struct step *s)
{
	s->credits = block_at(s->arena, claim_load(&s->org->credits));
	/* Torn when the version has gone by: then the gate says so, but until
	 * then it must not lead us astray. */
	if (s->credits != NULL && s->credits->count > CREDIT_POOLS_MAX)
		s->credits = NULL;
}
