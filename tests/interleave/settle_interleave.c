/* SPDX-License-Identifier: MIT */

/*
 * The proof of gate/settle.c by all interleavings: a hold that is settled,
 * given back and expires at the same time, beside checks of its organization
 * and one that takes the same hold anew; and death at any point.
 *
 * All goes through gate_decide() and gate_expire(). Credits, budget, the key's
 * use and its cell have to say the same units in every state in which nobody
 * is about to write; and there has to be an order, one after the other, in
 * which each verdict is the one that was given. The hold's lease at an address
 * is out as long as it is live, and given back once.
 */
#include "settle_scene.h"

/* What was said. */
struct said {
	uint64_t reason, charged, credits, budget;
};

static struct {
	struct books now;  /* after the last decision */
	struct books base; /* when this life began */
	uint64_t won;      /* the first hold was ended, as one was told */
	struct said said[THREADS_MAX][ACTS_MAX];
} truth;

enum { W = RULE_WINDOW, G = RULE_GCRA };
static const struct shape shapes[] = {
	{"two settle", W, 9, 9, 9, 9, false, {"1", "2"}, 0, false},
	{"two give it back", G, 9, 0, 9, 9, false, {"0", "0"}, 0, false},
	{"settled and given back", W, 9, 9, 9, 9, false, {"=", "0"}, 0, false},
	{"more, and given back", G, 9, 0, 9, 9, false, {"4", "0"}, 0, false},
	{"more than the budget", G, 9, 0, 3, 9, false, {"4", "1"}, 0, false},
	{"more than the credits", G, 9, 0, 9, 3, false, {"4", "c"}, 0, false},
	{"expires", W, 9, 9, 9, 9, false, {"1", "x"}, 0, false},
	{"expires, and given back", G, 9, 1, 0, 9, false, {"0", "x"}, 0, false},
	{"expires, and is kept", G, 9, 1, 0, 9, true, {"1", "x"}, 0, false},
	{"room for one more", G, 9, 0, 2, 9, false, {"1", "c"}, 0, false},
	{"room in credits", G, 9, 0, 0, 2, false, {"0", "c"}, 0, false},
	{"room in flight", W, 9, 1, 0, 0, false, {"0", "c"}, 0, false},
	{"room when it expires", G, 9, 1, 3, 3, false, {"x", "c"}, 0, false},
	{"no room", G, 2, 0, 9, 9, false, {"0", "c"}, 0, false},
	{"anew", G, 9, 0, 0, 0, false, {"0n", "1"}, 0, false},
	{"anew, in flight", G, 9, 1, 0, 0, false, {"0n", "1"}, 0, false},
	{"anew at once", G, 9, 0, 0, 9, false, {"n", "1"}, 0, false},
	{"anew, expires", G, 9, 0, 0, 0, false, {"0n", "x"}, 0, false},
	{"three", G, 9, 0, 0, 0, false, {"0", "1", "x"}, 0, true},
	{"death of two", G, 9, 0, 0, 9, false, {"0", "1"}, 1, false},
	{"death of a budget", G, 9, 0, 3, 0, false, {"4", "0"}, 1, false},
	{"death as it expires", G, 9, 1, 0, 0, false, {"1", "x"}, 1, false},
	{"death with a check", G, 9, 0, 0, 2, false, {"0", "c"}, 1, false},
	{"death, anew", G, 9, 0, 0, 0, false, {"0n", "1"}, 1, true},
	{"two deaths", G, 9, 0, 0, 0, false, {"0", "1"}, 2, false},
};

/* ---- Must hold ---- */

static bool open_gate(void)
{
	return (memory.orgs[1].gate & 1) == 0;
}

static uint64_t first_live(void)
{
	return hold_at(&arena, 0)->state == HOLD_STATE(0, 1);
}

static void is_settled(void)
{
	struct books b;

	must(open_gate());
	read_books(&b);
	must(memcmp(&b, &truth.now, sizeof(b)) == 0);
}

static void always(void)
{
	must(truth.won <= 1);
	must(memory.client >= first_live());
	if (open_gate())
		is_settled();
}

static void wrote(const volatile void *at, uint64_t from, uint64_t to)
{
	if (at != &memory.orgs[1].gate)
		return;
	must((from & 1) != (to & 1));
	if ((to & 1) == 0)
		read_books(&truth.now);
}

static void recovered(void)
{
	is_settled();
	/* What somebody was told is so. */
	must(truth.won == 0 || truth.now.first != LIVE);
	truth.base = truth.now;
	memset(truth.said, 0, sizeof(truth.said));
}

/* ---- One after the other ---- */

static uint64_t left_of(uint64_t cap, uint64_t units)
{
	return cap == 0 ? CREDITS_NONE : cap - units;
}

static void serial_end(struct books *b, uint64_t *hold, uint64_t units)
{
	*hold = GONE;
	b->leases -= shape->flight != 0;
	b->units += units - RESERVED;
}

static void serial_settle(struct books *b, uint64_t cost, struct said *s)
{
	uint64_t credits = left_of(shape->credits, b->units);
	uint64_t budget = left_of(shape->budget, b->units);

	if (b->first != LIVE) {
		s->reason = REASON_NO_HOLD;
		return;
	}
	if (cost > RESERVED && cost - RESERVED > budget) {
		cost = RESERVED + budget;
		s->reason = REASON_BUDGET;
	}
	if (cost > RESERVED && cost - RESERVED > credits) {
		cost = RESERVED + credits;
		s->reason = REASON_CREDITS;
	}
	s->charged = cost;
	serial_end(b, &b->first, cost);
}

static void serial_check(struct books *b, uint64_t cost, struct said *s)
{
	if (b->counted + cost > shape->limit)
		s->reason = REASON_RATE_LIMITED;
	else if (shape->flight != 0 && b->leases + 1 > shape->flight)
		s->reason = REASON_CONCURRENCY;
	else if (cost > left_of(shape->budget, b->units))
		s->reason = REASON_BUDGET;
	else if (cost > left_of(shape->credits, b->units))
		s->reason = REASON_CREDITS;
	if (s->reason != REASON_ALLOW)
		return;
	s->charged = cost;
	b->counted += cost;
	b->units += cost;
	b->leases += shape->flight != 0;
}

static void serial_expire(struct books *b, struct said *s)
{
	uint64_t units = shape->keep ? RESERVED : 0;

	if (b->first == LIVE)
		serial_end(b, &b->first, units);
	else if (b->second == LIVE)
		serial_end(b, &b->second, units);
	else
		return;
	s->charged = 1; /* how many */
}

/* Takes the first hold's place. */
static void serial_anew(struct books *b, struct said *s)
{
	struct books after = *b;

	serial_check(&after, RESERVED, s);
	if (s->reason != REASON_ALLOW)
		return;
	if (b->first == LIVE || b->second == LIVE) {
		*s = (struct said){.reason = REASON_FULL};
		return;
	}
	*b = after;
	b->second = LIVE;
}

static bool serial_act(char act, const struct said *said, struct books *b)
{
	struct said s = {0};

	if (act == 'x') {
		serial_expire(b, &s);
		return said->charged == s.charged;
	}
	if (act == 'c')
		serial_check(b, 1, &s);
	else if (act == 'n')
		serial_anew(b, &s);
	else
		serial_settle(b, cost_of(act), &s);
	if (said->reason != s.reason || said->charged != s.charged)
		return false;
	/* Who was denied is told what there was. */
	return (is_settling(act) ? s.reason == REASON_NO_HOLD
				 : s.reason != REASON_ALLOW) ||
	       (said->credits == left_of(shape->credits, b->units) &&
		said->budget == left_of(shape->budget, b->units));
}

/* Is there an order of what is left of each thread's acts? */
static bool serial(const unsigned done[THREADS_MAX], const struct books *so_far)
{
	bool more = false;
	unsigned i;

	for (i = 0; i < THREADS_MAX; i++) {
		unsigned then[THREADS_MAX];
		struct books after = *so_far;

		if (shape->threads[i] == NULL ||
		    shape->threads[i][done[i]] == '\0')
			continue;
		more = true;
		memcpy(then, done, sizeof(then));
		then[i]++;
		if (serial_act(shape->threads[i][done[i]],
			       &truth.said[i][done[i]], &after) &&
		    serial(then, &after))
			return true;
	}
	return !more && memcmp(so_far, &truth.now, sizeof(*so_far)) == 0;
}

static void ended(unsigned life)
{
	static const unsigned none[THREADS_MAX];

	(void)life;
	is_settled();
	must(memory.client == first_live());
	must(serial(none, &truth.base));
}

/* ---- Threads ---- */

/* As in claim_interleave.c: nothing of one act is on the stack in the next. */
#define OWN_FRAME __attribute__((noinline))

static OWN_FRAME void do_act(struct gate *g, unsigned idx, unsigned n)
{
	char act = shape->threads[idx][n];
	struct said *s = &truth.said[idx][n];
	struct verdict v;

	if (act == 'x') {
		s->charged = expire(g);
		clear(g);
		truth.won += s->charged != 0 && truth.now.second == NEVER;
		return;
	}
	ask(g, act, idx, &v);
	clear(g);
	*s = (struct said){v.reason, v.charged, v.credits, v.budget};
	truth.won += is_settling(act) && v.reason != REASON_NO_HOLD;
}

static void thread(unsigned idx, unsigned life)
{
	unsigned n;

	(void)life;
	claim_init(&gates[idx].claim, &arena, idx, gates[idx].counters);
	for (n = 0; shape->threads[idx][n] != '\0'; n++)
		do_act(&gates[idx], idx, n);
}

static void recover(void)
{
	unsigned i;

	claim_recover(&arena);
	/* As state/registry_leases.c does. */
	memory.client = first_live();
	for (i = 0; i < THREADS_MAX; i++)
		clear(&gates[i]);
}

static void setup(void)
{
	set_up();
	read_books(&truth.now);
	truth.base = truth.now;
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
	must(keytable_init(&table, 1, NULL) == 0);
	must(keytable_insert(&table, key_hash, 1) == 0);
	watch_scene();
	interleave_watch("truth", &truth, sizeof(truth));
	for (i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++)
		explore(&shapes[i]);
	return interleave_end();
}
