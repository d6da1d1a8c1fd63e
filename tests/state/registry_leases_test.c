/* SPDX-License-Identifier: MIT */
/* Leases that are out, as a process finds them that comes after a death. */
#include "world.h"

#include "base/clock.h"
#include "state/registry_internal.h"

#include <criterion/criterion.h>
#include <string.h>

#define HOLDS 128u
#define SOMEWHERE (ARENA_RINGS_AT + (UINT64_C(1) << 20))

static struct world w;
static uint32_t org;
static char text[KEY_TEXT_MAX];

static void start(void)
{
	static const struct routes none;

	world_start(&w);
	gate_configure(&w.gate, &(struct gate_options){.routes = &none,
						       .hold_ms = 60000,
						       .workers = 1});
}

static void restart(void)
{
	world_die(&w);
	start();
}

static void open_world(void)
{
	world_init(&w);
	w.options.subjects = 100;
	w.options.cells = 100;
	w.options.holds = HOLDS;
	start();
	org = world_org(&w, "acme", 1000);
	world_key(&w, org, text);
}

static void close_world(void)
{
	world_die(&w);
	world_deinit(&w);
}

TestSuite(registry_leases, .init = open_world, .fini = close_world);

static void set_rule(const char *name, uint8_t level, uint32_t limit)
{
	struct rule_record rule = {.org = org,
				   .level = level,
				   .algorithm = RULE_CONCURRENCY,
				   .limit = limit,
				   .lease_ms = 60000};

	strcpy(rule.name, name);
	cr_assert_eq(registry_rule_set(w.registry, &rule), 0, "%s",
		     registry_error(w.registry));
}

static struct check_extra from = {.has_address = true,
				  .address = {[10] = 0xff, 0xff, 192, 0, 2, 1}};

static struct verdict take(void)
{
	struct check c = {.key = (const uint8_t *)text,
			  .key_len = (uint8_t)strlen(text),
			  .credential = CREDENTIAL_KEY,
			  .cost = 1,
			  .extra = &from};
	struct instant now = instant_now();
	struct verdict v;

	gate_decide(&w.gate, &c, &v, 1, &now, clock_wall_ms());
	return v;
}

static enum reason end(uint64_t hold)
{
	struct check_extra x = {.hold = hold};
	struct check c = {.credential = CREDENTIAL_HOLD,
			  .cost = SETTLE_AS_RESERVED,
			  .extra = &x};
	struct instant now = instant_now();
	struct verdict v;

	gate_decide(&w.gate, &c, &v, 1, &now, clock_wall_ms());
	return v.reason;
}

static struct hold *hold_of(uint64_t id)
{
	return hold_at(&w.arena.arena, HOLD_ID_SLOT(id));
}

static word_t *lease_of(uint64_t id, unsigned i)
{
	uint64_t lease = claim_load(&hold_of(id)->leases[i]);

	cr_assert_neq(lease, 0);
	return (word_t *)(void *)(w.arena.arena.base + LEASE_OFFSET(lease));
}

Test(registry_leases, live_holds_keep_theirs)
{
	struct verdict v[2];

	set_rule("all", LEVEL_ORG, 2);
	set_rule("each", LEVEL_KEY, 2);
	set_rule("from", LEVEL_ADDRESS, 2);
	v[0] = take();
	v[1] = take();
	cr_assert_eq(v[1].reason, REASON_ALLOW);
	restart();
	for (unsigned i = 0; i < 3; i++)
		cr_expect_eq(METER_LEASES(claim_load(lease_of(v[0].hold, i))),
			     2);
	cr_expect_eq(take().reason, REASON_CONCURRENCY);
	cr_expect_eq(end(v[0].hold), REASON_ALLOW);
	cr_expect_eq(take().reason, REASON_ALLOW);
	cr_expect_eq(take().reason, REASON_CONCURRENCY);
}

/* An older database was put back: its key is not there any more. */
Test(registry_leases, hold_of_nobody_gives_them_back)
{
	struct verdict v;

	set_rule("all", LEVEL_ORG, 1);
	set_rule("each", LEVEL_KEY, 1);
	set_rule("from", LEVEL_ADDRESS, 1);
	v = take();
	cr_assert_eq(v.reason, REASON_ALLOW);
	slot_set_word(&hold_of(v.hold)->subject, (uint64_t)77 << 32 | org);
	restart();
	cr_expect_eq(end(v.hold), REASON_NO_HOLD);
	cr_expect_eq(take().reason, REASON_ALLOW);
	cr_expect_eq(take().reason, REASON_CONCURRENCY);
}

/* We died between a change of limits and the leases' forgetting. */
Test(registry_leases, place_that_no_rule_counts_in_is_forgotten)
{
	word_t *word = (word_t *)(void *)(w.arena.arena.base + SOMEWHERE);
	struct verdict v;

	set_rule("all", LEVEL_ORG, 1);
	v = take();
	cr_assert_eq(v.reason, REASON_ALLOW);
	slot_set_word(&hold_of(v.hold)->leases[1], SOMEWHERE);
	slot_set_word(word, 42);
	restart();
	word = (word_t *)(void *)(w.arena.arena.base + SOMEWHERE);
	cr_expect_eq(claim_load(&hold_of(v.hold)->leases[1]), 0);
	cr_expect_eq(end(v.hold), REASON_ALLOW);
	cr_expect_eq(claim_load(word), 42);
	cr_expect_eq(take().reason, REASON_ALLOW);
}

/* We died in the middle of a decision, or between the end of a hold and what
 * it gives back. */
Test(registry_leases, of_addresses_those_of_no_hold_are_back)
{
	struct verdict v;

	set_rule("from", LEVEL_ADDRESS, 3);
	v = take();
	cr_assert_eq(v.reason, REASON_ALLOW);
	slot_set_word(lease_of(v.hold, 0), 3);
	cr_assert_eq(take().reason, REASON_CONCURRENCY);
	restart();
	cr_expect_eq(claim_load(lease_of(v.hold, 0)) & 0xffffff, 1);
	cr_expect_eq(take().reason, REASON_ALLOW);
	cr_expect_eq(take().reason, REASON_ALLOW);
	cr_expect_eq(take().reason, REASON_CONCURRENCY);
	cr_expect_eq(end(v.hold), REASON_ALLOW);
	cr_expect_eq(take().reason, REASON_ALLOW);
}

/* However few the word says: nobody is admitted for it. */
Test(registry_leases, of_addresses_live_holds_are_never_fewer_than_they_are)
{
	set_rule("from", LEVEL_ADDRESS, 2);
	take();
	slot_set_word(lease_of(take().hold, 0), 0);
	restart();
	cr_expect_eq(take().reason, REASON_CONCURRENCY);
}

/* Not even by what is left of the rule that was there before. */
Test(registry_leases, of_addresses_a_rule_that_goes_is_forgotten)
{
	struct verdict v;

	set_rule("from", LEVEL_ADDRESS, 1);
	v = take();
	cr_assert_eq(registry_rule_remove(w.registry, 0, org, "from"), 0);
	cr_expect_eq(claim_load(&hold_of(v.hold)->leases[0]), 0);
	set_rule("from", LEVEL_ADDRESS, 1);
	cr_expect_eq(take().reason, REASON_ALLOW);
	cr_expect_eq(end(v.hold), REASON_ALLOW);
	cr_expect_eq(take().reason, REASON_CONCURRENCY);
}

static uint32_t addresses_known(void)
{
	const struct plan *plan =
		plan_of(&w.arena.arena, &w.arena.arena.orgs[org]);
	struct subjects t;

	for (unsigned i = 0; i < 32; i++)
		registry_tend(w.registry);
	cr_assert(subjects_open(&t, &w.arena.arena,
				plan->rules[plan->rules_count - 1].table));
	return subjects_used(&t);
}

Test(registry_leases, of_addresses_one_that_is_out_keeps_its_entry)
{
	struct verdict v;

	set_rule("from", LEVEL_ADDRESS, 1);
	v = take();
	cr_expect_eq(addresses_known(), 1);
	cr_expect_eq(take().reason, REASON_CONCURRENCY);
	cr_expect_eq(end(v.hold), REASON_ALLOW);
	cr_expect_eq(addresses_known(), 0);
	cr_expect_eq(take().reason, REASON_ALLOW);
}
