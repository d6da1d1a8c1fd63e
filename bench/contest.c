/* SPDX-License-Identifier: MIT */
#include "contest.h"

#include "base/check.h"
#include "contest_report.h"
#include "report.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { RPS, CPU, BUSY, RATIO, DIFF, EACH, FIGURES = EACH + LOAD_SERVERS_MAX };

int contest_fail(struct contest *c, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(c->stand.error, STAND_ERROR_LEN, format, args);
	va_end(args);
	return -1;
}

int contest_open(struct contest *c)
{
	const struct contest_options *o = &c->options;
	struct stand_options stand = {0};

	c->cells = json_array();
	for (uint32_t i = 0; i < o->depths_count; i++)
		if (o->depths[i] > stand.in_flight_max)
			stand.in_flight_max = o->depths[i];
	stand.in_flight_max *= o->connections;
	stand.keys = o->keys;
	stand.pin = o->pin;
	stand.stiled = o->stiled;
	stand.dir = o->dir;
	if (stand_open(&c->stand, &stand) < 0)
		return -1;
	return stand_set_mode(&c->stand, WORKLOAD_RAW);
}

int contest_close(struct contest *c, bool failed)
{
	if (!stand_close(&c->stand))
		failed = true;
	if (failed)
		fprintf(stderr, "stile-bench: %s\n", c->stand.error);
	else if (c->options.json && !report_dump(c->cells))
		failed = true;
	json_decref(c->cells);
	return failed ? 1 : 0;
}

bool contest_wants(const struct contest *c, const char *name)
{
	return !c->options.only || contest_options_names(c->options.only, name);
}

void contest_enter(struct contest *c, const struct contender *contender)
{
	check(c->contender_count < CONTEST_CONTENDERS_MAX);
	c->contenders[c->contender_count++] = *contender;
}

void contest_skip(struct contest *c, const char *name, const char *why)
{
	struct contest_skip *s = &c->skipped[c->skipped_count];

	check(c->skipped_count < CONTEST_SKIPPED_MAX);
	s->name = name;
	snprintf(s->why, sizeof(s->why), "%s", why);
	fprintf(stderr, "stile-bench: %s is skipped: %s\n", name, why);
	c->skipped_count++;
}

static void set_load(const struct contest *c, struct load_options *load)
{
	const struct contest_options *o = &c->options;

	load->server_cpu = c->stand.server_cpu;
	load->connections = o->connections;
	load->threads = o->threads;
	load->warmup_ns = (uint64_t)(o->warmup_seconds * 1e9);
	load->measure_ns = (uint64_t)(o->seconds * 1e9);
	load->interrupted = &stand_interrupted;
}

int contest_fill(struct contest *c, const struct address *address,
		 struct process *server, const struct dialect *d,
		 uint32_t depth)
{
	struct load_options load = {
		.address = *address,
		.servers = {server},
		.server_count = 1,
		.depth = depth,
	};
	struct workload_tally tally = {0};
	char why[STAND_ERROR_LEN / 2];

	set_load(c, &load);
	if (load_pass(&load, d, &tally, why, sizeof(why)) < 0)
		return contest_fail(c, "%s, while it was filled: %s",
				    server->name, why);
	return stand_check_denied(&c->stand, &tally);
}

static int run_one(struct contest *c, const struct contender *who,
		   uint32_t depth, struct load_result *ret)
{
	struct load_options load = {
		.address = who->address,
		.server_count = who->server_count,
		.depth = depth,
	};
	char why[STAND_ERROR_LEN / 2];

	set_load(c, &load);
	memcpy(load.servers, who->servers, sizeof(load.servers));
	if (load_run(&load, who->dialect, ret, why, sizeof(why)) < 0)
		return contest_fail(c, "%s, depth %u: %s", who->name, depth,
				    why);
	if (who->units_allowed)
		*who->units_allowed += ret->total.allowed;
	return stand_check_denied(&c->stand, &ret->total);
}

static int base_of(const struct contest *c, uint32_t idx)
{
	const char *base = c->contenders[idx].base;

	for (uint32_t i = 0; base && i < c->contender_count; i++)
		if (strcmp(c->contenders[i].name, base) == 0)
			return (int)i;
	return -1;
}

typedef double series_of[FIGURES][OPTIONS_REPETITIONS_MAX];

static void note(double (*series)[OPTIONS_REPETITIONS_MAX], uint32_t i,
		 const struct load_result *r)
{
	double replies = (double)r->replies;

	series[RPS][i] = replies * 1e9 / (double)r->elapsed_ns;
	series[CPU][i] = (double)r->server_cpu_ns / replies;
	series[BUSY][i] = (double)r->server_cpu_ns / (double)r->elapsed_ns;
	for (uint32_t k = 0; k < LOAD_SERVERS_MAX; k++)
		series[EACH + k][i] = (double)r->each_cpu_ns[k] / replies;
}

/* Ratio and difference need the figures of all contenders of a repetition. */
static void relate(const struct contest *c, series_of *all, uint32_t i)
{
	for (uint32_t k = 0; k < c->contender_count; k++) {
		int base = base_of(c, k);

		all[k][RATIO][i] = all[k][CPU][i] / all[0][CPU][i];
		all[k][DIFF][i] =
			base < 0 ? 0 : all[k][CPU][i] - all[base][CPU][i];
	}
}

static void sum_up(struct contest_cell *cell, series_of *series, uint32_t count)
{
	cell->rps = stats_spread((*series)[RPS], count);
	cell->cpu_ns = stats_spread((*series)[CPU], count);
	cell->busy = stats_spread((*series)[BUSY], count);
	cell->ratio = stats_spread((*series)[RATIO], count);
	cell->diff = stats_spread((*series)[DIFF], count);
	for (uint32_t k = 0; k < LOAD_SERVERS_MAX; k++)
		cell->each_ns[k] = stats_spread((*series)[EACH + k], count);
}

static int run_depth(struct contest *c, uint32_t depth)
{
	static series_of series[CONTEST_CONTENDERS_MAX];
	struct contest_cell cells[CONTEST_CONTENDERS_MAX] = {0};
	struct workload_tally totals[CONTEST_CONTENDERS_MAX] = {0};
	uint32_t repetitions = c->options.repetitions;
	uint32_t count = c->contender_count;

	for (uint32_t i = 0; i < repetitions; i++) {
		for (uint32_t k = 0; k < count; k++) {
			uint32_t idx = i % 2 == 0 ? k : count - 1 - k;
			struct load_result r;

			if (run_one(c, &c->contenders[idx], depth, &r) < 0)
				return -1;
			note(series[idx], i, &r);
			cells[idx].replies += r.replies;
			totals[idx].allowed += r.total.allowed;
			totals[idx].denied += r.total.denied;
		}
		relate(c, series, i);
	}
	for (uint32_t k = 0; k < count; k++) {
		cells[k].contender = &c->contenders[k];
		cells[k].depth = depth;
		cells[k].denied_share = workload_denied_share(&totals[k]);
		sum_up(&cells[k], &series[k], repetitions);
		if (contest_report_cell(c, &cells[k]) < 0)
			return -1;
	}
	if (c->options.plot)
		return contest_report_plot(c, cells);
	return 0;
}

int contest_run(struct contest *c)
{
	check(c->contender_count > 0);
	contest_report_head(c);
	for (uint32_t i = 0; i < c->options.depths_count; i++)
		if (run_depth(c, c->options.depths[i]) < 0)
			return -1;
	return stand_balance(&c->stand);
}
