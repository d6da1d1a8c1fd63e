/* SPDX-License-Identifier: MIT */
/*
 * Reading, twice. The first walk over the file checks its form and its digest
 * and applies nothing; the second applies. So a damaged file changes nothing,
 * and memory does not grow with the file.
 */
#include "state/snapshot.h"
#include "state/snapshot_internal.h"

#include "gate/meter.h"
#include "gate/step.h"
#include "state/fs.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

struct reader {
	int fd;
	uint64_t size; /* of the file */
	uint64_t at;   /* bytes taken so far */
	uint64_t read; /* bytes read so far */
	size_t pos, len;
	XXH3_state_t *digest;
	struct arena *arena; /* NULL: check only */
	bool same_boot;
	bool told; /* the caller's `err` holds the sentence */
	uint64_t now;
	char why[96]; /* what is wrong with the file */
	uint8_t buf[SNAP_BUFFER_BYTES];
	struct admission admissions[SNAP_ADMISSIONS_MAX];
};

static void __attribute__((format(printf, 2, 3)))
describe(struct reader *r, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(r->why, sizeof(r->why), fmt, ap);
	va_end(ap);
}

/* A macro, so that tools which follow values see that it is never 0. */
#define DAMAGED(r, ...) (describe(r, __VA_ARGS__), -EBADMSG)

/* --- the stream --- */

static void rewind_to_start(struct reader *r)
{
	XXH3_128bits_reset(r->digest);
	r->at = 0;
	r->read = 0;
	r->pos = 0;
	r->len = 0;
}

/* Everything up to the digest goes through here, and into the digest. */
static int refill(struct reader *r)
{
	uint64_t left = r->size - SNAP_DIGEST_BYTES - r->read;
	size_t want;

	memmove(r->buf, r->buf + r->pos, r->len - r->pos);
	r->len -= r->pos;
	r->pos = 0;
	want = sizeof(r->buf) - r->len;
	if (want > left)
		want = (size_t)left;
	while (want > 0) {
		ssize_t n = pread(r->fd, r->buf + r->len, want, (off_t)r->read);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			return DAMAGED(r,
				       "it became shorter while it was read");
		XXH3_128bits_update(r->digest, r->buf + r->len, (size_t)n);
		r->len += (size_t)n;
		r->read += (uint64_t)n;
		want -= (size_t)n;
	}
	return 0;
}

/* The next `len` bytes (a record: less than the buffer). */
static int take(struct reader *r, size_t len, const uint8_t **ret_bytes)
{
	int rc;

	if (r->len - r->pos < len) {
		rc = refill(r);
		if (rc)
			return rc;
		if (r->len - r->pos < len)
			return DAMAGED(r, "it is cut short");
	}
	*ret_bytes = r->buf + r->pos;
	r->pos += len;
	r->at += len;
	return 0;
}

/* --- organizations --- */

/*
 * A stamp in this boot. Of the same boot: what it was. Of an earlier one: the
 * saved age plus the time since this boot, which leaves the clock's own zero.
 * Not later than now: in a time namespace the same boot may count otherwise.
 */
static uint64_t stamp_now(const struct reader *r, uint64_t taken, uint64_t age)
{
	uint64_t stamp = CLOCK_BIAS - age;

	if (r->same_boot)
		stamp += taken;
	return stamp < r->now ? stamp : r->now;
}

static bool apply_org(struct reader *r, uint32_t slot, struct id id,
		      size_t count)
{
	struct arena *a = r->arena;
	const struct plan *plan;
	struct org *org = &a->orgs[slot];

	/* PAIRS: nothing, as in meter_restore(): nobody else runs yet. */
	if (slot >= slots_read(&a->header->org_slots) ||
	    atomic_load_explicit(&org->state, memory_order_relaxed) ==
		    SLOT_FREE ||
	    !id_equal(org->id, id))
		return false;
	plan = block_at(a, claim_load(&org->plan));
	if (count > 0 && plan->rules[0].algorithm == RULE_WINDOW)
		meter_restore(a, &plan->rules[0], &org->first, r->admissions,
			      count);
	return true;
}

static int read_admissions(struct reader *r, uint32_t slot, uint32_t count,
			   uint64_t taken, size_t *ret_kept)
{
	uint64_t previous = SNAP_AGE_MAX;
	size_t kept = 0;

	for (uint32_t i = 0; i < count; i++) {
		const uint8_t *p;
		uint64_t age;
		uint32_t units;
		int rc = take(r, SNAP_ADMISSION_BYTES, &p);

		if (rc)
			return rc;
		age = get_le64(p) >> SNAP_UNITS_BITS;
		units = get_le32(p) & ((1u << SNAP_UNITS_BITS) - 1);
		if (units < 1 || age > previous)
			return DAMAGED(r,
				       "an admission of organization %u is out "
				       "of range or order",
				       slot);
		previous = age;
		if (age > SNAP_WINDOW_TICKS)
			continue;
		r->admissions[kept].stamp = stamp_now(r, taken, age);
		r->admissions[kept].units = units;
		kept++;
	}
	*ret_kept = kept;
	return 0;
}

static int read_orgs(struct reader *r, uint32_t orgs,
		     struct snapshot_info *info)
{
	uint32_t previous = 0;

	for (uint32_t i = 0; i < orgs; i++) {
		const uint8_t *p;
		uint32_t slot, count;
		uint64_t taken;
		struct id id;
		size_t kept = 0;
		int rc = take(r, SNAP_ORG_BYTES, &p);

		if (rc)
			return rc;
		slot = get_le32(p + SNAP_ORG_AT_SLOT);
		count = get_le32(p + SNAP_ORG_AT_COUNT);
		memcpy(id.c, p + SNAP_ORG_AT_ID, ID_LEN);
		taken = get_le64(p + SNAP_ORG_AT_TICKS);
		if (slot <= previous || slot >= ARENA_ORGS_MAX ||
		    count > SNAP_ADMISSIONS_MAX ||
		    taken > CLOCK_TICK_MAX - CLOCK_BIAS)
			return DAMAGED(r, "organization %u is out of range",
				       slot);
		previous = slot;
		rc = read_admissions(r, slot, count, taken, &kept);
		if (rc)
			return rc;
		if (r->arena && apply_org(r, slot, id, kept))
			info->orgs++;
		else
			info->skipped++;
	}
	return 0;
}

/* --- keys --- */

static bool apply_key(struct arena *a, const uint8_t *p, uint32_t slot)
{
	struct key *key = &a->keys[slot];
	struct id id;

	memcpy(id.c, p + SNAP_KEY_AT_ID, ID_LEN);
	/* PAIRS: nothing, here and below: nobody else runs yet; starting the
	 * threads publishes all of it. */
	if (slot >= slots_read(&a->header->key_slots) ||
	    atomic_load_explicit(&key->state, memory_order_relaxed) ==
		    SLOT_FREE ||
	    !id_equal(key->id, id))
		return false;
	atomic_store_explicit(&key->used, get_le64(p + SNAP_KEY_AT_USED),
			      memory_order_relaxed);
	/* Nobody knows what of it the rows of usage lack. */
	atomic_store_explicit(&key->collected, get_le64(p + SNAP_KEY_AT_USED),
			      memory_order_relaxed);
	atomic_store_explicit(&key->last_use_min,
			      get_le32(p + SNAP_KEY_AT_LAST_USE),
			      memory_order_relaxed);
	return true;
}

static int read_keys(struct reader *r, uint32_t keys,
		     struct snapshot_info *info)
{
	uint32_t previous = 0;

	for (uint32_t i = 0; i < keys; i++) {
		const uint8_t *p;
		uint32_t slot;
		int rc = take(r, SNAP_KEY_BYTES, &p);

		if (rc)
			return rc;
		slot = get_le32(p + SNAP_KEY_AT_SLOT);
		if (slot <= previous || slot >= ARENA_KEYS_MAX)
			return DAMAGED(r, "key %u is out of range", slot);
		previous = slot;
		if (r->arena && apply_key(r->arena, p, slot))
			info->keys++;
		else
			info->skipped++;
	}
	return 0;
}

/* --- the whole --- */

static int read_header(struct reader *r, struct snapshot_info *info)
{
	const uint8_t *p;
	uint32_t flags;
	int rc = take(r, SNAP_HEADER_BYTES, &p);

	if (rc)
		return rc;
	flags = get_le32(p + SNAP_AT_FLAGS);
	if (get_le32(p + SNAP_AT_VERSION) != SNAP_VERSION ||
	    get_le32(p + SNAP_AT_ENDIAN) != SNAP_ENDIAN ||
	    get_le32(p + SNAP_AT_TICK_NS) != CLOCK_TICK_NS ||
	    flags & ~SNAP_FLAG_CLEAN || get_le64(p + SNAP_AT_ZERO) != 0)
		return DAMAGED(r, "its header is wrong");
	info->wall_ms = (int64_t)get_le64(p + SNAP_AT_WALL_MS);
	info->clean = flags & SNAP_FLAG_CLEAN;
	r->same_boot = r->arena && memcmp(p + SNAP_AT_BOOT_ID,
					  r->arena->header->boot_id, 16) == 0;
	info->same_boot = r->same_boot;
	return 0;
}

/* The trailer, which says how many records there are. */
static int peek_end(struct reader *r, uint8_t *end)
{
	size_t len = SNAP_END_BYTES + SNAP_DIGEST_BYTES;
	ssize_t n;

	if (r->size < SNAP_HEADER_BYTES + len)
		return DAMAGED(r, "it is cut short");
	do {
		n = pread(r->fd, end, len, (off_t)(r->size - len));
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	if ((size_t)n != len || get_le64(end + SNAP_END_AT_LENGTH) != r->size)
		return DAMAGED(r, "its length is not what it says");
	return 0;
}

static int walk(struct reader *r, struct arena *a, struct snapshot_info *info)
{
	uint8_t end[SNAP_END_BYTES + SNAP_DIGEST_BYTES];
	XXH128_canonical_t digest;
	const uint8_t *p;
	int rc;

	rewind_to_start(r);
	r->arena = a;
	memset(info, 0, sizeof(*info));
	rc = peek_end(r, end);
	if (rc == 0)
		rc = read_header(r, info);
	if (rc == 0)
		rc = read_orgs(r, get_le32(end + SNAP_END_AT_ORGS), info);
	if (rc == 0)
		rc = read_keys(r, get_le32(end + SNAP_END_AT_KEYS), info);
	if (rc == 0)
		rc = take(r, SNAP_END_BYTES, &p);
	if (rc)
		return rc;
	if (r->at != r->size - SNAP_DIGEST_BYTES)
		return DAMAGED(r, "it is longer than its contents");
	XXH128_canonicalFromHash(&digest, XXH3_128bits_digest(r->digest));
	if (memcmp(digest.digest, end + SNAP_END_BYTES, SNAP_DIGEST_BYTES) != 0)
		return DAMAGED(r, "its checksum does not match");
	info->bytes = r->size;
	return 0;
}

static int refuse(struct reader *r, int rc, const char *dir, const char *name,
		  const char *why, char *err, size_t err_len)
{
	r->told = true;
	return fs_fail(rc, err, err_len, "%s/%s %s (the file was not changed)",
		       dir, name, why);
}

/* Is it ours at all? Said before "damaged", which only we can be. */
static int judge(struct reader *r, const char *dir, const char *name, char *err,
		 size_t err_len)
{
	uint8_t h[SNAP_AT_VERSION + 4] = {0};
	char why[256];
	ssize_t n;

	do {
		n = pread(r->fd, h, sizeof(h), 0);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	if (n >= SNAP_MAGIC_LEN && memcmp(h, SNAP_MAGIC, SNAP_MAGIC_LEN) != 0)
		return refuse(r, -EINVAL, dir, name,
			      "is not a snapshot of stile; move it away", err,
			      err_len);
	if (n < (ssize_t)sizeof(h) ||
	    get_le32(h + SNAP_AT_VERSION) <= SNAP_VERSION)
		return 0;
	snprintf(why, sizeof(why),
		 "was written by a newer version of stile (format %u, this "
		 "version knows %u); start the newer version, or move the file "
		 "away to begin with empty windows",
		 get_le32(h + SNAP_AT_VERSION), SNAP_VERSION);
	return refuse(r, -EPROTONOSUPPORT, dir, name, why, err, err_len);
}

static int open_file(struct reader *r, int dir_fd, const char *dir,
		     const char *name, char *err, size_t err_len)
{
	struct stat st;
	int rc;

	/* O_NONBLOCK: a FIFO of that name must not hang us. */
	r->fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (r->fd < 0)
		return errno == ENOENT ? SNAPSHOT_ABSENT : -errno;
	if (fstat(r->fd, &st))
		rc = -errno;
	else if (!S_ISREG(st.st_mode))
		rc = refuse(r, -EINVAL, dir, name,
			    "is not a regular file; move it away", err,
			    err_len);
	else
		rc = judge(r, dir, name, err, err_len);
	if (rc) {
		close(r->fd);
		return rc;
	}
	r->size = (uint64_t)st.st_size;
	return 0;
}

static int check_and_apply(struct reader *r, struct arena *a,
			   struct snapshot_info *info)
{
	int rc = walk(r, NULL, info);

	if (rc || !a)
		return rc;
	rc = walk(r, a, info);
	/* It was right a moment ago: not damaged, but changing under us, and
	 * some of it has been applied. */
	return rc == -EBADMSG ? -EIO : rc;
}

/* Turns a failure into a sentence, unless there is one. */
static void tell(const struct reader *r, int rc, const char *dir,
		 const char *name, char *err, size_t err_len)
{
	if (r->told)
		return;
	if (rc == -EBADMSG)
		fs_fail(rc, err, err_len,
			"%s/%s is damaged: %s; put back a good copy, or move "
			"the file away to begin with empty windows (the file "
			"was not changed)",
			dir, name, r->why);
	else
		fs_fail(rc, err, err_len, "cannot read %s/%s: %s", dir, name,
			strerror(-rc));
}

/* Checks the file and, with an arena, applies it. */
static int read_file(struct arena *a, int dir_fd, const char *dir,
		     const char *name, struct snapshot_info *info, char *err,
		     size_t err_len)
{
	struct reader *r = calloc(1, sizeof(*r));
	int rc = -ENOMEM;

	if (!r || !(r->digest = XXH3_createState())) {
		free(r);
		return fs_fail(rc, err, err_len, "no memory to read %s/%s", dir,
			       name);
	}
	r->now = clock_ticks();
	r->told = false;
	rc = open_file(r, dir_fd, dir, name, err, err_len);
	if (rc == 0) {
		rc = check_and_apply(r, a, info);
		close(r->fd);
	}
	if (rc < 0)
		tell(r, rc, dir, name, err, err_len);
	XXH3_freeState(r->digest);
	free(r);
	return rc;
}

int snapshot_verify(int dir_fd, const char *dir, const char *name, char *err,
		    size_t err_len)
{
	struct snapshot_info info;

	return read_file(NULL, dir_fd, dir, name, &info, err, err_len);
}

int snapshot_read(struct arena *a, const char *dir,
		  struct snapshot_info *ret_info, char *err, size_t err_len)
{
	uint64_t began_ns = clock_ns(CLOCK_MONOTONIC);
	struct snapshot_info info;
	int dir_fd, rc;

	dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir_fd < 0) {
		rc = -errno;
		return fs_fail(rc, err, err_len, "cannot open %s: %s", dir,
			       strerror(-rc));
	}
	rc = read_file(a, dir_fd, dir, SNAPSHOT_FILE, &info, err, err_len);
	close(dir_fd);
	if (rc)
		return rc;
	info.duration_ms = (clock_ns(CLOCK_MONOTONIC) - began_ns) / 1000000;
	*ret_info = info;
	return 0;
}

int snapshot_peek(struct arena *a, const char *dir,
		  struct snapshot_info *ret_info)
{
	uint8_t h[SNAP_HEADER_BYTES];
	struct snapshot_info info = {0};
	char path[PATH_MAX];
	ssize_t n;
	int fd, rc;

	if (snprintf(path, sizeof(path), "%s/%s", dir, SNAPSHOT_FILE) >=
	    (int)sizeof(path))
		return -ENAMETOOLONG;
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return errno == ENOENT ? SNAPSHOT_ABSENT : -errno;
	n = pread(fd, h, sizeof(h), 0);
	rc = n < 0 ? -errno : 0;
	close(fd);
	if (rc)
		return rc;
	if (n < (ssize_t)sizeof(h) ||
	    memcmp(h, SNAP_MAGIC, SNAP_MAGIC_LEN) != 0)
		return -EINVAL;
	if (get_le32(h + SNAP_AT_VERSION) > SNAP_VERSION)
		return -EPROTONOSUPPORT;
	info.wall_ms = (int64_t)get_le64(h + SNAP_AT_WALL_MS);
	info.clean = get_le32(h + SNAP_AT_FLAGS) & SNAP_FLAG_CLEAN;
	info.same_boot =
		memcmp(h + SNAP_AT_BOOT_ID, a->header->boot_id, 16) == 0;
	*ret_info = info;
	return 0;
}
