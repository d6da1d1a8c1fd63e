/* SPDX-License-Identifier: MIT */
#include "scratch.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

void scratch_init(struct scratch *s)
{
	snprintf(s->state, sizeof(s->state), "/tmp/stile-test-XXXXXX");
	snprintf(s->shm, sizeof(s->shm), "/dev/shm/stile-test-XXXXXX");
	cr_assert_not_null(mkdtemp(s->state));
	cr_assert_not_null(mkdtemp(s->shm));
	snprintf(s->arena, sizeof(s->arena), "%s/arena", s->shm);
	snprintf(s->records, sizeof(s->records), "%s/records.db", s->state);
	snprintf(s->snapshot, sizeof(s->snapshot), "%s/counters.snap",
		 s->state);
}

static int remove_entry(const char *path, const struct stat *st, int type,
			struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

void scratch_deinit(struct scratch *s)
{
	nftw(s->state, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
	nftw(s->shm, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
}

uint8_t *scratch_read(const char *path, size_t *ret_len)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	uint8_t *bytes;
	struct stat st;

	cr_assert_geq(fd, 0, "%s", path);
	cr_assert_eq(fstat(fd, &st), 0);
	bytes = malloc((size_t)st.st_size + 1);
	cr_assert_not_null(bytes);
	cr_assert_eq(read(fd, bytes, (size_t)st.st_size), st.st_size);
	close(fd);
	*ret_len = (size_t)st.st_size;
	return bytes;
}

void scratch_write(const char *path, const void *bytes, size_t len)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	cr_assert_geq(fd, 0, "%s", path);
	cr_assert_eq(write(fd, bytes, len), (ssize_t)len);
	close(fd);
}

bool scratch_exists(const char *path)
{
	return access(path, F_OK) == 0;
}

unsigned scratch_count(const char *dir, const char *prefix)
{
	DIR *d = opendir(dir);
	struct dirent *e;
	unsigned n = 0;

	cr_assert_not_null(d);
	while ((e = readdir(d)) != NULL)
		n += strncmp(e->d_name, prefix, strlen(prefix)) == 0 &&
		     e->d_name[0] != '.';
	closedir(d);
	return n;
}
