/* SPDX-License-Identifier: MIT */
#ifndef STILE_BENCH_MACHINE_H
#define STILE_BENCH_MACHINE_H

/*
 * bench/machine - where and with which code a figure was measured. A figure
 * without these says nothing.
 */
struct machine {
	char cpu[128];     /* model name */
	char kernel[128];  /* release */
	unsigned int cpus; /* online */
	/* Of the minute before we began: with more than a few hundredths the
	 * rates are a busy machine's; CPU time per request suffers less. */
	double load_average;
	const char *version;
	const char *commit; /* git describe at build time */
};

void machine_read(struct machine *ret_machine);

#endif
