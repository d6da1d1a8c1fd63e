/* SPDX-License-Identifier: MIT */
/*
 * state/snapshot_read: a file is refused with a sentence and nothing is
 * restored, or what it restores is a window that can be decided on.
 *
 * The first byte says how much of the file is put right before it is read, so
 * that mutations get beyond the checksum: 1 the checksum, 2 length and counts
 * (from bytes 1 and 2), 4 the header.
 */
#include "../gate/fixture.h"
#include "base/counters.h"
#include "fuzz.h"
#include "state/snapshot.h"
#include "state/snapshot_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#define SLOTS 5
#define OVERHEAD (SNAP_HEADER_BYTES + SNAP_END_BYTES + SNAP_DIGEST_BYTES)

static char dir[64];
static int dir_fd = -1;
static struct fixture fixture;
static struct counters counters;

static void remove_dir(void)
{
	unlinkat(dir_fd, SNAPSHOT_FILE, 0);
	rmdir(dir);
}

static void set_up(void)
{
	snprintf(dir, sizeof(dir), "/dev/shm/stile-snapshot-fuzz-%d", getpid());
	must(mkdir(dir, 0700) == 0);
	dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	must(dir_fd >= 0);
	must(atexit(remove_dir) == 0);
	fixture_open(&fixture);
	for (uint32_t i = 1; i < SLOTS; i++) {
		(void)fixture_org(&fixture, i, 1u << (4 * i - 4), 60000 * MS,
				  0);
		(void)fixture_key(&fixture, i);
		memcpy(fixture.arena->keys[i].id.c, "key0000", 7);
		fixture.arena->keys[i].id.c[7] = (char)('0' + i);
		fixture.arena->keys[i].org = i;
		atomic_store_explicit(&fixture.arena->keys[i].state,
				      SLOT_ACTIVE, memory_order_relaxed);
		slots_raise(&fixture.arena->header->key_slots, i);
	}
}

static void reset(void)
{
	for (uint32_t i = 1; i < SLOTS; i++) {
		struct org *org = &fixture.arena->orgs[i];

		fixture_set(&org->head, 0);
		fixture_set(&org->tail, 0);
		fixture_set(&org->used, 0);
		fixture_set(&fixture.arena->keys[i].used, 0);
	}
}

static void put_right(uint8_t *file, size_t len, const uint8_t *how)
{
	uint8_t *end = file + len - SNAP_END_BYTES - SNAP_DIGEST_BYTES;
	XXH128_canonical_t digest;

	if (how[0] & 4) {
		memcpy(file, SNAP_MAGIC, SNAP_MAGIC_LEN);
		put_le32(file + SNAP_AT_VERSION, SNAP_VERSION);
		put_le32(file + SNAP_AT_ENDIAN, SNAP_ENDIAN);
		put_le32(file + SNAP_AT_TICK_NS, CLOCK_TICK_NS);
		put_le32(file + SNAP_AT_FLAGS, how[0] >> 7);
		put_le64(file + SNAP_AT_ZERO, 0);
		if (how[0] & 8)
			memcpy(file + SNAP_AT_BOOT_ID,
			       fixture.arena->header->boot_id, 16);
	}
	if (how[0] & 2) {
		put_le32(end + SNAP_END_AT_ORGS, how[1] % 8);
		put_le32(end + SNAP_END_AT_KEYS, how[2] % 8);
		put_le64(end + SNAP_END_AT_LENGTH, len);
	}
	if (how[0] & 1) {
		XXH128_canonicalFromHash(
			&digest, XXH3_128bits(file, len - SNAP_DIGEST_BYTES));
		memcpy(file + len - SNAP_DIGEST_BYTES, digest.digest,
		       SNAP_DIGEST_BYTES);
	}
}

static void write_file(const uint8_t *bytes, size_t len)
{
	int fd = openat(dir_fd, SNAPSHOT_FILE,
			O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	must(fd >= 0);
	must(write(fd, bytes, len) == (ssize_t)len);
	close(fd);
}

static void expect_windows(bool restored)
{
	for (uint32_t i = 1; i < SLOTS; i++) {
		struct org *org = &fixture.arena->orgs[i];
		struct window_answer w;

		if (!restored) {
			must(fixture_get(&org->head) == 0);
			must(fixture_get(&org->used) == 0);
			must(fixture_get(&fixture.arena->keys[i].used) == 0);
		}
		window_peek(fixture.arena, org, 1, clock_ticks(), &counters,
			    &w);
		must(w.in_window <= LIMIT_MAX);
		must(w.allowed == (w.in_window < w.limit));
		must(restored || w.in_window == 0);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct snapshot_info info;
	uint8_t how[3] = {0};
	uint8_t *file;
	char err[512] = "", verify_err[512] = "";
	int rc, verified;

	if (dir_fd < 0)
		set_up();
	if (size < sizeof(how))
		return 0;
	memcpy(how, data, sizeof(how));
	data += sizeof(how);
	size -= sizeof(how);
	file = exact_copy(data, size);
	if (size >= OVERHEAD)
		put_right(file, size, how);
	write_file(file, size);
	reset();
	verified = snapshot_verify(dir_fd, dir, SNAPSHOT_FILE, verify_err,
				   sizeof(verify_err));
	expect_windows(false);
	rc = snapshot_read(fixture.arena, dir, &info, err, sizeof(err));
	must(rc == verified);
	if (rc != 0) {
		must(rc == -EBADMSG || rc == -EINVAL || rc == -EPROTONOSUPPORT);
		must(err[0] != '\0' && strcmp(err, verify_err) == 0);
	}
	expect_windows(rc == 0);
	free(file);
	return 0;
}
