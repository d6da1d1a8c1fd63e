/* SPDX-License-Identifier: MIT */

/*
 * The proof of gate/step.c, and of the straight lines gate/own.c (which it goes
 * through where it may) and gate/plain.c beside it, by all interleavings: a few
 * checks of one organization, against its rules, a budget and a pool of
 * credits, with a request id that several have, and death at any point.
 *
 * What was decided is asked with a peek of the very same code, in a state in
 * which nobody is about to write: everything that counts has to say the same.
 * When all have ended, there has to be an order, one check after the other, in
 * which each verdict is the one that was given.
 */
#include "step_scene.h"

#define BATCHES_MAX 2u

/* What was said. */
struct said {
	uint64_t reason, remaining, budget, credits;
	uint64_t repeated, hold;
};

static struct {
	uint64_t units; /* allowed so far */
	uint64_t base;  /* units when this life began ... */
	bool base_once; /* ... and was the request id known? */
	struct said said[THREADS_MAX][BATCHES_MAX][ASKS_MAX];
} truth;

enum { W = RULE_WINDOW, G = RULE_GCRA };
static const struct shape shapes[] = {
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
	{"an id", {W}, {3}, 0, 0, {"i", "i"}, 0, false},
	{"an id on the long way", {W}, {3}, 0, 0, {"ip", "ip"}, 0, false},
	{"an id on both ways", {W, G}, {3, 3}, 0, 3, {"i", "ip"}, 0, false},
	{"an id and others", {W}, {3}, 3, 2, {"i", "2,i"}, 0, false},
	{"an id in a batch", {G}, {3}, 0, 0, {"ii", "2i"}, 0, false},
	{"an id, then full", {W}, {1}, 0, 0, {"i,i", "i"}, 0, false},
	{"an id of three", {G}, {3}, 0, 0, {"i", "i", "i"}, 0, true},
	{"a reservation", {G}, {3}, 2, 3, {"r", "r"}, 0, false},
	{"death with an id", {W}, {3}, 0, 0, {"i", "i"}, 1, false},
	{"death on both ways", {G}, {3}, 0, 0, {"i", "ip"}, 1, false},
	{"death with a reservation", {G}, {3}, 0, 0, {"r", "r"}, 1, false},
};

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

static bool once_known(void)
{
	return memory.once[0] != ONCE_BEFORE;
}

/* A hold is live if the request id says so, and then it is the one that it
 * names. */
static uint64_t hold_live(void)
{
	uint64_t id, live = 0;
	unsigned i;

	for (i = 0; i < LIVES_MAX * THREADS_MAX; i++) {
		if ((memory.holds[0][i].state & 1) == 0)
			continue;
		must(live == 0);
		live = i + 1;
	}
	id = once_known() && ONCE_HELD(memory.once[0]) ? memory.once[1] : 0;
	must(live == id);
	return live;
}

static bool has_id(void)
{
	unsigned i;

	for (i = 0; i < THREADS_MAX; i++)
		if (shape->threads[i] != NULL &&
		    strpbrk(shape->threads[i], "ir") != NULL)
			return true;
	return false;
}

static void is_settled(void)
{
	must(units() == truth.units);
	if (!has_id())
		return;
	must(once_known() == (truth.units % 2 == 1));
	hold_live();
}

static void always(void)
{
	if (open_gate())
		is_settled();
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
	is_settled();
	truth.base = truth.units;
	truth.base_once = once_known();
	memset(truth.said, 0, sizeof(truth.said));
}

/* ---- One check after the other ---- */

static uint64_t serial_reason(uint64_t used)
{
	unsigned i;

	for (i = 0; i < plan()->rules_count; i++)
		if (used > shape->limits[i])
			return REASON_RATE_LIMITED;
	if (shape->budget != 0 && used > shape->budget)
		return REASON_BUDGET;
	if (shape->credits != 0 && used > shape->credits)
		return REASON_CREDITS;
	return REASON_ALLOW;
}

/* A batch from *s on, behind which *s is then. */
static void serial_batch(const char **s, const struct said *said,
			 uint64_t *used, bool *once, bool *ret_same)
{
	*s += is_plain(*s);
	for (; **s != '\0' && **s != ','; (*s)++, said++) {
		uint64_t cost = **s >= 'a' ? 1 : (uint64_t)(**s - '0');
		bool with_id = **s == 'i' || **s == 'r';
		bool repeated = with_id && *once;
		uint64_t least = UINT64_MAX, reason = REASON_ALLOW;
		unsigned i;

		if (!repeated)
			reason = serial_reason(*used + cost);
		if (reason == REASON_ALLOW && **s != 'p' && !repeated)
			*used += cost;
		if (reason == REASON_ALLOW && with_id)
			*once = true;
		if (said->repeated != repeated ||
		    said->hold != (**s == 'r' && reason == REASON_ALLOW
					   ? hold_live()
					   : 0))
			*ret_same = false;
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
		   const unsigned batches[THREADS_MAX], uint64_t used,
		   bool once)
{
	bool more = false;
	unsigned i;

	for (i = 0; i < THREADS_MAX; i++) {
		const char *rest[THREADS_MAX];
		unsigned then[THREADS_MAX];
		uint64_t after = used;
		bool same = true, then_once = once;

		if (left[i] == NULL || *left[i] == '\0')
			continue;
		more = true;
		memcpy(rest, left, sizeof(rest));
		memcpy(then, batches, sizeof(then));
		serial_batch(&rest[i], truth.said[i][then[i]++], &after,
			     &then_once, &same);
		if (same && serial(rest, then, after, then_once))
			return true;
	}
	return !more && used == truth.units;
}

static void ended(unsigned life)
{
	const unsigned first[THREADS_MAX] = {0};

	(void)life;
	must(open_gate());
	is_settled();
	must(serial(shape->threads, first, truth.base, truth.base_once));
}

/* ---- Threads ---- */

static __attribute__((noinline)) const char *
batch(struct claim *c, unsigned idx, unsigned life, unsigned n, const char *s)
{
	struct instant now = time_of(idx);
	struct place_of *p = &places[idx];
	unsigned i, count = 0;
	bool plain = is_plain(s);

	for (s += plain; *s != '\0' && *s != ','; s++)
		ask_as(p, count++, *s, idx, life);
	if (plain)
		run_plain(p, c, &now);
	else
		run(p, c, &now);
	for (i = 0; i < count; i++)
		truth.said[idx][n][i] =
			(struct said){p->verdicts[i].reason,
				      p->verdicts[i].remaining,
				      p->verdicts[i].budget,
				      p->verdicts[i].credits,
				      p->verdicts[i].flags & VERDICT_REPEATED,
				      p->verdicts[i].hold};
	/* Or what is left over would be a state of its own. */
	memset(p, 0, sizeof(*p));
	return *s == ',' ? s + 1 : s;
}

static void thread(unsigned idx, unsigned life)
{
	const char *s = shape->threads[idx];
	struct claim c;
	unsigned n;

	memset(&c, 0, sizeof(c));
	claim_init(&c, &arena, idx, NULL);
	for (n = 0; *s != '\0'; n++)
		s = batch(&c, idx, life, n, s);
}

static void recover(void)
{
	claim_recover(&arena);
	memset(places, 0, sizeof(places));
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
	unsigned i;

	interleave_begin(argc, argv);
	watch_scene();
	interleave_watch("truth", &truth, sizeof(truth));
	for (i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++)
		explore(&shapes[i]);
	return interleave_end();
}
