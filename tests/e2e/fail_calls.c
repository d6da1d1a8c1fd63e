/* SPDX-License-Identifier: MIT */
/*
 * fail_calls - a disk that fails when told to.
 *
 * Preloaded into stiled by faults_test.py. STILE_FAIL_FILE names a file whose
 * bytes are switches, in the order of enum fault; one that is not zero makes
 * its calls fail for files below a directory `state`.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/types.h>
#include <unistd.h>

/* In the order of FAULTS in faults_test.py. */
enum fault {
	FAULT_WRITE,  /* ENOSPC */
	FAULT_SYNC,   /* EIO */
	FAULT_RENAME, /* EIO */
	FAULT_COUNT
};

static _Atomic(uint8_t) none[FAULT_COUNT];
static _Atomic(uint8_t) *faults = none;

__attribute__((constructor)) static void map_faults(void)
{
	const char *path = getenv("STILE_FAIL_FILE");
	void *map;
	int fd;

	if (!path)
		return;
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		abort();
	map = mmap(NULL, FAULT_COUNT, PROT_READ, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED)
		abort();
	close(fd);
	faults = map;
}

static int is_on(enum fault fault)
{
	/* PAIRS: nothing; a switch that guards no data. */
	return atomic_load_explicit(&faults[fault], memory_order_relaxed);
}

static int is_state(int fd)
{
	char link[64], path[4096];
	ssize_t len;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	len = readlink(link, path, sizeof(path) - 1);
	if (len < 0)
		return 0;
	path[len] = '\0';
	return strstr(path, "/state/") ||
	       (len >= 6 && strcmp(path + len - 6, "/state") == 0);
}

static int fails(enum fault fault, int fd, int error)
{
	if (!is_on(fault) || !is_state(fd))
		return 0;
	errno = error;
	return 1;
}

/* The function that this one stands before; found once. */
#define NEXT(name)                                                             \
	static __typeof__(&name) next;                                         \
	if (!next)                                                             \
	next = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

ssize_t write(int fd, const void *data, size_t len)
{
	NEXT(write);
	return fails(FAULT_WRITE, fd, ENOSPC) ? -1 : next(fd, data, len);
}

ssize_t pwrite(int fd, const void *data, size_t len, off_t at)
{
	NEXT(pwrite);
	return fails(FAULT_WRITE, fd, ENOSPC) ? -1 : next(fd, data, len, at);
}

ssize_t pwrite64(int fd, const void *data, size_t len, off64_t at)
{
	NEXT(pwrite64);
	return fails(FAULT_WRITE, fd, ENOSPC) ? -1 : next(fd, data, len, at);
}

int fsync(int fd)
{
	NEXT(fsync);
	return fails(FAULT_SYNC, fd, EIO) ? -1 : next(fd);
}

int fdatasync(int fd)
{
	NEXT(fdatasync);
	return fails(FAULT_SYNC, fd, EIO) ? -1 : next(fd);
}

int rename(const char *from, const char *to)
{
	NEXT(rename);
	if (is_on(FAULT_RENAME)) {
		errno = EIO;
		return -1;
	}
	return next(from, to);
}

int renameat(int from_fd, const char *from, int to_fd, const char *to)
{
	NEXT(renameat);
	return fails(FAULT_RENAME, to_fd, EIO) ? -1
					       : next(from_fd, from, to_fd, to);
}
