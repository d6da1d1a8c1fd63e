/* SPDX-License-Identifier: MIT */
#include "../random.h"
#include "fixture.h"
#include "gate/window.h"

#include <criterion/criterion.h>

/*
 * Random traces against a log that is kept naively: every admission, in one
 * long array, added up anew for each answer. Every field of every answer is
 * compared.
 */
#define LOG_MAX 400000
#define STEPS LOG_MAX
#define KEYS WINDOW_ASKS_MAX

struct log {
	size_t first; /* those before were out of the window at an admission */
	size_t count;
	uint64_t used;
	uint32_t limit;
	uint64_t window;
	bool open; /* the claim at hand has admitted: its entry is the last */
	struct admission in[LOG_MAX];
};

static struct log oracle;

/* Units that count at `now` when those up to and with `now - window` do. */
static uint64_t units_at(uint64_t now, size_t *ret_first)
{
	uint64_t sum = 0;
	size_t i;

	*ret_first = oracle.count;
	for (i = oracle.count; i > oracle.first; i--) {
		if (oracle.in[i - 1].stamp + oracle.window < now)
			break;
		sum += oracle.in[i - 1].units;
		*ret_first = i - 1;
	}
	return sum;
}

static uint64_t stamp_for(uint64_t now)
{
	uint64_t newest = oracle.count > oracle.first
				  ? oracle.in[oracle.count - 1].stamp
				  : 0;

	return now > newest ? now : newest;
}

/* The answer, by trying each instant at which something comes back. */
static struct window_answer expected(uint32_t cost, uint64_t given, bool count)
{
	struct window_answer w = {.limit = oracle.limit,
				  .window = oracle.window};
	uint64_t now = stamp_for(given);
	size_t first, i, ignored;
	uint64_t sum = units_at(now, &first);

	w.allowed = sum + cost <= oracle.limit;
	if (w.allowed && count) {
		oracle.first = first;
		if (!oracle.open)
			oracle.in[oracle.count++] =
				(struct admission){.stamp = now};
		oracle.open = true;
		oracle.in[oracle.count - 1].units += cost;
		oracle.used += cost;
		sum += cost;
	}
	w.in_window = (uint32_t)sum;
	if (first < oracle.count)
		w.reset = oracle.in[oracle.count - 1].stamp + oracle.window +
			  1 - now;
	if (w.allowed && first < oracle.count)
		w.retry = oracle.in[first].stamp + oracle.window + 1 - now;
	for (i = first; !w.allowed && cost <= oracle.limit; i++) {
		uint64_t at = oracle.in[i].stamp + oracle.window + 1;

		if (units_at(at, &ignored) + cost <= oracle.limit) {
			w.retry = at - now;
			break;
		}
	}
	return w;
}

static void compare(const struct window_answer *got,
		    const struct window_answer *want, unsigned step)
{
	cr_assert_eq(got->allowed, want->allowed, "step %u: allowed", step);
	cr_assert_eq(got->limit, want->limit, "step %u: limit", step);
	cr_assert_eq(got->window, want->window, "step %u: window", step);
	cr_assert_eq(got->in_window, want->in_window,
		     "step %u: in_window %u, not %u", step, got->in_window,
		     want->in_window);
	cr_assert_eq(got->reset, want->reset, "step %u: reset %lu, not %lu",
		     step, got->reset, want->reset);
	cr_assert_eq(got->retry, want->retry, "step %u: retry %lu, not %lu",
		     step, got->retry, want->retry);
}

struct trace {
	struct fixture f;
	struct claim claim;
	struct org *org;
	word_t *keys[KEYS];
	uint64_t used[KEYS];
	struct rng rng;
	uint32_t slot;
	uint32_t limit_max;
	uint64_t now;
};

/* Costs around what is left, around the limit, and small ones. */
static uint32_t some_cost(struct trace *t)
{
	uint32_t limit = oracle.limit;

	switch (rng_below(&t->rng, 8)) {
	case 0:
		return limit - rng_below(&t->rng, limit);
	case 1:
		return limit + rng_below(&t->rng, 3);
	case 2:
		return 1 + rng_below(&t->rng, limit / 4 + 1);
	default:
		return 1 + rng_below(&t->rng, limit / 32 + 2);
	}
}

static void pass_time(struct trace *t)
{
	uint32_t w = (uint32_t)oracle.window;

	switch (rng_below(&t->rng, 32)) {
	case 0:
		t->now += 2 * w;
		break;
	case 1: /* to an edge: when the oldest leaves, a tick before, after */
		if (oracle.count > oracle.first)
			t->now = oracle.in[oracle.first].stamp + w +
				 rng_below(&t->rng, 3);
		break;
	case 2:
	case 3:
		t->now -= rng_below(&t->rng, w / 2 + 2);
		break;
	case 4:
	case 5:
	case 6:
	case 7:
		break;
	default:
		t->now += rng_below(&t->rng, w / 16 + 2);
	}
}

static void change_limit(struct trace *t)
{
	uint32_t limit = 1 + rng_below(&t->rng, t->limit_max);
	uint64_t window = 250 + rng_below(&t->rng, 2000);
	uint64_t ring = fixture_get(&t->org->ring);
	unsigned log2 = window_ring_log2(limit);

	if (log2 > RING_LOG2(ring)) {
		window_drain_ring(&t->claim, t->org);
		window_swap_ring(&t->claim, t->org, fixture_ring(&t->f, log2));
	}
	/* As often as not the rule changes before the old ring is drained. */
	if (rng_below(&t->rng, 2) == 0)
		window_drain_ring(&t->claim, t->org);
	window_change_rule(&t->claim, t->org, window_rule(limit, window));
	oracle.limit = limit;
	oracle.window = window;
}

/* Same size, new place: what a swap does whatever the limit. */
static void swap(struct trace *t)
{
	window_drain_ring(&t->claim, t->org);
	window_swap_ring(
		&t->claim, t->org,
		fixture_ring(&t->f, RING_LOG2(fixture_get(&t->org->ring))));
}

/* Everything into another slot, as after a reboot. */
static void save_and_restore(struct trace *t)
{
	static struct admission in[LIMIT_MAX];
	struct window_image image;
	size_t first, i;
	uint64_t ring = fixture_get(&t->org->ring);

	units_at(stamp_for(t->now), &first);
	window_save(t->f.arena, t->slot, t->now, &image, in, LIMIT_MAX);
	cr_assert_eq(image.used, oracle.used);
	cr_assert_eq(image.count, oracle.count - first);
	for (i = 0; i < image.count; i++) {
		cr_assert_eq(in[i].stamp, oracle.in[first + i].stamp);
		cr_assert_eq(in[i].units, oracle.in[first + i].units);
	}
	oracle.first = first;
	t->slot = t->slot % 8 + 1;
	t->org = fixture_org(&t->f, t->slot, oracle.limit, oracle.window,
			     RING_LOG2(ring));
	window_restore(t->f.arena, t->slot, &image, in);
}

/* Checks that are decided as one step, most often one; returns how many of
 * them were denied. */
static unsigned take(struct trace *t, unsigned step)
{
	struct window_ask asks[WINDOW_ASKS_MAX];
	unsigned count = 1, keys = 1 + rng_below(&t->rng, KEYS), i, denied = 0;

	if (rng_below(&t->rng, 4) == 0)
		count += rng_below(&t->rng, WINDOW_ASKS_MAX);
	for (i = 0; i < count; i++)
		asks[i] = (struct window_ask){
			.key_used = t->keys[rng_below(&t->rng, keys)],
			.cost = some_cost(t),
		};
	window_take(&t->claim, t->org, asks, count, t->now);
	oracle.open = false;
	for (i = 0; i < count; i++) {
		struct window_answer want =
			expected(asks[i].cost, t->now, true);
		unsigned k = 0;

		compare(&asks[i].answer, &want, step);
		while (t->keys[k] != asks[i].key_used)
			k++;
		t->used[k] += want.allowed ? asks[i].cost : 0;
		denied += !want.allowed;
	}
	return denied;
}

static void peek(struct trace *t, unsigned step)
{
	uint32_t cost = some_cost(t);
	struct window_answer got, want = expected(cost, t->now, false);

	window_peek(t->f.arena, t->org, cost, t->now, NULL, &got);
	compare(&got, &want, step);
}

static void run(uint32_t limit_max, unsigned steps, uint64_t seed)
{
	static struct trace t;
	unsigned step, changes = 0, k;
	uint64_t denials = 0;

	memset(&t, 0, sizeof(t));
	t.rng.state = seed;
	t.limit_max = limit_max;
	t.now = CLOCK_BIAS;
	t.slot = 1;
	oracle.first = oracle.count = 0;
	oracle.used = 0;
	oracle.limit = limit_max;
	oracle.window = 1000;
	fixture_open(&t.f);
	t.org = fixture_org(&t.f, 1, oracle.limit, oracle.window, 0);
	for (k = 0; k < KEYS; k++)
		t.keys[k] = &fixture_key(&t.f, 1 + k)->used;
	claim_init(&t.claim, t.f.arena, 0, NULL);

	for (step = 0; step < steps; step++) {
		pass_time(&t);
		if (rng_below(&t.rng, 500) == 0 && ++changes) {
			if (rng_below(&t.rng, 4) == 0)
				swap(&t);
			else
				change_limit(&t);
		}
		if (rng_below(&t.rng, 200) == 0)
			window_drain_ring(&t.claim, t.org);
		if (rng_below(&t.rng, 2000) == 0)
			save_and_restore(&t);
		if (rng_below(&t.rng, 8) == 0)
			peek(&t, step);
		else
			denials += take(&t, step);
	}
	cr_assert_eq(fixture_get(&t.org->used), oracle.used);
	for (k = 0; k < KEYS; k++)
		cr_assert_eq(fixture_get(t.keys[k]), t.used[k]);
	/* The trace is worth something only when it goes both ways. */
	cr_assert_gt(denials, steps / 20);
	cr_assert_gt(oracle.count, steps / 20);
	cr_assert_gt(changes, 50);
	fixture_close(&t.f);
}

Test(window_trace, small_limits)
{
	run(12, STEPS, test_seed("small_limits"));
}

Test(window_trace, limits_of_a_few_rings)
{
	run(300, STEPS, test_seed("limits_of_a_few_rings"));
}

/* The totals in the entries, modulo 2^18, wrap every few windows. */
Test(window_trace, largest_limits)
{
	run(LIMIT_MAX, STEPS, test_seed("largest_limits"));
}
