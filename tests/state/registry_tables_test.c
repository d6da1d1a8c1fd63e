/* SPDX-License-Identifier: MIT */
/* Entries whose subject is at rest make room. */
#include "world.h"

#include "base/clock.h"
#include "gate/subjects.h"
#include "state/registry_internal.h"

#include <criterion/criterion.h>
#include <string.h>

#define KEPT_MS 1000u
#define STEPS 32 /* each entry has been looked at, marked and freed */

static struct world w;

static void open_world(void)
{
	world_init(&w);
	w.options.request_ids = 64;
	w.options.request_id_ms = KEPT_MS;
	world_start(&w);
	gate_configure(&w.gate,
		       &(struct gate_options){.routes = w.gate.options.routes,
					      .once_ms = KEPT_MS});
}

static void close_world(void)
{
	world_die(&w);
	world_deinit(&w);
}

TestSuite(registry_tables, .init = open_world, .fini = close_world);

static uint32_t ids_kept_after(uint64_t age_ms)
{
	struct check_extra x = {.once = {1, 2}};
	struct instant then = instant_at(instant_now().ns - age_ms * 1000000);
	char text[KEY_TEXT_MAX];
	struct check c = {.key = (const uint8_t *)text,
			  .credential = CREDENTIAL_KEY,
			  .cost = 1,
			  .extra = &x};
	struct subjects t;
	struct verdict v;

	world_key(&w, world_org(&w, "acme", 10), text);
	c.key_len = (uint8_t)strlen(text);
	gate_decide(&w.gate, &c, &v, 1, &then, clock_wall_ms());
	cr_assert_eq(v.reason, REASON_ALLOW);
	for (unsigned i = 0; i < STEPS; i++)
		registry_tend(w.registry);
	cr_assert(subjects_open(&t, &w.arena.arena,
				claim_load(&w.arena.arena.header->once)));
	return subjects_used(&t);
}

Test(registry_tables, request_id_makes_room_when_its_time_has_passed)
{
	cr_expect_eq(ids_kept_after(KEPT_MS + 1), 0);
}

Test(registry_tables, request_id_is_kept_until_then)
{
	w.options.request_id_ms = 3600000;
	world_restart(&w);
	gate_configure(&w.gate,
		       &(struct gate_options){.routes = w.gate.options.routes,
					      .once_ms = 3600000});
	cr_expect_eq(ids_kept_after(KEPT_MS), 1);
}

static void set_window(uint32_t org, uint64_t period_ms)
{
	struct rule_record rule = {.org = org,
				   .name = "each",
				   .level = LEVEL_KEY,
				   .algorithm = RULE_WINDOW,
				   .limit = 20,
				   .period_ms = period_ms,
				   .max_subjects = 1};

	cr_assert_eq(registry_rule_set(w.registry, &rule), 0);
}

static uint64_t used_by(uint32_t org, const struct key_record *key)
{
	struct subject_query q = {.org = org, .name = "each", .key = key->slot};
	struct subject_live live;

	cr_assert_eq(registry_subject_show(w.registry, &q, &live), 0);
	return live.used;
}

/* One bucket: some of those who come find an entry of those who went, with what
 * a longer window would count. */
Test(registry_tables, who_gets_an_entry_is_not_charged_for_who_had_it)
{
	uint64_t now = instant_now().ticks;
	uint32_t org = world_org(&w, "acme", 1000);
	struct key_record keys[20];
	char text[KEY_TEXT_MAX];

	set_window(org, 1000);
	w.now = now - 3000 * CLOCK_TICKS_PER_MS;
	for (unsigned i = 0; i < 10; i++) {
		keys[i] = world_key(&w, org, text);
		cr_assert_eq(world_passes(&w, text, 5), 5);
	}
	for (unsigned i = 0; i < STEPS; i++)
		registry_tend(w.registry);
	w.now = now;
	for (unsigned i = 10; i < 20; i++) {
		keys[i] = world_key(&w, org, text);
		cr_assert_eq(world_passes(&w, text, 1), 1);
	}
	set_window(org, 3600000);
	for (unsigned i = 10; i < 20; i++)
		cr_expect_eq(used_by(org, &keys[i]), 1, "%lu",
			     used_by(org, &keys[i]));
}
