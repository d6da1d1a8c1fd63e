/* SPDX-License-Identifier: MIT */
#include "state/snapshotter.h"

#include "base/clock.h"
#include "base/epoch.h"
#include "state/snapshotter_due.h"
#include "world.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PATIENCE_NS UINT64_C(20000000000)

static struct world w;
static char text[KEY_TEXT_MAX];
static struct snapshotter *s;
static struct snapshot_info info;
static char err[SNAPSHOT_ERROR_MAX];

static void open_world(void)
{
	world_init(&w);
	world_start(&w);
	world_key(&w, world_org(&w, "acme", 100), text);
	world_passes(&w, text, 4);
}

static void close_world(void)
{
	world_die(&w);
	world_deinit(&w);
}

TestSuite(snapshotter, .init = open_world, .fini = close_world);

static void start(uint32_t interval_s)
{
	const struct snapshotter_options o = {
		.arena = &w.arena.arena,
		.epoch = &w.epoch,
		.dir = w.place.state,
		.interval_s = interval_s,
	};

	cr_assert_eq(snapshotter_start(&s, &o), 0);
}

static void expect_on_disk(uint64_t used, bool clean)
{
	world_die(&w);
	unlink(w.place.arena);
	world_start(&w);
	cr_expect(w.report.restored);
	cr_expect_eq(world_org_used(&w, 1), used);
	cr_assert_eq(snapshot_peek(&w.arena.arena, w.place.state, &info), 0);
	cr_expect_eq(info.clean, clean);
}

Test(snapshotter, asked_for_one_it_is_on_disk_when_the_call_returns)
{
	struct snapshot_result last;

	start(0);
	snapshotter_last(s, &last);
	cr_expect_not(last.taken);
	cr_expect_not(scratch_exists(w.place.snapshot));
	for (unsigned i = 0; i < 5; i++) {
		cr_assert_eq(snapshotter_now(s, &info, err, sizeof(err)), 0);
		cr_expect_eq(info.orgs, 1);
		cr_expect_not(info.clean);
		cr_expect(scratch_exists(w.place.snapshot));
		unlink(w.place.snapshot);
	}
	snapshotter_last(s, &last);
	cr_expect(last.taken);
	cr_expect_str_eq(last.error, "");
	cr_expect_eq(last.info.bytes, info.bytes);
	cr_assert_eq(snapshotter_stop(s, err, sizeof(err)), 0);
}

Test(snapshotter, stop_takes_a_clean_one_with_the_last_unit)
{
	start(3600);
	world_passes(&w, text, 5);
	cr_assert_eq(snapshotter_stop(s, err, sizeof(err)), 0, "%s", err);
	expect_on_disk(9, true);
}

Test(snapshotter, interval_takes_them_by_itself)
{
	uint64_t until = clock_ns(CLOCK_MONOTONIC) + PATIENCE_NS;
	struct snapshot_result last;

	start(1);
	do {
		sched_yield();
		snapshotter_last(s, &last);
	} while (!last.taken && clock_ns(CLOCK_MONOTONIC) < until);
	cr_assert(last.taken);
	cr_expect_not(last.info.clean);
	cr_assert_eq(snapshotter_stop(s, err, sizeof(err)), 0);
}

Test(snapshotter, failure_is_told_and_the_next_one_may_work)
{
	struct snapshot_result last;
	char away[128];

	snprintf(away, sizeof(away), "%s-away", w.place.state);
	start(0);
	cr_assert_eq(snapshotter_now(s, &info, err, sizeof(err)), 0);
	/* The directory goes away under it. */
	cr_assert_eq(rename(w.place.state, away), 0);
	cr_expect_eq(snapshotter_now(s, &info, err, sizeof(err)), -ENOENT);
	cr_expect_neq(err[0], '\0');
	snapshotter_last(s, &last);
	cr_expect(last.taken);
	cr_expect_str_eq(last.error, err);
	cr_assert_eq(rename(away, w.place.state), 0);
	cr_expect_eq(snapshotter_now(s, &info, err, sizeof(err)), 0);
	snapshotter_last(s, &last);
	cr_expect_str_eq(last.error, "");
	cr_assert_eq(snapshotter_stop(s, err, sizeof(err)), 0);
}

#define BLOCKS 256

/* A grace period visits every reader that was ever registered. */
Test(snapshotter, grace_periods_go_on_after_it_has_ended)
{
	void *blocks[BLOCKS];

	start(0);
	cr_assert_eq(snapshotter_stop(s, err, sizeof(err)), 0);
	/* Whatever it gave back is somebody else's now. */
	for (size_t i = 0; i < BLOCKS; i++) {
		blocks[i] = malloc(16 * (i + 1));
		cr_assert_not_null(blocks[i]);
		memset(blocks[i], 0xff, 16 * (i + 1));
	}
	for (unsigned i = 0; i < 3; i++)
		epoch_wait(&w.epoch);
	for (size_t i = 0; i < BLOCKS; i++)
		free(blocks[i]);
}

/* ---- usage ---- */

#define MS DUE_NS_PER_MS
#define S DUE_NS_PER_S
#define HOUR USAGE_HOUR_MS
#define NOON (INT64_C(480000) * HOUR)

Test(snapshotter_due, a_collection_that_takes_long_is_followed_by_a_rest)
{
	cr_expect_eq(due_usage_interval_ns(5 * S, 0), 5 * S);
	cr_expect_eq(due_usage_interval_ns(5 * S, S / 2), 5 * S);
	cr_expect_eq(due_usage_interval_ns(5 * S, S / 2 + 1), 5 * S + 10);
	cr_expect_eq(due_usage_interval_ns(5 * S, 8 * S), 80 * S);
}

Test(snapshotter_due, usage_after_an_interval_or_at_the_turn_of_the_hour)
{
	/* Collected at noon; asked a while later. */
	cr_expect_eq(due_usage_ns(0, 5 * S, NOON, NOON), 5 * S);
	cr_expect_eq(due_usage_ns(S, 5 * S, NOON, NOON + 1000), 4 * S);
	cr_expect_eq(due_usage_ns(5 * S, 5 * S, NOON, NOON + 5000), 0);
	cr_expect_eq(due_usage_ns(9 * S, 5 * S, NOON, NOON + 9000), 0);
	cr_expect_eq(due_usage_ns(0, 3600 * S, NOON, NOON), 3600 * S);
	/* Shortly before the turn, at it, after it. */
	cr_expect_eq(due_usage_ns(0, 5 * S, NOON - 7001, NOON - 7001), 5 * S);
	cr_expect_eq(due_usage_ns(0, 5 * S, NOON - 7000, NOON - 7000), 7 * S);
	cr_expect_eq(due_usage_ns(5 * S, 5 * S, NOON - 7001, NOON - 2001), 0);
	cr_expect_eq(due_usage_ns(5 * S, 5 * S, NOON - 7000, NOON - 2000),
		     2 * S);
	cr_expect_eq(due_usage_ns(0, 5 * S, NOON - 1, NOON - 1), MS);
	cr_expect_eq(due_usage_ns(0, 5 * S, NOON - 1, NOON), 0);
	cr_expect_eq(due_usage_ns(0, 5 * S, NOON - 1, NOON + 99999), 0);
	/* The clock was stepped, either way. */
	cr_expect_eq(due_usage_ns(0, 5 * S, NOON, NOON - 1), 0);
	cr_expect_eq(due_usage_ns(0, 5 * S, NOON, NOON + 100 * HOUR), 0);
	cr_expect_eq(due_usage_ns(S, 5 * S, NOON + 90000, NOON), 4 * S);
}

Test(snapshotter_due, snapshot_that_may_go_on_over_the_turn_waits_for_it)
{
	cr_expect_eq(due_snapshot_ns(7 * S, 0, NOON), 7 * S);
	cr_expect_eq(due_snapshot_ns(0, 0, NOON - 1), 0);
	cr_expect_eq(due_snapshot_ns(0, S, NOON - 2000), 0);
	cr_expect_eq(due_snapshot_ns(0, S, NOON - 1999), 1999 * MS);
	cr_expect_eq(due_snapshot_ns(0, S, NOON - 1), MS);
	cr_expect_eq(due_snapshot_ns(0, S, NOON), 0);
}

/* The thread does it, and once more when it is stopped. */
Test(snapshotter, usage_is_collected_at_an_interval_and_at_the_end)
{
	uint64_t until = clock_ns(CLOCK_MONOTONIC) + PATIENCE_NS;
	struct usage_options usage_options = {.arena = &w.arena,
					      .state_dir = w.place.state};
	struct snapshotter_options o = {.arena = &w.arena.arena,
					.epoch = &w.epoch,
					.dir = w.place.state,
					.usage_interval_s = 1};
	struct usage_status status;

	cr_assert_eq(
		usage_open(&o.usage, &usage_options, (int64_t)clock_wall_ms()),
		0);
	cr_assert_eq(snapshotter_start(&s, &o), 0);
	do {
		sched_yield();
		usage_status(o.usage, &status);
	} while (status.rows == 0 && clock_ns(CLOCK_MONOTONIC) < until);
	cr_expect_eq(status.rows, 1);
	world_passes(&w, text, 5);
	cr_assert_eq(snapshotter_stop(s, err, sizeof(err)), 0, "%s", err);
	cr_expect_eq(w.arena.arena.keys[1].used,
		     w.arena.arena.keys[1].collected);
	cr_expect_eq(USED_UNITS(w.arena.arena.keys[1].collected), 9);
	usage_close(o.usage);
}
