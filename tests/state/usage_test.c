/* SPDX-License-Identifier: MIT */
#include "state/usage.h"

#include "../random.h"
#include "scratch.h"
#include "state/arena.h"
#include "state/usage_internal.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define HOUR USAGE_HOUR_MS
#define NOON (INT64_C(480000) * HOUR) /* 2024 or so */
#define KEYS 40

static struct scratch place;
static struct arena_file file;
static struct usage *u;
static struct usage_options options;
static int64_t now;

static struct key *key(uint32_t slot)
{
	return &file.arena.keys[slot];
}

static void name(struct id *id, char kind, uint32_t number)
{
	char text[ID_LEN + 2];

	snprintf(text, sizeof(text), "%c%07u", kind, number % 10000000);
	memcpy(id->c, text, ID_LEN);
}

/* Key n belongs to organization 1 + n % 3, and every other one to the project
 * of the same number. */
static void make_key(uint32_t slot)
{
	name(&key(slot)->id, 'k', slot);
	key(slot)->org = 1 + slot % 3;
	key(slot)->project = slot % 2 ? 1 + slot % 3 : 0;
	atomic_store(&key(slot)->used, 0);
	atomic_store(&key(slot)->collected, 0);
	atomic_store(&key(slot)->state, SLOT_ACTIVE);
	slots_raise(&file.arena.header->key_slots, slot);
}

static void start(void)
{
	cr_assert_eq(usage_open(&u, &options, now), 0);
}

static void die(void)
{
	u = usage_close(u);
}

static void restart(void)
{
	die();
	start();
}

static void set_up(void)
{
	scratch_init(&place);
	cr_assert_eq(arena_open_private(&file), 0);
	memset(file.arena.header->id, 7, sizeof(file.arena.header->id));
	for (uint32_t i = 1; i <= 3; i++) {
		name(&file.arena.orgs[i].id, 'o', i);
		name(&file.arena.projects[i].id, 'p', i);
	}
	for (uint32_t i = 1; i <= KEYS; i++)
		make_key(i);
	options = (struct usage_options){.arena = &file,
					 .state_dir = place.state};
	now = NOON;
	start();
}

static void tear_down(void)
{
	if (u != NULL)
		die();
	arena_close(&file);
	scratch_deinit(&place);
}

TestSuite(usage, .init = set_up, .fini = tear_down);

static void use(uint32_t slot, uint64_t checks, uint64_t units)
{
	atomic_store(&key(slot)->used,
		     used_add(atomic_load(&key(slot)->used), units, checks));
}

static void collect(void)
{
	int r = usage_collect(u, NULL, now);

	cr_assert_eq(r, 0, "%d: %s", r, u->error);
}

/* One number from the database, as any other program reads it. */
static int64_t __attribute__((format(printf, 1, 2))) ask(const char *fmt, ...)
{
	char path[128], sql[512];
	sqlite3_stmt *st;
	int64_t value;
	sqlite3 *db;
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(sql, sizeof(sql), fmt, ap);
	va_end(ap);
	snprintf(path, sizeof(path), "%s/%s", place.state, USAGE_FILE);
	cr_assert_eq(sqlite3_open_v2(path, &db, SQLITE_OPEN_READONLY, NULL), 0);
	cr_assert_eq(sqlite3_prepare_v2(db, sql, -1, &st, NULL), 0, "%s: %s",
		     sql, sqlite3_errmsg(db));
	cr_assert_eq(sqlite3_step(st), SQLITE_ROW);
	value = sqlite3_column_int64(st, 0);
	sqlite3_finalize(st);
	sqlite3_close(db);
	return value;
}

/* Sum of a key's rows. */
static uint64_t rows(const char *column, uint32_t slot)
{
	return (uint64_t)ask("SELECT coalesce(sum(%s),0) FROM usage WHERE "
			     "key='k%07u'",
			     column, slot);
}

static uint64_t pending(uint32_t slot)
{
	return used_between(atomic_load(&key(slot)->collected),
			    atomic_load(&key(slot)->used));
}

/* What the header promises; `base` is what the key had when rows began. */
static void expect_exact(uint32_t slot, uint64_t checks, uint64_t units)
{
	cr_assert_eq(rows("units", slot) + USED_UNITS(pending(slot)), units,
		     "units of key %u", slot);
	cr_assert_eq(rows("checks", slot) + USED_CHECKS(pending(slot)), checks,
		     "checks of key %u", slot);
}

Test(usage, what_a_key_used_is_in_the_row_of_its_owners)
{
	use(3, 2, 7);
	use(4, 1, 1);
	collect();
	use(3, 1, 5);
	collect();
	collect();
	cr_expect_eq(ask("SELECT count(*) FROM usage"), 2);
	cr_expect_eq(ask("SELECT units FROM usage WHERE hour=480000 AND "
			 "org='o0000001' AND key='k0000003' AND route='' AND "
			 "project='p0000001' AND checks=3"),
		     12);
	cr_expect_eq(ask("SELECT units FROM usage WHERE org='o0000002' AND "
			 "key='k0000004' AND project='' AND checks=1"),
		     1);
	cr_expect_eq(pending(3), 0);
	cr_expect_eq(pending(4), 0);
}

/* Deaths anywhere: before, in and after a transaction, and between the commit
 * and the stores. */
Test(usage, no_unit_is_lost_or_doubled_wherever_it_dies)
{
	struct rng rng = {.state = test_seed("usage")};
	uint64_t checks[KEYS + 1] = {0}, units[KEYS + 1] = {0};
	uint32_t slot = 1;

	for (int step = 0; step < 1500; step++) {
		uint32_t some = 1 + rng_below(&rng, KEYS);
		uint32_t n = rng_below(&rng, 5), cost = rng_below(&rng, 1000);

		use(some, n, (uint64_t)n * cost);
		checks[some] += n;
		units[some] += (uint64_t)n * cost;
		now += rng_below(&rng, 60000);
		slot = 1;
		switch (rng_below(&rng, 24)) {
		case 0:
			restart();
			break;
		case 1:
			if (usage_write(u, NULL, now, &slot) == 0)
				restart();
			break;
		case 2:
		case 3:
			if (usage_write(u, NULL, now, &slot) != 0)
				break;
			cr_assert_eq(usage_commit(u), 0);
			use(some, 1, 3);
			checks[some]++;
			units[some] += 3;
			restart();
			break;
		case 4:
			collect();
			restart();
			break;
		case 5:
		case 6:
			collect();
			break;
		default:
			break;
		}
		if (step % 50 == 0)
			for (uint32_t i = 1; i <= KEYS; i++)
				expect_exact(i, checks[i], units[i]);
	}
	collect();
	for (uint32_t i = 1; i <= KEYS; i++) {
		expect_exact(i, checks[i], units[i]);
		cr_expect_eq(pending(i), 0);
	}
}

Test(usage, death_between_commit_and_stores_counts_once)
{
	uint32_t slot = 1;

	use(1, 1, 10);
	cr_assert_eq(usage_write(u, NULL, now, &slot), 0);
	cr_assert_eq(usage_commit(u), 0);
	die();
	cr_assert_eq(USED_UNITS(pending(1)), 10);
	start();
	cr_expect_eq(pending(1), 0);
	collect();
	expect_exact(1, 1, 10);
}

Test(usage, totals_wrap_where_their_bits_end)
{
	uint64_t near = used_add(0, USED_UNIT_MASK - 1, 0xfffffe);

	atomic_store(&key(1)->used, near);
	atomic_store(&key(1)->collected, near);
	use(1, 5, 9);
	collect();
	expect_exact(1, 5, 9);
	cr_expect_eq(pending(1), 0);
	/* The most that one collection tells apart. */
	use(2, 0xffffff, USED_UNIT_MASK);
	collect();
	expect_exact(2, 0xffffff, USED_UNIT_MASK);
}

Test(usage, what_was_counted_before_the_turn_stays_in_its_hour)
{
	now = NOON + HOUR - 1;
	use(1, 1, 1);
	collect();
	use(1, 1, 10);
	now = NOON + HOUR + 30; /* found a little late */
	collect();
	use(1, 1, 100);
	now = NOON + HOUR + 31;
	collect();
	cr_expect_eq(ask("SELECT units FROM usage WHERE hour=480000"), 11);
	cr_expect_eq(ask("SELECT units FROM usage WHERE hour=480001"), 100);
}

/* Idle for hours, then some use, then death. */
Test(usage, database_knows_the_hour_of_what_a_dead_process_left)
{
	use(1, 1, 1);
	collect();
	for (int i = 1; i <= 7; i++) {
		now = NOON + i * HOUR + 10;
		collect();
	}
	use(1, 1, 10);
	now = NOON + 20 * HOUR;
	restart();
	collect();
	cr_expect_eq(ask("SELECT units FROM usage WHERE hour=480007"), 10);
	use(1, 1, 100);
	collect();
	cr_expect_eq(ask("SELECT units FROM usage WHERE hour=480020"), 100);
}

Test(usage, clock_that_goes_back_loses_nothing)
{
	use(1, 1, 1);
	collect();
	now -= 30 * HOUR;
	use(1, 1, 10);
	collect();
	restart();
	use(1, 1, 100);
	collect();
	expect_exact(1, 3, 111);
	cr_expect_eq(ask("SELECT units FROM usage WHERE hour=479970"), 110);
}

/* ---- whose it is ---- */

Test(usage, marks_of_another_key_in_the_slot_are_not_put_back)
{
	uint32_t slot = 1;

	use(1, 1, 10);
	cr_assert_eq(usage_write(u, NULL, now, &slot), 0);
	cr_assert_eq(usage_commit(u), 0);
	die();
	make_key(1);
	name(&key(1)->id, 'k', 999);
	use(1, 1, 4);
	start();
	cr_expect_eq(USED_UNITS(pending(1)), 4);
	collect();
	expect_exact(1, 1, 14 - 4);
	cr_expect_eq(rows("units", 999), 4);
}

Test(usage, marks_of_another_arena_are_not_put_back)
{
	use(1, 1, 10);
	collect();
	die();
	/* The snapshot's total, of which nothing is pending. */
	file.arena.header->id[0] ^= 1;
	atomic_store(&key(1)->used, used_add(0, 2, 1));
	atomic_store(&key(1)->collected, used_add(0, 2, 1));
	start();
	cr_expect_eq(pending(1), 0);
	use(1, 1, 5);
	collect();
	cr_expect_eq(rows("units", 1), 15);
}

Test(usage, marks_mean_nothing_to_an_arena_that_began_anew)
{
	use(1, 1, 10);
	collect();
	die();
	atomic_store(&key(1)->used, 0);
	atomic_store(&key(1)->collected, 0);
	options.fresh = true;
	start();
	cr_expect_eq(pending(1), 0);
	/* And are gone for the next start, which is not fresh. */
	options.fresh = false;
	restart();
	cr_expect_eq(pending(1), 0);
}

Test(usage, free_slots_are_passed_by)
{
	use(1, 1, 10);
	atomic_store(&key(1)->state, SLOT_FREE);
	use(2, 1, 20);
	atomic_store(&key(2)->state, SLOT_REVOKED);
	collect();
	cr_expect_eq(rows("units", 1), 0);
	cr_expect_eq(rows("units", 2), 20);
}

/* ---- bounds ---- */

Test(usage, more_keys_than_a_batch_holds)
{
	uint32_t many = USAGE_BATCH + 5000;
	struct usage_status status;

	for (uint32_t i = KEYS + 1; i <= many; i++)
		make_key(i);
	for (uint32_t i = 1; i <= many; i++)
		use(i, 1, i);
	collect();
	usage_status(u, &status);
	cr_expect_eq(status.rows, many);
	cr_expect_eq(ask("SELECT sum(units) FROM usage"),
		     (int64_t)many * (many + 1) / 2);
	for (uint32_t i = 1; i <= many; i++)
		cr_assert_eq(pending(i), 0);
}

Test(usage, rows_older_than_kept_go_in_pieces)
{
	u->retention_ms = 2 * (uint64_t)HOUR;
	sqlite3_exec(u->db,
		     "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i+1 "
		     "FROM n WHERE i<69999) INSERT INTO usage SELECT "
		     "479000,'o',i,'','',1,1,0,0,0,0,0,0,0 FROM n",
		     NULL, NULL, NULL);
	use(1, 1, 1);
	collect();
	cr_expect_eq(ask("SELECT count(*) FROM usage"),
		     70001 - USAGE_PRUNE_TIMES * USAGE_PRUNE_ROWS);
	collect();
	cr_expect_eq(ask("SELECT count(*) FROM usage"), 1);
	now += 2 * HOUR + HOUR - 1;
	collect();
	cr_expect_eq(ask("SELECT count(*) FROM usage"), 1);
	now += 1;
	collect();
	cr_expect_eq(ask("SELECT count(*) FROM usage"), 0);
	expect_exact(1, 0, 0);
}

/* ---- faults ---- */

Test(usage, full_disk_is_told_and_what_was_counted_waits)
{
	struct usage_status status;

	for (uint32_t i = 1; i <= KEYS; i++)
		use(i, 1, i);
	collect();
	sqlite3_exec(u->db, "PRAGMA max_page_count=1", NULL, NULL, NULL);
	for (uint32_t i = KEYS + 1; i <= 2000; i++) {
		make_key(i);
		use(i, 1, i);
	}
	cr_expect_eq(usage_collect(u, NULL, now), -ENOSPC);
	cr_expect_eq(usage_collect(u, NULL, now), -ENOSPC);
	usage_status(u, &status);
	cr_expect_eq(status.failures, 2);
	cr_expect_eq(status.collections, 1);
	cr_expect_neq(status.error[0], '\0');
	use(1, 1, 1);
	sqlite3_exec(u->db, "PRAGMA max_page_count=100000", NULL, NULL, NULL);
	collect();
	usage_status(u, &status);
	cr_expect_str_eq(status.error, "");
	expect_exact(1, 2, 2);
	expect_exact(2000, 1, 2000);
}

static void replace_database(const char *bytes, size_t len)
{
	char path[128], wal[140];

	die();
	snprintf(path, sizeof(path), "%s/%s", place.state, USAGE_FILE);
	snprintf(wal, sizeof(wal), "%s-wal", path);
	unlink(wal);
	scratch_write(path, bytes, len);
}

Test(usage, damaged_database_stops_nobody_and_is_made_anew_once_it_is_away)
{
	static const char garbage[8192] = "SQLite format 3";
	struct usage_status status;
	char path[128], away[140];

	use(1, 1, 10);
	collect();
	replace_database(garbage, sizeof(garbage));
	start();
	usage_status(u, &status);
	cr_expect_eq(status.failures, 1);
	use(1, 1, 5);
	cr_expect_lt(usage_collect(u, NULL, now), 0);
	cr_expect_eq(USED_UNITS(pending(1)), 5);
	snprintf(path, sizeof(path), "%s/%s", place.state, USAGE_FILE);
	snprintf(away, sizeof(away), "%s-away", path);
	cr_assert_eq(rename(path, away), 0);
	collect();
	cr_expect_eq(rows("units", 1), 5);
}

Test(usage, arena_found_damaged_while_the_database_is_away_begins_anew)
{
	char path[128], away[140];

	use(1, 1, 10);
	collect();
	die();
	snprintf(path, sizeof(path), "%s/%s", place.state, USAGE_FILE);
	snprintf(away, sizeof(away), "%s-away", path);
	cr_assert_eq(rename(path, away), 0);
	cr_assert_eq(mkdir(path, 0700), 0);
	start();
	usage_forget(u);
	atomic_store(&key(1)->used, 0);
	atomic_store(&key(1)->collected, 0);
	cr_assert_eq(rmdir(path), 0);
	cr_assert_eq(rename(away, path), 0);
	collect();
	cr_expect_eq(pending(1), 0);
	cr_expect_eq(rows("units", 1), 10);
}

Test(usage, foreign_and_newer_databases_stay_as_they_are)
{
	static const char *const change[] = {"PRAGMA application_id=1",
					     "PRAGMA user_version=2"};
	size_t len, after_len;
	char path[128];

	snprintf(path, sizeof(path), "%s/%s", place.state, USAGE_FILE);
	for (int i = 0; i < 2; i++) {
		uint8_t *before, *after;

		use(1, 1, 10);
		collect();
		sqlite3_exec(u->db, change[i], NULL, NULL, NULL);
		die();
		before = scratch_read(path, &len);
		use(1, 1, 1);
		start();
		cr_expect_lt(usage_collect(u, NULL, now), 0);
		die();
		after = scratch_read(path, &after_len);
		cr_expect(len == after_len && memcmp(before, after, len) == 0);
		free(before);
		free(after);
		cr_assert_eq(unlink(path), 0);
		start();
		collect();
		cr_expect_eq(USED_UNITS(pending(1)), 0);
	}
}

Test(usage, file_is_the_owners_alone)
{
	struct stat st;
	char path[140];

	use(1, 1, 1);
	collect();
	for (int i = 0; i < 3; i++) {
		static const char *const ends[] = {"", "-wal", "-shm"};

		snprintf(path, sizeof(path), "%s/%s%s", place.state, USAGE_FILE,
			 ends[i]);
		cr_assert_eq(stat(path, &st), 0, "%s", path);
		cr_expect_eq(st.st_mode & 0777, 0600, "%s", path);
	}
}
