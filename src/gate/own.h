/* SPDX-License-Identifier: MIT */
#ifndef STILE_GATE_OWN_H
#define STILE_GATE_OWN_H

/*
 * gate/own - the second common case of gate/step in a straight line: one check
 * that nothing but windows and GCRA of the organization itself look at, and
 * that all of them allow. Decides exactly as step_run() would: each rule is
 * read, asked and put into the claim in one pass, and only the one that is
 * told is worked out.
 *
 * Proof      tests/gate/step_trace_test.c (own_rules),
 * tests/torture/step_torture.c
 */
#include "gate/step.h"

/* Of s->asks[0], the only one. False: it is for the others to say; nothing was
 * changed. */
bool own_run(struct step *s, const struct instant *now);

#endif
