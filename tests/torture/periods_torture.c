/* SPDX-License-Identifier: MIT */

/*
 * Periods are published while workers decide for the same organization: what a
 * decision reads of a budget under one version of the gate is one period, its
 * end and the end of the next, and never an earlier one than before.
 */
#include "../gate/fixture.h"
#include "state/periods.h"
#include "torture.h"

#define WORKERS 3u
#define PROJECTS 8u
#define DAYS 2000u
#define DAY_MS UINT64_C(86400000)
#define FROM_DAY UINT64_C(20000)

static struct fixture fixture;
static struct org *org;
static struct periods *periods;
static atomic_bool enough;
static uint64_t seen[WORKERS], decided[WORKERS];

static void read_budget(const struct budget *b, uint64_t *last)
{
	uint64_t version, period, ends, next;

	do {
		version = claim_settle(fixture.arena, &org->gate, NULL);
		period = claim_load(&b->period);
		ends = claim_load(&b->ends_ms);
		next = claim_load(&b->next_ends_ms);
	} while (!claim_unchanged(&org->gate, version));
	check(ends == (period + 1) * DAY_MS);
	check(next == ends + DAY_MS);
	check(period >= *last);
	*last = period;
}

/* A decision of the smallest kind. */
static void decide(struct claim *c, word_t *used)
{
	uint64_t version, from;

	do {
		version = claim_settle(fixture.arena, &org->gate, NULL);
		from = claim_load(used);
		claim_begin(c);
		claim_add(c, used, from, from + 1);
	} while (!claim_commit(c, &org->gate, version));
}

static void work(struct torture_thread *t)
{
	word_t *used = &fixture.arena->keys[1 + t->idx].used;
	uint64_t last[PROJECTS] = {0};
	struct claim claim;

	claim_init(&claim, fixture.arena, t->idx, NULL);
	/* PAIRS: nothing. Says when to stop, and guards nothing. */
	while (!atomic_load_explicit(&enough, memory_order_relaxed)) {
		uint32_t project = 1 + rng_below(&t->rng, PROJECTS);

		read_budget(&fixture.arena->projects[project].budgets[0],
			    &last[project - 1]);
		seen[t->idx]++;
		if (rng_below(&t->rng, 8) == 0) {
			decide(&claim, used);
			decided[t->idx]++;
		}
	}
}

static void control(struct torture_thread *t)
{
	uint64_t days = torture_work(DAYS);

	for (uint64_t day = 1; day <= days; day++) {
		while (periods_step(periods, (FROM_DAY + day) * DAY_MS))
			;
		torture_pause_us(rng_below(&t->rng, 20));
	}
	/* PAIRS: work(), relaxed; it guards nothing. */
	atomic_store_explicit(&enough, true, memory_order_relaxed);
}

int main(void)
{
	uint64_t seed = test_seed("periods_torture"), reads = 0, decisions = 0;
	struct rng rng = {seed};
	struct claim claim;

	torture_setup();
	fixture_open(&fixture);
	org = &fixture.arena->orgs[1];
	claim_init(&claim, fixture.arena, OWNER_CONTROL, NULL);
	check(periods_new(&periods, &claim, PROJECTS + 1) == 0);
	for (uint32_t p = 1; p <= PROJECTS; p++) {
		fixture.arena->projects[p].org = 1;
		check(periods_set(periods, p, 0, PERIOD_DAY, "UTC", 0,
				  FROM_DAY * DAY_MS) == 0);
	}
	for (unsigned i = 0; i < WORKERS; i++)
		torture_add(work, seed);
	torture_add(control, seed);
	torture_go();
	torture_harass(&rng);
	torture_end();

	for (unsigned i = 0; i < WORKERS; i++) {
		reads += seen[i];
		decisions += decided[i];
		check(fixture_get(&fixture.arena->keys[1 + i].used) ==
		      decided[i]);
	}
	printf("periods_torture: %llu reads and %llu decisions beside %llu "
	       "days of "
	       "%u budgets\n",
	       (unsigned long long)reads, (unsigned long long)decisions,
	       (unsigned long long)torture_work(DAYS), PROJECTS);
	periods_free(periods);
	fixture_close(&fixture);
	return 0;
}
