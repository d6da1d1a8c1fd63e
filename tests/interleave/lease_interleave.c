/* SPDX-License-Identifier: MIT */

/*
 * The proof of leases in gate/outside.c by all interleavings: checks that take
 * one and are allowed or denied by an organization afterwards, threads that end
 * the same hold, and death at any point, after which leases are counted anew.
 * (What ends a hold is a claim here as it is in gate/settle.c, in fewer lines;
 * settle_interleave.c has those.)
 *
 * Never fewer are out than live holds have, nor more than the limit; and when
 * all have ended, as many.
 */
#include "gate/outside.h"

#include "interleave.h"

#include <string.h>

#define THREADS_MAX 3u
#define HOLDS THREADS_MAX /* each thread fills its own */

static struct {
	struct descriptor descriptors[ARENA_OWNERS];
	word_t gate; /* of the organization */
	word_t holds[HOLDS];
	struct outside spot;
} memory;

static struct arena arena = {
	.base = (uint8_t *)&memory,
	.descriptors = memory.descriptors,
};
static struct rule rule = {.algorithm = RULE_CONCURRENCY,
			   .level = LEVEL_ADDRESS};

/* How often a hold was ended, as those know who did it. */
static struct {
	uint64_t ends[HOLDS];
} told;

/*
 * A thread's script, letter by letter:
 *	T  takes a lease, and is allowed
 *	D  the same, and the organization denies it
 *	0  ends hold 0, if it is live; 1, 2 likewise
 * `before`: these holds are live.
 */
static const struct shape {
	const char *name;
	uint32_t limit;
	const char *before;
	const char *threads[THREADS_MAX];
	unsigned deaths;
} shapes[] = {
	{"two for the last one", 1, "", {"T", "T"}, 0},
	{"one that is denied, and one that is not", 1, "", {"D", "T"}, 0},
	{"three for two", 2, "", {"T", "D", "T"}, 0},
	{"two end the same hold", 2, "01", {"0", "0"}, 0},
	{"two end the same hold, and a third takes",
	 2,
	 "01",
	 {"0", "0", "T"},
	 0},
	{"one after the other", 1, "1", {"T0", "1T1"}, 0},
	{"both ends of two", 2, "01", {"01", "10"}, 0},
	{"death of two that take", 1, "", {"T", "D"}, 1},
	{"death of two that end", 2, "01", {"0", "0"}, 1},
	{"death between an end and the next", 1, "1", {"T0", "1"}, 1},
};
static const struct shape *shape;

static uint64_t peek(const word_t *w)
{
	return atomic_load_explicit(w, memory_order_relaxed);
}

static uint64_t count_live(void)
{
	uint64_t n = 0;
	unsigned i;

	for (i = 0; i < HOLDS; i++)
		n += HOLD_LIVE(peek(&memory.holds[i]));
	return n;
}

/* ---- Must hold ---- */

static void always(void)
{
	uint64_t leases = METER_LEASES(peek(&memory.spot.meter.level));
	uint64_t live = count_live();

	must(leases >= live);
	must(leases <= shape->limit);
}

static void is_exact(void)
{
	must(METER_LEASES(peek(&memory.spot.meter.level)) == count_live());
}

static void ended(unsigned life)
{
	unsigned i;

	is_exact();
	for (i = 0; i < HOLDS && life == 0; i++)
		must(told.ends[i] == HOLD_GEN(peek(&memory.holds[i])));
}

/* ---- Threads ---- */

#define OWN_FRAME __attribute__((noinline))

/* Changes hold `i` if it is in the state `live`; by one only, who is told. */
static OWN_FRAME bool change(struct claim *c, unsigned i, uint64_t live)
{
	for (;;) {
		uint64_t version = claim_settle(&arena, &memory.gate, NULL);
		uint64_t state = claim_load(&memory.holds[i]);

		if (HOLD_LIVE(state) != live) {
			if (claim_unchanged(&memory.gate, version))
				return false;
			continue;
		}
		claim_begin(c);
		claim_add(c, &memory.holds[i], state, state + 1);
		if (claim_commit(c, &memory.gate, version))
			return true;
	}
}

static OWN_FRAME void take(struct claim *c, unsigned me, bool allowed)
{
	const struct instant now = {0, 0};
	struct meter_answer answer;
	bool held;

	memset(&answer, 0, sizeof(answer));
	if (!outside_hold(&arena, &rule, &memory.spot, NULL, 0, 1, &now,
			  &answer))
		return;
	/* One that lived on after a death is its own: no room for another. */
	held = allowed && change(c, me, 0);
	outside_release(c, &rule, &memory.spot, NULL, 0, 1, &now, held);
}

static OWN_FRAME void end(struct claim *c, unsigned i)
{
	if (!change(c, i, 1))
		return;
	told.ends[i]++;
	outside_end_lease(&memory.spot.meter.level);
}

static void thread(unsigned idx, unsigned life)
{
	const char *script = shape->threads[idx];
	struct claim c;

	(void)life;
	memset(&c, 0, sizeof(c));
	claim_init(&c, &arena, idx, NULL);
	for (; *script != '\0'; script++)
		if (*script == 'T' || *script == 'D')
			take(&c, idx, *script == 'T');
		else
			end(&c, (unsigned)(*script - '0'));
}

/* As state/registry_leases.c does. */
static void recover(void)
{
	claim_recover(&arena);
	atomic_store_explicit(&memory.spot.meter.level, count_live(),
			      memory_order_relaxed);
}

static void setup(void)
{
	const char *before;

	rule.limit = shape->limit;
	for (before = shape->before; *before != '\0'; before++) {
		unsigned i = (unsigned)(*before - '0');

		atomic_store_explicit(&memory.holds[i], HOLD_STATE(0, 1),
				      memory_order_relaxed);
		atomic_fetch_add_explicit(&memory.spot.meter.level, 1,
					  memory_order_relaxed);
	}
}

int main(int argc, char **argv)
{
	static const char *const names[THREADS_MAX] = {
		"descriptor 0", "descriptor 1", "descriptor 2"};
	size_t used =
		offsetof(struct descriptor, words) + sizeof(struct claim_word);
	unsigned i;

	interleave_begin(argc, argv);
	for (i = 0; i < THREADS_MAX; i++)
		interleave_watch(names[i], &memory.descriptors[i], used);
	interleave_watch("gate", &memory.gate, sizeof(memory.gate));
	interleave_watch("holds", memory.holds, sizeof(memory.holds));
	interleave_watch("spot", &memory.spot, sizeof(memory.spot));
	interleave_watch("told", &told, sizeof(told));
	for (i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
		struct interleave scenario = {
			.name = shapes[i].name,
			.deaths = shapes[i].deaths,
			.setup = setup,
			.thread = thread,
			.recover = recover,
			.always = always,
			.recovered = is_exact,
			.ended = ended,
		};

		shape = &shapes[i];
		interleave_scripts(&scenario, shape->threads, THREADS_MAX,
				   false);
	}
	return interleave_end();
}
