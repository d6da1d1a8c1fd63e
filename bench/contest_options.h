/* SPDX-License-Identifier: MIT */
#ifndef STILE_BENCH_CONTEST_OPTIONS_H
#define STILE_BENCH_CONTEST_OPTIONS_H

/* bench/contest_options - the command lines of peers, http and nginx, which
 * differ in their defaults and in what they say of themselves. */
#include "options.h"

#include <limits.h>

struct contest_kind {
	const char *command;
	const char *sentence; /* what it does, in lines for --help */
	const char *names;    /* of its contenders, with commas */
	uint32_t keys, connections;
	uint32_t depths[OPTIONS_LIST_MAX], depths_count;
	bool takes_redis_cell;
};

struct contest_options {
	const struct contest_kind *kind;
	bool json, pin;
	uint32_t keys, connections, repetitions, threads;
	double seconds, warmup_seconds; /* of one run */
	uint32_t depths[OPTIONS_LIST_MAX], depths_count;
	char stiled[PATH_MAX];
	const char *dir;        /* NULL = a fresh one, removed afterwards */
	const char *plot;       /* directory for SVG; NULL = none */
	const char *only;       /* names with commas; NULL = all */
	const char *redis_cell; /* the module; NULL = none */
};

/* Returns as options_parse(). */
int contest_options_parse(struct contest_options *o,
			  const struct contest_kind *kind, int argc,
			  char **argv);

/* Whether `name` is one of `names`, which are separated by commas. */
bool contest_options_names(const char *names, const char *name);

#endif
