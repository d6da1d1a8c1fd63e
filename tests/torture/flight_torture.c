/* SPDX-License-Identifier: MIT */

/*
 * The proof of leases at addresses (gate/outside.c, gate/settle.c) by threads.
 * Workers of several organizations take leases of a few addresses, in batches,
 * and end holds: those they keep themselves, and some that anybody may end, so
 * that often two try; the control thread ends those whose time is over, and
 * gives entries of addresses at rest to others.
 *
 * Nobody ever has more than the limit of one address (each thread counts a hold
 * after it was allowed and until before it ends it); of two that end a hold one
 * gets it; and when all have ended nothing is out, and no entry is taken.
 */
#include "../gate/gate_scene.h"
#include "base/epoch.h"
#include "torture.h"

#define WORKERS 4u
#define ORGS 3u
#define ADDRESSES 16u /* that are counted; others come and go */
#define ASKING 4u     /* of them at a time, for so many checks of all: */
#define PHASE 2000u
#define STRANGERS 200u
#define LIMIT 3u
#define UNITS 1000u /* in each window: a cost above is denied */
#define KEPT 2u     /* by a worker at a time */
#define SHARED 3u
#define BATCH 4u
#define LEASE_MS 1u
#define KEPT_MS 3600000u
#define HOLDS (2 * WORKERS * STEP_ASKS_MAX)
#ifdef STILE_TSAN
#define OPS 3000u
#else
#define OPS 60000u
#endif

static struct gate_scene scene;
static struct gate gates[WORKERS + 1];
static struct counters counters[WORKERS + 1];
static struct epoch epoch;
static struct epoch_reader readers[WORKERS];
static struct rule flight;

static _Atomic(uint32_t) out[ADDRESSES]; /* held for certain */
static _Atomic(uint64_t) shared[SHARED]; /* holds that anybody may end */
static _Atomic(uint64_t) shared_made, shared_ended;
static _Atomic(uint64_t) asked;
static _Atomic(uint32_t) working;
static uint64_t allowed[WORKERS], denied[WORKERS];

struct kept {
	uint64_t hold;
	uint32_t address;
};

/* PAIRS: nothing, here and below: numbers, each the whole state of what it
 * counts. A hold is counted by the thread that was told of it, between its
 * verdict and its end. */
static uint64_t add(_Atomic(uint64_t) *n, uint64_t by)
{
	return atomic_fetch_add_explicit(n, by, memory_order_relaxed);
}

static enum reason end_hold(struct torture_thread *t, uint64_t hold)
{
	struct check_extra x = {.hold = hold};
	struct check c = {.credential = CREDENTIAL_HOLD,
			  .cost = rng_below(&t->rng, 3),
			  .extra = &x};
	struct instant now = instant_now();
	struct verdict v;

	epoch_enter(&readers[t->idx]);
	gate_decide(&gates[t->idx], &c, &v, 1, &now, WALL_MS);
	epoch_leave(&readers[t->idx]);
	return v.reason;
}

static void end_kept(struct torture_thread *t, const struct kept *k)
{
	atomic_fetch_sub_explicit(&out[k->address], 1, memory_order_relaxed);
	check(end_hold(t, k->hold) == REASON_ALLOW);
}

/* Another one takes its place; who finds one there may not be alone. */
static void end_shared(struct torture_thread *t, uint64_t replacement)
{
	_Atomic(uint64_t) *place = &shared[rng_below(&t->rng, SHARED)];
	uint64_t hold =
		replacement != 0
			? atomic_exchange_explicit(place, replacement,
						   memory_order_relaxed)
			: atomic_load_explicit(place, memory_order_relaxed);

	if (hold != 0 && end_hold(t, hold) == REASON_ALLOW)
		add(&shared_ended, 1);
}

/* Returns how many it keeps now. */
static unsigned note(struct torture_thread *t, const struct verdict *v,
		     uint32_t address, bool keep, struct kept *kept,
		     unsigned count)
{
	if (v->reason != REASON_ALLOW) {
		check(v->hold == 0);
		denied[t->idx] += v->reason == REASON_CONCURRENCY;
		return count;
	}
	allowed[t->idx]++;
	if (keep) {
		kept[count] = (struct kept){v->hold, address};
		check(atomic_fetch_add_explicit(&out[address], 1,
						memory_order_relaxed) < LIMIT);
		return count + 1;
	}
	if (rng_below(&t->rng, 16) != 0) {
		add(&shared_made, 1);
		end_shared(t, v->hold);
	}
	return count; /* those of which nobody knows expire */
}

/* One of those that ask now. What is kept of the others stays out while nobody
 * asks for them. */
static uint32_t some_address(struct torture_thread *t)
{
	uint64_t phase = add(&asked, 1) / PHASE;

	return (uint32_t)(phase * ASKING + rng_below(&t->rng, ASKING)) %
	       ADDRESSES;
}

static void work(struct torture_thread *t)
{
	struct kept kept[KEPT + BATCH];
	unsigned n, i, count = 0;

	for (n = 0; n < OPS; n++) {
		struct check_extra x[BATCH];
		struct check c[BATCH];
		struct verdict v[BATCH];
		uint32_t addresses[BATCH];
		struct instant now = instant_now();
		unsigned batch = 1 + rng_below(&t->rng, BATCH);

		for (i = 0; i < batch; i++) {
			bool stranger = rng_below(&t->rng, 8) == 0;
			bool keep = !stranger && rng_below(&t->rng, 2) == 0;

			addresses[i] =
				stranger ? ADDRESSES +
						   rng_below(&t->rng, STRANGERS)
					 : some_address(t);
			x[i] = (struct check_extra){
				.has_address = true,
				.hold_ms = keep ? KEPT_MS : 0,
				.address = {[7] = (uint8_t)addresses[i]},
			};
			c[i] = check_of_key(
				1 + rng_below(&t->rng, ORGS),
				rng_below(&t->rng, 8) == 0 ? UNITS + 1 : 1,
				&x[i]);
			c[i].flags = keep ? CHECK_RESERVE : 0;
		}
		epoch_enter(&readers[t->idx]);
		gate_decide(&gates[t->idx], c, v, batch, &now, WALL_MS);
		epoch_leave(&readers[t->idx]);
		for (i = 0; i < batch; i++)
			count = note(t, &v[i], addresses[i],
				     (c[i].flags & CHECK_RESERVE) != 0, kept,
				     count);
		while (count > KEPT) {
			i = rng_below(&t->rng, count);
			end_kept(t, &kept[i]);
			kept[i] = kept[--count];
		}
		end_shared(t, 0);
	}
	while (count > 0)
		end_kept(t, &kept[--count]);
	atomic_fetch_sub_explicit(&working, 1, memory_order_relaxed);
}

static bool at_rest(const void *state, void *arg)
{
	return outside_rests(scene.f.arena, &flight, state, NULL, 0, arg);
}

/* What registry_step() does of it. */
static void tend(struct subjects *table, uint32_t *cursor, struct instant *now)
{
	struct gate *g = &gates[WORKERS];

	gate_expire(g, 0, HOLDS, now, WALL_MS);
	subjects_retire(table, &g->claim, cursor, UINT32_MAX, at_rest, now);
	epoch_wait(&epoch);
	subjects_free(table, &g->claim, at_rest, now);
}

static void look(const struct subjects *table)
{
	for (uint32_t i = 0; i < subjects_capacity(table); i++) {
		const struct outside *o = subjects_state(table, i);

		check(METER_LEASES(claim_load(&o->meter.level)) <= LIMIT);
	}
}

static void control(struct torture_thread *t)
{
	struct subjects table;
	uint32_t cursor = 0;

	(void)t;
	check(subjects_open(&table, scene.f.arena, flight.table));
	while (atomic_load_explicit(&working, memory_order_relaxed) != 0) {
		struct instant now = instant_now();

		tend(&table, &cursor, &now);
		look(&table);
	}
}

/* All have ended: what is left expires, and nothing is out. */
static void examine(void)
{
	struct instant now =
		instant_at(instant_now().ns + 2 * KEPT_MS * NS_PER_MS);
	struct subjects table;
	uint32_t cursor = 0, i;

	check(subjects_open(&table, scene.f.arena, flight.table));
	for (i = 0; i < ADDRESSES; i++)
		check(atomic_load_explicit(&out[i], memory_order_relaxed) == 0);
	tend(&table, &cursor, &now);
	for (i = 0; i < HOLDS; i++)
		check(!HOLD_LIVE(
			claim_load(&hold_at(scene.f.arena, i)->state)));
	for (i = 0; i < subjects_capacity(&table); i++) {
		const struct outside *o = subjects_state(&table, i);

		check(METER_LEASES(claim_load(&o->meter.level)) == 0);
	}
	check(subjects_used(&table) == 0);
	/* Others have expired. */
	check(add(&shared_ended, 0) <= add(&shared_made, 0));
}

static void open_all(void)
{
	struct rule rules[2];
	uint32_t i;

	memset(&scene, 0, sizeof(scene));
	fixture_open(&scene.f);
	gate_scene_fill(&scene, HOLDS, 10, 500);
	gate_scene_gate(&scene, WORKERS);
	rules[0] = fixture_window(UNITS, 1);
	rules[1] = flight =
		fixture_rule(&scene.f, fixture_flight(LIMIT, LEASE_MS),
			     LEVEL_ADDRESS, ADDRESSES + STRANGERS);
	for (i = 1; i <= ORGS; i++) {
		gate_scene_org(&scene, i, rules, 2);
		gate_scene_key(&scene, i, i, 0);
	}
	epoch_init(&epoch);
	for (i = 0; i <= WORKERS; i++) {
		memset(&counters[i], 0, sizeof(counters[i]));
		gate_init(&gates[i], scene.f.arena, &scene.table,
			  &scene.gate.prefix, i < WORKERS ? i : OWNER_GATE,
			  &counters[i]);
		gate_configure(&gates[i], &scene.options);
	}
	for (i = 0; i < SHARED; i++)
		atomic_store_explicit(&shared[i], 0, memory_order_relaxed);
}

static void run(struct rng *rng)
{
	uint64_t passed = 0, refused = 0;
	unsigned i;

	open_all();
	atomic_store_explicit(&working, WORKERS, memory_order_relaxed);
	for (i = 0; i < WORKERS; i++) {
		allowed[i] = denied[i] = 0;
		memset(&readers[i], 0, sizeof(readers[i]));
		epoch_register(&epoch, &readers[i]);
		torture_add(work, rng_next(rng));
	}
	torture_add(control, rng_next(rng));
	torture_go();
	torture_harass(rng);
	torture_end();
	examine();
	for (i = 0; i < WORKERS; i++) {
		passed += allowed[i];
		refused += denied[i];
	}
	printf("flight_torture: %llu allowed, %llu denied, %llu of %llu ended "
	       "by anybody\n",
	       (unsigned long long)passed, (unsigned long long)refused,
	       (unsigned long long)add(&shared_ended, 0),
	       (unsigned long long)add(&shared_made, 0));
	check(passed > OPS / 10 && refused > OPS / 10);
	gate_scene_close(&scene);
}

int main(void)
{
	struct rng rng = {test_seed("flight_torture")};
	uint64_t round;

	torture_setup();
	for (round = 0; round < torture_work(2); round++)
		run(&rng);
	return 0;
}
