/* SPDX-License-Identifier: MIT */
/*
 * shift_clock - a wall clock that can be stepped without touching the machine.
 *
 * Preloaded into stiled by clock_test.py. STILE_CLOCK_FILE names a file that
 * holds a signed 64-bit number: the seconds by which CLOCK_REALTIME is off. No
 * other clock is.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

static _Atomic(int64_t) none;
static _Atomic(int64_t) *shift_s = &none;
static __typeof__(&clock_gettime) real;

__attribute__((constructor)) static void map_shift(void)
{
	const char *path = getenv("STILE_CLOCK_FILE");
	void *map;
	int fd;

	real = (__typeof__(real))dlsym(RTLD_NEXT, "clock_gettime");
	if (!path)
		return;
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		abort();
	map = mmap(NULL, sizeof(*shift_s), PROT_READ, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED)
		abort();
	close(fd);
	shift_s = map;
}

int clock_gettime(clockid_t id, struct timespec *ts)
{
	int r = real ? real(id, ts) : -1;

	/* PAIRS: nothing; a number that guards no data. */
	if (r == 0 && id == CLOCK_REALTIME)
		ts->tv_sec +=
			atomic_load_explicit(shift_s, memory_order_relaxed);
	return r;
}
