/* SPDX-License-Identifier: MIT */
/*
 * Reading, twice. The first walk over the file checks its form and its digest
 * and applies nothing; the second applies. So a damaged file changes nothing,
 * and memory does not grow with the file.
 */
#include "state/snapshot.h"
#include "state/snapshot_internal.h"

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

void snap_describe(struct snap_reader *r, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(r->why, sizeof(r->why), fmt, ap);
	va_end(ap);
}

/* --- the stream --- */

static void rewind_to_start(struct snap_reader *r)
{
	XXH3_128bits_reset(r->digest);
	r->at = 0;
	r->read = 0;
	r->pos = 0;
	r->len = 0;
}

/* Everything up to the digest goes through here, and into the digest. */
static int refill(struct snap_reader *r)
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

int snap_look(struct snap_reader *r, size_t len, const uint8_t **ret_bytes)
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
	return 0;
}

int snap_take(struct snap_reader *r, size_t len, const uint8_t **ret_bytes)
{
	int rc = snap_look(r, len, ret_bytes);

	if (rc == 0) {
		r->pos += len;
		r->at += len;
	}
	return rc;
}

/* --- times --- */

uint64_t snap_origin_ns(const struct snap_reader *r, uint64_t taken_ns)
{
	uint64_t origin = INSTANT_BIAS_NS;

	if (r->same_boot)
		origin += taken_ns;
	return origin < r->now.ns ? origin : r->now.ns;
}

/*
 * A stamp in this boot. Of the same boot: what it was. Of an earlier one: the
 * saved age plus the time since this boot, which leaves the clock's own zero.
 * Not later than now: in a time namespace the same boot may count otherwise.
 */
uint64_t snap_stamp(const struct snap_reader *r, uint64_t taken_ticks,
		    uint64_t age)
{
	uint64_t stamp = CLOCK_BIAS - age;

	if (r->same_boot)
		stamp += taken_ticks;
	return stamp < r->now.ticks ? stamp : r->now.ticks;
}

int snap_take_admissions(struct snap_reader *r, uint32_t count,
			 uint64_t taken_ticks, unsigned units_bits,
			 size_t *ret_kept)
{
	uint64_t previous = UINT64_MAX >> units_bits;
	size_t kept = 0;

	for (uint32_t i = 0; i < count; i++) {
		const uint8_t *p;
		uint64_t age, units;
		int rc = snap_take(r, SNAP_ADMISSION_BYTES, &p);

		if (rc)
			return rc;
		age = get_le64(p) >> units_bits;
		units = get_le64(p) & ((UINT64_C(1) << units_bits) - 1);
		if (units < 1 || age > previous)
			return DAMAGED(r, "an admission is out of range or "
					  "order");
		previous = age;
		if (age > SNAP_WINDOW_TICKS)
			continue;
		r->admissions[kept].stamp = snap_stamp(r, taken_ticks, age);
		r->admissions[kept].units = (uint32_t)units;
		kept++;
	}
	*ret_kept = kept;
	return 0;
}

/* --- the whole --- */

static int read_header(struct snap_reader *r)
{
	struct snapshot_info *info = r->info;
	const uint8_t *p;
	uint32_t flags;
	uint64_t seed;
	int rc = snap_take(r, SNAP_HEADER_BYTES, &p);

	if (rc)
		return rc;
	flags = get_le32(p + SNAP_AT_FLAGS);
	seed = get_le64(p + SNAP_AT_SEED);
	r->version = get_le32(p + SNAP_AT_VERSION);
	if (r->version < SNAP1_VERSION || r->version > SNAP_VERSION ||
	    get_le32(p + SNAP_AT_ENDIAN) != SNAP_ENDIAN ||
	    get_le32(p + SNAP_AT_TICK_NS) != CLOCK_TICK_NS ||
	    flags & ~SNAP_FLAG_CLEAN ||
	    (r->version == SNAP1_VERSION && seed != 0))
		return DAMAGED(r, "its header is wrong");
	info->wall_ms = (int64_t)get_le64(p + SNAP_AT_WALL_MS);
	info->clean = flags & SNAP_FLAG_CLEAN;
	r->same_boot = r->arena && memcmp(p + SNAP_AT_BOOT_ID,
					  r->arena->header->boot_id, 16) == 0;
	info->same_boot = r->same_boot;
	/* Names in the tables are hashes with this seed. */
	if (r->arena && r->version != SNAP1_VERSION)
		r->arena->header->seed = seed;
	return 0;
}

/* The end of the file, which says how long it is. */
static int read_end(struct snap_reader *r, uint8_t *end, size_t len,
		    size_t length_at)
{
	ssize_t n;

	if (r->size < SNAP_HEADER_BYTES + len)
		return DAMAGED(r, "it is cut short");
	do {
		n = pread(r->fd, end, len, (off_t)(r->size - len));
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	if ((size_t)n != len || get_le64(end + length_at) != r->size)
		return DAMAGED(r, "its length is not what it says");
	return 0;
}

static int read_body(struct snap_reader *r)
{
	uint8_t end[SNAP_END_BYTES + SNAP_DIGEST_BYTES];
	int rc;

	if (r->version == SNAP1_VERSION) {
		rc = read_end(r, end, SNAP1_END_BYTES + SNAP_DIGEST_BYTES,
			      SNAP1_END_AT_LENGTH);
		return rc ? rc : snap_read_v1(r, end);
	}
	rc = read_end(r, end, sizeof(end), SNAP_END_AT_LENGTH);
	return rc ? rc : snap_read_records(r);
}

static int check_digest(struct snap_reader *r)
{
	XXH128_canonical_t digest, is;
	ssize_t n;

	if (r->at != r->size - SNAP_DIGEST_BYTES)
		return DAMAGED(r, "it is longer than its contents");
	XXH128_canonicalFromHash(&digest, XXH3_128bits_digest(r->digest));
	do {
		n = pread(r->fd, &is, sizeof(is), (off_t)r->at);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	if ((size_t)n != sizeof(is) || memcmp(&digest, &is, sizeof(is)) != 0)
		return DAMAGED(r, "its checksum does not match");
	return 0;
}

static int walk(struct snap_reader *r, struct arena *a,
		struct snapshot_info *info)
{
	int rc;

	if (r->size < SNAP_HEADER_BYTES + SNAP_DIGEST_BYTES)
		return DAMAGED(r, "it is cut short");
	rewind_to_start(r);
	r->arena = a;
	r->info = info;
	memset(info, 0, sizeof(*info));
	rc = read_header(r);
	if (rc == 0)
		rc = read_body(r);
	if (rc == 0)
		rc = check_digest(r);
	if (rc == 0)
		info->bytes = r->size;
	return rc;
}

static int refuse(struct snap_reader *r, int rc, const char *dir,
		  const char *name, const char *why, char *err, size_t err_len)
{
	r->told = true;
	return fs_fail(rc, err, err_len, "%s/%s %s (the file was not changed)",
		       dir, name, why);
}

/* Is it ours at all? Said before "damaged", which only we can be. */
static int judge(struct snap_reader *r, const char *dir, const char *name,
		 char *err, size_t err_len)
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

static int open_file(struct snap_reader *r, int dir_fd, const char *dir,
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

static int check_and_apply(struct snap_reader *r, struct arena *a,
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
static void tell(const struct snap_reader *r, int rc, const char *dir,
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
	struct snap_reader *r = calloc(1, sizeof(*r));
	int rc = -ENOMEM;

	if (!r || !(r->digest = XXH3_createState())) {
		free(r);
		return fs_fail(rc, err, err_len, "no memory to read %s/%s", dir,
			       name);
	}
	r->now = instant_now();
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
