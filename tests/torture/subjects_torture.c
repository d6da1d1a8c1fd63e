/* SPDX-License-Identifier: MIT */

/*
 * gate/subjects under threads: workers take, find and charge subjects, in a
 * table that is too small for all of them, while the control thread retires
 * and frees. A charge is a lease in the entry's state, taken under the gate of
 * the subject's organization and given back in a later section; a state with
 * leases out is not at rest.
 *
 * A subject that has leases out keeps its entry, all leases on it are its own,
 * and none is lost; no bucket ever holds two names of one subject; and at the
 * end every entry's words are the sum of what the workers did.
 */
#include "gate/subjects.h"

#include "../gate/fixture.h"
#include "base/epoch.h"
#include "torture.h"

#include <sched.h>

#define WORKERS 4u
#define ORGS 3u
#define BUCKETS 3u
#define ENTRIES (BUCKETS * SUBJECTS_BUCKET)
/* A bucket has room for fewer than want to be in it. */
#define SUBJECTS (2u * ENTRIES)
#define LEASES_MAX 6u /* that a worker has out */
#ifdef STILE_TSAN
#define STEPS 400000u
#else
#define STEPS 3000000u
#endif
#define FREED_MIN 1000u

/* Of a name: the hash, and that somebody has it (gate/subjects.c). */
#define NAME_KEY(n) ((n) >> 14)
#define NAME_TAKEN(n) ((n) >> 13 & 1)

struct state {
	word_t level; /* METER_FLIGHT */
	word_t owner; /* changes << 16 | subject that was charged last */
	word_t total; /* charges, ever */
};

struct lease {
	uint32_t subject, entry;
};

static struct worker {
	struct epoch_reader reader;
	struct claim claim;
	struct lease leases[LEASES_MAX];
	unsigned leases_count;
	uint64_t totals[ENTRIES];
	uint64_t full;
} workers[WORKERS];

static struct fixture fixture;
static struct subjects table;
static struct epoch epoch;
static uint64_t marked, freed;
static _Atomic(unsigned) at_work;

static uint64_t hash_of(uint32_t subject)
{
	return subjects_hash2(1, subject, 7);
}

static word_t *gate_of(uint32_t subject)
{
	return &fixture.arena->orgs[1 + subject % ORGS].gate;
}

static bool at_rest(const void *state, void *arg)
{
	const struct state *s = state;

	(void)arg;
	return METER_LEASES(claim_load(&s->level)) == 0;
}

static unsigned own_leases(const struct worker *w, uint32_t subject,
			   uint32_t *ret_entry)
{
	unsigned i, own = 0;

	for (i = 0; i < w->leases_count; i++) {
		if (w->leases[i].subject != subject)
			continue;
		*ret_entry = w->leases[i].entry;
		own++;
	}
	return own;
}

/* Words of one version of the subject's organization. */
static void check_state(uint32_t subject, unsigned own, uint64_t level,
			uint64_t owner)
{
	check(METER_LEASES(level) >= own);
	check(METER_LEASES(level) <= WORKERS * LEASES_MAX);
	if (METER_LEASES(level) > 0)
		check((owner & 0xffff) == subject);
}

/* One decision of the organization; retried until it gets through. */
static void change(struct worker *w, uint32_t subject, uint32_t entry, int by)
{
	struct state *s = subjects_state(&table, entry);
	uint64_t version, level, owner, total;
	uint32_t held = entry;
	unsigned own = own_leases(w, subject, &held);

	check(held == entry);
	do {
		version = claim_settle(fixture.arena, gate_of(subject), NULL);
		level = claim_load(&s->level);
		owner = claim_load(&s->owner);
		total = claim_load(&s->total);
		claim_begin(&w->claim);
		claim_add(&w->claim, &s->level, level,
			  METER_FLIGHT((level >> 24) + 1,
				       METER_LEASES(level) + (uint64_t)by));
		claim_add(&w->claim, &s->owner, owner,
			  ((owner >> 16) + 1) << 16 | subject);
		claim_add(&w->claim, &s->total, total, total + 1);
	} while (!claim_commit(&w->claim, gate_of(subject), version));
	check_state(subject, own, level, owner);
	w->totals[entry]++;
}

static void charge(struct torture_thread *t, struct worker *w)
{
	uint32_t subject = rng_below(&t->rng, SUBJECTS), held = SUBJECTS_FULL;
	unsigned own = own_leases(w, subject, &held);
	uint32_t entry;

	entry = subjects_take(&table, &w->claim, hash_of(subject));
	if (own != 0)
		check(entry == held);
	if (entry == SUBJECTS_FULL) {
		w->full++;
		return;
	}
	check(entry < ENTRIES);
	/* Here it may be marked. */
	if (rng_below(&t->rng, 8) == 0)
		sched_yield();
	check(subjects_is(&table, entry, hash_of(subject)));
	change(w, subject, entry, 1);
	w->leases[w->leases_count++] = (struct lease){subject, entry};
	check(subjects_find(&table, hash_of(subject)) == entry);
}

static void release(struct torture_thread *t, struct worker *w)
{
	struct lease *l = &w->leases[rng_below(&t->rng, w->leases_count)];

	check(subjects_find(&table, hash_of(l->subject)) == l->entry);
	change(w, l->subject, l->entry, -1);
	*l = w->leases[--w->leases_count];
}

static void peek(struct torture_thread *t, struct worker *w)
{
	uint32_t subject = rng_below(&t->rng, SUBJECTS), held = SUBJECTS_FULL;
	unsigned own = own_leases(w, subject, &held);
	uint64_t version = claim_settle(fixture.arena, gate_of(subject), NULL);
	uint32_t entry = subjects_find(&table, hash_of(subject));
	uint64_t level, owner;
	struct state *s;

	if (own != 0)
		check(entry == held);
	if (entry == SUBJECTS_FULL)
		return;
	/* Here one that is retiring may be given to another subject. */
	if (rng_below(&t->rng, 8) == 0)
		sched_yield();
	s = subjects_state(&table, entry);
	level = claim_load(&s->level);
	owner = claim_load(&s->owner);
	if (subjects_is(&table, entry, hash_of(subject)) &&
	    claim_unchanged(gate_of(subject), version))
		check_state(subject, own, level, owner);
}

static void work(struct torture_thread *t)
{
	struct worker *w = &workers[t->idx];
	uint64_t i, steps = torture_work(STEPS);

	for (i = 0; i < steps || w->leases_count > 0; i++) {
		unsigned what = rng_below(&t->rng, 4);

		epoch_enter(&w->reader);
		if (what == 0)
			peek(t, w);
		else if (w->leases_count == LEASES_MAX || i >= steps ||
			 (what == 1 && w->leases_count > 0))
			release(t, w);
		else
			charge(t, w);
		epoch_leave(&w->reader);
	}
	/* PAIRS: control(), relaxed: it guards nothing. */
	atomic_fetch_sub_explicit(&at_work, 1, memory_order_relaxed);
}

static void check_bucket(struct subjects_bucket *b)
{
	uint64_t names[SUBJECTS_BUCKET];
	uint64_t version = claim_settle(fixture.arena, &b->gate, NULL);
	unsigned i, n;

	for (i = 0; i < SUBJECTS_BUCKET; i++)
		names[i] = claim_load(&b->names[i]);
	if (!claim_unchanged(&b->gate, version))
		return;
	for (i = 0; i < SUBJECTS_BUCKET; i++)
		for (n = 0; n < i; n++)
			check(!NAME_TAKEN(names[i]) || !NAME_TAKEN(names[n]) ||
			      NAME_KEY(names[i]) != NAME_KEY(names[n]));
}

static void control(struct torture_thread *t)
{
	struct claim claim;
	uint32_t cursor = 0;

	claim_init(&claim, fixture.arena, OWNER_CONTROL, NULL);
	while (atomic_load_explicit(&at_work, memory_order_relaxed) > 0) {
		marked += subjects_retire(&table, &claim, &cursor,
					  1 + rng_below(&t->rng, ENTRIES),
					  at_rest, NULL);
		epoch_wait(&epoch);
		freed += subjects_free(&table, &claim, at_rest, NULL);
		check_bucket(&table.buckets[rng_below(&t->rng, BUCKETS)]);
	}
	/* What is left is at rest. */
	cursor = 0;
	subjects_retire(&table, &claim, &cursor, UINT32_MAX, at_rest, NULL);
	subjects_free(&table, &claim, at_rest, NULL);
}

static void open_table(void)
{
	const uint64_t bytes =
		subjects_bytes(ENTRIES / 2, sizeof(struct state));
	uint64_t block;
	unsigned log2 = 3;

	while (sizeof(word_t) << log2 < bytes)
		log2++;
	block = fixture_ring(&fixture, log2);
	subjects_format(fixture.arena, block, ENTRIES / 2,
			sizeof(struct state));
	check(subjects_open(&table, fixture.arena, block));
	check(table.count >= BUCKETS);
	table.count = BUCKETS;
}

int main(void)
{
	uint64_t seed = test_seed("subjects_torture"), charges = 0, full = 0;
	struct rng rng = {seed};
	uint32_t entry;
	unsigned i;

	torture_setup();
	fixture_open(&fixture);
	open_table();
	epoch_init(&epoch);
	at_work = WORKERS;
	for (i = 0; i < WORKERS; i++) {
		epoch_register(&epoch, &workers[i].reader);
		claim_init(&workers[i].claim, fixture.arena, i, NULL);
		torture_add(work, seed);
	}
	torture_add(control, seed);
	torture_go();
	torture_harass(&rng);
	torture_end();

	for (entry = 0; entry < ENTRIES; entry++) {
		struct state *s = subjects_state(&table, entry);
		uint64_t total = 0;

		for (i = 0; i < WORKERS; i++)
			total += workers[i].totals[entry];
		check(fixture_get(&s->total) == total);
		check(fixture_get(&s->level) == METER_FLIGHT(total, 0));
		charges += total;
	}
	for (i = 0; i < WORKERS; i++)
		full += workers[i].full;
	check(subjects_used(&table) == 0);
	printf("subjects_torture: %llu charges, %llu times full, %llu marked, "
	       "%llu freed\n",
	       (unsigned long long)charges, (unsigned long long)full,
	       (unsigned long long)marked, (unsigned long long)freed);
	check(full > 0);
	check(freed > FREED_MIN && marked > freed);
	fixture_close(&fixture);
	return 0;
}
