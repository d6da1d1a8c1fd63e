/* SPDX-License-Identifier: MIT */
#ifndef STILE_STATE_PERIODS_H
#define STILE_STATE_PERIODS_H

/*
 * state/periods - tells decisions which period each budget is in.
 *
 * Publishes period, ends_ms and next_ends_ms of struct budget (gate/layout.h),
 * together, under claim of the organization's gate. Decisions find out by
 * themselves that a period has ended and that the next one runs; so a step may
 * come late by up to the length of a period and nothing is counted wrong. When
 * it comes later (the machine slept), what was counted since it woke is counted
 * in the period that runs.
 *
 * Forward    a step changes a budget only when its period has ended in civil
 *            time, to a later one: the three words grow.
 * Changes    periods_set() with another zone or anchor day may make them
 *            smaller; what was used stays in the period it was used in, and a
 *            decision goes by the later of the two, so that no change opens a
 *            second budget for the same time. The caller lets a grace period
 *            (base/epoch.h) pass before it changes that budget again.
 * Kinds      numbers of different kinds do not compare. To change the kind:
 *            take the budget away (cap BUDGET_NONE), let a grace period pass,
 *            zero `used` and `returned`, set it anew.
 * Threads    the control thread; workers decide meanwhile.
 */
#include "gate/claim.h"
#include "gate/layout.h"
#include "state/period.h"

#include <stdbool.h>
#include <stdint.h>

struct periods;

/* `claim`: the control thread's. Projects below `projects_max`. -ENOMEM. */
int periods_new(struct periods **ret_periods, struct claim *claim,
		uint32_t projects_max);
struct periods *periods_free(struct periods *p);

/*
 * Budget `index` of the project has periods of this kind from now on; they are
 * published before this returns. Its organization is that of the project's
 * line. Errors as turnover_set(); nothing has changed then.
 */
int periods_set(struct periods *p, uint32_t project, unsigned index,
		enum period_kind kind, const char *zone, unsigned anchor_day,
		uint64_t civil_ms);
/* Nothing is published for it any more. */
void periods_clear(struct periods *p, uint32_t project, unsigned index);

/* Once a second. True: there is more to do at once. */
bool periods_step(struct periods *p, uint64_t civil_ms);

#endif
