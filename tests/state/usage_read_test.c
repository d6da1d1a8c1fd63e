/* SPDX-License-Identifier: MIT */
#include "state/usage_read.h"

#include "../random.h"
#include "state/usage_internal.h"
#include "world.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define HOUR USAGE_HOUR_MS
#define NOON (INT64_C(480000) * HOUR)
#define KEYS 12
#define ROWS_MAX 64

/* Two organizations, the first with two projects; key i belongs to project
 * i % 3 of it, or to none. */
static struct world w;
static struct usage *u;
static struct org_record org, other;
static struct project_record projects[2];
static struct key_record keys[KEYS], foreign;
static int64_t now;
static char err[USAGE_ERROR_MAX];

static void add_project(struct project_record *rec, const char *name)
{
	*rec = (struct project_record){.org = org.slot};
	snprintf(rec->name, sizeof(rec->name), "%s", name);
	cr_assert_eq(registry_project_create(w.registry, rec), 0);
}

static void set_up(void)
{
	char text[KEY_TEXT_MAX];

	world_init(&w);
	world_start(&w);
	strcpy(org.name, "acme");
	strcpy(other.name, "other");
	cr_assert_eq(registry_org_create(w.registry, &org, 0), 0);
	cr_assert_eq(registry_org_create(w.registry, &other, 0), 0);
	add_project(&projects[0], "one");
	add_project(&projects[1], "two");
	for (uint32_t i = 0; i < KEYS; i++) {
		keys[i] = (struct key_record){
			.org = org.slot,
			.project = i % 3 ? projects[i % 3 - 1].slot : 0};
		cr_assert_eq(registry_key_create(w.registry, &keys[i], text),
			     0);
	}
	foreign = world_key(&w, other.slot, text);
	now = NOON;
	cr_assert_eq(
		usage_open(&u,
			   &(struct usage_options){.arena = &w.arena,
						   .fresh = true,
						   .state_dir = w.place.state},
			   now),
		0);
}

static void tear_down(void)
{
	usage_close(u);
	world_die(&w);
	world_deinit(&w);
}

TestSuite(usage_read, .init = set_up, .fini = tear_down);

static void use(const struct key_record *key, uint64_t checks, uint64_t units)
{
	word_t *used = &w.arena.arena.keys[key->slot].used;

	atomic_store(used, used_add(atomic_load(used), units, checks));
}

/* ---- asking ---- */

static struct found {
	char group[64];
	struct id project;
	uint64_t checks, units;
} found[ROWS_MAX];
static unsigned found_count;
static bool more;

static void note(const struct usage_row *row, void *arg)
{
	struct found *f = &found[found_count++];

	(void)arg;
	cr_assert_leq(found_count, ROWS_MAX);
	snprintf(f->group, sizeof(f->group), "%s", row->group);
	f->project = row->project;
	f->checks = row->checks;
	f->units = row->units;
}

static int try_query(struct usage_query q)
{
	q.org = org.slot;
	q.org_id = org.id;
	q.now_ms = now;
	if (q.to_ms == 0)
		q.to_ms = INT64_MAX / 2;
	if (q.max == 0)
		q.max = ROWS_MAX;
	found_count = 0;
	return usage_read(u, w.records, &q, note, NULL, &more, err,
			  sizeof(err));
}

static void query(struct usage_query q)
{
	cr_assert_eq(try_query(q), 0, "%s", err);
}

static uint64_t total(void)
{
	uint64_t units = 0;

	for (unsigned i = 0; i < found_count; i++)
		units += found[i].units;
	return units;
}

static const struct found *group(struct id id)
{
	for (unsigned i = 0; i < found_count; i++)
		if (strlen(found[i].group) == ID_LEN &&
		    memcmp(found[i].group, id.c, ID_LEN) == 0)
			return &found[i];
	cr_assert_fail("no row of this id");
	return NULL;
}

static void collect(void)
{
	cr_assert_eq(usage_collect(u, NULL, now), 0, "%s", u->error);
}

/* ---- what it answers ---- */

Test(usage_read, what_is_not_collected_yet_is_in_it)
{
	use(&keys[0], 1, 10);
	query((struct usage_query){.by = USAGE_BY_KEY});
	cr_expect_eq(group(keys[0].id)->units, 10);
	cr_expect_eq(group(keys[0].id)->checks, 1);
	collect();
	use(&keys[0], 2, 5);
	use(&keys[1], 1, 1);
	use(&foreign, 1, 1000);
	query((struct usage_query){.by = USAGE_BY_KEY});
	cr_expect_eq(found_count, 2);
	cr_expect_eq(group(keys[0].id)->units, 15);
	cr_expect_eq(group(keys[0].id)->checks, 3);
	cr_expect_eq(group(keys[1].id)->units, 1);
	cr_expect(id_equal(group(keys[1].id)->project, projects[0].id));
	cr_expect(id_is_none(group(keys[0].id)->project));
}

Test(usage_read, projects_that_used_nothing_are_there_too)
{
	query((struct usage_query){.by = USAGE_BY_PROJECT});
	cr_expect_eq(found_count, 2);
	use(&keys[0], 1, 1);
	use(&keys[1], 1, 10);
	use(&keys[4], 1, 100);
	collect();
	now += 40 * HOUR;
	query((struct usage_query){.by = USAGE_BY_PROJECT});
	cr_expect_eq(found_count, 3);
	cr_expect_str_eq(found[0].group, "");
	cr_expect_eq(found[0].units, 1);
	cr_expect_eq(group(projects[0].id)->units, 110);
	cr_expect_eq(group(projects[1].id)->units, 0);
	/* Whatever the hours. */
	query((struct usage_query){.by = USAGE_BY_PROJECT,
				   .from_ms = NOON - 9 * HOUR,
				   .to_ms = NOON - 5 * HOUR});
	cr_expect_eq(found_count, 2);
	cr_expect_eq(total(), 0);
}

static uint64_t between(int64_t from_ms, int64_t to_ms)
{
	query((struct usage_query){
		.by = USAGE_BY_ROUTE, .from_ms = from_ms, .to_ms = to_ms});
	return total();
}

/* Hours 0, 1, 3 with 1, 10 and 100 units, and 1000 pending in the third. */
Test(usage_read, from_is_inclusive_and_to_is_exclusive_by_whole_hours)
{
	static const int64_t hours[] = {0, 1, 3};
	uint64_t units = 1;

	for (int i = 0; i < 3; i++, units *= 10) {
		now = NOON + hours[i] * HOUR;
		collect();
		use(&keys[i], 1, units);
		collect();
	}
	use(&keys[0], 1, 1000);
	cr_expect_eq(between(NOON, NOON + HOUR), 1);
	cr_expect_eq(between(NOON, NOON + HOUR + 1), 11);
	cr_expect_eq(between(NOON + HOUR - 1, NOON + HOUR), 1);
	cr_expect_eq(between(NOON + HOUR, NOON + HOUR + 1), 10);
	cr_expect_eq(between(NOON + HOUR, NOON + 3 * HOUR), 10);
	cr_expect_eq(between(NOON + HOUR, NOON + 3 * HOUR + 1), 1110);
	cr_expect_eq(between(NOON + 2 * HOUR, NOON + 90 * HOUR), 1100);
	cr_expect_eq(between(NOON - 90 * HOUR, NOON), 0);
	cr_expect_eq(between(NOON + 4 * HOUR, NOON + 90 * HOUR), 0);
	cr_expect_eq(between(NOON + HOUR, NOON), 0);
	cr_expect_eq(between(0, 0), 1111);
	query((struct usage_query){.by = USAGE_BY_HOUR});
	cr_expect_eq(found_count, 3);
	cr_expect_str_eq(found[0].group, "00480000");
	cr_expect_eq(found[2].units, 1100);
}

Test(usage_read, pages_are_the_whole_cut_up)
{
	char after[64];
	uint64_t all;

	for (int i = 0; i < KEYS; i++)
		use(&keys[i], 1, 1 + (uint64_t)i);
	collect();
	for (int i = 0; i < KEYS; i += 2)
		use(&keys[i], 1, 100);
	query((struct usage_query){.by = USAGE_BY_KEY});
	cr_expect_eq(found_count, KEYS);
	cr_expect_not(more);
	all = total();
	for (uint32_t max = 1; max <= KEYS + 1; max++) {
		uint64_t sum = 0;
		unsigned count = 0;

		after[0] = '\0';
		do {
			query((struct usage_query){.by = USAGE_BY_KEY,
						   .after = after,
						   .max = max});
			cr_assert_leq(found_count, max);
			sum += total();
			count += found_count;
			snprintf(after, sizeof(after), "%s",
				 found[found_count - 1].group);
		} while (more);
		cr_assert_eq(sum, all);
		cr_assert_eq(count, KEYS);
	}
	/* "None" is a group, and the first: behind it is the rest. */
	query((struct usage_query){.by = USAGE_BY_PROJECT, .max = 1});
	cr_expect_str_eq(found[0].group, "");
	cr_expect(more);
	query((struct usage_query){.by = USAGE_BY_PROJECT, .after = ""});
	cr_expect_eq(found_count, 2);
	cr_expect_not(more);
}

/* ---- exactness while the other thread collects ---- */

static _Atomic(bool) stop;

static void *collector(void *arg)
{
	(void)arg;
	while (!atomic_load(&stop))
		cr_assert_eq(usage_collect(u, NULL, now), 0);
	return NULL;
}

Test(usage_read, total_is_exact_while_the_collector_runs)
{
	struct rng rng = {.state = test_seed("usage_read")};
	uint64_t units = 0;
	pthread_t thread;

	collect();
	/* More collections for the time. */
	sqlite3_exec(u->db, "PRAGMA synchronous=OFF", NULL, NULL, NULL);
	cr_assert_eq(pthread_create(&thread, NULL, collector, NULL), 0);
	for (int i = 0; i < 700; i++) {
		for (int k = 0; k < KEYS; k++) {
			uint64_t n = rng_below(&rng, 100);

			use(&keys[k], 1, n);
			units += n;
		}
		query((struct usage_query){
			.by = (enum usage_by)rng_below(&rng, 4)});
		cr_assert_eq(total(), units, "question %d", i);
	}
	atomic_store(&stop, true);
	pthread_join(thread, NULL);
}

/* ---- slots ---- */

/* An older database was put back: the key of the slot is another one. */
Test(usage_read, key_that_takes_a_slot_over_begins_with_nothing)
{
	struct key_record late = {.org = org.slot}, next = {.org = org.slot};
	char text[KEY_TEXT_MAX];
	uint8_t *before;
	size_t len;

	world_die(&w);
	before = scratch_read(w.place.records, &len);
	world_start(&w);
	cr_assert_eq(registry_key_create(w.registry, &late, text), 0);
	use(&late, 2, 20);
	collect();
	world_die(&w);
	scratch_write(w.place.records, before, len);
	free(before);
	world_start(&w);
	cr_assert_eq(registry_key_create(w.registry, &next, text), 0);
	cr_assert_eq(next.slot, late.slot);
	use(&next, 1, 3);
	collect();
	query((struct usage_query){.by = USAGE_BY_KEY});
	cr_expect_eq(group(next.id)->units, 3);
	cr_expect_eq(group(next.id)->checks, 1);
	cr_expect_eq(group(late.id)->units, 20);
}

/* ---- faults ---- */

Test(usage_read, database_that_is_away_is_an_error)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/%s", w.place.state, USAGE_FILE);
	collect();
	cr_assert_eq(unlink(path), 0);
	cr_expect_lt(try_query((struct usage_query){.by = USAGE_BY_KEY}), 0);
	cr_expect_neq(err[0], '\0');
	cr_assert_eq(mkdir(path, 0700), 0);
	cr_expect_lt(try_query((struct usage_query){.by = USAGE_BY_KEY}), 0);
	cr_assert_eq(rmdir(path), 0);
}

Test(usage_read, question_that_takes_too_long_is_refused)
{
	sqlite3_exec(u->db,
		     "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i+1 "
		     "FROM n WHERE i<1) INSERT INTO usage SELECT "
		     "i*200000000,'o',i,'','',1,1,0,0,0,0,0,0,0 FROM n",
		     NULL, NULL, NULL);
	cr_expect_eq(try_query((struct usage_query){.by = USAGE_BY_KEY}),
		     -ETIMEDOUT);
	cr_expect_not_null(strstr(err, "fewer"));
}

Test(usage_read, collector_that_holds_on_is_not_waited_for_for_ever)
{
	pthread_mutex_lock(&u->mutex);
	cr_expect_eq(try_query((struct usage_query){.by = USAGE_BY_KEY}),
		     -ETIMEDOUT);
	pthread_mutex_unlock(&u->mutex);
}
