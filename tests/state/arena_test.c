/* SPDX-License-Identifier: MIT */
#include "state/arena.h"

#include "gate/claim.h"
#include "scratch.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

static struct scratch s;
static struct arena_file f;
static bool fresh;
static unsigned recovered;
static char err[256];

static void open_place(void)
{
	scratch_init(&s);
}

static void close_place(void)
{
	scratch_deinit(&s);
}

TestSuite(arena, .init = open_place, .fini = close_place);

static int open_it(const char *path)
{
	return arena_open(&f, path, &fresh, &recovered, err, sizeof(err));
}

static void must_open(bool want_fresh)
{
	int r = open_it(s.arena);

	cr_assert_eq(r, 0, "%d: %s", r, err);
	cr_assert_eq(fresh, want_fresh);
}

/* A file with something in it, closed. */
static void make(void)
{
	must_open(true);
	cr_assert_eq(arena_reserve(&f, REGION_ORGS, 4096), 0);
	atomic_store_explicit(&f.arena.orgs[1].first.level, 77,
			      memory_order_relaxed);
	arena_set_ready(&f);
	arena_close(&f);
}

static uint64_t used(void)
{
	return claim_load(&f.arena.orgs[1].first.level);
}

Test(arena, counters_outlive_the_process)
{
	struct stat st;

	make();
	cr_assert_eq(stat(s.arena, &st), 0);
	cr_expect_eq(st.st_mode & 07777, 0600);
	cr_expect_eq(st.st_size, (off_t)ARENA_BYTES);
	cr_expect_lt(st.st_blocks * 512, 8 << 20);
	must_open(false);
	cr_expect_eq(used(), 77);
	arena_close(&f);
}

Test(arena, half_made_one_is_made_anew)
{
	must_open(true);
	cr_assert_eq(arena_reserve(&f, REGION_ORGS, 4096), 0);
	atomic_store_explicit(&f.arena.orgs[1].first.level, 77,
			      memory_order_relaxed);
	arena_close(&f);
	must_open(true);
	cr_assert_eq(arena_reserve(&f, REGION_ORGS, 4096), 0);
	cr_expect_eq(used(), 0);
	arena_close(&f);
}

static void spoil(size_t at, uint8_t flip)
{
	int fd = open(s.arena, O_RDWR | O_CLOEXEC);
	uint8_t b;

	cr_assert_geq(fd, 0);
	cr_assert_eq(pread(fd, &b, 1, (off_t)at), 1);
	b ^= flip;
	cr_assert_eq(pwrite(fd, &b, 1, (off_t)at), 1);
	close(fd);
}

Test(arena, one_of_another_boot_layout_or_make_is_made_anew)
{
	static const size_t places[] = {
		offsetof(struct arena_header, magic),
		offsetof(struct arena_header, layout),
		offsetof(struct arena_header, layout) + 3,
		offsetof(struct arena_header, ready),
		offsetof(struct arena_header, boot_id),
		offsetof(struct arena_header, boot_id) + 15,
		offsetof(struct arena_header, org_slots) + 3,
		offsetof(struct arena_header, project_slots) + 3,
		offsetof(struct arena_header, key_slots) + 3,
	};

	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		unlink(s.arena);
		make();
		spoil(places[i], 0x80);
		must_open(true);
		cr_assert_eq(arena_reserve(&f, REGION_ORGS, 4096), 0);
		cr_expect_eq(used(), 0, "byte %zu", places[i]);
		arena_close(&f);
	}
}

Test(arena, one_of_another_size_is_made_anew)
{
	static const off_t sizes[] = {0, 1, 4096, (off_t)ARENA_BYTES - 1,
				      (off_t)ARENA_BYTES + 4096};

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		make();
		cr_assert_eq(truncate(s.arena, sizes[i]), 0);
		must_open(true);
		cr_assert_eq(arena_reserve(&f, REGION_ORGS, 4096), 0);
		cr_expect_eq(used(), 0);
		arena_close(&f);
		unlink(s.arena);
	}
}

static void set(word_t *w, uint64_t value)
{
	atomic_store_explicit(w, value, memory_order_relaxed);
}

Test(arena, descriptors_that_nobody_wrote_are_not_followed)
{
	for (int kind = 0; kind < 5; kind++) {
		struct descriptor *d;

		unlink(s.arena);
		make();
		must_open(false);
		d = &f.arena.descriptors[5];
		set(&d->gate_off, ARENA_ORGS_AT);
		set(&d->bytes, sizeof(struct claim_word));
		set(&d->words[0].off, ARENA_ORGS_AT + 8);
		set(&d->seq, 9);
		if (kind == 0)
			set(&d->bytes,
			    (CLAIM_WORDS_MAX + 1) * sizeof(struct claim_word));
		else if (kind == 1)
			set(&d->gate_off, ARENA_BYTES);
		else if (kind == 2)
			set(&d->words[0].off, ARENA_BYTES + 8);
		else if (kind == 3)
			set(&d->words[0].off, ARENA_ORGS_AT + 1);
		else
			set(&d->words[0].off, 8); /* the header */
		arena_close(&f);
		must_open(true);
		arena_close(&f);
	}
}

Test(arena, decisions_of_the_dead_are_completed)
{
	struct org *org;
	struct claim c;

	make();
	must_open(false);
	org = &f.arena.orgs[1];
	claim_init(&c, &f.arena, 3, NULL);
	claim_begin(&c);
	claim_add(&c, &org->first.level, 77, 80);
	cr_assert(claim_commit(&c, &org->gate, 0));
	/* Back to the instant after the first CAS. */
	set(&org->first.level, 77);
	set(&org->gate, c.seq << 8 | 3 << 1 | 1);
	arena_close(&f);
	must_open(false);
	cr_expect_eq(recovered, 1);
	cr_expect_eq(used(), 80);
	cr_expect_eq(claim_load(&f.arena.orgs[1].gate), 2);
	/* Its sequence goes on. */
	claim_init(&c, &f.arena, 3, NULL);
	cr_expect_eq(c.seq, 1);
	arena_close(&f);
	must_open(false);
	cr_expect_eq(recovered, 0);
	arena_close(&f);
}

Test(arena, second_process_is_refused)
{
	struct arena_file first;

	make();
	must_open(false);
	first = f;
	cr_expect_eq(open_it(s.arena), -EBUSY);
	cr_expect_not_null(strstr(err, "another process"), "%s", err);
	cr_expect_eq(claim_load(&first.arena.orgs[1].first.level), 77);
	arena_close(&first);
	must_open(false);
	arena_close(&f);
}

Test(arena, discarded_one_is_empty_and_not_ready)
{
	make();
	must_open(false);
	cr_assert_eq(arena_discard(&f, err, sizeof(err)), 0);
	cr_assert_eq(arena_reserve(&f, REGION_ORGS, 4096), 0);
	cr_expect_eq(used(), 0);
	arena_close(&f);
	must_open(true);
	arena_close(&f);
}

Test(arena, private_one_can_be_discarded_too)
{
	cr_assert_eq(arena_open_private(&f), 0);
	cr_assert_eq(arena_reserve(&f, REGION_ORGS, 4096), 0);
	set(&f.arena.orgs[1].first.level, 5);
	cr_assert_eq(arena_discard(&f, err, sizeof(err)), 0);
	cr_expect_eq(used(), 0);
	arena_close(&f);
}

Test(arena, file_of_somebody_else_is_left_alone)
{
	char other[128];

	make();
	chmod(s.arena, 0640);
	cr_expect_eq(open_it(s.arena), -EPERM);
	cr_expect_not_null(strstr(err, s.arena), "%s", err);
	chmod(s.arena, 0600);
	snprintf(other, sizeof(other), "%s/link", s.shm);
	cr_assert_eq(link(s.arena, other), 0);
	cr_expect_eq(open_it(s.arena), -EPERM);
	unlink(other);
	cr_assert_eq(symlink(s.arena, other), 0);
	cr_expect_eq(open_it(other), -ELOOP);
	snprintf(other, sizeof(other), "%s/none/arena", s.shm);
	cr_expect_eq(open_it(other), -ENOENT);
	must_open(false);
	cr_expect_eq(used(), 77);
	arena_close(&f);
}

Test(arena, place_on_a_disk_is_refused)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/arena", s.state);
	if (open_it(path) == 0)
		cr_skip("/tmp is a tmpfs here");
	cr_expect_not_null(strstr(err, "tmpfs"), "%s", err);
}

/* A tmpfs of our own, which nobody else sees. */
static void mount_small(const char *size)
{
	if (unshare(CLONE_NEWNS) < 0 ||
	    mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("tmpfs", s.shm, "tmpfs", 0, size) < 0)
		cr_skip("cannot mount a tmpfs here");
}

Test(arena, full_tmpfs_is_an_answer_every_time)
{
	static uint8_t block[64 << 10];
	char path[128];

	mount_small("size=64k");
	for (int i = 0; i < 3; i++) {
		cr_expect_eq(open_it(s.arena), -ENOSPC);
		cr_expect_not_null(strstr(err, "enlarge"), "%s", err);
		/* Not a page is left: even looking at the file would be a
		 * signal. */
		snprintf(path, sizeof(path), "%s/other", s.shm);
		scratch_write(path, block, sizeof(block));
	}
	umount(s.shm);
}

Test(arena, full_region_takes_nothing)
{
	mount_small("size=4m");
	must_open(true);
	cr_expect_eq(arena_reserve(&f, REGION_ORGS, 1 << 20), 0);
	cr_expect_eq(arena_reserve(&f, REGION_KEYS, 8 << 20), -ENOSPC);
	cr_expect_eq(f.reserved[REGION_KEYS], 0);
	cr_expect_eq(arena_reserve(&f, REGION_KEYS, 1 << 20), 0);
	arena_close(&f);
	umount(s.shm);
}

Test(arena, path_is_said_by_config_then_systemd_then_the_state_directory)
{
	char out[200], again[200], name[300];

	setenv("RUNTIME_DIRECTORY", "/run/stile", 1);
	cr_assert_eq(arena_path(out, sizeof(out), "/mine", s.state), 0);
	cr_expect_str_eq(out, "/mine/arena");
	cr_assert_eq(arena_path(out, sizeof(out), "", s.state), 0);
	cr_expect_str_eq(out, "/run/stile/arena");
	unsetenv("RUNTIME_DIRECTORY");
	cr_assert_eq(arena_path(out, sizeof(out), "", s.state), 0);
	cr_expect_eq(strncmp(out, "/dev/shm/stile-", 15), 0);
	/* The same directory by another name. */
	snprintf(name, sizeof(name), "%s/../%s/.", s.state,
		 strrchr(s.state, '/') + 1);
	cr_assert_eq(arena_path(again, sizeof(again), "", name), 0);
	cr_expect_str_eq(out, again);
	cr_assert_eq(arena_path(again, sizeof(again), "", s.shm), 0);
	cr_expect_str_neq(out, again);
	cr_expect_eq(arena_path(out, sizeof(out), "", "/no/such/place"),
		     -ENOENT);
	cr_expect_eq(arena_path(out, 8, "/a/longer/one", s.state),
		     -ENAMETOOLONG);
}
