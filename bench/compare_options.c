/* SPDX-License-Identifier: MIT */
#include "compare_options.h"

#include "load.h"

#include <stdio.h>
#include <string.h>

static const char help[] =
	"Usage: stile-bench compare [OPTION]...\n"
	"\n"
	"Runs the same load against a null server, which answers a constant,\n"
	"and against stiled with one worker, in turns, and tells what a check\n"
	"costs beyond moving its bytes. Every reply is checked; a wrong one\n"
	"fails the run.\n"
	"\n"
	"  --json             one array of objects instead of a table\n"
	"  --connections LIST connections, each with one batch under way (64)\n"
	"  --depth LIST       requests in a batch (1,8,32,128)\n"
	"  --keys N           keys, 100 to an organization (1000000)\n"
	"  --mode LIST        raw: the key is sent; hashed: its SHA-256\n"
	"                     (raw,hashed)\n"
	"  --repetitions N    runs of each server in each cell (7)\n"
	"  --seconds S        measured time of one run (0.5)\n"
	"  --warmup S         time of a run before it (0.1)\n"
	"  --threads N        threads of the load generator (1)\n"
	"  --pin              servers on one CPU, the load on the others\n"
	"  --plot DIR         write the throughput by depth as SVG there\n"
	"  --quick            seconds instead of minutes, for a first look:\n"
	"                     20000 keys, depth 1 and 32, 3 short runs; "
	"options\n"
	"                     after it count\n"
	"  --stiled PATH      the daemon (beside this program)\n"
	"  --dir DIR          keep the daemon's files there; it must be "
	"empty.\n"
	"                     Else they are made in $TMPDIR, /dev/shm or /tmp "
	"and\n"
	"                     removed\n"
	"  --help\n"
	"\n"
	"Exit status: 0; 1 when a reply was wrong or a figure made no sense; "
	"2\n"
	"for wrong usage. Compare figures of one run only, as ratios.\n";

static void set_depths(struct compare_options *o, const uint32_t *depths,
		       uint32_t count)
{
	memcpy(o->depths, depths, count * sizeof(*depths));
	o->depths_count = count;
}

static void set_defaults(struct compare_options *o)
{
	static const uint32_t depths[] = {1, 8, 32, 128};

	memset(o, 0, sizeof(*o));
	o->keys = 1000000;
	o->repetitions = 7;
	o->seconds = 0.5;
	o->warmup_seconds = 0.1;
	o->threads = 1;
	o->connections[0] = 64;
	o->connections_count = 1;
	set_depths(o, depths, sizeof(depths) / sizeof(depths[0]));
	options_modes("raw,hashed", o->modes, &o->modes_count);
}

static void set_quick(struct compare_options *o)
{
	static const uint32_t depths[] = {1, 32};

	o->keys = 20000;
	o->repetitions = 3;
	o->seconds = 0.1;
	o->warmup_seconds = 0.05;
	set_depths(o, depths, sizeof(depths) / sizeof(depths[0]));
}

enum {
	OPT_JSON = OPTIONS_HELP + 1,
	OPT_CONNECTIONS,
	OPT_DEPTH,
	OPT_KEYS,
	OPT_MODE,
	OPT_REPETITIONS,
	OPT_SECONDS,
	OPT_WARMUP,
	OPT_THREADS,
	OPT_PIN,
	OPT_PLOT,
	OPT_QUICK,
	OPT_STILED,
	OPT_DIR
};

static const struct option long_options[] = {
	{"json", no_argument, NULL, OPT_JSON},
	{"connections", required_argument, NULL, OPT_CONNECTIONS},
	{"depth", required_argument, NULL, OPT_DEPTH},
	{"keys", required_argument, NULL, OPT_KEYS},
	{"mode", required_argument, NULL, OPT_MODE},
	{"repetitions", required_argument, NULL, OPT_REPETITIONS},
	{"seconds", required_argument, NULL, OPT_SECONDS},
	{"warmup", required_argument, NULL, OPT_WARMUP},
	{"threads", required_argument, NULL, OPT_THREADS},
	{"pin", no_argument, NULL, OPT_PIN},
	{"plot", required_argument, NULL, OPT_PLOT},
	{"quick", no_argument, NULL, OPT_QUICK},
	{"stiled", required_argument, NULL, OPT_STILED},
	{"dir", required_argument, NULL, OPT_DIR},
	{"help", no_argument, NULL, OPTIONS_HELP},
	{NULL, 0, NULL, 0},
};

static bool take_option(void *to, int option, const char *value)
{
	struct compare_options *o = to;

	switch (option) {
	case OPT_JSON:
		o->json = true;
		return true;
	case OPT_PIN:
		o->pin = true;
		return true;
	case OPT_PLOT:
		o->plot = value;
		return true;
	case OPT_QUICK:
		set_quick(o);
		return true;
	case OPT_CONNECTIONS:
		return options_list(value, LOAD_CONNECTIONS_MAX, o->connections,
				    &o->connections_count);
	case OPT_DEPTH:
		return options_list(value, WORKLOAD_DEPTH_MAX, o->depths,
				    &o->depths_count);
	case OPT_KEYS:
		return options_number(value, WORKLOAD_KEYS_MAX, &o->keys);
	case OPT_MODE:
		return options_modes(value, o->modes, &o->modes_count);
	case OPT_REPETITIONS:
		return options_number(value, OPTIONS_REPETITIONS_MAX,
				      &o->repetitions);
	case OPT_SECONDS:
		return options_seconds(value, 0.05, &o->seconds);
	case OPT_WARMUP:
		return options_seconds(value, 0, &o->warmup_seconds);
	case OPT_THREADS:
		return options_number(value, LOAD_THREADS_MAX, &o->threads);
	case OPT_STILED:
		return options_path(value, o->stiled, sizeof(o->stiled));
	default:
		o->dir = value;
		return true;
	}
}

int compare_options_parse(struct compare_options *o, int argc, char **argv)
{
	static const struct options_spec spec = {
		.command = "compare",
		.help = help,
		.table = long_options,
		.take = take_option,
	};
	int r;

	set_defaults(o);
	r = options_parse(&spec, o, argc, argv);
	if (r != 0)
		return r;
	for (uint32_t i = 0; i < o->connections_count; i++) {
		if (o->threads > o->connections[i]) {
			fprintf(stderr, "stile-bench: more --threads than "
					"--connections\n");
			return -1;
		}
	}
	if (o->stiled[0] == '\0')
		options_find_stiled(o->stiled, sizeof(o->stiled));
	return 0;
}
