/* SPDX-License-Identifier: MIT */
/* Snapshots of everything that a decision counts in. */
#include "../gate/full_scene.h"

#include "../random.h"
#include "scratch.h"
#include "state/snapshot.h"

#include <criterion/criterion.h>
#include <stdio.h>

#define SECOND UINT64_C(1000000000)
#define HOLDS_KEPT 24

static struct scratch place;
static struct snapshot_info info;
static char err[256];

static void open_place(void)
{
	scratch_init(&place);
}

static void close_place(void)
{
	scratch_deinit(&place);
}

TestSuite(snapshot_all, .init = open_place, .fini = close_place);

static void write_it(struct full_scene *s)
{
	cr_assert_eq(snapshot_write(s->arena, NULL, place.state, false, &info,
				    err, sizeof(err)),
		     0, "%s", err);
}

static void read_it(struct full_scene *s)
{
	cr_assert_eq(
		snapshot_read(s->arena, place.state, &info, err, sizeof(err)),
		0, "%s", err);
}

/* Holds that were given out: what each scene calls it. */
struct holds {
	unsigned count;
	uint64_t a[HOLDS_KEPT], b[HOLDS_KEPT];
};

static struct scene_ask random_ask(struct rng *rng)
{
	struct scene_ask ask = {
		.key = 1 + rng_below(rng, SCENE_KEYS),
		.cost = 1 + rng_below(rng, 3),
		.route = rng_below(rng, 4),
		.address = (uint8_t)rng_below(rng, 4),
		.flags = rng_below(rng, 3) == 0 ? CHECK_RESERVE : 0,
		.hold_ms = 200 + rng_below(rng, 4000),
	};

	if (rng_below(rng, 8) == 0)
		ask.flags |= CHECK_PEEK;
	return ask;
}

static void keep(struct holds *h, uint64_t a, uint64_t b)
{
	if (h->count == HOLDS_KEPT || a == 0)
		return;
	h->a[h->count] = a;
	h->b[h->count++] = b;
}

/* All but what a hold is called. */
static bool alike(const struct verdict *a, const struct verdict *b)
{
	return a->reason == b->reason && a->limit == b->limit &&
	       a->remaining == b->remaining && a->reset_ms == b->reset_ms &&
	       a->retry_ms == b->retry_ms && a->charged == b->charged &&
	       a->hold_ms == b->hold_ms && a->credits == b->credits &&
	       a->budget == b->budget && (a->hold == 0) == (b->hold == 0) &&
	       memcmp(a->limit_name, b->limit_name, LIMIT_NAME_LEN) == 0;
}

static void expect_alike(const struct verdict *a, const struct verdict *b,
			 uint64_t seed, unsigned n)
{
	cr_assert(alike(a, b),
		  "seed %llu, question %u: reason %u %u, limit %s %s, "
		  "remaining %u %u, reset %u %u, retry %u %u, charged %u %u, "
		  "hold %llu ms %llu ms, credits %llu %llu, budget %llu %llu",
		  (unsigned long long)seed, n, a->reason, b->reason,
		  a->limit_name, b->limit_name, a->remaining, b->remaining,
		  a->reset_ms, b->reset_ms, a->retry_ms, b->retry_ms,
		  a->charged, b->charged, (unsigned long long)a->hold_ms,
		  (unsigned long long)b->hold_ms,
		  (unsigned long long)a->credits,
		  (unsigned long long)b->credits, (unsigned long long)a->budget,
		  (unsigned long long)b->budget);
}

/* The same questions to both, or to the first alone. */
static uint64_t ask_both(struct full_scene *a, struct full_scene *b,
			 struct holds *holds, struct rng *rng, unsigned count,
			 uint64_t now_ns, uint64_t seed)
{
	for (unsigned n = 0; n < count; n++) {
		struct scene_ask ask = random_ask(rng);
		struct verdict va, vb;
		unsigned i = 0;
		bool settle = holds->count > 0 && rng_below(rng, 5) == 0;

		now_ns += rng_below(rng, 12000000);
		if (settle) {
			i = rng_below(rng, holds->count);
			ask.cost = rng_below(rng, 6);
		}
		ask.settle = settle ? holds->a[i] : 0;
		va = scene_decide(a, &ask, now_ns);
		if (b != NULL) {
			ask.settle = settle ? holds->b[i] : 0;
			vb = scene_decide(b, &ask, now_ns);
		} else {
			vb = va;
		}
		if (settle) {
			holds->a[i] = holds->a[--holds->count];
			holds->b[i] = holds->b[holds->count];
		} else {
			keep(holds, va.hold, vb.hold);
		}
		expect_alike(&va, &vb, seed, n);
		if (rng_below(rng, 30) == 0) {
			struct instant now = instant_at(now_ns);
			uint32_t ended = gate_expire(&a->gate, 0, SCENE_HOLDS,
						     &now, SCENE_WALL_MS);

			if (b != NULL)
				cr_assert_eq(gate_expire(&b->gate, 0,
							 SCENE_HOLDS, &now,
							 SCENE_WALL_MS),
					     ended);
		}
	}
	return now_ns;
}

static void reset_some(struct full_scene *s)
{
	struct org *org = &s->arena->orgs[1];
	struct claim c;

	claim_init(&c, s->arena, OWNER_CONTROL, NULL);
	meter_reset(&c, &org->gate, &s->rules[RULE_ORG], &org->first, NULL, 0);
	meter_reset(&c, &org->gate, &s->rules[RULE_BURST],
		    org_meter(s->arena, org, 1), NULL, 0);
}

/* A cell that nothing was counted in need not be there. */
static struct cell cell_of(struct full_scene *s, uint32_t key, uint64_t route)
{
	struct subjects t;
	struct cell cell;
	uint32_t entry;

	memset(&cell, 0, sizeof(cell));
	cr_assert(subjects_open(&t, s->arena,
				fixture_get(&s->arena->header->cells)));
	entry = subjects_find(&t, subjects_hash2(s->arena->header->seed,
						 CELL_OWNER(key, route), 0));
	if (entry != SUBJECTS_FULL)
		memcpy(&cell, subjects_state(&t, entry), sizeof(cell));
	return cell;
}

static unsigned expect_same_cells(struct full_scene *a, struct full_scene *b)
{
	unsigned found = 0;

	for (uint32_t key = 1; key <= SCENE_KEYS; key++) {
		for (uint64_t route = 0; route <= CELL_ROUTE_OTHER; route++) {
			struct cell ca = cell_of(a, key, route);
			struct cell cb = cell_of(b, key, route);

			cr_assert_eq(fixture_get(&ca.used),
				     fixture_get(&cb.used));
			cr_assert_eq(fixture_get(&ca.returned),
				     fixture_get(&cb.returned));
			cr_assert_arr_eq(ca.denied, cb.denied,
					 sizeof(ca.denied));
			found += fixture_get(&ca.owner) != 0;
		}
	}
	return found;
}

static void expect_same_totals(struct full_scene *a, struct full_scene *b)
{
	for (uint32_t slot = 1; slot <= SCENE_KEYS; slot++)
		cr_assert_eq(fixture_get(&a->arena->keys[slot].used),
			     fixture_get(&b->arena->keys[slot].used));
	for (uint32_t slot = 1; slot <= SCENE_PROJECTS; slot++)
		cr_assert_arr_eq(a->arena->projects[slot].budgets,
				 b->arena->projects[slot].budgets,
				 sizeof(a->arena->projects[slot].budgets));
	for (uint32_t slot = 2; slot <= 4; slot += 2) {
		struct credits *ca = block_at(
			a->arena, fixture_get(&a->arena->orgs[slot].credits));
		struct credits *cb = block_at(
			b->arena, fixture_get(&b->arena->orgs[slot].credits));

		cr_assert_arr_eq(ca->pools, cb->pools,
				 SCENE_POOLS * sizeof(ca->pools[0]));
	}
	cr_assert_gt(expect_same_cells(a, b), 0);
}

static void one_round(uint64_t seed)
{
	struct rng rng = {seed};
	uint64_t shape = rng_next(&rng) | rng_next(&rng);
	struct full_scene *a =
		full_scene_new(shape, rng_next(&rng), SCENE_WALL_MS);
	struct full_scene *b =
		full_scene_new(shape, rng_next(&rng), SCENE_WALL_MS + 1000);
	struct holds holds = {0};
	uint64_t start_ns = instant_now().ns, now_ns;
	unsigned asked = 50 + rng_below(&rng, 300);

	/* So that the last of them is not later than the snapshot. */
	now_ns = ask_both(a, NULL, &holds, &rng, asked,
			  start_ns - asked * UINT64_C(12000000), seed);
	if (rng_below(&rng, 4) == 0)
		reset_some(a);
	write_it(a);
	read_it(b);
	cr_assert_eq(info.skipped, 0, "seed %llu: %llu",
		     (unsigned long long)seed,
		     (unsigned long long)info.skipped);
	expect_same_totals(a, b);
	/* Where they look for free holds may not differ. */
	scene_gate(a);
	now_ns = instant_now().ns;
	(void)ask_both(a, b, &holds, &rng, 250, now_ns, seed);
	expect_same_totals(a, b);
	full_scene_free(a);
	full_scene_free(b);
}

Test(snapshot_all, decisions_go_on_as_they_would_have)
{
	uint64_t seed = test_seed("snapshot_all");

	for (unsigned round = 0; round < 25; round++)
		one_round(seed + round);
}

static struct outside *address_state(struct full_scene *s, enum scene_rule rule)
{
	struct arena *a = s->arena;
	const uint8_t address[16] = {1};
	struct subjects t;
	uint32_t entry;

	cr_assert(subjects_open(&t, a, s->rules[rule].table));
	entry = subjects_find(&t, outside_subject(a->header->seed, address));
	cr_assert_neq(entry, SUBJECTS_FULL);
	return subjects_state(&t, entry);
}

/* As outside_recover() does when the arena is there. */
Test(snapshot_all, what_was_held_at_an_address_is_admitted_there)
{
	struct full_scene *a = full_scene_new(UINT64_MAX, 1, SCENE_WALL_MS);
	struct full_scene *b = full_scene_new(UINT64_MAX, 2, SCENE_WALL_MS + 1);
	const struct rule *r = &a->rules[RULE_ADDRESS];
	struct scene_ask ask = {.key = 1, .cost = 2, .address = 1};
	struct instant now = instant_now();
	struct outside *o;
	struct view v;

	cr_assert_eq(scene_decide(a, &ask, now.ns).reason, REASON_ALLOW);
	fixture_set(&address_state(a, RULE_ADDRESS)->held, 3);
	fixture_set(&address_state(a, RULE_ADDRESS_GCRA)->held, 3);
	write_it(a);
	read_it(b);
	o = address_state(b, RULE_ADDRESS);
	view_read(&v, b->arena, r, &o->meter, subject_entries(r, o),
		  meter_ring_log2(r->limit), &now);
	cr_expect_eq(v.used, 5);
	cr_expect_eq(fixture_get(&o->held), 0);
	o = address_state(b, RULE_ADDRESS_GCRA);
	cr_expect_geq(fixture_get(&o->meter.level),
		      now.ns + 5 * a->rules[RULE_ADDRESS_GCRA].unit_ns);
	full_scene_free(a);
	full_scene_free(b);
}

/* A table of another size has the names in other places. */
Test(snapshot_all, subjects_of_a_table_that_changed_are_skipped_and_counted)
{
	struct full_scene *a = full_scene_new(UINT64_MAX, 1, SCENE_WALL_MS);
	struct full_scene *b = full_scene_new(UINT64_MAX, 2, SCENE_WALL_MS + 1);
	struct plan *plan =
		block_at(b->arena, fixture_get(&b->arena->orgs[1].plan));
	struct rule *r;
	struct scene_ask ask = {.key = 1, .cost = 2};

	cr_assert_not_null(plan);
	r = &plan->rules[RULE_KEY];
	(void)scene_decide(a, &ask, instant_now().ns);
	write_it(a);
	r->table = scene_table(b, outside_stride(r, meter_ring_log2(r->limit)),
			       500);
	read_it(b);
	cr_expect_eq(info.skipped, 1);
	cr_expect_gt(info.subjects, 0);
	cr_expect_eq(scene_decide(b, &ask, instant_now().ns).reason,
		     REASON_ALLOW);
	full_scene_free(a);
	full_scene_free(b);
}
