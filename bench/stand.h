/* SPDX-License-Identifier: MIT */
#ifndef STILE_BENCH_STAND_H
#define STILE_BENCH_STAND_H

/*
 * bench/stand - what experiments are made on: a null server, a real stiled in
 * a scratch directory, and a workload whose keys that stiled knows.
 *
 * Errors     -1 with a sentence in `error`, or 0.
 * Signals    SIGINT and SIGTERM set stand_interrupted, SIGPIPE is ignored.
 */
#include "daemon.h"
#include "machine.h"
#include "process.h"
#include "workload.h"

#include <limits.h>
#include <signal.h>

#define STAND_ERROR_LEN 1024
#define STAND_KEYS_PER_ORG 100
/* Denied checks cost other than allowed ones; with more of them a figure is
 * not the one it claims to be. */
#define STAND_DENIED_SHARE_MAX 0.01

extern volatile sig_atomic_t stand_interrupted;

struct stand_options {
	uint32_t keys;
	uint32_t keys_per_org;  /* 0 = STAND_KEYS_PER_ORG */
	uint64_t in_flight_max; /* requests that may be under way at a time */
	/* Known: windows of an hour, which then hold what was admitted. 0 =
	 * short ones, for any number. */
	uint64_t requests_max;
	bool pin;             /* servers on one CPU, the rest on others */
	const char *stiled;   /* the daemon */
	const char *settings; /* more lines of its configuration, or NULL */
	const char *dir;      /* empty; kept. NULL = a fresh one, removed */
};

struct stand {
	struct workload workload;
	struct machine machine;
	struct process null_server;
	struct daemon_server daemon;
	char null_path[PATH_MAX];
	char scratch[PATH_MAX]; /* "" = none made */
	int server_cpu;         /* -1 = not pinned */
	/* by the daemon, as its clients saw it; whoever runs a load adds */
	uint64_t units_allowed;
	char error[STAND_ERROR_LEN];
};

/* `s` starts as zeros. To be followed by stand_close() in any case. */
int stand_open(struct stand *s, const struct stand_options *o);

/* Builds the frames. Before anything is measured a known key has to pass and
 * one that differs in a single character has not to. */
int stand_set_mode(struct stand *s, enum workload_mode mode);

/* Fails when too many of a load's checks were denied. */
int stand_check_denied(struct stand *s, const struct workload_tally *tally);

/* What the clients were allowed and what is on the daemon's books must be the
 * same, to the unit. */
int stand_balance(struct stand *s);

/* False, with a sentence, when the daemon did not end as it should. */
bool stand_close(struct stand *s);

#endif
