/* SPDX-License-Identifier: MIT */
#ifndef STILE_GATE_EXPLAIN_H
#define STILE_GATE_EXPLAIN_H

/*
 * gate/explain - what every rule, budget and pool said to one check, and
 * which of them is the reason of its verdict.
 *
 * Does       a line for each rule that looks at the check, those in the shadow
 *            too, in the order of the plan; then the budgets of the project,
 *            then the credits. Numbers are those before the charge, read in
 *            the version of the organization in which the check was decided.
 * Refused    a check that is refused before its rules are asked (state,
 *            access, no room) has lines all the same, as of a peek.
 * Costs      nothing for checks that do not ask.
 */
#include "gate/layout.h"
#include "gate/meter.h"
#include "wire/check.h"

#include <stdbool.h>
#include <stdint.h>

struct ask;
struct step;

#define EXPLAIN_NO_LINE UINT8_MAX

struct explaining {
	uint16_t said_by; /* rules that were asked before the organization */
	uint8_t line_of[PLAN_RULES_MAX]; /* EXPLAIN_NO_LINE */
	struct meter_answer said[PLAN_RULES_MAX];
	struct explain out;
};
static_assert(PLAN_RULES_MAX + 2 /* budgets */ + 1 /* credits */ <=
		      EXPLAIN_LINES_MAX,
	      "a line for everything");

void explain_begin(struct explaining *x);
/* Rule `i` has answered before the organization is asked. Said twice, a no
 * stays. */
void explain_outside(struct explaining *x, unsigned i,
		     const struct meter_answer *m);
/* Rule `i` has no room for the subject; does it pass? */
void explain_full(struct explaining *x, const struct rule *rule, unsigned i,
		  bool pass);
/* In an attempt, before the check is decided; then after. */
void explain_rules(struct explaining *x, struct step *s, struct ask *a);
void explain_verdict(struct explaining *x, const struct ask *a);

#endif
