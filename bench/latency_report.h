/* SPDX-License-Identifier: MIT */
#ifndef STILE_BENCH_LATENCY_REPORT_H
#define STILE_BENCH_LATENCY_REPORT_H

/*
 * bench/latency_report - the figures of `stile-bench latency`, for people,
 * for programs, and as a picture.
 *
 * Each percentile is taken of each repetition; what is told is their median
 * and range. The picture shows all repetitions in one histogram, which gives
 * the tail more to stand on and hides how much it varies.
 */
#include "histogram.h"
#include "latency_options.h"
#include "stand.h"
#include "stats.h"

#include <jansson.h>

enum latency_figure {
	LATENCY_P50,
	LATENCY_P90,
	LATENCY_P99,
	LATENCY_P999,
	LATENCY_MAX,
	LATENCY_REACHED, /* replies a second */
	LATENCY_CPU,     /* the server's, ns a request */
	LATENCY_LAG,     /* of the generator, 99th percentile */
	LATENCY_FIGURES
};

struct latency_server {
	struct spread figures[LATENCY_FIGURES]; /* latencies, lag: us */
	struct histogram all;                   /* ns */
};

/* What is compared: a check with the null server, or a check while snapshots
 * are written with one while none are. */
enum { LATENCY_CHECK, LATENCY_NULL, LATENCY_SNAPSHOT, LATENCY_SERVERS };

struct latency_cell {
	enum workload_mode mode;
	uint32_t rate;
	int subject, base; /* of servers */
	struct latency_server servers[LATENCY_SERVERS];
	struct spread p50_ratio, p99_ratio; /* subject / base of a repetition */
	uint64_t replies; /* of both servers, measured and checked */
	double denied_share;
	/* with LATENCY_SNAPSHOT: how much of its time one was written */
	struct spread snapshot_share;
	double snapshot_ms; /* to write one, on average */
	uint64_t snapshots, snapshot_orgs;
};

/* The generator asked for more than the server gave: what is told then is how
 * long the queue grew, not how long a check takes. */
#define LATENCY_REACHED_MIN 0.95
bool latency_saturated(const struct latency_cell *c, int server);

void latency_report_head(const struct latency_options *o, const struct stand *s,
			 bool spin);
void latency_report_rows(const struct latency_cell *c);

/* A new reference, or NULL without memory. */
json_t *latency_report_json(const struct latency_options *o,
			    const struct stand *s, bool spin,
			    const struct latency_cell *c);

/* latency-MODE-RATE.svg. 0, or -1 with a sentence. */
int latency_report_plot(const struct latency_options *o, const struct stand *s,
			const struct latency_cell *c, char *error,
			size_t error_len);

#endif
