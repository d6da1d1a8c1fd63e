/* SPDX-License-Identifier: MIT */
/* Trials that routes give: from the configuration to a check. */
#include "base/clock.h"
#include "base/label.h"
#include "gate/routes.h"
#include "state/registry_internal.h"
#include "world.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct world w;
static struct routes routes;
static uint32_t org;
static char key[KEY_TEXT_MAX];

static void add_route(const char *name, uint32_t trial)
{
	cr_assert(routes_add(&routes, name, 1, ""));
	routes.routes[routes.count - 1].trial = trial;
}

/* With credits counted, and a key. */
static void make_org(const char *name, uint64_t granted)
{
	struct org_record rec = {.credits = true};
	int r;

	snprintf(rec.name, sizeof(rec.name), "%s", name);
	r = registry_org_create(w.registry, &rec, granted);
	cr_assert_eq(r, 0, "%d: %s", r, registry_error(w.registry));
	org = rec.slot;
	world_key(&w, org, key);
}

static void open_world(void)
{
	world_init(&w);
	memset(&routes, 0, sizeof(routes));
	add_route("ocr", 3);
	add_route("plain", 0);
	add_route("image", 5);
	w.options.routes = &routes;
	world_start(&w);
}

static void close_world(void)
{
	world_die(&w);
	world_deinit(&w);
}

TestSuite(registry_trials, .init = open_world, .fini = close_world);

/* "kind/route:rest " of each pool, as workers and records have it, with "?N"
 * when its first use will grant N. */
static const char *pools(void)
{
	static char out[1024];
	struct pool_live live[CREDIT_POOLS_MAX];
	uint64_t word = claim_load(&w.arena.arena.orgs[org].credits);
	const struct credits *c;
	unsigned count;

	if (word == 0)
		return "none";
	c = apply_block(w.registry, word);
	cr_assert_eq(registry_credits_live(w.registry, org, live, &count), 0);
	cr_assert_eq(c->count, count);
	out[0] = '\0';
	for (unsigned i = 0; i < count; i++) {
		cr_assert_eq(c->pools[i].id, live[i].record.id);
		sprintf(out + strlen(out), "%u/%s:%lld", live[i].record.kind,
			live[i].record.route, (long long)live[i].rest);
		cr_expect_eq(live[i].rest,
			     (int64_t)(live[i].granted - live[i].used));
		if (live[i].available > 0)
			sprintf(out + strlen(out), "?%" PRIu64,
				live[i].available);
		strcat(out, " ");
	}
	return out;
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

static int list_event(const struct event_record *rec, void *arg)
{
	const char *route = strstr(rec->body, "\"route\":\"");
	char *out = arg;

	cr_assert_not_null(route);
	route += strlen("\"route\":\"");
	sprintf(out + strlen(out), "%s %.*s;", rec->kind,
		(int)strcspn(route, "\""), route);
	return 0;
}

static const char *events(void)
{
	static char out[1024];

	out[0] = '\0';
	cr_assert_eq(records_each_event(w.records, true, 0, 0, list_event, out),
		     0);
	return out;
}

static bool step(void)
{
	return registry_trials_step(w.registry);
}

static enum reason ask(const char *route, uint32_t cost)
{
	struct check_extra extra = {.route_hash =
					    label_hash(route, strlen(route))};
	struct check c = {.key = (const uint8_t *)key,
			  .key_len = (uint8_t)strlen(key),
			  .credential = CREDENTIAL_KEY,
			  .extra = &extra,
			  .cost = cost};
	struct instant now = instant_now();
	struct verdict v;

	gate_decide(&w.gate, &c, &v, 1, &now, clock_wall_ms());
	return v.reason;
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

Test(registry_trials, first_check_on_a_route_is_paid_from_its_trial_only)
{
	make_org("acme", 0);
	cr_expect_str_eq(pools(), "1/ocr:0?3 1/image:0?5 ");
	cr_expect_eq(ask("plain", 1), REASON_CREDITS);
	cr_expect_eq(ask("unknown", 1), REASON_CREDITS);
	cr_expect_eq(ask("ocr", 2), REASON_ALLOW);
	cr_expect_str_eq(pools(), "1/ocr:1 1/image:0?5 ");
	cr_expect_eq(ask("ocr", 2), REASON_CREDITS);
	cr_expect_eq(ask("ocr", 1), REASON_ALLOW);
	cr_expect_eq(ask("ocr", 1), REASON_CREDITS);
	cr_expect_eq(ask("image", 5), REASON_ALLOW);
	cr_expect_str_eq(pools(), "1/ocr:0 1/image:0 ");
}

Test(registry_trials, ledger_and_event_come_with_the_first_use_and_once)
{
	make_org("acme", 0);
	step();
	cr_expect_str_eq(ledger(), "");
	cr_expect_eq(ask("ocr", 9), REASON_CREDITS); /* draws nothing */
	step();
	cr_expect_str_eq(ledger(), "");
	cr_expect_eq(ask("ocr", 2), REASON_ALLOW);
	step();
	cr_expect_str_eq(ledger(), "+3 trial;");
	cr_expect_str_eq(events(), "credits.trial ocr;");
	cr_expect_eq(ask("ocr", 1), REASON_ALLOW);
	step();
	cr_expect_eq(ask("image", 1), REASON_ALLOW);
	step();
	world_restart(&w);
	step();
	world_reboot(&w);
	world_start(&w);
	cr_expect_eq(ask("ocr", 1), REASON_ALLOW); /* was in no snapshot */
	step();
	cr_expect_str_eq(ledger(), "+3 trial;+5 trial;");
	cr_expect_str_eq(events(), "credits.trial ocr;credits.trial image;");
}

Test(registry_trials, what_a_process_did_not_live_to_tell_the_next_one_tells)
{
	make_org("acme", 0);
	cr_expect_eq(ask("image", 2), REASON_ALLOW);
	world_restart(&w);
	cr_expect_str_eq(pools(), "1/ocr:0?3 1/image:3 ");
	cr_expect_str_eq(ledger(), "");
	step();
	cr_expect_str_eq(ledger(), "+5 trial;");
	cr_expect_str_eq(events(), "credits.trial image;");
}

/* Closed before the step has seen that it was used: granted, then gone. */
Test(registry_trials, a_used_trial_is_granted_before_it_ends)
{
	make_org("acme", 0);
	cr_expect_eq(ask("image", 2), REASON_ALLOW);
	cr_assert_eq(registry_credits_subscribe(w.registry, org, 100), 0);
	step();
	cr_expect_str_eq(ledger(), "+5 trial;+100 subscription;-3 subscribed;");
	cr_expect_str_eq(events(), "credits.trial image;");
}

/* The same, used after the records had closed it. */
Test(registry_trials, a_trial_that_the_arena_kept_longer_is_granted_too)
{
	make_org("acme", 0);
	cr_assert_eq(records_pool_close(w.records, 1, 99), 0);
	cr_assert_eq(records_pool_close(w.records, 2, 99), 0);
	cr_expect_eq(ask("ocr", 2), REASON_ALLOW);
	world_restart(&w);
	cr_expect_str_eq(pools(), "");
	cr_expect_str_eq(ledger(), "+3 trial;-1 closed;");
	cr_expect_str_eq(events(), "credits.trial ocr;");
}

/* More than one commit takes. */
Test(registry_trials, many_first_uses_are_granted_batch_by_batch)
{
	unsigned count = 0;
	uint32_t first;

	make_org("o0", 0);
	first = org;
	cr_expect_eq(ask("ocr", 1), REASON_ALLOW);
	for (unsigned i = 1; i < 400; i++) {
		char name[8];

		snprintf(name, sizeof(name), "o%u", i);
		make_org(name, 0);
		cr_expect_eq(ask("ocr", 1), REASON_ALLOW);
	}
	cr_expect(step());
	cr_expect_not(step());
	for (org = first; org < first + 400; org++)
		count += strcmp(ledger(), "+3 trial;") == 0;
	cr_expect_eq(count, 400);
}

Test(registry_trials, what_a_trial_does_not_suffice_for_other_pools_pay)
{
	make_org("acme", 10);
	cr_expect_str_eq(pools(), "1/ocr:0?3 1/image:0?5 3/:10 ");
	cr_expect_str_eq(ledger(), "+10 grant;");
	cr_expect_eq(ask("ocr", 4), REASON_ALLOW);
	cr_expect_str_eq(pools(), "1/ocr:0 1/image:0?5 3/:9 ");
	cr_expect_eq(ask("plain", 1), REASON_ALLOW);
	cr_expect_str_eq(pools(), "1/ocr:0 1/image:0?5 3/:8 ");
}

Test(registry_trials, they_come_when_credits_begin_to_be_counted)
{
	org = world_org(&w, "later", 100);
	world_key(&w, org, key);
	world_restart(&w);
	cr_expect_str_eq(pools(), "none");
	cr_expect_eq(ask("ocr", 99), REASON_ALLOW);
	grant(POOL_PACK, 7);
	cr_expect_str_eq(pools(), "1/ocr:0?3 1/image:0?5 3/:7 ");
	cr_expect_eq(ask("image", 1), REASON_ALLOW);
	step();
	cr_expect_str_eq(ledger(), "+7 grant;+5 trial;");
}

Test(registry_trials, they_are_given_once)
{
	make_org("acme", 0);
	cr_expect_eq(ask("ocr", 3), REASON_ALLOW);
	cr_expect_eq(ask("image", 1), REASON_ALLOW);
	world_restart(&w);
	cr_expect_not(w.report.fresh, "%s", w.report.arena_warning);
	cr_expect_str_eq(pools(), "1/ocr:0 1/image:4 ");
	/* Nor when it was closed, nor what somebody granted. */
	cr_assert_eq(records_pool_close(w.records, 1, 99), 0);
	world_restart(&w);
	cr_expect_str_eq(pools(), "1/image:4 ");
	grant(POOL_PACK, 7);
	cr_expect_str_eq(pools(), "1/image:4 3/:7 ");
	cr_expect_eq(try_grant(POOL_TRIAL, 9, "image"), REGISTRY_EXISTS);
	cr_expect_eq(ask("ocr", 8), REASON_CREDITS);
}

Test(registry_trials, one_that_somebody_grants_is_granted_at_once)
{
	make_org("acme", 0);
	cr_assert_eq(try_grant(POOL_TRIAL, 9, "plain"), 0);
	cr_expect_str_eq(pools(), "1/ocr:0?3 1/image:0?5 1/plain:9 ");
	cr_expect_str_eq(ledger(), "+9 grant;");
	cr_expect_eq(ask("plain", 1), REASON_ALLOW);
	step();
	cr_expect_str_eq(ledger(), "+9 grant;");
	cr_expect_str_eq(events(), "");
}

Test(registry_trials, a_start_gives_those_that_are_new)
{
	make_org("acme", 2);
	cr_expect_eq(ask("ocr", 1), REASON_ALLOW);
	/* Amounts of those that are there stay. */
	routes.routes[0].trial = 300;
	add_route("new", 6);
	world_restart(&w);
	cr_expect_not(w.report.fresh, "%s", w.report.arena_warning);
	cr_expect_str_eq(pools(), "1/ocr:2 1/image:0?5 1/new:0?6 3/:2 ");
	cr_expect_eq(ask("new", 6), REASON_ALLOW);
	step();
	cr_expect_str_eq(ledger(), "+2 grant;+3 trial;+6 trial;");
	world_restart(&w);
	cr_expect_str_eq(pools(), "1/ocr:2 1/image:0?5 1/new:0 3/:2 ");
	cr_expect_str_eq(ledger(), "+2 grant;+3 trial;+6 trial;");
}

Test(registry_trials, subscribing_ends_them_and_no_subscriber_gets_one)
{
	make_org("acme", 0);
	cr_expect_eq(ask("ocr", 1), REASON_ALLOW);
	step();
	cr_assert_eq(registry_credits_subscribe(w.registry, org, 100), 0);
	cr_expect_str_eq(pools(), "2/:100 ");
	/* Nothing came of the one that nobody used, and nothing went. */
	cr_expect_str_eq(ledger(), "+3 trial;+100 subscription;-2 subscribed;");
	add_route("new", 6);
	world_restart(&w);
	cr_expect_str_eq(pools(), "2/:100 ");
	cr_assert_eq(registry_credits_subscribe(w.registry, org, 0), 0);
	world_restart(&w);
	cr_expect_str_eq(pools(), "");
	cr_expect_eq(ask("new", 1), REASON_CREDITS);
	/* Nor one that begins with it. */
	org = world_org(&w, "other", 100);
	cr_assert_eq(registry_credits_subscribe(w.registry, org, 9), 0);
	cr_expect_str_eq(pools(), "2/:9 ");
	/* Overage is no subscription. */
	org = world_org(&w, "third", 100);
	cr_assert_eq(registry_credits_overage(w.registry, org, true, 9), 0);
	cr_expect_str_eq(pools(), "1/ocr:0?3 1/image:0?5 1/new:0?6 6/:9 ");
}

/* The pool that is used last. */
static uint32_t last(void)
{
	struct pool_live live[CREDIT_POOLS_MAX];
	unsigned count;

	cr_assert_eq(registry_credits_live(w.registry, org, live, &count), 0);
	cr_assert_gt(count, 0);
	return live[count - 1].record.id;
}

Test(registry_trials, they_leave_room_for_what_is_granted)
{
	char name[8];
	unsigned trials = 0;

	for (unsigned i = 0; i < CREDIT_POOLS_MAX; i++) {
		snprintf(name, sizeof(name), "r%u", i);
		add_route(name, 1);
	}
	make_org("acme", 1);
	for (const char *at = pools(); (at = strstr(at, "1/")); at++)
		trials++;
	cr_expect_eq(trials, CREDIT_POOLS_MAX - 4 - 1);
	cr_expect_eq(ask("r8", 1), REASON_ALLOW);
	cr_expect_not_null(strstr(pools(), "1/r8:0 "));
	cr_expect_null(strstr(pools(), "1/r9:"));
	for (unsigned i = 0; i < 4; i++)
		grant(POOL_PACK, 1);
	/* The used one makes room, and then no other does. */
	grant(POOL_PACK, 1);
	cr_expect_eq(try_grant(POOL_PACK, 1, ""), REGISTRY_FULL);
	/* Those that did not fit come when there is room. */
	cr_expect_null(strstr(pools(), "1/r9:"));
	for (unsigned i = 0; i < 5; i++)
		cr_assert_eq(registry_credits_revoke(w.registry, org, last()),
			     0);
	cr_expect_not_null(strstr(pools(), "1/r9:0?1 "), "%s", pools());
}

/* The number of a pool that older records do not know yet may be in the
 * arena. */
Test(registry_trials, a_new_pool_takes_nothing_over_from_another)
{
	char saved[256], command[600];

	memset(&routes, 0, sizeof(routes));
	make_org("acme", 2);
	world_die(&w);
	snprintf(saved, sizeof(saved), "%s.old", w.place.records);
	snprintf(command, sizeof(command), "cp %s %s", w.place.records, saved);
	cr_assert_eq(system(command), 0);
	world_start(&w);
	grant(POOL_PACK, 4);
	cr_expect_eq(ask("x", 5), REASON_ALLOW);
	world_die(&w);
	cr_assert_eq(rename(saved, w.place.records), 0);
	add_route("ocr", 9);
	world_start(&w);
	cr_expect_str_eq(pools(), "1/ocr:0?9 3/:0 ");
}
