/* SPDX-License-Identifier: MIT */

/*
 * The proof of gate/claim.c by all interleavings: owners who decide and
 * re-use their descriptors, readers who help, and death at any point followed
 * by claim_recover(). tests/models/claim.pml is the same argument without the
 * C, and goes further where the states are too many for this.
 */
#include "gate/claim.h"

#include "interleave.h"

#include <string.h>

#define OWNERS 2u
#define CLAIMED 3u /* words of a decision */

/* An organization: units used, twice, and freed; and what each owner took. */
enum word { USED, USED_TOO, FREED, OWN, WORDS = OWN + OWNERS };

static struct {
	struct descriptor descriptors[ARENA_OWNERS];
	word_t gate;
	word_t words[WORDS];
} memory;

static struct arena arena = {
	.base = (uint8_t *)&memory,
	.descriptors = memory.descriptors,
};

/* The lowest and the highest. */
static const uint32_t owner_of[OWNERS] = {0, ARENA_OWNERS - 1};

static struct {
	/* after the last decision, whether or not it is written yet */
	uint64_t words[WORDS];
	uint64_t decided;
	uint64_t told; /* decisions whose owner lived to know of them */
} truth;

/* What a scenario is made of. */
static const struct shape {
	const char *name;
	unsigned owners, decisions; /* of each owner; 1 after a death */
	unsigned readers, reads;
	unsigned limit; /* units used and not freed */
	unsigned deaths;
	bool soak; /* takes minutes */
} shapes[] = {
	{"two owners", 2, 1, 0, 0, 1, 0, false},
	{"two owners and a reader", 2, 1, 1, 1, 1, 0, false},
	{"an owner, twice, and a reader", 1, 2, 1, 2, 2, 0, false},
	{"death of two owners", 2, 1, 0, 0, 1, 1, false},
	{"death of two owners, twice", 2, 2, 0, 0, 1, 1, false},
	{"death of an owner and a reader", 1, 2, 1, 1, 2, 1, false},
	{"two deaths of two owners", 2, 1, 0, 0, 1, 2, false},
	{"two owners, twice", 2, 2, 0, 0, 1, 0, false},
	{"two owners, twice, with room", 2, 2, 0, 0, 2, 0, true},
	{"an owner, thrice, and a reader", 1, 3, 1, 2, 2, 0, true},
	{"an owner, twice, and two readers", 1, 2, 2, 1, 1, 0, true},
	{"death of two owners and a reader", 2, 1, 1, 1, 1, 1, true},
};
static const struct shape *shape;

static uint64_t peek(const word_t *w)
{
	return atomic_load_explicit(w, memory_order_relaxed);
}

/* ---- Must hold ---- */

static void is_settled(void)
{
	unsigned i;

	must(peek(&memory.gate) == 2 * truth.decided);
	for (i = 0; i < WORDS; i++)
		must(peek(&memory.words[i]) == truth.words[i]);
}

static void always(void)
{
	if ((peek(&memory.gate) & 1) == 0)
		is_settled();
}

/* The decision, in the very step that makes it. */
static void decided(uint64_t version, uint64_t name)
{
	const struct descriptor *d =
		&memory.descriptors[name >> 1 & (ARENA_OWNERS - 1)];
	unsigned i;

	must(version == 2 * truth.decided);
	must(peek(&d->seq) == name >> 8);
	must(peek(&d->gate_off) == claim_offset(&arena, &memory.gate));
	must(peek(&d->gate_next) == version + 2);
	must(peek(&d->bytes) == CLAIMED * sizeof(struct claim_word));
	for (i = 0; i < CLAIMED; i++) {
		uint64_t w = (peek(&d->words[i].off) -
			      claim_offset(&arena, memory.words)) /
			     sizeof(word_t);

		must(w < WORDS);
		must(peek(&d->words[i].from) == truth.words[w]);
		truth.words[w] = peek(&d->words[i].to);
	}
	truth.decided++;
	must(truth.words[USED] == truth.words[USED_TOO]);
	must(truth.words[USED] <= shape->limit + truth.words[FREED]);
}

static void wrote(const volatile void *at, uint64_t from, uint64_t to)
{
	const volatile word_t *w = at;

	if (w == &memory.gate) {
		must((from & 1) != (to & 1));
		if ((to & 1) != 0)
			decided(from, to);
		else
			is_settled();
	} else if (w >= memory.words && w < memory.words + WORDS) {
		/* Late helpers change nothing. */
		must((peek(&memory.gate) & 1) != 0);
		must(to == truth.words[w - memory.words]);
	}
}

static void ended(unsigned life)
{
	is_settled();
	must(truth.told <= truth.decided);
	must(life > 0 || truth.told == truth.decided);
}

/* ---- Threads ---- */

/* A frame of its own, so that nothing of one decision stays on the stack until
 * the next one: that would be more states, of which none differs. */
#define OWN_FRAME __attribute__((noinline))

/* An owner takes a unit; the last one, every other time, frees one and takes
 * that: who saw half of it would be denied. */
static bool frees(unsigned me, unsigned decision)
{
	return me == shape->owners - 1 && decision % 2 == 0;
}

/* False: somebody else got through. */
static OWN_FRAME bool decide(struct claim *c, unsigned me, bool freeing,
			     uint64_t *known)
{
	enum word third = freeing ? FREED : (enum word)(OWN + me);
	uint64_t version = claim_settle(&arena, &memory.gate, NULL);
	uint64_t used = claim_load(&memory.words[USED]);
	uint64_t freed = claim_load(&memory.words[FREED]);
	uint64_t own = claim_load(&memory.words[OWN + me]);

	if (!freeing && used + 1 > shape->limit + freed) {
		if (!claim_unchanged(&memory.gate, version))
			return false;
		/* In this very step: denied, and rightly. */
		must(truth.words[USED] + 1 > shape->limit + truth.words[FREED]);
		must(own == *known);
		return true;
	}
	claim_begin(c);
	claim_add(c, &memory.words[USED], used, used + 1);
	claim_add(c, &memory.words[third], freeing ? freed : own,
		  (freeing ? freed : own) + 1);
	claim_add(c, &memory.words[USED_TOO], used, used + 1);
	if (!claim_commit(c, &memory.gate, version))
		return false;
	must(own == *known);
	*known += !freeing;
	truth.told++;
	return true;
}

static void owner(unsigned me, unsigned decisions)
{
	/* Nobody else changes it. */
	uint64_t known = truth.words[OWN + me];
	struct claim c;
	unsigned i;

	memset(&c, 0, sizeof(c));
	claim_init(&c, &arena, owner_of[me], NULL);
	for (i = 0; i < decisions; i++)
		while (!decide(&c, me, frees(me, i), &known))
			;
}

static OWN_FRAME void look(void)
{
	uint64_t version = claim_settle(&arena, &memory.gate, NULL);
	uint64_t words[WORDS];
	unsigned i;

	must((version & 1) == 0);
	for (i = 0; i < WORDS; i++)
		words[i] = claim_load(&memory.words[i]);
	if (claim_unchanged(&memory.gate, version))
		must(memcmp(words, truth.words, sizeof(words)) == 0);
}

static void thread(unsigned idx, unsigned life)
{
	unsigned i;

	if (idx < shape->owners)
		owner(idx, life == 0 ? shape->decisions : 1);
	else
		for (i = 0; i < shape->reads; i++)
			look();
}

static void recover(void)
{
	claim_recover(&arena);
}

static void setup(void)
{
	/* Nothing: all zero is an organization that was never asked. */
}

int main(int argc, char **argv)
{
	size_t used = offsetof(struct descriptor, words) +
		      CLAIMED * sizeof(struct claim_word);
	unsigned i;

	interleave_begin(argc, argv);
	for (i = 0; i < OWNERS; i++)
		interleave_watch(i == 0 ? "descriptor 0" : "descriptor 1",
				 &memory.descriptors[owner_of[i]], used);
	interleave_watch("gate", &memory.gate, sizeof(memory.gate));
	interleave_watch("words", memory.words, sizeof(memory.words));
	interleave_watch("truth", &truth, sizeof(truth));
	for (i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
		struct interleave scenario = {
			.name = shapes[i].name,
			.threads = shapes[i].owners + shapes[i].readers,
			.deaths = shapes[i].deaths,
			.setup = setup,
			.thread = thread,
			.recover = recover,
			.always = always,
			.recovered = is_settled,
			.ended = ended,
			.wrote = wrote,
		};

		shape = &shapes[i];
		if (!shape->soak || interleave_soak())
			interleave_all(&scenario);
	}
	return interleave_end();
}
