/* SPDX-License-Identifier: MIT */

/*
 * The proof of gate/window.c by threads. Workers hammer one organization
 * whose rule changes and whose ring is swapped meanwhile, and another thread
 * saves images. The rings are far larger than the limit, so that all that was
 * ever admitted can be read from them afterwards, in order. Then every answer
 * is compared, field by field, with what a serial execution gives: each
 * admission at its own place, each denial at some place between its call and
 * its return. So no window held more than its limit, and nothing was denied
 * that fitted.
 *
 * Time is a counter that the workers themselves move on, and often read late.
 */
#include "../gate/fixture.h"
#include "base/epoch.h"
#include "torture.h"

#define WORKERS 4u
#ifdef STILE_TSAN
#define ROUNDS 12u
#else
#define ROUNDS 80u
#endif
#define OPS 30000u
#define LOG2 16u
#define LOG_MAX ((1u << LOG2) - WORKERS)
#define SWAPS_MAX 64u
#define RULES_MAX 4096u
#define WINDOW_MIN 250u
#define LIMIT_TOP 60u
#define IMAGES_MAX 300u

struct record {
	uint64_t now;
	uint64_t head_before, head_after;
	struct window_answer answer;
	uint32_t cost;
};

struct image {
	struct window_image image;
	uint64_t now;
	uint32_t rule_before, rule_after;
	struct admission in[LIMIT_TOP];
};

static struct fixture fixture;
static struct org *org;
static struct epoch epoch;
static struct epoch_reader readers[WORKERS + 1];
static _Atomic(uint64_t) clock_now;
static _Atomic(uint32_t) working; /* workers that have not ended */

/* The control thread's story. Rule r has the window WINDOW_MIN + r, so that
 * an answer says which one it obeyed. */
static uint32_t limits[RULES_MAX];
static _Atomic(uint32_t) rule_now;
static struct {
	uint64_t ring, border;
} swaps[SWAPS_MAX + 1];
static unsigned swap_count;

static struct record records[WORKERS][OPS];
static uint32_t record_counts[WORKERS];
static struct image images[IMAGES_MAX];
static uint32_t image_count;

static bool all_done(void)
{
	/* PAIRS: nothing. Says when to stop, and guards nothing. */
	return atomic_load_explicit(&working, memory_order_relaxed) == 0;
}

/* The clock as a worker has it: moved on by it, or not read for a while. */
static uint64_t some_time(struct torture_thread *t, uint64_t last)
{
	uint32_t dice = rng_below(&t->rng, 8);

	/* PAIRS: nothing; threads need not agree on the time. */
	if (dice < 3)
		return last;
	if (dice < 5)
		return atomic_load_explicit(&clock_now, memory_order_relaxed);
	return atomic_fetch_add_explicit(&clock_now, dice * 4,
					 memory_order_relaxed);
}

static void work(struct torture_thread *t)
{
	struct key *key = &fixture.arena->keys[1 + t->idx];
	uint32_t cost = t->idx + 1, n = 0;
	uint64_t now = CLOCK_BIAS;
	struct claim claim;

	claim_init(&claim, fixture.arena, t->idx, NULL);
	while (n < OPS) {
		struct record *r = &records[t->idx][n];

		now = some_time(t, now);
		r->now = now;
		r->cost = cost;
		epoch_enter(&readers[t->idx]);
		r->head_before = claim_load(&org->head);
		if (r->head_before >= LOG_MAX) {
			epoch_leave(&readers[t->idx]);
			break;
		}
		window_take(&claim, org, &key->used, cost, now, &r->answer);
		r->head_after = claim_load(&org->head);
		epoch_leave(&readers[t->idx]);
		n++;
	}
	record_counts[t->idx] = n;
	atomic_fetch_sub_explicit(&working, 1, memory_order_relaxed);
}

static void change_rule(struct torture_thread *t, struct claim *c, uint32_t r)
{
	limits[r] = 1 + rng_below(&t->rng, LIMIT_TOP);
	/* PAIRS: save(), acquire: the rule may be in force from here on. */
	atomic_store_explicit(&rule_now, r, memory_order_release);
	window_change_rule(c, org, window_rule(limits[r], WINDOW_MIN + r));
	epoch_wait(&epoch);
}

static void swap_ring(struct claim *c)
{
	uint64_t ring = fixture_ring(&fixture, LOG2);

	window_swap_ring(c, org, ring);
	swap_count++;
	swaps[swap_count].ring = ring;
	swaps[swap_count].border = claim_load(&org->ring_switch);
	epoch_wait(&epoch);
	window_drain_ring(c, org);
	check(window_ring_drained(org));
	epoch_wait(&epoch);
}

static void control(struct torture_thread *t)
{
	struct claim c;
	uint32_t r = 0;

	claim_init(&c, fixture.arena, OWNER_CONTROL, NULL);
	while (!all_done()) {
		if (r + 1 < RULES_MAX)
			change_rule(t, &c, ++r);
		if (rng_below(&t->rng, 8) == 0 && swap_count < SWAPS_MAX)
			swap_ring(&c);
		torture_pause_us(rng_below(&t->rng, 50));
	}
}

static void save(struct torture_thread *t)
{
	static struct admission in[LIMIT_MAX];

	image_count = 0;
	while (!all_done() && image_count < IMAGES_MAX) {
		struct image *i = &images[image_count++];

		/* Ahead of the workers' time, or behind. */
		i->now =
			atomic_load_explicit(&clock_now, memory_order_relaxed) +
			rng_below(&t->rng, 100) - 50;
		/* PAIRS: change_rule(), release. */
		i->rule_before =
			atomic_load_explicit(&rule_now, memory_order_acquire);
		epoch_enter(&readers[WORKERS]);
		window_save(fixture.arena, 1, i->now, &i->image, in, LIMIT_MAX);
		epoch_leave(&readers[WORKERS]);
		i->rule_after =
			atomic_load_explicit(&rule_now, memory_order_acquire);
		check(i->image.count <= LIMIT_TOP);
		memcpy(i->in, in, i->image.count * sizeof(in[0]));
		torture_pause_us(rng_below(&t->rng, 100));
	}
}

/* ---- afterwards: the serial execution ---- */

static struct {
	uint64_t count;
	uint64_t stamp[LOG_MAX + WORKERS];
	uint64_t before[LOG_MAX + WORKERS + 1]; /* units */
	/* the oldest that may count, when so many have been admitted */
	uint64_t tail[LOG_MAX + WORKERS + 1];
	uint32_t rule[LOG_MAX + WORKERS];
} story;

static void read_story(void)
{
	uint64_t i, total = 0;
	unsigned s = 0;

	story.count = fixture_get(&org->head);
	check(story.count <= LOG_MAX + WORKERS);
	for (i = 0; i < story.count; i++) {
		uint64_t e, units;

		while (s < swap_count && swaps[s + 1].border <= i)
			s++;
		e = fixture_get((word_t *)(void *)(fixture.arena->rings +
						   RING_PLACE(swaps[s].ring) *
							   LINE_BYTES) +
				i);
		units = ((e & LIMIT_MASK) - total) & LIMIT_MASK;
		check(i == 0 ? units == 0 : units >= 1 && units <= WORKERS);
		total += units;
		story.before[i] = total;
		story.stamp[i] = e >> LIMIT_BITS;
		check(i == 0 || story.stamp[i] >= story.stamp[i - 1]);
	}
	story.before[i] = fixture_get(&org->used);
	check(i == 0 || story.before[i] - story.before[i - 1] - 1 < WORKERS);
}

/* What a check finds after `h` admissions: the answer if it is not counted. */
static struct window_answer serial(const struct record *r, uint64_t h,
				   uint64_t *ret_first, uint64_t *ret_now)
{
	struct window_answer w = r->answer; /* limit, window */
	uint64_t now = r->now, first = story.tail[h], i;

	if (h > 0 && story.stamp[h - 1] > now)
		now = story.stamp[h - 1];
	while (first < h && story.stamp[first] + w.window < now)
		first++;
	w.in_window = (uint32_t)(story.before[h] - story.before[first]);
	w.allowed = w.in_window + r->cost <= w.limit;
	w.reset = first < h ? story.stamp[h - 1] + w.window + 1 - now : 0;
	w.retry = 0;
	for (i = first; i < h && !w.allowed && r->cost <= w.limit; i++)
		if (story.before[h] - story.before[i + 1] + r->cost <=
		    w.limit) {
			w.retry = story.stamp[i] + w.window + 1 - now;
			break;
		}
	*ret_first = first;
	*ret_now = now;
	return w;
}

static void check_allowed(const struct record *r, uint64_t h)
{
	struct window_answer w, got = r->answer;
	uint64_t first, now;

	check(r->head_before <= h && h < r->head_after);
	w = serial(r, h, &first, &now);
	check(w.allowed);
	check(story.stamp[h] == now);
	check(got.in_window == w.in_window + r->cost);
	check(got.reset == w.window + 1);
	check(got.retry ==
	      (first < h ? story.stamp[first] : now) + w.window + 1 - now);
	story.tail[h + 1] = first;
	story.rule[h] = (uint32_t)(got.window - WINDOW_MIN);
	check(got.limit == limits[story.rule[h]]);
	check(h == 0 || story.rule[h] >= story.rule[h - 1]);
}

static void check_denied(const struct record *r)
{
	uint64_t h, first, now;

	check(r->answer.limit == limits[r->answer.window - WINDOW_MIN]);
	for (h = r->head_before; h <= r->head_after; h++) {
		struct window_answer w = serial(r, h, &first, &now);

		if (!w.allowed && w.in_window == r->answer.in_window &&
		    w.reset == r->answer.reset && w.retry == r->answer.retry)
			return;
	}
	check(false && "denied as no serial execution would have");
}

static void check_image(const struct image *i)
{
	uint64_t h = 0, now = i->now, first, k;
	uint32_t r;

	while (story.before[h] < i->image.used)
		h++;
	check(story.before[h] == i->image.used && h <= story.count);
	check(i->image.count <= h);
	first = h - i->image.count;
	for (k = first; k < h; k++) {
		check(i->in[k - first].stamp == story.stamp[k]);
		check(i->in[k - first].units ==
		      story.before[k + 1] - story.before[k]);
	}
	/* Neither more nor fewer than one of the rules then in force says. */
	if (h > 0 && story.stamp[h - 1] > now)
		now = story.stamp[h - 1];
	for (r = i->rule_before > 0 ? i->rule_before - 1 : 0;
	     r <= i->rule_after; r++) {
		uint64_t live = story.tail[h];

		while (live < h && story.stamp[live] + WINDOW_MIN + r < now)
			live++;
		if (live == first)
			return;
	}
	check(false && "an image that is not the window's");
}

static uint64_t examine(void)
{
	uint32_t at[WORKERS] = {0};
	uint64_t h, allowed = 0;
	unsigned t;
	uint32_t i;

	read_story();
	story.tail[0] = 0;
	for (h = 0; h < story.count; h++) {
		uint32_t n;

		/* The cost says whose it is. */
		t = (unsigned)(story.before[h + 1] - story.before[h]) - 1;
		n = at[t];
		while (n < record_counts[t] && !records[t][n].answer.allowed)
			n++;
		check(n < record_counts[t]);
		check_allowed(&records[t][n], h);
		at[t] = n + 1;
	}
	for (t = 0; t < WORKERS; t++) {
		uint64_t units = 0;

		for (i = 0; i < record_counts[t]; i++) {
			units += records[t][i].answer.allowed
					 ? records[t][i].cost
					 : 0;
			allowed += records[t][i].answer.allowed;
			if (!records[t][i].answer.allowed)
				check_denied(&records[t][i]);
		}
		check(fixture_get(&fixture.arena->keys[1 + t].used) == units);
	}
	check(allowed == story.count);
	for (i = 0; i < image_count; i++)
		check_image(&images[i]);
	return allowed;
}

static uint64_t round_of(struct rng *rng)
{
	uint64_t seed = rng_next(rng), allowed;
	unsigned i;

	fixture_open(&fixture);
	limits[0] = LIMIT_TOP;
	atomic_store_explicit(&rule_now, 0, memory_order_relaxed);
	org = fixture_org(&fixture, 1, limits[0], WINDOW_MIN, LOG2);
	swap_count = 0;
	swaps[0].ring = fixture_get(&org->ring);
	atomic_store_explicit(&clock_now, CLOCK_BIAS, memory_order_relaxed);
	atomic_store_explicit(&working, WORKERS, memory_order_relaxed);
	for (i = 0; i < WORKERS; i++)
		torture_add(work, seed);
	torture_add(control, seed);
	torture_add(save, seed);
	torture_go();
	torture_harass(rng);
	torture_end();
	allowed = examine();
	fixture_close(&fixture);
	return allowed;
}

int main(void)
{
	struct rng rng = {test_seed("window_torture")};
	uint64_t round, allowed = 0, asked = 0, saved = 0, rules = 0;
	unsigned swapped = 0, t;

	torture_setup();
	epoch_init(&epoch);
	for (t = 0; t < WORKERS + 1; t++)
		epoch_register(&epoch, &readers[t]);
	/* On, until everything happened at least once. */
	for (round = 0; round < torture_work(ROUNDS) || rules == 0 ||
			swapped == 0 || saved == 0;
	     round++) {
		allowed += round_of(&rng);
		for (t = 0; t < WORKERS; t++)
			asked += record_counts[t];
		saved += image_count;
		swapped += swap_count;
		rules += rule_now;
	}
	printf("window_torture: %llu checks, %llu allowed, %llu rules, %u "
	       "rings, %llu images\n",
	       (unsigned long long)asked, (unsigned long long)allowed,
	       (unsigned long long)rules, swapped, (unsigned long long)saved);
	check(allowed > asked / 20 && allowed < asked - asked / 20);
	return 0;
}
