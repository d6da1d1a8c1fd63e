/* SPDX-License-Identifier: MIT */
/*
 * Writing. Everything goes through one buffer, whose bytes are digested when
 * it is flushed; the first error sticks and the rest become no-ops, so the
 * code that writes records reads like the format.
 */
#include "state/snapshot.h"
#include "state/snapshot_internal.h"

#include "base/epoch.h"
#include "gate/meter.h"
#include "gate/step.h"
#include "state/fs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

struct writer {
	int fd;
	int error; /* the first, as -errno */
	uint64_t bytes;
	size_t len;
	XXH3_state_t *digest;
	uint8_t buf[SNAP_BUFFER_BYTES];
	struct admission admissions[SNAP_ADMISSIONS_MAX];
};

/* --- the stream --- */

static void flush(struct writer *w)
{
	size_t done = 0;

	if (w->error)
		return;
	XXH3_128bits_update(w->digest, w->buf, w->len);
	while (done < w->len) {
		ssize_t n = write(w->fd, w->buf + done, w->len - done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			w->error = n < 0 ? -errno : -EIO;
			return;
		}
		done += (size_t)n;
	}
	w->bytes += w->len;
	w->len = 0;
}

/* Room for a record of `len` bytes, at most the buffer's size. */
static uint8_t *room(struct writer *w, size_t len)
{
	uint8_t *p;

	if (sizeof(w->buf) - w->len < len)
		flush(w);
	/* After an error nothing is kept; the space is scratch. */
	if (w->error)
		w->len = 0;
	p = w->buf + w->len;
	w->len += len;
	return p;
}

/* --- the records --- */

static void put_header(struct writer *w, const struct arena *a, uint64_t now,
		       int64_t wall_ms, bool clean)
{
	uint8_t *p = room(w, SNAP_HEADER_BYTES);

	memcpy(p, SNAP_MAGIC, SNAP_MAGIC_LEN);
	put_le32(p + SNAP_AT_VERSION, SNAP_VERSION);
	put_le32(p + SNAP_AT_ENDIAN, SNAP_ENDIAN);
	memcpy(p + SNAP_AT_BOOT_ID, a->header->boot_id, 16);
	put_le64(p + SNAP_AT_TICKS, now - CLOCK_BIAS);
	put_le64(p + SNAP_AT_WALL_MS, (uint64_t)wall_ms);
	put_le32(p + SNAP_AT_TICK_NS, CLOCK_TICK_NS);
	put_le32(p + SNAP_AT_FLAGS, clean ? SNAP_FLAG_CLEAN : 0);
	put_le64(p + SNAP_AT_ZERO, 0);
}

static bool slot_used(const half_t *state)
{
	/* PAIRS: set_state() in state/registry_slots.c, release. Publishes the
	 * id beside it. */
	return atomic_load_explicit(state, memory_order_acquire) != SLOT_FREE;
}

/* One section for each slot: a grace period, and with it the acknowledgement
 * of a revocation, never waits for the disk. */
static void enter(struct epoch_reader *reader)
{
	if (reader != NULL)
		epoch_enter(reader);
}

static void leave(struct epoch_reader *reader)
{
	if (reader != NULL)
		epoch_leave(reader);
}

/*
 * The window at one instant, whatever the workers do. They go on while the
 * entries are copied. An entry's place is written again only after it has left
 * the window, so with a stamp later than ours: that tells an overwritten one,
 * and everything before it has left too.
 */
static size_t save_window(struct writer *w, struct arena *a, struct org *org)
{
	const struct plan *plan = block_at(a, claim_load(&org->plan));
	size_t count, gone = 0;
	struct view v;

	if (plan == NULL || plan->rules[0].algorithm != RULE_WINDOW)
		return 0;
	for (;;) {
		struct instant now = instant_now();
		uint64_t version = claim_settle(a, &org->gate, NULL);

		now = step_instant(&now, version);
		view_read(&v, a, &plan->rules[0], &org->first, NULL, 0, &now);
		if (claim_unchanged(&org->gate, version))
			break;
	}
	count = view_admissions(&v, w->admissions, SNAP_ADMISSIONS_MAX);
	for (size_t i = 0; i < count; i++)
		if (w->admissions[i].stamp > v.newest_stamp)
			gone = i + 1;
	memmove(w->admissions, w->admissions + gone,
		(count - gone) * sizeof(w->admissions[0]));
	return count - gone;
}

/* Returns whether there was something to write. */
static bool put_org(struct writer *w, struct arena *a,
		    struct epoch_reader *reader, uint32_t slot)
{
	struct org *org = &a->orgs[slot];
	size_t count = 0;
	struct id id = {{0}};
	uint64_t taken;
	uint8_t *p;

	enter(reader);
	if (slot_used(&org->state)) {
		id = org->id;
		count = save_window(w, a, org);
	}
	leave(reader);
	if (count == 0)
		return false;
	/* Read after the save, so that no stamp is later. */
	taken = clock_ticks();

	p = room(w, SNAP_ORG_BYTES);
	put_le32(p + SNAP_ORG_AT_SLOT, slot);
	put_le32(p + SNAP_ORG_AT_COUNT, (uint32_t)count);
	memcpy(p + SNAP_ORG_AT_ID, id.c, ID_LEN);
	put_le64(p + SNAP_ORG_AT_USED, 0);
	put_le64(p + SNAP_ORG_AT_TICKS, taken - CLOCK_BIAS);
	for (size_t i = 0; i < count; i++) {
		uint64_t stamp = w->admissions[i].stamp;
		uint64_t age = stamp < taken ? taken - stamp : 0;

		if (age > SNAP_AGE_MAX)
			age = SNAP_AGE_MAX;
		put_le64(room(w, SNAP_ADMISSION_BYTES),
			 age << SNAP_UNITS_BITS | w->admissions[i].units);
	}
	return true;
}

static bool put_key(struct writer *w, const struct key *key,
		    struct epoch_reader *reader, uint32_t slot)
{
	struct id id = {{0}};
	uint64_t used = 0;
	uint32_t last_use = 0;
	uint8_t *p;

	enter(reader);
	if (slot_used(&key->state)) {
		id = key->id;
		/* PAIRS: the CAS of claim_apply() and the worker's store of
		 * the last use. Each number stands for itself and guards
		 * nothing: relaxed. */
		used = atomic_load_explicit(&key->used, memory_order_relaxed);
		last_use = atomic_load_explicit(&key->last_use_min,
						memory_order_relaxed);
	}
	leave(reader);
	if (used == 0 && last_use == 0)
		return false;
	p = room(w, SNAP_KEY_BYTES);
	put_le32(p + SNAP_KEY_AT_SLOT, slot);
	put_le32(p + SNAP_KEY_AT_LAST_USE, last_use);
	memcpy(p + SNAP_KEY_AT_ID, id.c, ID_LEN);
	put_le64(p + SNAP_KEY_AT_USED, used);
	return true;
}

static void put_end(struct writer *w, const struct snapshot_info *info)
{
	XXH128_canonical_t digest;
	uint8_t *p = room(w, SNAP_END_BYTES);

	put_le32(p + SNAP_END_AT_ORGS, info->orgs);
	put_le32(p + SNAP_END_AT_KEYS, info->keys);
	put_le64(p + SNAP_END_AT_LENGTH, w->bytes + w->len + SNAP_DIGEST_BYTES);
	flush(w);
	XXH128_canonicalFromHash(&digest, XXH3_128bits_digest(w->digest));
	memcpy(room(w, SNAP_DIGEST_BYTES), digest.digest, SNAP_DIGEST_BYTES);
	flush(w);
}

static void put_all(struct writer *w, struct arena *a,
		    struct epoch_reader *reader, bool clean,
		    struct snapshot_info *info)
{
	uint32_t org_slots = slots_read(&a->header->org_slots);
	uint32_t key_slots = slots_read(&a->header->key_slots);

	info->wall_ms = (int64_t)clock_wall_ms();
	info->clean = clean;
	put_header(w, a, clock_ticks(), info->wall_ms, clean);
	for (uint32_t slot = 1; slot < org_slots && !w->error; slot++)
		info->orgs += put_org(w, a, reader, slot);
	for (uint32_t slot = 1; slot < key_slots && !w->error; slot++)
		info->keys += put_key(w, &a->keys[slot], reader, slot);
	put_end(w, info);
	info->bytes = w->bytes;
}

/* --- the file --- */

static int failed(int rc, const char *dir, const char *doing, char *err,
		  size_t err_len)
{
	return fs_fail(rc, err, err_len,
		       "snapshot: cannot %s %s/%s: %s; the previous snapshot "
		       "is kept",
		       doing, dir, SNAPSHOT_TEMP, strerror(-rc));
}

/* The file this process wrote last: no need to verify it again before it is
 * replaced. One thread writes at a time (snapshot.h). */
static struct {
	dev_t dev;
	ino_t ino;
	struct timespec changed;
} last_written;

static bool written_by_us(const struct stat *st)
{
	return st->st_dev == last_written.dev &&
	       st->st_ino == last_written.ino &&
	       st->st_ctim.tv_sec == last_written.changed.tv_sec &&
	       st->st_ctim.tv_nsec == last_written.changed.tv_nsec;
}

/* What cannot be read by us may be of use to somebody else. */
static int set_aside(int dir_fd, const char *dir, struct snapshot_info *info,
		     char *err, size_t err_len)
{
	char name[64];
	struct stat st;
	int rc;

	if (fstatat(dir_fd, SNAPSHOT_FILE, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	    written_by_us(&st))
		return 0;
	rc = snapshot_verify(dir_fd, dir, SNAPSHOT_FILE, err, err_len);
	if (rc == 0 || rc == SNAPSHOT_ABSENT)
		return 0;
	if (rc == -ENOMEM)
		return rc;
	for (uint32_t i = 1; i <= SNAPSHOT_REFUSED_MAX; i++) {
		snprintf(name, sizeof(name), "%s%u", SNAPSHOT_REFUSED, i);
		if (renameat2(dir_fd, SNAPSHOT_FILE, dir_fd, name,
			      RENAME_NOREPLACE) == 0) {
			info->set_aside = i;
			return 0;
		}
		if (errno != EEXIST)
			return failed(-errno, dir, "make room for", err,
				      err_len);
	}
	return fs_fail(-EEXIST, err, err_len,
		       "snapshot: %s holds %d refused snapshots; remove the "
		       "files %s*",
		       dir, SNAPSHOT_REFUSED_MAX, SNAPSHOT_REFUSED);
}

static void remember(int dir_fd)
{
	struct stat st;

	if (fstatat(dir_fd, SNAPSHOT_FILE, &st, AT_SYMLINK_NOFOLLOW))
		return;
	last_written.dev = st.st_dev;
	last_written.ino = st.st_ino;
	last_written.changed = st.st_ctim;
}

/* Puts the complete temporary file in the place of the old one. */
static int publish(int dir_fd, const char *dir, struct snapshot_info *info,
		   char *err, size_t err_len)
{
	int rc = set_aside(dir_fd, dir, info, err, err_len);

	if (rc)
		return rc;
	if (renameat(dir_fd, SNAPSHOT_TEMP, dir_fd, SNAPSHOT_FILE))
		return failed(-errno, dir, "rename", err, err_len);
	remember(dir_fd);
	if (fsync(dir_fd)) {
		rc = -errno;
		return fs_fail(rc, err, err_len,
			       "snapshot: cannot fsync %s: %s; the new "
			       "snapshot is in place but may not survive a "
			       "power loss",
			       dir, strerror(-rc));
	}
	return 0;
}

static int create_temp(int dir_fd, const char *dir, int *ret_fd, char *err,
		       size_t err_len)
{
	int fd;

	/* One that a dead process left. */
	if (unlinkat(dir_fd, SNAPSHOT_TEMP, 0) && errno != ENOENT)
		return failed(-errno, dir, "remove an old", err, err_len);
	fd = openat(dir_fd, SNAPSHOT_TEMP,
		    O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return failed(-errno, dir, "create", err, err_len);
	*ret_fd = fd;
	return 0;
}

static struct writer *writer_new(void)
{
	struct writer *w = malloc(sizeof(*w));

	if (!w)
		return NULL;
	w->digest = XXH3_createState();
	if (!w->digest) {
		free(w);
		return NULL;
	}
	XXH3_128bits_reset(w->digest);
	w->error = 0;
	w->bytes = 0;
	w->len = 0;
	return w;
}

static void writer_free(struct writer *w)
{
	XXH3_freeState(w->digest);
	free(w);
}

int snapshot_write(struct arena *a, struct epoch_reader *reader,
		   const char *dir, bool clean, struct snapshot_info *ret_info,
		   char *err, size_t err_len)
{
	uint64_t began_ns = clock_ns(CLOCK_MONOTONIC);
	struct snapshot_info info = {0};
	struct writer *w = writer_new();
	int dir_fd, rc;

	if (!w)
		return failed(-ENOMEM, dir, "write", err, err_len);
	dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir_fd < 0) {
		rc = failed(-errno, dir, "open the directory of", err, err_len);
		goto out_free;
	}
	rc = create_temp(dir_fd, dir, &w->fd, err, err_len);
	if (rc)
		goto out_dir;
	put_all(w, a, reader, clean, &info);
	if (w->error)
		rc = failed(w->error, dir, "write", err, err_len);
	else if (fsync(w->fd))
		rc = failed(-errno, dir, "fsync", err, err_len);
	close(w->fd);
	if (rc == 0)
		rc = publish(dir_fd, dir, &info, err, err_len);
	if (rc) {
		(void)unlinkat(dir_fd, SNAPSHOT_TEMP, 0);
		goto out_dir;
	}
	info.duration_ms = (clock_ns(CLOCK_MONOTONIC) - began_ns) / 1000000;
	*ret_info = info;
out_dir:
	close(dir_fd);
out_free:
	writer_free(w);
	return rc;
}
