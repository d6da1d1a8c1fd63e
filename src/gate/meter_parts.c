/* SPDX-License-Identifier: MIT */
/* A view and those that are joined to it (gate/prior.h). */
#include "gate/meter.h"
#include "gate/window.h"

/* Views of its own and of predecessors, by number: 0 is its own. */
static const struct view *part(const struct view *v, unsigned i)
{
	return i == 0 ? v : &v->prior[i - 1];
}

static uint64_t part_used(const struct view *v, unsigned i)
{
	return i == 0 ? v->used - v->before : v->prior[i - 1].used;
}

/* Stamp of a part's entry, from its oldest on; behind the last one what is
 * charged but not in memory. */
static uint64_t part_stamp(const struct view *p, uint64_t i)
{
	return i <= ((p->newest - p->first) & p->mask)
		       ? entry_stamp(p->bits, entry(p, p->first + i))
		       : p->newest_stamp;
}

/* Units of all parts that have left when what has this stamp has. */
static uint64_t units_until(const struct view *v, uint64_t stamp)
{
	uint64_t sum = 0;
	unsigned k;

	for (k = 0; k <= v->priors; k++) {
		const struct view *p = part(v, k);
		uint64_t lo = 0, hi = (p->newest - p->first) & p->mask;

		if (!p->live || stamp < p->first_stamp)
			continue;
		sum += part_used(v, k);
		if (stamp >= p->newest_stamp)
			continue;
		while (lo < hi) {
			uint64_t mid = lo + (hi - lo + 1) / 2;

			if (part_stamp(p, mid) <= stamp)
				lo = mid;
			else
				hi = mid - 1;
		}
		sum -= (p->total - entry(p, p->first + lo)) &
		       total_mask(p->bits);
	}
	return sum;
}

/* Ticks until the first stamp, of any part, with which so many leave, has. */
static uint64_t all_left_in(const struct view *v, uint64_t need)
{
	uint64_t first = UINT64_MAX;
	unsigned k;

	for (k = 0; k <= v->priors; k++) {
		const struct view *p = part(v, k);
		uint64_t lo = 0, hi = ((p->newest - p->first) & p->mask) + 1;

		if (!p->live || units_until(v, p->newest_stamp) < need)
			continue;
		while (lo < hi) {
			uint64_t mid = lo + (hi - lo) / 2;

			if (units_until(v, part_stamp(p, mid)) >= need)
				hi = mid;
			else
				lo = mid + 1;
		}
		if (part_stamp(p, lo) < first)
			first = part_stamp(p, lo);
	}
	return leaves_in(v, first);
}

void view_answer_parts(const struct view *v, uint32_t units,
		       struct meter_answer *out)
{
	unsigned k;

	for (k = 0; k < v->priors; k++) {
		uint64_t rests_ms = window_rests_ms(&v->prior[k]);
		uint64_t more_ms = window_more_ms(&v->prior[k]);

		if (out->reset_ms < rests_ms)
			out->reset_ms = rests_ms;
		if (out->retry_ms == 0 || out->retry_ms > more_ms)
			out->retry_ms = more_ms;
	}
	if (out->fits)
		return;
	out->retry_ms = 0;
	if (units <= v->rule->limit)
		out->retry_ms = ticks_to_ms(
			all_left_in(v, v->used + units - v->rule->limit));
}

/* ---- joining ---- */

/* When all its entries count, what the oldest stands for is not known: it had
 * left by what was in force when they were written, so it is left out. (In a
 * ring that is charged it is taken for what fills the window.) */
static void leave_oldest(struct view *p)
{
	uint64_t oldest = entry(p, p->first);

	if (!p->live || !counts(p, entry(p, p->first - 1)))
		return;
	p->first = (p->first + 1) & p->mask;
	p->first_stamp = entry_stamp(p->bits, entry(p, p->first));
	p->used = (p->from - oldest) & total_mask(p->bits);
}

void view_join(struct view *v, struct view *p)
{
	switch (v->rule->algorithm) {
	case RULE_WINDOW:
		leave_oldest(p);
		if (!p->live)
			return;
		v->used += p->used;
		v->before += p->used;
		if (v->priors++ == 0)
			v->prior = p;
		return;
	case RULE_GCRA:
		if (v->level < p->level)
			v->level = p->level;
		return;
	default:
		v->level += p->level;
		v->before += p->level;
		return;
	}
}
