/* SPDX-License-Identifier: MIT */

/*
 * The proof of gate/outside.c by all interleavings: workers who hold units at
 * one address, and then admit them or let them go; and death at any point,
 * followed by outside_recover().
 *
 * A check has passed as soon as its units are held and its organization says
 * yes: no more of them may pass than the limit, and nothing may forget them
 * from then on.
 */
#include "gate/outside.h"

#include "interleave.h"

#include <string.h>

#define THREADS_MAX 3u
#define ENTRIES_LOG2 3u

static struct {
	struct descriptor descriptors[ARENA_OWNERS];
	struct {
		struct outside outside;
		word_t entries[1u << ENTRIES_LOG2] LINE_ALIGNED;
	} state LINE_ALIGNED;
} memory;

static struct arena arena = {
	.base = (uint8_t *)&memory,
	.descriptors = memory.descriptors,
};
static struct outside *const at = &memory.state.outside;

static struct rule rule;

static struct {
	uint64_t passed;   /* units, in all lives */
	uint64_t lost;     /* in hand when a process died */
	uint64_t admitted; /* and written */
	/* What the others had in hand when a thread's check began. */
	uint64_t beside[THREADS_MAX];
} truth;

/* Not a part of the state: what happened at all. */
static struct {
	uint64_t denied, lost;
} reached;

/* A thread's checks: a digit is one of that cost which its organization allows,
 * a letter (a: 1, b: 2) one which it denies. */
static const struct shape {
	const char *name;
	uint8_t algorithm;
	uint32_t limit;
	const char *threads[THREADS_MAX];
	unsigned deaths;
	bool soak; /* takes minutes */
} shapes[] = {
	{"one unit", RULE_WINDOW, 1, {"1", "1"}, 0, false},
	{"two units", RULE_WINDOW, 2, {"1", "1"}, 0, false},
	{"two units, thrice", RULE_WINDOW, 2, {"11", "1"}, 0, false},
	{"costs", RULE_WINDOW, 2, {"2", "1"}, 0, false},
	{"let go", RULE_WINDOW, 1, {"a", "1"}, 0, false},
	{"let go, then again", RULE_WINDOW, 1, {"a1", "1"}, 0, false},
	{"let go of two", RULE_WINDOW, 2, {"b1", "2"}, 0, false},
	{"bucket", RULE_GCRA, 1, {"1", "1"}, 0, false},
	{"bucket of two", RULE_GCRA, 2, {"11", "a1"}, 0, false},
	{"three", RULE_GCRA, 2, {"1", "1", "1"}, 0, false},
	{"three, one lets go", RULE_GCRA, 1, {"1", "1", "a"}, 0, false},
	{"death", RULE_WINDOW, 1, {"1", "1"}, 1, false},
	{"death of two units", RULE_WINDOW, 2, {"1", "1"}, 1, false},
	{"death of who lets go", RULE_WINDOW, 1, {"a", "1"}, 1, false},
	{"death of a bucket", RULE_GCRA, 2, {"1", "11"}, 1, false},
	{"two deaths", RULE_GCRA, 2, {"1", "1"}, 2, false},
	{"two deaths of a window", RULE_WINDOW, 2, {"1", "1"}, 2, false},
	{"three of a window", RULE_WINDOW, 2, {"1", "1", "1"}, 0, true},
};
static const struct shape *shape;

/* Threads read the clock in another order than they decide in. */
static struct instant time_of(unsigned idx)
{
	return instant_at(INSTANT_BIAS_NS +
			  (THREADS_MAX - idx) * UINT64_C(9000));
}

/* ---- Must hold ---- */

/* What a test sees: no access of a thread. */
static uint64_t peek(const word_t *w)
{
	return *w;
}

/* Units that were admitted, as one asks who comes after all others. */
static uint64_t admitted(void)
{
	const struct instant late =
		instant_at(INSTANT_BIAS_NS + UINT64_C(100000));
	uint64_t tat = peek(&at->meter.level);
	struct view v;

	if (shape->algorithm == RULE_GCRA)
		/* Nothing has come back: nobody's clock is that late. */
		return tat == 0 ? 0 : (tat - INSTANT_BIAS_NS) / rule.unit_ns;
	view_read(&v, &arena, &rule, &at->meter, memory.state.entries,
		  ENTRIES_LOG2, &late);
	return v.used;
}

static void is_settled(void)
{
	must((peek(&at->gate) & 1) == 0);
	must(admitted() == truth.admitted);
	must(admitted() + peek(&at->held) >= truth.passed);
	must(admitted() <= truth.passed + truth.lost);
}

static void always(void)
{
	must(truth.passed <= shape->limit);
	if ((peek(&at->gate) & 1) == 0)
		is_settled();
}

static void wrote(const volatile void *w, uint64_t from, uint64_t to)
{
	if (w == &at->held && to > from)
		truth.beside[interleave_current()] = from;
	if (w != &at->gate)
		return;
	must((from & 1) != (to & 1));
	if ((to & 1) == 0)
		truth.admitted = admitted();
}

static void recovered(void)
{
	is_settled();
	must(peek(&at->held) == 0);
	memset(truth.beside, 0, sizeof(truth.beside));
}

static void ended(unsigned life)
{
	is_settled();
	must(peek(&at->held) == 0);
	must(life > 0 || admitted() == truth.passed);
}

/* ---- Threads ---- */

/* As in claim_interleave.c: nothing of one check is on the stack in the next.
 */
#define OWN_FRAME __attribute__((noinline))

static OWN_FRAME void ask(struct claim *c, unsigned me, uint32_t units,
			  bool allows)
{
	struct instant now = time_of(me);
	struct meter_answer m;

	if (!outside_hold(&arena, &rule, at, memory.state.entries, ENTRIES_LOG2,
			  units, &now, &m)) {
		/* For what is there, and for what the others may let go. */
		must(truth.beside[me] + truth.admitted + units > shape->limit);
		reached.denied++;
		return;
	}
	/* In this very step: its organization is elsewhere. */
	if (allows)
		truth.passed += units;
	outside_release(c, &rule, at, memory.state.entries, ENTRIES_LOG2, units,
			&now, allows);
	truth.beside[me] = 0;
}

static void thread(unsigned idx, unsigned life)
{
	const char *s = shape->threads[idx];
	struct claim c;

	(void)life;
	memset(&c, 0, sizeof(c));
	claim_init(&c, &arena, idx, NULL);
	for (; *s != '\0'; s++) {
		bool allows = *s < 'a';

		ask(&c, idx, (uint32_t)(*s - (allows ? '0' : 'a' - 1)), allows);
	}
}

static void recover(void)
{
	struct instant now = time_of(0);
	struct claim c;

	truth.lost += peek(&at->held);
	reached.lost += peek(&at->held);
	claim_recover(&arena);
	memset(&c, 0, sizeof(c));
	claim_init(&c, &arena, OWNER_CONTROL, NULL);
	outside_recover(&c, &rule, at, memory.state.entries, ENTRIES_LOG2,
			&now);
}

/* ---- Before ---- */

static void setup(void)
{
	memset(&rule, 0, sizeof(rule));
	rule.algorithm = shape->algorithm;
	rule.level = LEVEL_ADDRESS;
	rule.limit = shape->limit;
	rule.span = UINT64_C(60000) * CLOCK_TICKS_PER_MS;
	rule.period_ms = 60000;
	rule.unit_ns = UINT64_C(60000000000);
}

static void explore(const struct shape *which)
{
	struct interleave scenario = {
		.name = which->name,
		.deaths = which->deaths,
		.setup = setup,
		.thread = thread,
		.recover = recover,
		.always = always,
		.recovered = recovered,
		.ended = ended,
		.wrote = wrote,
	};

	shape = which;
	interleave_scripts(&scenario, shape->threads, THREADS_MAX, shape->soak);
}

int main(int argc, char **argv)
{
	static const unsigned owners[] = {0, 1, 2, OWNER_CONTROL};
	size_t used =
		offsetof(struct descriptor, words) + sizeof(struct claim_word);
	unsigned i;

	interleave_begin(argc, argv);
	for (i = 0; i < sizeof(owners) / sizeof(owners[0]); i++)
		interleave_watch("descriptor", &memory.descriptors[owners[i]],
				 used);
	interleave_watch("address", at, sizeof(*at));
	interleave_watch("entries", memory.state.entries,
			 sizeof(memory.state.entries));
	interleave_watch("truth", &truth, sizeof(truth));
	for (i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++)
		explore(&shapes[i]);
	if (argc == 1)
		must(reached.denied > 0 && reached.lost > 0);
	return interleave_end();
}
