/* SPDX-License-Identifier: MIT */
#include "state/arena_mark.h"

#include "state/fs.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define ID_BYTES sizeof(((struct arena_header *)NULL)->id)
#define MARK_LEN (2 * ID_BYTES + 1) /* with the end of the line */

static void put_hex(const struct arena_file *f, char text[static MARK_LEN + 1])
{
	size_t i;

	for (i = 0; i < ID_BYTES; i++)
		snprintf(text + 2 * i, 3, "%02x", f->arena.header->id[i]);
	memcpy(text + 2 * ID_BYTES, "\n", 2);
}

static int open_mark(const char *state_dir, int flags)
{
	char path[PATH_MAX];
	int n = snprintf(path, sizeof(path), "%s/%s", state_dir,
			 ARENA_MARK_FILE);
	int fd;

	if (n < 0 || (size_t)n >= sizeof(path))
		return -ENAMETOOLONG;
	fd = open(path, flags | O_CLOEXEC | O_NOFOLLOW, 0600);
	return fd < 0 ? -errno : fd;
}

enum mark { MARK_NONE, MARK_OURS, MARK_OTHER };

static enum mark read_mark(const struct arena_file *f, const char *state_dir)
{
	char want[MARK_LEN + 1], have[MARK_LEN + 1];
	int fd = open_mark(state_dir, O_RDONLY);
	ssize_t n;

	if (fd < 0)
		return fd == -ENOENT ? MARK_NONE : MARK_OTHER;
	n = read(fd, have, sizeof(have));
	close(fd);
	put_hex(f, want);
	return n == (ssize_t)MARK_LEN && memcmp(have, want, MARK_LEN) == 0
		       ? MARK_OURS
		       : MARK_OTHER;
}

static int write_mark(const struct arena_file *f, const char *state_dir,
		      char *err, size_t err_len)
{
	char text[MARK_LEN + 1];
	int fd = open_mark(state_dir, O_WRONLY | O_CREAT);
	int r = fd < 0 ? fd : 0;

	put_hex(f, text);
	/* In one piece over the old one, which has the same length. */
	if (r == 0 && pwrite(fd, text, MARK_LEN, 0) != (ssize_t)MARK_LEN)
		r = errno != 0 ? -errno : -EIO;
	if (r == 0 && ftruncate(fd, MARK_LEN) < 0)
		r = -errno;
	if (fd >= 0)
		close(fd);
	return r == 0 ? 0
		      : fs_fail(r, err, err_len, "cannot write %s/%s: %s",
				state_dir, ARENA_MARK_FILE, strerror(-r));
}

int arena_mark(struct arena_file *f, const char *state_dir, bool *fresh,
	       bool *ret_stale, char *err, size_t err_len)
{
	enum mark mark = read_mark(f, state_dir);

	*ret_stale = !*fresh && mark == MARK_OTHER;
	if (*ret_stale) {
		int r = arena_discard(f, err, err_len);

		*fresh = true;
		if (r < 0)
			return r;
	}
	return mark == MARK_OURS ? 0 : write_mark(f, state_dir, err, err_len);
}
