/* SPDX-License-Identifier: MIT */
#ifndef STILE_TESTS_STEP_REPLAY_H
#define STILE_TESTS_STEP_REPLAY_H

/*
 * After a round of step_torture.c: all that was decided, once more and one
 * after the other, by the oracle. repeat_all() compares each verdict,
 * compare_words() what is left in the arena.
 */
#include "step_torture.h"

static struct op *commits[(WORKERS_TOP + 1) * OPS];
static struct op *others[WORKERS_TOP * OPS];
static size_t commits_count, others_count;

static int by_instant(const void *a, const void *b)
{
	const struct op *x = *(struct op *const *)a,
			*y = *(struct op *const *)b;

	return x->key < y->key ? -1 : x->key > y->key;
}

static int by_before(const void *a, const void *b)
{
	const struct op *x = *(struct op *const *)a,
			*y = *(struct op *const *)b;

	return x->before < y->before ? -1 : x->before > y->before;
}

/*
 * The gate's value after a decision at `at`: 2 * at when it was below, else two
 * more than it was. It was 2 * at already if `at` is later than the time given;
 * else only if another decision had brought it just there.
 */
static void set_keys(void)
{
	size_t i, n = commits_count;

	for (i = 0; i < n; i++) {
		struct op *op = commits[i];

		if (op->kind == OP_GRANT)
			continue;
		op->key = 2 * op->at;
		if (op->at > op->given || op->before == op->key)
			op->key += 2;
	}
	qsort(commits, n, sizeof(commits[0]), by_instant);
	for (i = 0; i + 1 < n; i++) {
		struct op *a = commits[i], *b = commits[i + 1];

		if (a->key != b->key)
			continue;
		if (a->kind != OP_GRANT && a->at == a->given) {
			commits[i] = b;
			commits[i + 1] = a;
			b = a;
		}
		check(b->kind != OP_GRANT && b->at == b->given);
		b->key += 2;
	}
	for (i = 0; i + 1 < n; i++)
		check(commits[i]->key < commits[i + 1]->key);
}

static void obey(const struct op *op)
{
	unsigned i;

	oracle.wall_ms = op->wall_ms;
	for (i = 0; op->kind == OP_CHECKS && i < RULES; i++)
		oracle.rules[i].limit = plans[op->plan].limits[i];
}

static bool same(const struct verdict *v, const struct o_answer *w)
{
	if (v->reason != w->reason || v->limit != w->limit ||
	    v->remaining != w->remaining || v->reset_ms != w->reset_ms ||
	    v->retry_ms != w->retry_ms || v->credits != w->credits ||
	    v->budget != w->budget || v->charged != w->charged ||
	    v->hold_ms != w->hold_ms ||
	    v->flags != (w->repeated ? VERDICT_REPEATED : 0))
		return false;
	if (w->repeated)
		return v->hold == w->hold_id;
	return (v->hold != 0) == w->hold;
}

static void tell(const struct op *op, const struct verdict *v,
		 const struct o_answer *w)
{
	fprintf(stderr,
		"op %d given %lu at %lu gate %lu..%lu key %lu\n"
		"reason %u/%u limit %u/%u left %u/%u reset %u/%u retry %u/%u\n"
		"credits %lu/%lu budget %lu/%lu charged %u/%u hold %lx/%lx\n",
		(int)op->kind, op->given, op->at, op->before, op->after,
		op->key, v->reason, w->reason, v->limit, w->limit, v->remaining,
		w->remaining, v->reset_ms, w->reset_ms, v->retry_ms,
		w->retry_ms, v->credits, w->credits, v->budget, w->budget,
		v->charged, w->charged, v->hold, w->hold_id);
}

static void expect(const struct op *op, const struct verdict *v,
		   const struct o_answer *w, bool is)
{
	if (is)
		return;
	tell(op, v, w);
	check(false && "not as the serial execution says");
}

static void repeat_settle(struct op *op)
{
	struct o_answer w = o_settle(&oracle, op->hold, op->cost);
	struct verdict *v = &op->verdicts[0];

	expect(op, v, &w,
	       v->reason == w.reason && v->charged == w.charged &&
		       v->credits == w.credits);
}

static void repeat_expire(struct op *op)
{
	unsigned i;

	for (i = 0; i < O_HOLDS; i++) {
		struct o_hold *h = &oracle.holds[i];

		if (h->id == 0 || HOLD_ID_SLOT(h->id) != op->hold)
			continue;
		check(h->until_tick <= op->given / O_TICK_NS);
		o_settle(&oracle, h->id, h->keep ? SETTLE_AS_RESERVED : 0);
		return;
	}
	check(false && "expired twice, or before it was made");
}

static void repeat_commit(struct op *op)
{
	unsigned i;

	check(op->kind == OP_GRANT ||
	      (op->before < op->key && op->key <= op->after));
	obey(op);
	if (op->kind == OP_GRANT)
		oracle.pools[0].granted += op->hold;
	else if (op->kind == OP_SETTLE)
		repeat_settle(op);
	else if (op->kind == OP_EXPIRE)
		repeat_expire(op);
	for (i = 0; op->kind == OP_CHECKS && i < op->count; i++) {
		struct verdict *v = &op->verdicts[i];
		struct o_answer w;

		if (v->reason == REASON_FULL)
			continue;
		check(v->hold == 0 || v->flags != 0 ||
		      o_hold(&oracle, v->hold) == NULL);
		w = o_check(&oracle, &op->asks[i], op->at, v->hold);
		expect(op, v, &w, same(v, &w));
	}
}

/* Is what it was told true here? It changed nothing. */
static bool true_here(const struct op *op, struct o_answer *ret_answer)
{
	unsigned i;

	obey(op);
	if (op->kind == OP_SETTLE)
		return o_hold(&oracle, op->hold) == NULL;
	for (i = 0; i < op->count; i++) {
		struct o_ask a = op->asks[i];

		if (op->verdicts[i].reason == REASON_FULL)
			continue;
		if (o_id(&oracle, &a, op->at) == NULL)
			a.peek = true;
		*ret_answer = o_check(&oracle, &a, op->at, 0);
		if (!same(&op->verdicts[i], ret_answer))
			return false;
	}
	return true;
}

/* The versions that it may have seen. */
static void seen_by(const struct op *op, uint64_t *ret_from, uint64_t *ret_to)
{
	*ret_from = op->before;
	*ret_to = op->after;
	if (op->kind == OP_SETTLE)
		return;
	if (op->at > op->given)
		*ret_from = *ret_to = 2 * op->at;
	else if (*ret_to > 2 * op->given)
		*ret_to = 2 * op->given;
	/* A ring that was moved is a version of its own, at an unknown place
	 * before a decision whose key may be too small by it. */
	*ret_from = *ret_from > 2 ? *ret_from - 2 : 0;
}

static bool image_is_here(const struct image *i)
{
	const struct o_count *c = &oracle.counts[0][0];
	uint64_t units = 0;
	unsigned k = 0;
	size_t n;

	for (n = 0; n < i->count; n++) {
		units += i->in[n].units;
		while (k < c->count && c->log[k].tick != i->in[n].stamp)
			k++;
		if (k == c->count)
			return false;
	}
	return units == o_in_window(&oracle.rules[0], c, i->ticks);
}

static void repeat_all(void)
{
	static struct op *open[WORKERS_TOP * OPS];
	size_t opened = 0, next = 0, p, i;
	unsigned image = 0;

	for (p = 0; p <= commits_count; p++) {
		uint64_t version = p > 0 ? commits[p - 1]->key : 0;
		uint64_t end = p < commits_count ? commits[p]->key : INT64_MAX;

		/* Here the oracle is at the versions from `version` to `end`,
		 * the latter left out. */
		while (next < others_count && others[next]->before < end + 2)
			open[opened++] = others[next++];
		for (i = 0; i < opened;) {
			struct o_answer w = {.reason = REASON_ALLOW};
			uint64_t from, to;

			seen_by(open[i], &from, &to);
			if (from < end && to >= version &&
			    true_here(open[i], &w)) {
				open[i] = open[--opened];
				continue;
			}
			expect(open[i], &open[i]->verdicts[0], &w, to >= end);
			i++;
		}
		/* At `end` itself: perhaps, see seen_by(). */
		while (image < images_count && images[image].version <= end) {
			bool here = image_is_here(&images[image]);

			check(here || images[image].version == end);
			if (!here)
				break;
			image++;
		}
		if (p < commits_count)
			repeat_commit(commits[p]);
	}
	check(opened == 0 && next == others_count && image == images_count);
}

static void compare_words(void)
{
	struct arena *a = scene.f.arena;
	unsigned i;

	for (i = 1; i <= KEYS; i++)
		check(fixture_get(&a->keys[i].used) ==
		      used_add(0, oracle.key_units[i], oracle.key_checks[i]));
	for (i = 0; i < oracle.pools_count; i++) {
		check(fixture_get(&credits->pools[i].used) ==
		      oracle.pools[i].used);
		check(fixture_get(&credits->pools[i].returned) ==
		      oracle.pools[i].returned);
	}
	check(fixture_get(&a->projects[1].budgets[0].used) ==
	      BUDGET_WORD(oracle.budgets[1][0].period,
			  oracle.budgets[1][0].used));
	check(METER_LEASES(fixture_get(&org_meter(a, org, 2)->level)) ==
	      oracle.counts[2][0].leases);
}

#endif
