/* SPDX-License-Identifier: MIT */
#ifndef STILE_GATE_PLAIN_H
#define STILE_GATE_PLAIN_H

/*
 * gate/plain - the common case of gate/step in a straight line: an organization
 * whose rules are windows and GCRA of its own and nothing else, checks that say
 * no more than their key and cost. Decides exactly as step_run() would.
 *
 * Several checks of one organization are one claim. Under one window each is
 * decided here, allowed or denied; under several rules all of them are allowed
 * or it is for others to say who is not.
 *
 * Proof      tests/gate/step_trace_test.c runs both
 */
#include "gate/step.h"

struct plain_ask {
	struct key *key;
	struct verdict *verdict;
	uint32_t cost;
};

/* A word for each key. More would make a claim so long that another thread on
 * the organization most often loses its own. */
#define PLAIN_ASKS_MAX 16

enum plain_end {
	PLAIN_ALLOWED, /* all of them */
	PLAIN_DENIED,  /* one, at least */
	PLAIN_NOT,     /* nothing was decided: a window has fewer entries than
			* units, or one of several rules denies */
};

/* count <= PLAIN_ASKS_MAX; s->plan is plain, s->org has no credits. Fills
 * reason and numbers of each verdict, which is zero but for the ids. */
enum plain_end plain_run(struct step *s, const struct plain_ask *asks,
			 unsigned count, const struct instant *now);

#endif
