/* SPDX-License-Identifier: MIT */

/*
 * The proof of gate/claim.c against late helpers. A helper meets the gate of a
 * stopped owner and is itself stopped, 0, 1, 2, .. instructions after it began
 * to read the owner's descriptor; the owner wakes up, completes its decision
 * and is well into its next one, in the same descriptor, before the helper goes
 * on. Whatever the helper had read by then, it must change nothing.
 */
#include "../gate/fixture.h"
#include "torture.h"

#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/wait.h>

#define WORDS 5u

/* How far the owner is in its next decision. */
enum next {
	NEXT_WRITING,   /* its fields are there, but not its sequence */
	NEXT_LOST,      /* published, and lost the gate to somebody else */
	NEXT_COMMITTED, /* complete */
	NEXT_COUNT
};

#define DESCRIPTORS_BYTES (ARENA_OWNERS * sizeof(struct descriptor))
static_assert(DESCRIPTORS_BYTES % ARENA_PAGE == 0, "whole pages");

static struct fixture fixture;
static struct claim owner;
static word_t *gate, *words;
static uint64_t version;

static void add_words(uint64_t by)
{
	unsigned i;

	claim_begin(&owner);
	for (i = 0; i < WORDS; i++) {
		uint64_t value = fixture_get(&words[i]);

		claim_add(&owner, &words[i], value, value + by);
	}
}

/* The owner stops with its name in the gate and `done` of its words changed;
 * `ret_after`: what they are to become. */
static void stop_midway(unsigned done, uint64_t ret_after[static WORDS])
{
	unsigned i;

	add_words(1);
	check(claim_commit(&owner, gate, version));
	for (i = 0; i < WORDS; i++) {
		ret_after[i] = fixture_get(&words[i]);
		if (i >= done)
			fixture_set(&words[i], ret_after[i] - 1);
	}
	fixture_set(gate, owner.seq << 8 | (uint64_t)owner.owner << 1 | 1);
}

static void go_on(enum next next, uint64_t after[static WORDS])
{
	unsigned i;

	for (i = 0; i < WORDS; i++)
		fixture_set(&words[i], after[i]);
	version += 2;
	fixture_set(gate, version);
	/* By two: nobody mistakes it for the first decision. */
	add_words(2);
	if (next == NEXT_LOST) {
		check(!claim_commit(&owner, gate, version - 2));
	} else if (next == NEXT_COMMITTED) {
		check(claim_commit(&owner, gate, version));
		version += 2;
		for (i = 0; i < WORDS; i++)
			after[i] += 2;
	}
}

/* The helper's: its first touch of the descriptors stops it. */
static void first_touch(int sig)
{
	(void)sig;
	mprotect(fixture.arena->descriptors, DESCRIPTORS_BYTES,
		 PROT_READ | PROT_WRITE);
	raise(SIGSTOP);
}

static void help(void)
{
	if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) < 0)
		_exit(SKIPPED);
	signal(SIGSEGV, first_touch);
	mprotect(fixture.arena->descriptors, DESCRIPTORS_BYTES, PROT_NONE);
	claim_settle(fixture.arena, gate, NULL);
	_exit(0);
}

static pid_t start_helper(void)
{
	pid_t pid = fork();
	int status;

	check(pid >= 0);
	if (pid == 0)
		help();
	check(waitpid(pid, &status, 0) == pid);
	if (WIFEXITED(status) && WEXITSTATUS(status) == SKIPPED) {
		printf("claim_late: ptrace is not allowed here\n");
		exit(SKIPPED);
	}
	check(WIFSTOPPED(status) && WSTOPSIG(status) == SIGSEGV);
	check(ptrace(PTRACE_CONT, pid, NULL, SIGSEGV) == 0);
	check(waitpid(pid, &status, 0) == pid);
	check(WIFSTOPPED(status) && WSTOPSIG(status) == SIGSTOP);
	return pid;
}

static void step(pid_t pid, unsigned count)
{
	int status;

	while (count-- > 0) {
		check(ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL) == 0);
		check(waitpid(pid, &status, 0) == pid && WIFSTOPPED(status));
	}
}

/* False: the helper had already done all of it. */
static bool try(unsigned steps, enum next next)
{
	uint64_t after[WORDS];
	pid_t pid;
	int status;
	bool in_time;
	unsigned i;

	stop_midway(steps % WORDS, after);
	pid = start_helper();
	step(pid, steps);
	in_time = (fixture_get(gate) & 1) != 0;
	go_on(next, after);
	check(ptrace(PTRACE_CONT, pid, NULL, NULL) == 0);
	check(waitpid(pid, &status, 0) == pid);
	check(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	for (i = 0; i < WORDS; i++)
		check(fixture_get(&words[i]) == after[i]);
	check(fixture_get(gate) == version);
	return in_time;
}

int main(void)
{
	unsigned steps, next;
	bool in_time = true;

	torture_setup();
	fixture_open(&fixture);
	check(mmap(fixture.arena->base, ARENA_BYTES, PROT_READ | PROT_WRITE,
		   MAP_FIXED | MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1,
		   0) == fixture.arena->base);
	gate = &fixture.arena->orgs[1].gate;
	words = (word_t *)(void *)fixture.arena->rings;
	claim_init(&owner, fixture.arena, 7, NULL);
	for (steps = 0; in_time; steps++)
		for (next = 0; next < NEXT_COUNT; next++)
			in_time = try(steps, (enum next)next);
	printf("claim_late: a helper stopped after 0 to %u instructions\n",
	       steps - 2);
	check(steps > 100);
	fixture_close(&fixture);
	return 0;
}
