/* SPDX-License-Identifier: MIT */
#include "../random.h"
#include "gate_scene.h"
#include "oracle.h"

#include <criterion/criterion.h>

/*
 * Random traces of one organization, against tests/gate/oracle.h: rules of all
 * kinds and levels, budgets whose periods pass, pools of credits, request ids,
 * holds that are settled or expire, peeks, several checks under one claim.
 * Every field of every verdict is compared, and in the end every word.
 */
#define ORG 1u
#define KEYS 6u     /* 1..; key 1 has no project */
#define PROJECTS 2u /* 1.. */
#define ROUTES 3u   /* 1.. */
#define LIMIT_TOP 60u
#define HOLDS_BUSY 40u
#define BATCH_MIXED 3u /* these fit into one claim, whatever they are */
#define BATCH_PLAIN 40u
#define BATCH_STRAIGHT (PLAIN_ASKS_MAX - 1) /* and one: a claim */

struct trace {
	struct gate_scene s;
	struct oracle o;
	struct rng rng;
	struct rule rules[O_RULES];
	uint64_t ns;
	uint64_t version; /* of the gate: when the newest decision was */
	uint64_t routes[ROUTES + 1];
	uint64_t ids[256]; /* of holds, some of them gone */
	unsigned ids_count;
	bool plain, features;
	bool own;      /* windows and GCRA of the organization only ... */
	bool straight; /* ... that look at every check and count units */
	uint64_t decisions;
	unsigned step;
};

static struct trace t;

static uint32_t below(uint32_t n)
{
	return rng_below(&t.rng, n);
}

/* ---- the scene ---- */

static void random_rule(unsigned i)
{
	struct o_rule *o = &t.o.rules[i];
	struct rule *r = &t.rules[i];

	memset(o, 0, sizeof(*o));
	o->kind = t.plain ? O_WINDOW : (enum o_kind)below(3);
	/* A plan has so many of them at most. */
	if (o->kind == O_FLIGHT && i >= HOLD_LEASES_MAX)
		o->kind = O_WINDOW;
	if (t.own && o->kind == O_FLIGHT)
		o->kind = O_BUCKET;
	o->level = t.plain || t.own ? O_ORG : (enum o_level)below(4);
	o->limit = 1 + below(below(3) ? LIMIT_TOP : 8);
	if (!t.plain) {
		o->shadow = !t.own && below(6) == 0;
		o->requests = !t.straight && below(6) == 0;
		o->route = !t.straight && below(4) == 0 ? 1 + below(ROUTES) : 0;
	}
	o->span = 250 + below(3000);
	o->unit_ns = 1 + below(below(2) ? 1000 : 3000000);
	if (o->kind == O_WINDOW)
		*r = fixture_window(o->limit, o->span);
	else if (o->kind == O_BUCKET)
		*r = fixture_gcra(o->limit, o->unit_ns);
	else
		*r = fixture_flight(o->limit, 1);
	if (o->kind == O_FLIGHT)
		r->span = o->span = (1 + below(40)) * MS;
	if (o->level != O_ORG)
		*r = fixture_rule(&t.s.f, *r,
				  o->level == O_KEY       ? LEVEL_KEY
				  : o->level == O_PROJECT ? LEVEL_PROJECT
							  : LEVEL_ROUTE,
				  60);
	r->flags = (uint8_t)((o->shadow ? RULE_SHADOW : 0) |
			     (o->requests ? RULE_REQUESTS : 0));
	r->route = t.routes[o->route];
	snprintf(r->name, sizeof(r->name), "rule-%u", i);
	/* As it was made, so that limits may change up to what rings hold. */
	r->rate = o->limit;
}

static void random_budget(unsigned project, unsigned i)
{
	struct o_budget *o = &t.o.budgets[project][i];
	struct budget *b = &t.s.f.arena->projects[project].budgets[i];

	memset(o, 0, sizeof(*o));
	o->on = below(3) != 0;
	if (!o->on)
		return;
	o->cap = below(3000);
	o->now_period = 1 + below(9);
	o->ends_ms = t.o.wall_ms + 1 + below(300);
	o->next_ends_ms = o->ends_ms + 1 + below(300);
	fixture_budget(b, o->cap, (uint32_t)o->now_period, o->ends_ms,
		       o->next_ends_ms);
}

static void random_credits(void)
{
	uint64_t granted[O_POOLS], routes[O_POOLS];
	struct credits *c;
	unsigned i;

	t.o.pools_count = 1 + below(3);
	for (i = 0; i < t.o.pools_count; i++) {
		struct o_pool *p = &t.o.pools[i];

		memset(p, 0, sizeof(*p));
		p->granted = granted[i] = below(2000);
		p->route = below(3) == 0 ? 1 + below(ROUTES) : 0;
		routes[i] = t.routes[p->route];
		if (below(3) == 0)
			p->expires_ms = t.o.wall_ms + below(2000);
	}
	c = gate_scene_credits(&t.s, &t.s.f.arena->orgs[ORG], granted, routes,
			       t.o.pools_count);
	for (i = 0; i < t.o.pools_count; i++)
		fixture_set(&c->pools[i].expires_ms, t.o.pools[i].expires_ms);
}

static void open_trace(void)
{
	const char names[] = "abc";
	unsigned i, p;

	memset(&t.o, 0, sizeof(t.o));
	gate_scene_open(&t.s, O_HOLDS, 1);
	t.s.options.hold_keep = below(2);
	t.s.options.hold_ms = 1 + below(50);
	t.s.options.once_ms = 1 + below(8);
	gate_configure(&t.s.gate, &t.s.options);
	t.o.once_ns = t.s.options.once_ms * NS_PER_MS;
	t.o.hold_ms = t.s.options.hold_ms;
	t.o.hold_keep = t.s.options.hold_keep;
	t.o.wall_ms = WALL_MS;
	/* Later than whoever reads the clock here. */
	t.ns = instant_now().ns + 3600000 * NS_PER_MS;
	t.version = 0;
	t.ids_count = 0;
	for (i = 1; i <= ROUTES; i++)
		t.routes[i] = label_hash(&names[i - 1], 1);
	t.o.rules_count = t.plain ? 1 : 1 + below(6);
	for (i = 0; i < t.o.rules_count; i++)
		random_rule(i);
	gate_scene_org(&t.s, ORG, t.rules, t.o.rules_count);
	for (p = 1; p <= PROJECTS; p++) {
		fixture_project(&t.s.f, p, ORG);
		memcpy(t.s.f.arena->projects[p].id.c, "project0", ID_LEN);
		t.s.f.arena->projects[p].id.c[7] = (char)('0' + p);
		for (i = 0; t.features && i < O_BUDGETS; i++)
			random_budget(p, i);
	}
	for (i = 1; i <= KEYS; i++) {
		t.o.key_project[i] = (i - 1) % (PROJECTS + 1);
		gate_scene_key(&t.s, i, ORG, t.o.key_project[i]);
	}
	if (t.features && below(2))
		random_credits();
}

/* ---- comparing ---- */

static void compare(const struct verdict *v, const struct o_answer *w,
		    unsigned key)
{
	const struct rule *r = &t.rules[w->rule];

	cr_assert_eq(v->reason, w->reason, "step %u: reason %u, not %u", t.step,
		     v->reason, w->reason);
	cr_assert_eq(v->limit, w->limit, "step %u: limit %u, not %u", t.step,
		     v->limit, w->limit);
	cr_assert_eq(v->remaining, w->remaining, "step %u: %u left, not %u",
		     t.step, v->remaining, w->remaining);
	cr_assert_eq(v->reset_ms, w->reset_ms, "step %u: reset %u, not %u",
		     t.step, v->reset_ms, w->reset_ms);
	cr_assert_eq(v->retry_ms, w->retry_ms, "step %u: retry %u, not %u",
		     t.step, v->retry_ms, w->retry_ms);
	if (w->numbers) {
		cr_assert_str_eq(v->limit_name, r->name);
		cr_assert_eq(v->window_ms, r->period_ms);
	}
	cr_assert_eq(v->credits, w->credits, "step %u: %lu credits, not %lu",
		     t.step, v->credits, w->credits);
	cr_assert_eq(v->budget, w->budget, "step %u: budget %lu, not %lu",
		     t.step, v->budget, w->budget);
	cr_assert_eq(v->charged, w->charged, "step %u", t.step);
	cr_assert_eq(v->flags, w->repeated ? VERDICT_REPEATED : 0, "step %u",
		     t.step);
	if (w->repeated)
		cr_assert_eq(v->hold, w->hold_id, "step %u", t.step);
	else
		cr_assert_eq(v->hold != 0, w->hold, "step %u", t.step);
	cr_assert_eq(v->hold_ms, w->hold_ms, "step %u", t.step);
	cr_assert(id_equal(v->org, t.s.f.arena->orgs[ORG].id));
	cr_assert(id_equal(v->key, t.s.f.arena->keys[key].id));
	if (t.o.key_project[key] != 0)
		cr_assert(id_equal(
			v->project,
			t.s.f.arena->projects[t.o.key_project[key]].id));
	else
		cr_assert(id_is_none(v->project));
}

/* When a decision at t.ns happens, given the one before it. */
static uint64_t effective(void)
{
	return t.version / 2 > t.ns ? t.version / 2 : t.ns;
}

static void decided(uint64_t ns)
{
	t.version = 2 * ns > t.version ? 2 * ns : t.version + 2;
}

/* ---- what happens ---- */

static uint32_t some_cost(void)
{
	switch (below(8)) {
	case 0:
		return t.o.rules[below(t.o.rules_count)].limit;
	case 1:
		return 1 + below(LIMIT_TOP + 10);
	default:
		return 1 + below(6);
	}
}

static void checks(void)
{
	static struct check c[BATCH_PLAIN];
	static struct check_extra x[BATCH_PLAIN];
	static struct verdict v[BATCH_PLAIN];
	static struct o_ask a[BATCH_PLAIN];
	struct instant now;
	unsigned n = 1, i;
	bool charged = false, split;
	uint64_t ns;

	if (below(3) == 0)
		n += below(t.plain      ? BATCH_PLAIN
			   : t.straight ? BATCH_STRAIGHT
					: BATCH_MIXED);
	/* Several claims, a nanosecond or two apart: in the middle of a tick,
	 * so that no window minds. */
	split = t.features && n > BATCH_MIXED;
	if (split)
		t.ns = (effective() / O_TICK_NS + 1) * O_TICK_NS + 1000;
	ns = effective();
	now = instant_at(t.ns);
	for (i = 0; i < n; i++) {
		memset(&a[i], 0, sizeof(a[i]));
		memset(&x[i], 0, sizeof(x[i]));
		a[i].key = 1 + below(KEYS);
		a[i].cost = some_cost();
		if (t.features) {
			a[i].route = below(ROUTES + 1);
			a[i].peek = below(10) == 0;
			a[i].reserve = below(6) == 0;
			/* The same again, before it is forgotten. */
			if (!split && below(6) == 0) {
				a[i].name = 1 + (unsigned)(t.ns >> 20) % 2;
				a[i].key = 1 + a[i].name % KEYS;
				a[i].cost = 1 + a[i].name % 4;
			}
			a[i].hold_ms = below(3) == 0 ? 1 + below(60) : 0;
			x[i].route_hash = t.routes[a[i].route];
			x[i].once[0] = a[i].name;
			x[i].hold_ms = a[i].hold_ms;
		}
		c[i] = check_of_key(a[i].key, a[i].cost,
				    t.features ? &x[i] : NULL);
		c[i].flags = (uint8_t)((a[i].peek ? CHECK_PEEK : 0) |
				       (a[i].reserve ? CHECK_RESERVE : 0));
	}
	gate_decide(&t.s.gate, c, v, n, &now, t.s.wall_ms);
	for (i = 0; i < n; i++) {
		struct o_answer w;

		cr_assert(v[i].hold == 0 || v[i].flags != 0 ||
				  o_hold(&t.o, v[i].hold) == NULL,
			  "step %u: a hold that is out already", t.step);
		w = o_check(&t.o, &a[i], ns, v[i].hold);
		compare(&v[i], &w, a[i].key);
		charged = charged || w.charged != 0;
		t.o.reasons[w.reason]++;
		if (w.hold)
			t.ids[t.ids_count++ % 256] = v[i].hold;
	}
	if (charged)
		decided(ns);
	if (split) {
		t.version = fixture_get(&t.s.f.arena->orgs[ORG].gate);
		cr_assert(!charged || t.version / 2 - ns <= n);
	}
	t.decisions += n;
}

static void settle(void)
{
	uint32_t cost = below(4) ? below(70) : SETTLE_AS_RESERVED;
	uint64_t id =
		t.ids_count == 0 || below(20) == 0
			? rng_next(&t.rng)
			: t.ids[below(t.ids_count < 256 ? t.ids_count : 256)];
	const struct o_hold *h = o_hold(&t.o, id);
	unsigned key = h != NULL ? h->key : 0;
	struct verdict v = gate_scene_settle(&t.s, id, cost, t.ns);
	struct o_answer w = o_settle(&t.o, id, cost);

	cr_assert_eq(v.reason, w.reason, "step %u: reason %u, not %u", t.step,
		     v.reason, w.reason);
	cr_assert_eq(v.charged, w.charged, "step %u: charged %u, not %u",
		     t.step, v.charged, w.charged);
	cr_assert_eq(v.credits, w.credits, "step %u: credits %lu, not %lu",
		     t.step, v.credits, w.credits);
	cr_assert_eq(v.budget, w.budget, "step %u: budget %lu, not %lu", t.step,
		     v.budget, w.budget);
	if (w.reason == REASON_NO_HOLD)
		return;
	cr_assert(id_equal(v.key, t.s.f.arena->keys[key].id));
	decided(effective());
	t.decisions++;
}

static void expire(void)
{
	struct instant now = instant_at(t.ns);
	uint32_t n = gate_expire(&t.s.gate, 0, O_HOLDS, &now, t.s.wall_ms);
	uint64_t id;
	bool keep;

	while ((id = o_overdue(&t.o, t.ns, &keep)) != 0) {
		o_settle(&t.o, id, keep ? SETTLE_AS_RESERVED : 0);
		decided(effective());
		n--;
	}
	cr_assert_eq(n, 0, "step %u", t.step);
}

static unsigned busy(void)
{
	unsigned i, n = 0;

	for (i = 0; i < O_HOLDS; i++)
		n += t.o.holds[i].id != 0;
	return n;
}

static void pass_time(void)
{
	switch (below(16)) {
	case 0: /* far */
		t.ns += below(40000000);
		break;
	case 1: /* back */
		t.ns -= below(200000);
		break;
	case 2: /* the clock stands still */
	case 3:
		break;
	case 4: /* where a unit comes back, or just before */
		t.ns = effective() + t.o.rules[below(t.o.rules_count)].unit_ns -
		       below(2);
		break;
	case 5: /* by whole ticks, where a window ends */
		t.ns = effective() / O_TICK_NS * O_TICK_NS +
		       (t.o.rules[below(t.o.rules_count)].span + below(2)) *
			       O_TICK_NS;
		break;
	default:
		t.ns += below(600000);
	}
	if (below(40) == 0)
		t.o.wall_ms += below(200);
	if (below(200) == 0)
		t.o.wall_ms -= below(50);
	t.s.wall_ms = t.o.wall_ms;
}

/* Of the organization itself: to a ring for this limit, or any larger one. */
static void move(unsigned i, uint32_t limit)
{
	struct org *org = &t.s.f.arena->orgs[ORG];
	struct rule to = t.rules[i];

	to.limit = limit;
	meter_move_ring(
		&t.s.gate.claim, &org->gate,
		org_meter(t.s.f.arena, org, to.meter), &t.rules[i], &to,
		fixture_ring(&t.s.f, meter_ring_log2(limit) + below(3)));
	t.rules[i].rate = limit; /* what it was made for */
	t.version += 2;
}

/* As the control thread does it, with everything at rest. */
static void change(void)
{
	struct org *org = &t.s.f.arena->orgs[ORG];
	struct credits *c = block_at(t.s.f.arena, fixture_get(&org->credits));
	unsigned i = below(t.o.rules_count), p = 1 + below(PROJECTS), k;

	switch (below(4)) {
	case 0: /* a limit, within what the ring was made for */
		if (t.o.rules[i].kind == O_WINDOW &&
		    t.o.rules[i].level == O_ORG && below(2))
			move(i, 1 + below(LIMIT_TOP));
		if (t.o.rules[i].kind != O_WINDOW) {
			t.o.rules[i].limit = 1 + below(LIMIT_TOP);
			t.o.rules[i].unit_ns = 1 + below(3000000);
			t.rules[i].unit_ns = t.o.rules[i].unit_ns;
		} else {
			t.o.rules[i].limit = 1 + below(t.rules[i].rate);
		}
		t.rules[i].limit = t.o.rules[i].limit;
		for (k = 0; k < t.o.rules_count; k++)
			fixture_set(&t.rules[k].tripped,
				    fixture_get(&gate_scene_plan(&t.s, org)
							 ->rules[k]
							 .tripped));
		fixture_set(&org->plan,
			    fixture_plan(&t.s.f, t.rules, t.o.rules_count));
		return;
	case 1: /* credits are granted, or taken away */
		if (c == NULL || t.o.pools_count == 0)
			return;
		k = below(t.o.pools_count);
		t.o.pools[k].granted += below(500);
		t.o.pools[k].withdrawn += below(20);
		fixture_set(&c->pools[k].granted, t.o.pools[k].granted);
		fixture_set(&c->pools[k].withdrawn, t.o.pools[k].withdrawn);
		return;
	case 2: /* the calendar is published again */
		for (k = 0; k < O_BUDGETS; k++) {
			struct o_budget *b = &t.o.budgets[p][k];

			if (!b->on || t.o.wall_ms < b->ends_ms)
				continue;
			while (t.o.wall_ms >= b->ends_ms) {
				b->now_period++;
				b->ends_ms = b->next_ends_ms;
				b->next_ends_ms += 1 + below(300);
			}
			fixture_budget(&t.s.f.arena->projects[p].budgets[k],
				       b->cap, (uint32_t)b->now_period,
				       b->ends_ms, b->next_ends_ms);
		}
		return;
	default:
		for (k = 0; k < O_BUDGETS; k++) {
			if (!t.o.budgets[p][k].on)
				continue;
			t.o.budgets[p][k].cap += below(300);
			t.o.budgets[p][k].cap -=
				below(100) % (t.o.budgets[p][k].cap + 1);
			fixture_set(&t.s.f.arena->projects[p].budgets[k].cap,
				    t.o.budgets[p][k].cap);
		}
	}
}

/* ---- in the end ---- */

static void compare_words(void)
{
	struct arena *a = t.s.f.arena;
	struct org *org = &a->orgs[ORG];
	const struct credits *c = block_at(a, fixture_get(&org->credits));
	unsigned i, p;

	for (i = 1; i <= KEYS; i++)
		cr_assert_eq(fixture_get(&a->keys[i].used),
			     used_add(0, t.o.key_units[i], t.o.key_checks[i]));
	for (i = 0; i < t.o.pools_count && c != NULL; i++) {
		cr_assert_eq(fixture_get(&c->pools[i].used), t.o.pools[i].used);
		cr_assert_eq(fixture_get(&c->pools[i].returned),
			     t.o.pools[i].returned);
	}
	for (p = 1; p <= PROJECTS; p++) {
		cr_assert_eq(a->projects[p].attention != 0, t.o.attention[p]);
		for (i = 0; i < O_BUDGETS; i++) {
			const struct o_budget *b = &t.o.budgets[p][i];
			uint64_t used =
				fixture_get(&a->projects[p].budgets[i].used);

			if (!b->on || b->used == 0)
				continue;
			cr_assert_eq(used, BUDGET_WORD(b->period, b->used));
		}
	}
	for (i = 0; i < t.o.rules_count; i++) {
		if (t.rules[i].level == LEVEL_ORG &&
		    t.rules[i].algorithm == RULE_CONCURRENCY)
			cr_assert_eq(
				METER_LEASES(fixture_get(
					&org_meter(a, org, t.rules[i].meter)
						 ->level)),
				t.o.counts[i][0].leases);
		cr_assert_eq(
			fixture_get(
				&gate_scene_plan(&t.s, org)->rules[i].tripped),
			t.o.rules[i].tripped, "rule %u", i);
	}
}

static void run(unsigned scenes, unsigned steps, bool plain, bool features,
		const char *who)
{
	uint64_t allowed = 0, repeated = 0, settled = 0;
	uint64_t reasons[REASON_COUNT] = {0};
	unsigned scene, i;

	t.rng.state = test_seed(who);
	for (scene = 0; scene < scenes; scene++) {
		t.plain = plain;
		t.features = features;
		open_trace();
		for (t.step = 0; t.step < steps; t.step++) {
			pass_time();
			while (busy() > HOLDS_BUSY) {
				t.ns += 3000000;
				expire();
			}
			if (below(300) == 0)
				change();
			else if (features && below(8) == 0)
				settle();
			else if (features && below(64) == 0)
				expire();
			else
				checks();
		}
		compare_words();
		gate_scene_close(&t.s);
		allowed += t.o.allowed;
		repeated += t.o.repeated;
		settled += t.o.settled;
		for (i = 0; i < REASON_COUNT; i++)
			reasons[i] += t.o.reasons[i];
	}
	fprintf(stderr,
		"%s: %lu decisions, %lu allowed, %lu repeated, %lu "
		"settled\n",
		who, t.decisions, allowed, repeated, settled);
	/* It says something only when it goes all ways. */
	cr_assert_gt(allowed, t.decisions / 30);
	cr_assert_gt(reasons[REASON_RATE_LIMITED], t.decisions / 20);
	cr_assert_gt(reasons[REASON_COST_ABOVE_LIMIT], t.decisions / 1000);
	if (!features)
		return;
	cr_assert(plain || t.own ||
		  reasons[REASON_CONCURRENCY] > t.decisions / 1000);
	cr_assert_gt(reasons[REASON_BUDGET], t.decisions / 1000);
	cr_assert_gt(reasons[REASON_CREDITS], t.decisions / 1000);
	cr_assert_gt(repeated, t.decisions / 5000);
	cr_assert_gt(settled, t.decisions / 1000);
}

Test(step_trace, one_window)
{
	run(30, 4000, true, false, "one_window");
}

/* The same, but said in a way that the straight line does not take. */
Test(step_trace, one_window_and_everything_else)
{
	run(60, 2000, true, true, "one_window_and_everything_else");
}

Test(step_trace, mixed_rules)
{
	run(100, 2500, false, false, "mixed_rules");
}

Test(step_trace, mixed_rules_and_everything_else)
{
	run(100, 2500, false, true, "mixed_rules_and_everything_else");
}

/* What gate/plain decides under several rules, several checks at a time. */
Test(step_trace, straight_rules)
{
	t.own = t.straight = true;
	run(60, 3000, false, false, "straight_rules");
}

/* What gate/own decides, and one that it leaves to others now and then. */
Test(step_trace, own_rules)
{
	t.own = true;
	run(50, 2500, false, false, "own_rules");
}

Test(step_trace, own_rules_and_everything_else)
{
	t.own = true;
	run(50, 2500, false, true, "own_rules_and_everything_else");
}
