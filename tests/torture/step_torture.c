/* SPDX-License-Identifier: MIT */

/*
 * The proof of gate/step.c and gate/settle.c by threads. Workers hammer one
 * organization with rules of all kinds, budgets, credits, request ids and
 * holds, settle each other's holds, while the control thread swaps plans,
 * moves rings, grants credits and ends holds whose time is over, and another
 * thread saves what a window holds.
 *
 * Each decision notes the instant it was made at. With the given times being
 * all different that tells its place among all decisions of the organization
 * exactly, so afterwards all are repeated, in their order, by
 * tests/gate/oracle.h, and each field of each verdict is compared. What changed
 * nothing (a denial, a peek) has to be true at one of the versions that the
 * gate had while it was asked. So nothing was allowed or denied as no serial
 * execution would have.
 *
 * Time is a counter that the workers themselves move on, and often read late.
 */
#include "step_torture.h"
#include "step_replay.h"

/* ---- workers ---- */

static uint64_t some_time(struct torture_thread *t, uint64_t last)
{
	uint32_t dice = rng_below(&t->rng, 8);
	uint64_t now;

	/* PAIRS: nothing; threads need not agree on the time. */
	if (dice < 3)
		now = last;
	else if (dice < 5)
		now = atomic_load_explicit(&clock_ns_now, memory_order_relaxed);
	else
		now = atomic_fetch_add_explicit(&clock_ns_now,
						rng_below(&t->rng, 60000),
						memory_order_relaxed);
	now = now / GIVEN_STEP * GIVEN_STEP + t->idx;
	return now > last ? now : last + GIVEN_STEP;
}

static void some_checks(struct torture_thread *t, struct op *op,
			struct check *c, struct check_extra *x)
{
	unsigned i;

	op->count = 1;
	if (rng_below(&t->rng, 3) == 0)
		op->count += rng_below(&t->rng, BATCH);
	for (i = 0; i < op->count; i++) {
		struct o_ask *a = &op->asks[i];

		memset(a, 0, sizeof(*a));
		memset(&x[i], 0, sizeof(x[i]));
		a->key = 1 + rng_below(&t->rng, KEYS);
		a->cost =
			1 + rng_below(&t->rng, rng_below(&t->rng, 8) ? 4 : 70);
		a->route = rng_below(&t->rng, ROUTES + 1);
		a->peek = rng_below(&t->rng, 10) == 0;
		a->reserve = rng_below(&t->rng, 8) == 0;
		if (rng_below(&t->rng, 8) == 0) {
			a->name = 1 + rng_below(&t->rng, 3);
			a->cost = a->name;
		}
		x[i].route_hash = routes[a->route];
		x[i].once[0] = a->name;
		c[i] = check_of_key(a->key, a->cost, &x[i]);
		c[i].flags = (uint8_t)((a->peek ? CHECK_PEEK : 0) |
				       (a->reserve ? CHECK_RESERVE : 0));
	}
}

static unsigned plan_of_step(const struct gate *g)
{
	unsigned i = PLANS;

	while (i-- > 0)
		if (block_at(scene.f.arena, plans[i].word) == g->step.plan)
			return i;
	check(false && "a plan of nobody");
	return 0;
}

static void decide(struct torture_thread *t, struct gate *g, struct op *op)
{
	struct check c[BATCH];
	struct check_extra x[BATCH];
	struct instant now = instant_at(op->given);
	static _Thread_local unsigned told;
	unsigned i;

	op->kind = OP_CHECKS;
	some_checks(t, op, c, x);
	gate_decide(g, c, op->verdicts, op->count, &now, op->wall_ms);
	op->at = g->step.now.ns;
	op->plan = plan_of_step(g);
	for (i = 0; i < op->count; i++) {
		op->committed |= op->verdicts[i].charged != 0;
		if (op->verdicts[i].hold != 0)
			/* PAIRS: nothing: a name. */
			atomic_store_explicit(
				&latest_holds[t->idx * KNOWN + told++ % KNOWN],
				op->verdicts[i].hold, memory_order_relaxed);
	}
}

static void settle(struct torture_thread *t, struct gate *g, struct op *op)
{
	struct check_extra x = {0};
	struct check c = {.credential = CREDENTIAL_HOLD, .extra = &x};
	struct instant now = instant_at(op->given);

	op->kind = OP_SETTLE;
	op->count = 1;
	op->hold = x.hold = atomic_load_explicit(
		&latest_holds[rng_below(&t->rng, workers * KNOWN)],
		memory_order_relaxed);
	op->cost = c.cost = rng_below(&t->rng, 4) ? rng_below(&t->rng, 12)
						  : SETTLE_AS_RESERVED;
	gate_decide(g, &c, op->verdicts, 1, &now, op->wall_ms);
	op->committed = op->verdicts[0].reason != REASON_NO_HOLD;
	op->at = g->step.now.ns;
}

static void work(struct torture_thread *t)
{
	struct gate *g = &gates[t->idx];
	uint64_t given = 0;
	unsigned n;

	for (n = 0; n < OPS / workers; n++) {
		struct op *op = &ops[t->idx][n];

		op->committed = false;
		op->given = given = some_time(t, given);
		op->wall_ms =
			atomic_load_explicit(&wall_now, memory_order_relaxed);
		epoch_enter(&readers[t->idx]);
		op->before = claim_settle(scene.f.arena, &org->gate, NULL);
		if (rng_below(&t->rng, 4) == 0)
			settle(t, g, op);
		else
			decide(t, g, op);
		op->after = claim_settle(scene.f.arena, &org->gate, NULL);
		epoch_leave(&readers[t->idx]);
		ops_count[t->idx] = n + 1;
	}
	atomic_fetch_sub_explicit(&working, 1, memory_order_relaxed);
}

/* ---- control ---- */

static void make_plan(struct rng *rng)
{
	struct rule now[RULES];
	unsigned i;

	memcpy(now, rules, sizeof(now));
	for (i = 0; i < RULES; i++) {
		now[i].limit = 1 + rng_below(rng, LIMIT_TOP);
		if (now[i].algorithm == RULE_CONCURRENCY)
			now[i].limit = LIMIT_TOP - rng_below(rng, 20);
		plans[plans_count].limits[i] = now[i].limit;
	}
	plans[plans_count].word = fixture_plan(&scene.f, now, RULES);
	plans_count++;
}

static void swap_plan(struct torture_thread *t)
{
	/* PAIRS: plan_of(), acquire: the rules are complete. */
	atomic_store_explicit(&org->plan,
			      plans[rng_below(&t->rng, plans_count)].word,
			      memory_order_release);
	epoch_wait(&epoch);
}

/* Two places take turns, zeroed when nobody can read them any more. */
static void move_ring(struct gate *g)
{
	static uint64_t place[2];
	uint64_t ring;

	if (moves == 0) {
		place[0] = fixture_get(&org->first.ring);
		place[1] = fixture_ring(&scene.f, RING_LOG2_OF_ALL);
	}
	moves++;
	ring = place[moves % 2] + RING_WORD(0, 0, 2 * moves);
	memset(scene.f.arena->rings + RING_PLACE(ring) * LINE_BYTES, 0,
	       sizeof(word_t) << RING_LOG2_OF_ALL);
	meter_move_ring(&g->claim, &org->gate, &org->first, &rules[0],
			&rules[0], ring);
	epoch_wait(&epoch);
}

/* All whose time is over, each a decision of its own. */
static void expire(struct gate *g, uint64_t given, uint64_t wall_ms)
{
	struct instant now = instant_at(given);
	uint32_t slot;

	for (slot = 0; slot < scene.f.arena->header->holds_count; slot++) {
		struct op *op = &ops[WORKERS_TOP][ops_count[WORKERS_TOP]];

		memset(op, 0, sizeof(*op));
		op->before = claim_settle(scene.f.arena, &org->gate, NULL);
		if (ops_count[WORKERS_TOP] >= CONTROL_OPS ||
		    !gate_expire(g, slot, slot + 1, &now, wall_ms))
			continue;
		op->kind = OP_EXPIRE;
		op->committed = true;
		op->hold = slot;
		op->given = given;
		op->wall_ms = wall_ms;
		op->at = g->step.now.ns;
		op->after = claim_settle(scene.f.arena, &org->gate, NULL);
		ops_count[WORKERS_TOP]++;
	}
}

static void grant(struct gate *g, struct op *op, uint32_t units)
{
	word_t *w = &credits->pools[0].granted;
	uint64_t version, had;

	memset(op, 0, sizeof(*op));
	op->kind = OP_GRANT;
	op->hold = units;
	do {
		version = claim_settle(scene.f.arena, &org->gate, NULL);
		had = claim_load(w);
		claim_begin(&g->claim);
		claim_add(&g->claim, w, had, had + units);
	} while (!claim_commit(&g->claim, &org->gate, version));
	op->committed = true;
	op->key = version + 2;
	op->wall_ms = oracle.wall_ms;
	ops_count[WORKERS_TOP]++;
}

static void control(struct torture_thread *t)
{
	struct gate *g = &gates[WORKERS_TOP];
	uint64_t given = 0;

	while (!all_done()) {
		struct op *op = &ops[WORKERS_TOP][ops_count[WORKERS_TOP]];
		uint32_t dice = rng_below(&t->rng, 16);
		uint64_t wall_ms =
			atomic_load_explicit(&wall_now, memory_order_relaxed);

		given = some_time(t, given);
		if (dice == 0)
			swap_plan(t);
		else if (dice == 1)
			move_ring(g);
		else if (dice == 2)
			atomic_fetch_add_explicit(&wall_now,
						  rng_below(&t->rng, 20),
						  memory_order_relaxed);
		else if (dice == 3 && ops_count[WORKERS_TOP] < CONTROL_OPS)
			grant(g, op, 1 + rng_below(&t->rng, 200));
		else
			expire(g, given, wall_ms);
	}
}

static void save(struct torture_thread *t)
{
	static struct admission in[1u << RING_LOG2_OF_ALL];
	struct view v;

	while (!all_done() && images_count < IMAGES) {
		struct image *i = &images[images_count++];
		struct instant now;

		epoch_enter(&readers[WORKERS_TOP]);
		do {
			now = instant_at(atomic_load_explicit(
				&clock_ns_now, memory_order_relaxed));
			i->version =
				claim_settle(scene.f.arena, &org->gate, NULL);
			now = step_instant(&now, i->version);
			view_read(&v, scene.f.arena, &rules[0], &org->first,
				  NULL, 0, &now);
		} while (!claim_unchanged(&org->gate, i->version));
		i->ticks = now.ticks;
		i->count = view_admissions(&v, in, 1u << RING_LOG2_OF_ALL);
		epoch_leave(&readers[WORKERS_TOP]);
		check(i->count <= LIMIT_TOP);
		memcpy(i->in, in, i->count * sizeof(in[0]));
		torture_pause_us(rng_below(&t->rng, 200));
	}
}

/* ---- a round ---- */

static void o_rule_of(unsigned i, enum o_kind kind, enum o_level level,
		      bool shadow)
{
	oracle.rules[i] = (struct o_rule){.kind = kind,
					  .level = level,
					  .shadow = shadow,
					  .span = rules[i].span,
					  .unit_ns = rules[i].unit_ns};
	if (shadow)
		rules[i].flags = RULE_SHADOW;
}

static void make_rules(struct rng *rng)
{
	struct fixture *f = &scene.f;
	unsigned i;

	/* Rings for the largest limit of any plan. */
	rules[0] = fixture_window(LIMIT_TOP, 20 + rng_below(rng, 100));
	rules[1] = fixture_gcra(LIMIT_TOP, 1 + rng_below(rng, 9000));
	rules[2] = fixture_flight(LIMIT_TOP, 1);
	rules[3] =
		fixture_rule(f, fixture_window(LIMIT_TOP, 100), LEVEL_KEY, 30);
	rules[4] = fixture_rule(f, fixture_gcra(LIMIT_TOP, 5000), LEVEL_PROJECT,
				30);
	rules[5] =
		fixture_rule(f, fixture_window(LIMIT_TOP, 60), LEVEL_ROUTE, 30);
	o_rule_of(0, O_WINDOW, O_ORG, false);
	o_rule_of(1, O_BUCKET, O_ORG, false);
	o_rule_of(2, O_FLIGHT, O_ORG, false);
	rules[2].route = routes[1];
	oracle.rules[2].route = 1;
	o_rule_of(3, O_WINDOW, O_KEY, false);
	o_rule_of(4, O_BUCKET, O_PROJECT, false);
	o_rule_of(5, O_WINDOW, O_ROUTE, true);
	oracle.rules_count = RULES;
	org = gate_scene_org(&scene, ORG, rules, RULES);
	fixture_set(&org->first.ring, fixture_ring(f, RING_LOG2_OF_ALL));
	plans_count = 0;
	for (i = 0; i < PLANS; i++)
		make_plan(rng);
	fixture_set(&org->plan, plans[0].word);
}

static void open_round(struct rng *rng, unsigned count)
{
	const uint64_t granted[] = {500, 20000};
	unsigned i;

	memset(&oracle, 0, sizeof(oracle));
	memset(latest_holds, 0, sizeof(latest_holds));
	workers = count;
	moves = 0;
	images_count = 0;
	gate_scene_open(&scene, (WORKERS_TOP + 1) * 100, WORKERS_TOP + 1);
	scene.options.hold_ms = 1;
	scene.options.once_ms = 1;
	oracle.hold_ms = 1;
	oracle.once_ns = NS_PER_MS;
	routes[1] = label_hash("a", 1);
	routes[2] = label_hash("b", 1);
	make_rules(rng);
	fixture_project(&scene.f, 1, ORG);
	oracle.budgets[1][0] = (struct o_budget){.on = true,
						 .cap = 4000,
						 .now_period = 1,
						 .ends_ms = WALL_MS + 30,
						 .next_ends_ms = WALL_MS + 90};
	fixture_budget(&scene.f.arena->projects[1].budgets[0], 4000, 1,
		       WALL_MS + 30, WALL_MS + 90);
	oracle.pools_count = 2;
	oracle.pools[0].granted = granted[0];
	oracle.pools[1].granted = granted[1];
	credits = gate_scene_credits(&scene, org, granted, NULL, 2);
	for (i = 1; i <= KEYS; i++) {
		oracle.key_project[i] = i > 2;
		gate_scene_key(&scene, i, ORG, i > 2);
	}
	for (i = 0; i <= WORKERS_TOP; i++) {
		struct gate *g = &gates[i];

		memset(&counters[i], 0, sizeof(counters[i]));
		gate_init(g, scene.f.arena, &scene.table, &scene.gate.prefix,
			  i < WORKERS_TOP ? i : OWNER_CONTROL, &counters[i]);
		gate_configure(g, &scene.options);
		ops_count[i] = 0;
	}
	atomic_store_explicit(&clock_ns_now,
			      INSTANT_BIAS_NS + 3600000 * NS_PER_MS * 24 * 30,
			      memory_order_relaxed);
	atomic_store_explicit(&wall_now, WALL_MS, memory_order_relaxed);
	atomic_store_explicit(&working, workers, memory_order_relaxed);
}

/* Every subject has its entry: a peek at one that is being seen for the first
 * time by another thread may be told that it is at rest. */
static void meet_subjects(void)
{
	unsigned key, route;

	for (key = 1; key <= KEYS; key++)
		for (route = 0; route <= ROUTES; route++) {
			struct check_extra x = {.route_hash = routes[route]};
			struct check c = check_of_key(key, 1000, &x);

			check(gate_scene_ask(&scene, &c, INSTANT_BIAS_NS)
				      .reason == REASON_COST_ABOVE_LIMIT);
		}
}

static void gather(void)
{
	unsigned t, n;

	commits_count = others_count = 0;
	for (t = 0; t <= WORKERS_TOP; t++)
		for (n = 0; n < ops_count[t]; n++) {
			if (ops[t][n].committed)
				commits[commits_count++] = &ops[t][n];
			else
				others[others_count++] = &ops[t][n];
		}
	set_keys();
	qsort(others, others_count, sizeof(others[0]), by_before);
}

int main(void)
{
	const unsigned counts[] = {1, 2, 4, 8};
	uint64_t seed = test_seed("step_torture"), round, decisions = 0;
	uint64_t allowed = 0, settled = 0, retries = 0, moved = 0, saved = 0;
	struct rng rng = {seed};
	unsigned i;

	torture_setup();
	epoch_init(&epoch);
	for (i = 0; i <= WORKERS_TOP; i++)
		epoch_register(&epoch, &readers[i]);
	for (round = 0; round < 4 * torture_work(ROUNDS); round++) {
		open_round(&rng, counts[round % 4]);
		meet_subjects();
		for (i = 0; i < workers; i++)
			torture_add(work, rng_next(&rng));
		torture_add(control, rng_next(&rng));
		torture_add(save, rng_next(&rng));
		torture_go();
		torture_harass(&rng);
		torture_end();
		gather();
		repeat_all();
		compare_words();
		decisions += commits_count + others_count;
		allowed += oracle.allowed;
		settled += oracle.settled;
		moved += moves;
		saved += images_count;
		for (i = 0; i < workers; i++)
			retries += counter_read(&counters[i].retries);
		gate_scene_close(&scene);
	}
	printf("step_torture: %lu decisions, %lu checks allowed, %lu holds "
	       "settled, %lu retries, %lu rings, %lu images\n",
	       decisions, allowed, settled, retries, moved, saved);
	check(allowed > decisions / 20 && settled > decisions / 200);
	return 0;
}
