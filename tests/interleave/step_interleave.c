/* SPDX-License-Identifier: MIT */

/*
 * The proof of gate/step.c, and of the straight lines gate/own.c (which it goes
 * through where it may) and gate/plain.c beside it, by all interleavings: a few
 * checks of one organization, against its rules, a budget and a pool of
 * credits, and death at any point.
 *
 * What was decided is asked with a peek of the very same code, in a state in
 * which nobody is about to write: everything that counts has to say the same.
 * When all have ended, there has to be an order, one check after the other, in
 * which each verdict is the one that was given.
 */
#include "gate/step.h"

#include "gate/plain.h"
#include "interleave.h"

#include <string.h>

#define THREADS_MAX 3u
#define BATCHES_MAX 2u
#define ASKS_MAX 2u /* of a batch */
#define RULES_MAX 2u
#define WORDS_MAX 8u   /* of a claim */
#define WINDOW_LOG2 2u /* entries of a window: more than any limit here */

/* Places in the ring region, in lines. */
enum place {
	PLACE_NONE,
	PLACE_RING,
	PLACE_MORE,
	PLACE_CREDITS = PLACE_MORE + 1,
	PLACE_PLAN = PLACE_CREDITS + 2,
	PLACE_END = PLACE_PLAN + 1 + 2 * RULES_MAX
};

static struct {
	struct descriptor descriptors[ARENA_OWNERS];
	struct arena_header header;
	struct org org;
	struct key key;
	struct project project;
	struct {
		uint8_t lines[PLACE_END][LINE_BYTES];
	} rings LINE_ALIGNED;
} memory;

static struct arena arena = {
	.base = (uint8_t *)&memory,
	.header = &memory.header,
	.descriptors = memory.descriptors,
	.orgs = &memory.org,
	.projects = &memory.project,
	.keys = &memory.key,
	.rings = (uint8_t *)&memory.rings,
};

/* What a thread works with. */
static struct place_of {
	struct step step;
	struct check checks[ASKS_MAX];
	struct verdict verdicts[ASKS_MAX];
} places[THREADS_MAX], observer;

/* What was said. */
struct said {
	uint64_t reason, remaining, budget, credits;
};

static struct {
	uint64_t units; /* allowed so far */
	uint64_t base;  /* units when this life began */
	struct said said[THREADS_MAX][BATCHES_MAX][ASKS_MAX];
} truth;

/*
 * A thread's checks: a digit is one of that cost, p a peek at a cost of 1; what
 * follows without a comma is in the same batch. Behind a = in the straight line
 * for plain plans, to which budgets and credits are unknown.
 */
enum { W = RULE_WINDOW, G = RULE_GCRA };
static const struct shape {
	const char *name;
	uint8_t rules[RULES_MAX]; /* enum rule_algorithm; 0: none */
	uint32_t limits[RULES_MAX];
	uint32_t budget, credits; /* 0: none */
	const char *threads[THREADS_MAX];
	unsigned deaths;
	bool soak; /* takes minutes */
} shapes[] = {
	{"rule", {W}, {1}, 2, 2, {"1", "1"}, 0, false},
	{"budget", {W}, {2}, 1, 2, {"1", "1"}, 0, false},
	{"credits", {W}, {2}, 2, 1, {"1", "1"}, 0, false},
	{"room for both", {W}, {3}, 3, 3, {"1", "2"}, 0, false},
	{"room for one", {W}, {3}, 2, 3, {"1", "2"}, 0, false},
	{"rules", {W, G}, {2, 1}, 0, 0, {"1", "1"}, 0, false},
	{"rules with room", {W, G}, {3, 3}, 0, 0, {"1", "2"}, 0, false},
	{"rules, twice", {G, W}, {3, 2}, 0, 0, {"1,1", "1"}, 0, false},
	{"all", {W, G}, {2, 3}, 2, 1, {"1", "1"}, 0, false},
	{"plain", {W}, {1}, 0, 0, {"=1", "=1"}, 0, false},
	{"plain with room", {W}, {3}, 0, 0, {"=1", "=2"}, 0, false},
	{"plain and not", {W}, {2}, 0, 0, {"=11", "1"}, 0, false},
	{"death of plain", {W}, {2}, 0, 0, {"=1", "=11"}, 1, false},
	{"plain rules", {W, G}, {2, 1}, 0, 0, {"=1", "=1"}, 0, false},
	{"plain rules with room",
	 {G, W},
	 {3, 3},
	 0,
	 0,
	 {"=11", "=1"},
	 0,
	 false},
	{"plain rules and not", {G, W}, {3, 2}, 0, 0, {"=1", "1"}, 0, false},
	{"death of plain rules", {W, G}, {3, 2}, 0, 0, {"=1", "=11"}, 1, false},
	{"a batch", {W}, {2}, 3, 3, {"11", "1"}, 0, false},
	/* Not in a straight line: what is more than one check. */
	{"long way", {W}, {1}, 2, 2, {"1p", "1p"}, 0, false},
	{"long way, credits", {W, G}, {3, 3}, 2, 1, {"1p", "1p"}, 0, false},
	{"death on the long way", {W}, {2}, 2, 1, {"1p", "1"}, 1, false},
	{"a peek", {G}, {1}, 2, 2, {"1", "p,p"}, 0, false},
	{"twice", {W}, {3}, 2, 3, {"1,1", "1"}, 0, true},
	{"death", {W}, {2}, 2, 1, {"1", "1"}, 1, false},
	{"death of one", {W, G}, {2, 2}, 2, 3, {"1,1"}, 1, false},
	{"death with rules", {W, G}, {3, 1}, 0, 0, {"1", "1"}, 1, false},
	{"three", {G}, {2}, 0, 0, {"1", "1", "1"}, 0, true},
	{"death with a batch", {W}, {2}, 3, 3, {"11", "1"}, 1, true},
	{"two deaths", {W}, {2}, 2, 1, {"1", "1"}, 2, true},
};
static const struct shape *shape;

/* ---- To ask ---- */

/* Threads read the clock in another order than they decide in. */
static struct instant time_of(unsigned idx)
{
	return instant_at(INSTANT_BIAS_NS +
			  (THREADS_MAX - idx) * UINT64_C(9000));
}

#define WALL_MS UINT64_C(1700000000000)

static struct plan *plan(void)
{
	return block_at(&arena, RING_WORD(PLACE_PLAN, 0, 1));
}

static void ask(struct place_of *p, unsigned i, uint32_t cost, bool peek)
{
	struct ask *a = &p->step.asks[i];

	a->check = &p->checks[i];
	a->verdict = &p->verdicts[i];
	a->key = &memory.key;
	a->project = &memory.project;
	a->cost = cost;
	a->peek = peek;
	a->outside_rule = -1;
	p->step.count = i + 1;
}

static bool is_plain(const char *s)
{
	return *s == '=';
}

static void run(struct place_of *p, struct claim *c, const struct instant *now)
{
	p->step.arena = &arena;
	p->step.claim = c;
	p->step.org = &memory.org;
	p->step.plan = plan();
	step_run(&p->step, now, WALL_MS);
}

static void run_plain(struct place_of *p, struct claim *c,
		      const struct instant *now)
{
	struct plain_ask asks[ASKS_MAX];
	unsigned i;

	for (i = 0; i < p->step.count; i++)
		asks[i] = (struct plain_ask){.key = p->step.asks[i].key,
					     .verdict = &p->verdicts[i],
					     .cost = p->step.asks[i].cost};
	p->step.arena = &arena;
	p->step.claim = c;
	p->step.org = &memory.org;
	p->step.plan = plan();
	if (plain_run(&p->step, asks, p->step.count, now) == PLAIN_NOT)
		run(p, c, now);
}

/* ---- Must hold ---- */

/* How much of a limit is used; one that is not there says `otherwise`. */
static uint64_t used_of(uint64_t limit, uint64_t left, uint64_t otherwise)
{
	if (limit == 0)
		return otherwise;
	must(left <= limit);
	return limit - left;
}

/* Units that were allowed; all that counts them says the same. */
static uint64_t units(void)
{
	static const struct instant late = {
		INSTANT_BIAS_NS + UINT64_C(100000),
		(INSTANT_BIAS_NS + UINT64_C(100000)) / CLOCK_TICK_NS};
	uint64_t used = memory.key.used;
	_Alignas(LINE_BYTES)
		uint8_t bytes[sizeof(struct plan) + sizeof(struct rule)];
	struct plan *one = (void *)bytes;
	struct claim none;
	unsigned i;

	/* Whose descriptor nobody else looks at: nothing is claimed. */
	claim_init(&none, &arena, OWNER_CONTROL, NULL);
	for (i = 0; i < plan()->rules_count; i++) {
		memset(bytes, 0, sizeof(bytes));
		one->rules_count = 1;
		one->rules[0] = plan()->rules[i];
		memset(&observer, 0, offsetof(struct step, asks[1]));
		/* At no cost, which nothing denies. */
		ask(&observer, 0, 0, true);
		observer.step.arena = &arena;
		observer.step.claim = &none;
		observer.step.org = &memory.org;
		observer.step.plan = one;
		step_run(&observer.step, &late, WALL_MS);
		must(used_of(shape->limits[i], observer.verdicts[0].remaining,
			     0) == USED_UNITS(used));
	}
	must(used_of(shape->budget, observer.verdicts[0].budget,
		     USED_UNITS(used)) == USED_UNITS(used));
	must(used_of(shape->credits, observer.verdicts[0].credits,
		     USED_UNITS(used)) == USED_UNITS(used));
	return USED_UNITS(used);
}

static bool open_gate(void)
{
	return (memory.org.gate & 1) == 0;
}

static void always(void)
{
	if (open_gate())
		must(units() == truth.units);
}

static void wrote(const volatile void *at, uint64_t from, uint64_t to)
{
	if (at != &memory.org.gate)
		return;
	must((from & 1) != (to & 1));
	if ((to & 1) != 0)
		return;
	/* A claim takes something. */
	must(units() > truth.units);
	truth.units = units();
}

static void recovered(void)
{
	must(open_gate());
	/* Recovery completes: wrote() has seen it. */
	must(units() == truth.units);
	truth.base = truth.units;
	memset(truth.said, 0, sizeof(truth.said));
}

/* ---- One check after the other ---- */

/* A batch from *s on, behind which *s is then. */
static void serial_batch(const char **s, const struct said *said,
			 uint64_t *used, bool *ret_same)
{
	*s += is_plain(*s);
	for (; **s != '\0' && **s != ','; (*s)++, said++) {
		uint64_t cost = **s == 'p' ? 1 : (uint64_t)(**s - '0');
		uint64_t least = UINT64_MAX, reason = REASON_ALLOW;
		unsigned i;

		for (i = 0; i < plan()->rules_count; i++)
			if (*used + cost > shape->limits[i])
				reason = REASON_RATE_LIMITED;
		if (reason == REASON_ALLOW && shape->budget != 0 &&
		    *used + cost > shape->budget)
			reason = REASON_BUDGET;
		if (reason == REASON_ALLOW && shape->credits != 0 &&
		    *used + cost > shape->credits)
			reason = REASON_CREDITS;
		if (reason == REASON_ALLOW && **s != 'p')
			*used += cost;
		for (i = 0; i < plan()->rules_count; i++)
			if (shape->limits[i] - *used < least)
				least = shape->limits[i] - *used;
		if (said->reason != reason)
			*ret_same = false;
		/* Of several rules that deny, the one that is named need not be
		 * that with the least room. */
		if (reason == REASON_ALLOW && said->remaining != least)
			*ret_same = false;
		if (reason == REASON_ALLOW && shape->budget != 0 &&
		    said->budget != shape->budget - *used)
			*ret_same = false;
		if (reason == REASON_ALLOW && shape->credits != 0 &&
		    said->credits != shape->credits - *used)
			*ret_same = false;
	}
	*s += **s == ',';
}

/* Is there an order of what is left of each thread's checks? */
static bool serial(const char *const left[THREADS_MAX],
		   const unsigned batches[THREADS_MAX], uint64_t used)
{
	bool more = false;
	unsigned i;

	for (i = 0; i < THREADS_MAX; i++) {
		const char *rest[THREADS_MAX];
		unsigned then[THREADS_MAX];
		uint64_t after = used;
		bool same = true;

		if (left[i] == NULL || *left[i] == '\0')
			continue;
		more = true;
		memcpy(rest, left, sizeof(rest));
		memcpy(then, batches, sizeof(then));
		serial_batch(&rest[i], truth.said[i][then[i]++], &after, &same);
		if (same && serial(rest, then, after))
			return true;
	}
	return !more && used == truth.units;
}

static void ended(unsigned life)
{
	const unsigned first[THREADS_MAX] = {0};

	(void)life;
	must(open_gate());
	must(units() == truth.units);
	must(serial(shape->threads, first, truth.base));
}

/* ---- Threads ---- */

static __attribute__((noinline)) const char *
batch(struct claim *c, unsigned idx, unsigned n, const char *s)
{
	struct instant now = time_of(idx);
	struct place_of *p = &places[idx];
	unsigned i, count = 0;
	bool plain = is_plain(s);

	for (s += plain; *s != '\0' && *s != ','; s++)
		ask(p, count++, *s == 'p' ? 1 : (uint32_t)(*s - '0'),
		    *s == 'p');
	if (plain)
		run_plain(p, c, &now);
	else
		run(p, c, &now);
	for (i = 0; i < count; i++)
		truth.said[idx][n][i] = (struct said){
			p->verdicts[i].reason, p->verdicts[i].remaining,
			p->verdicts[i].budget, p->verdicts[i].credits};
	/* Or what is left over would be a state of its own. */
	memset(p, 0, sizeof(*p));
	return *s == ',' ? s + 1 : s;
}

static void thread(unsigned idx, unsigned life)
{
	const char *s = shape->threads[idx];
	struct claim c;
	unsigned n;

	(void)life;
	memset(&c, 0, sizeof(c));
	claim_init(&c, &arena, idx, NULL);
	for (n = 0; *s != '\0'; n++)
		s = batch(&c, idx, n, s);
}

static void recover(void)
{
	claim_recover(&arena);
	memset(places, 0, sizeof(places));
}

/* ---- Before ---- */

static void set_up_rules(void)
{
	unsigned i;

	for (i = 0; i < RULES_MAX && shape->rules[i] != 0; i++) {
		struct rule *r = &plan()->rules[i];

		r->algorithm = shape->rules[i];
		r->level = LEVEL_ORG;
		r->meter = (uint8_t)i;
		r->limit = shape->limits[i];
		r->span = UINT64_C(60000) * CLOCK_TICKS_PER_MS;
		r->period_ms = 60000;
		r->unit_ns = UINT64_C(60000000000);
		r->name[0] = (char)('a' + i);
		if (r->algorithm == RULE_WINDOW)
			org_meter(&arena, &memory.org, i)->ring =
				RING_WORD(PLACE_RING, WINDOW_LOG2, 1);
	}
	plan()->rules_count = i;
	plan_complete(plan());
}

static void setup(void)
{
	struct credits *credits =
		block_at(&arena, RING_WORD(PLACE_CREDITS, 0, 1));
	unsigned i;

	memset(&memory, 0, sizeof(memory));
	memory.org.more = PLACE_MORE;
	memory.org.plan = RING_WORD(PLACE_PLAN, 0, 1);
	memory.org.state = SLOT_ACTIVE;
	set_up_rules();
	for (i = 0; i < PROJECT_BUDGETS_MAX; i++)
		memory.project.budgets[i].cap = BUDGET_NONE;
	if (shape->budget != 0) {
		memory.project.budgets[0].cap = shape->budget;
		memory.project.budgets[0].period = 7;
		memory.project.budgets[0].ends_ms = 2 * WALL_MS;
		memory.project.budgets[0].next_ends_ms = 3 * WALL_MS;
	}
	if (shape->credits == 0)
		return;
	credits->count = 1;
	credits->pools[0].kind = POOL_PACK;
	credits->pools[0].granted = shape->credits;
	memory.org.credits = RING_WORD(PLACE_CREDITS, 0, 1);
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
	while (scenario.threads < THREADS_MAX &&
	       shape->threads[scenario.threads] != NULL)
		scenario.threads++;
	if (!shape->soak || interleave_soak())
		interleave_all(&scenario);
}

static void watch_place(struct place_of *p)
{
	struct step *s = &p->step;

	interleave_watch("step", s, offsetof(struct step, asks[ASKS_MAX]));
	interleave_watch("attempt", &s->now,
			 offsetof(struct step, views[RULES_MAX]) -
				 offsetof(struct step, now));
	interleave_watch("changes", s->changes,
			 WORDS_MAX * sizeof(s->changes[0]));
	interleave_watch("verdicts", p->verdicts, sizeof(p->verdicts));
}

int main(int argc, char **argv)
{
	struct credits *credits =
		block_at(&arena, RING_WORD(PLACE_CREDITS, 0, 1));
	unsigned i;

	interleave_begin(argc, argv);
	for (i = 0; i < THREADS_MAX; i++) {
		interleave_watch("descriptor", &memory.descriptors[i],
				 offsetof(struct descriptor, words) +
					 WORDS_MAX * sizeof(struct claim_word));
		watch_place(&places[i]);
	}
	interleave_watch("gate and meter", &memory.org.gate,
			 sizeof(word_t) + sizeof(struct meter));
	interleave_watch("meter", block_at(&arena, RING_WORD(PLACE_MORE, 0, 1)),
			 sizeof(struct meter));
	interleave_watch("window",
			 block_at(&arena, RING_WORD(PLACE_RING, 0, 1)),
			 sizeof(word_t) << WINDOW_LOG2);
	interleave_watch("key", &memory.key.used, sizeof(word_t));
	interleave_watch("budget", &memory.project.budgets[0].used,
			 sizeof(word_t));
	interleave_watch("attention", &memory.project.attention,
			 sizeof(half_t));
	interleave_watch("attention", &memory.header.attention, sizeof(half_t));
	interleave_watch("credits", &credits->pools[0].used, sizeof(word_t));
	for (i = 0; i < RULES_MAX; i++)
		interleave_watch("tripped", &plan()->rules[i].tripped,
				 sizeof(word_t));
	interleave_watch("truth", &truth, sizeof(truth));
	for (i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++)
		explore(&shapes[i]);
	return interleave_end();
}
