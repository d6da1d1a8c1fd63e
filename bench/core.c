/* SPDX-License-Identifier: MIT */
#include "core.h"

#include "core_run.h"
#include "options.h"
#include "report.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ERROR_LEN 512
#define STAGES_MAX 96
/* More than this share of the machine's memory is not taken unasked. */
#define MEMORY_SHARE 2

static const char help[] =
	"Usage: stile-bench core [OPTION]...\n"
	"\n"
	"Runs each stage of a check by itself in this process, without "
	"sockets\n"
	"and kernel, and tells what an operation costs. Every result is "
	"checked.\n"
	"\n"
	"  --json             one array of objects instead of a table\n"
	"  --stage NAME       only those that begin so, e.g. decide; may be "
	"given\n"
	"                     several times\n"
	"  --threads LIST     threads (1, and the number of CPUs)\n"
	"  --arena PLACE      tmpfs: as stiled has it; private: this "
	"process's\n"
	"                     memory (tmpfs)\n"
	"  --orgs N           organizations to spread over (1000000)\n"
	"  --repetitions N    of each stage, in turns (7)\n"
	"  --seconds S        measured time of one run (0.1)\n"
	"  --warmup S         time of a run before it (0.02)\n"
	"  --pin              each thread on a CPU of its own\n"
	"  --quick            10000 organizations, 3 short runs; options after "
	"it\n"
	"                     count\n"
	"  --help\n"
	"\n"
	"Exit status: 0; 1 when a result was wrong or a figure made no sense; "
	"2\n"
	"for wrong usage.\n";

struct core_options {
	bool json, pin;
	enum core_place place;
	const char *stages[STAGES_MAX]; /* none: all */
	uint32_t stages_count;
	uint32_t threads[OPTIONS_LIST_MAX], threads_count;
	uint32_t orgs, repetitions;
	double seconds, warmup_seconds;
};

struct core {
	struct core_options options;
	struct machine machine;
	struct core_world world;
	/* ns, rate and speed-up, by stage, threads and repetition */
	double ns[STAGES_MAX][OPTIONS_LIST_MAX][OPTIONS_REPETITIONS_MAX];
	double rate[STAGES_MAX][OPTIONS_LIST_MAX][OPTIONS_REPETITIONS_MAX];
	double speedup[STAGES_MAX][OPTIONS_LIST_MAX][OPTIONS_REPETITIONS_MAX];
	/* what it would be on CPUs that nobody else wants: by CPU time */
	double scaling[STAGES_MAX][OPTIONS_LIST_MAX][OPTIONS_REPETITIONS_MAX];
	/* ns of a stage to those of the bare claim of as many words */
	double ratio[STAGES_MAX][OPTIONS_LIST_MAX][OPTIONS_REPETITIONS_MAX];
	char error[ERROR_LEN];
};

enum {
	OPT_JSON = OPTIONS_HELP + 1,
	OPT_STAGE,
	OPT_ARENA,
	OPT_THREADS,
	OPT_ORGS,
	OPT_REPETITIONS,
	OPT_SECONDS,
	OPT_WARMUP,
	OPT_PIN,
	OPT_QUICK
};

static const struct option long_options[] = {
	{"json", no_argument, NULL, OPT_JSON},
	{"stage", required_argument, NULL, OPT_STAGE},
	{"arena", required_argument, NULL, OPT_ARENA},
	{"threads", required_argument, NULL, OPT_THREADS},
	{"orgs", required_argument, NULL, OPT_ORGS},
	{"repetitions", required_argument, NULL, OPT_REPETITIONS},
	{"seconds", required_argument, NULL, OPT_SECONDS},
	{"warmup", required_argument, NULL, OPT_WARMUP},
	{"pin", no_argument, NULL, OPT_PIN},
	{"quick", no_argument, NULL, OPT_QUICK},
	{"help", no_argument, NULL, OPTIONS_HELP},
	{NULL, 0, NULL, 0},
};

static bool named(const struct core_options *o, const struct core_stage *s)
{
	for (uint32_t i = 0; i < o->stages_count; i++)
		if (strncmp(s->name, o->stages[i], strlen(o->stages[i])) == 0)
			return true;
	return o->stages_count == 0;
}

/* Those that were named, and what they are compared with. */
static bool chosen(const struct core_options *o, const struct core_stage *s)
{
	for (size_t i = 0; i < core_stages_count; i++) {
		int reference = core_stage_reference(&core_stages[i]);

		if (reference >= 0 && &core_stages[reference] == s &&
		    named(o, &core_stages[i]))
			return true;
	}
	return named(o, s);
}

static bool take_stage(const char *value, struct core_options *o)
{
	bool any = false;

	for (size_t i = 0; i < core_stages_count; i++)
		any |= strncmp(core_stages[i].name, value, strlen(value)) == 0;
	if (!any || o->stages_count == STAGES_MAX)
		return false;
	o->stages[o->stages_count++] = value;
	return true;
}

static const char *place_name(enum core_place place)
{
	return place == CORE_TMPFS ? "tmpfs" : "private";
}

static bool take_place(const char *value, enum core_place *ret)
{
	*ret = strcmp(value, "private") == 0 ? CORE_PRIVATE : CORE_TMPFS;
	return strcmp(value, place_name(*ret)) == 0;
}

static bool take_option(void *to, int option, const char *value)
{
	struct core_options *o = to;

	switch (option) {
	case OPT_JSON:
		o->json = true;
		return true;
	case OPT_STAGE:
		return take_stage(value, o);
	case OPT_ARENA:
		return take_place(value, &o->place);
	case OPT_THREADS:
		return options_list(value, WORKERS_MAX, o->threads,
				    &o->threads_count);
	case OPT_ORGS:
		return options_number(value, CORE_ORGS_MAX, &o->orgs) &&
		       o->orgs >= CORE_ORGS_MIN;
	case OPT_REPETITIONS:
		return options_number(value, OPTIONS_REPETITIONS_MAX,
				      &o->repetitions);
	case OPT_SECONDS:
		return options_seconds(value, 0.001, &o->seconds);
	case OPT_WARMUP:
		return options_seconds(value, 0, &o->warmup_seconds);
	case OPT_PIN:
		o->pin = true;
		return true;
	default:
		o->orgs = 10000;
		o->repetitions = 3;
		o->seconds = 0.02;
		o->warmup_seconds = 0.005;
		return true;
	}
}

static int parse(struct core_options *o, unsigned int cpus, int argc,
		 char **argv)
{
	static const struct options_spec spec = {
		.command = "core",
		.help = help,
		.table = long_options,
		.take = take_option,
	};

	o->orgs = 1000000;
	o->repetitions = 7;
	o->seconds = 0.1;
	o->warmup_seconds = 0.02;
	o->threads[o->threads_count++] = 1;
	if (cpus > 1)
		o->threads[o->threads_count++] =
			cpus < WORKERS_MAX ? cpus : WORKERS_MAX;
	return options_parse(&spec, o, argc, argv);
}

static int make_world(struct core *c)
{
	long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
	uint64_t bytes = core_world_bytes(c->options.orgs);

	if (pages > 0 && page > 0 &&
	    bytes > (uint64_t)pages * (uint64_t)page / MEMORY_SHARE) {
		snprintf(c->error, ERROR_LEN,
			 "%" PRIu32 " organizations take %" PRIu64
			 " MiB, more than half of this machine's memory; use "
			 "a smaller --orgs",
			 c->options.orgs, bytes >> 20);
		return -1;
	}
	return core_world_init(&c->world, c->options.orgs, c->options.place,
			       c->error, ERROR_LEN) < 0
		       ? -1
		       : 0;
}

/* Which of the --threads is the one that the others are compared with: of
 * the same repetition; -1 = none. */
static int alone(const struct core *c)
{
	for (uint32_t k = 0; k < c->options.threads_count; k++)
		if (c->options.threads[k] == 1)
			return (int)k;
	return -1;
}

static int run_stage(struct core *c, size_t stage, uint32_t repetition)
{
	const struct core_options *o = &c->options;
	struct core_run_options run = {
		.pin = o->pin,
		.warmup_ns = (uint64_t)(o->warmup_seconds * 1e9),
		.measure_ns = (uint64_t)(o->seconds * 1e9),
	};
	struct core_run_result result;
	int one = alone(c);
	int reference = core_stage_reference(&core_stages[stage]);

	for (uint32_t k = 0; k < o->threads_count; k++) {
		run.threads = o->threads[k];
		if (core_run(&c->world, &core_stages[stage], &run, &result,
			     c->error, ERROR_LEN) < 0)
			return -1;
		c->ns[stage][k][repetition] = result.ns;
		c->rate[stage][k][repetition] = result.rate;
		if (reference >= 0)
			c->ratio[stage][k][repetition] =
				result.ns / c->ns[reference][k][repetition];
	}
	for (uint32_t k = 0; one >= 0 && k < o->threads_count; k++) {
		c->speedup[stage][k][repetition] =
			c->rate[stage][k][repetition] /
			c->rate[stage][one][repetition];
		c->scaling[stage][k][repetition] =
			o->threads[k] * c->ns[stage][one][repetition] /
			c->ns[stage][k][repetition];
	}
	return 0;
}

/* All stages in turns, so that what drifts hits them alike. */
static int measure(struct core *c)
{
	for (uint32_t i = 0; i < c->options.repetitions; i++) {
		bool full = false;

		core_world_rest(&c->world);
		for (size_t k = 0; k < core_stages_count; k++) {
			if (!chosen(&c->options, &core_stages[k]))
				continue;
			if (core_stages[k].denied && !full)
				core_world_fill(&c->world);
			full = core_stages[k].denied;
			if (run_stage(c, k, i) < 0)
				return -1;
		}
	}
	return 0;
}

static const char *spread_name(const struct core_stage *s)
{
	return s->hot ? "hot" : "spread";
}

static void print_head(const struct core *c)
{
	const struct core_options *o = &c->options;

	report_machine(&c->machine);
	printf("world    %" PRIu32 " organizations with a key each, and a hot "
	       "one with %u keys; arena: %s\n"
	       "method   in process, %s; medians of %" PRIu32
	       " runs of %.3f s each, in turns; ns: thread CPU time\n\n",
	       o->orgs, CORE_HOT_KEYS, place_name(o->place),
	       o->pin ? "a CPU for each thread" : "threads float",
	       o->repetitions, o->seconds);
	printf("%-16s %-6s %5s %7s | %8s %17s | %10s %8s %8s %8s\n", "stage",
	       "orgs", "batch", "threads", "ns", "min..max", "M/s", "speed-up",
	       "by CPU", "x claim");
}

static void print_row(const struct core *c, size_t stage, uint32_t k)
{
	const struct core_stage *s = &core_stages[stage];
	uint32_t n = c->options.repetitions;
	struct spread ns = stats_spread(c->ns[stage][k], n);
	char range[48], speedup[32] = "", ratio[16] = "";

	snprintf(range, sizeof(range), "%.1f..%.1f", ns.min, ns.max);
	if (alone(c) >= 0)
		snprintf(speedup, sizeof(speedup), "%8.2f %8.2f",
			 stats_spread(c->speedup[stage][k], n).median,
			 stats_spread(c->scaling[stage][k], n).median);
	if (core_stage_reference(s) >= 0)
		snprintf(ratio, sizeof(ratio), "%.2f",
			 stats_spread(c->ratio[stage][k], n).median);
	printf("%-16s %-6s %5u %7" PRIu32 " | %8.1f %17s | %10.2f %17s %8s\n",
	       s->name, spread_name(s), s->batch, c->options.threads[k],
	       ns.median, range,
	       stats_spread(c->rate[stage][k], n).median / 1e6, speedup, ratio);
}

static json_t *row_json(const struct core *c, size_t stage, uint32_t k)
{
	const struct core_stage *s = &core_stages[stage];
	const struct core_options *o = &c->options;
	json_t *row = json_pack(
		"{s:s, s:s, s:i, s:I, s:I, s:s, s:I, s:f, s:b}", "stage",
		s->name, "orgs", spread_name(s), "batch", (int)s->batch,
		"threads", (json_int_t)o->threads[k], "org_count",
		(json_int_t)o->orgs, "arena", place_name(o->place),
		"repetitions", (json_int_t)o->repetitions, "seconds",
		o->seconds, "pinned", o->pin);

	if (!row)
		return NULL;
	report_spread(row, "ns", stats_spread(c->ns[stage][k], o->repetitions),
		      0.01);
	report_spread(row, "per_second",
		      stats_spread(c->rate[stage][k], o->repetitions), 1);
	if (alone(c) >= 0) {
		report_spread(
			row, "speedup",
			stats_spread(c->speedup[stage][k], o->repetitions),
			1e-4);
		report_spread(
			row, "cpu_speedup",
			stats_spread(c->scaling[stage][k], o->repetitions),
			1e-4);
	}
	if (core_stage_reference(s) >= 0) {
		json_object_set_new(
			row, "reference",
			json_string(core_stages[core_stage_reference(s)].name));
		report_spread(row, "ratio",
			      stats_spread(c->ratio[stage][k], o->repetitions),
			      1e-4);
	}
	report_set_machine(row, &c->machine);
	return row;
}

static int report(struct core *c)
{
	const struct core_options *o = &c->options;
	json_t *rows = json_array();
	bool fine = true;

	if (!o->json)
		print_head(c);
	for (size_t i = 0; i < core_stages_count; i++) {
		if (!chosen(o, &core_stages[i]))
			continue;
		for (uint32_t k = 0; k < o->threads_count && fine; k++) {
			if (o->json)
				fine = json_array_append_new(
					       rows, row_json(c, i, k)) == 0;
			else
				print_row(c, i, k);
		}
	}
	if (fine && o->json)
		fine = report_dump(rows);
	json_decref(rows);
	if (!fine)
		snprintf(c->error, ERROR_LEN, "the figures cannot be written");
	return fine ? 0 : -1;
}

int core_main(int argc, char **argv)
{
	struct core *c = calloc(1, sizeof(*c));
	int r;

	if (!c)
		return 1;
	machine_read(&c->machine);
	r = parse(&c->options, c->machine.cpus, argc, argv);
	if (r != 0) {
		free(c);
		return r < 0 ? 2 : 0;
	}
	r = make_world(c);
	if (r == 0) {
		r = measure(c);
		core_world_deinit(&c->world);
	}
	if (r == 0)
		r = report(c);
	if (r < 0)
		fprintf(stderr, "stile-bench: %s\n", c->error);
	free(c);
	return r < 0 ? 1 : 0;
}
