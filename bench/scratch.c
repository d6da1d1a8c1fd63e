/* SPDX-License-Identifier: MIT */
#include "scratch.h"

#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#define OPEN_DIRS_MAX 16

int scratch_make(const char *parent, char *path, size_t path_len)
{
	int n = snprintf(path, path_len, "%s/stile-bench-XXXXXX", parent);
	int r = 0;

	if (n < 0 || (size_t)n >= path_len)
		r = -ENAMETOOLONG;
	else if (!mkdtemp(path))
		r = -errno;
	if (r < 0)
		path[0] = '\0';
	return r;
}

static int remove_one(const char *path, const struct stat *st, int type,
		      struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	remove(path);
	return 0;
}

void scratch_remove(const char *path)
{
	nftw(path, remove_one, OPEN_DIRS_MAX, FTW_DEPTH | FTW_PHYS);
}
