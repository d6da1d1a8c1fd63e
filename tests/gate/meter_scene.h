/* SPDX-License-Identifier: MIT */
#ifndef STILE_TESTS_GATE_METER_SCENE_H
#define STILE_TESTS_GATE_METER_SCENE_H

/*
 * tests/gate/meter_scene - one meter of one organization, decided by nobody
 * else: each admission is a claim of its own, as gate/step makes them.
 */
#include "fixture.h"

struct scene {
	struct fixture f;
	struct org *org;
	struct claim claim;
	struct rule rule;
	struct view view; /* of the latest take or look */
};

static inline void scene_open(struct scene *s, const struct rule *rule,
			      unsigned ring_log2)
{
	fixture_open(&s->f);
	s->rule = *rule;
	s->org = fixture_org(&s->f, 1, rule->limit, rule->span, ring_log2);
	claim_init(&s->claim, s->f.arena, 0, NULL);
}

static inline void scene_open_window(struct scene *s, uint32_t limit,
				     uint64_t window, unsigned ring_log2)
{
	struct rule rule = fixture_window(limit, window);

	scene_open(s, &rule, ring_log2);
}

static inline struct rule scene_gcra(uint32_t burst, uint64_t unit_ns)
{
	struct rule rule = {.algorithm = RULE_GCRA,
			    .limit = burst,
			    .unit_ns = unit_ns,
			    .name = "gcra"};

	return rule;
}

static inline void scene_close(struct scene *s)
{
	fixture_close(&s->f);
}

static inline uint64_t scene_read(struct scene *s, const struct instant *now)
{
	uint64_t version = claim_settle(s->f.arena, &s->org->gate, NULL);
	struct instant at = step_instant(now, version);

	view_read(&s->view, s->f.arena, &s->rule, &s->org->first, NULL, 0, &at);
	return version;
}

/* A question at this instant, which leaves no trace. */
static inline struct meter_answer scene_ask(struct scene *s, uint32_t units,
					    const struct instant *now)
{
	struct meter_answer a;

	scene_read(s, now);
	view_answer(&s->view, units, &a);
	return a;
}

/* A check at this instant: what is said when it was denied, or afterwards. */
static inline struct meter_answer scene_try(struct scene *s, uint32_t units,
					    const struct instant *now)
{
	struct meter_answer a;
	uint64_t version = scene_read(s, now);
	struct view *v = &s->view;

	if (!view_fits(v, units)) {
		view_answer(v, units, &a);
		return a;
	}
	view_charge(v, units);
	claim_begin(&s->claim);
	claim_add(&s->claim, v->word, v->from, v->to);
	check(claim_commit_to(&s->claim, &s->org->gate, version,
			      step_next(&v->now, version)));
	view_charged(v);
	view_answer(v, 0, &a);
	return a;
}

static inline struct instant scene_ticks(uint64_t ticks)
{
	return instant_at(ticks * CLOCK_TICK_NS);
}

static inline struct meter_answer take(struct scene *s, uint32_t units,
				       uint64_t ticks)
{
	struct instant now = scene_ticks(ticks);

	return scene_try(s, units, &now);
}

static inline struct meter_answer look(struct scene *s, uint32_t units,
				       uint64_t ticks)
{
	struct instant now = scene_ticks(ticks);

	return scene_ask(s, units, &now);
}

/* Units in the window. */
static inline uint64_t used_at(struct scene *s, uint64_t ticks)
{
	look(s, 0, ticks);
	return s->view.used;
}

#endif
