/* SPDX-License-Identifier: MIT */
#include "state/snapshot.h"

#include "base/clock.h"
#include "state/registry_internal.h"
#include "state/snapshot_internal.h"
#include "world.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

static struct world w;
static char text[KEY_TEXT_MAX];
static struct snapshot_info info;
static char err[256];

static void open_world(void)
{
	world_init(&w);
	world_start(&w);
	world_key(&w, world_org(&w, "first", 100), text);
	world_passes(&w, text, 4);
	world_key(&w, world_org(&w, "second", 100), text);
	world_passes(&w, text, 3);
}

static void close_world(void)
{
	world_die(&w);
	world_deinit(&w);
}

TestSuite(snapshot, .init = open_world, .fini = close_world);

static int read_it(void)
{
	err[0] = '\0';
	return snapshot_read(&w.arena.arena, w.place.state, &info, err,
			     sizeof(err));
}

static int write_it(void)
{
	err[0] = '\0';
	return snapshot_write(&w.arena.arena, NULL, w.place.state, false, &info,
			      err, sizeof(err));
}

static void blank(void)
{
	for (uint32_t slot = 1; slot <= 2; slot++) {
		struct org *org = &w.arena.arena.orgs[slot];

		uint64_t ring = claim_load(&org->first.ring);

		slot_set_word(&org->first.level, 0);
		memset(w.arena.arena.rings + RING_PLACE(ring) * LINE_BYTES, 0,
		       sizeof(word_t) << RING_LOG2(ring));
		slot_set_word(&w.arena.arena.keys[slot].used, 0);
		slot_set_half(&w.arena.arena.keys[slot].last_use_min, 0);
	}
}

static uint32_t in_window(uint32_t org)
{
	struct org_live live;

	registry_org_live(w.registry, org, &live);
	return live.in_window;
}

static void expect_blank(const char *what, size_t at)
{
	for (uint32_t slot = 1; slot <= 2; slot++) {
		cr_assert_eq(world_org_used(&w, slot), 0, "%s %zu", what, at);
		cr_assert_eq(world_key_used(&w, slot), 0, "%s %zu", what, at);
		cr_assert_eq(in_window(slot), 0, "%s %zu", what, at);
	}
}

static void seal(uint8_t *bytes, size_t len)
{
	XXH128_canonical_t digest;

	XXH128_canonicalFromHash(&digest,
				 XXH3_128bits(bytes, len - SNAP_DIGEST_BYTES));
	memcpy(bytes + len - SNAP_DIGEST_BYTES, digest.digest,
	       SNAP_DIGEST_BYTES);
}

Test(snapshot, what_was_written_is_read_back)
{
	struct stat st;
	uint32_t last_use = atomic_load_explicit(
		&w.arena.arena.keys[1].last_use_min, memory_order_relaxed);

	cr_assert_eq(write_it(), 0);
	cr_expect_eq(info.orgs, 2);
	cr_expect_eq(info.keys, 2);
	cr_assert_eq(stat(w.place.snapshot, &st), 0);
	cr_expect_eq(st.st_mode & 07777, 0600);
	cr_expect_eq((uint64_t)st.st_size, info.bytes);
	blank();
	cr_assert_eq(read_it(), 0, "%s", err);
	cr_expect_eq(info.orgs, 2);
	cr_expect_eq(info.keys, 2);
	cr_expect_eq(info.skipped, 0);
	cr_expect(info.same_boot);
	cr_expect_not(info.clean);
	cr_expect_eq(in_window(1), 4);
	cr_expect_eq(world_org_used(&w, 2), 3);
	cr_expect_eq(world_key_used(&w, 2), 3);
	cr_expect_neq(last_use, 0);
	cr_expect_eq(atomic_load_explicit(&w.arena.arena.keys[1].last_use_min,
					  memory_order_relaxed),
		     last_use);
}

Test(snapshot, none_is_not_an_error)
{
	cr_expect_eq(read_it(), SNAPSHOT_ABSENT);
	cr_expect_eq(snapshot_peek(&w.arena.arena, w.place.state, &info),
		     SNAPSHOT_ABSENT);
	cr_expect_eq(snapshot_read(&w.arena.arena, "/no/such/place", &info, err,
				   sizeof(err)),
		     -ENOENT);
}

/* Refused, nothing restored, the file as it was. */
static void expect_refused(const uint8_t *bytes, size_t len, const char *what,
			   size_t at)
{
	size_t left_len;
	uint8_t *left;
	int r;

	scratch_write(w.place.snapshot, bytes, len);
	r = read_it();
	cr_assert(r == -EBADMSG || r == -EINVAL || r == -EPROTONOSUPPORT,
		  "%s %zu: %d", what, at, r);
	cr_assert_not_null(strstr(err, "not changed"), "%s", err);
	expect_blank(what, at);
	left = scratch_read(w.place.snapshot, &left_len);
	cr_assert(left_len == len && memcmp(left, bytes, len) == 0, "%s %zu",
		  what, at);
	free(left);
}

Test(snapshot, damaged_at_any_byte_is_refused)
{
	static const uint8_t flips[] = {0x01, 0x80, 0xff};
	uint8_t *bytes;
	size_t len;

	cr_assert_eq(write_it(), 0);
	bytes = scratch_read(w.place.snapshot, &len);
	blank();
	for (size_t at = 0; at < len; at++) {
		for (size_t i = 0; i < sizeof(flips); i++) {
			bytes[at] ^= flips[i];
			expect_refused(bytes, len, "flipped", at);
			bytes[at] ^= flips[i];
		}
	}
	free(bytes);
}

Test(snapshot, cut_at_any_length_or_too_long_is_refused)
{
	uint8_t *bytes;
	size_t len;

	cr_assert_eq(write_it(), 0);
	bytes = scratch_read(w.place.snapshot, &len);
	blank();
	for (size_t at = 0; at < len; at++)
		expect_refused(bytes, at, "cut", at);
	bytes = realloc(bytes, len + 1);
	bytes[len] = 0;
	expect_refused(bytes, len + 1, "longer", len + 1);
	free(bytes);
}

/* A checksum says that it is what was written, not that it makes sense. */
Test(snapshot, nonsense_with_a_right_checksum_does_no_harm)
{
	static const uint8_t flips[] = {0x01, 0x7f, 0x80, 0xff};
	uint8_t *bytes;
	size_t len;
	int accepted = 0;

	cr_assert_eq(write_it(), 0);
	bytes = scratch_read(w.place.snapshot, &len);
	for (size_t at = 0; at < len - SNAP_DIGEST_BYTES; at++) {
		for (size_t i = 0; i < sizeof(flips); i++) {
			int r;

			bytes[at] ^= flips[i];
			seal(bytes, len);
			scratch_write(w.place.snapshot, bytes, len);
			blank();
			r = read_it();
			if (r != 0)
				expect_blank("nonsense", at);
			accepted += r == 0;
			/* Whatever it was: a window can be asked. */
			for (uint32_t org = 1; org <= 2; org++)
				cr_assert_leq(in_window(org), LIMIT_MAX);
			world_check(&w, text, 1);
			bytes[at] ^= flips[i];
		}
	}
	cr_expect_gt(accepted, 0);
	free(bytes);
}

Test(snapshot, foreign_and_newer_are_told_apart)
{
	uint8_t *bytes;
	size_t len;

	cr_assert_eq(write_it(), 0);
	bytes = scratch_read(w.place.snapshot, &len);
	blank();
	bytes[0] = 'X';
	seal(bytes, len);
	expect_refused(bytes, len, "foreign", 0);
	cr_expect_not_null(strstr(err, "not a snapshot"), "%s", err);
	memcpy(bytes, SNAP_MAGIC, SNAP_MAGIC_LEN);
	put_le32(bytes + SNAP_AT_VERSION, SNAP_VERSION + 1);
	seal(bytes, len);
	expect_refused(bytes, len, "newer", 0);
	cr_expect_not_null(strstr(err, "newer version"), "%s", err);
	cr_expect_eq(snapshot_peek(&w.arena.arena, w.place.state, &info),
		     -EPROTONOSUPPORT);
	unlink(w.place.snapshot);
	cr_assert_eq(mkfifo(w.place.snapshot, 0600), 0);
	cr_expect_eq(read_it(), -EINVAL);
	cr_expect_not_null(strstr(err, "regular"), "%s", err);
	free(bytes);
}

Test(snapshot, entries_of_other_owners_are_skipped)
{
	cr_assert_eq(write_it(), 0);
	blank();
	w.arena.arena.orgs[1].id.c[0] ^= 1;
	slot_set_half(&w.arena.arena.orgs[2].state, SLOT_FREE);
	w.arena.arena.keys[1].id.c[0] ^= 1;
	slot_set_half(&w.arena.arena.keys[2].state, SLOT_FREE);
	cr_assert_eq(read_it(), 0);
	cr_expect_eq(info.orgs, 0);
	cr_expect_eq(info.keys, 0);
	cr_expect_eq(info.skipped, 4);
	expect_blank("skipped", 0);
	/* and free slots are not written */
	cr_assert_eq(write_it(), 0);
	cr_expect_eq(info.orgs, 0);
}

/* Of version 1: header, one organization with `count` admissions, trailer */
static void craft(const struct admission *in, uint32_t count, uint64_t taken)
{
	size_t len = SNAP_HEADER_BYTES + SNAP1_ORG_BYTES +
		     count * SNAP_ADMISSION_BYTES + SNAP1_END_BYTES +
		     SNAP_DIGEST_BYTES;
	uint8_t *bytes = calloc(1, len), *p = bytes;

	memcpy(p, SNAP_MAGIC, SNAP_MAGIC_LEN);
	put_le32(p + SNAP_AT_VERSION, SNAP1_VERSION);
	put_le32(p + SNAP_AT_ENDIAN, SNAP_ENDIAN);
	memcpy(p + SNAP_AT_BOOT_ID, w.arena.arena.header->boot_id, 16);
	put_le32(p + SNAP_AT_TICK_NS, CLOCK_TICK_NS);
	p += SNAP_HEADER_BYTES;
	put_le32(p + SNAP1_ORG_AT_SLOT, 1);
	put_le32(p + SNAP1_ORG_AT_COUNT, count);
	memcpy(p + SNAP1_ORG_AT_ID, w.arena.arena.orgs[1].id.c, ID_LEN);
	put_le64(p + SNAP1_ORG_AT_TICKS, taken - CLOCK_BIAS);
	p += SNAP1_ORG_BYTES;
	for (uint32_t i = 0; i < count; i++, p += SNAP_ADMISSION_BYTES)
		put_le64(p, (taken - in[i].stamp) << SNAP1_UNITS_BITS |
				    in[i].units);
	put_le32(p + SNAP1_END_AT_ORGS, 1);
	put_le64(p + SNAP1_END_AT_LENGTH, len);
	seal(bytes, len);
	scratch_write(w.place.snapshot, bytes, len);
	free(bytes);
}

Test(snapshot, admissions_that_the_ring_cannot_hold_are_merged)
{
	struct admission in[200];
	uint64_t now = clock_ticks();

	for (unsigned i = 0; i < 200; i++)
		in[i] = (struct admission){now - 1000 + i, 1};
	craft(in, 200, now);
	blank();
	cr_assert_eq(read_it(), 0, "%s", err);
	cr_expect_eq(in_window(1), 200);
}

Test(snapshot, older_than_any_window_is_left_out)
{
	uint64_t now = clock_ticks();
	struct admission in[] = {{now - SNAP_WINDOW_TICKS - 1, 5},
				 {now - SNAP_WINDOW_TICKS, 6}};

	craft(in, 2, now);
	blank();
	cr_assert_eq(read_it(), 0);
	cr_expect_eq(in_window(1), 0);
}

Test(snapshot, stamp_is_never_later_than_now)
{
	uint64_t now = clock_ticks(), hour = 3600000 * CLOCK_TICKS_PER_MS;
	struct admission in[] = {{now + hour, 100}};

	craft(in, 1, now + hour);
	blank();
	cr_assert_eq(read_it(), 0);
	w.now = clock_ticks() + 60000 * CLOCK_TICKS_PER_MS + 1;
	world_key(&w, 1, text);
	cr_expect_eq(world_check(&w, text, 100).reason, REASON_ALLOW);
}

/* ---- writing ---- */

Test(snapshot, leftover_of_a_crash_is_replaced)
{
	char tmp[128];

	snprintf(tmp, sizeof(tmp), "%s.tmp", w.place.snapshot);
	scratch_write(tmp, "half", 4);
	cr_expect_eq(read_it(), SNAPSHOT_ABSENT);
	cr_assert_eq(write_it(), 0);
	cr_expect_not(scratch_exists(tmp));
	cr_expect_eq(read_it(), 0);
}

Test(snapshot, failed_write_leaves_the_old_one)
{
	struct rlimit small, was;
	uint8_t *before, *after;
	size_t len, len_after;

	cr_assert_eq(write_it(), 0);
	before = scratch_read(w.place.snapshot, &len);
	world_passes(&w, text, 3);
	signal(SIGXFSZ, SIG_IGN);
	cr_assert_eq(getrlimit(RLIMIT_FSIZE, &was), 0);
	for (rlim_t room = 0; room < len; room += 7) {
		small = was;
		small.rlim_cur = room;
		cr_assert_eq(setrlimit(RLIMIT_FSIZE, &small), 0);
		cr_assert_eq(write_it(), -EFBIG);
		cr_assert_not_null(strstr(err, "previous"), "%s", err);
		cr_assert_eq(scratch_count(w.place.state, "counters"), 1);
	}
	cr_assert_eq(setrlimit(RLIMIT_FSIZE, &was), 0);
	after = scratch_read(w.place.snapshot, &len_after);
	cr_assert_eq(len, len_after);
	cr_expect_arr_eq(before, after, len);
	free(before);
	free(after);
	cr_expect_eq(snapshot_write(&w.arena.arena, NULL, "/no/such/place",
				    false, &info, err, sizeof(err)),
		     -ENOENT);
}

Test(snapshot, temporary_name_that_is_taken_is_an_error)
{
	char tmp[128];

	snprintf(tmp, sizeof(tmp), "%s.tmp", w.place.snapshot);
	cr_assert_eq(mkdir(tmp, 0700), 0);
	cr_expect_lt(write_it(), 0);
	cr_expect_not_null(strstr(err, "remove"), "%s", err);
	rmdir(tmp);
	cr_expect_eq(write_it(), 0);
}

Test(snapshot, refused_file_is_set_aside_not_overwritten)
{
	char name[128];
	uint8_t *kept;
	size_t len;

	for (unsigned i = 1; i <= SNAPSHOT_REFUSED_MAX; i++) {
		scratch_write(w.place.snapshot, "STILSNAP?", 9);
		cr_assert_eq(write_it(), 0, "%s", err);
		cr_assert_eq(info.set_aside, i);
		cr_assert_neq(err[0], '\0');
		snprintf(name, sizeof(name), "%s.refused-%u", w.place.snapshot,
			 i);
		kept = scratch_read(name, &len);
		cr_assert_eq(len, 9);
		free(kept);
	}
	/* A good one is simply replaced. */
	cr_assert_eq(write_it(), 0);
	cr_expect_eq(info.set_aside, 0);
	scratch_write(w.place.snapshot, "STILSNAP!", 9);
	cr_expect_eq(write_it(), -EEXIST);
	cr_expect_not_null(strstr(err, "remove"), "%s", err);
	kept = scratch_read(w.place.snapshot, &len);
	cr_expect_eq(kept[8], '!');
	free(kept);
}

Test(snapshot, peek_tells_clean_and_boot)
{
	world_snapshot(&w, true);
	cr_assert_eq(snapshot_peek(&w.arena.arena, w.place.state, &info), 0);
	cr_expect(info.clean);
	cr_expect(info.same_boot);
	world_snapshot(&w, false);
	world_age_snapshot(&w);
	cr_assert_eq(snapshot_peek(&w.arena.arena, w.place.state, &info), 0);
	cr_expect_not(info.clean);
	cr_expect_not(info.same_boot);
	scratch_write(w.place.snapshot, "", 0);
	cr_expect_eq(snapshot_peek(&w.arena.arena, w.place.state, &info),
		     -EINVAL);
}
