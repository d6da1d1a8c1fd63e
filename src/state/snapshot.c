/* SPDX-License-Identifier: MIT */
/*
 * Writing. Everything goes through one buffer, whose bytes are digested when
 * it is flushed; the first error sticks and the rest become no-ops, so the
 * code that writes records reads like the format. What is copied from the
 * arena is staged first, since nothing is written to the disk in an epoch
 * section.
 */
#include "state/snapshot.h"
#include "state/snapshot_internal.h"

#include "base/check.h"
#include "base/epoch.h"
#include "state/fs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* --- the stream --- */

static void flush(struct snap_writer *w)
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

static void put(struct snap_writer *w, const uint8_t *bytes, size_t len)
{
	while (len > 0 && !w->error) {
		size_t n = sizeof(w->buf) - w->len;

		if (n > len)
			n = len;
		memcpy(w->buf + w->len, bytes, n);
		w->len += n;
		bytes += n;
		len -= n;
		if (w->len == sizeof(w->buf))
			flush(w);
	}
}

uint8_t *snap_stage(struct snap_writer *w, size_t len)
{
	uint8_t *p = w->stage + w->staged;

	check(sizeof(w->stage) - w->staged >= len);
	w->staged += len;
	return p;
}

uint8_t *snap_stage_record(struct snap_writer *w, enum snap_kind kind,
			   uint32_t number, size_t len)
{
	uint8_t *p = snap_stage(w, len);

	memset(p, 0, len);
	put_le32(p + SNAP_RECORD_AT_KIND, kind);
	put_le32(p + SNAP_RECORD_AT_NUMBER, number);
	w->records++;
	return p;
}

void snap_put_stage(struct snap_writer *w)
{
	put(w, w->stage, w->staged);
	w->staged = 0;
}

void snap_enter(struct snap_writer *w)
{
	if (w->reader != NULL)
		epoch_enter(w->reader);
}

void snap_leave(struct snap_writer *w)
{
	if (w->reader != NULL)
		epoch_leave(w->reader);
}

/* --- the whole --- */

static void put_header(struct snap_writer *w)
{
	const struct arena_header *h = w->arena->header;
	uint8_t *p = snap_stage(w, SNAP_HEADER_BYTES);

	memcpy(p, SNAP_MAGIC, SNAP_MAGIC_LEN);
	put_le32(p + SNAP_AT_VERSION, SNAP_VERSION);
	put_le32(p + SNAP_AT_ENDIAN, SNAP_ENDIAN);
	memcpy(p + SNAP_AT_BOOT_ID, h->boot_id, sizeof(h->boot_id));
	put_le64(p + SNAP_AT_TICKS, clock_ticks() - CLOCK_BIAS);
	put_le64(p + SNAP_AT_WALL_MS, (uint64_t)w->info->wall_ms);
	put_le32(p + SNAP_AT_TICK_NS, CLOCK_TICK_NS);
	put_le32(p + SNAP_AT_FLAGS, w->info->clean ? SNAP_FLAG_CLEAN : 0);
	put_le64(p + SNAP_AT_SEED, h->seed);
	snap_put_stage(w);
}

static void put_end(struct snap_writer *w)
{
	uint64_t length =
		w->bytes + w->len + SNAP_END_BYTES + SNAP_DIGEST_BYTES;
	uint64_t records = w->records;
	uint8_t *p = snap_stage_record(w, SNAP_END, 0, SNAP_END_BYTES);
	XXH128_canonical_t digest;

	put_le64(p + SNAP_END_AT_RECORDS, records);
	put_le64(p + SNAP_END_AT_LENGTH, length);
	snap_put_stage(w);
	flush(w);
	XXH128_canonicalFromHash(&digest, XXH3_128bits_digest(w->digest));
	put(w, digest.digest, SNAP_DIGEST_BYTES);
	flush(w);
}

static void put_all(struct snap_writer *w)
{
	w->info->wall_ms = (int64_t)clock_wall_ms();
	put_header(w);
	/* A hold is saved when it was there before everything that it is
	 * counted in was saved, and is there after it: then that counts it. */
	snap_note_holds(w);
	snap_save_orgs(w);
	snap_save_projects(w);
	snap_save_keys(w);
	snap_save_tables(w);
	snap_save_holds(w);
	put_end(w);
	w->info->bytes = w->bytes;
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

static struct snap_writer *writer_new(void)
{
	struct snap_writer *w = malloc(sizeof(*w));

	if (!w)
		return NULL;
	/* Not the buffers: what is not needed is not touched. */
	memset(w, 0, offsetof(struct snap_writer, buf));
	w->digest = XXH3_createState();
	if (!w->digest) {
		free(w);
		return NULL;
	}
	XXH3_128bits_reset(w->digest);
	return w;
}

static void writer_free(struct snap_writer *w)
{
	XXH3_freeState(w->digest);
	free(w->holds);
	free(w);
}

int snapshot_write(struct arena *a, struct epoch_reader *reader,
		   const char *dir, bool clean, struct snapshot_info *ret_info,
		   char *err, size_t err_len)
{
	uint64_t began_ns = clock_ns(CLOCK_MONOTONIC);
	struct snapshot_info info = {.clean = clean};
	struct snap_writer *w = writer_new();
	int dir_fd, rc;

	if (!w)
		return failed(-ENOMEM, dir, "write", err, err_len);
	w->arena = a;
	w->reader = reader;
	w->info = &info;
	dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir_fd < 0) {
		rc = failed(-errno, dir, "open the directory of", err, err_len);
		goto out_free;
	}
	rc = create_temp(dir_fd, dir, &w->fd, err, err_len);
	if (rc)
		goto out_dir;
	put_all(w);
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
