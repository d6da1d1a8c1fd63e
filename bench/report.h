/* SPDX-License-Identifier: MIT */
#ifndef STILE_BENCH_REPORT_H
#define STILE_BENCH_REPORT_H

/* bench/report - what the reports of all experiments have in common. */
#include "machine.h"
#include "stats.h"

#include <jansson.h>
#include <stdbool.h>

/* The first lines of a table. */
void report_machine(const struct machine *m);

/* The same as members of an object: version, commit, cpu, ... */
void report_set_machine(json_t *to, const struct machine *m);

/* name, name_min, name_max; rounded to `grain`. */
void report_spread(json_t *to, const char *name, struct spread s, double grain);

/* To standard output. False when it cannot be written. */
bool report_dump(const json_t *value);

#endif
