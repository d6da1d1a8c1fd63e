/* SPDX-License-Identifier: MIT */
/* So many at the same time from one address, over all organizations of a
 * plan. */
#include "gate/outside.h"

#include "gate_scene.h"

#include <criterion/criterion.h>

#define T0 INSTANT_BIAS_NS
#define LEASE_MS 30000u
#define ORGS 2u
#define NO_ROOM 100u /* cost that an organization denies */

static struct gate_scene s;
static struct rule flight;
static struct check_extra from = {.has_address = true,
				  .address = {[10] = 0xff, 0xff, 192, 0, 2, 1}};

/* Organization o and key o; `rules[0]` is a window of 99. */
static void open_rules(struct rule *rules, uint32_t count)
{
	uint32_t o;

	rules[0] = fixture_window(NO_ROOM - 1, 1000 * MS);
	for (o = 1; o <= ORGS; o++) {
		gate_scene_org(&s, o, rules, count);
		gate_scene_key(&s, o, o, 0);
	}
}

static void open_flight(uint32_t limit, uint8_t flags)
{
	struct rule rules[2];

	gate_scene_open(&s, STEP_ASKS_MAX, 1);
	flight = fixture_rule(&s.f, fixture_flight(limit, LEASE_MS),
			      LEVEL_ADDRESS, 20);
	flight.flags = flags;
	rules[1] = flight;
	open_rules(rules, 2);
}

static struct verdict ask(uint32_t key, uint32_t cost, uint8_t flags)
{
	struct check c = check_of_key(key, cost, &from);

	c.flags = flags;
	return gate_scene_ask(&s, &c, T0);
}

static enum reason end(uint64_t hold)
{
	return gate_scene_settle(&s, hold, SETTLE_AS_RESERVED, T0).reason;
}

/* Of this rule at the address that asks. */
static struct outside *place_of(const struct rule *r)
{
	struct subjects t;
	uint32_t entry;

	cr_assert(subjects_open(&t, s.f.arena, r->table));
	entry = subjects_find(
		&t, outside_subject(s.f.arena->header->seed, from.address));
	return entry != SUBJECTS_FULL ? subjects_state(&t, entry) : NULL;
}

static uint64_t out(void)
{
	struct outside *o = place_of(&flight);

	return o != NULL ? METER_LEASES(fixture_get(&o->meter.level)) : 0;
}

static bool rests(void)
{
	struct instant now = instant_at(T0 + 9 * LEASE_MS * NS_PER_MS);

	return outside_rests(s.f.arena, &flight, place_of(&flight), NULL, 0,
			     &now);
}

Test(outside_flight, two_organizations_share_it_and_each_end_gives_one_back)
{
	struct verdict v[2], denied;

	open_flight(2, 0);
	v[0] = ask(1, 1, 0);
	v[1] = ask(2, 1, 0);
	cr_assert_eq(v[0].reason, REASON_ALLOW);
	cr_assert_eq(v[0].hold_ms, LEASE_MS);
	cr_assert_neq(v[1].hold, 0);
	denied = ask(2, 1, 0);
	cr_assert_eq(denied.reason, REASON_CONCURRENCY);
	cr_assert_str_eq(denied.limit_name, "flight");
	cr_assert_eq(denied.limit, 2);
	cr_assert_eq(denied.remaining, 0);
	cr_assert_eq(denied.retry_ms, 1000);
	cr_assert_eq(denied.hold, 0);
	cr_assert_eq(fixture_get(&gate_scene_plan(&s, &s.f.arena->orgs[2])
					  ->rules[1]
					  .tripped),
		     1);
	cr_assert_not(rests());
	cr_assert_eq(end(v[0].hold), REASON_ALLOW);
	cr_assert_eq(out(), 1);
	cr_assert_eq(end(v[0].hold), REASON_NO_HOLD, "and once only");
	cr_assert_eq(out(), 1);
	v[0] = ask(2, 1, 0);
	cr_assert_eq(v[0].reason, REASON_ALLOW);
	cr_assert_eq(ask(1, 1, 0).reason, REASON_CONCURRENCY);
	gate_scene_settle(&s, v[0].hold, 0, T0);
	gate_scene_settle(&s, v[1].hold, 1, T0);
	cr_assert_eq(out(), 0);
	cr_assert(rests());
	gate_scene_close(&s);
}

Test(outside_flight, each_address_has_its_own_and_none_is_not_counted)
{
	struct verdict v;

	open_flight(1, 0);
	cr_assert_eq(ask(1, 1, 0).reason, REASON_ALLOW);
	from.address[15]++;
	cr_assert_eq(ask(1, 1, 0).reason, REASON_ALLOW);
	cr_assert_eq(ask(1, 1, 0).reason, REASON_CONCURRENCY);
	from.has_address = false;
	v = ask(1, 1, 0);
	cr_assert_eq(v.reason, REASON_ALLOW);
	cr_assert_eq(v.hold, 0);
	gate_scene_close(&s);
}

Test(outside_flight, denied_by_the_organization_gives_it_back)
{
	open_flight(1, 0);
	cr_assert_eq(ask(1, NO_ROOM, 0).reason, REASON_COST_ABOVE_LIMIT);
	cr_assert_eq(out(), 0);
	/* Its own denial and the address's at once. */
	cr_assert_eq(ask(1, 1, 0).reason, REASON_ALLOW);
	cr_assert_eq(ask(1, NO_ROOM, 0).reason, REASON_COST_ABOVE_LIMIT);
	cr_assert_eq(ask(1, NO_ROOM - 1, 0).reason, REASON_RATE_LIMITED,
		     "as long a wait, and the first");
	cr_assert_eq(out(), 1);
	gate_scene_close(&s);
}

Test(outside_flight, no_free_hold_gives_it_back)
{
	uint64_t holds[STEP_ASKS_MAX];
	unsigned i;

	open_flight(NO_ROOM, 0);
	for (i = 0; i < STEP_ASKS_MAX; i++)
		holds[i] = ask(1, 1, 0).hold;
	cr_assert_eq(ask(2, 1, 0).reason, REASON_FULL);
	cr_assert_eq(out(), STEP_ASKS_MAX);
	for (i = 0; i < STEP_ASKS_MAX; i++)
		cr_assert_eq(end(holds[i]), REASON_ALLOW);
	cr_assert_eq(out(), 0);
	gate_scene_close(&s);
}

Test(outside_flight, expired_hold_gives_it_back)
{
	struct instant now = instant_at(T0 + LEASE_MS * NS_PER_MS);
	struct verdict v;

	open_flight(1, 0);
	v = ask(1, 1, 0);
	cr_assert_eq(ask(2, 1, 0).reason, REASON_CONCURRENCY);
	cr_assert_eq(gate_expire(&s.gate, 0, STEP_ASKS_MAX, &now, s.wall_ms),
		     1);
	cr_assert_eq(out(), 0);
	cr_assert_eq(end(v.hold), REASON_NO_HOLD);
	cr_assert_eq(out(), 0);
	cr_assert_eq(ask(2, 1, 0).reason, REASON_ALLOW);
	gate_scene_close(&s);
}

Test(outside_flight, the_same_request_again_takes_no_second)
{
	struct verdict v, again;

	open_flight(1, 0);
	from.once[0] = 7;
	v = ask(1, 1, 0);
	cr_assert_eq(v.reason, REASON_ALLOW);
	again = ask(1, 1, 0);
	cr_assert_eq(again.reason, REASON_ALLOW);
	cr_assert_eq(again.flags, VERDICT_REPEATED);
	cr_assert_eq(again.hold, v.hold);
	cr_assert_eq(out(), 1);
	end(v.hold);
	/* Remembered still: and it holds nothing. */
	cr_assert_eq(ask(1, 1, 0).flags, VERDICT_REPEATED);
	cr_assert_eq(out(), 0);
	gate_scene_close(&s);
}

Test(outside_flight, who_only_looks_takes_none)
{
	struct verdict v;

	open_flight(1, 0);
	cr_assert_eq(ask(1, 1, CHECK_PEEK).reason, REASON_ALLOW);
	cr_assert_null(place_of(&flight));
	v = ask(1, 1, 0);
	cr_assert_eq(ask(2, 1, CHECK_PEEK).reason, REASON_CONCURRENCY);
	cr_assert_eq(ask(2, 1, CHECK_PEEK | CHECK_EXPLAIN).reason,
		     REASON_CONCURRENCY);
	cr_assert_eq(out(), 1);
	end(v.hold);
	cr_assert_eq(ask(2, 1, CHECK_PEEK).reason, REASON_ALLOW);
	gate_scene_close(&s);
}

Test(outside_flight, explanation_has_its_numbers)
{
	const struct explain_line *l;
	struct verdict v;

	open_flight(2, 0);
	ask(1, 1, 0);
	v = ask(2, 1, CHECK_EXPLAIN);
	cr_assert_eq(v.reason, REASON_ALLOW);
	cr_assert_eq(v.explain->count, 2);
	l = &v.explain->lines[1];
	cr_assert(l->allowed);
	cr_assert_eq(l->level, LEVEL_ADDRESS);
	cr_assert_eq(l->algorithm, RULE_CONCURRENCY);
	cr_assert_eq(l->limit, 2);
	cr_assert_eq(l->remaining, 1);
	v = ask(2, 1, CHECK_EXPLAIN);
	l = &v.explain->lines[1];
	cr_assert_eq(v.reason, REASON_CONCURRENCY);
	cr_assert_not(l->allowed);
	cr_assert_eq(l->remaining, 0);
	cr_assert_eq(l->flags, EXPLAIN_DECIDED);
	gate_scene_close(&s);
}

/* A shadow that had no room took no lease, and none is given back. */
Test(outside_flight, shadow_counts_as_if_it_were_in_force)
{
	struct verdict v[3];
	unsigned i;

	open_flight(2, RULE_SHADOW);
	for (i = 0; i < 3; i++) {
		v[i] = ask(1 + i % ORGS, 1, 0);
		cr_assert_eq(v[i].reason, REASON_ALLOW);
	}
	cr_assert_eq(out(), 2);
	cr_assert_eq(fixture_get(&gate_scene_plan(&s, &s.f.arena->orgs[1])
					  ->rules[1]
					  .tripped),
		     1);
	end(v[2].hold);
	cr_assert_eq(out(), 2);
	end(v[0].hold);
	end(v[1].hold);
	cr_assert_eq(out(), 0);
	gate_scene_close(&s);
}

/* A hold has leases of all kinds; one that is denied leaves none anywhere. */
Test(outside_flight, several_rules_take_one_each_or_none)
{
	struct rule rules[HOLD_LEASES_MAX + 1];
	struct verdict v;

	gate_scene_open(&s, STEP_ASKS_MAX, 1);
	rules[1] = fixture_flight(9, LEASE_MS);
	rules[2] = flight = fixture_rule(&s.f, fixture_flight(2, LEASE_MS),
					 LEVEL_ADDRESS, 20);
	rules[3] =
		fixture_rule(&s.f, fixture_flight(9, LEASE_MS), LEVEL_KEY, 20);
	rules[4] = fixture_rule(&s.f, fixture_flight(1, 2 * LEASE_MS),
				LEVEL_ADDRESS, 20);
	open_rules(rules, HOLD_LEASES_MAX + 1);
	v = ask(1, 1, 0);
	cr_assert_eq(v.reason, REASON_ALLOW);
	cr_assert_eq(v.hold_ms, 2 * LEASE_MS);
	cr_assert_eq(ask(2, 1, 0).reason, REASON_CONCURRENCY);
	cr_assert_eq(out(), 1, "what the other one denied");
	cr_assert_eq(
		METER_LEASES(fixture_get(
			&org_meter(s.f.arena, &s.f.arena->orgs[2], 1)->level)),
		0);
	end(v.hold);
	cr_assert_eq(out(), 0);
	cr_assert_eq(
		METER_LEASES(fixture_get(&place_of(&rules[4])->meter.level)),
		0);
	cr_assert_eq(
		METER_LEASES(fixture_get(
			&org_meter(s.f.arena, &s.f.arena->orgs[1], 1)->level)),
		0);
	gate_scene_close(&s);
}

/* Nobody knows when a lease comes back, so all waits are the same. */
Test(outside_flight, of_equal_waits_the_first_rule_is_named)
{
	struct rule rules[4];
	struct verdict v;

	gate_scene_open(&s, STEP_ASKS_MAX, 1);
	rules[1] = fixture_flight(1, LEASE_MS);
	memcpy(rules[1].name, "first", 6);
	rules[2] = flight = fixture_rule(&s.f, fixture_flight(1, LEASE_MS),
					 LEVEL_ADDRESS, 20);
	rules[3] =
		fixture_rule(&s.f, fixture_flight(1, LEASE_MS), LEVEL_KEY, 20);
	open_rules(rules, 4);
	cr_assert_eq(ask(1, 1, 0).reason, REASON_ALLOW);
	v = ask(1, 1, 0);
	cr_assert_eq(v.reason, REASON_CONCURRENCY);
	cr_assert_str_eq(v.limit_name, "first");
	v = ask(2, 1, 0);
	cr_assert_str_eq(v.limit_name, "flight");
	gate_scene_close(&s);
}

/* What is out stays out when the limit is lowered. */
Test(outside_flight, lowered_limit_denies_until_enough_are_back)
{
	struct instant now = instant_at(T0);
	struct meter_answer m;
	struct outside *o;

	open_flight(3, 0);
	ask(1, 1, 0);
	ask(1, 1, 0);
	ask(1, 1, 0);
	o = place_of(&flight);
	flight.limit = 2;
	cr_assert_not(
		outside_hold(s.f.arena, &flight, o, NULL, 0, 1, &now, &m));
	cr_assert_eq(m.remaining, 0);
	outside_end_lease(&o->meter.level);
	cr_assert_not(
		outside_hold(s.f.arena, &flight, o, NULL, 0, 1, &now, &m));
	outside_end_lease(&o->meter.level);
	cr_assert(outside_hold(s.f.arena, &flight, o, NULL, 0, 1, &now, &m));
	cr_assert_eq(out(), 2);
	gate_scene_close(&s);
}
