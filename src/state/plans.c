/* SPDX-License-Identifier: MIT */
#include "state/plans.h"

#include "base/check.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#define SIZE_MIN 64u
#define PLAN_GONE UINT64_MAX

void plans_init(struct plans *p, struct arena *a, struct rings *rings)
{
	memset(p, 0, sizeof(*p));
	p->arena = a;
	p->rings = rings;
}

void plans_deinit(struct plans *p)
{
	free(p->entries);
}

static struct plan *plan_of(const struct plans *p, uint64_t block)
{
	return (struct plan *)(void *)(p->arena->rings +
				       RING_PLACE(block) * LINE_BYTES);
}

static uint64_t hash_of(const struct rule *rules, uint32_t count)
{
	return XXH3_64bits(rules, count * sizeof(*rules));
}

static bool same(const struct plan *plan, const struct rule *rules,
		 uint32_t count)
{
	if (plan->rules_count != count)
		return false;
	for (uint32_t i = 0; i < count; i++) {
		/* All but the two counts of a published rule. */
		if (memcmp(&plan->rules[i], &rules[i],
			   offsetof(struct rule, tripped)) != 0)
			return false;
	}
	return true;
}

static int grow(struct plans *p)
{
	uint32_t size = SIZE_MIN, live = 0;
	struct plan_entry *entries;

	for (uint32_t i = 0; i < p->size; i++)
		live += p->entries[i].users != 0;
	while (size < live * 4)
		size *= 2;
	entries = calloc(size, sizeof(*entries));
	if (entries == NULL)
		return -ENOMEM;
	for (uint32_t i = 0; i < p->size; i++) {
		uint32_t at = (uint32_t)p->entries[i].hash & (size - 1);

		if (p->entries[i].users == 0)
			continue;
		while (entries[at].block != 0)
			at = (at + 1) & (size - 1);
		entries[at] = p->entries[i];
	}
	free(p->entries);
	p->entries = entries;
	p->size = size;
	p->used = live;
	return 0;
}

static unsigned block_log2(uint32_t count)
{
	uint64_t words = (sizeof(struct plan) + count * sizeof(struct rule)) /
			 sizeof(word_t);
	unsigned log2 = 3;

	while (UINT64_C(1) << log2 < words)
		log2++;
	return log2;
}

static int make(struct plans *p, const struct rule *rules, uint32_t count,
		uint64_t *ret_block)
{
	struct plan *plan;
	int r = rings_take(p->rings, block_log2(count), ret_block);

	if (r < 0)
		return r;
	plan = plan_of(p, *ret_block);
	plan->rules_count = count;
	for (uint32_t i = 0; i < count; i++)
		memcpy(&plan->rules[i], &rules[i], sizeof(*rules));
	plan_complete(plan);
	return 0;
}

int plans_take(struct plans *p, const struct rule *rules, uint32_t count,
	       uint64_t *ret_block)
{
	uint64_t hash = hash_of(rules, count);
	struct plan_entry *e;
	uint32_t at;
	int r;

	check(count <= PLAN_RULES_MAX);
	if (p->used * 2 >= p->size) {
		r = grow(p);
		if (r < 0)
			return r;
	}
	for (at = (uint32_t)hash & (p->size - 1); p->entries[at].block != 0;
	     at = (at + 1) & (p->size - 1)) {
		e = &p->entries[at];
		if (e->users == 0 || e->hash != hash ||
		    !same(plan_of(p, e->block), rules, count))
			continue;
		e->users++;
		*ret_block = e->block;
		return 0;
	}
	e = &p->entries[at];
	r = make(p, rules, count, &e->block);
	if (r < 0) {
		e->block = 0;
		return r;
	}
	e->hash = hash;
	e->users = 1;
	p->used++;
	*ret_block = e->block;
	return 0;
}

void plans_give(struct plans *p, uint64_t block)
{
	const struct plan *plan;
	struct rule rules[PLAN_RULES_MAX];
	uint32_t at;

	if (block == 0)
		return;
	plan = plan_of(p, block);
	memcpy(rules, plan->rules, plan->rules_count * sizeof(rules[0]));
	for (uint32_t i = 0; i < plan->rules_count; i++)
		memset((uint8_t *)&rules[i] + offsetof(struct rule, tripped), 0,
		       sizeof(rules[i]) - offsetof(struct rule, tripped));
	at = (uint32_t)hash_of(rules, plan->rules_count) & (p->size - 1);
	while (p->entries[at].block != block)
		at = (at + 1) & (p->size - 1);
	if (--p->entries[at].users == 0) {
		p->entries[at].block = PLAN_GONE;
		rings_give(p->rings, block);
	}
}
