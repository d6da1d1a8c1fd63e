/* SPDX-License-Identifier: MIT */
#include "gate/outside.h"

#include "gate_scene.h"

#include <criterion/criterion.h>

#define T0 INSTANT_BIAS_NS

struct spot {
	struct fixture f;
	struct claim claim;
	struct rule rule;
	struct outside *o;
	word_t *entries;
	unsigned log2;
};

static void open_spot(struct spot *s, struct rule rule, unsigned log2)
{
	uint64_t word;
	uint8_t *state;

	fixture_open(&s->f);
	claim_init(&s->claim, s->f.arena, 0, NULL);
	s->rule = rule;
	word = fixture_ring(&s->f, log2 + 1);
	state = s->f.arena->rings + RING_PLACE(word) * LINE_BYTES;
	s->o = (struct outside *)(void *)state;
	s->entries = (word_t *)(void *)(state + LINE_BYTES);
	s->log2 = log2;
	cr_assert_leq(outside_stride(&rule, log2), sizeof(word_t)
							   << (log2 + 1));
}

static bool hold(struct spot *s, uint32_t units, uint64_t ns)
{
	struct instant now = instant_at(ns);
	struct meter_answer m;
	bool held = outside_hold(s->f.arena, &s->rule, s->o, s->entries,
				 s->log2, units, &now, &m);

	cr_assert_eq(held, m.fits);
	return held;
}

static void let_go(struct spot *s, uint32_t units, uint64_t ns, bool admitted)
{
	struct instant now = instant_at(ns);

	outside_release(&s->claim, &s->rule, s->o, s->entries, s->log2, units,
			&now, admitted);
}

static bool take(struct spot *s, uint32_t units, uint64_t ns)
{
	if (!hold(s, units, ns))
		return false;
	let_go(s, units, ns, true);
	return true;
}

static bool rests(struct spot *s, uint64_t ns)
{
	struct instant now = instant_at(ns);

	return outside_rests(s->f.arena, &s->rule, s->o, s->entries, s->log2,
			     &now);
}

Test(outside, held_units_count_until_they_are_let_go)
{
	struct spot s;

	open_spot(&s, fixture_window(10, 100 * MS), 4);
	cr_assert(rests(&s, T0));
	cr_assert(hold(&s, 6, T0));
	cr_assert_not(rests(&s, T0));
	cr_assert_not(hold(&s, 5, T0));
	cr_assert(hold(&s, 4, T0));
	cr_assert_not(hold(&s, 1, T0));
	let_go(&s, 6, T0, false);
	cr_assert_not(hold(&s, 7, T0));
	cr_assert(hold(&s, 6, T0));
	let_go(&s, 6, T0, true);
	let_go(&s, 4, T0, true);
	cr_assert_eq(fixture_get(&s.o->held), 0);
	cr_assert_not(hold(&s, 1, T0 + 100 * NS_PER_MS));
	cr_assert_not(rests(&s, T0 + 100 * NS_PER_MS));
	cr_assert(rests(&s, T0 + 100 * NS_PER_MS + CLOCK_TICK_NS));
	cr_assert(hold(&s, 10, T0 + 100 * NS_PER_MS + CLOCK_TICK_NS));
	fixture_close(&s.f);
}

Test(outside, bucket_is_held_and_charged_alike)
{
	struct spot s;

	open_spot(&s, fixture_gcra(10, NS_PER_MS), 3);
	cr_assert(hold(&s, 6, T0));
	cr_assert_not(hold(&s, 5, T0));
	cr_assert(hold(&s, 4, T0));
	let_go(&s, 4, T0, false);
	let_go(&s, 6, T0, true);
	cr_assert_not(hold(&s, 5, T0));
	cr_assert(take(&s, 4, T0));
	cr_assert_not(take(&s, 1, T0 + NS_PER_MS - 1));
	cr_assert(take(&s, 1, T0 + NS_PER_MS));
	fixture_close(&s.f);
}

/* Many admissions in one tick, in the ring of a limit that is larger. */
static void window_passes(uint32_t limit, unsigned log2, uint64_t ns_apart)
{
	const uint64_t span = 1000 * MS, grain = span / ((1u << log2) - 2) + 1;
	uint64_t now = T0;
	struct spot s;
	uint32_t i;

	open_spot(&s, fixture_window(limit, span), log2);
	for (i = 0; i < limit; i++, now += ns_apart)
		cr_assert(take(&s, 1, now), "%u of %u", i, limit);
	cr_assert_not(take(&s, 1, now));
	cr_assert_not(take(&s, 1, T0 + span * CLOCK_TICK_NS));
	now += (span + 2 + (limit > 1u << log2 ? grain : 0)) * CLOCK_TICK_NS;
	cr_assert(hold(&s, limit, now));
	fixture_close(&s.f);
}

Test(outside, passes_its_whole_limit_in_an_instant_or_slowly)
{
	window_passes(10, 4, 0);
	window_passes(16, 4, 0);
	window_passes(100, 4, 0);
	window_passes(1000, 8, 0);
	window_passes(1000, 8, NS_PER_MS / 2);
	window_passes(16, 4, 10 * NS_PER_MS);
}

/* What a dead process has held is counted from now on: at most once too much,
 * never forgotten. */
Test(outside, held_by_the_dead_is_admitted)
{
	struct instant now = instant_at(T0 + NS_PER_MS);
	struct spot s;

	open_spot(&s, fixture_window(10, 100 * MS), 4);
	cr_assert(take(&s, 3, T0));
	cr_assert(hold(&s, 5, T0));
	outside_recover(&s.claim, &s.rule, s.o, s.entries, s.log2, &now);
	cr_assert_eq(fixture_get(&s.o->held), 0);
	cr_assert_not(hold(&s, 3, now.ns));
	cr_assert(hold(&s, 2, now.ns));
	let_go(&s, 2, now.ns, false);
	cr_assert_not(hold(&s, 6, T0 + 101 * NS_PER_MS));
	cr_assert(hold(&s, 5, T0 + 101 * NS_PER_MS));
	/* Garbage counts no more than the limit. */
	fixture_set(&s.o->held, UINT64_C(1) << 40);
	now = instant_at(T0 + 500 * NS_PER_MS);
	outside_recover(&s.claim, &s.rule, s.o, s.entries, s.log2, &now);
	cr_assert_not(hold(&s, 1, now.ns));
	cr_assert(hold(&s, 10, T0 + 601 * NS_PER_MS));
	/* Nothing was held: nothing is charged. */
	fixture_set(&s.o->held, 0);
	now = instant_at(T0 + 900 * NS_PER_MS);
	outside_recover(&s.claim, &s.rule, s.o, s.entries, s.log2, &now);
	cr_assert(rests(&s, now.ns));
	fixture_close(&s.f);
}

Test(outside, addresses_are_ipv4_and_the_64_of_ipv6)
{
	const uint8_t v4[16] = {[10] = 0xff, 0xff, 192, 0, 2, 1};
	const uint8_t v4b[16] = {[10] = 0xff, 0xff, 192, 0, 2, 2};
	const uint8_t v6[16] = {0x20, 0x01, 0x0d, 0xb8, [15] = 1};
	const uint8_t same[16] = {0x20, 0x01, 0x0d, 0xb8, [8] = 9, [15] = 7};
	const uint8_t other[16] = {0x20, 0x01, 0x0d, 0xb8, [7] = 1, [15] = 1};
	const uint8_t almost[16] = {[9] = 1, [10] = 0xff, 0xff, 192, 0, 2, 1};

	cr_assert_neq(outside_subject(1, v4), outside_subject(1, v4b));
	cr_assert_eq(outside_subject(1, v6), outside_subject(1, same));
	cr_assert_neq(outside_subject(1, v6), outside_subject(1, other));
	cr_assert_neq(outside_subject(1, v4), outside_subject(1, almost));
	cr_assert_neq(outside_subject(1, v4), outside_subject(2, v4));
}

/* Through the gate: over all organizations of a plan. */
Test(outside, limit_of_an_address_is_shared_and_a_denial_gives_it_back)
{
	static struct gate_scene s;
	struct check_extra extra = {.has_address = true,
				    .address = {[10] = 0xff, 0xff, 192, 0, 2}};
	struct rule rules[2];
	struct check c;
	struct verdict v;

	gate_scene_open(&s, 50, 1);
	rules[0] = fixture_window(4, 1000 * MS);
	rules[1] = fixture_rule(&s.f, fixture_window(6, 1000 * MS),
				LEVEL_ADDRESS, 20);
	memcpy(rules[1].name, "address", 8);
	gate_scene_org(&s, 1, rules, 2);
	gate_scene_org(&s, 2, rules, 2);
	gate_scene_key(&s, 1, 1, 0);
	gate_scene_key(&s, 2, 2, 0);
	c = check_of_key(1, 4, &extra);
	cr_assert_eq(gate_scene_ask(&s, &c, T0).reason, REASON_ALLOW);
	/* The organization says no: the address is not charged. */
	c = check_of_key(1, 2, &extra);
	cr_assert_eq(gate_scene_ask(&s, &c, T0).reason, REASON_RATE_LIMITED);
	c = check_of_key(2, 3, &extra);
	v = gate_scene_ask(&s, &c, T0);
	cr_assert_eq(v.reason, REASON_RATE_LIMITED);
	cr_assert_str_eq(v.limit_name, "address");
	cr_assert_eq(v.remaining, 2);
	cr_assert_eq(v.retry_ms, 1000);
	cr_assert_eq(fixture_get(&gate_scene_plan(&s, &s.f.arena->orgs[2])
					  ->rules[1]
					  .tripped),
		     1);
	c.cost = 7;
	cr_assert_eq(gate_scene_ask(&s, &c, T0).reason,
		     REASON_COST_ABOVE_LIMIT);
	c.cost = 2;
	c.flags = CHECK_PEEK;
	cr_assert_eq(gate_scene_ask(&s, &c, T0).reason, REASON_ALLOW);
	c.cost = 3;
	cr_assert_eq(gate_scene_ask(&s, &c, T0).reason, REASON_RATE_LIMITED);
	c.cost = 2;
	c.flags = 0;
	cr_assert_eq(gate_scene_ask(&s, &c, T0).reason, REASON_ALLOW);
	c.cost = 1;
	cr_assert_eq(gate_scene_ask(&s, &c, T0).reason, REASON_RATE_LIMITED);
	/* Another address, and a check without one. */
	extra.address[15] = 9;
	cr_assert_eq(gate_scene_ask(&s, &c, T0).reason, REASON_ALLOW);
	extra.has_address = false;
	cr_assert_eq(gate_scene_ask(&s, &c, T0).reason, REASON_ALLOW);
	gate_scene_close(&s);
}

/* The wait decides which rule is named, wherever it counts; of equal waits the
 * first of the plan. */
Test(outside, longest_wait_is_named_and_of_equal_ones_the_first)
{
	static struct gate_scene s;
	struct check_extra extra = {.has_address = true,
				    .address = {[10] = 0xff, 0xff, 192, 0, 2}};
	struct rule rules[3];
	struct check c;
	struct verdict v;

	gate_scene_open(&s, 50, 1);
	rules[0] = fixture_window(4, 1000 * MS);
	rules[1] = fixture_rule(&s.f, fixture_window(4, 1000 * MS),
				LEVEL_ADDRESS, 20);
	memcpy(rules[1].name, "address", 8);
	rules[2] =
		fixture_rule(&s.f, fixture_window(4, 2000 * MS), LEVEL_KEY, 20);
	memcpy(rules[2].name, "key", 4);
	gate_scene_org(&s, 1, rules, 2);
	gate_scene_org(&s, 2, rules, 3);
	gate_scene_key(&s, 1, 1, 0);
	gate_scene_key(&s, 2, 2, 0);
	c = check_of_key(1, 5, &extra);
	v = gate_scene_ask(&s, &c, T0);
	cr_expect_eq(v.reason, REASON_COST_ABOVE_LIMIT);
	cr_expect_str_eq(v.limit_name, "org");
	c.cost = 4;
	cr_expect_eq(gate_scene_ask(&s, &c, T0).reason, REASON_ALLOW);
	v = gate_scene_ask(&s, &c, T0);
	cr_expect_eq(v.reason, REASON_RATE_LIMITED);
	cr_expect_str_eq(v.limit_name, "org");
	extra.address[15] = 9;
	c = check_of_key(2, 4, &extra);
	cr_expect_eq(gate_scene_ask(&s, &c, T0).reason, REASON_ALLOW);
	v = gate_scene_ask(&s, &c, T0);
	cr_expect_str_eq(v.limit_name, "key");
	cr_expect_eq(v.retry_ms, 2000);
	gate_scene_close(&s);
}

/* A batch is decided as if its checks came one by one: what the first of them
 * has held is not in the way of the second when the organization denies it. */
Test(outside, denied_check_of_a_batch_is_in_nobodys_way)
{
	static struct gate_scene s;
	struct check_extra from[3] = {
		{.has_address = true, .address = {0x20, 1, [15] = 1}},
		{.has_address = true, .address = {0x20, 1, [15] = 2}},
		{.has_address = true, .address = {0x20, 1, [7] = 1}}};
	struct instant now = instant_at(T0);
	struct rule rules[2];
	struct verdict v[5];
	struct check c[5];

	gate_scene_open(&s, 50, 1);
	rules[0] = fixture_window(10, 1000 * MS);
	rules[1] = fixture_rule(&s.f, fixture_window(11, 1000 * MS),
				LEVEL_ADDRESS, 20);
	memcpy(rules[1].name, "address", 8);
	gate_scene_org(&s, 1, rules, 2);
	gate_scene_key(&s, 1, 1, 0);
	c[0] = check_of_key(1, 11, &from[0]); /* never */
	c[1] = check_of_key(1, 3, &from[1]);
	c[2] = check_of_key(1, 8, &from[0]);
	c[3] = check_of_key(1, 7, &from[1]);
	c[3].flags = CHECK_PEEK;
	c[4] = check_of_key(1, 7, &from[2]);
	gate_decide(&s.gate, c, v, 5, &now, s.wall_ms);
	cr_expect_eq(v[0].reason, REASON_COST_ABOVE_LIMIT);
	cr_expect_eq(v[1].reason, REASON_ALLOW);
	cr_expect_eq(v[2].reason, REASON_RATE_LIMITED);
	cr_expect_str_eq(v[2].limit_name, "org");
	cr_expect_eq(v[3].reason, REASON_ALLOW);
	cr_expect_eq(v[4].reason, REASON_ALLOW);
	gate_scene_close(&s);
}
