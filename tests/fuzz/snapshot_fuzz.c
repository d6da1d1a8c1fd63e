/* SPDX-License-Identifier: MIT */
/*
 * state/snapshot_read: a file is refused with a sentence and nothing is
 * restored, or what it restores is an arena that can be decided on.
 *
 * The first byte says how much of the file is put right before it is read, so
 * that mutations get beyond the checksum: 1 the checksum, 2 the length and the
 * number of records (from byte 1), 4 the header, 16 of version 1.
 */
#include "../gate/full_scene.h"
#include "fuzz.h"
#include "state/snapshot.h"
#include "state/snapshot_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define OVERHEAD (SNAP_HEADER_BYTES + SNAP_END_BYTES + SNAP_DIGEST_BYTES)

static char dir[64];
static int dir_fd = -1;
static struct full_scene *scene;

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
}

static void put_right_end(uint8_t *file, size_t len, const uint8_t *how)
{
	uint8_t *end = file + len - SNAP_DIGEST_BYTES;

	if (how[0] & 16) {
		end -= SNAP1_END_BYTES;
		put_le32(end + SNAP1_END_AT_ORGS, how[1] % 8);
		put_le32(end + SNAP1_END_AT_KEYS, how[2] % 8);
		put_le64(end + SNAP1_END_AT_LENGTH, len);
		return;
	}
	end -= SNAP_END_BYTES;
	put_le32(end + SNAP_RECORD_AT_KIND, SNAP_END);
	put_le32(end + SNAP_RECORD_AT_NUMBER, 0);
	put_le64(end + SNAP_END_AT_RECORDS, how[1]);
	put_le64(end + SNAP_END_AT_LENGTH, len);
}

static void put_right(uint8_t *file, size_t len, const uint8_t *how)
{
	XXH128_canonical_t digest;

	if (how[0] & 4) {
		memcpy(file, SNAP_MAGIC, SNAP_MAGIC_LEN);
		put_le32(file + SNAP_AT_VERSION, how[0] & 16   ? SNAP1_VERSION
						 : how[0] & 32 ? SNAP2_VERSION
							       : SNAP_VERSION);
		put_le32(file + SNAP_AT_ENDIAN, SNAP_ENDIAN);
		put_le32(file + SNAP_AT_TICK_NS, CLOCK_TICK_NS);
		put_le32(file + SNAP_AT_FLAGS, how[0] >> 7);
		if (how[0] & 16)
			put_le64(file + SNAP_AT_SEED, 0);
		if (how[0] & 8)
			memcpy(file + SNAP_AT_BOOT_ID,
			       scene->arena->header->boot_id, 16);
	}
	if (how[0] & 2)
		put_right_end(file, len, how);
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

/* Whatever was restored: answers make sense, also those that settle. */
static void ask_all(void)
{
	uint64_t now_ns = instant_now().ns;
	struct instant later = instant_at(now_ns + UINT64_C(1000000000000));

	for (uint32_t key = 1; key <= SCENE_KEYS; key++) {
		struct scene_ask ask = {.key = key,
					.cost = key,
					.route = key % 3,
					.address = (uint8_t)(key % 2),
					.flags = key % 2 ? CHECK_RESERVE : 0};
		struct verdict v = scene_decide(scene, &ask, now_ns);

		must(v.reason < REASON_COUNT);
		must(v.remaining <= LIMIT_MAX);
		must(v.reason != REASON_ALLOW || v.charged == key);
	}
	for (uint32_t slot = 0; slot < SCENE_HOLDS; slot++) {
		uint64_t state =
			fixture_get(&hold_at(scene->arena, slot)->state);
		struct scene_ask ask = {
			.cost = slot, .settle = HOLD_ID(slot, HOLD_GEN(state))};

		if (HOLD_LIVE(state) && slot % 2)
			must(scene_decide(scene, &ask, now_ns).reason !=
			     REASON_NO_HOLD);
	}
	(void)gate_expire(&scene->gate, 0, SCENE_HOLDS, &later, SCENE_WALL_MS);
	(void)gate_expire(&scene->gate, 0, SCENE_HOLDS, &later, SCENE_WALL_MS);
}

/* As it was set up: all that is in it now is what is in a new one. */
static void expect_nothing(const struct snapshot_info *info)
{
	struct arena *a = scene->arena;

	must(info->orgs == 0 && info->keys == 0);
	must(a->header->seed == 1);
	for (uint32_t i = 1; i <= SCENE_ORGS; i++)
		must(meter_rests(
			&plan_of(a, &a->orgs[i])->rules[0], a,
			&a->orgs[i].first, NULL, 0,
			&(struct instant){INSTANT_BIAS_NS, CLOCK_BIAS}));
	for (uint32_t i = 1; i <= SCENE_KEYS; i++)
		must(fixture_get(&a->keys[i].used) == 0);
	for (uint32_t i = 1; i <= SCENE_PROJECTS; i++)
		must(fixture_get(&a->projects[i].budgets[0].used) == 0);
	for (uint32_t i = 0; i < SCENE_HOLDS; i++)
		must(!HOLD_LIVE(fixture_get(&hold_at(a, i)->state)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct snapshot_info info = {0};
	uint8_t how[3] = {0};
	uint8_t *file;
	char err[512] = "", verify_err[512] = "";
	int rc, verified;

	if (dir_fd < 0)
		set_up();
	if (size < sizeof(how))
		return 0;
	scene = full_scene_new(UINT64_MAX, 1, SCENE_WALL_MS);
	memcpy(how, data, sizeof(how));
	data += sizeof(how);
	size -= sizeof(how);
	file = exact_copy(data, size);
	if (size >= OVERHEAD)
		put_right(file, size, how);
	write_file(file, size);
	verified = snapshot_verify(dir_fd, dir, SNAPSHOT_FILE, verify_err,
				   sizeof(verify_err));
	expect_nothing(&info);
	rc = snapshot_read(scene->arena, dir, &info, err, sizeof(err));
	must(rc == verified);
	if (rc != 0) {
		must(rc == -EBADMSG || rc == -EINVAL || rc == -EPROTONOSUPPORT);
		must(err[0] != '\0' && strcmp(err, verify_err) == 0);
		expect_nothing(&info);
	}
	ask_all();
	free(file);
	full_scene_free(scene);
	return 0;
}
