/* SPDX-License-Identifier: MIT */
/*
 * Credits. Each change makes the records say what pools there are, then swaps
 * the organization's block for one with these. A pool that went leaves a last
 * line in the ledger: what was left of it. That line is written after the
 * swap, which alone knows the number; when the process dies in between, the
 * next start swaps and writes it.
 *
 * A renewed subscription is a new pool. What was used of the old one stays in
 * the past, and an arena that is lost costs at most one month's count.
 */
#include "state/registry_internal.h"

#include "base/clock.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NO_ROOM                                                                \
	"no room for credits: raise ring_bytes or the size of the arena's "    \
	"tmpfs"

struct pools {
	unsigned count;
	struct pool_record at[CREDIT_POOLS_MAX + 1];
};

static int collect(const struct pool_record *rec, void *arg)
{
	struct pools *p = arg;

	/* One more than there may be says that there are too many. */
	if (p->count <= CREDIT_POOLS_MAX)
		p->at[p->count++] = *rec;
	return 0;
}

static int open_pools(struct registry *g, uint32_t org, struct pools *ret)
{
	ret->count = 0;
	return registry_from_records(
		g, records_each_pool(g->records, org, collect, ret), "pool");
}

/* ---- live numbers ---- */

struct pool_count {
	uint64_t drawn, used; /* ever; less what was returned */
	int64_t rest;
};

static struct pool_count count_of(struct registry *g, uint32_t org, uint32_t id)
{
	uint64_t block = claim_load(&g->arena->orgs[org].credits);
	const struct credits *c = block != 0 ? apply_block(g, block) : NULL;
	struct pool_count n = {0};

	for (uint32_t i = 0; c != NULL && i < c->count; i++) {
		const struct pool *p = &c->pools[i];

		if (p->id != id)
			continue;
		n.drawn = claim_load(&p->used);
		n.used = n.drawn - claim_load(&p->returned);
		n.rest = (int64_t)(claim_load(&p->granted) - n.used -
				   claim_load(&p->withdrawn));
	}
	return n;
}

int registry_credits_live(struct registry *g, uint32_t org,
			  struct pool_live ret_pools[static CREDIT_POOLS_MAX],
			  unsigned *ret_count)
{
	struct pools pools;
	int r = open_pools(g, org, &pools);

	if (r != 0)
		return r;
	*ret_count = 0;
	for (unsigned i = 0; i < pools.count && i < CREDIT_POOLS_MAX; i++) {
		const struct pool_record *rec = &pools.at[i];
		struct pool_count n = count_of(g, org, rec->id);
		bool granted = rec->granted_ms != 0 || n.drawn > 0;

		ret_pools[(*ret_count)++] = (struct pool_live){
			.record = *rec,
			.granted = granted ? rec->granted : 0,
			.used = n.used,
			.rest = granted ? n.rest : 0,
			.available = granted ? 0 : rec->granted,
		};
	}
	return 0;
}

/* ---- lines of the ledger ---- */

int registry_ledger_write(struct registry *g, uint32_t org, uint32_t pool,
			  int64_t change, const char *why)
{
	struct ledger_record line = {.org = org,
				     .pool = pool,
				     .at_ms = registry_now_ms(g),
				     .change = change};

	snprintf(line.why, sizeof(line.why), "%s", why);
	return registry_from_records(
		g, records_ledger_insert(g->records, &line), "pool");
}

int registry_pool_insert(struct registry *g, struct pool_record *rec,
			 const char *why)
{
	int r;

	rec->granted_ms = rec->created_ms;
	r = records_pool_insert(g->records, rec);
	if (r == RECORDS_EXISTS)
		return registry_fail(g, REGISTRY_EXISTS,
				     rec->kind == POOL_TRIAL
					     ? "it has a trial of this route "
					       "already, or has had one"
					     : "there is one already");
	r = registry_from_records(g, r, "organization");
	return r != 0 ? r
		      : registry_ledger_write(g, rec->org, rec->id,
					      (int64_t)rec->granted, why);
}

static int tell_rest(struct registry *g, uint32_t org,
		     const struct pool_rest *rest, const char *why)
{
	struct pool_record rec;
	int r = registry_from_records(
		g, records_pool_get(g->records, rest->id, &rec), "pool");

	if (r == 0 && rec.granted_ms == 0) {
		if (!rest->touched) /* nothing came, nothing goes */
			return 0;
		r = registry_trial_grant(g, &rec);
	}
	return r != 0 ? r
		      : registry_ledger_write(g, org, rest->id, -rest->rest,
					      why);
}

/* What was left of the pools that went: told, not part of the change. A
 * failure costs a line of the ledger, and whoever reads it sees that the pool
 * was closed. */
static void tell_rests(struct registry *g, uint32_t org,
		       const struct pool_rest *rests, unsigned count,
		       const char *why)
{
	if (count == 0 || records_begin(g->records) < 0)
		return;
	for (unsigned i = 0; i < count; i++)
		if (tell_rest(g, org, &rests[i], why) != 0) {
			records_rollback(g->records);
			return;
		}
	(void)records_commit(g->records);
}

/* ---- one change ---- */

/* In the batch, when the records say what is to be: commits it and lets the
 * arena follow. Rolls back instead after r != 0. */
static int finish(struct registry *g, uint32_t org, int r, const char *why)
{
	struct pool_rest rests[CREDIT_POOLS_MAX];
	struct pools pools = {.count = 0};
	uint64_t block = 0;
	unsigned gone, trials;

	if (r == 0)
		r = registry_trials_insert(g, org, &trials);
	if (r == 0)
		r = open_pools(g, org, &pools);
	if (r == 0 && pools.count > CREDIT_POOLS_MAX)
		r = registry_fail(g, REGISTRY_FULL,
				  "at most %d pools of credits; revoke one",
				  CREDIT_POOLS_MAX);
	if (r == 0 && apply_credits_make(g, pools.count, &block) < 0)
		r = registry_fail(g, REGISTRY_FULL, NO_ROOM);
	if (r != 0) {
		records_rollback(g->records);
		return r;
	}
	r = registry_commit(g, "credits");
	if (r != 0) {
		rings_give(&g->rings, block);
		return r;
	}
	gone = apply_credits_swap(g, org, block, pools.at, pools.count, rests);
	registry_trials_watch(g, org, pools.at, pools.count);
	tell_rests(g, org, rests, gone, why);
	return g->renewing ? 0 : calendar_subscription(g, org);
}

/* Begins a change of the credits of an organization, which are counted from
 * then on. Rolled back unless 0. */
static int begin(struct registry *g, uint32_t org, struct org_record *ret_org)
{
	int r = registry_begin(g, "credits");

	if (r != 0)
		return r;
	r = records_org_get(g->records, org, ret_org);
	if (r == 0 && !ret_org->credits)
		r = records_org_set_credits(g->records, org, true,
					    ret_org->overage);
	r = registry_from_records(g, r, "organization");
	if (r == 0)
		r = registry_trials_note(g, org);
	if (r != 0)
		records_rollback(g->records);
	return r;
}

int registry_credits_setup(struct registry *g, const struct org_record *rec,
			   uint64_t granted)
{
	struct pool_record pack = {.org = rec->slot,
				   .kind = POOL_PACK,
				   .granted = granted,
				   .created_ms = rec->created_ms};
	struct pool_rest gone[CREDIT_POOLS_MAX];
	struct pools pools;
	uint64_t block;
	unsigned trials;
	int r = 0;

	if (granted > 0)
		r = registry_pool_insert(g, &pack, "grant");
	if (r == 0)
		r = registry_trials_insert(g, rec->slot, &trials);
	if (r == 0)
		r = open_pools(g, rec->slot, &pools);
	if (r == 0 && apply_credits_make(g, pools.count, &block) < 0)
		r = registry_fail(g, REGISTRY_FULL, NO_ROOM);
	if (r != 0)
		return r;
	apply_credits_swap(g, rec->slot, block, pools.at, pools.count, gone);
	registry_trials_watch(g, rec->slot, pools.at, pools.count);
	return 0;
}

static int check_amount(struct registry *g, uint64_t amount)
{
	return amount <= (uint64_t)CREDITS_MAX
		       ? 0
		       : registry_fail(g, REGISTRY_INVALID, CREDITS_RANGE,
				       CREDITS_MAX);
}

static int close_pool(struct registry *g, uint32_t id, int64_t now_ms)
{
	return registry_from_records(
		g, records_pool_close(g->records, id, now_ms), "pool");
}

/* In the batch: closes the open pools of one kind; how many, or an error. */
static int close_kind(struct registry *g, uint32_t org, enum pool_kind kind,
		      int64_t now_ms, unsigned *ret_count)
{
	struct pools pools;
	int r = open_pools(g, org, &pools);

	*ret_count = 0;
	for (unsigned i = 0; i < pools.count && r == 0; i++) {
		if (pools.at[i].kind != kind)
			continue;
		r = close_pool(g, pools.at[i].id, now_ms);
		++*ret_count;
	}
	return r;
}

/* In the batch: pools that are used up make room for another. */
static int close_empty(struct registry *g, uint32_t org, int64_t now_ms)
{
	struct pools pools;
	int r = open_pools(g, org, &pools);

	if (r != 0 || pools.count < CREDIT_POOLS_MAX)
		return r;
	for (unsigned i = 0; i < pools.count && r == 0; i++) {
		const struct pool_record *p = &pools.at[i];

		if (p->monthly == 0 && p->granted > 0 &&
		    count_of(g, org, p->id).rest <= 0)
			r = close_pool(g, p->id, now_ms);
	}
	return r;
}

int registry_credits_grant(struct registry *g, struct pool_record *rec)
{
	int64_t now_ms = registry_now_ms(g);
	struct org_record org;
	int r = check_amount(g, rec->granted);

	if (r == 0 && (rec->kind < POOL_TRIAL || rec->kind > POOL_PROVISIONAL ||
		       rec->kind == POOL_SUBSCRIPTION))
		r = registry_fail(g, REGISTRY_INVALID,
				  "a grant is a trial, pack, referral or "
				  "provisional");
	if (r == 0 && rec->expires_ms != 0 && rec->expires_ms <= now_ms)
		r = registry_fail(g, REGISTRY_INVALID,
				  "the expiry lies in the past");
	if (r == 0)
		r = begin(g, rec->org, &org);
	if (r != 0)
		return r;
	rec->monthly = 0;
	rec->created_ms = now_ms;
	rec->closed_ms = rec->renewed_ms = 0;
	rec->due_ms = rec->expires_ms;
	r = close_empty(g, rec->org, now_ms);
	if (r == 0)
		r = registry_pool_insert(g, rec, "grant");
	return finish(g, rec->org, r, "used up");
}

/* In the batch: a pool that is renewed each month. */
static int insert_monthly(struct registry *g, uint32_t org, enum pool_kind kind,
			  uint64_t monthly, int64_t now_ms, const char *why)
{
	struct pool_record pool = {
		.org = org,
		.kind = (uint8_t)kind,
		.granted = monthly,
		.monthly = monthly,
		.created_ms = now_ms,
		.renewed_ms = now_ms,
	};

	return registry_pool_insert(g, &pool, why);
}

int registry_credits_subscribe(struct registry *g, uint32_t org,
			       uint64_t monthly)
{
	int64_t now_ms = registry_now_ms(g);
	struct org_record rec;
	unsigned had = 0, trials;
	int r = check_amount(g, monthly);

	if (r == 0)
		r = begin(g, org, &rec);
	if (r != 0)
		return r;
	r = close_kind(g, org, POOL_SUBSCRIPTION, now_ms, &had);
	if (r == 0 && monthly == 0 && had == 0)
		r = registry_fail(g, REGISTRY_ABSENT,
				  "there is no subscription");
	if (r == 0 && monthly > 0) {
		r = close_kind(g, org, POOL_TRIAL, now_ms, &trials);
		if (r == 0)
			r = insert_monthly(g, org, POOL_SUBSCRIPTION, monthly,
					   now_ms, "subscription");
	}
	return finish(g, org, r, monthly > 0 ? "subscribed" : "unsubscribed");
}

int registry_credits_revoke(struct registry *g, uint32_t org, uint32_t pool)
{
	struct pool_record rec;
	struct org_record ignored;
	int r = registry_from_records(
		g, records_pool_get(g->records, pool, &rec), "pool");

	if (r == 0 && (rec.org != org || rec.closed_ms != 0))
		r = registry_fail(g, REGISTRY_ABSENT, "no such pool");
	if (r == 0)
		r = begin(g, org, &ignored);
	if (r != 0)
		return r;
	/* Revoked overage is overage switched off. */
	if (rec.kind == POOL_OVERAGE)
		r = registry_from_records(
			g,
			records_org_set_credits(g->records, org, true, false),
			"organization");
	if (r == 0)
		r = close_pool(g, pool, registry_now_ms(g));
	return finish(g, org, r, "revoked");
}

int registry_credits_overage(struct registry *g, uint32_t org, bool enabled,
			     uint64_t max)
{
	int64_t now_ms = registry_now_ms(g);
	struct org_record rec;
	unsigned had;
	int r = check_amount(g, max);

	if (r == 0)
		r = begin(g, org, &rec);
	if (r != 0)
		return r;
	r = registry_from_records(
		g, records_org_set_credits(g->records, org, true, enabled),
		"organization");
	if (r == 0)
		r = close_kind(g, org, POOL_OVERAGE, now_ms, &had);
	if (r == 0 && enabled)
		r = insert_monthly(g, org, POOL_OVERAGE, max, now_ms,
				   "overage");
	return finish(g, org, r, "overage changed");
}

/* ---- the calendar ---- */

int registry_credits_renew(struct registry *g, uint32_t org, int64_t now_ms)
{
	struct org_record rec;
	struct pools pools;
	unsigned renewed = 0;
	int r = begin(g, org, &rec);

	if (r != 0)
		return r;
	r = open_pools(g, org, &pools);
	for (unsigned i = 0; i < pools.count && r == 0; i++) {
		const struct pool_record *p = &pools.at[i];

		if (p->renewed_ms == 0)
			continue;
		renewed++;
		r = close_pool(g, p->id, now_ms);
		if (r == 0)
			r = insert_monthly(g, org, (enum pool_kind)p->kind,
					   p->monthly, now_ms, "renewal");
	}
	if (r == 0 && renewed == 0)
		r = registry_fail(g, REGISTRY_ABSENT,
				  "there is no subscription");
	return finish(g, org, r, "lapsed");
}

struct due {
	uint32_t *orgs;
	unsigned count;
};

/* Each organization once; as many rows as there is room. */
static int collect_due(const struct pool_record *rec, void *arg)
{
	struct due *d = arg;

	for (unsigned i = 0; i < d->count; i++)
		if (d->orgs[i] == rec->org)
			return 0;
	d->orgs[d->count++] = rec->org;
	return 0;
}

static int expire_pools(struct registry *g, uint32_t org, int64_t now_ms)
{
	struct org_record ignored;
	struct pools pools;
	int r = begin(g, org, &ignored);

	if (r != 0)
		return r;
	r = open_pools(g, org, &pools);
	for (unsigned i = 0; i < pools.count && r == 0; i++)
		if (pools.at[i].due_ms != 0 && pools.at[i].due_ms <= now_ms)
			r = close_pool(g, pools.at[i].id, now_ms);
	return finish(g, org, r, "expired");
}

int registry_credits_expire(struct registry *g, int64_t now_ms, unsigned max)
{
	struct due due = {.orgs = calloc(max, sizeof(uint32_t))};
	int r;

	if (due.orgs == NULL)
		return -ENOMEM;
	r = registry_from_records(g,
				  records_each_pool_due(g->records, now_ms, max,
							collect_due, &due),
				  "pool");
	for (unsigned i = 0; i < due.count && r == 0; i++)
		r = expire_pools(g, due.orgs[i], now_ms);
	free(due.orgs);
	/* An arena without room is a failure here: nobody asked. */
	return r < 0 ? r : r > 0 ? -ENOSPC : (int)due.count;
}

/* ---- start-up ---- */

/* Pools come organization by organization. */
struct loading {
	struct registry *g;
	uint32_t org;
	struct pools pools;
	/* Organizations whose last lines of the ledger are to be written: not
	 * while their pools are being read. */
	struct {
		uint32_t org;
		struct pool_rest rest;
	} * gone;
	size_t gone_count;
};

/* Is the arena's block what the records say? */
static bool up_to_date(struct registry *g, uint32_t org,
		       const struct pools *pools)
{
	uint64_t block = claim_load(&g->arena->orgs[org].credits);
	const struct credits *c;

	if (block == 0)
		return false;
	c = apply_block(g, block);
	if (c->count != pools->count)
		return false;
	for (uint32_t i = 0; i < c->count; i++)
		if (c->pools[i].id != pools->at[i].id)
			return false;
	return true;
}

static int load_org(struct loading *l)
{
	struct registry *g = l->g;
	struct pool_rest rests[CREDIT_POOLS_MAX];
	unsigned gone;
	uint64_t block;
	void *more;
	int r;

	if (l->org == 0)
		return 0;
	r = calendar_subscription(g, l->org);
	if (r != 0)
		return r;
	if (l->pools.count > CREDIT_POOLS_MAX)
		return -EBADMSG;
	registry_trials_watch(g, l->org, l->pools.at, l->pools.count);
	if (up_to_date(g, l->org, &l->pools))
		return 0;
	r = apply_credits_make(g, l->pools.count, &block);
	if (r < 0)
		return r;
	gone = apply_credits_swap(g, l->org, block, l->pools.at, l->pools.count,
				  rests);
	if (gone == 0)
		return 0;
	more = realloc(l->gone, (l->gone_count + gone) * sizeof(l->gone[0]));
	if (more == NULL)
		return -ENOMEM;
	l->gone = more;
	for (unsigned i = 0; i < gone; i++) {
		l->gone[l->gone_count].org = l->org;
		l->gone[l->gone_count++].rest = rests[i];
	}
	return 0;
}

static int load_pool(const struct pool_record *rec, void *arg)
{
	struct loading *l = arg;
	int r = 0;

	if (rec->org != l->org) {
		r = load_org(l);
		l->org = rec->org;
		l->pools.count = 0;
	}
	return r < 0 || rec->id == 0 ? r : collect(rec, &l->pools);
}

int registry_credits_load(struct registry *g)
{
	struct loading l = {.g = g};
	int r = records_each_pool_of_all(g->records, load_pool, &l);

	if (r == 0)
		r = load_org(&l);
	for (size_t i = 0; i < l.gone_count && r == 0; i++) {
		struct pool_record rec;

		/* Not one that these records have never seen. */
		if (records_pool_get(g->records, l.gone[i].rest.id, &rec) ==
			    0 &&
		    rec.org == l.gone[i].org)
			tell_rests(g, rec.org, &l.gone[i].rest, 1, "closed");
	}
	free(l.gone);
	return r;
}
