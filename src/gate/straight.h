/* SPDX-License-Identifier: MIT */
#ifndef STILE_GATE_STRAIGHT_H
#define STILE_GATE_STRAIGHT_H

/*
 * gate/straight - what the straight lines of gate/plain and gate/own have in
 * common: a rule is read, asked and put into the claim in one pass, and only
 * the one that is told is worked out.
 *
 * What does not stay in registers is a store, and a locked instruction waits
 * for every store before it. So these are inline, and the numbers of the reply
 * are worked out when the claim got through.
 */
#include "base/counters.h"
#include "gate/step.h"
#include "gate/window.h"

#include <string.h>

#define STRAIGHT_NONE UINT32_MAX /* units; more than any limit */
static_assert(LIMIT_MAX < STRAIGHT_NONE, "no limit is that large");

/* The rule with the least room so far. */
struct least {
	const struct rule *rule; /* NULL: none has looked at the check */
	uint64_t left;           /* units */
	uint64_t used_ns;        /* GCRA: what it has to work off */
};

/* Each puts a word into the claim and returns where the next goes; NULL: it
 * does not fit. `units` are at most the limit. */
static inline struct claim_word *
straight_gcra(const struct claim *c, struct claim_word *at,
	      const struct rule *r, struct meter *m, uint64_t units,
	      uint64_t now_ns, struct least *least)
{
	/* TAT, and now, with `base` added. */
	uint64_t now = now_ns + claim_load(&m->base);
	uint64_t from = claim_load(&m->level), unit_ns = r->unit_ns;
	uint64_t tat = (from > now ? from : now) + units * unit_ns;
	uint64_t used = tat - now;

	if (unlikely(used > r->span))
		return NULL;
	/* Is there less room? Most often that can be said without dividing. */
	if (least->left > r->limit || r->span - used < least->left * unit_ns) {
		least->rule = r;
		least->left = (r->span - used) / unit_ns;
		least->used_ns = used;
	}
	return claim_put(c, at, &m->level, from, tat);
}

/* Of an exact ring with an entry for each unit. Leaves a hint in s->straight,
 * and what is to be told when it has less room than `least`. */
struct claim_word *straight_entries(struct step *s, struct claim_word *at,
				    const struct rule *r, struct meter *m,
				    word_t *entries, unsigned log2,
				    uint32_t units, uint64_t now_ns,
				    uint64_t least);

static inline struct claim_word *
straight_window(struct step *s, struct claim_word *at, const struct rule *r,
		struct meter *m, const struct ask_meter *of, uint32_t units,
		uint64_t now_ns, struct least *least)
{
	word_t *entries;
	unsigned log2;

	if (of == NULL) {
		uint64_t ring = claim_load(&m->ring);

		if (unlikely(ring & RING_COARSE))
			return NULL;
		entries = ring_entries(s->arena, ring);
		log2 = RING_LOG2(ring);
	} else {
		entries = of->entries;
		log2 = of->entries_log2;
	}
	at = straight_entries(s, at, r, m, entries, log2, units, now_ns,
			      least->left);
	if (s->straight.left < least->left) {
		least->rule = r;
		least->left = s->straight.left;
	}
	return at;
}

/* As step_turn(), of which only windows need the ticks. */
static inline uint64_t straight_turn(const struct instant *now,
				     uint64_t version, uint64_t *ret_next)
{
	if (likely(now->ns * 2 > version)) {
		*ret_next = now->ns * 2;
		return now->ns;
	}
	*ret_next = version + 2;
	return version >> 1;
}

/* What is left to be done when the claim got through: s->straight.after. */
void straight_finish(struct step *s, struct project *p);

/* Somebody else got through first: once more. (Also where one denies: what was
 * read may be of two versions.) */
static inline void straight_lost(struct step *s)
{
	if (s->counters != NULL)
		counter_add(&s->counters->retries, 1);
}

static inline uint32_t straight_ms(uint64_t ns)
{
	uint64_t ms = (ns + 999999) / 1000000;

	return ms < UINT32_MAX ? (uint32_t)ms : UINT32_MAX;
}

/* Tells the rule. `after`: units that were charged behind this check in the
 * same claim. */
static inline void straight_tell(const struct step *s, struct verdict *v,
				 const struct least *least, uint64_t after)
{
	const struct rule *r = least->rule;
	uint64_t unit_ns;

	v->limit = r->limit;
	v->window_ms = r->period_ms;
	memcpy(v->limit_name, r->name, sizeof(v->limit_name));
	v->remaining = (uint32_t)(least->left + after);
	if (unlikely(r->algorithm == RULE_WINDOW)) {
		v->reset_ms = s->straight.rests_ms;
		v->retry_ms = s->straight.more_ms;
		return;
	}
	/* Something was charged, so it is not at rest: another unit comes when
	 * what is left of this one's time is over. */
	unit_ns = r->unit_ns;
	v->reset_ms = straight_ms(least->used_ns - after * unit_ns);
	v->retry_ms = straight_ms((least->left + 1) * unit_ns -
				  (r->span - least->used_ns));
}

#endif
