/* SPDX-License-Identifier: MIT */
#ifndef STILE_STATE_TURNOVER_H
#define STILE_STATE_TURNOVER_H

/*
 * state/turnover - who has a new period now.
 *
 * Members (numbers of the caller's) that follow the same rule, a kind of
 * period in a time zone, form a group; a group has one end, so that a step
 * looks at groups and not at members, and at nothing at all before the first
 * end has come. When a group's period has ended all its members are visited.
 *
 * Forward    a group's period never goes back, whatever the clock does. After
 *            a standstill members are visited once, with the period that it
 *            is now.
 * Batches    a step makes at most TURNOVER_BATCH visits. The end of a month
 *            for a million members is several steps, between which the caller
 *            does something else.
 * Memory     12 bytes a member up to the highest number that was set; zones
 *            and groups are kept until the end.
 * Threads    one.
 */
#include "state/period.h"

#include <stdbool.h>
#include <stdint.h>

#define TURNOVER_BATCH 4096
#define TURNOVER_ZONES_MAX 1024 /* the tz database has 600 names */

struct turnover;

/* 0: done. Anything else: not possible now; then all of the group are visited
 * again, from the next step on that does not follow at once. It sets no
 * members. */
typedef int turnover_visit(void *arg, uint32_t member,
			   const struct period *period);

/* Members are 0 .. members_max - 1. -ENOMEM. */
int turnover_new(struct turnover **ret_turnover, uint32_t members_max,
		 turnover_visit *visit, void *arg);
struct turnover *turnover_free(struct turnover *t);

/*
 * From now on the member follows this rule and no other. It is not visited for
 * the period that it is in, *ret_period. `anchor_day` matters to
 * PERIOD_BILLING alone. -ENOENT: no such zone; -EINVAL: no such anchor;
 * -ENOSPC: too many zones; -ENOMEM, -EBADMSG and others of zone_open().
 * Nothing has changed then.
 */
int turnover_set(struct turnover *t, uint32_t member, enum period_kind kind,
		 const char *zone, unsigned anchor_day, uint64_t civil_ms,
		 struct period *ret_period);
void turnover_clear(struct turnover *t, uint32_t member);

/* Visits the whole group of the member at the next steps, though its period
 * has not ended. */
void turnover_revisit(struct turnover *t, uint32_t member);

/* True: there is more to do at once. */
bool turnover_step(struct turnover *t, uint64_t civil_ms);

#endif
