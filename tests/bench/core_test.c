/* SPDX-License-Identifier: MIT */
#include "core_run.h"

#include "base/clock.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct core_world world;
static char error[256];

static void setup(void)
{
	cr_assert_eq(core_world_init(&world, CORE_ORGS_MIN, CORE_PRIVATE, error,
				     sizeof(error)),
		     0, "%s", error);
}

static void teardown(void)
{
	core_world_deinit(&world);
}

TestSuite(core, .init = setup, .fini = teardown, .timeout = 60);

static int run(const struct core_stage *stage, uint32_t threads,
	       struct core_run_result *ret)
{
	struct core_run_options o = {.threads = threads, .measure_ns = 1000};

	error[0] = '\0';
	return core_run(&world, stage, &o, ret, error, sizeof(error));
}

static const struct core_stage *stage(const char *name, bool hot)
{
	for (size_t i = 0; i < core_stages_count; i++)
		if (core_stages[i].hot == hot &&
		    strcmp(core_stages[i].name, name) == 0)
			return &core_stages[i];
	cr_assert(false, "no stage %s", name);
	return NULL;
}

Test(core, every_stage_finds_its_results_right)
{
	struct core_run_result r = {0};

	for (size_t i = 0; i < core_stages_count; i++) {
		const struct core_stage *s = &core_stages[i];

		if (s->denied)
			core_world_fill(&world);
		else
			core_world_rest(&world);
		cr_assert_eq(run(s, 1, &r), 0, "%s", error);
		cr_assert_eq(run(s, 2, &r), 0, "%s", error);
		cr_assert_gt(r.ns, 0);
		cr_assert_gt(r.rate, 0);
		cr_assert_eq(CORE_CHUNK % s->batch, 0);
	}
}

Test(core, arena_in_tmpfs_has_no_name_and_serves_as_well)
{
	struct core_run_result r = {0};
	char link[64], path[256] = "";

	if (access(CORE_TMPFS_DIR, W_OK) < 0)
		cr_skip_test("no " CORE_TMPFS_DIR " to write to");
	core_world_deinit(&world);
	cr_assert_eq(core_world_init(&world, CORE_ORGS_MIN, CORE_TMPFS, error,
				     sizeof(error)),
		     0, "%s", error);
	snprintf(link, sizeof(link), "/proc/self/fd/%d", world.file.fd);
	cr_assert_gt(readlink(link, path, sizeof(path) - 1), 0);
	cr_assert_not_null(strstr(path, " (deleted)"), "%s", path);
	cr_assert_eq(strncmp(path, CORE_TMPFS_DIR, sizeof(CORE_TMPFS_DIR) - 1),
		     0);
	core_world_rest(&world);
	cr_assert_eq(run(stage("decide, raw", false), 2, &r), 0, "%s", error);
}

Test(core, allowed_units_are_on_the_books)
{
	uint64_t used = 0;
	struct core_thread *t = aligned_alloc(LINE_BYTES, sizeof(*t));

	core_thread_init(t, &world, stage("decide, raw", true), 0, 1);
	cr_assert(t->stage->chunk(t));
	cr_assert(t->stage->chunk(t));
	for (uint32_t i = 0; i < CORE_HOT_KEYS; i++)
		used += USED_UNITS(atomic_load(
			&world.file.arena.keys[world.org_count + 1 + i].used));
	cr_assert_eq(used, 2 * CORE_CHUNK);
	free(t);
}

Test(core, words_are_claimed_once_an_operation)
{
	static const char *const names[] = {"claim, 1", "claim, 3", "claim, 6"};
	static const uint64_t changed[CORE_WORDS_MAX] = {3, 2, 2, 1, 1, 1};
	struct core_meters *m = core_meters(
		&world.file.arena, &world.file.arena.orgs[world.org_count + 1]);
	struct core_thread *t = aligned_alloc(LINE_BYTES, sizeof(*t));

	for (size_t i = 0; i < 3; i++) {
		core_thread_init(t, &world, stage(names[i], true), 0, 1);
		cr_assert(t->stage->chunk(t));
	}
	for (size_t i = 0; i < CORE_WORDS_MAX; i++)
		cr_assert_eq(atomic_load(&m->words[i]),
			     changed[i] * CORE_CHUNK);
	free(t);
}

Test(core, rules_are_compared_with_as_many_words)
{
	for (size_t i = 0; i < core_stages_count; i++) {
		const struct core_stage *s = &core_stages[i];
		int r = core_stage_reference(s);

		/* Groups are of rules only: nothing bare is like them. */
		if ((strncmp(s->name, "rules", 5) != 0 &&
		     strncmp(s->name, "bare", 4) != 0) ||
		    (s->hot && s->batch > 1)) {
			cr_assert_eq(r, -1);
			continue;
		}
		cr_assert_geq(r, 0, "%s", s->name);
		cr_assert_lt(r, (int)i, "it is measured before");
		cr_assert_eq(core_stages[r].words, s->words);
		cr_assert_eq(core_stages[r].name[7], strchr(s->name, ' ')[1]);
		cr_assert_eq(core_stages[r].hot, s->hot);
		cr_assert_eq(core_stages[r].batch, s->batch);
	}
}

Test(core, rules_budget_and_credits_are_all_charged)
{
	struct arena *a = &world.file.arena;
	struct core_thread *t = aligned_alloc(LINE_BYTES, sizeof(*t));
	const struct credits *c = block_at(a, a->orgs[world.rich].credits);
	uint64_t used = 0;

	core_thread_init(t, &world, stage("rules, 6 budget", true), 0, 1);
	cr_assert(t->stage->chunk(t));
	core_thread_init(t, &world, stage("rules, 6 credits", true), 0, 1);
	cr_assert(t->stage->chunk(t));
	for (uint32_t i = 0; i < CORE_HOT_KEYS; i++)
		used += USED_UNITS(
			atomic_load(&a->keys[world.org_count + 1 + i].used));
	cr_assert_eq(used, 2 * CORE_CHUNK);
	cr_assert_eq(BUDGET_UNITS(atomic_load(&a->projects[1].budgets[0].used)),
		     CORE_CHUNK);
	cr_assert_not_null(c);
	cr_assert_eq(atomic_load(&c->pools[0].used), CORE_CHUNK);
	free(t);
}

static void expect_wrong(const char *name, bool hot)
{
	struct core_run_result r;

	cr_assert_eq(run(stage(name, hot), 1, &r), -1, "%s", name);
	cr_assert_not_null(strstr(error, "a wrong result"), "%s", error);
}

Test(core, windows_that_are_not_full_fail_what_needs_them_full)
{
	world.full_at = instant_now();
	world.full_at = instant_at(world.full_at.ns + 1000000);
	expect_wrong("window, denied", false);
	expect_wrong("decide, denied", true);
}

Test(core, suspended_organization_fails_the_decision)
{
	atomic_store(&world.file.arena.orgs[world.keys[7].org].state,
		     SLOT_SUSPENDED);
	expect_wrong("decide, raw", false);
	expect_wrong("decide, hashed", false);
}

Test(core, damaged_key_fails_every_stage_that_reads_it)
{
	world.keys[world.org_count].text[20] ^= 1;
	expect_wrong("keytext", true);
	expect_wrong("sha256", true);
	expect_wrong("decide, raw", true);
}

Test(core, key_that_the_table_does_not_know_fails_the_probe)
{
	world.keys[3].hash[KEY_HASH_SKIP] ^= 1;
	expect_wrong("key table", false);
	expect_wrong("decide, hashed", false);
}

Test(core, words_that_do_not_agree_fail_the_claim)
{
	atomic_fetch_add(
		&core_meters(&world.file.arena, &world.file.arena.orgs[7])
			 ->words[1],
		1);
	expect_wrong("claim, 3", false);
	expect_wrong("claim, 6", false);
}

static void deny(enum core_plan plan, unsigned rule)
{
	struct plan *p = block_at(&world.file.arena, world.rules.hot[plan]);

	cr_assert_not_null(p);
	p->rules[rule].limit = 0;
	plan_complete(p);
}

Test(core, rule_that_denies_fails_the_decision)
{
	deny(CORE_MIXED_6, 5);
	expect_wrong("rules, 6", true);
	expect_wrong("rules, 6 budget", true);
	expect_wrong("rules, 6 credits", true);
	deny(CORE_LEVELS_6, 3);
	expect_wrong("rules, 6 levels", true);
}
