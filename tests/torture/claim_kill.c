/* SPDX-License-Identifier: MIT */

/*
 * The proof of gate/claim.c by death. A process that decides and, as the
 * control thread does, changes limits and rings dies
 *
 *  - after each single instruction of a fixed sequence: a debugger's view of
 *    the arena is copied at every step, recovered and examined;
 *  - by SIGKILL at random moments, with several threads at work, in an arena
 *    file on tmpfs that the next process carries on with.
 *
 * After recovery every gate is at rest, and the units of the organization,
 * those of its keys and those in its ring agree; what a thread knew to be
 * allowed is counted, and what was not allowed is not.
 */
#include "../gate/fixture.h"
#include "base/clock.h"
#include "base/epoch.h"
#include "torture.h"

#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/wait.h>

#define WORKERS 3u
#define ORGS 2u
#define LIMIT 8192u
#define RING_LOG2_OF_ALL 13u
#define RING_LINES ((1u << RING_LOG2_OF_ALL) / (LINE_BYTES / sizeof(word_t)))
#define COST_MAX 3u
#define KILLS 200u
#define LIFE_US_MAX 3000u

static uint64_t add(_Atomic(uint64_t) *w, uint64_t n)
{
	/* PAIRS: nothing. One writer; read when it is dead. */
	uint64_t sum = atomic_load_explicit(w, memory_order_relaxed) + n;

	atomic_store_explicit(w, sum, memory_order_relaxed);
	return sum;
}

static uint64_t get(const _Atomic(uint64_t) *w)
{
	return atomic_load_explicit(w, memory_order_relaxed);
}

/* The ring entries of an organization at rest: a chain of totals, each at
 * most COST_MAX above the one before, that ends at `used`. */
static void check_chain(struct arena *a, const struct org *org)
{
	uint64_t head = fixture_get(&org->head), i = fixture_get(&org->tail);
	uint64_t used = fixture_get(&org->used);
	uint64_t border = fixture_get(&org->ring_switch), stamp = 0;

	check((fixture_get(&org->gate) & 1) == 0);
	check(i <= head && border <= head);
	for (; i < head; i++) {
		uint64_t ring = i < border ? fixture_get(&org->ring_prev)
					   : fixture_get(&org->ring);
		uint64_t next = i + 1 < border ? fixture_get(&org->ring_prev)
					       : fixture_get(&org->ring);
		uint64_t mask = (1u << RING_LOG2(ring)) - 1, after = used;
		uint64_t e = fixture_get(
			(word_t *)(void *)(a->rings +
					   RING_PLACE(ring) * LINE_BYTES) +
			(i & mask));

		if (i + 1 < head)
			after = fixture_get(
				(word_t *)(void *)(a->rings +
						   RING_PLACE(next) *
							   LINE_BYTES) +
				((i + 1) & ((1u << RING_LOG2(next)) - 1)));
		check(((after - e) & LIMIT_MASK) - 1 < COST_MAX);
		check(e >> LIMIT_BITS >= stamp);
		stamp = e >> LIMIT_BITS;
	}
}

/* ---- death after each instruction ---- */

#define STEP_WINDOW 1000u
#define STEP_T0 CLOCK_BIAS

/* Under ThreadSanitizer most instructions are its own, and it has nothing to
 * say about one thread. */
#ifdef STILE_TSAN
#define STEPS false
#else
#define STEPS true
#endif

static _Atomic(uint64_t) *stepped; /* 1: the child is through */

/* A bit of everything that claims. The first admission was made before, and
 * has left the window when the parent looks. */
static void steps_child(struct fixture *f, struct org *org, uint64_t ring)
{
	struct window_answer w;
	struct claim c;
	unsigned i;

	claim_init(&c, f->arena, 0, NULL);
	for (i = 0; i < 10; i++)
		window_take_one(&c, org, &f->arena->keys[1].used,
				i % COST_MAX + 1, STEP_T0 + STEP_WINDOW / 2 + i,
				&w);
	window_swap_ring(&c, org, ring);
	for (i = 0; i < 9; i++)
		window_take_one(&c, org, &f->arena->keys[1].used,
				i % COST_MAX + 1, STEP_T0 + STEP_WINDOW - 4 + i,
				&w);
	window_change_rule(&c, org, window_rule(LIMIT / 2, STEP_WINDOW));
	window_drain_ring(&c, org);
	window_take_one(&c, org, &f->arena->keys[1].used, 1,
			STEP_T0 + STEP_WINDOW + 9, &w);
	atomic_store_explicit(stepped, 1, memory_order_relaxed);
}

static void copy_words(struct arena *to, const struct arena *from,
		       const void *at, size_t bytes)
{
	size_t off = (size_t)((const uint8_t *)at - from->base);

	memcpy(to->base + off, from->base + off, bytes);
}

static void steps_look(struct fixture *seen, const struct fixture *f,
		       uint64_t *least, unsigned *recovered)
{
	const struct arena *from = f->arena;
	struct arena *a = seen->arena;
	struct org *org = &a->orgs[1];
	uint64_t used = fixture_get(&from->orgs[1].used);
	struct window_answer w;

	copy_words(a, from, &from->descriptors[0], sizeof(struct descriptor));
	copy_words(a, from, &from->orgs[1], sizeof(struct org));
	copy_words(a, from, &from->keys[1], sizeof(struct key));
	copy_words(a, from, from->rings, f->ring_lines * LINE_BYTES);
	check(claim_descriptor_sane(&a->descriptors[0]));
	*recovered += claim_recover(a);
	check_chain(a, org);
	check(fixture_get(&org->used) == fixture_get(&a->keys[1].used));
	check(fixture_get(&org->used) >= used &&
	      fixture_get(&org->used) <= used + COST_MAX);
	/* What was once seen as decided stays so. */
	check(fixture_get(&org->used) >= *least);
	*least = fixture_get(&org->used);
	window_peek(a, org, 0, STEP_T0 + STEP_WINDOW + 1, NULL, &w);
	check(w.in_window == *least - 1);
}

/* False: we may not trace here. */
static bool steps(void)
{
	struct fixture f, seen;
	struct window_answer w;
	struct claim c;
	struct org *org;
	uint64_t ring, least = 0, count = 0;
	unsigned recovered = 0;
	int status;
	pid_t pid;

	/* Shared with the child: arena_open_private() would not be. */
	memset(&f, 0, sizeof(f));
	fixture_open(&seen);
	fixture_open(&f);
	check(mmap(f.arena->base, ARENA_BYTES, PROT_READ | PROT_WRITE,
		   MAP_FIXED | MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1,
		   0) == f.arena->base);
	org = fixture_org(&f, 1, LIMIT, STEP_WINDOW, 5);
	ring = fixture_ring(&f, 5);
	stepped = mmap(NULL, sizeof(*stepped), PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	check(stepped != MAP_FAILED);
	claim_init(&c, f.arena, 0, NULL);
	window_take_one(&c, org, &f.arena->keys[1].used, 1, STEP_T0, &w);

	pid = fork();
	check(pid >= 0);
	if (pid == 0) {
		if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) < 0)
			_exit(SKIPPED);
		raise(SIGSTOP);
		steps_child(&f, org, ring);
		_exit(0);
	}
	check(waitpid(pid, &status, 0) == pid);
	if (WIFEXITED(status) && WEXITSTATUS(status) == SKIPPED) {
		fixture_close(&f);
		fixture_close(&seen);
		return false;
	}
	check(WIFSTOPPED(status));
	while (get(stepped) == 0) {
		steps_look(&seen, &f, &least, &recovered);
		check(ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL) == 0);
		check(waitpid(pid, &status, 0) == pid && WIFSTOPPED(status));
		count++;
	}
	check(kill(pid, SIGKILL) == 0);
	check(waitpid(pid, &status, 0) == pid);
	check(least == 1 + 19 + 18 + 1);
	check(recovered > 0);
	printf("claim_kill: %llu deaths between two instructions, %u within "
	       "a decision\n",
	       (unsigned long long)count, recovered);
	fixture_close(&f);
	fixture_close(&seen);
	return true;
}

/* ---- death at any moment ---- */

/* What the threads know, in memory that outlives them. A worker has a key of
 * its own in each organization. */
struct known {
	_Atomic(uint64_t) units;   /* allowed */
	_Atomic(uint64_t) pending; /* asked for, not answered yet */
	_Atomic(uint64_t) count;   /* checks allowed */
};

static struct {
	struct known of[WORKERS][ORGS];
	_Atomic(uint64_t) ready;
} * known;

static struct {
	struct arena_file file;
	struct epoch epoch;
	struct epoch_reader readers[WORKERS];
	uint64_t seed;
} life;

static char arena_file[64];

static uint32_t key_slot(unsigned worker, unsigned o)
{
	return 1 + worker * ORGS + o;
}

static void work(struct torture_thread *t)
{
	struct arena *a = &life.file.arena;
	struct claim c;

	claim_init(&c, a, t->idx, NULL);
	for (;;) {
		unsigned o = rng_below(&t->rng, ORGS);
		struct known *k = &known->of[t->idx][o];
		uint32_t cost = 1 + rng_below(&t->rng, COST_MAX);
		struct window_answer w;

		add(&k->pending, cost);
		epoch_enter(&life.readers[t->idx]);
		window_take_one(&c, &a->orgs[o + 1],
				&a->keys[key_slot(t->idx, o)].used, cost,
				clock_ticks(), &w);
		epoch_leave(&life.readers[t->idx]);
		if (w.allowed) {
			add(&k->units, cost);
			add(&k->count, 1);
		}
		add(&k->pending, -(uint64_t)cost);
	}
}

/* Each organization has two places for its ring: the one not in use, zeroed,
 * when the ring that was there is drained and a grace period over. */
static uint64_t other_ring(unsigned o)
{
	struct arena *a = &life.file.arena;
	uint64_t ring = claim_load(&a->orgs[o + 1].ring);
	uint64_t place = 2 * o * RING_LINES;

	if (RING_PLACE(ring) == place)
		place += RING_LINES;
	memset(a->rings + place * LINE_BYTES, 0, RING_LINES * LINE_BYTES);
	return RING_WORD(place, RING_LOG2_OF_ALL, RING_GEN(ring) + 1);
}

static void control(struct torture_thread *t)
{
	struct arena *a = &life.file.arena;
	struct claim c;

	claim_init(&c, a, OWNER_CONTROL, NULL);
	add(&known->ready, 1);
	for (;;) {
		unsigned o = rng_below(&t->rng, ORGS);
		struct org *org = &a->orgs[o + 1];

		window_change_rule(
			&c, org,
			window_rule(LIMIT / 2 + rng_below(&t->rng, LIMIT / 2),
				    250 + rng_below(&t->rng, 100)));
		epoch_wait(&life.epoch);
		if (rng_below(&t->rng, 8) != 0)
			continue;
		window_drain_ring(&c, org);
		epoch_wait(&life.epoch);
		window_swap_ring(&c, org, other_ring(o));
		epoch_wait(&life.epoch);
		window_drain_ring(&c, org);
		epoch_wait(&life.epoch);
	}
}

static void live(uint64_t seed)
{
	unsigned i;

	epoch_init(&life.epoch);
	for (i = 0; i < WORKERS; i++)
		epoch_register(&life.epoch, &life.readers[i]);
	for (i = 0; i < WORKERS; i++)
		torture_add(work, seed);
	torture_add(control, seed);
	torture_go();
	for (;;)
		pause();
}

/* The dead process's arena. Returns how many decisions were half done. */
static unsigned examine(uint64_t *ret_units)
{
	struct arena *a = &life.file.arena;
	unsigned recovered, o, i;
	char err[256];
	bool fresh;

	if (arena_open(&life.file, arena_file, &fresh, &recovered, err,
		       sizeof(err)) != 0) {
		fprintf(stderr, "claim_kill: %s\n", err);
		check(false);
	}
	check(!fresh);
	*ret_units = 0;
	for (o = 0; o < ORGS; o++) {
		struct org *org = &a->orgs[o + 1];
		uint64_t units = 0, count = 0, half = 0;

		check_chain(a, org);
		for (i = 0; i < WORKERS; i++) {
			struct known *k = &known->of[i][o];
			uint64_t used =
				fixture_get(&a->keys[key_slot(i, o)].used);
			uint64_t pending = get(&k->pending);

			check(used == get(&k->units) ||
			      used == get(&k->units) + pending);
			check(pending <= COST_MAX);
			count += get(&k->count);
			/* It died between its two notes, or before them. */
			half += pending != 0;
			units += used;
			add(&k->units, used - get(&k->units));
			add(&k->pending, -pending);
		}
		check(fixture_get(&org->used) == units);
		check(fixture_get(&org->head) >= count &&
		      fixture_get(&org->head) <= count + half);
		add(&known->of[0][o].count, fixture_get(&org->head) - count);
		*ret_units += units;
	}
	return recovered;
}

static void set_up(void)
{
	struct fixture f = {.ring_gen = 0};
	unsigned recovered, o;
	char err[256];
	bool fresh;

	snprintf(arena_file, sizeof(arena_file), "/dev/shm/stile-kill-%d.arena",
		 (int)getpid());
	if (arena_open(&f.file, arena_file, &fresh, &recovered, err,
		       sizeof(err)) != 0) {
		fprintf(stderr, "claim_kill: %s\n", err);
		check(false);
	}
	check(fresh);
	f.arena = &f.file.arena;
	for (o = 0; o < ORGS; o++) {
		fixture_org(&f, o + 1, LIMIT, 250, RING_LOG2_OF_ALL);
		(void)fixture_ring(&f, RING_LOG2_OF_ALL);
	}
	fixture_key(&f, key_slot(WORKERS, ORGS));
	known = mmap(NULL, sizeof(*known), PROT_READ | PROT_WRITE,
		     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	check(known != MAP_FAILED);
	arena_set_ready(&f.file);
	arena_close(&f.file);
}

static void remove_arena(int sig)
{
	unlink(arena_file);
	signal(sig, SIG_DFL);
	raise(sig);
}

static void kills(struct rng *rng)
{
	uint64_t round, units = 0, before = 0;
	unsigned recovered = 0;

	set_up();
	signal(SIGABRT, remove_arena);
	signal(SIGALRM, remove_arena);
	/* On, until one died within a decision. */
	for (round = 0; round < torture_work(KILLS) || recovered == 0;
	     round++) {
		uint64_t seed = rng_next(rng);
		int status;
		pid_t pid;

		before = units;
		recovered += examine(&units);
		check(units >= before);
		/* PAIRS: nothing; the child is not born yet. */
		atomic_store_explicit(&known->ready, 0, memory_order_relaxed);
		pid = fork();
		check(pid >= 0);
		if (pid == 0)
			live(seed);
		while (get(&known->ready) == 0)
			torture_pause_us(50);
		torture_pause_us(rng_below(rng, LIFE_US_MAX));
		check(kill(pid, SIGKILL) == 0);
		check(waitpid(pid, &status, 0) == pid);
		check(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
		arena_close(&life.file);
	}
	recovered += examine(&units);
	arena_close(&life.file);
	unlink(arena_file);
	printf("claim_kill: %llu kills, %llu units, %u decisions half done\n",
	       (unsigned long long)round, (unsigned long long)units, recovered);
}

int main(void)
{
	struct rng rng = {test_seed("claim_kill")};
	bool traced;

	torture_setup();
	setvbuf(stdout, NULL, _IOLBF, 0);
	traced = !STEPS || steps();
	kills(&rng);
	if (!traced) {
		printf("claim_kill: ptrace is not allowed here: death after "
		       "each instruction was not tried\n");
		return SKIPPED;
	}
	return 0;
}
