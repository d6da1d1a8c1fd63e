/* SPDX-License-Identifier: MIT */
#include "state/registry.h"

#include "base/clock.h"
#include "base/sha256.h"
#include "state/registry_internal.h"
#include "state/snapshot.h"
#include "world.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static struct world w;

static void open_world(void)
{
	world_init(&w);
	world_start(&w);
}

static void close_world(void)
{
	if (w.registry != NULL)
		world_die(&w);
	world_deinit(&w);
}

TestSuite(registry, .init = open_world, .fini = close_world);

static uint8_t reason(const char *key)
{
	return world_check(&w, key, 1).reason;
}

static struct org *org_line(uint32_t slot)
{
	return &w.arena.arena.orgs[slot];
}

static uint32_t in_window(uint32_t org)
{
	struct org_live live;

	registry_org_live(w.registry, org, &live);
	return live.in_window;
}

/* ---- what a call promises when it has returned ---- */

Test(registry, created_key_passes_and_is_answered_with_its_names)
{
	struct project_record project = {.name = "shop"};
	struct key_record rec = {.name = "till"};
	char text[KEY_TEXT_MAX];
	struct verdict v;

	project.org = rec.org = world_org(&w, "acme", 10);
	cr_assert_eq(registry_project_create(w.registry, &project), 0);
	rec.project = project.slot;
	cr_assert_eq(registry_key_create(w.registry, &rec, text), 0);
	v = world_check(&w, text, 3);
	cr_expect_eq(v.reason, REASON_ALLOW);
	cr_expect_eq(v.remaining, 7);
	cr_expect(id_equal(v.key, rec.id));
	cr_expect(id_equal(v.project, project.id));
	cr_expect_eq(world_key_used(&w, rec.slot), 3);
	cr_expect_eq(world_org_used(&w, rec.org), 3);
}

Test(registry, revoked_key_never_passes_again)
{
	char text[KEY_TEXT_MAX];
	struct key_record rec = world_key(&w, world_org(&w, "acme", 10), text);
	struct key_record out;
	char id[ID_LEN + 1] = "";

	memcpy(id, rec.id.c, ID_LEN);
	cr_assert_eq(reason(text), REASON_ALLOW);
	cr_assert_eq(registry_key_revoke(w.registry, id, &out), 0);
	cr_expect_eq(reason(text), REASON_INVALID_KEY);
	cr_expect_gt(out.revoked_ms, 0);
	/* Again is fine; the first instant stays. */
	cr_assert_eq(registry_key_revoke(w.registry, id, &rec), 0);
	cr_expect_eq(rec.revoked_ms, out.revoked_ms);
	world_restart(&w);
	cr_expect_eq(reason(text), REASON_INVALID_KEY);
	cr_expect_eq(world_key_used(&w, rec.slot), 1);
	world_reboot(&w);
	world_start(&w);
	cr_expect_eq(reason(text), REASON_INVALID_KEY);
	cr_expect_eq(registry_key_revoke(w.registry, "nosuchid", &out),
		     REGISTRY_ABSENT);
}

Test(registry, suspended_organization_is_refused_until_resumed)
{
	char text[KEY_TEXT_MAX];
	uint32_t org = world_org(&w, "acme", 10);

	world_key(&w, org, text);
	cr_assert_eq(registry_org_set_suspended(w.registry, org, true), 0);
	cr_expect_eq(reason(text), REASON_SUSPENDED);
	world_restart(&w);
	cr_expect_eq(reason(text), REASON_SUSPENDED);
	cr_assert_eq(registry_org_set_suspended(w.registry, org, false), 0);
	cr_expect_eq(reason(text), REASON_ALLOW);
	cr_expect_eq(registry_org_set_suspended(w.registry, 999, true),
		     REGISTRY_ABSENT);
}

Test(registry, rotated_key_ends_now_or_after_the_grace)
{
	char first[KEY_TEXT_MAX], second[KEY_TEXT_MAX], third[KEY_TEXT_MAX];
	uint32_t org = world_org(&w, "acme", 100);
	struct key_record old = world_key(&w, org, first), new;
	char id[ID_LEN + 1] = "";
	int64_t now = (int64_t)clock_wall_ms();

	memcpy(id, old.id.c, ID_LEN);
	cr_assert_eq(registry_key_rotate(w.registry, id, 3600000, &old, &new,
					 second),
		     0);
	cr_expect_eq(reason(first), REASON_ALLOW);
	cr_expect_eq(reason(second), REASON_ALLOW);
	cr_expect_geq(old.expires_ms, now + 3600000);
	cr_expect_eq(new.expires_ms, 0);
	cr_expect_eq(new.org, org);
	/* A shorter life is not made longer. */
	cr_assert_eq(
		registry_key_rotate(w.registry, id, 7200000, &old, &new, third),
		0);
	cr_expect_lt(old.expires_ms, now + 7200000);
	memcpy(id, new.id.c, ID_LEN);
	cr_assert_eq(registry_key_rotate(w.registry, id, 0, &old, &new, first),
		     0);
	cr_expect_eq(reason(third), REASON_INVALID_KEY);
	cr_expect_eq(reason(first), REASON_ALLOW);
	cr_expect_eq(registry_key_rotate(w.registry, id, 0, &old, &new, third),
		     REGISTRY_REVOKED);
	memcpy(id, new.id.c, ID_LEN);
	cr_expect_eq(registry_key_rotate(w.registry, id, UINT64_MAX, &old, &new,
					 third),
		     REGISTRY_INVALID);
	world_restart(&w);
	cr_expect_eq(reason(second), REASON_ALLOW);
	cr_expect_eq(reason(third), REASON_INVALID_KEY);
}

Test(registry, expiry_out_of_range_is_refused)
{
	struct key_record rec = {.org = world_org(&w, "acme", 10)};
	char text[KEY_TEXT_MAX];

	rec.expires_ms = (int64_t)clock_wall_ms() - 1;
	cr_expect_eq(registry_key_create(w.registry, &rec, text),
		     REGISTRY_INVALID);
	rec.expires_ms = -5;
	cr_expect_eq(registry_key_create(w.registry, &rec, text),
		     REGISTRY_INVALID);
	rec.expires_ms = INT64_MAX;
	cr_expect_eq(registry_key_create(w.registry, &rec, text), 0);
	cr_expect_eq(reason(text), REASON_ALLOW);
}

Test(registry, limit_out_of_range_is_refused)
{
	struct org_record rec = {.name = "acme"};

	cr_assert_eq(registry_org_create(w.registry, &rec, 0), 0);
	cr_expect_eq(rec.limit, 100);
	cr_expect_eq(rec.window_ms, 60000);
	cr_expect_eq(registry_org_set_limit(w.registry, rec.slot, 0, 1),
		     REGISTRY_INVALID);
	cr_expect_eq(
		registry_org_set_limit(w.registry, rec.slot, LIMIT_MAX + 1, 1),
		REGISTRY_INVALID);
	cr_expect_eq(registry_org_set_limit(w.registry, rec.slot, 1, 0),
		     REGISTRY_INVALID);
	cr_expect_eq(registry_org_set_limit(w.registry, rec.slot, 1,
					    WINDOW_MS_MAX + 1),
		     REGISTRY_INVALID);
	cr_expect_eq(registry_org_set_limit(w.registry, rec.slot, 65536,
					    WINDOW_MS_MAX),
		     0);
	cr_expect_eq(registry_org_set_limit(w.registry, 999, 1, 1),
		     REGISTRY_ABSENT);
	rec.limit = 5;
	cr_expect_eq(registry_org_create(w.registry, &rec, 0), REGISTRY_EXISTS);
}

Test(registry, changed_limit_keeps_what_the_window_holds)
{
	char text[KEY_TEXT_MAX];
	uint32_t org = world_org(&w, "acme", 10);

	world_key(&w, org, text);
	cr_assert_eq(world_passes(&w, text, 20), 10);
	cr_assert_eq(registry_org_set_limit(w.registry, org, 1000, 60000), 0);
	cr_expect_eq(in_window(org), 10);
	cr_expect_eq(world_passes(&w, text, 2000), 990);
	cr_assert_eq(registry_org_set_limit(w.registry, org, 500, 60000), 0);
	cr_expect_eq(reason(text), REASON_RATE_LIMITED);
	world_restart(&w);
	cr_expect_eq(reason(text), REASON_RATE_LIMITED);
	cr_expect_eq(world_org_used(&w, org), 1000);
	cr_assert_eq(registry_org_set_limit(w.registry, org, 1001, 60000), 0);
	cr_expect_eq(world_passes(&w, text, 5), 1);
}

/* ---- death, and what the next start does ---- */

Test(registry, killed_process_is_carried_on_to_the_unit)
{
	char one[KEY_TEXT_MAX], two[KEY_TEXT_MAX];
	uint32_t org = world_org(&w, "acme", 100);
	struct key_record a = world_key(&w, org, one);
	struct key_record b = world_key(&w, org, two);

	world_passes(&w, one, 7);
	world_passes(&w, two, 5);
	for (int i = 0; i < 3; i++) {
		world_restart(&w);
		cr_expect_not(w.report.fresh);
		cr_expect_eq(w.report.orgs, 1);
		cr_expect_eq(w.report.keys, 2);
		cr_expect_eq(in_window(org), 12);
		cr_expect_eq(world_org_used(&w, org), 12);
		cr_expect_eq(world_key_used(&w, a.slot), 7);
		cr_expect_eq(world_key_used(&w, b.slot), 5);
	}
	cr_expect_eq(world_passes(&w, one, 100), 88);
}

/* Death after the commit, before the arena: the record is there alone. */
Test(registry, recorded_changes_are_applied_by_the_next_start)
{
	char one[KEY_TEXT_MAX], two[KEY_TEXT_MAX], three[KEY_TEXT_MAX];
	uint32_t org = world_org(&w, "acme", 10);
	uint32_t other = world_org(&w, "other", 10);
	struct key_record a = world_key(&w, org, one);
	struct key_record b = world_key(&w, org, two);
	struct key_record c = {.org = other, .created_ms = 1};
	struct org_record late = {.name = "late",
				  .limit_own = true,
				  .limit = 3,
				  .window_ms = 60000,
				  .created_ms = 1};

	world_key(&w, other, three);
	cr_assert_eq(world_passes(&w, one, 10), 10);
	cr_assert_eq(world_passes(&w, three, 1), 1);
	cr_assert_eq(records_key_revoke(w.records, a.slot, 12345), 0);
	cr_assert_eq(records_key_set_expiry(w.records, b.slot, 1), 0);
	cr_assert_eq(records_org_set_limit(w.records, org, 3000, 60000), 0);
	cr_assert_eq(records_org_set_suspended(w.records, other, true), 0);
	memcpy(late.id.c, "LATElate", ID_LEN);
	cr_assert_eq(records_org_insert(w.records, &late, 100), 0);
	memcpy(c.id.c, "KEYlate1", ID_LEN);
	sha256("imported", 8, c.hash);
	c.org = late.slot;
	cr_assert_eq(records_key_insert(w.records, &c, 100), 0);

	world_restart(&w);
	cr_expect_not(w.report.fresh);
	cr_expect_eq(reason(one), REASON_INVALID_KEY);
	cr_expect_eq(reason(two), REASON_INVALID_KEY);
	cr_expect_eq(reason(three), REASON_SUSPENDED);
	cr_expect_eq(world_passes(&w, "imported", 5), 3);
	cr_expect_eq(in_window(org), 10);
	world_key(&w, org, one);
	cr_expect_eq(world_passes(&w, one, 4000), 2990);
}

/* Death before the commit: the arena has what the records do not know. */
Test(registry, unrecorded_slots_are_freed_by_the_next_start)
{
	struct org_record org = {.slot = 2, .limit = 9, .window_ms = 1};
	struct key_record key = {.slot = 2, .org = 1};
	char text[KEY_TEXT_MAX], again[KEY_TEXT_MAX];
	uint32_t first = world_org(&w, "acme", 10);
	struct key_record rec;

	world_key(&w, first, text);
	memcpy(org.id.c, "GHOSTorg", ID_LEN);
	memcpy(key.id.c, "GHOSTkey", ID_LEN);
	sha256("ghost", 5, key.hash);
	cr_assert_eq(slot_setup_org(w.registry, &org), 0);
	cr_assert_eq(slot_setup_key(w.registry, &key), 0);
	cr_assert_eq(keytable_insert(&w.table, key.hash, key.slot), 0);
	/* Not even while it lives does it pass. */
	cr_expect_eq(reason("ghost"), REASON_INVALID_KEY);

	world_restart(&w);
	cr_expect_eq(reason("ghost"), REASON_INVALID_KEY);
	cr_expect(id_is_none(org_line(2)->id));
	cr_expect_eq(world_org(&w, "second", 10), 2);
	rec = world_key(&w, 2, again);
	cr_expect_eq(rec.slot, 2);
	cr_expect_eq(world_passes(&w, again, 20), 10);
	cr_expect_eq(reason(text), REASON_ALLOW);
}

Test(registry, slot_of_another_id_starts_from_zero)
{
	char mine[KEY_TEXT_MAX], theirs[KEY_TEXT_MAX];
	char copy[128];
	uint32_t org = world_org(&w, "kept", 10);
	struct key_record rec;

	world_key(&w, org, mine);
	world_passes(&w, mine, 4);
	snprintf(copy, sizeof(copy), "%s/backup", w.place.state);
	cr_assert_eq(records_backup(w.records, copy), 0);
	world_key(&w, world_org(&w, "forgotten", 50), theirs);
	world_passes(&w, theirs, 33);

	/* An older backup is put back while the arena is newer. */
	world_die(&w);
	cr_assert_eq(rename(copy, w.place.records), 0);
	world_start(&w);
	cr_expect_not(w.report.fresh);
	cr_expect_eq(w.report.orgs, 1);
	cr_expect_eq(reason(theirs), REASON_INVALID_KEY);
	cr_expect_eq(in_window(org), 4);

	/* Their slots go to somebody else. */
	cr_expect_eq(world_org(&w, "new", 5), 2);
	rec = world_key(&w, 2, theirs);
	cr_expect_eq(rec.slot, 2);
	cr_expect_eq(world_org_used(&w, 2), 0);
	cr_expect_eq(world_key_used(&w, 2), 0);
	cr_expect_eq(world_passes(&w, theirs, 9), 5);
	world_restart(&w);
	cr_expect_eq(world_key_used(&w, 2), 5);
	cr_expect_eq(reason(theirs), REASON_RATE_LIMITED);
}

Test(registry, slot_whose_record_was_replaced_starts_from_zero)
{
	struct org_record org = {.name = "new",
				 .limit_own = true,
				 .limit = 5,
				 .window_ms = 60000};
	struct key_record key = {.created_ms = 1};
	char text[KEY_TEXT_MAX], copy[128];
	uint32_t kept = world_org(&w, "kept", 10);

	world_key(&w, kept, text);
	world_passes(&w, text, 2);
	snprintf(copy, sizeof(copy), "%s/backup", w.place.state);
	cr_assert_eq(records_backup(w.records, copy), 0);
	world_key(&w, world_org(&w, "forgotten", 50), text);
	world_passes(&w, text, 33);
	world_die(&w);
	cr_assert_eq(rename(copy, w.place.records), 0);
	/* Written without an arena, by a tool say: the same slots, others'. */
	cr_assert_eq(
		records_open(w.place.records, &w.records, w.err, sizeof(w.err)),
		0);
	memcpy(org.id.c, "OTHERorg", ID_LEN);
	cr_assert_eq(records_org_insert(w.records, &org, 10), 0);
	memcpy(key.id.c, "OTHERkey", ID_LEN);
	sha256("other", 5, key.hash);
	key.org = org.slot;
	cr_assert_eq(records_key_insert(w.records, &key, 10), 0);
	cr_assert_eq(key.slot, 2);
	records_close(w.records);

	world_start(&w);
	cr_expect_eq(world_org_used(&w, 2), 0);
	cr_expect_eq(world_key_used(&w, 2), 0);
	cr_expect_eq(reason(text), REASON_INVALID_KEY);
	cr_expect_eq(world_passes(&w, "other", 9), 5);
	cr_expect_eq(in_window(kept), 2);
}

/* Death in the middle of a raised limit: recorded, the ring not moved. */
Test(registry, raised_limit_is_finished_by_the_next_start)
{
	char text[KEY_TEXT_MAX];
	uint32_t org = world_org(&w, "acme", 100);
	uint64_t ring;
	uint64_t place = RING_PLACE(claim_load(&org_line(org)->first.ring));

	world_key(&w, org, text);
	world_passes(&w, text, 90);
	cr_assert_eq(records_org_set_limit(w.records, org, 1000, 60000), 0);
	world_passes(&w, text, 5);
	world_restart(&w);
	cr_expect_not(w.report.fresh, "%s", w.report.arena_warning);
	cr_expect_eq(RING_LOG2(claim_load(&org_line(org)->first.ring)), 10);
	cr_expect_eq(in_window(org), 95);
	cr_expect_eq(world_passes(&w, text, 2000), 905);
	/* The old ring is free, once. */
	cr_assert_eq(rings_take(&w.registry->rings, 7, &ring), 0);
	cr_expect_eq(RING_PLACE(ring), place);
	cr_assert_eq(rings_take(&w.registry->rings, 7, &ring), 0);
	cr_expect_neq(RING_PLACE(ring), place);
}

/* A process that is killed while it starts must not leave an arena that looks
 * like counters: they are still in the snapshot alone. */
Test(registry, death_before_the_snapshot_is_restored_is_no_loss)
{
	struct arena_file half;
	char text[KEY_TEXT_MAX];
	uint32_t org = world_org(&w, "acme", 100);
	unsigned recovered;
	bool fresh;

	world_key(&w, org, text);
	world_passes(&w, text, 40);
	world_snapshot(&w, true);
	world_die(&w);
	unlink(w.place.arena);
	cr_assert_eq(arena_open(&half, w.place.arena, &fresh, &recovered, w.err,
				sizeof(w.err)),
		     0);
	cr_assert(fresh);
	arena_close(&half);
	world_start(&w);
	cr_expect(w.report.fresh);
	cr_expect(w.report.restored);
	cr_expect_eq(in_window(org), 40);
	cr_expect_eq(world_org_used(&w, org), 40);
}

Test(registry, failed_start_leaves_the_counters_for_the_next)
{
	char one[KEY_TEXT_MAX], two[KEY_TEXT_MAX];
	uint32_t a = world_org(&w, "first", 10);
	uint32_t b = world_org(&w, "second", 10);

	world_key(&w, a, one);
	world_key(&w, b, two);
	world_passes(&w, one, 3);
	world_passes(&w, two, 10);
	cr_assert_eq(records_org_set_limit(w.records, a, 65536, 60000), 0);
	world_die(&w);
	w.registry = NULL;
	w.options.ring_bytes = 4096;
	cr_assert_eq(world_try_start(&w), -ENOSPC);
	cr_expect_not_null(strstr(w.err, "raise ring_bytes"), "%s", w.err);
	w.options.ring_bytes = 64 << 20;
	world_start(&w);
	cr_expect_not(w.report.fresh);
	cr_expect_eq(in_window(a), 3);
	cr_expect_eq(in_window(b), 10);
	cr_expect_eq(reason(two), REASON_RATE_LIMITED);
}

/* The real thing once: killed between any two instructions. */
Test(registry, acknowledged_changes_survive_kill_nine)
{
	char text[KEY_TEXT_MAX];
	uint32_t org = world_org(&w, "acme", 65536);
	struct key_record keep = world_key(&w, org, text);
	unsigned revoked = 0;

	world_die(&w);
	w.registry = NULL;
	for (unsigned round = 0; round < 12; round++) {
		struct {
			char key[KEY_TEXT_MAX];
			bool revoked;
		} told;
		int pipe_fds[2], status;
		uint64_t passed = 0;
		pid_t pid;

		cr_assert_eq(pipe(pipe_fds), 0);
		pid = fork();
		if (pid == 0) {
			world_start(&w);
			for (unsigned i = 0;; i++) {
				struct key_record rec, out;
				char id[ID_LEN + 1] = "";

				rec = world_key(&w, org, told.key);
				told.revoked = false;
				(void)!write(pipe_fds[1], &told, sizeof(told));
				world_passes(&w, text, 1);
				memcpy(id, rec.id.c, ID_LEN);
				registry_key_revoke(w.registry, id, &out);
				told.revoked = true;
				(void)!write(pipe_fds[1], &told, sizeof(told));
				registry_org_set_limit(w.registry, org,
						       60000 + i % 5000, 60000);
			}
		}
		close(pipe_fds[1]);
		for (unsigned i = 0; i < 2 + 3 * round; i++)
			cr_assert_eq(read(pipe_fds[0], &told, sizeof(told)),
				     sizeof(told));
		kill(pid, SIGKILL);
		waitpid(pid, &status, 0);
		while (read(pipe_fds[0], &told, sizeof(told)) == sizeof(told))
			;
		close(pipe_fds[0]);

		world_start(&w);
		cr_assert_not(w.report.fresh, "%s", w.report.arena_warning);
		if (told.revoked) {
			cr_assert_eq(reason(told.key), REASON_INVALID_KEY);
			revoked++;
		}
		passed = world_key_used(&w, keep.slot);
		cr_assert_gt(passed, 0);
		cr_assert_leq(world_org_used(&w, org) - passed, 12);
		cr_assert_eq(in_window(org), world_org_used(&w, org));
		world_die(&w);
		w.registry = NULL;
	}
	cr_expect_gt(revoked, 0);
}

/* ---- an arena that is not what it should be ---- */

static void expect_discarded(uint32_t org, uint32_t units)
{
	world_start(&w);
	cr_expect(w.report.fresh);
	cr_expect(w.report.restored);
	cr_expect_eq(in_window(org), units);
}

Test(registry, damaged_windows_are_discarded_for_the_snapshot)
{
	char text[KEY_TEXT_MAX];
	uint32_t org = world_org(&w, "acme", 100);
	uint32_t other = world_org(&w, "other", 100);

	world_key(&w, org, text);
	world_passes(&w, text, 40);
	world_snapshot(&w, false);

	/* two windows in one place */
	slot_set_word(&org_line(other)->first.ring,
		      claim_load(&org_line(org)->first.ring));
	world_die(&w);
	expect_discarded(org, 40);
	cr_expect_not_null(strstr(w.report.arena_warning, "damaged"));
	/* a ring out of bounds */
	slot_set_word(&org_line(org)->first.ring, UINT64_MAX >> 30);
	world_die(&w);
	expect_discarded(org, 40);
	/* a gate that nobody can open: a start that does not end */
	slot_set_word(&org_line(org)->gate, 0x123457);
	world_die(&w);
	expect_discarded(org, 40);
	/* and in good health it is carried on again */
	world_passes(&w, text, 2);
	world_restart(&w);
	cr_expect_not(w.report.fresh);
	cr_expect_eq(in_window(org), 42);
}

Test(registry, arena_of_other_records_is_discarded_for_the_snapshot)
{
	struct world theirs;
	char text[KEY_TEXT_MAX];
	uint32_t org = world_org(&w, "acme", 100);

	world_key(&w, org, text);
	world_passes(&w, text, 40);
	world_snapshot(&w, true);
	world_die(&w);
	/* Another daemon with the same runtime_dir ran in between. */
	world_init(&theirs);
	snprintf(theirs.place.arena, sizeof(theirs.place.arena), "%s",
		 w.place.arena);
	world_start(&theirs);
	world_key(&theirs, world_org(&theirs, "them", 10), text);
	world_die(&theirs);
	world_deinit(&theirs);
	expect_discarded(org, 40);
	cr_expect_not_null(strstr(w.report.arena_warning, "none of"));
}

Test(registry, empty_records_beside_a_full_arena_are_just_empty)
{
	char text[KEY_TEXT_MAX];

	world_key(&w, world_org(&w, "acme", 100), text);
	world_passes(&w, text, 40);
	world_die(&w);
	unlink(w.place.records);
	world_start(&w);
	cr_expect_eq(reason(text), REASON_INVALID_KEY);
	cr_expect_eq(world_org(&w, "new", 3), 1);
	world_key(&w, 1, text);
	cr_expect_eq(world_passes(&w, text, 10), 3);
}

/* ---- after a reboot ---- */

Test(registry, reboot_restores_windows_by_age)
{
	char text[KEY_TEXT_MAX];
	uint32_t org = world_org(&w, "acme", 100);
	struct key_record rec = world_key(&w, org, text);
	uint64_t boot = CLOCK_BIAS, minute = 60000 * CLOCK_TICKS_PER_MS;
	uint64_t now = clock_ticks(), age = minute / 2;

	if (now < boot + 3 * minute)
		cr_skip("the machine has just booted");
	w.now = now - age;
	cr_assert_eq(world_passes(&w, text, 60), 60);
	world_snapshot(&w, false);
	world_reboot(&w);
	world_start(&w);
	cr_expect(w.report.restored);
	cr_expect_eq(world_org_used(&w, org), 60);
	cr_expect_eq(world_key_used(&w, rec.slot), 60);
	/* At boot they were half a minute old: from then on half remains,
	 * whatever the wall clock says. */
	w.now = boot + minute / 2 - minute / 100;
	cr_expect_eq(world_check(&w, text, 41).reason, REASON_RATE_LIMITED);
	w.now = boot + minute / 2 + minute / 100;
	cr_expect_eq(world_check(&w, text, 100).reason, REASON_ALLOW);
}

Test(registry, same_boot_restores_windows_to_the_tick)
{
	char text[KEY_TEXT_MAX];
	uint32_t org = world_org(&w, "acme", 100);
	uint64_t minute = 60000 * CLOCK_TICKS_PER_MS, at = clock_ticks();

	world_key(&w, org, text);
	w.now = at;
	cr_assert_eq(world_passes(&w, text, 60), 60);
	world_snapshot(&w, false);
	world_die(&w);
	unlink(w.place.arena);
	world_start(&w);
	w.now = at + minute;
	cr_expect_eq(world_check(&w, text, 41).reason, REASON_RATE_LIMITED);
	w.now = at + minute + 1;
	cr_expect_eq(world_check(&w, text, 100).reason, REASON_ALLOW);
}

Test(registry, lowered_limit_after_the_snapshot_binds)
{
	char text[KEY_TEXT_MAX];
	uint32_t org = world_org(&w, "acme", 1000);

	world_key(&w, org, text);
	cr_assert_eq(world_passes(&w, text, 500), 500);
	world_snapshot(&w, false);
	cr_assert_eq(registry_org_set_limit(w.registry, org, 10, 60000), 0);
	world_die(&w);
	unlink(w.place.arena);
	world_start(&w);
	cr_expect_eq(world_org_used(&w, org), 500);
	cr_expect_eq(in_window(org), 500);
	cr_expect_eq(reason(text), REASON_RATE_LIMITED);
	cr_assert_eq(registry_org_set_limit(w.registry, org, 600, 60000), 0);
	cr_expect_eq(world_passes(&w, text, 600), 100);
}

Test(registry, snapshot_of_records_that_are_gone_is_skipped)
{
	char text[KEY_TEXT_MAX], copy[128];
	uint32_t org = world_org(&w, "kept", 100);

	world_key(&w, org, text);
	world_passes(&w, text, 5);
	snprintf(copy, sizeof(copy), "%s/backup", w.place.state);
	cr_assert_eq(records_backup(w.records, copy), 0);
	world_key(&w, world_org(&w, "gone", 100), text);
	world_passes(&w, text, 50);
	world_snapshot(&w, false);
	world_reboot(&w);
	cr_assert_eq(rename(copy, w.place.records), 0);
	world_start(&w);
	cr_expect(w.report.restored);
	cr_expect_eq(world_org_used(&w, org), 5);
	cr_expect_eq(world_org(&w, "new", 7), 2);
	world_key(&w, 2, text);
	cr_expect_eq(world_passes(&w, text, 50), 7);
}

Test(registry, refused_snapshot_is_told_and_left_alone)
{
	char text[KEY_TEXT_MAX];
	uint32_t org = world_org(&w, "acme", 100);
	uint8_t *before, *after;
	size_t len, len_after;

	world_key(&w, org, text);
	world_passes(&w, text, 5);
	world_snapshot(&w, false);
	before = scratch_read(w.place.snapshot, &len);
	before[len / 2] ^= 1;
	scratch_write(w.place.snapshot, before, len);
	world_die(&w);
	unlink(w.place.arena);
	world_start(&w);
	cr_expect_not(w.report.restored);
	cr_expect_not_null(strstr(w.report.warning, "damaged"), "%s",
			   w.report.warning);
	cr_expect_eq(in_window(org), 0);
	cr_expect_eq(world_org_used(&w, org), 0);
	after = scratch_read(w.place.snapshot, &len_after);
	cr_assert_eq(len, len_after);
	cr_expect_arr_eq(before, after, len);
	/* It is told again until somebody has done something about it. */
	world_restart(&w);
	cr_expect_neq(w.report.warning[0], '\0');
	before[len / 2] ^= 1;
	scratch_write(w.place.snapshot, before, len);
	world_restart(&w);
	cr_expect(w.report.restored);
	cr_expect_eq(in_window(org), 5);
	free(before);
	free(after);
}

/* ---- strict ---- */

static char strict_text[KEY_TEXT_MAX];
static uint32_t strict_org;

static void open_strict(void)
{
	world_init(&w);
	w.options.strict = true;
	world_start(&w);
	strict_org = world_org(&w, "acme", 100);
	world_key(&w, strict_org, strict_text);
}

TestSuite(strict, .init = open_strict, .fini = close_world);

Test(strict, windows_count_as_full_until_they_have_passed_since_boot)
{
	uint64_t minute = 60000 * CLOCK_TICKS_PER_MS;
	uint64_t used;

	cr_assert_eq(world_passes(&w, strict_text, 30), 30);
	world_snapshot(&w, false);
	world_passes(&w, strict_text, 10);
	world_reboot(&w);
	world_start(&w);
	/* The total is what was known, not what is assumed. */
	used = world_org_used(&w, strict_org);
	cr_expect_eq(used, 30);
	w.now = CLOCK_BIAS + minute;
	cr_expect_eq(reason(strict_text), REASON_RATE_LIMITED);
	w.now = CLOCK_BIAS + minute + 1;
	cr_expect_eq(world_passes(&w, strict_text, 200), 100);
	cr_expect_eq(world_org_used(&w, strict_org), 130);
}

Test(strict, total_smaller_than_the_limit_does_not_wrap)
{
	world_reboot(&w);
	world_start(&w);
	w.now = CLOCK_BIAS + 1;
	cr_expect_eq(reason(strict_text), REASON_RATE_LIMITED);
	cr_expect_eq(world_org_used(&w, strict_org), 0);
	world_restart(&w);
	cr_expect_eq(reason(strict_text), REASON_RATE_LIMITED);
	cr_expect_eq(world_org_used(&w, strict_org), 0);
}

Test(strict, clean_stop_is_exact)
{
	cr_assert_eq(world_passes(&w, strict_text, 30), 30);
	world_snapshot(&w, true);
	world_reboot(&w);
	world_start(&w);
	w.now = CLOCK_BIAS + 1;
	cr_expect_eq(world_passes(&w, strict_text, 200), 70);
}

/* The clean snapshot of the last stop says nothing about what was admitted
 * since the start that followed it. */
Test(strict, clean_snapshot_counts_only_until_somebody_serves)
{
	world_snapshot(&w, true);
	world_reboot(&w);
	world_start(&w);
	cr_assert_eq(world_passes(&w, strict_text, 100), 100);
	world_reboot(&w);
	world_start(&w);
	w.now = CLOCK_BIAS + 1;
	cr_expect_eq(reason(strict_text), REASON_RATE_LIMITED);
}

Test(strict, clean_snapshot_counts_not_after_a_start_that_carried_on)
{
	world_snapshot(&w, true);
	world_restart(&w);
	cr_assert_eq(world_passes(&w, strict_text, 100), 100);
	world_reboot(&w);
	world_start(&w);
	w.now = CLOCK_BIAS + 1;
	cr_expect_eq(reason(strict_text), REASON_RATE_LIMITED);
}

/* The arena was lost, the machine was not: admissions may be a second old. */
Test(strict, lost_arena_fills_windows_from_now)
{
	cr_assert_eq(world_passes(&w, strict_text, 100), 100);
	world_die(&w);
	unlink(w.place.arena);
	world_start(&w);
	cr_expect_eq(reason(strict_text), REASON_RATE_LIMITED);
	cr_expect_eq(in_window(strict_org), 100);
}

Test(strict, refused_or_absent_snapshot_fills_windows_from_now)
{
	scratch_write(w.place.snapshot, "STILSNAP", 8);
	world_die(&w);
	unlink(w.place.arena);
	world_start(&w);
	cr_expect_eq(reason(strict_text), REASON_RATE_LIMITED);
	cr_expect_neq(w.report.warning[0], '\0');
	world_die(&w);
	unlink(w.place.arena);
	unlink(w.place.snapshot);
	world_start(&w);
	cr_expect_eq(reason(strict_text), REASON_RATE_LIMITED);
}

Test(strict, start_that_cannot_promise_it_fails)
{
	char tmp[128];

	world_snapshot(&w, true);
	world_die(&w);
	w.registry = NULL;
	snprintf(tmp, sizeof(tmp), "%s.tmp", w.place.snapshot);
	/* A directory in the place of the temporary file. */
	snprintf(w.err, sizeof(w.err), "mkdir %s", tmp);
	cr_assert_eq(system(w.err), 0);
	cr_expect_lt(world_try_start(&w), 0);
	cr_expect_not_null(strstr(w.err, "snapshot"), "%s", w.err);
	rmdir(tmp);
	world_start(&w);
}

/* ---- import ---- */

static void fill(struct key_record *recs, size_t count, uint32_t org,
		 unsigned salt)
{
	for (size_t i = 0; i < count; i++) {
		char text[32];

		memset(&recs[i], 0, sizeof(recs[i]));
		recs[i].org = org;
		snprintf(text, sizeof(text), "key-%u-%zu", salt, i);
		sha256(text, strlen(text), recs[i].hash);
	}
}

Test(registry, import_is_all_or_nothing)
{
	static struct key_record recs[100];
	uint32_t org = world_org(&w, "acme", 1000);
	struct records_counts counts;
	size_t bad;

	fill(recs, 100, org, 1);
	recs[70].org = 999;
	cr_assert_eq(registry_key_import(w.registry, recs, 100, &bad),
		     REGISTRY_ABSENT);
	cr_expect_eq(bad, 70);
	fill(recs, 100, org, 1);
	memcpy(recs[99].hash, recs[3].hash, 32);
	cr_assert_eq(registry_key_import(w.registry, recs, 100, &bad),
		     REGISTRY_EXISTS);
	cr_expect_eq(bad, 99);
	fill(recs, 100, org, 1);
	recs[5].expires_ms = 1;
	cr_assert_eq(registry_key_import(w.registry, recs, 100, &bad),
		     REGISTRY_INVALID);
	cr_expect_eq(bad, 5);
	cr_assert_eq(records_count(w.records, &counts), 0);
	cr_expect_eq(counts.keys, 0);
	cr_expect_eq(reason("key-1-0"), REASON_INVALID_KEY);
	cr_expect_eq(w.table.live, 0);

	/* The same slots serve others now. */
	fill(recs, 100, org, 2);
	cr_assert_eq(registry_key_import(w.registry, recs, 100, &bad), 0);
	for (unsigned i = 0; i < 100; i++) {
		char text[32];

		snprintf(text, sizeof(text), "key-2-%u", i);
		cr_expect_eq(reason(text), REASON_ALLOW);
		snprintf(text, sizeof(text), "key-1-%u", i);
		cr_expect_eq(reason(text), REASON_INVALID_KEY);
	}
	world_restart(&w);
	cr_expect_eq(reason("key-2-99"), REASON_ALLOW);
	cr_expect_eq(world_key_used(&w, recs[99].slot), 2);
}

Test(registry, hashes_that_begin_alike_are_refused_before_they_are_recorded)
{
	size_t room = KEYTABLE_PROBES_MAX * KEYTABLE_BUCKET_ENTRIES, bad;
	struct key_record *recs = calloc(room + 1, sizeof(*recs));
	uint32_t org = world_org(&w, "acme", 1000);
	struct records_counts counts;

	for (size_t i = 0; i <= room; i++) {
		recs[i].org = org;
		memcpy(recs[i].hash + 24, &i, sizeof(i));
	}
	cr_assert_eq(registry_key_import(w.registry, recs, room + 1, &bad),
		     REGISTRY_INVALID);
	cr_expect_eq(bad, room);
	cr_assert_eq(records_count(w.records, &counts), 0);
	cr_expect_eq(counts.keys, 0);
	/* Somebody else put them there: the start refuses them alone. */
	for (size_t i = 0; i <= room; i++) {
		char id[ID_LEN + 1];

		snprintf(id, sizeof(id), "alike%03zu", i);
		memcpy(recs[i].id.c, id, ID_LEN);
		cr_assert_eq(records_key_insert(w.records, &recs[i], 10000), 0);
	}
	world_restart(&w);
	cr_expect_eq(w.report.unserved, 1);
	free(recs);
}

/* ---- full ---- */

Test(registry, full_tables_are_an_answer)
{
	struct project_record project = {.name = "one"};
	struct org_record rec = {.name = "second", .limit = 1, .window_ms = 1};
	struct key_record key = {.org = 1};
	char text[KEY_TEXT_MAX];

	w.options.max_orgs = w.options.max_keys = w.options.max_projects = 1;
	world_restart(&w);
	key.org = project.org = world_org(&w, "acme", 10);
	world_key(&w, key.org, text);
	cr_expect_eq(registry_org_create(w.registry, &rec, 0), REGISTRY_FULL);
	cr_expect_not_null(strstr(registry_error(w.registry), "max_orgs"));
	cr_expect_eq(registry_key_create(w.registry, &key, text),
		     REGISTRY_FULL);
	cr_expect_not_null(strstr(registry_error(w.registry), "max_keys"));
	for (size_t i = 0; i < sizeof(text); i++)
		cr_expect_eq(text[i], '\0');
	cr_assert_eq(registry_project_create(w.registry, &project), 0);
	snprintf(project.name, sizeof(project.name), "two");
	cr_expect_eq(registry_project_create(w.registry, &project),
		     REGISTRY_FULL);
	cr_expect_not_null(strstr(registry_error(w.registry), "max_projects"));
	project.org = 77;
	w.options.max_projects = 10;
	world_restart(&w);
	cr_expect_eq(registry_project_create(w.registry, &project),
		     REGISTRY_ABSENT);
}

Test(registry, full_ring_region_is_an_answer_and_nothing_is_recorded)
{
	struct org_record rec = {.name = "big", .limit = 65536, .window_ms = 1};
	char text[KEY_TEXT_MAX];
	struct org_record read;
	uint32_t org;

	w.options.ring_bytes = 4096;
	world_restart(&w);
	org = world_org(&w, "acme", 10);
	world_key(&w, org, text);
	cr_expect_eq(registry_org_create(w.registry, &rec, 0), REGISTRY_FULL);
	cr_expect_not_null(strstr(registry_error(w.registry), "ring_bytes"));
	cr_expect_eq(records_org_find(w.records, "big", &read), RECORDS_ABSENT);
	cr_expect_eq(registry_org_set_limit(w.registry, org, 65536, 60000),
		     REGISTRY_FULL);
	cr_assert_eq(records_org_get(w.records, org, &read), 0);
	cr_expect_eq(read.limit, 10);
	cr_expect_eq(world_passes(&w, text, 20), 10);
	/* The next start has nothing to complain of. */
	world_restart(&w);
	cr_expect_eq(reason(text), REASON_RATE_LIMITED);
	/* And what fits still fits. */
	cr_expect_eq(registry_org_set_limit(w.registry, org, 200, 60000), 0);
	cr_expect_eq(world_passes(&w, text, 300), 190);
}

/* The disk is full: the answer is an error and nothing changes. */
Test(registry, change_that_is_not_durable_is_not_there)
{
	struct org_record rec = {.name = "late", .limit = 5, .window_ms = 1};
	struct key_record key, out, new;
	struct rlimit small = {0}, was;
	char text[KEY_TEXT_MAX], other[KEY_TEXT_MAX];
	char id[ID_LEN + 1] = "";
	uint32_t org = world_org(&w, "acme", 10);
	uint64_t live, end;
	size_t bad;

	key = world_key(&w, org, text);
	memcpy(id, key.id.c, ID_LEN);
	live = w.table.live;
	signal(SIGXFSZ, SIG_IGN);
	cr_assert_eq(getrlimit(RLIMIT_FSIZE, &was), 0);
	small.rlim_cur = 1;
	small.rlim_max = was.rlim_max;
	cr_assert_eq(setrlimit(RLIMIT_FSIZE, &small), 0);

	cr_expect_lt(registry_org_create(w.registry, &rec, 0), 0);
	cr_expect_neq(registry_error(w.registry)[0], '\0');
	out = (struct key_record){.org = org};
	cr_expect_lt(registry_key_create(w.registry, &out, other), 0);
	out = (struct key_record){.org = org};
	sha256("imported", 8, out.hash);
	cr_expect_lt(registry_key_import(w.registry, &out, 1, &bad), 0);
	cr_expect_lt(registry_key_revoke(w.registry, id, &out), 0);
	cr_expect_lt(registry_key_rotate(w.registry, id, 0, &out, &new, other),
		     0);
	for (size_t i = 0; i < sizeof(other); i++)
		cr_expect_eq(other[i], '\0');
	cr_expect_lt(registry_org_set_limit(w.registry, org, 5000, 60000), 0);
	cr_expect_lt(registry_org_set_suspended(w.registry, org, true), 0);
	cr_assert_eq(setrlimit(RLIMIT_FSIZE, &was), 0);

	cr_expect_eq(w.table.live, live);
	cr_expect_eq(reason("imported"), REASON_INVALID_KEY);
	end = w.registry->rings.end;
	cr_assert_eq(registry_org_set_limit(w.registry, org, 5000, 60000), 0);
	cr_expect_eq(w.registry->rings.end, end);
	cr_assert_eq(registry_org_set_limit(w.registry, org, 10, 60000), 0);
	cr_expect_eq(world_passes(&w, text, 20), 10);
	/* The slots and the room that were taken serve the next ones. */
	cr_assert_eq(registry_org_create(w.registry, &rec, 0), 0);
	cr_expect_eq(rec.slot, 2);
	key = world_key(&w, rec.slot, other);
	cr_expect_eq(key.slot, 2);
	cr_expect_eq(reason(other), REASON_ALLOW);
	world_restart(&w);
	cr_expect_eq(reason(text), REASON_RATE_LIMITED);
	cr_expect_eq(w.report.orgs, 2);
	cr_expect_eq(w.report.keys, 2);
}
