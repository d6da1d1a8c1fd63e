/* SPDX-License-Identifier: MIT */
/*
 * count_calls - what a worker calls on the request path.
 *
 * Preloaded into stiled by steady_state_test.py. Counts calls of the
 * allocator, of locks and of formatted output on threads named worker-N, into
 * the file that STILE_COUNT_FILE names: eight-byte counters in the order of
 * enum call. The test reads the file before and after a load.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

/* In the order of CALLS in steady_state_test.py. */
enum call {
	CALL_SEEN, /* worker threads that called anything counted here */
	CALL_MALLOC,
	CALL_CALLOC,
	CALL_REALLOC,
	CALL_FREE,
	CALL_ALIGNED,
	CALL_MUTEX,
	CALL_RWLOCK,
	CALL_COND,
	CALL_PRINTF,
	CALL_COUNT
};

/* glibc's allocator under names that nothing interposes. */
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *p, size_t size);
void *__libc_memalign(size_t align, size_t size);
void __libc_free(void *p);

static _Atomic(uint64_t) before_map[CALL_COUNT];
static _Atomic(uint64_t) *counts = before_map;

/* A thread's name may be set late: "no" is asked again, "yes" stays. */
static __thread int is_worker __attribute__((tls_model("initial-exec")));

static void count(enum call call)
{
	char name[16];

	if (!is_worker) {
		if (prctl(PR_GET_NAME, name) != 0 ||
		    strncmp(name, "worker-", 7) != 0)
			return;
		is_worker = 1;
		atomic_fetch_add_explicit(&counts[CALL_SEEN], 1,
					  memory_order_relaxed);
	}
	/* PAIRS: nothing. A reader of the file wants the number alone. */
	atomic_fetch_add_explicit(&counts[call], 1, memory_order_relaxed);
}

__attribute__((constructor)) static void map_counts(void)
{
	const char *path = getenv("STILE_COUNT_FILE");
	void *map;
	int fd;

	if (!path)
		return;
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		abort();
	map = mmap(NULL, CALL_COUNT * sizeof(*counts), PROT_READ | PROT_WRITE,
		   MAP_SHARED, fd, 0);
	if (map == MAP_FAILED)
		abort();
	close(fd);
	counts = map;
}

void *malloc(size_t size)
{
	count(CALL_MALLOC);
	return __libc_malloc(size);
}

void *calloc(size_t n, size_t size)
{
	count(CALL_CALLOC);
	return __libc_calloc(n, size);
}

void *realloc(void *p, size_t size)
{
	count(CALL_REALLOC);
	return __libc_realloc(p, size);
}

void free(void *p)
{
	count(CALL_FREE);
	__libc_free(p);
}

void *memalign(size_t align, size_t size)
{
	count(CALL_ALIGNED);
	return __libc_memalign(align, size);
}

void *aligned_alloc(size_t align, size_t size)
{
	count(CALL_ALIGNED);
	return __libc_memalign(align, size);
}

int posix_memalign(void **ret, size_t align, size_t size)
{
	void *p;

	count(CALL_ALIGNED);
	p = __libc_memalign(align, size);
	if (!p)
		return 12; /* ENOMEM */
	*ret = p;
	return 0;
}

/* The function that this one stands before; found once. */
#define NEXT(name)                                                             \
	static __typeof__(&name) next;                                         \
	if (!next)                                                             \
	next = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

#define LOCK(name, type, call)                                                 \
	int name(type *lock)                                                   \
	{                                                                      \
		NEXT(name);                                                    \
		count(call);                                                   \
		return next(lock);                                             \
	}

LOCK(pthread_mutex_lock, pthread_mutex_t, CALL_MUTEX)
LOCK(pthread_mutex_trylock, pthread_mutex_t, CALL_MUTEX)
LOCK(pthread_rwlock_rdlock, pthread_rwlock_t, CALL_RWLOCK)
LOCK(pthread_rwlock_wrlock, pthread_rwlock_t, CALL_RWLOCK)
LOCK(pthread_cond_signal, pthread_cond_t, CALL_COND)
LOCK(pthread_cond_broadcast, pthread_cond_t, CALL_COND)

/* Formatted output, with and without the checks of _FORTIFY_SOURCE. */
int __vsnprintf_chk(char *s, size_t n, int flag, size_t len, const char *f,
		    va_list ap);
int __snprintf_chk(char *s, size_t n, int flag, size_t len, const char *f, ...);
int __vfprintf_chk(FILE *out, int flag, const char *f, va_list ap);
int __fprintf_chk(FILE *out, int flag, const char *f, ...);

int vsnprintf(char *s, size_t n, const char *f, va_list ap)
{
	NEXT(vsnprintf);
	count(CALL_PRINTF);
	return next(s, n, f, ap);
}

int __vsnprintf_chk(char *s, size_t n, int flag, size_t len, const char *f,
		    va_list ap)
{
	(void)flag;
	(void)len;
	return vsnprintf(s, n, f, ap);
}

int vfprintf(FILE *out, const char *f, va_list ap)
{
	NEXT(vfprintf);
	count(CALL_PRINTF);
	return next(out, f, ap);
}

int __vfprintf_chk(FILE *out, int flag, const char *f, va_list ap)
{
	(void)flag;
	return vfprintf(out, f, ap);
}

#define FORMATTED(call)                                                        \
	va_list ap;                                                            \
	int n;                                                                 \
	va_start(ap, f);                                                       \
	n = call;                                                              \
	va_end(ap);                                                            \
	return n

int snprintf(char *s, size_t n_max, const char *f, ...)
{
	FORMATTED(vsnprintf(s, n_max, f, ap));
}

int __snprintf_chk(char *s, size_t n_max, int flag, size_t len, const char *f,
		   ...)
{
	(void)flag;
	(void)len;
	FORMATTED(vsnprintf(s, n_max, f, ap));
}

int fprintf(FILE *out, const char *f, ...)
{
	FORMATTED(vfprintf(out, f, ap));
}

int __fprintf_chk(FILE *out, int flag, const char *f, ...)
{
	(void)flag;
	FORMATTED(vfprintf(out, f, ap));
}
