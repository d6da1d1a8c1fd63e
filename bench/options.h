/* SPDX-License-Identifier: MIT */
#ifndef STILE_BENCH_OPTIONS_H
#define STILE_BENCH_OPTIONS_H

/* bench/options - what the command lines of the experiments share. */
#include "workload.h"

#include <getopt.h>

#define OPTIONS_LIST_MAX 16
#define OPTIONS_SECONDS_MAX 600
#define OPTIONS_REPETITIONS_MAX 1000
#define OPTIONS_HELP 1 /* the `val` of --help in every table */

struct options_spec {
	const char *command; /* compare, latency, ... */
	const char *help;
	const struct option *table;
	/* Returns false when the value is none that the option takes. */
	bool (*take)(void *to, int option, const char *value);
};

/* Returns 0; 1 when the help was asked for and printed; -1 when something is
 * wrong, which was told on standard error. */
int options_parse(const struct options_spec *spec, void *to, int argc,
		  char **argv);

/* Each returns false, and sets nothing, when the text is no such thing.
 * A number is 1 .. max, a list up to OPTIONS_LIST_MAX numbers and commas. */
bool options_number(const char *text, unsigned long max, uint32_t *ret);
bool options_seconds(const char *text, double min, double *ret);
bool options_list(const char *text, unsigned long max,
		  uint32_t ret[static OPTIONS_LIST_MAX], uint32_t *ret_count);
bool options_modes(const char *text, enum workload_mode ret[static 2],
		   uint32_t *ret_count);
/* Copies a path; false when it is too long. */
bool options_path(const char *text, char *out, size_t out_len);

/* stiled beside this program, where `tools/build` leaves both, or where meson
 * builds them. */
void options_find_stiled(char *out, size_t out_len);

const char *options_mode_name(enum workload_mode mode);

#endif
