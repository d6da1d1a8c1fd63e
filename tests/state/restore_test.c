/* SPDX-License-Identifier: MIT */
/* What a reboot leaves of rules, credits and holds; and what `strict` makes of
 * it. (Of a single window: registry_test.c.) */
#include "world.h"

#include "base/clock.h"
#include "state/registry_internal.h"
#include "state/snapshot_internal.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

#define SECOND (1000 * CLOCK_TICKS_PER_MS)
#define CREDITS_GRANTED 100u

static struct world w;
static uint32_t org;
static char text[KEY_TEXT_MAX], other[KEY_TEXT_MAX];

static void start(void)
{
	static const struct routes none;

	world_start(&w);
	gate_configure(&w.gate, &(struct gate_options){.routes = &none,
						       .hold_ms = 60000,
						       .workers = 1});
}

static void reboot(bool clean)
{
	world_snapshot(&w, clean);
	world_reboot(&w);
	start();
}

/* The arena is lost, and the machine goes on. */
static void lose_arena(void)
{
	world_die(&w);
	unlink(w.place.arena);
	start();
}

static void make_org(void)
{
	struct org_record rec = {
		.name = "acme", .limit = 1000, .window_ms = 1000};

	cr_assert_eq(registry_org_create(w.registry, &rec, CREDITS_GRANTED), 0);
	org = rec.slot;
}

static void set_rule(const char *name, uint8_t level, uint8_t algorithm,
		     uint32_t limit)
{
	struct rule_record rule = {.org = org,
				   .level = level,
				   .algorithm = algorithm,
				   .limit = limit,
				   .period_ms = 60000};
	int r;

	snprintf(rule.name, sizeof(rule.name), "%s", name);
	if (algorithm == RULE_GCRA)
		rule.burst = limit;
	if (algorithm == RULE_CONCURRENCY) {
		rule.period_ms = 0;
		rule.lease_ms = 60000;
	}
	r = registry_rule_set(w.registry, &rule);
	cr_assert_eq(r, 0, "%d: %s", r, registry_error(w.registry));
}

static void open_restore(void)
{
	world_init(&w);
	w.options.subjects = 100;
	w.options.cells = 100;
	w.options.holds = 128;
	start();
	make_org();
	world_key(&w, org, text);
	world_key(&w, org, other);
}

static void close_restore(void)
{
	world_die(&w);
	world_deinit(&w);
}

TestSuite(restore, .init = open_restore, .fini = close_restore);

static void expect_denied_by(const char *key, const char *rule)
{
	struct verdict v = world_check(&w, key, 1);

	cr_expect_eq(v.reason, REASON_RATE_LIMITED);
	cr_expect_str_eq(v.limit_name, rule);
}

Test(restore, rule_of_keys_knows_them_again)
{
	set_rule("key", LEVEL_KEY, RULE_WINDOW, 5);
	cr_assert_eq(world_passes(&w, text, 9), 5);
	cr_assert_eq(world_passes(&w, other, 3), 3);
	reboot(true);
	w.now = CLOCK_BIAS + 59 * SECOND;
	expect_denied_by(text, "key");
	cr_expect_eq(world_passes(&w, other, 9), 2);
	/* The age when it was saved counts, and the time since the boot. */
	w.now = CLOCK_BIAS + 60 * SECOND + 1;
	cr_expect_eq(world_passes(&w, text, 9), 5);
}

Test(restore, gcra_of_the_organization_goes_on)
{
	set_rule("even", LEVEL_ORG, RULE_GCRA, 6);
	cr_assert_eq(world_passes(&w, text, 9), 6);
	reboot(false);
	w.now = CLOCK_BIAS + 9 * SECOND;
	expect_denied_by(text, "even");
	w.now = CLOCK_BIAS + 30 * SECOND;
	cr_expect_eq(world_passes(&w, text, 9), 3);
}

Test(restore, rule_that_became_another_begins_anew)
{
	set_rule("even", LEVEL_ORG, RULE_GCRA, 6);
	cr_assert_eq(world_passes(&w, text, 9), 6);
	world_snapshot(&w, true);
	set_rule("even", LEVEL_ORG, RULE_WINDOW, 7);
	world_reboot(&w);
	start();
	w.now = CLOCK_BIAS + SECOND;
	cr_expect_eq(world_passes(&w, text, 9), 7);
}

static struct verdict ask(const char *key, uint32_t cost, uint8_t flags,
			  uint64_t hold)
{
	struct check_extra x = {
		.hold = hold,
		.has_address = true,
		.address = {[10] = 0xff, 0xff, 192, 0, 2, 1},
	};
	struct check c = {.key = (const uint8_t *)key,
			  .key_len = (uint8_t)strlen(key),
			  .credential = hold ? CREDENTIAL_HOLD : CREDENTIAL_KEY,
			  .cost = cost,
			  .flags = flags,
			  .extra = &x};
	struct instant now =
		w.now ? instant_at(w.now * CLOCK_TICK_NS) : instant_now();
	struct verdict v;

	gate_decide(&w.gate, &c, &v, 1, &now, clock_wall_ms());
	return v;
}

Test(restore, hold_can_be_settled_after_a_reboot)
{
	struct verdict held, v;

	set_rule("flight", LEVEL_KEY, RULE_CONCURRENCY, 1);
	held = ask(text, 10, CHECK_RESERVE, 0);
	cr_assert_eq(held.reason, REASON_ALLOW);
	cr_assert_eq(held.credits, CREDITS_GRANTED - 10);
	reboot(false);
	w.now = CLOCK_BIAS + SECOND;
	/* Its lease is out, and its units are charged. */
	cr_expect_eq(ask(text, 1, 0, 0).reason, REASON_CONCURRENCY);
	v = ask(text, 4, 0, held.hold);
	cr_expect_eq(v.reason, REASON_ALLOW);
	cr_expect_eq(v.charged, 4);
	cr_expect_eq(v.credits, CREDITS_GRANTED - 4);
	cr_expect_eq(ask(text, 4, 0, held.hold).reason, REASON_NO_HOLD);
	cr_expect_eq(ask(text, 1, 0, 0).reason, REASON_ALLOW);
}

/* The only hold is the last record. */
static void make_version_2(void)
{
	const size_t tail = SNAP_END_BYTES + SNAP_DIGEST_BYTES;
	const size_t cut = SNAP_HOLD_BYTES - SNAP2_HOLD_BYTES;
	XXH128_canonical_t digest;
	size_t len;
	uint8_t *bytes = scratch_read(w.place.snapshot, &len);
	uint8_t *end = bytes + len - tail;

	cr_assert_eq(get_le32(end - SNAP_HOLD_BYTES + SNAP_RECORD_AT_KIND),
		     SNAP_HOLD);
	memmove(end - cut, end, tail);
	len -= cut;
	end -= cut;
	put_le32(bytes + SNAP_AT_VERSION, SNAP2_VERSION);
	put_le64(end + SNAP_END_AT_LENGTH, len);
	XXH128_canonicalFromHash(&digest,
				 XXH3_128bits(bytes, len - SNAP_DIGEST_BYTES));
	memcpy(bytes + len - SNAP_DIGEST_BYTES, digest.digest,
	       SNAP_DIGEST_BYTES);
	scratch_write(w.place.snapshot, bytes, len);
	free(bytes);
}

Test(restore, hold_of_a_snapshot_of_version_2_can_be_settled)
{
	struct verdict held = ask(text, 10, CHECK_RESERVE, 0), v;

	world_snapshot(&w, true);
	make_version_2();
	world_reboot(&w);
	start();
	w.now = CLOCK_BIAS + SECOND;
	cr_expect_eq(ask(text, 1, CHECK_PEEK, 0).credits, CREDITS_GRANTED - 10);
	v = ask(text, 4, 0, held.hold);
	cr_expect_eq(v.reason, REASON_ALLOW);
	cr_expect_eq(v.credits, CREDITS_GRANTED - 4);
}

Test(restore, lease_of_an_address_is_one_again)
{
	struct verdict held[2];

	set_rule("flight", LEVEL_ADDRESS, RULE_CONCURRENCY, 2);
	held[0] = ask(text, 1, 0, 0);
	held[1] = ask(other, 1, 0, 0);
	cr_assert_eq(held[1].reason, REASON_ALLOW);
	reboot(true);
	/* And what it is, a process that dies knows too. */
	world_die(&w);
	start();
	w.now = CLOCK_BIAS + SECOND;
	for (unsigned i = 0; i < 2; i++) {
		cr_expect_eq(ask(text, 1, 0, 0).reason, REASON_CONCURRENCY);
		cr_expect_eq(
			ask(text, SETTLE_AS_RESERVED, 0, held[i].hold).reason,
			REASON_ALLOW);
		cr_expect_eq(ask(other, 1, 0, 0).reason, REASON_ALLOW);
	}
	cr_expect_eq(ask(text, 1, 0, 0).reason, REASON_CONCURRENCY);
}

Test(restore, hold_expires_when_its_time_has_passed_since_the_boot)
{
	struct verdict held = ask(text, 10, CHECK_RESERVE, 0);
	struct instant now;

	reboot(true);
	now = instant_at((CLOCK_BIAS + 59 * SECOND) * CLOCK_TICK_NS);
	cr_expect_eq(gate_expire(&w.gate, 0, 128, &now, clock_wall_ms()), 0);
	now = instant_at((CLOCK_BIAS + 60 * SECOND) * CLOCK_TICK_NS);
	cr_expect_eq(gate_expire(&w.gate, 0, 128, &now, clock_wall_ms()), 1);
	w.now = CLOCK_BIAS + 61 * SECOND;
	cr_expect_eq(ask(text, 1, CHECK_PEEK, 0).credits, CREDITS_GRANTED);
	cr_expect_eq(ask(text, 1, 0, held.hold).reason, REASON_NO_HOLD);
}

/* ---- strict ---- */

static void open_strict(void)
{
	open_restore();
	w.options.strict = true;
}

TestSuite(restore_strict, .init = open_strict, .fini = close_restore);

Test(restore_strict, keys_that_nobody_heard_of_count_as_full)
{
	set_rule("key", LEVEL_KEY, RULE_WINDOW, 5);
	cr_assert_eq(world_passes(&w, text, 2), 2);
	reboot(false);
	w.now = CLOCK_BIAS + 60 * SECOND;
	expect_denied_by(text, "key");
	expect_denied_by(other, "key");
	w.now = CLOCK_BIAS + 60 * SECOND + 1;
	cr_expect_eq(world_passes(&w, text, 9), 5);
	cr_expect_eq(world_passes(&w, other, 9), 5);
}

Test(restore_strict, every_rule_of_the_organization_counts_as_full)
{
	set_rule("even", LEVEL_ORG, RULE_GCRA, 6);
	set_rule("more", LEVEL_ORG, RULE_WINDOW, 4);
	reboot(false);
	w.now = CLOCK_BIAS + 9 * SECOND;
	cr_expect_eq(ask(text, 1, 0, 0).reason, REASON_RATE_LIMITED);
	w.now = CLOCK_BIAS + 60 * SECOND;
	expect_denied_by(text, "more");
	w.now = CLOCK_BIAS + 60 * SECOND + 1;
	cr_expect_eq(world_passes(&w, text, 9), 4);
}

Test(restore_strict, credits_are_what_the_snapshot_says)
{
	cr_assert_eq(world_passes(&w, text, 20), 20);
	reboot(false);
	w.now = CLOCK_BIAS + 2 * SECOND;
	cr_expect_eq(ask(text, 1, CHECK_PEEK, 0).credits, CREDITS_GRANTED - 20);
	cr_expect_eq(world_passes(&w, text, 200), CREDITS_GRANTED - 20);
}

Test(restore_strict, what_counts_as_full_does_after_a_clean_stop_too)
{
	set_rule("key", LEVEL_KEY, RULE_WINDOW, 5);
	lose_arena();
	expect_denied_by(other, "key");
	reboot(true);
	w.now = CLOCK_BIAS + 50 * SECOND;
	expect_denied_by(other, "key");
	w.now = CLOCK_BIAS + 61 * SECOND;
	cr_expect_eq(world_passes(&w, other, 9), 5);
}
