/* SPDX-License-Identifier: MIT */
/* Credits: from a change to the pools that the workers draw from. */
#include "base/clock.h"
#include "base/label.h"
#include "state/registry_internal.h"
#include "world.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

static struct world w;
static uint32_t org;

static uint32_t make_org(const char *name, uint64_t granted)
{
	struct org_record rec = {.slot = 0};
	int r;

	snprintf(rec.name, sizeof(rec.name), "%s", name);
	r = registry_org_create(w.registry, &rec, granted);
	cr_assert_eq(r, 0, "%d: %s", r, registry_error(w.registry));
	return rec.slot;
}

static void open_world(void)
{
	world_init(&w);
	world_start(&w);
	org = make_org("acme", 0);
}

static void close_world(void)
{
	world_die(&w);
	world_deinit(&w);
}

TestSuite(registry_credits, .init = open_world, .fini = close_world);

static uint64_t credits_word(uint32_t slot)
{
	return claim_load(&w.arena.arena.orgs[slot].credits);
}

static struct credits *credits_of(uint32_t slot)
{
	cr_assert_neq(credits_word(slot), 0);
	return (void *)(w.arena.arena.rings +
			(uint64_t)RING_PLACE(credits_word(slot)) * LINE_BYTES);
}

/* "kind:granted-used " of each pool that the workers see. */
static const char *pools(void)
{
	static char out[512];
	const struct credits *c;

	if (credits_word(org) == 0)
		return "none";
	c = credits_of(org);
	out[0] = '\0';
	for (uint32_t i = 0; i < c->count; i++)
		sprintf(out + strlen(out), "%u:%llu-%llu ", c->pools[i].kind,
			(unsigned long long)claim_load(&c->pools[i].granted),
			(unsigned long long)claim_load(&c->pools[i].used));
	return out;
}

static void use(unsigned pool, uint64_t units)
{
	word_t *used = &credits_of(org)->pools[pool].used;

	slot_set_word(used, claim_load(used) + units);
}

static int try_grant(enum pool_kind kind, uint64_t amount, const char *route)
{
	struct pool_record rec = {
		.org = org, .kind = (uint8_t)kind, .granted = amount};

	snprintf(rec.route, sizeof(rec.route), "%s", route);
	return registry_credits_grant(w.registry, &rec);
}

static void grant(enum pool_kind kind, uint64_t amount)
{
	int r = try_grant(kind, amount, "");

	cr_assert_eq(r, 0, "%d: %s", r, registry_error(w.registry));
}

static uint32_t id_of(unsigned pool)
{
	return credits_of(org)->pools[pool].id;
}

static int list_ledger(const struct ledger_record *rec, void *arg)
{
	char *out = arg;

	sprintf(out + strlen(out), "%+lld %s;", (long long)rec->change,
		rec->why);
	return 0;
}

static const char *ledger(void)
{
	static char out[1024];

	out[0] = '\0';
	cr_assert_eq(
		records_each_ledger(w.records, org, 0, 0, list_ledger, out), 0);
	return out;
}

Test(registry_credits, organization_without_credits_is_not_counted)
{
	struct org_record rec = {.name = "zero", .credits = true};

	cr_expect_str_eq(pools(), "none");
	org = make_org("paying", 500);
	cr_expect_str_eq(pools(), "3:500-0 ");
	cr_expect_str_eq(ledger(), "+500 grant;");
	cr_assert_eq(registry_org_create(w.registry, &rec, 0), 0);
	org = rec.slot;
	cr_expect_str_eq(pools(), "");
	world_restart(&w);
	cr_expect_str_eq(pools(), "");
	rec = (struct org_record){.name = "much"};
	cr_expect_eq(registry_org_create(w.registry, &rec,
					 (uint64_t)CREDITS_MAX + 1),
		     REGISTRY_INVALID);
}

Test(registry_credits, pools_stand_in_the_order_of_their_consumption)
{
	grant(POOL_PROVISIONAL, 1);
	grant(POOL_REFERRAL, 2);
	grant(POOL_PACK, 3);
	use(0, 2);
	grant(POOL_PACK, 4);
	cr_assert_eq(try_grant(POOL_TRIAL, 5, "/ocr"), 0);
	cr_expect_str_eq(pools(), "1:5-0 3:3-2 3:4-0 4:2-0 5:1-0 ");
	cr_expect_eq(credits_of(org)->pools[0].route, label_hash("/ocr", 4));
	cr_expect_eq(credits_of(org)->pools[1].route, 0);
}

Test(registry_credits, counts_outlive_the_process_and_other_changes)
{
	grant(POOL_PACK, 10);
	use(0, 4);
	slot_set_word(&credits_of(org)->pools[0].returned, 1);
	world_restart(&w);
	cr_expect_not(w.report.fresh, "%s", w.report.arena_warning);
	cr_expect_str_eq(pools(), "3:10-4 ");
	cr_expect_eq(claim_load(&credits_of(org)->pools[0].returned), 1);
	grant(POOL_PACK, 20);
	cr_expect_str_eq(pools(), "3:10-4 3:20-0 ");
	/* A fresh arena knows what was granted. */
	world_reboot(&w);
	world_start(&w);
	cr_expect_str_eq(pools(), "3:10-0 3:20-0 ");
}

Test(registry_credits, recorded_change_is_applied_by_the_next_start)
{
	grant(POOL_PACK, 10);
	grant(POOL_PACK, 20);
	use(0, 4);
	use(1, 5);
	cr_assert_eq(records_pool_close(w.records, id_of(0), 99), 0);
	world_restart(&w);
	cr_expect_str_eq(pools(), "3:20-5 ");
	cr_expect_str_eq(ledger(), "+10 grant;+20 grant;-6 closed;");
	world_restart(&w);
	cr_expect_str_eq(ledger(), "+10 grant;+20 grant;-6 closed;");
	/* Records from before there were any. */
	cr_assert_eq(records_org_set_credits(w.records, org, false, false), 0);
	world_restart(&w);
	cr_expect_str_eq(pools(), "none");
}

Test(registry_credits, damaged_pools_discard_the_arena)
{
	grant(POOL_PACK, 10);
	credits_of(org)->count = 9999;
	world_restart(&w);
	cr_expect(w.report.fresh);
	cr_expect_str_eq(pools(), "3:10-0 ");
}

Test(registry_credits, subscribing_ends_trials_and_the_old_subscription)
{
	struct pool_live live[CREDIT_POOLS_MAX];
	unsigned count;

	cr_assert_eq(try_grant(POOL_TRIAL, 500, "/ocr"), 0);
	grant(POOL_PACK, 7);
	use(0, 100);
	cr_assert_eq(registry_credits_subscribe(w.registry, org, 1000), 0);
	cr_expect_str_eq(pools(), "2:1000-0 3:7-0 ");
	use(0, 999);
	cr_assert_eq(registry_credits_subscribe(w.registry, org, 5000), 0);
	cr_expect_str_eq(pools(), "2:5000-0 3:7-0 ");
	cr_expect_str_eq(ledger(),
			 "+500 grant;+7 grant;+1000 subscription;"
			 "-400 subscribed;+5000 subscription;-1 subscribed;");
	/* Not again on that route. */
	cr_expect_eq(try_grant(POOL_TRIAL, 5, "/ocr"), REGISTRY_EXISTS);
	cr_assert_eq(registry_credits_live(w.registry, org, live, &count), 0);
	cr_assert_eq(count, 2);
	cr_expect_eq(live[0].record.monthly, 5000);
	cr_expect_neq(live[0].record.renewed_ms, 0);
	cr_assert_eq(registry_credits_subscribe(w.registry, org, 0), 0);
	cr_expect_str_eq(pools(), "3:7-0 ");
	cr_expect_eq(registry_credits_subscribe(w.registry, org, 0),
		     REGISTRY_ABSENT);
	cr_expect_eq(registry_credits_subscribe(w.registry, 99, 5),
		     REGISTRY_ABSENT);
}

Test(registry_credits, renewal_grants_a_month_and_the_rest_lapses)
{
	cr_expect_eq(registry_credits_renew(w.registry, org, 77),
		     REGISTRY_ABSENT);
	cr_assert_eq(registry_credits_subscribe(w.registry, org, 100), 0);
	cr_assert_eq(registry_credits_overage(w.registry, org, true, 50), 0);
	grant(POOL_PACK, 7);
	use(0, 60);
	use(1, 3);
	use(2, 50);
	cr_assert_eq(registry_credits_renew(w.registry, org, 77), 0);
	cr_expect_str_eq(pools(), "2:100-0 3:7-3 6:50-0 ");
	cr_expect_str_eq(ledger(),
			 "+100 subscription;+50 overage;+7 grant;"
			 "+100 renewal;+50 renewal;-40 lapsed;+0 lapsed;");
}

Test(registry_credits, expired_pools_are_closed_when_they_are_due)
{
	int64_t soon = (int64_t)clock_wall_ms() + 3600000;
	struct pool_record rec = {.org = org,
				  .kind = POOL_PACK,
				  .granted = 10,
				  .expires_ms = soon};

	cr_assert_eq(registry_credits_grant(w.registry, &rec), 0);
	rec.expires_ms = soon + 1;
	rec.granted = 20;
	cr_assert_eq(registry_credits_grant(w.registry, &rec), 0);
	grant(POOL_PACK, 30);
	cr_expect_eq(claim_load(&credits_of(org)->pools[0].expires_ms),
		     (uint64_t)soon);
	use(0, 4);
	cr_expect_eq(registry_credits_expire(w.registry, soon - 1, 100), 0);
	cr_expect_eq(registry_credits_expire(w.registry, soon, 100), 1);
	cr_expect_str_eq(pools(), "3:20-0 3:30-0 ");
	cr_expect_eq(registry_credits_expire(w.registry, soon + 1, 1), 1);
	cr_expect_eq(registry_credits_expire(w.registry, INT64_MAX, 100), 0);
	cr_expect_str_eq(pools(), "3:30-0 ");
	cr_expect_str_eq(ledger(), "+10 grant;+20 grant;+30 grant;"
				   "-6 expired;-20 expired;");
	rec.expires_ms = 1;
	cr_expect_eq(registry_credits_grant(w.registry, &rec),
		     REGISTRY_INVALID);
}

Test(registry_credits, revoked_pool_is_gone)
{
	grant(POOL_PROVISIONAL, 500);
	grant(POOL_PACK, 7);
	use(1, 100);
	cr_expect_eq(registry_credits_revoke(w.registry, org, 99),
		     REGISTRY_ABSENT);
	cr_expect_eq(
		registry_credits_revoke(w.registry, make_org("b", 0), id_of(1)),
		REGISTRY_ABSENT);
	cr_assert_eq(registry_credits_revoke(w.registry, org, id_of(1)), 0);
	cr_expect_str_eq(pools(), "3:7-0 ");
	cr_expect_str_eq(ledger(), "+500 grant;+7 grant;-400 revoked;");
}

Test(registry_credits, overage_is_switched_and_capped)
{
	struct org_record rec;

	cr_assert_eq(registry_credits_overage(w.registry, org, true, 100), 0);
	cr_expect_str_eq(pools(), "6:100-0 ");
	cr_assert_eq(records_org_get(w.records, org, &rec), 0);
	cr_expect(rec.overage);
	use(0, 10);
	cr_assert_eq(registry_credits_overage(w.registry, org, false, 0), 0);
	cr_expect_str_eq(pools(), "");
	cr_assert_eq(records_org_get(w.records, org, &rec), 0);
	cr_expect_not(rec.overage);
	cr_assert_eq(registry_credits_overage(w.registry, org, true, 5), 0);
	cr_assert_eq(registry_credits_revoke(w.registry, org, id_of(0)), 0);
	cr_assert_eq(records_org_get(w.records, org, &rec), 0);
	cr_expect_not(rec.overage);
	cr_expect_eq(registry_credits_overage(w.registry, org, true,
					      (uint64_t)CREDITS_MAX + 1),
		     REGISTRY_INVALID);
}

Test(registry_credits, grants_out_of_range_are_refused)
{
	cr_expect_eq(try_grant(POOL_SUBSCRIPTION, 5, ""), REGISTRY_INVALID);
	cr_expect_eq(try_grant(POOL_OVERAGE, 5, ""), REGISTRY_INVALID);
	cr_expect_eq(try_grant(0, 5, ""), REGISTRY_INVALID);
	cr_expect_eq(try_grant(POOL_PACK, (uint64_t)CREDITS_MAX + 1, ""),
		     REGISTRY_INVALID);
	org = 99;
	cr_expect_eq(try_grant(POOL_PACK, 5, ""), REGISTRY_ABSENT);
}

Test(registry_credits, used_up_pools_make_room_for_another)
{
	for (unsigned i = 0; i < CREDIT_POOLS_MAX; i++)
		grant(POOL_PACK, 10);
	cr_expect_eq(try_grant(POOL_PACK, 10, ""), REGISTRY_FULL);
	use(3, 10);
	grant(POOL_PACK, 11);
	cr_expect_eq(credits_of(org)->count, CREDIT_POOLS_MAX);
	cr_expect_eq(claim_load(&credits_of(org)->pools[15].granted), 11);
	cr_expect_eq(try_grant(POOL_PACK, 10, ""), REGISTRY_FULL);
}

Test(registry_credits, full_ring_region_is_an_answer_and_nothing_is_recorded)
{
	uint64_t ring;

	grant(POOL_PACK, 10);
	for (unsigned log2 = RINGS_LOG2_MAX + 1; log2-- > 3;)
		while (rings_take(&w.registry->rings, log2, &ring) == 0)
			;
	cr_expect_eq(try_grant(POOL_PACK, 20, ""), REGISTRY_FULL);
	cr_expect_str_eq(pools(), "3:10-0 ");
	cr_expect_str_eq(ledger(), "+10 grant;");
}

/* ---- while checks go on ---- */

#define SPENDERS 2
#define CHANGES 100

struct spender {
	pthread_t thread;
	struct gate gate;
	struct counters counters;
	struct epoch_reader reader;
	const char *key;
	uint64_t allowed;
};

static _Atomic(bool) spending;

static void *spend(void *arg)
{
	struct spender *s = arg;

	/* PAIRS: nothing; it says when to end. */
	while (atomic_load_explicit(&spending, memory_order_relaxed)) {
		struct check check = {.key = (const uint8_t *)s->key,
				      .key_len = (uint8_t)strlen(s->key),
				      .credential = CREDENTIAL_KEY,
				      .cost = 1};
		struct instant now = instant_now();
		struct verdict verdict;

		epoch_enter(&s->reader);
		gate_decide(&s->gate, &check, &verdict, 1, &now,
			    clock_wall_ms());
		epoch_leave(&s->reader);
		s->allowed += verdict.reason == REASON_ALLOW;
	}
	return NULL;
}

static int add_change(const struct ledger_record *rec, void *arg)
{
	*(int64_t *)arg += rec->change;
	return 0;
}

/* What the ledger says was granted and not left over is what was spent. */
Test(registry_credits, every_credit_is_accounted_for_while_pools_come_and_go)
{
	static struct spender spenders[SPENDERS];
	struct pool_live live[CREDIT_POOLS_MAX];
	struct rule_record off = {.org = org, .name = "org", .removed = true};
	struct keytext_prefix prefix;
	char text[KEY_TEXT_MAX];
	int64_t granted = 0, rest = 0;
	uint64_t allowed = 0;
	unsigned count;

	off.algorithm = RULE_WINDOW;
	off.limit = 1;
	cr_assert_eq(registry_rule_set(w.registry, &off), 0);
	world_key(&w, org, text);
	cr_assert(keytext_prefix_init(&prefix, "il"));
	grant(POOL_PACK, 1000);
	atomic_store_explicit(&spending, true, memory_order_relaxed);
	for (uint32_t i = 0; i < SPENDERS; i++) {
		struct spender *s = &spenders[i];

		s->key = text;
		gate_init(&s->gate, &w.arena.arena, &w.table, &prefix, i + 1,
			  &s->counters);
		epoch_register(&w.epoch, &s->reader);
		cr_assert_eq(pthread_create(&s->thread, NULL, spend, s), 0);
	}
	for (unsigned i = 0; i < CHANGES; i++) {
		grant(POOL_PACK, 500 + i);
		if (i % 3 == 0)
			cr_assert_eq(registry_credits_revoke(w.registry, org,
							     id_of(0)),
				     0);
		if (i % 7 == 0)
			cr_assert_eq(registry_credits_subscribe(w.registry, org,
								100 + i),
				     0);
		if (credits_of(org)->count > CREDIT_POOLS_MAX - 2)
			cr_assert_eq(registry_credits_revoke(w.registry, org,
							     id_of(1)),
				     0);
	}
	atomic_store_explicit(&spending, false, memory_order_relaxed);
	for (unsigned i = 0; i < SPENDERS; i++) {
		pthread_join(spenders[i].thread, NULL);
		allowed += spenders[i].allowed;
	}
	cr_assert_eq(
		records_each_ledger(w.records, org, 0, 0, add_change, &granted),
		0);
	cr_assert_eq(registry_credits_live(w.registry, org, live, &count), 0);
	for (unsigned i = 0; i < count; i++) {
		cr_expect_geq(live[i].rest, 0);
		rest += live[i].rest;
	}
	cr_assert_gt(allowed, 0);
	cr_expect_eq(granted - rest, (int64_t)allowed,
		     "%lld granted, %lld left, "
		     "%llu spent",
		     (long long)granted, (long long)rest,
		     (unsigned long long)allowed);
}

Test(registry_credits, event_is_raised_once)
{
	struct event_record event = {.kind = "budget.threshold",
				     .org = org,
				     .body = "{}",
				     .once = "x"};

	cr_expect_eq(registry_event_raise(w.registry, &event), 0);
	cr_expect_eq(registry_event_raise(w.registry, &event), REGISTRY_EXISTS);
	cr_expect_neq(event.at_ms, 0);
}
