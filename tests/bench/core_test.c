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
