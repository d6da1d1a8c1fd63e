/* SPDX-License-Identifier: MIT */
#ifndef STILE_GATE_OWN_H
#define STILE_GATE_OWN_H

/*
 * gate/own - the other common case of gate/step in a straight line: one check
 * under windows and GCRA of any level, budgets and credits, that all of them
 * allow. Decides exactly as step_run() would: each rule, budget and pool is
 * read, asked and put into the claim in one pass, and only the rule that is
 * told is worked out.
 *
 * Proof      tests/gate/step_trace_test.c, tests/torture/step_torture.c
 */
#include "gate/step.h"

/* Of one of s->asks. False: it is for the others to say; nothing was changed.
 */
bool own_run(struct step *s, struct ask *a, const struct instant *now);

#endif
