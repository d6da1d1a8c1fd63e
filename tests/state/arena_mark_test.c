/* SPDX-License-Identifier: MIT */
#include "state/arena_mark.h"

#include "gate/claim.h"
#include "scratch.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

static struct scratch s;
static struct arena_file f;
static char other[128], mark[128];
static bool fresh, stale;
static char err[256];

static void open_place(void)
{
	scratch_init(&s);
	snprintf(other, sizeof(other), "%s/other", s.shm);
	snprintf(mark, sizeof(mark), "%s/%s", s.state, ARENA_MARK_FILE);
}

static void close_place(void)
{
	scratch_deinit(&s);
}

TestSuite(arena_mark, .init = open_place, .fini = close_place);

static int start(const char *path)
{
	unsigned recovered;

	cr_assert_eq(arena_open(&f, path, &fresh, &recovered, err, sizeof(err)),
		     0, "%s", err);
	return arena_mark(&f, s.state, &fresh, &stale, err, sizeof(err));
}

/* Starts on `path`, which must hold `before`, and counts one more. */
static void serve(const char *path, uint64_t before, bool want_stale)
{
	word_t *used;

	cr_assert_eq(start(path), 0, "%s", err);
	cr_assert_eq(stale, want_stale);
	cr_assert_eq(fresh, before == 0);
	cr_assert_eq(arena_reserve(&f, REGION_ORGS, 4096), 0);
	used = &f.arena.orgs[1].first.level;
	cr_assert_eq(claim_load(used), before);
	atomic_store_explicit(used, before + 1, memory_order_relaxed);
	arena_set_ready(&f);
	arena_close(&f);
}

Test(arena_mark, the_one_that_counted_last_is_carried_on_with)
{
	struct stat st;

	serve(s.arena, 0, false);
	serve(s.arena, 1, false);
	serve(s.arena, 2, false);
	cr_assert_eq(stat(mark, &st), 0);
	cr_expect_eq(st.st_mode & 07777, 0600);
}

Test(arena_mark, one_that_was_left_behind_begins_anew)
{
	serve(s.arena, 0, false);
	serve(other, 0, false);
	serve(other, 1, false);
	serve(s.arena, 0, true);
	serve(s.arena, 1, false);
	serve(other, 0, true);
}

Test(arena_mark, without_a_mark_there_is_no_better_one)
{
	serve(s.arena, 0, false);
	cr_assert_eq(unlink(mark), 0);
	serve(s.arena, 1, false);
	cr_assert(scratch_exists(mark));
}

Test(arena_mark, damaged_mark_is_no_mark_of_this_one)
{
	serve(s.arena, 0, false);
	scratch_write(mark, "", 0);
	serve(s.arena, 0, true);
	scratch_write(mark, "0123456789abcdef0123456789abcdef and more\n", 42);
	serve(s.arena, 0, true);
	serve(s.arena, 1, false);
}

Test(arena_mark, one_that_is_emptied_after_it_was_opened_stays_the_same)
{
	serve(s.arena, 0, false);
	cr_assert_eq(start(s.arena), 0);
	cr_assert_eq(arena_discard(&f, err, sizeof(err)), 0);
	arena_set_ready(&f);
	arena_close(&f);
	cr_assert_eq(start(s.arena), 0);
	cr_expect_not(stale);
	arena_close(&f);
}

Test(arena_mark, what_cannot_be_noted_is_an_error)
{
	serve(s.arena, 0, false);
	cr_assert_eq(unlink(mark), 0);
	cr_assert_eq(mkdir(mark, 0700), 0);
	cr_expect_lt(start(s.arena), 0);
	cr_expect_str_not_empty(err);
	arena_close(&f);
	rmdir(mark);
}
