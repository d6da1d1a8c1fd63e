/* SPDX-License-Identifier: MIT */

/*
 * The proof of state/usage.c with all threads at work: workers count in keys
 * and cells, as checks do; the control thread gives cells that are at rest to
 * others, of which there are more than fit; the collector collects, and dies
 * between a commit and the stores that belong to it. In the end the rows of
 * each key on each route are what was counted there, to the unit.
 */
#include "../gate/fixture.h"
#include "base/epoch.h"
#include "gate/routes.h"
#include "gate/subjects.h"
#include "state/usage_cells.h"
#include "state/usage_internal.h"
#include "torture.h"

#include <ftw.h>
#include <stdlib.h>

#define WORKERS 3u
#define KEYS 8u
#define NAMES 7u   /* declared routes */
#define ROUTES 12u /* that are named; 0: none */
#define COST_MAX 9u
#define DEATHS 60u /* of the collector; then the workers stop */

static struct fixture fixture;
static struct epoch epoch;
static struct subjects table;
static struct routes routes;
static struct usage *usage;
static struct usage_options options;
static char dir[] = "/dev/shm/stile-usage-torture.XXXXXX";
static _Atomic(bool) over;      /* the collector has died often enough */
static _Atomic(uint32_t) phase; /* the routes in use move on */
static _Atomic(uint32_t) at_work;
static uint64_t freed, deaths, collections;

/* What a worker has counted; by the route that rows name. */
#define OTHER (NAMES + 1)
static struct worker {
	struct epoch_reader reader;
	struct claim claim;
	uint64_t units[KEYS + 1][OTHER + 1], checks[KEYS + 1][OTHER + 1];
	uint64_t denied[KEYS + 1][OTHER + 1];
	uint64_t full;
} workers[WORKERS];

static uint64_t route_hash(uint32_t route)
{
	return route == 0       ? 0
	       : route <= NAMES ? routes.routes[route - 1].hash
				: CELL_ROUTE_OTHER;
}

/* As the gate does: a cell for undeclared routes together. Those beyond OTHER
 * are told apart here, for more subjects than the table has room for. */
static struct cell *take_cell(struct worker *w, uint32_t key, uint32_t route)
{
	uint64_t owner = CELL_OWNER(key, route_hash(route));
	uint32_t entry = subjects_take(&table, &w->claim,
				       subjects_hash2(1, owner, route));
	struct cell *cell;

	if (entry == SUBJECTS_FULL) {
		w->full++;
		return NULL;
	}
	cell = subjects_state(&table, entry);
	cell_own(cell, owner);
	return cell;
}

static void add(struct claim *c, word_t *w, uint64_t units)
{
	uint64_t from = claim_load(w);

	claim_add(c, w, from, used_add(from, units, 1));
}

static void count(struct worker *w, struct rng *rng)
{
	uint32_t key = 1 + rng_below(rng, KEYS), cost;
	uint32_t route = (atomic_load_explicit(&phase, memory_order_relaxed) +
			  rng_below(rng, 3)) %
			 (ROUTES + 1);
	uint32_t name = route;
	struct org *org = &fixture.arena->orgs[1];
	struct cell *cell = NULL;
	uint64_t version;

	if (name > OTHER)
		name = OTHER;
	cost = 1 + rng_below(rng, COST_MAX);
	epoch_enter(&w->reader);
	if (route != 0)
		cell = take_cell(w, key, route);
	if (cell == NULL)
		name = 0;
	if (cell != NULL && rng_below(rng, 8) == 0) {
		/* PAIRS: the collector's load: a number. */
		atomic_fetch_add_explicit(&cell->denied[DENIAL_RATE], 1,
					  memory_order_relaxed);
		w->denied[key][name]++;
	}
	do {
		version = claim_settle(fixture.arena, &org->gate, NULL);
		claim_begin(&w->claim);
		add(&w->claim, &fixture.arena->keys[key].used, cost);
		if (cell != NULL)
			add(&w->claim, &cell->used, cost);
	} while (!claim_commit(&w->claim, &org->gate, version));
	epoch_leave(&w->reader);
	w->units[key][name] += cost;
	w->checks[key][name]++;
}

static void work(struct torture_thread *t)
{
	while (!atomic_load_explicit(&over, memory_order_relaxed))
		count(&workers[t->idx], &t->rng);
	atomic_fetch_sub_explicit(&at_work, 1, memory_order_relaxed);
}

static void control(struct torture_thread *t)
{
	struct claim claim;
	uint32_t cursor = 0;

	(void)t;
	claim_init(&claim, fixture.arena, OWNER_CONTROL, NULL);
	while (atomic_load_explicit(&at_work, memory_order_relaxed) > 0) {
		subjects_retire(&table, &claim, &cursor, 8, usage_cell_at_rest,
				NULL);
		epoch_wait(&epoch);
		freed +=
			subjects_free(&table, &claim, usage_cell_at_rest, NULL);
	}
}

static void collect(struct torture_thread *t)
{
	static struct epoch_reader reader;
	int64_t now = USAGE_HOUR_MS * 480000;

	epoch_register(&epoch, &reader);
	while (atomic_load_explicit(&at_work, memory_order_relaxed) > 0) {
		uint32_t slot = 1;

		if (deaths >= torture_work(DEATHS))
			atomic_store_explicit(&over, true,
					      memory_order_relaxed);

		now += rng_below(&t->rng, 100000);
		torture_pause_us(rng_below(&t->rng, 20000));
		if (rng_below(&t->rng, 2) == 0)
			atomic_fetch_add_explicit(&phase, 1,
						  memory_order_relaxed);
		if (rng_below(&t->rng, 4) != 0) {
			check(usage_collect(usage, &reader, now) == 0);
			collections++;
			continue;
		}
		if (usage_write(usage, &reader, now, &slot) != 0)
			continue;
		if (rng_below(&t->rng, 4) != 0)
			check(usage_commit(usage) == 0);
		usage_close(usage);
		check(usage_open(&usage, &options, now) == 0);
		deaths++;
	}
	/* What no cell took, because its key was read before, comes later. */
	for (int i = 0; i < 2; i++)
		check(usage_collect(usage, &reader, now) == 0);
}

static uint64_t ask(uint32_t key, uint32_t name, const char *column)
{
	const char *route = name == 0       ? ""
			    : name <= NAMES ? routes.routes[name - 1].name
					    : USAGE_ROUTE_OTHER;
	sqlite3_stmt *st;
	char sql[160];
	uint64_t sum;

	snprintf(sql, sizeof(sql),
		 "SELECT coalesce(sum(%s),0) FROM usage WHERE "
		 "key='key%05u' AND route='%s'",
		 column, key, route);
	check(sqlite3_prepare_v2(usage->db, sql, -1, &st, NULL) == SQLITE_OK);
	check(sqlite3_step(st) == SQLITE_ROW);
	sum = (uint64_t)sqlite3_column_int64(st, 0);
	sqlite3_finalize(st);
	return sum;
}

static void compare(uint32_t key, uint32_t name)
{
	uint64_t units = 0, checks = 0, denied = 0;

	for (unsigned i = 0; i < WORKERS; i++) {
		units += workers[i].units[key][name];
		checks += workers[i].checks[key][name];
		denied += workers[i].denied[key][name];
	}
	check(ask(key, name, "units") == units);
	check(ask(key, name, "checks") == checks);
	check(ask(key, name, "denied_rate") == denied);
}

static void open_world(void)
{
	const uint32_t stride = sizeof(struct cell);
	unsigned log2 = 3;
	uint64_t block;

	fixture_open(&fixture);
	check(arena_reserve(&fixture.file, REGION_ORGS,
			    2 * sizeof(struct org)) == 0);
	memcpy(fixture.arena->orgs[1].id.c, "org00001", ID_LEN);
	for (uint32_t i = 1; i <= KEYS; i++) {
		struct key *key = fixture_key(&fixture, i);
		char text[ID_LEN + 1];

		snprintf(text, sizeof(text), "key%05u", i);
		memcpy(key->id.c, text, ID_LEN);
		key->org = 1;
		atomic_store_explicit(&key->state, SLOT_ACTIVE,
				      memory_order_relaxed);
		slots_raise(&fixture.arena->header->key_slots, i);
	}
	for (uint32_t i = 0; i < NAMES; i++) {
		char name[8];

		snprintf(name, sizeof(name), "r%u", i);
		check(routes_add(&routes, name, 1, ""));
	}
	while (sizeof(word_t) << log2 < subjects_bytes(15, stride))
		log2++;
	block = fixture_ring(&fixture, log2);
	subjects_format(fixture.arena, block, 15, stride);
	check(subjects_open(&table, fixture.arena, block));
	fixture_set(&fixture.arena->header->cells, block);
}

static int remove_one(const char *path, const struct stat *st, int flag,
		      struct FTW *where)
{
	(void)st;
	(void)flag;
	(void)where;
	return remove(path);
}

int main(void)
{
	uint64_t seed = test_seed("usage_torture"), full = 0;
	struct rng rng = {seed};

	torture_setup();
	check(mkdtemp(dir) != NULL);
	open_world();
	epoch_init(&epoch);
	options = (struct usage_options){.arena = &fixture.file,
					 .fresh = true,
					 .state_dir = dir,
					 .routes = &routes};
	check(usage_open(&usage, &options, USAGE_HOUR_MS) == 0);
	options.fresh = false;
	at_work = WORKERS;
	for (unsigned i = 0; i < WORKERS; i++) {
		epoch_register(&epoch, &workers[i].reader);
		claim_init(&workers[i].claim, fixture.arena, i, NULL);
		torture_add(work, seed);
	}
	torture_add(control, seed);
	torture_add(collect, seed);
	torture_go();
	torture_harass(&rng);
	torture_end();

	for (uint32_t key = 1; key <= KEYS; key++)
		for (uint32_t name = 0; name <= OTHER; name++)
			compare(key, name);
	for (unsigned i = 0; i < WORKERS; i++)
		full += workers[i].full;
	printf("usage_torture: %llu collections, %llu deaths, %llu cells "
	       "freed, %llu times full\n",
	       (unsigned long long)collections, (unsigned long long)deaths,
	       (unsigned long long)freed, (unsigned long long)full);
	fflush(stdout);
	check(freed > 0 && full > 0);
	usage_close(usage);
	fixture_close(&fixture);
	return nftw(dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}
