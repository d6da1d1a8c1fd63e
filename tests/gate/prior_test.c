/* SPDX-License-Identifier: MIT */
#include "../random.h"
#include "gate/place.h"
#include "gate/prior.h"
#include "gate_scene.h"
#include "oracle.h"

#include <criterion/criterion.h>

/*
 * Rules that go to another table in the middle of everything, to and fro, in
 * the two steps of state/registry_priors.c: random traces against the oracle,
 * which knows of no tables at all.
 */
#define ORG 1u
#define KEYS 6u     /* 1..; key 1 has no project */
#define PROJECTS 2u /* 1.. */
#define ROUTES 3u   /* 1.. */
#define LIMIT_TOP 60u
#define TABLES_MAX 400u /* in a scene */
#define HOLDS_BUSY 40u
#define BATCH 3u
#define BUCKET_FULL_NS (LIMIT_TOP * UINT64_C(3000000))

#define SUBJECTS 10u /* a table of one bucket: entries change hands */

struct table {
	uint64_t block;
	uint32_t id;        /* of the rule whose it is */
	uint32_t top;       /* limits that its entries suffice for */
	struct rule sample; /* with the longest window there will be */
};

static struct trace {
	struct gate_scene s;
	struct oracle o;
	struct rng rng;
	struct rule rules[O_RULES];
	struct table tables[TABLES_MAX];
	unsigned tables_count;
	uint64_t ns, version;
	uint64_t routes[ROUTES + 1];
	uint64_t ids[256];
	unsigned ids_count;
	unsigned moved[RULE_PRIORS_MAX + 1]; /* by predecessors afterwards */
	uint64_t decisions, denied, freed;
	unsigned step;
} t;

static uint32_t below(uint32_t n)
{
	return rng_below(&t.rng, n);
}

/* ---- the scene ---- */

static struct table *make_table(const struct rule *r, uint32_t id)
{
	struct table *table = &t.tables[t.tables_count++];
	/* One more than the limit, as state/registry_tables.c has it. */
	unsigned log2 = meter_ring_log2(r->limit + 1);

	cr_assert_lt(t.tables_count, TABLES_MAX);
	table->block = fixture_table(&t.s.f, SUBJECTS, fixture_stride(r, log2));
	table->sample = *r;
	table->id = id;
	table->top = (1u << log2) - 1;
	subjects_note(t.s.f.arena, table->block)->rule = id;
	return table;
}

static struct table *table_of(uint64_t block)
{
	for (unsigned i = 0; i < t.tables_count; i++)
		if (t.tables[i].block == block)
			return &t.tables[i];
	cr_assert_fail("no such table");
	return NULL;
}

static void random_rule(unsigned i)
{
	struct o_rule *o = &t.o.rules[i];
	struct rule *r = &t.rules[i];

	memset(o, 0, sizeof(*o));
	o->kind = (enum o_kind)below(3);
	if (o->kind == O_FLIGHT && i >= HOLD_LEASES_MAX)
		o->kind = O_WINDOW;
	o->level = (enum o_level)(1 + below(3));
	o->limit = 1 + below(below(3) ? LIMIT_TOP : 8);
	o->shadow = below(6) == 0;
	o->requests = below(6) == 0;
	o->route = below(4) == 0 ? 1 + below(ROUTES) : 0;
	o->span = 250 + below(3000);
	o->unit_ns = 1 + below(3000000);
	*r = o->kind == O_WINDOW   ? fixture_window(o->limit, o->span)
	     : o->kind == O_BUCKET ? fixture_gcra(o->limit, o->unit_ns)
				   : fixture_flight(o->limit, 1);
	if (o->kind == O_FLIGHT)
		r->span = o->span = (1 + below(40)) * MS;
	r->level = o->level == O_KEY       ? LEVEL_KEY
		   : o->level == O_PROJECT ? LEVEL_PROJECT
					   : LEVEL_ROUTE;
	r->id = 1000 + i;
	r->table = make_table(r, r->id)->block;
	r->flags = (uint8_t)((o->shadow ? RULE_SHADOW : 0) |
			     (o->requests ? RULE_REQUESTS : 0));
	r->route = t.routes[o->route];
	snprintf(r->name, sizeof(r->name), "rule-%u", i);
}

static void publish(void)
{
	struct org *org = &t.s.f.arena->orgs[ORG];

	fixture_set(&org->plan, fixture_plan(&t.s.f, t.rules, t.o.rules_count));
}

static void open_trace(void)
{
	const char names[] = "abc";
	unsigned i;

	memset(&t.o, 0, sizeof(t.o));
	gate_scene_open(&t.s, O_HOLDS, 1);
	t.s.options.hold_ms = 1 + below(50);
	gate_configure(&t.s.gate, &t.s.options);
	t.o.hold_ms = t.s.options.hold_ms;
	t.o.wall_ms = WALL_MS;
	t.ns = instant_now().ns + 3600000 * NS_PER_MS;
	t.version = 0;
	t.ids_count = t.tables_count = 0;
	for (i = 1; i <= ROUTES; i++)
		t.routes[i] = label_hash(&names[i - 1], 1);
	t.o.rules_count = 1 + below(4);
	for (i = 0; i < t.o.rules_count; i++)
		random_rule(i);
	gate_scene_org(&t.s, ORG, t.rules, t.o.rules_count);
	for (i = 1; i <= PROJECTS; i++)
		fixture_project(&t.s.f, i, ORG);
	for (i = 1; i <= KEYS; i++) {
		t.o.key_project[i] = (i - 1) % (PROJECTS + 1);
		gate_scene_key(&t.s, i, ORG, t.o.key_project[i]);
	}
}

/* ---- what happens ---- */

static uint64_t effective(void)
{
	return t.version / 2 > t.ns ? t.version / 2 : t.ns;
}

static void decided(uint64_t ns)
{
	t.version = 2 * ns > t.version ? 2 * ns : t.version + 2;
}

static void compare(const struct verdict *v, const struct o_answer *w)
{
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
	cr_assert_eq(v->charged, w->charged, "step %u", t.step);
	if (w->numbers)
		cr_assert_str_eq(v->limit_name, t.rules[w->rule].name);
}

static void checks(void)
{
	struct check c[BATCH];
	struct check_extra x[BATCH];
	struct verdict v[BATCH];
	struct o_ask a[BATCH];
	uint64_t ns = effective();
	struct instant now = instant_at(t.ns);
	unsigned n = 1 + below(BATCH), i;
	bool charged = false;

	memset(a, 0, sizeof(a));
	memset(x, 0, sizeof(x));
	for (i = 0; i < n; i++) {
		a[i].key = 1 + below(KEYS);
		a[i].cost = 1 + below(below(4) ? 6 : LIMIT_TOP);
		a[i].route = below(ROUTES + 1);
		a[i].peek = below(6) == 0;
		a[i].reserve = below(6) == 0;
		x[i].route_hash = t.routes[a[i].route];
		c[i] = check_of_key(a[i].key, a[i].cost, &x[i]);
		c[i].flags = (uint8_t)((a[i].peek ? CHECK_PEEK : 0) |
				       (a[i].reserve ? CHECK_RESERVE : 0));
	}
	gate_decide(&t.s.gate, c, v, n, &now, t.s.wall_ms);
	for (i = 0; i < n; i++) {
		struct o_answer w = o_check(&t.o, &a[i], ns, v[i].hold);

		compare(&v[i], &w);
		charged = charged || w.charged != 0;
		t.denied += w.reason == REASON_RATE_LIMITED ||
			    w.reason == REASON_CONCURRENCY;
		if (w.hold)
			t.ids[t.ids_count++ % 256] = v[i].hold;
	}
	if (charged)
		decided(ns);
	t.decisions += n;
}

static void settle(void)
{
	uint64_t id =
		t.ids_count != 0
			? t.ids[below(t.ids_count < 256 ? t.ids_count : 256)]
			: 1;
	struct verdict v =
		gate_scene_settle(&t.s, id, SETTLE_AS_RESERVED, t.ns);
	struct o_answer w = o_settle(&t.o, id, SETTLE_AS_RESERVED);

	cr_assert_eq(v.reason, w.reason, "step %u", t.step);
	if (w.reason != REASON_NO_HOLD)
		decided(effective());
}

static void expire(void)
{
	struct instant now = instant_at(t.ns);
	uint64_t id;
	bool keep;

	gate_expire(&t.s.gate, 0, O_HOLDS, &now, t.s.wall_ms);
	while ((id = o_overdue(&t.o, t.ns, &keep)) != 0) {
		o_settle(&t.o, id, keep ? SETTLE_AS_RESERVED : 0);
		decided(effective());
	}
}

static unsigned busy(void)
{
	unsigned i, n = 0;

	for (i = 0; i < O_HOLDS; i++)
		n += t.o.holds[i].id != 0;
	return n;
}

/* ---- a rule goes to another table ---- */

static unsigned priors_of(const struct rule *r)
{
	unsigned n = 0;

	while (n < RULE_PRIORS_MAX && r->prior[n] != 0)
		n++;
	return n;
}

static void take_out(struct rule *r, unsigned k)
{
	unsigned last = RULE_PRIORS_MAX - 1;

	memmove(&r->prior[k], &r->prior[k + 1],
		(last - k) * sizeof(r->prior[0]));
	r->prior[last] = 0;
}

static void put_first(struct rule *r, uint64_t block)
{
	memmove(&r->prior[1], &r->prior[0],
		(RULE_PRIORS_MAX - 1) * sizeof(r->prior[0]));
	r->prior[0] = block;
}

static void let_go(struct rule *r)
{
	if (r->algorithm == RULE_CONCURRENCY ? busy() != 0
					     : t.ns < r->prior_until_ns)
		return;
	memset(r->prior, 0, sizeof(r->prior));
	publish();
}

static void move_rule(unsigned i)
{
	struct o_rule *o = &t.o.rules[i];
	struct rule *r = &t.rules[i], to = *r;
	unsigned n = priors_of(r), k, checked;
	bool back = n == RULE_PRIORS_MAX || (n != 0 && below(2));
	struct table *table;

	to.limit = 1 + below(LIMIT_TOP);
	if (to.algorithm == RULE_GCRA)
		to.unit_ns = 1 + below(3000000);
	/* Not longer: then it depends on what happens to be remembered. */
	if (to.algorithm == RULE_WINDOW && to.span > 200)
		to.span -= below(10);
	k = below(n != 0 ? n : 1);
	table = back ? table_of(r->prior[k])
		     : make_table(&to, below(2) ? r->id : 5000 + t.step);
	if (to.algorithm == RULE_WINDOW && to.limit > table->top)
		to.limit = table->top;
	/* The announcement; one that is read already needs none. */
	if (!back) {
		put_first(r, table->block);
		publish();
		for (checked = below(4); checked > 0; checked--)
			checks();
		take_out(r, 0);
	}
	if (back)
		take_out(&to, k);
	put_first(&to, r->table);
	to.table = table->block;
	to.id = table->id;
	to.prior_until_ns = effective() + BUCKET_FULL_NS;
	*r = to;
	o->limit = to.limit;
	o->unit_ns = to.unit_ns;
	o->span = to.span;
	publish();
	t.moved[priors_of(r)]++;
}

/* ---- entries of subjects at rest change hands ---- */

struct resting {
	const struct rule *rule;
	uint32_t stride;
	struct instant now;
};

static bool at_rest(const void *state, void *arg)
{
	const struct resting *r = arg;
	struct outside *o = (struct outside *)(uintptr_t)state;
	word_t *entries = subject_entries(r->rule, o);
	unsigned log2 = subject_log2(r->rule, r->stride);

	if (!outside_rests(t.s.f.arena, r->rule, o, entries, log2, &r->now))
		return false;
	meter_seal(t.s.f.arena, r->rule, &o->meter, entries, log2, &r->now);
	return true;
}

static void tend(const struct table *table)
{
	struct resting r = {.rule = &table->sample,
			    .now = instant_at(t.version / 2)};
	struct subjects s;
	uint32_t cursor = 0;

	/* Nothing is decided earlier. */
	if (t.version == 0)
		return;
	cr_assert(subjects_open(&s, t.s.f.arena, table->block));
	r.stride = s.stride;
	subjects_retire(&s, &t.s.gate.claim, &cursor, UINT32_MAX, at_rest, &r);
	if (below(2))
		checks();
	t.freed += subjects_free(&s, &t.s.gate.claim, at_rest, &r);
}

static void pass_time(void)
{
	switch (below(16)) {
	case 0:
		t.ns += below(40000000);
		break;
	case 1:
		t.ns -= below(200000);
		break;
	case 2:
	case 3:
		break;
	case 4: /* by whole ticks, where a window ends */
		t.ns = effective() / O_TICK_NS * O_TICK_NS +
		       (t.o.rules[below(t.o.rules_count)].span + below(2)) *
			       O_TICK_NS;
		break;
	default:
		t.ns += below(600000);
	}
}

static void one_step(void)
{
	unsigned i = below(t.o.rules_count);

	pass_time();
	while (busy() > HOLDS_BUSY) {
		t.ns += 3000000;
		expire();
	}
	switch (below(64)) {
	case 0:
	case 1:
		if (t.tables_count < TABLES_MAX - O_RULES)
			move_rule(i);
		return;
	case 2:
		let_go(&t.rules[i]);
		return;
	case 3:
		expire();
		return;
	case 8:
	case 9:
		tend(&t.tables[below(t.tables_count)]);
		return;
	case 10:
		tend(table_of(t.rules[i].table));
		return;
	case 4:
	case 5:
	case 6:
	case 7:
		settle();
		return;
	default:
		checks();
	}
}

Test(prior, nothing_is_forgotten_when_rules_move)
{
	unsigned scene;

	t.rng.state = test_seed("prior");
	for (scene = 0; scene < 60; scene++) {
		open_trace();
		for (t.step = 0; t.step < 3000; t.step++)
			one_step();
		gate_scene_close(&t.s);
	}
	fprintf(stderr, "prior: %lu decisions, %lu denied, moves %u %u %u\n",
		t.decisions, t.denied, t.moved[1], t.moved[2], t.moved[3]);
	cr_assert_gt(t.denied, t.decisions / 20);
	cr_assert_gt(t.freed, 100);
	for (unsigned n = 1; n <= RULE_PRIORS_MAX; n++)
		cr_assert_gt(t.moved[n], 50, "%u with %u", t.moved[n], n);
}

/* ---- who found the rules before they changed ---- */

#define LIMIT 3u
#define MOVED_ID 77u

static struct gate_scene two;
static struct gate other; /* beside two.gate */

static struct rule open_two(void)
{
	struct keytext_prefix prefix;
	struct rule r;

	gate_scene_open(&two, 64, 2);
	check(keytext_prefix_init(&prefix, "il"));
	gate_init(&other, two.f.arena, &two.table, &prefix, 1, &two.counters);
	gate_configure(&other, &two.options);
	r = fixture_rule(&two.f, fixture_window(LIMIT, 1000 * MS), LEVEL_KEY,
			 60);
	subjects_note(two.f.arena, r.table)->rule = r.id;
	gate_scene_org(&two, ORG, &r, 1);
	gate_scene_key(&two, 1, ORG, 0);
	return r;
}

static void publish_two(const struct rule *r)
{
	fixture_set(&two.f.arena->orgs[ORG].plan, fixture_plan(&two.f, r, 1));
}

/* The rules of the announcement, and the new ones, of `r`. */
static void two_steps(const struct rule *r, struct rule *announced,
		      struct rule *new)
{
	*announced = *new = *r;
	new->id = MOVED_ID;
	new->table = fixture_table(&two.f, 60, fixture_stride(r, 3));
	subjects_note(two.f.arena, new->table)->rule = new->id;
	announced->prior[0] = new->table;
	new->prior[0] = r->table;
}

/* A check has found where it counts, by the rules of now. */
static void find_place(struct gate *g, struct check *c, struct verdict *v,
		       const struct instant *now)
{
	struct step *s = &g->step;

	*c = check_of_key(1, 1, NULL);
	s->org = &two.f.arena->orgs[ORG];
	s->plan = plan_of(two.f.arena, s->org);
	s->count = 1;
	ask_fill(g, &s->asks[0], c, v, &two.f.arena->keys[1], false, now);
}

static unsigned all_that_passes(struct gate *g, const struct instant *now)
{
	unsigned n = 0;

	for (unsigned i = 0; i < 2 * LIMIT; i++) {
		struct check c = check_of_key(1, 1, NULL);
		struct verdict v;

		gate_decide(g, &c, &v, 1, now, WALL_MS);
		n += v.reason == REASON_ALLOW;
	}
	return n;
}

Test(prior, who_still_goes_by_the_announcement_sees_what_the_new_rules_charge)
{
	struct instant now = instant_now();
	struct rule r = open_two(), announced, new;
	struct check c;
	struct verdict v;

	two_steps(&r, &announced, &new);
	publish_two(&announced);
	find_place(&two.gate, &c, &v, &now);
	publish_two(&new);
	cr_assert_eq(all_that_passes(&other, &now), LIMIT);
	step_run(&two.gate.step, &now, WALL_MS);
	cr_expect_eq(v.reason, REASON_RATE_LIMITED);
	gate_scene_close(&two);
}

Test(prior, who_goes_by_the_new_rules_sees_what_the_announcement_charges)
{
	struct instant now = instant_now();
	struct rule r = open_two(), announced, new;
	struct check c[2];
	struct verdict v[2];

	two_steps(&r, &announced, &new);
	publish_two(&announced);
	cr_assert_eq(all_that_passes(&other, &now), LIMIT);
	/* A second later, with room for one. */
	now = instant_at(now.ns + 2000 * NS_PER_MS);
	find_place(&two.gate, &c[0], &v[0], &now);
	publish_two(&new);
	find_place(&other, &c[1], &v[1], &now);
	two.gate.step.asks[0].cost = LIMIT;
	step_run(&two.gate.step, &now, WALL_MS);
	cr_expect_eq(v[0].reason, REASON_ALLOW);
	step_run(&other.step, &now, WALL_MS);
	cr_expect_eq(v[1].reason, REASON_RATE_LIMITED);
	gate_scene_close(&two);
}

/* The entry that the announcement charges is not there yet when the new rules
 * look for theirs. */
Test(prior, entry_that_is_taken_meanwhile_is_seen)
{
	struct instant now = instant_now();
	struct rule r = open_two(), announced, new;
	struct check c;
	struct verdict v;

	two_steps(&r, &announced, &new);
	publish_two(&new);
	find_place(&two.gate, &c, &v, &now);
	publish_two(&announced);
	cr_assert_eq(all_that_passes(&other, &now), LIMIT);
	step_run(&two.gate.step, &now, WALL_MS);
	cr_expect_eq(v.reason, REASON_RATE_LIMITED);
	gate_scene_close(&two);
}
