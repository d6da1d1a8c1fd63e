/* SPDX-License-Identifier: MIT */
#ifndef STILE_BENCH_CONTEST_REPORT_H
#define STILE_BENCH_CONTEST_REPORT_H

/* bench/contest_report - the figures of peers, http and nginx, for people and
 * for programs. */
#include "contest.h"

/* Who takes part and who does not; for programs into c->cells. */
void contest_report_head(struct contest *c);

/* -1 without memory. */
int contest_report_cell(struct contest *c, const struct contest_cell *cell);

/* COMMAND-DEPTH.svg in --plot's directory: a cell of each contender, all of
 * one depth. -1 with a sentence. */
int contest_report_plot(struct contest *c, const struct contest_cell *cells);

#endif
