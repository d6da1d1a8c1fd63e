/* SPDX-License-Identifier: MIT */
#ifndef STILE_GATE_PRIOR_H
#define STILE_GATE_PRIOR_H

/*
 * gate/prior - what a rule's subjects were counted in before: the tables of a
 * rule that it replaced, or its own of another size.
 *
 * Does       such a rule counts in its own table, and what its predecessors
 *            (struct rule) still count it counts too: units that have not left
 *            the window, the later of the times that are to be worked off,
 *            leases that are out. So a limit that moves to another table goes
 *            on with what was counted.
 * Exactness  as without: all the words are read in one version of the
 *            organization. It rests on the order in which a change is published
 *            (state/registry_priors.h): while somebody may charge the old
 *            table, all who charge the new one read both, and the other way
 *            round.
 * Threads    workers and the control thread, inside an epoch section.
 * Progress   lock-free: it looks again only when an entry was given to another
 *            subject meanwhile.
 * Proof      tests/gate/prior_test.c (against a serial execution),
 *            tests/e2e/moving_test.py (under load and kill -9)
 */
#include "gate/decide.h"

/*
 * Joins to `v`, just read of what the rule counts itself, what its predecessors
 * count for this subject; ret_prior is theirs for as long as the view is used.
 * To be called anew in each attempt: an entry that was not there, or about to
 * be freed, may be taken and charged by somebody until the version at hand.
 */
void prior_read(struct arena *a, struct view *v, const struct gate_subject *of,
		struct view ret_prior[static RULE_PRIORS_MAX]);

/* For step_view(): what rule `i`, which has predecessors, sees of the check. */
struct view *prior_view(struct step *s, const struct ask *a, unsigned i);

/* Until when nobody knows what was counted in one of the predecessors before
 * the machine was started; 0: it is known. */
uint64_t prior_full_until_ns(struct arena *a, const struct rule *r);

/* Control: what predecessors have counted counts no more. */
void prior_reset(struct claim *c, word_t *gate, const struct rule *r,
		 const struct gate_subject *of);

#endif
