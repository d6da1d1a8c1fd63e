/* SPDX-License-Identifier: MIT */

/*
 * The proof of gate/window.c by threads. Workers hammer one organization
 * whose rule changes and whose ring is swapped meanwhile, and another thread
 * saves images. The rings are far larger than the limit, so that all that was
 * ever admitted can be read from them afterwards, in order. Then every answer
 * is compared, field by field, with what a serial execution gives: the checks
 * of one call one after the other, at the place of their entry when any was
 * admitted, else at some place between call and return. So no window held
 * more than its limit, and nothing was denied that fitted.
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
#define OPS 20000u
#define RUN_MAX 4u
#define KEYS 2u /* of each worker */
#define LOG2 16u
#define LOG_MAX ((1u << LOG2) - WORKERS)
#define SWAPS_MAX 64u
#define RULES_MAX 4096u
#define WINDOW_MIN 250u
#define LIMIT_TOP 60u
#define IMAGES_MAX 300u

/* One call. Its answers share rule and place. */
struct record {
	uint64_t now;
	uint64_t head_before, head_after;
	unsigned count;
	struct window_ask asks[RUN_MAX];
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

static word_t *key_used(unsigned worker, uint32_t key)
{
	return &fixture.arena->keys[1 + worker * KEYS + key].used;
}

/* The units that a call admits say whose it was, modulo WORKERS: only the first
 * of its costs is no multiple of that, and as the smallest it is admitted
 * whenever another one is. */
static void fill(struct torture_thread *t, struct record *r)
{
	unsigned i;

	r->count = 1;
	if (rng_below(&t->rng, 2) == 0)
		r->count += rng_below(&t->rng, RUN_MAX);
	for (i = 0; i < r->count; i++)
		r->asks[i] = (struct window_ask){
			.key_used = key_used(t->idx, rng_below(&t->rng, KEYS)),
			.cost = i == 0 ? t->idx + 1
				       : WORKERS * (1 + rng_below(&t->rng, 3)),
		};
}

static void work(struct torture_thread *t)
{
	uint64_t now = CLOCK_BIAS;
	struct claim claim;
	uint32_t n = 0;

	claim_init(&claim, fixture.arena, t->idx, NULL);
	while (n < OPS) {
		struct record *r = &records[t->idx][n];

		now = some_time(t, now);
		r->now = now;
		fill(t, r);
		epoch_enter(&readers[t->idx]);
		r->head_before = claim_load(&org->head);
		if (r->head_before >= LOG_MAX) {
			epoch_leave(&readers[t->idx]);
			break;
		}
		window_take(&claim, org, r->asks, r->count, now);
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
		check(i == 0 ? units == 0 : units >= 1 && units <= LIMIT_TOP);
		total += units;
		story.before[i] = total;
		story.stamp[i] = e >> LIMIT_BITS;
		check(i == 0 || story.stamp[i] >= story.stamp[i - 1]);
	}
	story.before[i] = fixture_get(&org->used);
	check(i == 0 || story.before[i] - story.before[i - 1] - 1 < LIMIT_TOP);
}

/* Where a call stands: after `h` entries. */
struct place {
	uint64_t h, first, now;
	uint32_t admitted; /* units, by the call itself */
};

static struct place place_of(const struct record *r, uint64_t h)
{
	struct place p = {.h = h, .first = story.tail[h], .now = r->now};
	uint64_t window = r->asks[0].answer.window;

	if (h > 0 && story.stamp[h - 1] > p.now)
		p.now = story.stamp[h - 1];
	while (p.first < h && story.stamp[p.first] + window < p.now)
		p.first++;
	return p;
}

/* What the next check of the call finds there. */
static struct window_answer
serial(struct place *p, const struct window_answer *rule, uint32_t cost)
{
	struct window_answer w = {.limit = rule->limit, .window = rule->window};
	uint64_t whole = w.window + 1, h = p->h, i;

	w.in_window = (uint32_t)(story.before[h] - story.before[p->first]) +
		      p->admitted;
	w.allowed = w.in_window + cost <= w.limit;
	if (w.allowed) {
		p->admitted += cost;
		w.in_window += cost;
	}
	if (p->admitted > 0)
		w.reset = w.retry = whole;
	else if (p->first < h)
		w.reset = story.stamp[h - 1] + whole - p->now;
	if (p->first < h)
		w.retry = story.stamp[p->first] + whole - p->now;
	if (w.allowed)
		return w;
	/* Until enough has left; what the call admitted leaves last. */
	w.retry = cost > w.limit ? 0 : whole;
	for (i = p->first; i < h && cost <= w.limit; i++)
		if (story.before[h] - story.before[i + 1] + p->admitted +
			    cost <=
		    w.limit) {
			w.retry = story.stamp[i] + whole - p->now;
			break;
		}
	return w;
}

/* Whether all its answers are true at this place. */
static bool stands_at(const struct record *r, uint64_t h, struct place *ret_end)
{
	struct place p = place_of(r, h);
	unsigned i;

	for (i = 0; i < r->count; i++) {
		const struct window_answer *got = &r->asks[i].answer;
		struct window_answer w =
			serial(&p, &r->asks[0].answer, r->asks[i].cost);

		if (w.allowed != got->allowed || w.limit != got->limit ||
		    w.window != got->window || w.in_window != got->in_window ||
		    w.reset != got->reset || w.retry != got->retry)
			return false;
	}
	*ret_end = p;
	return true;
}

static void check_allowed(const struct record *r, uint64_t h)
{
	struct window_answer rule = r->asks[0].answer;
	struct place p;

	check(r->head_before <= h && h < r->head_after);
	check(stands_at(r, h, &p));
	check(story.stamp[h] == p.now);
	check(story.before[h + 1] - story.before[h] == p.admitted);
	story.tail[h + 1] = p.first;
	story.rule[h] = (uint32_t)(rule.window - WINDOW_MIN);
	check(rule.limit == limits[story.rule[h]]);
	check(h == 0 || story.rule[h] >= story.rule[h - 1]);
}

static void check_denied(const struct record *r)
{
	const struct window_answer *rule = &r->asks[0].answer;
	struct place p;
	uint64_t h;

	check(rule->limit == limits[rule->window - WINDOW_MIN]);
	for (h = r->head_before; h <= r->head_after; h++)
		if (stands_at(r, h, &p))
			return;
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

static void check_keys(unsigned t)
{
	uint64_t units[KEYS] = {0};
	uint32_t i, k;

	for (i = 0; i < record_counts[t]; i++) {
		const struct record *r = &records[t][i];

		for (k = 0; k < r->count; k++)
			if (r->asks[k].answer.allowed)
				units[r->asks[k].key_used != key_used(t, 0)] +=
					r->asks[k].cost;
	}
	for (k = 0; k < KEYS; k++)
		check(fixture_get(key_used(t, k)) == units[k]);
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

		t = (unsigned)(story.before[h + 1] - story.before[h] - 1) %
		    WORKERS;
		n = at[t];
		while (n < record_counts[t] &&
		       !records[t][n].asks[0].answer.allowed)
			n++;
		check(n < record_counts[t]);
		check_allowed(&records[t][n], h);
		at[t] = n + 1;
	}
	for (t = 0; t < WORKERS; t++) {
		for (i = 0; i < record_counts[t]; i++) {
			allowed += records[t][i].asks[0].answer.allowed;
			if (!records[t][i].asks[0].answer.allowed)
				check_denied(&records[t][i]);
		}
		check_keys(t);
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
	printf("window_torture: %llu calls, %llu admitted, %llu rules, %u "
	       "rings, %llu images\n",
	       (unsigned long long)asked, (unsigned long long)allowed,
	       (unsigned long long)rules, swapped, (unsigned long long)saved);
	check(allowed > asked / 20 && allowed < asked - asked / 20);
	return 0;
}
