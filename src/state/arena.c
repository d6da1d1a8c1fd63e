/* SPDX-License-Identifier: MIT */
#include "state/arena.h"

#include "base/check.h"
#include "base/civil.h"
#include "gate/claim.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>
#include <xxhash.h>

/* Pages are taken from the tmpfs in steps of this size. */
#define RESERVE_STEP (UINT64_C(1) << 20)

static const struct {
	uint64_t at, bytes;
} regions[REGION_COUNT] = {
	[REGION_ORGS] = {ARENA_ORGS_AT, ARENA_PROJECTS_AT - ARENA_ORGS_AT},
	[REGION_PROJECTS] = {ARENA_PROJECTS_AT,
			     ARENA_KEYS_AT - ARENA_PROJECTS_AT},
	[REGION_KEYS] = {ARENA_KEYS_AT, ARENA_RINGS_AT - ARENA_KEYS_AT},
	[REGION_RINGS] = {ARENA_RINGS_AT, ARENA_RING_BYTES},
};

static int fail(char *err, size_t err_len, int error, const char *path,
		const char *what)
{
	snprintf(err, err_len, "%s: %s: %s", path, what, strerror(error));
	return -error;
}

static int read_boot_id(uint8_t id[static 16])
{
	char text[64];
	FILE *f = fopen("/proc/sys/kernel/random/boot_id", "re");
	size_t i, n = 0;
	bool ok;

	if (f == NULL)
		return -errno;
	ok = fgets(text, sizeof(text), f) != NULL;
	fclose(f);
	if (!ok)
		return -EIO;
	memset(id, 0, 16);
	for (i = 0; text[i] != '\0' && n < 32; i++) {
		char digit[2] = {text[i], '\0'};
		char *end;
		unsigned long v = strtoul(digit, &end, 16);

		if (end == digit)
			continue;
		id[n / 2] = (uint8_t)((unsigned)id[n / 2] << 4 | v);
		n++;
	}
	return n == 32 ? 0 : -EIO;
}

static void set_pointers(struct arena *a, uint8_t *base)
{
	a->base = base;
	a->header = (struct arena_header *)(void *)base;
	a->descriptors =
		(struct descriptor *)(void *)(base + ARENA_DESCRIPTORS_AT);
	a->orgs = (struct org *)(void *)(base + ARENA_ORGS_AT);
	a->projects = (struct project *)(void *)(base + ARENA_PROJECTS_AT);
	a->keys = (struct key *)(void *)(base + ARENA_KEYS_AT);
	a->rings = base + ARENA_RINGS_AT;
}

static int map(struct arena_file *f)
{
	int flags = f->fd >= 0 ? MAP_SHARED
			       : MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
	void *p = mmap(NULL, ARENA_BYTES, PROT_READ | PROT_WRITE, flags, f->fd,
		       0);

	if (p == MAP_FAILED)
		return -errno;
	(void)madvise(p, ARENA_BYTES, MADV_DONTDUMP);
	/* Each check reads lines that lie anywhere. A tmpfs that is mounted
	 * with huge=advise gives huge pages then, for a TLB that reaches
	 * further; others refuse, and it works all the same. */
	if (f->fd >= 0)
		(void)madvise(p, ARENA_BYTES, MADV_HUGEPAGE);
	set_pointers(&f->arena, p);
	return 0;
}

static int check_place(int fd, const char *path, char *err, size_t err_len)
{
	struct statfs fs;
	struct stat st;

	if (fstat(fd, &st) < 0 || fstatfs(fd, &fs) < 0)
		return fail(err, err_len, errno, path, "cannot inspect");
	if (!S_ISREG(st.st_mode) || st.st_uid != geteuid() ||
	    st.st_nlink != 1 || (st.st_mode & 077) != 0) {
		snprintf(err, err_len,
			 "%s: not a private file of ours (owner, mode or "
			 "links); remove it",
			 path);
		return -EPERM;
	}
	if (fs.f_type != TMPFS_MAGIC) {
		snprintf(err, err_len,
			 "%s: not on tmpfs, where counters would wait for the "
			 "disk; set runtime_dir to a directory on tmpfs",
			 path);
		return -EINVAL;
	}
	return 0;
}

/* True when the file holds counters of this boot that we can carry on with. */
static bool usable(const struct arena_file *f)
{
	const struct arena_header *h = f->arena.header;
	unsigned i;

	if (h->magic != ARENA_MAGIC || h->layout != ARENA_LAYOUT ||
	    h->ready != 1 || memcmp(h->boot_id, f->boot_id, 16) != 0 ||
	    slots_read(&h->org_slots) > ARENA_ORGS_MAX ||
	    slots_read(&h->project_slots) > ARENA_PROJECTS_MAX ||
	    slots_read(&h->key_slots) > ARENA_KEYS_MAX)
		return false;
	for (i = 0; i < ARENA_OWNERS; i++)
		if (!claim_descriptor_sane(&f->arena.descriptors[i]))
			return false;
	return true;
}

static void populate(const struct arena_file *f, uint64_t at, uint64_t bytes)
{
	(void)madvise(f->arena.base + at, (size_t)bytes, MADV_POPULATE_WRITE);
}

static bool has_room(int fd, uint64_t bytes)
{
	struct statfs fs;

	return fstatfs(fd, &fs) == 0 &&
	       (fs.f_blocks == 0 || /* as much as there is memory */
		(uint64_t)fs.f_bavail * (uint64_t)fs.f_bsize >= bytes);
}

/* Pages of the tmpfs, and the page table's entries for them at once: a fault
 * for each would cost a start more, and a worker one now and then. */
static int take_pages(const struct arena_file *f, uint64_t at, uint64_t bytes)
{
	/* By writing: fallocate() takes no huge pages where they were advised.
	 * But unlike it writing keeps what it got when there was no room for
	 * all. */
	if (has_room(f->fd, bytes))
		populate(f, at, bytes);
	if (fallocate(f->fd, 0, (off_t)at, (off_t)bytes) < 0)
		return -errno;
	populate(f, at, bytes);
	return 0;
}

/* Header and descriptors. Also before they are only read: a hole takes a page
 * then too, and without room that is a signal instead of an answer. */
static int reserve_head(struct arena_file *f, const char *path, char *err,
			size_t err_len)
{
	int r = take_pages(f, 0, ARENA_ORGS_AT);

	if (r < 0)
		return fail(err, err_len, -r, path,
			    "no room on this tmpfs (enlarge it: in Docker "
			    "--shm-size, else mount -o remount,size=)");
	return 0;
}

static int initialize(struct arena_file *f, const char *path, char *err,
		      size_t err_len)
{
	struct arena_header *h = f->arena.header;
	int r;

	/* Shrink to nothing first: everything reads as zero afterwards. */
	if (ftruncate(f->fd, 0) < 0 || ftruncate(f->fd, (off_t)ARENA_BYTES) < 0)
		return fail(err, err_len, errno, path, "cannot set its size");
	r = reserve_head(f, path, err, err_len);
	if (r < 0)
		return r;
	h->magic = ARENA_MAGIC;
	h->layout = ARENA_LAYOUT;
	memcpy(h->boot_id, f->boot_id, 16);
	memcpy(h->id, f->id, 16);
	civil_take(&h->civil_ns);
	return 0;
}

static int lock(int fd, const char *path, char *err, size_t err_len)
{
	if (flock(fd, LOCK_EX | LOCK_NB) == 0)
		return 0;
	if (errno != EWOULDBLOCK)
		return fail(err, err_len, errno, path, "cannot lock the arena");
	return fail(err, err_len, EBUSY, path,
		    "another process uses this arena; give each a runtime_dir "
		    "of its own");
}

int arena_open(struct arena_file *f, const char *path, bool *ret_fresh,
	       unsigned *ret_recovered, char *err, size_t err_len)
{
	struct stat st;
	int r;

	memset(f, 0, sizeof(*f));
	r = read_boot_id(f->boot_id);
	if (r < 0)
		return fail(err, err_len, -r, "/proc/sys/kernel/random/boot_id",
			    "cannot read");
	if (getrandom(f->id, sizeof(f->id), 0) != sizeof(f->id))
		return fail(err, err_len, errno, path, "no random numbers");
	f->fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (f->fd < 0)
		return fail(err, err_len, errno, path, "cannot open the arena");
	r = check_place(f->fd, path, err, err_len);
	if (r == 0)
		r = lock(f->fd, path, err, err_len);
	if (r < 0)
		goto out_close;
	if (fstat(f->fd, &st) < 0) {
		r = fail(err, err_len, errno, path, "cannot inspect");
		goto out_close;
	}
	r = map(f);
	if (r < 0) {
		fail(err, err_len, -r, path, "cannot map the arena");
		goto out_close;
	}
	*ret_recovered = 0;
	*ret_fresh = st.st_size != (off_t)ARENA_BYTES;
	if (!*ret_fresh) {
		r = reserve_head(f, path, err, err_len);
		if (r < 0)
			goto out_unmap;
		*ret_fresh = !usable(f);
		if (!*ret_fresh)
			memcpy(f->id, f->arena.header->id, sizeof(f->id));
	}
	if (*ret_fresh)
		r = initialize(f, path, err, err_len);
	else
		*ret_recovered = claim_recover(&f->arena);
	if (r < 0)
		goto out_unmap;
	return 0;
out_unmap:
	munmap(f->arena.base, ARENA_BYTES);
out_close:
	close(f->fd);
	return r;
}

int arena_open_private(struct arena_file *f)
{
	int r;

	memset(f, 0, sizeof(*f));
	f->fd = -1;
	r = map(f);
	if (r == 0)
		civil_take(&f->arena.header->civil_ns);
	return r;
}

void arena_set_ready(struct arena_file *f)
{
	f->arena.header->ready = 1;
}

int arena_discard(struct arena_file *f, char *err, size_t err_len)
{
	memset(f->reserved, 0, sizeof(f->reserved));
	if (f->fd >= 0)
		return initialize(f, "the arena", err, err_len);
	if (madvise(f->arena.base, ARENA_BYTES, MADV_DONTNEED) < 0)
		return fail(err, err_len, errno, "the arena", "cannot empty");
	civil_take(&f->arena.header->civil_ns);
	return 0;
}

void arena_close(struct arena_file *f)
{
	munmap(f->arena.base, ARENA_BYTES);
	if (f->fd >= 0)
		close(f->fd);
}

int arena_reserve(struct arena_file *f, enum arena_region region,
		  uint64_t bytes)
{
	uint64_t have = f->reserved[region];
	int r;

	check(bytes <= regions[region].bytes);
	bytes = (bytes + RESERVE_STEP - 1) / RESERVE_STEP * RESERVE_STEP;
	if (bytes <= have)
		return 0;
	if (f->fd < 0)
		return 0; /* private pages come as they are touched */
	r = take_pages(f, regions[region].at + have, bytes - have);
	if (r < 0)
		return r;
	f->reserved[region] = bytes;
	return 0;
}

int arena_path(char *out, size_t out_len, const char *runtime_dir,
	       const char *state_dir)
{
	const char *from_systemd = getenv("RUNTIME_DIRECTORY");
	char real[PATH_MAX];
	int n;

	if (runtime_dir[0] == '\0' && from_systemd != NULL)
		runtime_dir = from_systemd;
	if (runtime_dir[0] != '\0') {
		n = snprintf(out, out_len, "%s/arena", runtime_dir);
	} else {
		if (realpath(state_dir, real) == NULL)
			return -errno;
		n = snprintf(
			out, out_len, "/dev/shm/stile-%016llx.arena",
			(unsigned long long)XXH3_64bits(real, strlen(real)));
	}
	return n > 0 && (size_t)n < out_len ? 0 : -ENAMETOOLONG;
}
