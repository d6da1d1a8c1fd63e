/* SPDX-License-Identifier: MIT */
#ifndef STILE_TESTS_INTERLEAVE_H
#define STILE_TESTS_INTERLEAVE_H

/*
 * tests/interleave/interleave - our real code under every interleaving.
 *
 * Does       runs some threads as coroutines, changes between them at every
 *            atomic access (atomics.h), and goes through all ways to do so:
 *            depth first, no bound on changes, each state once. A state is all
 *            memory that is watched and all stacks; it is known again by a
 *            hash of 128 bits. Also lets the process die in any state.
 * Finds      what a scenario says must hold; check() of our code; a thread
 *            that waits for another one (a state that follows from itself).
 *            Prints the steps that lead there and ends the program.
 * Premise    code under test reads no clock and no random numbers, and keeps
 *            what changes in watched memory or on its stack; memory that is
 *            not watched may be read, but an atomic write to it is refused.
 * Not seen   weak memory, and data races on what is not atomic: those are
 *            ThreadSanitizer's.
 */
#include "atomics.h"

#include <stddef.h>

#define INTERLEAVE_THREADS_MAX 4

/* Callbacks see all of memory at one instant, and are no part of a thread. */
struct interleave {
	const char *name;
	unsigned threads;
	unsigned deaths; /* of the process: that many or fewer, at any point */
	void (*setup)(void);
	/* life: deaths so far */
	void (*thread)(unsigned idx, unsigned life);
	/* After a death, alone, before the next life. It may die, too. */
	void (*recover)(void);
	/* Must hold: in every state; after recovery; when all have ended. */
	void (*always)(void);
	void (*recovered)(void);
	void (*ended)(unsigned life);
	/* A watched word was written. */
	void (*wrote)(const volatile void *at, uint64_t from, uint64_t to);
};

/* Tells once, before interleave_all(), what the threads share. */
void interleave_watch(const char *name, void *at, size_t len);
/* What they only count in, and none of them reads to decide: no access of it is
 * a place to change at, and it is no part of the state. */
void interleave_ignore(void *at, size_t len);

/* All interleavings of one scenario. Prints and returns how many there are: 0
 * if --only names another one. */
double interleave_all(const struct interleave *scenario);
/* The same with a thread for each script, up to NULL or `max`; one that takes
 * minutes (`soak`) only when there is time. */
void interleave_scripts(struct interleave *scenario, const char *const *scripts,
			unsigned max, bool soak);

/* Reads the program's arguments. --only NAME: of all scenarios that one.
 * --finds TEXT: a mistake was planted, and only to find what says TEXT is
 * success. */
void interleave_begin(int argc, char **argv);
int interleave_end(void);
unsigned interleave_current(void); /* in wrote(): the thread that did */
bool interleave_soak(void);        /* $STILE_SOAK: there is time for more */

_Noreturn void interleave_violation(const char *what, const char *file,
				    int line);
#define must(expr)                                                             \
	((expr) ? (void)0 : interleave_violation(#expr, __FILE__, __LINE__))

#endif
