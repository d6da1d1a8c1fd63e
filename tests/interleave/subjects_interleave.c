/* SPDX-License-Identifier: MIT */

/*
 * The proof of gate/subjects.c by all interleavings: workers who take and
 * charge subjects, readers who find them, and the control thread that marks,
 * waits for a grace period and frees, all in one bucket of which few entries
 * are not taken for good; and death at any point.
 *
 * A charge is written where its subject's place in a state is, so a state says
 * by itself whose charges are in it. It stays in force until its worker says
 * that it rests.
 */
#include "gate/subjects.h"

#include "interleave.h"

#include <string.h>

#define SUBJECTS 3u /* A, B, C */
#define THREADS_MAX 3u
#define BLOCK_LOG2 7u /* words: a bucket with its header and states */

/* Those that may change: the last two names of the first line, in which all
 * subjects are looked for first, and the first one of the next line. */
#define OPEN 3u
#define OPEN_FIRST 5u                /* entry */
#define FOR_GOOD (UINT64_C(1) << 63) /* a state that never rests */

/* A name (gate/subjects.c): hash, state, generation. */
#define NAME_HASH(n) ((n) >> 14)
#define NAME_TAKEN(n) ((n) >> 13 & 1)
#define NAME_STATE(n) ((n) >> 12 & 3)
#define NAME_FREE 1u
#define NAME_USED 2u
#define NAME_RETIRING 3u

static struct {
	struct descriptor descriptors[ARENA_OWNERS];
	struct {
		word_t words[1u << BLOCK_LOG2];
	} block LINE_ALIGNED;
} memory;

/* The sections of thread i so far, twice, and one if it is in one: byte i. */
static word_t sections;

static struct arena arena = {
	.base = (uint8_t *)&memory,
	.descriptors = memory.descriptors,
	.rings = (uint8_t *)&memory.block,
};
static struct subjects table;
static word_t *names, *states; /* of the entries that may change */

static struct {
	uint64_t units[SUBJECTS];  /* in force */
	uint64_t rested[SUBJECTS]; /* how often they came to rest */
} truth;

/* Not a part of the state: what happened at all. */
static struct {
	uint64_t full, marked, revived, freed, reused, gone;
} reached;

/*
 * A thread's script, letter by letter:
 *	A  takes and charges subject A, in a section
 *	a  the same; afterwards the charge comes to rest
 *	1  finds and reads subject A, in a section
 *	~  the control thread marks, waits for a grace period, and frees
 * `before`: a, it has an entry and is at rest; A, and a charge is in force.
 */
static const struct shape {
	const char *name;
	unsigned open; /* entries that are not taken for good */
	bool fresh;    /* and the lines behind were never used */
	const char *before;
	const char *threads[THREADS_MAX];
	unsigned deaths;
	bool soak; /* takes minutes */
} shapes[] = {
	{"one subject, twice", 3, true, "", {"A", "A"}, 0, false},
	{"two subjects", 3, true, "", {"A", "B"}, 0, false},
	{"two subjects, and one of them again",
	 2,
	 false,
	 "",
	 {"AB", "A"},
	 0,
	 false},
	{"the last entry", 1, false, "", {"A", "B"}, 0, false},
	{"the last two entries", 2, false, "", {"A", "BC"}, 0, false},
	{"three in the last two entries",
	 2,
	 false,
	 "",
	 {"A", "B", "C"},
	 0,
	 true},
	{"one subject, thrice", 2, false, "", {"A", "A", "A"}, 0, false},
	{"a subject returns", 2, false, "a", {"A", "~"}, 0, false},
	{"a subject returns, twice", 1, false, "a", {"AA", "~"}, 0, false},
	{"another one comes", 1, false, "a", {"B", "~"}, 0, false},
	{"another one comes, then it", 2, false, "ab", {"CA", "~"}, 0, false},
	{"behind a full line", 3, true, "abc", {"C", "~"}, 0, false},
	{"it comes to rest", 1, false, "", {"a", "~~"}, 0, false},
	{"in force", 2, false, "Ab", {"AC", "~"}, 0, false},
	{"it returns beside another", 2, true, "a", {"A", "B", "~"}, 0, false},
	{"it returns, twice, beside another",
	 2,
	 true,
	 "a",
	 {"AA", "B", "~"},
	 0,
	 true},
	{"both return", 2, true, "ab", {"A", "B", "~"}, 0, true},
	{"a reader", 2, true, "a", {"1", "aB", "~"}, 0, false},
	{"a reader of what is in force",
	 3,
	 true,
	 "Ab",
	 {"1", "BC", "~"},
	 0,
	 false},
	{"a reader while another one comes",
	 1,
	 false,
	 "a",
	 {"1", "B", "~"},
	 0,
	 false},
	{"death of two takers", 2, false, "", {"A", "A"}, 1, false},
	{"death of two takers of the last entry",
	 1,
	 false,
	 "",
	 {"A", "B"},
	 1,
	 false},
	{"death while it is freed", 1, false, "a", {"A", "~"}, 1, false},
	{"death while another one comes", 1, false, "a", {"B", "~"}, 1, false},
	{"two deaths", 1, false, "a", {"A", "~"}, 2, true},
};
static const struct shape *shape;

/* What the test sees. No access of a thread: nobody goes on here. */
static uint64_t peek(const word_t *w)
{
	return *w;
}

/* All have the same home and begin in the first line. */
static uint64_t hash_of(unsigned subject)
{
	return (uint64_t)(subject + 1) << 14;
}

static uint64_t charge_of(unsigned subject)
{
	return UINT64_C(1) << 8 * subject;
}

static uint64_t units_in(uint64_t state, unsigned subject)
{
	return state >> 8 * subject & 0xff;
}

static bool is_of(uint64_t name, unsigned subject)
{
	return NAME_TAKEN(name) && name >> 14 == hash_of(subject) >> 14;
}

static unsigned entries_of(unsigned subject)
{
	unsigned i, count = 0;

	for (i = 0; i < OPEN; i++)
		count += is_of(peek(&names[i]), subject);
	return count;
}

/* ---- Must hold ---- */

/* In entry i there is nothing but its subject's, and of that all. */
static void holds_its_own(unsigned i)
{
	uint64_t state = peek(&states[i]);
	unsigned s;

	if (state == FOR_GOOD)
		return;
	for (s = 0; s < SUBJECTS; s++)
		must(units_in(state, s) ==
		     (is_of(peek(&names[i]), s) ? truth.units[s] : 0));
}

static void renamed(unsigned i, uint64_t from, uint64_t to)
{
	unsigned s;

	must((peek(&table.buckets->gate) & 1) != 0);
	must(from != to);
	if (NAME_TAKEN(from) && NAME_TAKEN(to))
		must(NAME_HASH(from) == NAME_HASH(to));
	else
		must(peek(&states[i]) == 0);
	for (s = 0; s < SUBJECTS; s++)
		must(entries_of(s) <= 1);
	reached.marked += NAME_STATE(to) == NAME_RETIRING;
	reached.revived += NAME_STATE(from) == NAME_RETIRING &&
			   NAME_STATE(to) == NAME_USED;
	reached.freed += NAME_STATE(to) == NAME_FREE;
	reached.reused += NAME_STATE(from) == NAME_FREE;
}

static void charged(unsigned i, uint64_t from, uint64_t to)
{
	unsigned s;

	for (s = 0; s < SUBJECTS; s++) {
		truth.units[s] += units_in(to, s) - units_in(from, s);
		truth.rested[s] += units_in(to, s) < units_in(from, s) &&
				   truth.units[s] == 0;
	}
	holds_its_own(i);
}

static void wrote(const volatile void *at, uint64_t from, uint64_t to)
{
	const volatile word_t *w = at;

	if (w >= names && w < names + OPEN)
		renamed((unsigned)(w - names), from, to);
	else if (w >= states && w < states + OPEN)
		charged((unsigned)(w - states), from, to);
}

static void is_settled(void)
{
	unsigned i;

	must((peek(&table.buckets->gate) & 1) == 0);
	for (i = 0; i < OPEN; i++)
		holds_its_own(i);
}

static void ended(unsigned life)
{
	(void)life;
	is_settled();
}

/* ---- Threads ---- */

/* As in claim_interleave.c: nothing of one act is on the stack in the next. */
#define OWN_FRAME __attribute__((noinline))

static void enter_or_leave(unsigned me)
{
	atomic_fetch_add_explicit(&sections, UINT64_C(1) << 8 * me,
				  memory_order_relaxed);
}

static bool at_rest(const void *state, void *arg)
{
	(void)arg;
	return claim_load((const word_t *)state) == 0;
}

static OWN_FRAME void take(struct claim *c, unsigned me, unsigned s, bool rests)
{
	uint32_t entry;

	enter_or_leave(me);
	entry = subjects_take(&table, c, hash_of(s));
	if (entry == SUBJECTS_FULL) {
		unsigned i;

		/* In this very step: there is no room, nor is it there. */
		reached.full++;
		for (i = 0; i < OPEN; i++)
			must(NAME_TAKEN(peek(&names[i])));
		must(entries_of(s) == 0);
		enter_or_leave(me);
		return;
	}
	must(entry - OPEN_FIRST < OPEN);
	must(is_of(peek(&names[entry - OPEN_FIRST]), s));
	atomic_fetch_add_explicit(&states[entry - OPEN_FIRST], charge_of(s),
				  memory_order_release);
	enter_or_leave(me);
	if (rests)
		atomic_fetch_sub_explicit(&states[entry - OPEN_FIRST],
					  charge_of(s), memory_order_release);
}

static OWN_FRAME void find(unsigned me, unsigned s)
{
	uint64_t rested, units, state = 0;
	uint32_t entry;

	enter_or_leave(me);
	rested = truth.rested[s];
	units = truth.units[s];
	entry = subjects_find(&table, hash_of(s));
	if (entry != SUBJECTS_FULL)
		state = claim_load(
			(const word_t *)subjects_state(&table, entry));
	if (entry != SUBJECTS_FULL && subjects_is(&table, entry, hash_of(s))) {
		must((state & ~(charge_of(s) * 0xff)) == 0);
		if (rested == truth.rested[s])
			must(units_in(state, s) >= units);
	} else {
		/* It was at rest at some moment since it entered. */
		reached.gone++;
		must(units == 0 || rested != truth.rested[s]);
	}
	enter_or_leave(me);
}

/* False: a section that was open is open still. Who would wait until it has
 * ended would do nothing else meanwhile: that is another interleaving. */
static bool grace(void)
{
	uint64_t then = atomic_load_explicit(&sections, memory_order_relaxed);
	uint64_t now = atomic_load_explicit(&sections, memory_order_relaxed);
	unsigned i;

	for (i = 0; i < THREADS_MAX; i++) {
		uint8_t was = (uint8_t)(then >> 8 * i);

		if ((was & 1) != 0 && (uint8_t)(now >> 8 * i) == was)
			return false;
	}
	return true;
}

static OWN_FRAME bool sweep(struct claim *c)
{
	uint32_t cursor = OPEN_FIRST;

	subjects_retire(&table, c, &cursor, SUBJECTS_BUCKET, at_rest, NULL);
	if (!grace())
		return false;
	subjects_free(&table, c, at_rest, NULL);
	return true;
}

static void thread(unsigned idx, unsigned life)
{
	const char *act = shape->threads[idx];
	struct claim c;

	(void)life;
	memset(&c, 0, sizeof(c));
	claim_init(&c, &arena, *act == '~' ? OWNER_CONTROL : idx, NULL);
	for (; *act != '\0'; act++) {
		if (*act == '~') {
			if (!sweep(&c))
				break;
		} else if (*act >= 'a') {
			take(&c, idx, (unsigned)(*act - 'a'), true);
		} else if (*act >= 'A') {
			take(&c, idx, (unsigned)(*act - 'A'), false);
		} else {
			find(idx, (unsigned)(*act - '1'));
		}
	}
}

static void recover(void)
{
	claim_recover(&arena);
	atomic_store_explicit(&sections, 0, memory_order_relaxed);
}

/* ---- Before ---- */

static bool is_open(const void *state, void *arg)
{
	(void)arg;
	return (const word_t *)state >= states + OPEN - shape->open &&
	       (const word_t *)state < states + OPEN;
}

/* Gives all entries but the open ones away for good. */
static void fill(void)
{
	uint32_t i, cursor = 0, entry;
	uint32_t count = shape->fresh ? OPEN_FIRST + OPEN - shape->open
				      : SUBJECTS_BUCKET;
	struct claim c;
	bool is_new;

	for (i = 0; i < count; i++) {
		entry = subjects_restore(&table, 0, hash_of(SUBJECTS + i),
					 &is_new);
		must(entry == i && is_new);
		*(word_t *)subjects_state(&table, entry) = FOR_GOOD;
	}
	if (shape->fresh)
		return;
	/* What was used once, and is free. */
	for (i = OPEN - shape->open; i < OPEN; i++)
		states[i] = 0;
	memset(&c, 0, sizeof(c));
	claim_init(&c, &arena, OWNER_CONTROL, NULL);
	must(subjects_retire(&table, &c, &cursor, SUBJECTS_BUCKET, is_open,
			     NULL) == shape->open);
	must(subjects_free(&table, &c, is_open, NULL) == shape->open);
}

static void setup(void)
{
	const char *s;
	bool is_new;

	memset(&memory, 0, sizeof(memory));
	subjects_format(&arena, RING_WORD(0, BLOCK_LOG2, 1), 1, sizeof(word_t));
	must(subjects_open(&table, &arena, RING_WORD(0, BLOCK_LOG2, 1)));
	fill();
	for (s = shape->before; *s != '\0'; s++) {
		unsigned subject = (unsigned)((*s | 0x20) - 'a');
		uint32_t entry =
			subjects_restore(&table, 0, hash_of(subject), &is_new);

		must(entry - OPEN_FIRST < OPEN && is_new);
		if (*s >= 'a')
			continue;
		states[entry - OPEN_FIRST] = charge_of(subject);
		truth.units[subject] = 1;
	}
}

static void explore(const struct shape *which)
{
	struct interleave scenario = {
		.name = which->name,
		.deaths = which->deaths,
		.setup = setup,
		.thread = thread,
		.recover = recover,
		.recovered = is_settled,
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
	must(subjects_bytes(1, sizeof(word_t)) <= sizeof(memory.block));
	subjects_format(&arena, RING_WORD(0, BLOCK_LOG2, 1), 1, sizeof(word_t));
	must(subjects_open(&table, &arena, RING_WORD(0, BLOCK_LOG2, 1)));
	must(table.count == 1);
	names = &table.buckets->names[OPEN_FIRST];
	states = subjects_state(&table, OPEN_FIRST);

	for (i = 0; i < sizeof(owners) / sizeof(owners[0]); i++)
		interleave_watch("descriptor", &memory.descriptors[owners[i]],
				 used);
	interleave_watch("gate", &table.buckets->gate, sizeof(word_t));
	interleave_watch("names", names, OPEN * sizeof(word_t));
	interleave_watch("states", states, OPEN * sizeof(word_t));
	interleave_watch("sections", &sections, sizeof(sections));
	interleave_watch("truth", &truth, sizeof(truth));
	for (i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++)
		explore(&shapes[i]);
	if (argc == 1)
		must(reached.full > 0 && reached.marked > 0 &&
		     reached.revived > 0 && reached.freed > 0 &&
		     reached.reused > 0 && reached.gone > 0);
	return interleave_end();
}
