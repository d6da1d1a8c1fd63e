/* SPDX-License-Identifier: MIT */
/*
 * The arena follows the records: blocks of rules, of access, of credits, and
 * budgets. What the decision engine wants of a change is here and nowhere
 * else in state/.
 */
#include "state/registry_internal.h"

#include "base/clock.h"
#include "base/epoch.h"
#include "base/label.h"
#include "state/access.h"

#include <string.h>

#define NS_PER_MS UINT64_C(1000000)
#define BLOCK_LOG2_MIN 3u /* words: a line */

void *apply_block(struct registry *g, uint64_t block)
{
	return g->arena->rings + (uint64_t)RING_PLACE(block) * LINE_BYTES;
}

unsigned apply_log2(size_t bytes)
{
	unsigned log2 = BLOCK_LOG2_MIN;

	while (sizeof(word_t) << log2 < bytes)
		log2++;
	return log2;
}

/* ---- rules ---- */

static void fill_rule(const struct rule_record *from, struct rule *to)
{
	to->algorithm = from->algorithm;
	to->level = from->level;
	to->flags = (uint8_t)((from->shadow ? RULE_SHADOW : 0) |
			      (from->requests_only ? RULE_REQUESTS : 0) |
			      (from->full_pass ? RULE_FULL_PASS : 0));
	to->limit = from->limit;
	to->rate = from->limit;
	to->period_ms = (uint32_t)from->period_ms;
	to->id = from->id;
	if (from->route[0])
		to->route = label_hash(from->route, strlen(from->route));
	/* The rest is zero: it is compared, and clients are told it. */
	memcpy(to->name, from->name, strnlen(from->name, RULE_NAME_LEN));
	switch (from->algorithm) {
	case RULE_GCRA:
		to->limit = from->burst;
		to->unit_ns = (from->period_ms * NS_PER_MS + from->limit - 1) /
			      from->limit;
		break;
	case RULE_CONCURRENCY:
		to->span = from->lease_ms * CLOCK_TICKS_PER_MS;
		break;
	default:
		to->span = from->period_ms * CLOCK_TICKS_PER_MS;
		break;
	}
}

int apply_plan_fill(struct registry *g, uint32_t org, const struct effective *e,
		    uint8_t out[static PLAN_BYTES_MAX], size_t *ret_len)
{
	uint64_t word = claim_load(&g->arena->orgs[org].plan);
	const struct plan *had = word != 0 ? apply_block(g, word) : NULL;
	struct plan *plan = (struct plan *)(void *)out;

	memset(out, 0, PLAN_BYTES_MAX);
	plan->rules_count = e->count;
	for (unsigned i = 0; i < e->count; i++) {
		struct rule *rule = &plan->rules[i];
		const struct rule *old;
		int r;

		fill_rule(&e->rules[i], rule);
		if (i < e->org_count) {
			rule->meter = e->meter[i];
			continue;
		}
		old = priors_old(had, rule);
		r = tables_take(g, org, old, rule, e->rules[i].max_subjects);
		if (r < 0)
			return r;
		priors_follow(g, org, old, rule);
	}
	plan_complete(plan);
	*ret_len = sizeof(*plan) + e->count * sizeof(struct rule);
	return 0;
}

size_t apply_plan_image(const struct plan *plan,
			uint8_t out[static PLAN_BYTES_MAX])
{
	struct plan *image = (struct plan *)(void *)out;

	memset(out, 0, PLAN_BYTES_MAX);
	memcpy(image, plan, sizeof(*plan));
	/* The counts belong to the workers. */
	for (unsigned i = 0; i < plan->rules_count; i++) {
		memcpy(&image->rules[i], &plan->rules[i],
		       offsetof(struct rule, tripped));
	}
	return sizeof(*plan) + plan->rules_count * sizeof(struct rule);
}

int apply_plan_make(struct registry *g, const uint8_t *image, size_t len,
		    uint64_t *ret_block)
{
	int r = rings_take(&g->rings, apply_log2(len), ret_block);

	if (r < 0)
		return r;
	/* Nobody reads it before it is published. */
	memcpy(apply_block(g, *ret_block), image, len);
	tables_ref(g, apply_block(g, *ret_block));
	priors_note(g, apply_block(g, *ret_block));
	return 0;
}

bool apply_plan_sane(struct registry *g, uint64_t block)
{
	const struct plan *plan = apply_block(g, block);

	return plan->rules_count <= PLAN_RULES_MAX &&
	       sizeof(*plan) + plan->rules_count * sizeof(struct rule) <=
		       sizeof(word_t) << RING_LOG2(block);
}

void apply_plan_free(struct registry *g, uint64_t block)
{
	tables_unref(g, apply_block(g, block));
	rings_give(&g->rings, block);
}

uint64_t apply_plan_publish(struct registry *g, uint32_t org, uint64_t block)
{
	word_t *plan = &g->arena->orgs[org].plan;
	uint64_t old = claim_load(plan);

	/* PAIRS: the workers' load of org->plan, acquire. Publishes the block.
	 * Only this thread stores it. */
	atomic_store_explicit(plan, block, memory_order_release);
	return old;
}

/* ---- access of keys ---- */

int apply_access_make(struct registry *g, const struct access_record *of,
		      unsigned count, uint32_t *ret_place)
{
	uint64_t words[ACCESS_WORDS_MAX];
	uint64_t block;
	size_t len;
	int r;

	*ret_place = 0;
	if (count == 0)
		return 0;
	len = access_fill(of, count, words) * sizeof(words[0]);
	r = rings_take(&g->rings, apply_log2(len), &block);
	/* Place 0 would say "everything": leave it to somebody else. It is
	 * given back when a place that will do was found. */
	if (r == 0 && RING_PLACE(block) == 0) {
		uint64_t first = block;

		r = rings_take(&g->rings, apply_log2(len), &block);
		rings_give(&g->rings, first);
	}
	if (r < 0)
		return r;
	/* Nobody reads it before it is published. */
	memcpy(apply_block(g, block), words, len);
	*ret_place = RING_PLACE(block);
	return 0;
}

void apply_access_free(struct registry *g, uint32_t place)
{
	const struct access *a;
	unsigned words;

	if (place == 0)
		return;
	a = apply_block(g, RING_WORD(place, 0, 0));
	words = access_words(a->scopes, a->routes, a->networks);
	rings_give(&g->rings,
		   RING_WORD(place, apply_log2(words * sizeof(word_t)), 1));
}

uint32_t apply_key_state(struct registry *g, uint32_t key,
			 enum slot_state state, uint32_t place)
{
	half_t *word = &g->arena->keys[key].state;
	/* PAIRS: nothing; only this thread stores it. */
	uint32_t old = atomic_load_explicit(word, memory_order_relaxed);

	/* PAIRS: the workers' and the snapshot's load, acquire. Publishes the
	 * block, and the id beside it. */
	atomic_store_explicit(word, KEY_WORD(state, place),
			      memory_order_release);
	return KEY_ACCESS(old);
}

/* ---- budgets ---- */

void apply_budget(struct registry *g, uint32_t project, uint8_t idx,
		  uint64_t cap)
{
	slot_set_word(&g->arena->projects[project].budgets[idx].cap, cap);
}

void apply_budget_reset(struct registry *g, uint32_t project, uint8_t idx)
{
	struct budget *b = &g->arena->projects[project].budgets[idx];

	slot_set_word(&b->used, 0);
	slot_set_word(&b->returned, 0);
	slot_set_word(&b->period, 0);
	slot_set_word(&b->ends_ms, 0);
	slot_set_word(&b->next_ends_ms, 0);
}

/* ---- credits ---- */

static size_t credits_bytes(unsigned pools)
{
	return sizeof(struct credits) + pools * sizeof(struct pool);
}

int apply_credits_make(struct registry *g, unsigned pools, uint64_t *ret_block)
{
	return rings_take(&g->rings, apply_log2(credits_bytes(pools)),
			  ret_block);
}

bool apply_credits_sane(struct registry *g, uint64_t block)
{
	const struct credits *c = apply_block(g, block);

	return c->count <= CREDIT_POOLS_MAX &&
	       credits_bytes(c->count) <= sizeof(word_t) << RING_LOG2(block);
}

static const struct pool *find_pool(const struct credits *c, uint32_t id)
{
	for (uint32_t i = 0; c != NULL && i < c->count; i++)
		if (c->pools[i].id == id)
			return &c->pools[i];
	return NULL;
}

/* Into a block that nobody reads yet; `old` at some moment, which the claim
 * that follows makes the last one. */
static void fill_pools(struct credits *c, const struct credits *old,
		       const struct pool_record *pools, unsigned count)
{
	c->count = count;
	for (unsigned i = 0; i < count; i++) {
		const struct pool *had = find_pool(old, pools[i].id);
		struct pool *p = &c->pools[i];

		p->kind = pools[i].kind;
		p->id = pools[i].id;
		p->route = pools[i].route[0]
				   ? label_hash(pools[i].route,
						strlen(pools[i].route))
				   : 0;
		slot_set_word(&p->expires_ms, (uint64_t)pools[i].expires_ms);
		slot_set_word(&p->granted, pools[i].granted);
		slot_set_word(&p->used, had ? claim_load(&had->used) : 0);
		slot_set_word(&p->returned,
			      had ? claim_load(&had->returned) : 0);
		slot_set_word(&p->withdrawn,
			      had ? claim_load(&had->withdrawn) : 0);
	}
}

static int64_t balance(const struct pool *p)
{
	return (int64_t)(claim_load(&p->granted) + claim_load(&p->returned) -
			 claim_load(&p->used) - claim_load(&p->withdrawn));
}

/* The organization's block becomes `block`, prepared by the caller from what
 * `old` held at `version`. */
static bool swap_at(struct registry *g, struct org *org, uint64_t version,
		    uint64_t old, uint64_t block)
{
	claim_begin(&g->claim);
	claim_add(&g->claim, &org->credits, old, block);
	return claim_commit(&g->claim, &org->gate, version);
}

static void give_credits(struct registry *g, uint64_t old)
{
	epoch_wait(g->epoch);
	if (old != 0)
		rings_give(&g->rings, old);
}

unsigned apply_credits_swap(struct registry *g, uint32_t org_slot,
			    uint64_t block, const struct pool_record *pools,
			    unsigned count,
			    struct pool_rest rests[static CREDIT_POOLS_MAX])
{
	struct org *org = &g->arena->orgs[org_slot];
	struct credits *c = apply_block(g, block);
	const struct credits *had;
	uint64_t version, old;
	unsigned gone = 0;

	/* Every decision in between makes the commit fail, so what was copied
	 * is the last word of the old block. */
	do {
		version = claim_settle(g->arena, &org->gate, NULL);
		old = claim_load(&org->credits);
		had = old != 0 ? apply_block(g, old) : NULL;
		fill_pools(c, had, pools, count);
	} while (!swap_at(g, org, version, old, block));
	for (uint32_t i = 0; had != NULL && i < had->count; i++)
		if (find_pool(c, had->pools[i].id) == NULL)
			rests[gone++] = (struct pool_rest){
				had->pools[i].id,
				claim_load(&had->pools[i].used) > 0,
				balance(&had->pools[i])};
	give_credits(g, old);
	return gone;
}

void apply_credits_none(struct registry *g, uint32_t org_slot)
{
	struct org *org = &g->arena->orgs[org_slot];
	uint64_t version, old;

	do {
		version = claim_settle(g->arena, &org->gate, NULL);
		old = claim_load(&org->credits);
	} while (old != 0 && !swap_at(g, org, version, old, 0));
	give_credits(g, old);
}
