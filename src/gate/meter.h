/* SPDX-License-Identifier: MIT */
#ifndef STILE_GATE_METER_H
#define STILE_GATE_METER_H

/*
 * gate/meter - what one rule says about one subject: exact window, GCRA,
 * concurrency.
 *
 * Does       a view is read from the words of one version of an organization,
 *            is asked and charged any number of times, and says at last which
 *            word has to go from what to what. A check costs each rule one
 *            word, whatever its cost and its algorithm.
 * Threads    any, on views of their own; the words change under claim only.
 * Exactness  window: no window of the rule's length ever holds more units than
 *            the limit. A unit comes back when a whole window and one tick
 *            (4 us) have passed since its tick: never early. When the ring has
 *            fewer entries than the limit has units, it comes back at most one
 *            grain later: the window divided by the entries less two.
 *            GCRA: a burst of N is exactly N units from rest, then one each
 *            unit_ns; nanoseconds, rounded up once, when the rule is made.
 * Time       struct instant, passed in; never before the newest decision of
 *            the organization (gate/step.c sees to it).
 * Window     a ring of entries: stamp << bits | units admitted so far, this
 *            entry's too, modulo 2^bits. Admissions of one tick share an
 *            entry. Stamps grow around the ring and drop once, behind the
 *            newest entry: that is how it is found, from a hint. Units in the
 *            window = total of the newest - total of the last one that has
 *            left. With at least as many entries as units, an entry is used
 *            again only after it has left.
 * Source     GCRA: ITU-T I.371, virtual scheduling; one word as in Brandur
 *            Leach, "Rate limiting, cells, and GCRA".
 * Before     what predecessors of a rule count (gate/prior.h) is joined to the
 *            view of what it counts itself, and only that is charged.
 * Hint       may be anything, also one of another ring: it costs time only.
 *            (A thread that was stopped after its claim may leave it late.)
 *            So a new ring is zeroed, and its entries are used from 1 on.
 * Proof      tests/gate/meter_{window,ring,gcra}_test.c, step_trace_test.c
 */
#include "base/clock.h"
#include "gate/claim.h"
#include "gate/layout.h"

#include <stdbool.h>
#include <stdint.h>

/* Both of CLOCK_BOOTTIME plus CLOCK_BIAS: the same moment. */
struct instant {
	uint64_t ns;
	uint64_t ticks;
};

#define INSTANT_BIAS_NS (CLOCK_BIAS * CLOCK_TICK_NS)

static inline struct instant instant_at(uint64_t ns)
{
	struct instant i = {ns, ns / CLOCK_TICK_NS};

	/* The end of time: what is in the windows never leaves. */
	if (unlikely(i.ticks > CLOCK_TICK_MAX))
		i.ticks = CLOCK_TICK_MAX;
	return i;
}

static inline struct instant instant_now(void)
{
	return instant_at(clock_ns(CLOCK_BOOTTIME) + INSTANT_BIAS_NS);
}

/* A decision in the organization's version `version` happens at `now` or, if
 * that is later, at the newest one. */
static inline struct instant step_instant(const struct instant *now,
					  uint64_t version)
{
	return version >> 1 > now->ns ? instant_at(version >> 1) : *now;
}
static inline uint64_t step_next(const struct instant *now, uint64_t version)
{
	return now->ns * 2 > version ? now->ns * 2 : version + 2;
}

/* Both: the instant, and the gate's next value after a decision at it. */
static inline uint64_t step_turn(const struct instant *now, uint64_t version,
				 struct instant *ret_at)
{
	if (likely(now->ns * 2 > version)) {
		*ret_at = *now;
		return now->ns * 2;
	}
	*ret_at = instant_at(version >> 1);
	return version + 2;
}

struct view {
	const struct rule *rule;
	struct meter *meter;
	word_t *word;  /* what a charge changes ... */
	uint64_t from; /* ... from this ... */
	uint64_t to;   /* ... to this; the same: nothing was charged */
	struct instant now;
	uint64_t level; /* GCRA: TAT less base; concurrency: leases */
	uint64_t base;
	/* window */
	word_t *entries;
	uint64_t mask;
	uint64_t dead;         /* entries up to this one do not count */
	unsigned bits;         /* of an entry's total */
	uint64_t newest;       /* index of the newest entry in memory */
	uint64_t after;        /* the entry behind it, which comes next */
	uint64_t first;        /* of the oldest that is in the window */
	uint64_t newest_stamp; /* charges included */
	uint64_t first_stamp;
	uint64_t total; /* of the newest; charges included; not reduced */
	uint64_t used;  /* units in the window; charges included */
	bool live;      /* there are any */
	/* Of a rule with predecessors, and only then (gate/prior.h): whose the
	 * view is, what of `used` or `level` is theirs, and those of them that
	 * count anything in a window. */
	uint64_t subject;
	uint64_t before;
	const struct view *prior;
	unsigned priors;
};

/* Numbers about a subject, in ms from now, as a verdict tells them. */
struct meter_answer {
	bool fits;
	uint32_t limit;
	uint32_t remaining;
	uint64_t window_ms;
	uint64_t reset_ms; /* until it is at rest; 0: it is */
	uint64_t retry_ms; /* does not fit: until it can (0: never). Else until
			    * there is more room; 0: it is at rest */
};

/* `entries`: NULL: those of meter->ring. Windows only. */
void view_read(struct view *v, struct arena *a, const struct rule *rule,
	       struct meter *meter, word_t *entries, unsigned entries_log2,
	       const struct instant *now);
/* What `p` counts, read for the same rule and instant, counts for `v` as well,
 * before anything is charged to it. Of several the next stands behind the one
 * before when that was counted in v->priors, else in its place. */
void view_join(struct view *v, struct view *p);
/* For view_answer(), of a window with those joined to it: the instants, given
 * those that are the view's own. */
void view_answer_parts(const struct view *v, uint32_t units,
		       struct meter_answer *out);
/* What a check of this cost counts for this rule. */
static inline uint32_t rule_units(const struct rule *rule, uint32_t cost)
{
	bool one = rule->algorithm == RULE_CONCURRENCY ||
		   (rule->flags & RULE_REQUESTS) != 0;

	return one && cost != 0 ? 1 : cost;
}
bool view_fits(const struct view *v, uint32_t units);
/* After view_fits(). */
void view_charge(struct view *v, uint32_t units);
/* Whether or not it fits; units 0: a mere question. */
void view_answer(const struct view *v, uint32_t units,
		 struct meter_answer *ret_answer);
/* Is there less room than *least? Then that is the least. */
bool view_less(const struct view *v, uint32_t *least);
/* After the claim got through: where the next view begins to look. */
void view_charged(const struct view *v);

/* Is there anything that a subject without history would not have? */
bool meter_rests(const struct rule *rule, struct arena *a,
		 const struct meter *meter, word_t *entries,
		 unsigned entries_log2, const struct instant *now);

/* log2 of the ring entries that a limit needs (8 at least: a line). Above
 * METER_EXACT_MAX the ring is METER_COARSE_LOG2. */
#define METER_EXACT_MAX 65536u
#define METER_COARSE_LOG2 13u
unsigned meter_ring_log2(uint32_t limit);
/* Does this limit take a coarse ring? */
static inline bool meter_coarse(uint32_t limit)
{
	return limit > METER_EXACT_MAX;
}

/*
 * Control thread: puts a fresh zeroed ring in the place of the one in use,
 * with all that a window `from` still counts; `to` will be served. Retries
 * until no decision came between; those that follow happen no earlier than
 * the move. The old ring is free after a grace period.
 */
void meter_move_ring(struct claim *c, word_t *gate, struct meter *meter,
		     const struct rule *from, const struct rule *to,
		     uint64_t ring);

/* Control thread: what was counted counts no more. */
void meter_reset(struct claim *c, word_t *gate, const struct rule *rule,
		 struct meter *meter, word_t *entries, unsigned entries_log2);

/* Control thread: what a window at rest holds is of a subject that may be
 * another one soon, so a longer window does not count it either. To whoever
 * decides meanwhile it changes nothing: what it sets back has left. */
void meter_seal(struct arena *a, const struct rule *rule, struct meter *meter,
		word_t *entries, unsigned entries_log2,
		const struct instant *now);

/* One admission: when, and how many units. */
struct admission {
	uint64_t stamp; /* ticks */
	uint32_t units;
};

/* The admissions still in the window, oldest first, at most `cap`, the newest
 * ones. The view was of one version; the ring may go on since: what has left
 * and was overwritten meanwhile is added to the one after it, which makes it
 * count longer, never shorter. */
size_t view_admissions(const struct view *v, struct admission *out, size_t cap);

/* Before workers run: puts admissions into a zeroed ring, oldest first; when
 * it cannot hold them all the oldest are merged (they count longer, never
 * shorter). */
void meter_restore(struct arena *a, const struct rule *rule,
		   struct meter *meter, const struct admission *in,
		   size_t count);
/* The same for a meter of a subject (gate/subjects.h): zeroed entries. */
void meter_restore_at(const struct rule *rule, struct meter *meter,
		      word_t *entries, unsigned entries_log2,
		      const struct admission *in, size_t count);

#endif
