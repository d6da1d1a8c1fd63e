/* SPDX-License-Identifier: MIT */
#ifndef STILE_GATE_STEP_H
#define STILE_GATE_STEP_H

/*
 * gate/step - checks of one organization decided against everything at once:
 * the rules of its plan, the budgets of the project, the credits.
 *
 * Does       what all of them allow is charged to all of them in one claim
 *            (gate/claim.h), together with the totals of usage, the hold and
 *            the request id; what one of them denies leaves no trace, and the
 *            rule with the longest wait is named. Several checks go into one
 *            claim as if one came after the other with nothing between.
 * Order      rules, then budgets, then credits: the first that denies is the
 *            reason.
 * Threads    one struct step per owner of a claim.
 * Progress   lock-free: an attempt is lost only to one that got through.
 * Time       an attempt is made at max(now, newest decision of the
 *            organization): the gate's even value holds that instant, so no
 *            thread decides in another's past.
 * Proof      tests/gate/step_trace_test.c (against a serial execution),
 *            tests/torture/step_torture.c (threads),
 *            tests/interleave/step_interleave.c (all orders of a few, request
 *            ids and holds among them, death)
 */
#include "gate/claim.h"
#include "gate/layout.h"
#include "gate/meter.h"
#include "wire/check.h"

#include <stdbool.h>
#include <stdint.h>

#define STEP_ASKS_MAX 40 /* checks put together; what does not fit waits */
#define STEP_VIEWS_MAX 64

/* Where a rule that is not the organization's own counts this check. */
struct ask_meter {
	struct meter *meter; /* NULL: the rule does not look at this check */
	word_t *entries;     /* of a window; else NULL */
	unsigned entries_log2;
};

struct explaining; /* gate/explain.h */

/* A check, found to be of this organization, and where it is counted. */
struct ask {
	const struct check *check;
	struct verdict *verdict; /* reason, numbers; the rest is the caller's */
	struct key *key;
	struct project *project; /* or NULL */
	struct cell *cell;       /* or NULL: no route */
	word_t *once;            /* when, which hold: or NULL: no request id */
	struct hold *hold;       /* free, ours; or NULL: none wanted */
	uint64_t hold_ticks;     /* how long it lasts */
	uint64_t hold_id;        /* what it will be called */
	uint64_t route;          /* label_hash(); 0: none */
	uint32_t cost;
	bool peek;
	uint8_t refused; /* enum reason that was found before; else ALLOW */
	uint16_t route_number; /* gate/routes.h */
	uint16_t pending;      /* rules outside: units are held there */
	uint16_t shadow;       /* out: rules that would have denied */
	int8_t tripped;        /* out: rule that denied, or -1 */
	int8_t full_rule;      /* refused is REASON_FULL: whose table, or -1 */
	int8_t outside_rule;   /* of those outside that deny, or -1 ... */
	uint16_t outside_shadow;
	struct meter_answer outside;         /* ... and what it says */
	struct explaining *explain;          /* or NULL: did not ask for it */
	struct ask_meter at[PLAN_RULES_MAX]; /* of levels project, key, route */
};

struct change {
	word_t *word;
	uint64_t from, to;
};

/* An attempt of gate/straight: what does not stay in registers. */
struct straight {
	uint64_t left;              /* units, of the window just read ... */
	uint32_t rests_ms, more_ms; /* ... and this, when it has the least */
	/* When the claim got through: how many hints are to be left, and
	 * STRAIGHT_CROSSED. */
	unsigned after;
	struct {
		struct meter *meter;
		uint64_t hint;
	} hints[PLAN_RULES_MAX];
};
#define STRAIGHT_CROSSED 0x80u /* a budget has crossed a threshold */
static_assert(PLAN_RULES_MAX < STRAIGHT_CROSSED, "a bit of its own");

struct step {
	struct arena *arena;
	struct claim *claim;
	struct counters *counters;
	uint64_t once_ns; /* how long a request id is remembered */

	struct org *org;
	const struct plan *plan;
	unsigned count;
	bool denied; /* gate/plain has found so of one of them: no straight line
		      * tries again */
	struct ask asks[STEP_ASKS_MAX];

	/* an attempt */
	struct instant now;
	uint64_t wall_ms;
	struct credits *credits; /* or NULL */
	struct straight straight;
	unsigned views_count, changes_count;
	struct view views[STEP_VIEWS_MAX];
	struct change changes[CLAIM_WORDS_MAX];
	/* of each view what is joined to it (gate/prior.h) */
	struct view priors[STEP_VIEWS_MAX][RULE_PRIORS_MAX];
};

/* The block that a word names; 0: NULL. */
static inline void *block_at(const struct arena *a, uint64_t word)
{
	return word != 0 ? a->rings + RING_PLACE(word) * LINE_BYTES : NULL;
}

/* The plan of an organization that has been set up. */
static inline const struct plan *plan_of(const struct arena *a,
					 const struct org *org)
{
	/* PAIRS: slot_set_plan(), release: the rules are complete. */
	uint64_t word = claim_load(&org->plan);

	return (const struct plan *)(const void *)(a->rings +
						   RING_PLACE(word) *
							   LINE_BYTES);
}

/* The organization's own meter of a rule of level org. */
static inline struct meter *org_meter(const struct arena *a, struct org *org,
				      unsigned meter)
{
	struct meter *more;

	if (likely(meter == 0))
		return &org->first;
	/* PAIRS: the registry's store, relaxed; a grace period lies between it
	 * and the publication of a plan that needs it. */
	more = (struct meter *)(void *)(a->rings +
					(uint64_t)atomic_load_explicit(
						&org->more,
						memory_order_relaxed) *
						LINE_BYTES);
	return &more[meter - 1];
}

/* Decides s->asks[0..count) in their order; org and plan are set. */
void step_run(struct step *s, const struct instant *now, uint64_t wall_ms);

/* The budget as of now: the period and the units used and left in it. */
struct budget_view {
	uint32_t period;
	uint64_t used, returned, cap;
	uint64_t left;
};
/* `used` and `returned`: the two words, as read or changed. */
static inline void budget_read(const struct budget *b, uint64_t used,
			       uint64_t returned, uint64_t wall_ms,
			       struct budget_view *ret_view)
{
	struct budget_view *v = ret_view;
	uint64_t spent;

	v->cap = claim_load(&b->cap);
	v->period = (uint32_t)claim_load(&b->period);
	/* Two periods are known; the control thread is never longer away. */
	v->period += wall_ms >= claim_load(&b->ends_ms);
	v->period += wall_ms >= claim_load(&b->next_ends_ms);
	if (BUDGET_PERIOD(used) > v->period)
		v->period = BUDGET_PERIOD(used);
	v->used = BUDGET_PERIOD(used) == v->period ? BUDGET_UNITS(used) : 0;
	v->returned = BUDGET_PERIOD(returned) == v->period
			      ? BUDGET_UNITS(returned)
			      : 0;
	spent = v->used - v->returned;
	v->left = spent < v->cap ? v->cap - spent : 0;
}
/* Until the period of the view ends; 0: not known. */
uint64_t budget_rest_ms(const struct budget *b, const struct budget_view *v,
			uint64_t wall_ms);

/* Spending so many per cent of the cap is told, once in a period. */
#define BUDGET_THRESHOLDS 3
static const unsigned budget_thresholds[BUDGET_THRESHOLDS] = {50, 80, 100};

/* The units at which threshold `i` is reached. */
static inline uint64_t budget_threshold(uint64_t cap, unsigned i)
{
	return cap / 100 * budget_thresholds[i] +
	       cap % 100 * budget_thresholds[i] / 100;
}

/* Do so many more cross one? */
static inline bool budget_crosses(const struct budget_view *v, uint64_t units)
{
	uint64_t before = v->used - v->returned, after = before + units;
	unsigned i;

	for (i = 0; i < BUDGET_THRESHOLDS; i++) {
		uint64_t at = budget_threshold(v->cap, i);

		if (before < at && after >= at)
			return true;
	}
	return false;
}

/* Units that the pool has for this route at this time; the words as above. */
static inline uint64_t pool_left(const struct pool *p, uint64_t used,
				 uint64_t returned, uint64_t route,
				 uint64_t wall_ms)
{
	uint64_t in, out, expires_ms = claim_load(&p->expires_ms);

	if ((p->route != 0 && p->route != route) ||
	    (expires_ms != 0 && wall_ms >= expires_ms))
		return 0;
	in = claim_load(&p->granted) + returned;
	out = used + claim_load(&p->withdrawn);
	return in > out ? in - out : 0;
}

/* Of several rules that deny the one with the longest wait is named; never is
 * longer than any other. */
static inline uint64_t step_wait(const struct meter_answer *m)
{
	return m->retry_ms != 0 ? m->retry_ms : UINT64_MAX;
}

/* What rule `i` sees of the check in this attempt; NULL: nothing, or it is
 * outside the organization. */
struct view *step_view(struct step *s, struct ask *a, unsigned i);

/* For settling (gate/settle.c): the changes of an attempt. */
struct change *step_change(struct step *s, word_t *w);
uint64_t step_value(const struct step *s, const word_t *w);
/* Milliseconds until the budgets that deny this check have all begun anew. 0:
 * no budget denies it, or it would be denied then too, by a cap below its cost
 * or for want of credits, or not known. */
uint32_t step_budget_wait(const struct step *s, const struct ask *a);
/* Of a project that has this budget. */
void step_charge_budget(struct step *s, struct project *p, unsigned i,
			uint64_t units, struct budget_view *ret_before);
/* The control thread shall tell that a budget has crossed a threshold. */
void step_crossed(struct step *s, struct project *p);
/* Draws from the pools, in order; the caller has seen that it suffices. `hold`,
 * which is still free, remembers from which; or NULL. */
void step_draw(struct step *s, uint64_t units, uint64_t route,
	       struct hold *hold);
/* A hold, still free, whose check has drawn from none. */
void step_no_draws(struct hold *hold);
uint64_t step_credits(const struct step *s, uint64_t route);
/* The pools of an attempt; NULL: credits are not counted. */
void step_read_credits(struct step *s);

/* Tells what credits, and the tighter of the budgets, have left by now. */
static inline void step_tell_left(const struct step *s, const struct project *p,
				  uint64_t route, struct verdict *v)
{
	unsigned i;

	v->credits = s->credits != NULL ? step_credits(s, route) : CREDITS_NONE;
	v->budget = CREDITS_NONE;
	for (i = 0; p != NULL && i < PROJECT_BUDGETS_MAX; i++) {
		const struct budget *b = &p->budgets[i];
		struct budget_view view;

		if (claim_load(&b->cap) == BUDGET_NONE)
			continue;
		budget_read(b, step_value(s, &b->used),
			    step_value(s, &b->returned), s->wall_ms, &view);
		v->budget = view.left < v->budget ? view.left : v->budget;
	}
}

/* False: lost, nothing changed. */
bool step_commit(struct step *s, uint64_t version);

#endif
