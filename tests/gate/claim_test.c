/* SPDX-License-Identifier: MIT */
#include "gate/claim.h"

#include "base/counters.h"
#include "fixture.h"

#include <criterion/criterion.h>

#define WORDS 5

struct scene {
	struct fixture f;
	struct claim claim;
	word_t *gate;
	word_t *words; /* WORDS of them, values 10, 11, .. */
};

static void open_scene(struct scene *s, uint32_t owner)
{
	unsigned i;

	fixture_open(&s->f);
	s->gate = &fixture_org(&s->f, 1, 1, MS, 0)->gate;
	s->words = (word_t *)(void *)s->f.arena->rings;
	for (i = 0; i < CLAIM_WORDS_MAX; i++)
		fixture_set(&s->words[i], 10 + i);
	claim_init(&s->claim, s->f.arena, owner, NULL);
}

static void add_words(struct scene *s, unsigned count)
{
	unsigned i;

	claim_begin(&s->claim);
	for (i = 0; i < count; i++)
		claim_add(&s->claim, &s->words[i], 10 + i, 100 + i);
}

static void expect_words(struct scene *s, unsigned count, uint64_t base)
{
	unsigned i;

	for (i = 0; i < count; i++)
		cr_assert_eq(fixture_get(&s->words[i]), base + i, "word %u", i);
}

static uint64_t name_of(const struct claim *c)
{
	return c->seq << 8 | (uint64_t)c->owner << 1 | 1;
}

/* As if the owner had stopped with its name in the gate and the words of
 * `done` (a bit each) changed. */
static void stop_midway(struct scene *s, unsigned done)
{
	unsigned i;

	add_words(s, WORDS);
	cr_assert(claim_commit(&s->claim, s->gate, 0));
	for (i = 0; i < WORDS; i++)
		if ((done >> i & 1) == 0)
			fixture_set(&s->words[i], 10 + i);
	fixture_set(s->gate, name_of(&s->claim));
}

Test(claim, commit_changes_every_word_and_moves_the_gate_one_version)
{
	struct scene s;

	open_scene(&s, 3);
	add_words(&s, CLAIM_WORDS_MAX);
	cr_assert(claim_commit(&s.claim, s.gate, 0));
	expect_words(&s, CLAIM_WORDS_MAX, 100);
	cr_assert_eq(fixture_get(s.gate), 2);
	cr_assert_eq(claim_settle(s.f.arena, s.gate, NULL), 2);
	fixture_close(&s.f);
}

Test(claim, lost_claim_changes_nothing)
{
	struct scene s;

	open_scene(&s, 3);
	fixture_set(s.gate, 6);
	add_words(&s, WORDS);
	cr_assert_not(claim_commit(&s.claim, s.gate, 4));
	expect_words(&s, WORDS, 10);
	cr_assert_eq(fixture_get(s.gate), 6);
	cr_assert(claim_unchanged(s.gate, 6));
	cr_assert_not(claim_unchanged(s.gate, 4));
	fixture_close(&s.f);
}

Test(claim, reader_completes_what_a_stopped_owner_decided)
{
	unsigned done;

	for (done = 0; done < 1u << WORDS; done++) {
		struct counters counters = {0};
		struct scene s;

		open_scene(&s, ARENA_OWNERS - 1);
		stop_midway(&s, done);
		cr_assert_eq(claim_settle(s.f.arena, s.gate, &counters), 2);
		expect_words(&s, WORDS, 100);
		cr_assert_eq(counter_read(&counters.helps), 1);
		fixture_close(&s.f);
	}
}

Test(claim, recovery_completes_what_a_dead_owner_decided)
{
	unsigned done;

	for (done = 0; done < 1u << WORDS; done++) {
		struct scene s;

		open_scene(&s, 0);
		stop_midway(&s, done);
		cr_assert_eq(claim_recover(s.f.arena), 1);
		expect_words(&s, WORDS, 100);
		cr_assert_eq(fixture_get(s.gate), 2);
		cr_assert_eq(claim_recover(s.f.arena), 0);
		fixture_close(&s.f);
	}
}

Test(claim, recovery_leaves_alone_what_was_not_decided)
{
	struct scene s;

	open_scene(&s, 5);
	add_words(&s, WORDS); /* begun only */
	cr_assert_eq(claim_recover(s.f.arena), 0);
	expect_words(&s, WORDS, 10);

	fixture_set(s.gate, 8);
	cr_assert_not(claim_commit(&s.claim, s.gate, 6)); /* lost */
	cr_assert_eq(claim_recover(s.f.arena), 0);
	expect_words(&s, WORDS, 10);
	cr_assert_eq(fixture_get(s.gate), 8);
	fixture_close(&s.f);
}

Test(claim, recovery_completes_every_owner)
{
	struct scene s;
	uint32_t owner;

	fixture_open(&s.f);
	for (owner = 0; owner < ARENA_OWNERS; owner++) {
		word_t *gate = &s.f.arena->orgs[owner + 1].gate;
		word_t *w = &fixture_key(&s.f, owner + 1)->used;

		claim_init(&s.claim, s.f.arena, owner, NULL);
		claim_begin(&s.claim);
		claim_add(&s.claim, w, 0, 7);
		cr_assert(claim_commit(&s.claim, gate, 0));
		fixture_set(w, 0);
		fixture_set(gate, name_of(&s.claim));
	}
	cr_assert_eq(claim_recover(s.f.arena), ARENA_OWNERS);
	for (owner = 0; owner < ARENA_OWNERS; owner++) {
		cr_assert_eq(fixture_get(&s.f.arena->keys[owner + 1].used), 7);
		cr_assert_eq(fixture_get(&s.f.arena->orgs[owner + 1].gate), 2);
	}
	fixture_close(&s.f);
}

/* A name must not come back after a restart: a gate that still held it would
 * be completed with another decision's words. */
Test(claim, sequence_continues_with_the_next_owner_of_the_descriptor)
{
	struct scene s;
	struct claim next;
	uint64_t before;

	open_scene(&s, 9);
	add_words(&s, 1);
	cr_assert(claim_commit(&s.claim, s.gate, 0));
	add_words(&s, 1);
	cr_assert_not(claim_commit(&s.claim, s.gate, 0));
	before = s.claim.seq;
	claim_begin(&s.claim); /* dies while it writes the next one */
	claim_init(&next, s.f.arena, 9, NULL);
	cr_assert_eq(next.seq, before);
	claim_begin(&next);
	cr_assert(claim_commit(&next, s.gate, 2));
	cr_assert_gt(next.seq, before);
	fixture_close(&s.f);
}

Test(claim, late_apply_of_an_old_decision_changes_nothing)
{
	struct scene s;
	uint64_t old_name;

	open_scene(&s, 2);
	add_words(&s, WORDS);
	cr_assert(claim_commit(&s.claim, s.gate, 0));
	old_name = name_of(&s.claim);
	claim_begin(&s.claim);
	claim_add(&s.claim, &s.words[0], 100, 200);
	cr_assert(claim_commit(&s.claim, s.gate, 2));
	/* The descriptor means something else by now: nobody may believe it
	 * under its old name. Recovery looks at one name only. */
	cr_assert_neq(old_name, name_of(&s.claim));
	cr_assert_eq(claim_recover(s.f.arena), 0);
	cr_assert_eq(fixture_get(&s.words[0]), 200);
	cr_assert_eq(fixture_get(s.gate), 4);
	fixture_close(&s.f);
}

Test(claim, descriptor_that_we_cannot_have_written_is_not_sane)
{
	struct scene s;
	struct descriptor *d;

	open_scene(&s, 1);
	d = s.claim.descriptor;
	cr_assert(claim_descriptor_sane(d), "never used");
	add_words(&s, CLAIM_WORDS_MAX);
	cr_assert(claim_commit(&s.claim, s.gate, 0));
	cr_assert(claim_descriptor_sane(d));

	fixture_set(&d->bytes,
		    (CLAIM_WORDS_MAX + 1) * sizeof(struct claim_word));
	cr_assert_not(claim_descriptor_sane(d), "count");
	fixture_set(&d->bytes, CLAIM_WORDS_MAX * sizeof(struct claim_word));

	fixture_set(&d->words[15].off, ARENA_BYTES);
	cr_assert_not(claim_descriptor_sane(d), "beyond the arena");
	fixture_set(&d->words[15].off, ARENA_BYTES - sizeof(word_t));
	cr_assert(claim_descriptor_sane(d), "the last word");
	fixture_set(&d->words[15].off, ARENA_ORGS_AT - sizeof(word_t));
	cr_assert_not(claim_descriptor_sane(d), "among the descriptors");
	fixture_set(&d->words[15].off, ARENA_ORGS_AT + 4);
	cr_assert_not(claim_descriptor_sane(d), "not a word");
	fixture_set(&d->bytes, 15 * sizeof(struct claim_word));
	cr_assert(claim_descriptor_sane(d), "beyond count");
	fixture_set(&d->gate_off, 0);
	cr_assert_not(claim_descriptor_sane(d), "gate");
	fixture_close(&s.f);
}
