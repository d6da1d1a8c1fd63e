/* SPDX-License-Identifier: MIT */
/*
 * state/snapshot while workers decide: what each file says is put into another
 * arena and compared with bounds taken before and after it was written.
 *
 *  - an organization is saved at one instant: what its window holds is what
 *    its credits were charged;
 *  - a subject is saved at some instant: no unit that was there before is
 *    missing, and none is there that did not come;
 *  - nothing is given back that was not charged: the credits of every hold that
 *    was restored are used, and not returned.
 */
#include "../gate/full_scene.h"
#include "../random.h"
#include "state/snapshot.h"
#include "torture.h"

#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>

#define WORKERS 2
#define ASKS 400
#define ROUNDS 200
#define HOUR (UINT64_C(3600000) * MS)
#define WITH_CREDITS 2 /* the organization with all rules and credits */

struct worker {
	pthread_t thread;
	struct full_scene *scene;
	struct gate gate;
	struct counters counters;
	struct rng rng;
};

static struct worker workers[WORKERS];
static char dir[64];

/* Nothing leaves a window while this runs. */
static void lengthen(struct full_scene *s)
{
	for (uint32_t slot = 1; slot <= SCENE_ORGS; slot++) {
		struct plan *plan = block_at(
			s->arena, fixture_get(&s->arena->orgs[slot].plan));

		check(plan != NULL);
		for (uint32_t i = 0; i < plan->rules_count; i++)
			plan->rules[i].span = HOUR;
	}
}

static struct full_scene *new_scene(uint64_t seed)
{
	struct full_scene *s = full_scene_new(UINT64_MAX, seed, SCENE_WALL_MS);

	lengthen(s);
	return s;
}

static void ask(struct worker *w, struct check *c, struct verdict *v)
{
	struct instant now = instant_now();

	gate_decide(&w->gate, c, v, 1, &now, SCENE_WALL_MS);
}

static void *work(void *arg)
{
	struct worker *w = arg;
	struct verdict v;

	for (unsigned i = 0; i < ASKS; i++) {
		struct check_extra x = {.route_hash = rng_below(&w->rng, 3),
					.has_address = true,
					.hold_ms = 3600000};
		struct check c = {.credential = CREDENTIAL_HASH,
				  .cost = 1 + rng_below(&w->rng, 2),
				  .flags = CHECK_RESERVE,
				  .extra = &x};

		x.address[0] = (uint8_t)rng_below(&w->rng, 3);
		memcpy(c.hash,
		       w->scene->hashes[1 + rng_below(&w->rng, SCENE_KEYS)],
		       sizeof(c.hash));
		ask(w, &c, &v);
		if (v.hold == 0 || rng_below(&w->rng, 4) == 0)
			continue;
		x.hold = v.hold;
		c.credential = CREDENTIAL_HOLD;
		c.cost = 0;
		ask(w, &c, &v);
		check(v.reason == REASON_ALLOW);
	}
	return NULL;
}

static void start(struct full_scene *s, struct rng *rng)
{
	struct keytext_prefix prefix;

	check(keytext_prefix_init(&prefix, "il"));
	for (uint32_t i = 0; i < WORKERS; i++) {
		struct worker *w = &workers[i];
		struct gate_options options = {.hold_ms = 1000,
					       .workers = WORKERS};

		memset(&w->counters, 0, sizeof(w->counters));
		w->scene = s;
		w->rng.state = rng_next(rng);
		gate_init(&w->gate, s->arena, &s->table, &prefix, i,
			  &w->counters);
		options.routes = w->gate.options.routes;
		gate_configure(&w->gate, &options);
	}
	for (uint32_t i = 0; i < WORKERS; i++)
		check(pthread_create(&workers[i].thread, NULL, work,
				     &workers[i]) == 0);
}

/* ---- what a scene says ---- */

static uint64_t key_units(struct full_scene *s, uint32_t key)
{
	return USED_UNITS(claim_load(&s->arena->keys[key].used));
}

static uint64_t subject_units(struct full_scene *s, uint32_t key)
{
	const struct rule *r =
		&plan_of(s->arena, &s->arena->orgs[1])->rules[RULE_KEY];
	struct instant now = instant_now();
	struct subjects t;
	struct outside *o;
	struct view v;
	uint32_t entry;

	check(subjects_open(&t, s->arena, r->table));
	entry = subjects_find(
		&t, subjects_hash2(s->arena->header->seed, r->id, key));
	if (entry == SUBJECTS_FULL)
		return 0;
	o = subjects_state(&t, entry);
	view_read(&v, s->arena, r, &o->meter, subject_entries(r, o),
		  subject_log2(r, t.stride), &now);
	return v.used;
}

static uint64_t window_units(struct full_scene *s, uint32_t slot)
{
	struct org *org = &s->arena->orgs[slot];
	struct instant now = instant_now();
	struct view v;

	view_read(&v, s->arena, &plan_of(s->arena, org)->rules[0], &org->first,
		  NULL, 0, &now);
	return v.used;
}

static void credits_of(struct full_scene *s, uint32_t slot, uint64_t *ret_used,
		       uint64_t *ret_returned)
{
	const struct credits *c =
		block_at(s->arena, fixture_get(&s->arena->orgs[slot].credits));

	check(c != NULL);
	*ret_used = *ret_returned = 0;
	for (uint32_t i = 0; i < c->count; i++) {
		*ret_used += fixture_get(&c->pools[i].used);
		*ret_returned += fixture_get(&c->pools[i].returned);
	}
}

static uint64_t held_units(struct full_scene *s, uint32_t org)
{
	uint64_t units = 0;

	for (uint32_t slot = 0; slot < SCENE_HOLDS; slot++) {
		const struct hold *h = hold_at(s->arena, slot);

		if (HOLD_LIVE(fixture_get(&h->state)) &&
		    (uint32_t)fixture_get(&h->subject) == org)
			units += fixture_get(&h->units);
	}
	return units;
}

static void refund_all(struct full_scene *s)
{
	for (uint32_t slot = 0; slot < SCENE_HOLDS; slot++) {
		uint64_t state = fixture_get(&hold_at(s->arena, slot)->state);
		struct scene_ask refund = {
			.settle = HOLD_ID(slot, HOLD_GEN(state))};

		if (HOLD_LIVE(state))
			check(scene_decide(s, &refund, instant_now().ns)
				      .reason == REASON_ALLOW);
	}
}

static uint64_t one_round(struct rng *rng)
{
	struct full_scene *a = new_scene(rng_next(rng));
	struct full_scene *b = new_scene(rng_next(rng));
	uint64_t before[SCENE_KEYS + 1], used, returned, found = 0;
	struct snapshot_info info;
	char err[256];

	start(a, rng);
	while (key_units(a, 2) < 3 && key_units(a, 6) < 3) {
	}
	for (uint32_t key = 1; key <= SCENE_KEYS; key++)
		before[key] = key_units(a, key);
	check(snapshot_write(a->arena, NULL, dir, false, &info, err,
			     sizeof(err)) == 0);
	check(snapshot_read(b->arena, dir, &info, err, sizeof(err)) == 0);
	for (uint32_t key = 1; key <= SCENE_KEYS; key++) {
		uint64_t units = subject_units(b, key);

		if ((key - 1) % SCENE_ORGS >= 2)
			continue; /* of a plain plan */
		check(units >= before[key]);
		check(units <= key_units(a, key));
		check(key_units(b, key) >= before[key]);
		found += units;
	}
	credits_of(b, WITH_CREDITS, &used, &returned);
	check(window_units(b, WITH_CREDITS) == used);
	check(held_units(b, WITH_CREDITS) <= used - returned);
	refund_all(b);
	for (uint32_t i = 0; i < WORKERS; i++)
		check(pthread_join(workers[i].thread, NULL) == 0);
	full_scene_free(a);
	full_scene_free(b);
	return found;
}

int main(void)
{
	struct rng rng = {test_seed("snapshot_torture")};
	uint64_t rounds = torture_work(ROUNDS), found = 0;
	char name[96];

	snprintf(dir, sizeof(dir), "/dev/shm/stile-torture-%d", getpid());
	check(mkdir(dir, 0700) == 0);
	for (uint64_t i = 0; i < rounds; i++)
		found += one_round(&rng);
	snprintf(name, sizeof(name), "%s/%s", dir, SNAPSHOT_FILE);
	unlink(name);
	rmdir(dir);
	printf("snapshot_torture: %llu rounds, %llu units found\n",
	       (unsigned long long)rounds, (unsigned long long)found);
	return found == 0;
}
