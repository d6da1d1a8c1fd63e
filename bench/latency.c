/* SPDX-License-Identifier: MIT */
#include "latency.h"

#include "latency_report.h"
#include "load.h"
#include "open_loop.h"
#include "report.h"
#include "snapshots.h"
#include "stand.h"

#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PASS_DEPTH 32

/* Percentiles in parts per million, as histogram_percentile() takes them. */
static const uint32_t percentiles[] = {
	[LATENCY_P50] = 500000,        [LATENCY_P90] = 900000,
	[LATENCY_P99] = 990000,        [LATENCY_P999] = 999000,
	[LATENCY_MAX] = HISTOGRAM_ALL,
};

struct latency {
	struct latency_options options;
	struct stand stand;
	bool spin;
	json_t *cells;
	/* one cell's */
	double series[LATENCY_SERVERS][LATENCY_FIGURES]
		     [OPTIONS_REPETITIONS_MAX];
	double p50_ratio[OPTIONS_REPETITIONS_MAX];
	double p99_ratio[OPTIONS_REPETITIONS_MAX];
	double snapshot_share[OPTIONS_REPETITIONS_MAX];
	double snapshot_s;
	struct open_loop_result results[LATENCY_SERVERS];
	struct latency_cell cell;
};

static int run_one(struct latency *l, int server,
		   const struct schedule *schedule)
{
	const struct latency_options *o = &l->options;
	struct stand *s = &l->stand;
	bool null = server == LATENCY_NULL;
	struct open_loop_options load = {
		.path = null ? s->null_path : s->daemon.socket_path,
		.server = null ? &s->null_server : &s->daemon.process,
		.server_is_null = null,
		.spin = l->spin,
		.connections = o->connections,
		.warmup_ns = (uint64_t)(o->warmup_seconds * 1e9),
		.lag_max_ns = o->lag_max_us * UINT64_C(1000),
		.schedule = schedule,
		.interrupted = &stand_interrupted,
	};

	return open_loop_run(&load, &s->workload, &l->results[server], s->error,
			     STAND_ERROR_LEN);
}

/* The same while snapshots are written. */
static int run_with_snapshots(struct latency *l,
			      const struct schedule *schedule,
			      uint32_t repetition)
{
	struct stand *s = &l->stand;
	struct snapshots_result written;
	char error[STAND_ERROR_LEN];
	struct snapshots *snapshots =
		snapshots_start(&s->daemon, s->error, STAND_ERROR_LEN);
	int r;

	if (!snapshots)
		return -1;
	r = run_one(l, LATENCY_SNAPSHOT, schedule);
	if (snapshots_stop(snapshots, &written, error, sizeof(error)) < 0) {
		if (r == 0)
			memcpy(s->error, error, sizeof(error));
		r = -1;
	}
	l->cell.snapshots += written.count;
	l->cell.snapshot_orgs = written.orgs;
	l->snapshot_s += written.writing_s;
	l->snapshot_share[repetition] = written.writing_s / written.elapsed_s;
	return r;
}

static void note(struct latency *l, int server, uint32_t repetition)
{
	const struct open_loop_result *r = &l->results[server];
	double figures[LATENCY_FIGURES];

	for (int i = LATENCY_P50; i <= LATENCY_MAX; i++)
		figures[i] = (double)histogram_percentile(&r->latency_ns,
							  percentiles[i]) /
			     1e3;
	figures[LATENCY_REACHED] =
		(double)r->replies * 1e9 / (double)r->elapsed_ns;
	figures[LATENCY_CPU] = (double)r->server_cpu_ns / (double)r->replies;
	figures[LATENCY_LAG] =
		(double)histogram_percentile(&r->lag_ns, 990000) / 1e3;
	for (int i = 0; i < LATENCY_FIGURES; i++)
		l->series[server][i][repetition] = figures[i];
	histogram_add(&l->cell.servers[server].all, &r->latency_ns);
	l->cell.replies += r->replies;
}

/* One run of each server with the same arrivals. */
static int repeat(struct latency *l, uint32_t repetition,
		  struct workload_tally *total)
{
	const struct latency_options *o = &l->options;
	double seconds = o->warmup_seconds + o->seconds;
	struct schedule schedule;
	int r = schedule_init(&schedule, o->arrivals, l->cell.rate,
			      (uint64_t)(seconds * 1e9), repetition + 1);

	if (r < 0) {
		snprintf(l->stand.error, STAND_ERROR_LEN,
			 "no schedule of %" PRIu32 " a second: %s",
			 l->cell.rate, strerror(-r));
		return -1;
	}
	/* base subject, subject base, ...: neither always comes second. */
	for (uint32_t k = 0; k < 2; k++) {
		int server = (repetition + k) % 2 == 0 ? l->cell.base
						       : l->cell.subject;

		r = server == LATENCY_SNAPSHOT
			    ? run_with_snapshots(l, &schedule, repetition)
			    : run_one(l, server, &schedule);
		if (r < 0)
			break;
		note(l, server, repetition);
		if (server == LATENCY_NULL)
			continue;
		total->allowed += l->results[server].total.allowed;
		total->denied += l->results[server].total.denied;
	}
	schedule_deinit(&schedule);
	return r;
}

static int run_cell(struct latency *l, enum workload_mode mode, uint32_t rate)
{
	uint32_t repetitions = l->options.repetitions;
	struct latency_cell *c = &l->cell;
	struct workload_tally total = {0};

	memset(c, 0, sizeof(*c));
	c->mode = mode;
	c->rate = rate;
	c->base = l->options.snapshot ? LATENCY_CHECK : LATENCY_NULL;
	c->subject = l->options.snapshot ? LATENCY_SNAPSHOT : LATENCY_CHECK;
	l->snapshot_s = 0;
	for (int k = 0; k < LATENCY_SERVERS; k++)
		histogram_clear(&c->servers[k].all);
	for (uint32_t i = 0; i < repetitions; i++) {
		if (repeat(l, i, &total) < 0)
			return -1;
		l->p50_ratio[i] = l->series[c->subject][LATENCY_P50][i] /
				  l->series[c->base][LATENCY_P50][i];
		l->p99_ratio[i] = l->series[c->subject][LATENCY_P99][i] /
				  l->series[c->base][LATENCY_P99][i];
	}
	for (int k = 0; k < LATENCY_SERVERS; k++)
		for (int i = 0; i < LATENCY_FIGURES; i++)
			c->servers[k].figures[i] =
				stats_spread(l->series[k][i], repetitions);
	c->p50_ratio = stats_spread(l->p50_ratio, repetitions);
	c->p99_ratio = stats_spread(l->p99_ratio, repetitions);
	if (l->options.snapshot) {
		c->snapshot_share =
			stats_spread(l->snapshot_share, repetitions);
		c->snapshot_ms = l->snapshot_s * 1e3 /
				 (double)(c->snapshots ? c->snapshots : 1);
	}
	c->denied_share = workload_denied_share(&total);
	l->stand.units_allowed += total.allowed;
	return stand_check_denied(&l->stand, &total);
}

static int report(struct latency *l)
{
	const struct latency_options *o = &l->options;
	const struct latency_cell *c = &l->cell;
	json_t *object;

	if (o->plot && latency_report_plot(o, &l->stand, c, l->stand.error,
					   STAND_ERROR_LEN) < 0)
		return -1;
	if (!o->json) {
		latency_report_rows(c);
		return 0;
	}
	fprintf(stderr, "stile-bench: %s, %" PRIu32 " a second: done\n",
		options_mode_name(c->mode), c->rate);
	object = latency_report_json(o, &l->stand, l->spin, c);
	if (object && json_array_append_new(l->cells, object) == 0)
		return 0;
	snprintf(l->stand.error, STAND_ERROR_LEN, "out of memory");
	return -1;
}

static bool two_cpus(void)
{
	cpu_set_t set;

	return sched_getaffinity(0, sizeof(set), &set) == 0 &&
	       CPU_COUNT(&set) >= 2;
}

/* Every key once: what nobody ever asked for is in no snapshot. */
static int ask_for_all(struct latency *l)
{
	struct stand *s = &l->stand;
	const struct load_options load = {
		.address.path = s->daemon.socket_path,
		.servers = {&s->daemon.process},
		.server_count = 1,
		.server_cpu = -1,
		.connections = l->options.connections,
		.depth = PASS_DEPTH,
		.interrupted = &stand_interrupted,
	};
	struct workload_tally tally = {0};
	struct dialect dialect;
	int r;

	dialect_of_frames(&dialect, &s->workload, false);
	r = load_pass(&load, &dialect, &tally, s->error, STAND_ERROR_LEN);
	s->units_allowed += tally.allowed;
	return r;
}

/* An organization is in a snapshot when its window holds something. */
static uint64_t requests_of_all(const struct latency_options *o)
{
	uint64_t keys = o->keys > WORKLOAD_FRAMES_MIN ? o->keys
						      : 2 * WORKLOAD_FRAMES_MIN;
	double requests = 0;

	for (uint32_t i = 0; i < o->rates_count; i++)
		requests += 2 * o->repetitions * o->rates[i] *
			    (o->seconds + o->warmup_seconds);
	return o->modes_count * (keys + (uint64_t)requests);
}

static int run(struct latency *l)
{
	const struct latency_options *o = &l->options;
	struct stand_options stand = {
		.keys = o->keys,
		.keys_per_org = o->keys_per_org,
		.in_flight_max = (uint64_t)o->connections * WORKLOAD_DEPTH_MAX,
		.requests_max = o->snapshot ? requests_of_all(o) : 0,
		.pin = o->pin,
		.stiled = o->stiled,
		.dir = o->dir,
	};

	l->spin = o->wait == LATENCY_SPIN ||
		  (o->wait == LATENCY_AUTO && two_cpus());
	if (stand_open(&l->stand, &stand) < 0)
		return -1;
	if (l->stand.server_cpu >= 0)
		process_pin_self_away_from(l->stand.server_cpu);
	if (!o->json)
		latency_report_head(o, &l->stand, l->spin);
	for (uint32_t i = 0; i < o->modes_count; i++) {
		if (stand_set_mode(&l->stand, o->modes[i]) < 0 ||
		    (o->snapshot && ask_for_all(l) < 0))
			return -1;
		for (uint32_t k = 0; k < o->rates_count; k++)
			if (run_cell(l, o->modes[i], o->rates[k]) < 0 ||
			    report(l) < 0)
				return -1;
	}
	return stand_balance(&l->stand);
}

int latency_main(int argc, char **argv)
{
	struct latency *l = calloc(1, sizeof(*l));
	int r;

	if (!l)
		return 1;
	r = latency_options_parse(&l->options, argc, argv);
	if (r != 0) {
		free(l);
		return r < 0 ? 2 : 0;
	}
	l->cells = json_array();
	r = run(l);
	if (!stand_close(&l->stand))
		r = -1;
	if (r < 0)
		fprintf(stderr, "stile-bench: %s\n", l->stand.error);
	else if (l->options.json && !report_dump(l->cells))
		r = -1;
	json_decref(l->cells);
	free(l);
	return r < 0 ? 1 : 0;
}
