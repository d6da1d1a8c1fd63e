/* SPDX-License-Identifier: MIT */

/*
 * The proof of gate/claim.c by death. A process that decides, settles and, as
 * the control thread does, moves rings and ends holds, dies
 *
 *  - after each single instruction of a fixed sequence: a debugger's view of
 *    the arena is copied at every step, recovered and examined;
 *  - by SIGKILL at random moments, with several threads at work, in an arena
 *    file on tmpfs that the next process carries on with.
 *
 * After recovery every gate is at rest and all words of each check agree: what
 * the keys have used, the budget, the credits and what the window admitted;
 * what came back, by cells, budget and credits; leases and live holds. What a
 * thread knew to be allowed is counted, and what was not allowed is not. Of the
 * client's address as many leases are out as live holds name, and one more for
 * each thread at most.
 */
#include "../gate/gate_scene.h"
#include "base/epoch.h"
#include "torture.h"

#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/wait.h>

#define WORKERS 3u
#define ORGS 2u
#define LIMIT 8192u
#define RING_LOG2_OF_ALL 13u
#define COST_MAX 3u
#define HOLDS ((WORKERS + 1) * STEP_ASKS_MAX)
#define KILLS 200u
#define LIFE_US_MAX 3000u
#define LEASE_MS 1u

/* The rules: a window whose ring is moved, another that stays, leases, a bucket
 * of each key, and leases of the address, which the organizations share. */
enum { MOVED, STAYS, FLIGHT, BUCKET, CLIENT, RULES };
#define CLIENT_SUBJECTS 10u

static const struct check_extra client = {
	.has_address = true, .address = {[10] = 0xff, 0xff, 192, 0, 2, 1}};

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

static uint32_t key_slot(unsigned worker, unsigned o)
{
	return 1 + worker * ORGS + o;
}

/* ---- an organization where everything is counted ---- */

static struct rule make_client(struct gate_scene *s)
{
	return fixture_rule(&s->f, fixture_flight(HOLDS, LEASE_MS),
			    LEVEL_ADDRESS, CLIENT_SUBJECTS);
}

static void make_org(struct gate_scene *s, unsigned o, uint64_t window,
		     unsigned ring_log2, unsigned keys,
		     const struct rule *of_client)
{
	const uint64_t granted[] = {100, UINT64_C(1) << 40};
	struct rule rules[RULES];
	struct org *org;
	unsigned i;

	rules[MOVED] = fixture_window(LIMIT, window);
	rules[STAYS] = fixture_window(LIMIT, window);
	rules[FLIGHT] = fixture_flight(HOLDS, LEASE_MS);
	rules[BUCKET] =
		fixture_rule(&s->f, fixture_gcra(LIMIT, 10), LEVEL_KEY, 10);
	rules[CLIENT] = *of_client;
	org = gate_scene_org(s, o + 1, rules, RULES);
	for (i = MOVED; i <= STAYS; i++)
		fixture_set(&org_meter(s->f.arena, org, i)->ring,
			    fixture_ring(&s->f, ring_log2));
	gate_scene_credits(s, org, granted, NULL, 2);
	fixture_project(&s->f, o + 1, o + 1);
	fixture_budget(&s->f.arena->projects[o + 1].budgets[0],
		       UINT64_C(1) << 40, 1, UINT64_MAX, UINT64_MAX);
	for (i = 0; i < keys; i++)
		gate_scene_key(s, key_slot(i, o), o + 1, o + 1);
}

static uint64_t newest_total(struct arena *a, struct org *org, unsigned rule,
			     uint64_t *ret_used)
{
	const struct plan *plan = block_at(a, fixture_get(&org->plan));
	struct instant now = instant_at(fixture_get(&org->gate) / 2);
	struct view v;

	check(plan != NULL);
	view_read(&v, a, &plan->rules[rule], org_meter(a, org, rule), NULL, 0,
		  &now);
	check(v.used <= LIMIT);
	*ret_used = v.used;
	return v.total;
}

static uint64_t returned_to(struct arena *a, uint32_t key)
{
	struct subjects cells;
	uint32_t entry;

	check(subjects_open(&cells, a, fixture_get(&a->header->cells)));
	entry = subjects_find(
		&cells, subjects_hash2(a->header->seed, CELL_OWNER(key, 0), 0));
	return entry != SUBJECTS_FULL
		       ? fixture_get(
				 &((struct cell *)subjects_state(&cells, entry))
					  ->returned)
		       : 0;
}

static unsigned live_holds(struct arena *a, unsigned o)
{
	unsigned n = 0;
	uint32_t i;

	for (i = 0; i < a->header->holds_count; i++) {
		const struct hold *h = hold_at(a, i);

		n += HOLD_LIVE(fixture_get(&h->state)) &&
		     (uint32_t)fixture_get(&h->subject) == o + 1;
	}
	return n;
}

/* The word of the client's leases, or NULL: nobody has asked yet. */
static word_t *client_leases(struct arena *a)
{
	const struct plan *plan = block_at(a, fixture_get(&a->orgs[1].plan));
	struct subjects t;
	uint32_t entry;

	check(plan != NULL && subjects_open(&t, a, plan->rules[CLIENT].table));
	entry = subjects_find(&t,
			      outside_subject(a->header->seed, client.address));
	return entry != SUBJECTS_FULL
		       ? &((struct outside *)subjects_state(&t, entry))
				  ->meter.level
		       : NULL;
}

/* How many more leases are out than live holds say; then as many are. */
static uint64_t check_client(struct arena *a, unsigned orgs)
{
	word_t *leases = client_leases(a);
	uint64_t live = 0, were;
	unsigned o;

	for (o = 0; o < orgs; o++)
		live += live_holds(a, o);
	if (leases == NULL) {
		check(live == 0);
		return 0;
	}
	were = METER_LEASES(fixture_get(leases));
	check(were >= live);
	/* As leases_count() of state/registry_leases.c does. */
	fixture_set(leases, live);
	return were - live;
}

/* All words that a check changes say the same. Returns the units. */
static uint64_t check_agree(struct arena *a, unsigned o, unsigned keys)
{
	struct org *org = &a->orgs[o + 1];
	const struct budget *b = &a->projects[o + 1].budgets[0];
	const struct credits *c = block_at(a, fixture_get(&org->credits));
	uint64_t units = 0, back = 0, used = 0, returned = 0, moved, stays;
	unsigned i;

	check((fixture_get(&org->gate) & 1) == 0);
	for (i = 0; i < keys; i++) {
		units += USED_UNITS(fixture_get(&a->keys[key_slot(i, o)].used));
		back += returned_to(a, key_slot(i, o));
	}
	for (i = 0; c != NULL && i < c->count; i++) {
		used += fixture_get(&c->pools[i].used);
		returned += fixture_get(&c->pools[i].returned);
	}
	check(used == units && returned == back);
	check(BUDGET_UNITS(fixture_get(&b->used)) == units);
	check(BUDGET_UNITS(fixture_get(&b->returned)) == back);
	check(((newest_total(a, org, STAYS, &stays) ^ units) &
	       (METER_EXACT_MAX - 1)) == 0);
	newest_total(a, org, MOVED, &moved);
	check(moved >= stays);
	check(METER_LEASES(fixture_get(&org_meter(a, org, FLIGHT)->level)) ==
	      live_holds(a, o));
	return units;
}

/* ---- death after each instruction ---- */

#define STEP_WINDOW 1000u
#define STEP_KEYS 2u
#define STEP_CHECKS 6u

/* Under ThreadSanitizer most instructions are its own, and it has nothing to
 * say about one thread. */
#ifdef STILE_TSAN
#define STEPS false
#else
#define STEPS true
#endif

static _Atomic(uint64_t) *stepped; /* 1: the child is through */

/* A bit of everything that claims. */
static void steps_child(struct gate_scene *s, uint64_t ring)
{
	struct org *org = &s->f.arena->orgs[1];
	/* Later than meter_move_ring() thinks: nothing has left. */
	uint64_t ns = instant_now().ns + 3600000 * NS_PER_MS, hold = 0;
	unsigned i;

	for (i = 0; i < STEP_CHECKS; i++) {
		struct check c = check_of_key(key_slot(i % STEP_KEYS, 0),
					      i % COST_MAX + 1, &client);
		struct verdict v;

		c.flags = CHECK_RESERVE;
		v = gate_scene_ask(s, &c, ns + i);
		check(v.reason == REASON_ALLOW);
		if (i % 2)
			gate_scene_settle(s, hold, i % 3 ? 1 : 0, ns + i);
		hold = v.hold;
		if (i == STEP_CHECKS / 2)
			meter_move_ring(&s->gate.claim, &org->gate, &org->first,
					&gate_scene_plan(s, org)->rules[0],
					&gate_scene_plan(s, org)->rules[0],
					ring);
	}
	atomic_store_explicit(stepped, 1, memory_order_relaxed);
}

static void copy_words(struct arena *to, const struct arena *from,
		       const void *at, size_t bytes)
{
	size_t off = (size_t)((const uint8_t *)at - from->base);

	memcpy(to->base + off, from->base + off, bytes);
}

static void steps_look(struct fixture *seen, const struct fixture *f,
		       uint64_t *least, unsigned *recovered, unsigned *astray)
{
	const struct arena *from = f->arena;
	struct arena *a = seen->arena;
	uint64_t units, more;

	copy_words(a, from, from->header, sizeof(*from->header));
	copy_words(a, from, &from->descriptors[0], sizeof(struct descriptor));
	copy_words(a, from, &from->orgs[1], sizeof(struct org));
	copy_words(a, from, &from->projects[1], sizeof(struct project));
	copy_words(a, from, &from->keys[1],
		   key_slot(STEP_KEYS, 0) * sizeof(struct key));
	copy_words(a, from, from->rings, f->ring_lines * LINE_BYTES);
	check(claim_descriptor_sane(&a->descriptors[0]));
	*recovered += claim_recover(a);
	units = check_agree(a, 0, STEP_KEYS);
	more = check_client(a, 1);
	check(more <= 1);
	*astray += more != 0;
	/* What was once seen as decided stays so. */
	check(units >= *least && units <= *least + COST_MAX);
	*least = units;
}

/* False: we may not trace here. */
static bool steps(void)
{
	static struct gate_scene s;
	struct fixture seen;
	uint64_t ring, least = 0, count = 0, units = 0;
	unsigned recovered = 0, astray = 0, i;
	struct rule of_client;
	int status;
	pid_t pid;

	/* Shared with the child: arena_open_private() would not be. */
	memset(&s, 0, sizeof(s));
	fixture_open(&seen);
	fixture_open(&s.f);
	check(mmap(s.f.arena->base, ARENA_BYTES, PROT_READ | PROT_WRITE,
		   MAP_FIXED | MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1,
		   0) == s.f.arena->base);
	gate_scene_fill(&s, STEP_ASKS_MAX, 1, 8);
	gate_scene_gate(&s, 1);
	of_client = make_client(&s);
	make_org(&s, 0, STEP_WINDOW, 3, STEP_KEYS, &of_client);
	ring = fixture_ring(&s.f, 4);
	stepped = mmap(NULL, sizeof(*stepped), PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	check(stepped != MAP_FAILED);

	pid = fork();
	check(pid >= 0);
	if (pid == 0) {
		if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) < 0)
			_exit(SKIPPED);
		raise(SIGSTOP);
		steps_child(&s, ring);
		_exit(0);
	}
	check(waitpid(pid, &status, 0) == pid);
	if (WIFEXITED(status) && WEXITSTATUS(status) == SKIPPED) {
		gate_scene_close(&s);
		fixture_close(&seen);
		return false;
	}
	check(WIFSTOPPED(status));
	while (get(stepped) == 0) {
		steps_look(&seen, &s.f, &least, &recovered, &astray);
		check(ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL) == 0);
		check(waitpid(pid, &status, 0) == pid && WIFSTOPPED(status));
		count++;
	}
	check(kill(pid, SIGKILL) == 0);
	check(waitpid(pid, &status, 0) == pid);
	for (i = 0; i < STEP_CHECKS; i++)
		units += i % COST_MAX + 1;
	check(least == units);
	check(recovered > 0 && astray > 0);
	printf("claim_kill: %llu deaths between two instructions, %u within "
	       "a decision, %u with a lease astray\n",
	       (unsigned long long)count, recovered, astray);
	gate_scene_close(&s);
	fixture_close(&seen);
	return true;
}

/* ---- death at any moment ---- */

/* What the threads know, in memory that outlives them. A worker has a key of
 * its own in each organization. */
struct known {
	_Atomic(uint64_t) units;   /* allowed */
	_Atomic(uint64_t) pending; /* asked for, not answered yet */
};

static struct {
	struct known of[WORKERS][ORGS];
	_Atomic(uint64_t) ready;
} * known;

static struct {
	struct gate_scene scene;
	struct gate gates[WORKERS + 1];
	struct counters counters[WORKERS + 1];
	struct epoch epoch;
	struct epoch_reader readers[WORKERS];
	uint64_t ring_places[ORGS][2];
} life;

static char arena_file[64];

static void settle(struct gate *g, uint64_t hold, uint32_t cost)
{
	struct check_extra x = {.hold = hold};
	struct check c = {
		.credential = CREDENTIAL_HOLD, .cost = cost, .extra = &x};
	struct instant now = instant_now();
	struct verdict v;

	gate_decide(g, &c, &v, 1, &now, WALL_MS);
}

static void work(struct torture_thread *t)
{
	struct gate *g = &life.gates[t->idx];
	struct check checks[ORGS];

	/* As much as possible of a life is spent within decisions. */
	for (unsigned o = 0; o < ORGS; o++)
		checks[o] = check_of_key(key_slot(t->idx, o), 1, &client);
	for (;;) {
		unsigned o = rng_below(&t->rng, ORGS);
		struct known *k = &known->of[t->idx][o];
		uint32_t cost = 1 + rng_below(&t->rng, COST_MAX);
		struct check c = checks[o];
		struct instant now = instant_now();
		struct verdict v;

		c.cost = cost;
		c.flags = CHECK_RESERVE;
		add(&k->pending, cost);
		epoch_enter(&life.readers[t->idx]);
		gate_decide(g, &c, &v, 1, &now, WALL_MS);
		epoch_leave(&life.readers[t->idx]);
		add(&k->units, v.charged);
		add(&k->pending, -(uint64_t)cost);
		if (v.hold == 0 || rng_below(&t->rng, 8) == 0)
			continue; /* others expire */
		epoch_enter(&life.readers[t->idx]);
		settle(g, v.hold, rng_below(&t->rng, cost + 1));
		epoch_leave(&life.readers[t->idx]);
	}
}

/* Each organization has two places for the ring that moves: the one not in
 * use, zeroed, when a grace period is over. */
static uint64_t other_ring(unsigned o)
{
	struct arena *a = life.scene.f.arena;
	uint64_t ring = claim_load(&a->orgs[o + 1].first.ring);
	const uint64_t *places = life.ring_places[o];
	uint64_t to = places[RING_PLACE(ring) == RING_PLACE(places[0])];

	memset(a->rings + RING_PLACE(to) * LINE_BYTES, 0,
	       sizeof(word_t) << RING_LOG2_OF_ALL);
	return RING_WORD(RING_PLACE(to), RING_LOG2_OF_ALL, RING_GEN(ring) + 1);
}

static void control(struct torture_thread *t)
{
	struct arena *a = life.scene.f.arena;
	struct gate *g = &life.gates[WORKERS];

	add(&known->ready, 1);
	for (;;) {
		unsigned o = rng_below(&t->rng, ORGS);
		struct org *org = &a->orgs[o + 1];
		const struct rule *rule =
			&gate_scene_plan(&life.scene, org)->rules[MOVED];
		struct instant now = instant_now();

		gate_expire(g, 0, HOLDS, &now, WALL_MS);
		if (rng_below(&t->rng, 4) != 0)
			continue;
		meter_move_ring(&g->claim, &org->gate, &org->first, rule, rule,
				other_ring(o));
		epoch_wait(&life.epoch);
	}
}

static void live(uint64_t seed)
{
	unsigned i;

	epoch_init(&life.epoch);
	for (i = 0; i < WORKERS; i++)
		epoch_register(&life.epoch, &life.readers[i]);
	for (i = 0; i <= WORKERS; i++) {
		gate_init(&life.gates[i], life.scene.f.arena, &life.scene.table,
			  &life.scene.gate.prefix,
			  i < WORKERS ? i : OWNER_CONTROL, &life.counters[i]);
		gate_configure(&life.gates[i], &life.scene.options);
	}
	for (i = 0; i < WORKERS; i++)
		torture_add(work, seed);
	torture_add(control, seed);
	torture_go();
	for (;;)
		pause();
}

static void open_arena(bool *ret_fresh, unsigned *ret_recovered)
{
	char err[256];

	if (arena_open(&life.scene.f.file, arena_file, ret_fresh, ret_recovered,
		       err, sizeof(err)) != 0) {
		fprintf(stderr, "claim_kill: %s\n", err);
		check(false);
	}
	life.scene.f.arena = &life.scene.f.file.arena;
	life.scene.gate.arena = life.scene.f.arena;
}

/* The dead process's arena. Returns how many decisions were half done. */
static unsigned examine(uint64_t *ret_units, uint64_t *astray)
{
	unsigned recovered, o, i;
	struct arena *a;
	uint64_t more;
	bool fresh;

	open_arena(&fresh, &recovered);
	check(!fresh);
	a = life.scene.f.arena;
	*ret_units = 0;
	more = check_client(a, ORGS);
	check(more <= WORKERS + 1);
	*astray += more;
	for (o = 0; o < ORGS; o++) {
		*ret_units += check_agree(a, o, WORKERS);
		for (i = 0; i < WORKERS; i++) {
			struct known *k = &known->of[i][o];
			uint64_t used = USED_UNITS(
				fixture_get(&a->keys[key_slot(i, o)].used));
			uint64_t pending = get(&k->pending);

			check(pending <= COST_MAX);
			check(used == get(&k->units) ||
			      used == get(&k->units) + pending);
			add(&k->units, used - get(&k->units));
			add(&k->pending, -pending);
		}
	}
	return recovered;
}

static void set_up(void)
{
	struct rule of_client;
	unsigned recovered, o;
	bool fresh;

	snprintf(arena_file, sizeof(arena_file), "/dev/shm/stile-kill-%d.arena",
		 (int)getpid());
	open_arena(&fresh, &recovered);
	check(fresh);
	gate_scene_fill(&life.scene, HOLDS, 1, 20);
	gate_scene_gate(&life.scene, WORKERS + 1);
	life.scene.options.hold_ms = LEASE_MS;
	of_client = make_client(&life.scene);
	for (o = 0; o < ORGS; o++) {
		make_org(&life.scene, o, 250, RING_LOG2_OF_ALL, WORKERS,
			 &of_client);
		life.ring_places[o][0] = fixture_get(
			&life.scene.f.arena->orgs[o + 1].first.ring);
		life.ring_places[o][1] =
			fixture_ring(&life.scene.f, RING_LOG2_OF_ALL);
	}
	known = mmap(NULL, sizeof(*known), PROT_READ | PROT_WRITE,
		     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	check(known != MAP_FAILED);
	arena_set_ready(&life.scene.f.file);
	arena_close(&life.scene.f.file);
}

static void remove_arena(int sig)
{
	unlink(arena_file);
	signal(sig, SIG_DFL);
	raise(sig);
}

static void kills(struct rng *rng)
{
	uint64_t round, units = 0, before = 0, astray = 0;
	unsigned recovered = 0;

	set_up();
	signal(SIGABRT, remove_arena);
	signal(SIGALRM, remove_arena);
	for (round = 0; round < torture_work(KILLS); round++) {
		uint64_t seed = rng_next(rng);
		int status;
		pid_t pid;

		before = units;
		recovered += examine(&units, &astray);
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
		arena_close(&life.scene.f.file);
	}
	recovered += examine(&units, &astray);
	arena_close(&life.scene.f.file);
	keytable_deinit(&life.scene.table);
	unlink(arena_file);
	printf("claim_kill: %llu kills, %llu units, %u decisions half done, "
	       "%llu leases astray\n",
	       (unsigned long long)round, (unsigned long long)units, recovered,
	       (unsigned long long)astray);
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
