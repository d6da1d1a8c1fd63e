/* SPDX-License-Identifier: MIT */
/*
 * The meters of an organization: which of its rules counts in which, and the
 * rings that its windows need.
 *
 * A rule keeps its meter as long as it is there, by name, algorithm and route:
 * a changed limit counts on with what was counted. A rule that comes takes one
 * that none of the rules before had, so a meter changes its meaning only after
 * a grace period in which nobody used it.
 */
#include "state/registry_internal.h"

#include "base/label.h"
#include "gate/meter.h"
#include "gate/step.h"
#include "state/arena.h"

#include <errno.h>
#include <string.h>

static bool same_rule(const struct rule *had, const struct rule_record *rec)
{
	uint64_t route = rec->route[0] != '\0'
				 ? label_hash(rec->route, strlen(rec->route))
				 : 0;

	return had->level == LEVEL_ORG && had->algorithm == rec->algorithm &&
	       had->route == route &&
	       strncmp(had->name, rec->name, RULE_NAME_LEN) == 0;
}

static const struct rule *find_had(const struct plan *had,
				   const struct rule_record *rec)
{
	for (uint32_t i = 0; had != NULL && i < had->rules_count; i++)
		if (same_rule(&had->rules[i], rec))
			return &had->rules[i];
	return NULL;
}

void meters_assign(const struct plan *had, struct effective *e)
{
	uint32_t taken = 0;

	for (uint32_t i = 0; had != NULL && i < had->rules_count; i++)
		if (had->rules[i].level == LEVEL_ORG)
			taken |= 1u << had->rules[i].meter;
	for (unsigned i = 0; i < e->org_count; i++) {
		const struct rule *old = find_had(had, &e->rules[i]);
		uint8_t meter = 0;

		if (old != NULL) {
			e->meter[i] = old->meter;
			continue;
		}
		while (taken & 1u << meter)
			meter++;
		taken |= 1u << meter;
		e->meter[i] = meter;
	}
}

static struct meter *meter_at(struct registry *g, struct org *org,
			      uint64_t more, unsigned meter)
{
	struct meter *block;

	if (meter == 0)
		return &org->first;
	block = apply_block(g, RING_WORD(more, 0, 0));
	return &block[meter - 1];
}

static uint64_t more_of(const struct org *org)
{
	/* PAIRS: nothing. This thread stores it. */
	return atomic_load_explicit(&org->more, memory_order_relaxed);
}

#define MORE_LOG2 6u /* words */
static_assert((METERS_MAX - 1) * sizeof(struct meter) <= sizeof(word_t)
								 << MORE_LOG2,
	      "all meters but the first");

static bool ring_will_do(uint64_t ring, uint32_t limit)
{
	return ring != 0 && RING_LOG2(ring) >= meter_ring_log2(limit) &&
	       (!meter_coarse(limit) || (ring & RING_COARSE) != 0);
}

int meters_take(struct registry *g, uint32_t slot, const struct effective *e,
		struct meters_room *ret_room)
{
	struct org *org = &g->arena->orgs[slot];
	uint64_t more = more_of(org);
	int r = 0;

	memset(ret_room, 0, sizeof(*ret_room));
	for (unsigned i = 0; i < e->org_count && r == 0; i++) {
		const struct rule_record *rule = &e->rules[i];
		unsigned m = e->meter[i];
		uint64_t ring = 0;

		if (m > 0 && more == 0 && ret_room->more == 0)
			r = rings_take(&g->rings, MORE_LOG2, &ret_room->more);
		if (r < 0 || rule->algorithm != RULE_WINDOW)
			continue;
		if (m == 0 || more != 0)
			ring = claim_load(&meter_at(g, org, more, m)->ring);
		if (ring_will_do(ring, rule->limit))
			continue;
		r = rings_take(&g->rings, meter_ring_log2(rule->limit),
			       &ret_room->rings[m]);
		if (r == 0 && meter_coarse(rule->limit))
			ret_room->rings[m] |= RING_COARSE;
	}
	if (r < 0)
		meters_give(g, ret_room);
	return r;
}

void meters_give(struct registry *g, const struct meters_room *room)
{
	for (unsigned m = 0; m < METERS_MAX; m++)
		if (room->rings[m] != 0)
			rings_give(&g->rings, room->rings[m]);
	if (room->more != 0)
		rings_give(&g->rings, room->more);
}

void meters_prepare(struct registry *g, uint32_t slot, const struct plan *had,
		    const struct plan *plan, struct meters_room *room)
{
	struct org *org = &g->arena->orgs[slot];

	if (room->more != 0)
		slot_set_half(&org->more, (uint32_t)RING_PLACE(room->more));
	room->more = 0;
	for (uint32_t i = 0; i < plan->rules_count; i++) {
		const struct rule *to = &plan->rules[i];
		const struct rule *from = to;
		struct meter *meter;
		uint64_t ring, old;

		if (to->level != LEVEL_ORG || to->algorithm != RULE_WINDOW)
			continue;
		ring = room->rings[to->meter];
		if (ring == 0)
			continue;
		meter = meter_at(g, org, more_of(org), to->meter);
		old = claim_load(&meter->ring);
		room->rings[to->meter] = old;
		if (old == 0) {
			/* Nobody uses this meter. */
			slot_set_word(&meter->level, 0);
			slot_set_word(&meter->base, 0);
			slot_set_word(&meter->ring, ring);
			continue;
		}
		for (uint32_t k = 0; had != NULL && k < had->rules_count; k++)
			if (had->rules[k].level == LEVEL_ORG &&
			    had->rules[k].meter == to->meter)
				from = &had->rules[k];
		meter_move_ring(&g->claim, &org->gate, meter, from, to, ring);
	}
}

static bool in_use(const struct plan *plan, unsigned meter)
{
	for (uint32_t i = 0; i < plan->rules_count; i++)
		if (plan->rules[i].level == LEVEL_ORG &&
		    plan->rules[i].meter == meter)
			return true;
	return false;
}

void meters_forget(struct registry *g, uint32_t slot, const struct plan *had,
		   const struct plan *plan)
{
	struct org *org = &g->arena->orgs[slot];

	for (uint32_t i = 0; had != NULL && i < had->rules_count; i++) {
		const struct rule *rule = &had->rules[i];
		struct meter *meter;
		uint64_t ring;

		if (rule->level != LEVEL_ORG || in_use(plan, rule->meter))
			continue;
		meter = meter_at(g, org, more_of(org), rule->meter);
		ring = claim_load(&meter->ring);
		if (rule->algorithm == RULE_CONCURRENCY)
			leases_forget(g, meter, sizeof(*meter));
		slot_set_word(&meter->level, 0);
		slot_set_word(&meter->base, 0);
		slot_set_word(&meter->ring, 0);
		if (ring != 0)
			rings_give(&g->rings, ring);
	}
}

int meters_adopt(struct registry *g, uint32_t slot, const struct plan *plan)
{
	struct org *org = &g->arena->orgs[slot];
	uint64_t more = more_of(org);
	int r = 0;

	if (more != 0)
		r = rings_adopt(&g->rings, RING_WORD(more, MORE_LOG2, 1));
	for (uint32_t i = 0; i < plan->rules_count && r == 0; i++) {
		const struct rule *rule = &plan->rules[i];

		if (rule->level != LEVEL_ORG || rule->algorithm != RULE_WINDOW)
			continue;
		if (rule->meter >= METERS_MAX || (rule->meter > 0 && more == 0))
			return -EINVAL;
		/* The block's pages are there: it was written. */
		r = arena_reserve(g->file, REGION_RINGS,
				  (more + (1u << MORE_LOG2)) * LINE_BYTES);
		if (r == 0)
			r = rings_adopt(
				&g->rings,
				claim_load(&meter_at(g, org, more, rule->meter)
						    ->ring));
	}
	return r;
}

void meters_withdraw(struct registry *g, uint32_t slot, const struct plan *plan)
{
	static const struct plan none;
	struct org *org = &g->arena->orgs[slot];

	meters_forget(g, slot, plan, &none);
	if (more_of(org) != 0)
		rings_give(&g->rings, RING_WORD(more_of(org), MORE_LOG2, 1));
	slot_set_half(&org->more, 0);
}
