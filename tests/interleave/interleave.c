/* SPDX-License-Identifier: MIT */
#include "interleave.h"

#include "base/check.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <ucontext.h>
#include <xxhash.h>

/*
 * A thread stands before an access that it has not made yet; a step makes it
 * and goes on to the next one. explore() makes a step of each thread in turn
 * from a copy of the state: stacks stay where they are, so copying them away
 * and back is enough.
 *
 * makecontext() starts a thread, _setjmp() and _longjmp() change between them:
 * these make no system call. What is below a stack's live part is cleared, so
 * that two ways to one state are known as one even if they left different
 * garbage there. Garbage that remains costs time and nothing else.
 */

#define STACK_BYTES 16384u
/* interleave_point() and _setjmp() below its frame. */
#define STACK_MARGIN 512u
#define REGIONS_MAX 48u
#define DEPTH_MAX 4096u
#define TABLE_MIN (UINT64_C(1) << 16)
#define TABLE_MAX (UINT64_C(1) << 26) /* 1.5 GB */

#define DEATH INTERLEAVE_THREADS_MAX

struct thread {
	jmp_buf at;
	uint8_t *live; /* from here on its stack is in use; NULL: has ended */
	/* the access it stands before */
	const volatile void *addr;
	const char *op, *where;
};

static struct {
	struct thread threads[INTERLEAVE_THREADS_MAX];
	unsigned count, life;
	bool recovering;
} world;
static uint8_t stacks[INTERLEAVE_THREADS_MAX][STACK_BYTES]
	__attribute__((aligned(64)));

static struct region {
	const char *name;
	uint8_t *at;
	size_t len;
} regions[REGIONS_MAX];
static unsigned regions_count;
static struct region ignored;

static const struct interleave *scenario;
static const char *only;    /* this scenario, or NULL */
static const char *planted; /* what is to be found, or NULL */

static jmp_buf scheduler;
static ucontext_t blank;
static struct thread *current; /* whose stack we are on; NULL: our own */
static bool looking;           /* in wrote(): no access of a thread */

static struct step {
	unsigned idx;
	const volatile void *addr;
	const char *op, *where;
	uint8_t *before; /* the state that this step began in */
} path[DEPTH_MAX];
static unsigned depth;

/* ---- What is told ---- */

static bool is_in(const struct region *r, const volatile void *at)
{
	return (uintptr_t)at - (uintptr_t)r->at < r->len;
}

static const struct region *region_of(const volatile void *at)
{
	unsigned i;

	for (i = 0; i < regions_count; i++)
		if (is_in(&regions[i], at))
			return &regions[i];
	return NULL;
}

static void print_path(void)
{
	unsigned i;

	for (i = 0; i < depth; i++) {
		const struct step *s = &path[i];
		const struct region *r = region_of(s->addr);

		if (s->idx == DEATH)
			printf("  the process dies\n");
		else
			printf("  %u: %s %s %s+%zu\n", s->idx, s->where, s->op,
			       r->name,
			       (size_t)((uintptr_t)s->addr - (uintptr_t)r->at));
	}
}

/* Static: the thread that found it may have little stack left. */
static struct {
	const char *what, *file;
	int line;
} violation;

static _Noreturn void report(void)
{
	printf("%s: %s:%d: %s, after\n", scenario->name, violation.file,
	       violation.line, violation.what);
	print_path();
	exit(planted != NULL && strstr(violation.what, planted) != NULL
		     ? EXIT_SUCCESS
		     : EXIT_FAILURE);
}

enum { JUMP_POINT = 1, JUMP_VIOLATION };

void interleave_violation(const char *what, const char *file, int line)
{
	violation.what = what;
	violation.file = file;
	violation.line = line;
	if (current != NULL)
		_longjmp(scheduler, JUMP_VIOLATION);
	report();
}

/* base/check.h: instead of base/check.c. */
void check_failed(const char *expr, const char *file, int line)
{
	interleave_violation(expr, file, line);
}

/* ---- Threads ---- */

void interleave_point(const volatile void *at, const char *op,
		      const char *where)
{
	/* Memory that nobody may write: whoever reads it may do so now. */
	if (current == NULL || looking || region_of(at) == NULL)
		return;
	current->addr = at;
	current->op = op;
	current->where = where;
	current->live = (uint8_t *)__builtin_frame_address(0) - STACK_MARGIN;
	if (_setjmp(current->at) == 0)
		_longjmp(scheduler, JUMP_POINT);
}

void interleave_wrote(const volatile void *at, uint64_t from, uint64_t to)
{
	if (current == NULL || looking || is_in(&ignored, at))
		return;
	must(region_of(at) != NULL);
	if (scenario->wrote == NULL)
		return;
	looking = true;
	scenario->wrote(at, from, to);
	looking = false;
}

unsigned interleave_current(void)
{
	return (unsigned)(current - world.threads);
}

static void thread_main(void)
{
	if (world.recovering)
		scenario->recover();
	else
		scenario->thread((unsigned)(current - world.threads),
				 world.life);
	current->live = NULL;
	_longjmp(scheduler, JUMP_POINT);
}

static uint8_t *live_of(unsigned idx)
{
	uint8_t *live = world.threads[idx].live;

	return live != NULL ? live : stacks[idx] + STACK_BYTES;
}

/* `live`: as far as it was in use. Calls that came back were a little below. */
static void clear_below(unsigned idx, uint8_t *live)
{
	uint8_t *end = live_of(idx);
	uint8_t *begin = (live < end ? live : end) - 2 * STACK_MARGIN;

	check(begin > stacks[idx]);
	memset(begin, 0, (size_t)(end - begin));
}

/* Ends when the thread stands before its next access. */
static void go(unsigned idx, bool start)
{
	static ucontext_t first;
	static uint8_t *live;

	live = live_of(idx);
	current = &world.threads[idx];
	switch (_setjmp(scheduler)) {
	case 0:
		if (!start)
			_longjmp(current->at, 1);
		first = blank;
		first.uc_stack.ss_sp = stacks[idx];
		first.uc_stack.ss_size = STACK_BYTES;
		makecontext(&first, thread_main, 0);
		setcontext(&first);
		abort();
	case JUMP_POINT:
		break;
	default:
		report();
	}
	/* Not by idx, which may be lost by now. */
	clear_below((unsigned)(current - world.threads), live);
	current = NULL;
}

static bool all_ended(void)
{
	unsigned i;

	for (i = 0; i < world.count; i++)
		if (world.threads[i].live != NULL)
			return false;
	return true;
}

static void start_threads(unsigned count)
{
	unsigned i;

	memset(stacks, 0, sizeof(stacks));
	memset(world.threads, 0, sizeof(world.threads));
	world.count = count;
	for (i = 0; i < count; i++)
		go(i, true);
}

static void start_life(void)
{
	world.recovering = false;
	start_threads(scenario->threads);
}

static void step(unsigned idx)
{
	if (idx == DEATH) {
		world.life++;
		world.recovering = true;
		start_threads(1);
	} else {
		go(idx, false);
	}
	if (world.recovering && all_ended()) {
		if (scenario->recovered != NULL)
			scenario->recovered();
		start_life();
	}
}

/* ---- States ---- */

static size_t stack_len(unsigned idx)
{
	return (size_t)(stacks[idx] + STACK_BYTES - live_of(idx));
}

/* Calls f for each part of the state. */
static inline void for_each_part(void (*f)(void *at, size_t len, void *arg),
				 void *arg)
{
	unsigned i;

	f(&world, sizeof(world), arg);
	for (i = 0; i < regions_count; i++)
		f(regions[i].at, regions[i].len, arg);
	for (i = 0; i < world.count; i++)
		f(stacks[i] + STACK_BYTES - stack_len(i), stack_len(i), arg);
}

static void part_hash(void *at, size_t len, void *arg)
{
	XXH3_128bits_update(arg, at, len);
}

static void part_len(void *at, size_t len, void *arg)
{
	(void)at;
	*(size_t *)arg += len;
}

static void part_save(void *at, size_t len, void *arg)
{
	uint8_t **to = arg;

	memcpy(*to, at, len);
	*to += len;
}

static void part_load(void *at, size_t len, void *arg)
{
	const uint8_t **from = arg;

	memcpy(at, *from, len);
	*from += len;
}

static uint8_t *state_save(void)
{
	size_t len = 0;
	uint8_t *state, *to;

	for_each_part(part_len, &len);
	state = to = malloc(len);
	check(state != NULL);
	for_each_part(part_save, &to);
	return state;
}

/* `world` comes first, so that the rest is where it was. */
static void state_load(const uint8_t *state)
{
	uint8_t *live[INTERLEAVE_THREADS_MAX];
	unsigned i;

	for (i = 0; i < INTERLEAVE_THREADS_MAX; i++)
		live[i] = live_of(i);
	for_each_part(part_load, &state);
	for (i = 0; i < INTERLEAVE_THREADS_MAX; i++)
		clear_below(i, live[i]);
}

/* ---- The states that were seen ---- */

struct seen {
	XXH128_hash_t hash; /* 0, 0: free */
	double ways;        /* from here to the end; 0: not known yet */
};

static struct seen *table;
static uint64_t table_size, table_used, steps;
static XXH3_state_t *hashing;

static struct seen *table_find(XXH128_hash_t hash)
{
	uint64_t i = hash.low64;

	for (;; i++) {
		struct seen *s = &table[i & (table_size - 1)];

		if ((s->hash.low64 | s->hash.high64) == 0 ||
		    XXH128_isEqual(s->hash, hash))
			return s;
	}
}

static void table_resize(uint64_t size)
{
	struct seen *old = table;
	uint64_t i, old_size = table_size;

	if (size > TABLE_MAX)
		interleave_violation("too many states", __FILE__, __LINE__);
	table = calloc(size, sizeof(*table));
	check(table != NULL);
	table_size = size;
	for (i = 0; i < old_size; i++)
		if ((old[i].hash.low64 | old[i].hash.high64) != 0)
			*table_find(old[i].hash) = old[i];
	free(old);
}

static XXH128_hash_t state_hash(void)
{
	XXH3_128bits_reset(hashing);
	for_each_part(part_hash, hashing);
	return XXH3_128bits_digest(hashing);
}

/* ---- All ways ---- */

static double explore(void);

static double explore_step(unsigned idx, const uint8_t *before)
{
	double ways;

	if (depth == DEPTH_MAX)
		interleave_violation("no end", __FILE__, __LINE__);
	path[depth].idx = idx;
	if (idx != DEATH) {
		path[depth].addr = world.threads[idx].addr;
		path[depth].op = world.threads[idx].op;
		path[depth].where = world.threads[idx].where;
	}
	depth++;
	steps++;
	step(idx);
	ways = explore();
	depth--;
	state_load(before);
	return ways;
}

/* How many ways lead from the state at hand to an end. */
static double explore(void)
{
	XXH128_hash_t hash = state_hash();
	struct seen *seen = table_find(hash);
	uint8_t *before;
	double ways = 0;
	unsigned i;

	if (XXH128_isEqual(seen->hash, hash)) {
		if (seen->ways == 0)
			interleave_violation("a thread waits for another one",
					     __FILE__, __LINE__);
		return seen->ways;
	}
	seen->hash = hash;
	if (++table_used > table_size / 2)
		table_resize(table_size * 2);
	if (scenario->always != NULL)
		scenario->always();

	before = state_save();
	for (i = 0; i < world.count; i++)
		if (world.threads[i].live != NULL)
			ways += explore_step(i, before);
	if (ways == 0) {
		scenario->ended(world.life);
		ways = 1;
	} else if (world.life < scenario->deaths) {
		ways += explore_step(DEATH, before);
	}
	free(before);
	table_find(hash)->ways = ways;
	return ways;
}

static double now_s(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

void interleave_watch(const char *name, void *at, size_t len)
{
	check(regions_count < REGIONS_MAX);
	regions[regions_count++] = (struct region){name, at, len};
}

void interleave_ignore(void *at, size_t len)
{
	check(ignored.len == 0);
	ignored = (struct region){NULL, at, len};
}

double interleave_all(const struct interleave *which)
{
	double begin_s = now_s(), ways;
	unsigned i;

	if (only != NULL && strcmp(only, which->name) != 0)
		return 0;
	scenario = which;
	check(scenario->threads <= INTERLEAVE_THREADS_MAX);
	for (i = 0; i < regions_count; i++)
		memset(regions[i].at, 0, regions[i].len);
	memset(&world, 0, sizeof(world));
	free(table);
	table = NULL;
	table_size = table_used = steps = 0;
	table_resize(TABLE_MIN);
	scenario->setup();
	start_life();
	ways = explore();
	printf("%s: %.4g interleavings, %llu states, %llu steps, %.1f s\n",
	       scenario->name, ways, (unsigned long long)table_used,
	       (unsigned long long)steps, now_s() - begin_s);
	fflush(stdout);
	return ways;
}

void interleave_scripts(struct interleave *which, const char *const *scripts,
			unsigned max, bool soak)
{
	which->threads = 0;
	while (which->threads < max && scripts[which->threads] != NULL)
		which->threads++;
	if (!soak || interleave_soak())
		interleave_all(which);
}

void interleave_begin(int argc, char **argv)
{
	int i;

	for (i = 1; i + 1 < argc; i += 2) {
		if (strcmp(argv[i], "--only") == 0)
			only = argv[i + 1];
		else if (strcmp(argv[i], "--finds") == 0)
			planted = argv[i + 1];
		else
			break;
	}
	if (i != argc) {
		fprintf(stderr, "usage: %s [--only NAME] [--finds TEXT]\n",
			argv[0]);
		exit(2);
	}
	check(getcontext(&blank) == 0);
	hashing = XXH3_createState();
	check(hashing != NULL);
}

bool interleave_soak(void)
{
	const char *soak = getenv("STILE_SOAK");

	return soak != NULL && soak[0] != '\0';
}

int interleave_end(void)
{
	free(table);
	XXH3_freeState(hashing);
	if (planted != NULL)
		printf("nothing was found\n");
	return planted != NULL ? EXIT_FAILURE : EXIT_SUCCESS;
}
