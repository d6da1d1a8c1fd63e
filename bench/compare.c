/* SPDX-License-Identifier: MIT */
#include "compare.h"

#include "compare_report.h"
#include "load.h"
#include "report.h"
#include "stand.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#define CELLS_MAX (2 * OPTIONS_LIST_MAX * OPTIONS_LIST_MAX)

struct compare {
	struct compare_options options;
	struct stand stand;
	json_t *cells;
	struct compare_cell done[CELLS_MAX];
	uint32_t done_count;
};

/* The most that the closed loop has under way in any cell. */
static uint64_t in_flight_max(const struct compare_options *o)
{
	uint64_t max = 0;

	for (uint32_t i = 0; i < o->connections_count; i++)
		for (uint32_t k = 0; k < o->depths_count; k++)
			if ((uint64_t)o->connections[i] * o->depths[k] > max)
				max = (uint64_t)o->connections[i] *
				      o->depths[k];
	return max;
}

static int run_one(struct compare *c, bool null, uint32_t connections,
		   uint32_t depth, struct load_result *ret)
{
	const struct compare_options *o = &c->options;
	struct dialect dialect;
	struct load_options load = {
		.address.path =
			null ? c->stand.null_path : c->stand.daemon.socket_path,
		.servers = {null ? &c->stand.null_server
				 : &c->stand.daemon.process},
		.server_count = 1,
		.server_cpu = c->stand.server_cpu,
		.connections = connections,
		.depth = depth,
		.threads = o->threads,
		.warmup_ns = (uint64_t)(o->warmup_seconds * 1e9),
		.measure_ns = (uint64_t)(o->seconds * 1e9),
		.interrupted = &stand_interrupted,
	};

	dialect_of_frames(&dialect, &c->stand.workload, null);
	return load_run(&load, &dialect, ret, c->stand.error, STAND_ERROR_LEN);
}

/* The figures of one run of one server. */
struct figures {
	double rps, cpu_ns, busy;
};

static struct figures figures_of(const struct load_result *r)
{
	return (struct figures){
		.rps = (double)r->replies * 1e9 / (double)r->elapsed_ns,
		.cpu_ns = (double)r->server_cpu_ns / (double)r->replies,
		.busy = (double)r->server_cpu_ns / (double)r->elapsed_ns,
	};
}

/* One row per figure, one column per repetition. */
enum {
	NULL_RPS,
	CHECK_RPS,
	SHARE,
	NULL_CPU,
	CHECK_CPU,
	DIFF,
	NULL_BUSY,
	CHECK_BUSY,
	FIGURES
};

static int run_cell(struct compare *c, struct compare_cell *cell)
{
	static double series[FIGURES][OPTIONS_REPETITIONS_MAX];
	uint32_t repetitions = c->options.repetitions;
	struct workload_tally total = {0};

	for (uint32_t i = 0; i < repetitions; i++) {
		struct load_result results[2]; /* check, null */
		struct figures null, check;

		/* null check, check null, null check ...: neither always comes
		 * second. */
		for (uint32_t k = 0; k < 2; k++) {
			bool is_null = (i + k) % 2 == 0;

			if (run_one(c, is_null, cell->connections, cell->depth,
				    &results[is_null]) < 0)
				return -1;
			cell->replies += results[is_null].replies;
		}
		check = figures_of(&results[false]);
		null = figures_of(&results[true]);
		total.allowed += results[false].total.allowed;
		total.denied += results[false].total.denied;
		series[NULL_RPS][i] = null.rps;
		series[CHECK_RPS][i] = check.rps;
		series[SHARE][i] = check.rps / null.rps;
		series[NULL_CPU][i] = null.cpu_ns;
		series[CHECK_CPU][i] = check.cpu_ns;
		series[DIFF][i] = check.cpu_ns - null.cpu_ns;
		series[NULL_BUSY][i] = null.busy;
		series[CHECK_BUSY][i] = check.busy;
	}
	c->stand.units_allowed += total.allowed;
	cell->denied_share = workload_denied_share(&total);
	cell->null_rps = stats_spread(series[NULL_RPS], repetitions);
	cell->check_rps = stats_spread(series[CHECK_RPS], repetitions);
	cell->share_of_null = stats_spread(series[SHARE], repetitions);
	cell->null_cpu_ns = stats_spread(series[NULL_CPU], repetitions);
	cell->check_cpu_ns = stats_spread(series[CHECK_CPU], repetitions);
	cell->diff_cpu_ns = stats_spread(series[DIFF], repetitions);
	cell->null_busy = stats_spread(series[NULL_BUSY], repetitions);
	cell->check_busy = stats_spread(series[CHECK_BUSY], repetitions);
	return stand_check_denied(&c->stand, &total);
}

static int report(struct compare *c, const struct compare_cell *cell)
{
	const struct compare_options *o = &c->options;
	json_t *object;

	c->done[c->done_count++] = *cell; /* as many as the lists allow */
	if (!o->json) {
		compare_report_row(cell);
		return 0;
	}
	fprintf(stderr,
		"stile-bench: %s, %" PRIu32 " connections, depth %" PRIu32
		": done\n",
		options_mode_name(cell->mode), cell->connections, cell->depth);
	object = compare_report_json(o, &c->stand, cell);
	if (object && json_array_append_new(c->cells, object) == 0)
		return 0;
	snprintf(c->stand.error, STAND_ERROR_LEN, "out of memory");
	return -1;
}

static int run_mode(struct compare *c, enum workload_mode mode)
{
	const struct compare_options *o = &c->options;

	if (stand_set_mode(&c->stand, mode) < 0)
		return -1;
	for (uint32_t i = 0; i < o->connections_count; i++) {
		for (uint32_t k = 0; k < o->depths_count; k++) {
			struct compare_cell cell = {
				.mode = mode,
				.connections = o->connections[i],
				.depth = o->depths[k],
			};

			if (run_cell(c, &cell) < 0 || report(c, &cell) < 0)
				return -1;
		}
	}
	return 0;
}

static int run(struct compare *c)
{
	const struct compare_options *o = &c->options;
	struct stand_options stand = {
		.keys = o->keys,
		.in_flight_max = in_flight_max(o),
		.pin = o->pin,
		.stiled = o->stiled,
		.dir = o->dir,
	};

	if (stand_open(&c->stand, &stand) < 0)
		return -1;
	if (!o->json)
		compare_report_head(o, &c->stand);
	for (uint32_t i = 0; i < o->modes_count; i++)
		if (run_mode(c, o->modes[i]) < 0)
			return -1;
	if (stand_balance(&c->stand) < 0)
		return -1;
	return o->plot ? compare_report_plot(o, &c->stand, c->done,
					     c->done_count, c->stand.error,
					     STAND_ERROR_LEN)
		       : 0;
}

int compare_main(int argc, char **argv)
{
	struct compare *c = calloc(1, sizeof(*c));
	int r;

	if (!c)
		return 1;
	r = compare_options_parse(&c->options, argc, argv);
	if (r != 0) {
		free(c);
		return r < 0 ? 2 : 0;
	}
	c->cells = json_array();
	r = run(c);
	if (!stand_close(&c->stand))
		r = -1;
	if (r < 0)
		fprintf(stderr, "stile-bench: %s\n", c->stand.error);
	else if (c->options.json && !report_dump(c->cells))
		r = -1;
	json_decref(c->cells);
	free(c);
	return r < 0 ? 1 : 0;
}
