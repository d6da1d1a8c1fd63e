/* SPDX-License-Identifier: MIT */
#include "latency_options.h"

#include "load.h"
#include "stand.h"

#include <stdio.h>
#include <string.h>

static const char help[] =
	"Usage: stile-bench latency [OPTION]...\n"
	"\n"
	"Sends requests at given rates, whatever the server does, to a null\n"
	"server and to stiled with one worker, in turns, and tells how long\n"
	"replies took from the instant at which each request was due. Every\n"
	"reply is checked; a wrong one fails the run.\n"
	"\n"
	"  --json             one array of objects instead of a table\n"
	"  --rate LIST        requests a second (10000,50000,100000)\n"
	"  --arrivals KIND    poisson: independent callers; fixed: equal gaps\n"
	"                     (poisson)\n"
	"  --connections N    which take turns (64)\n"
	"  --keys N           keys (1000000)\n"
	"  --keys-per-org N   keys of an organization (100)\n"
	"  --snapshot         instead of the null server: stiled while it "
	"writes\n"
	"                     snapshots, one after the other, against stiled "
	"while\n"
	"                     it writes none\n"
	"  --mode LIST        raw: the key is sent; hashed: its SHA-256 (raw)\n"
	"  --repetitions N    runs of each server in each cell (7)\n"
	"  --seconds S        measured time of one run (1)\n"
	"  --warmup S         time of a run before it (0.2)\n"
	"  --wait HOW         spin: the generator never sleeps; sleep: it "
	"does,\n"
	"                     and its wake-ups are part of each figure (spin\n"
	"                     when there are two CPUs)\n"
	"  --lag-max US       fail when the generator itself is later than "
	"this\n"
	"                     for more than 1 % of its requests (1000)\n"
	"  --pin              servers on one CPU, the load on the others\n"
	"  --plot DIR         write the percentiles as SVG there\n"
	"  --quick            seconds instead of minutes, for a first look:\n"
	"                     20000 keys, one rate, 3 short runs; options "
	"after\n"
	"                     it count\n"
	"  --stiled PATH      the daemon (beside this program)\n"
	"  --dir DIR          keep the daemon's files there; it must be "
	"empty\n"
	"  --help\n"
	"\n"
	"Exit status: 0; 1 when a reply was wrong or a figure made no sense; "
	"2\n"
	"for wrong usage. Compare figures of one run only, as ratios.\n";

enum {
	OPT_JSON = OPTIONS_HELP + 1,
	OPT_RATE,
	OPT_ARRIVALS,
	OPT_CONNECTIONS,
	OPT_KEYS,
	OPT_KEYS_PER_ORG,
	OPT_SNAPSHOT,
	OPT_MODE,
	OPT_REPETITIONS,
	OPT_SECONDS,
	OPT_WARMUP,
	OPT_WAIT,
	OPT_LAG_MAX,
	OPT_PIN,
	OPT_PLOT,
	OPT_QUICK,
	OPT_STILED,
	OPT_DIR
};

static const struct option long_options[] = {
	{"json", no_argument, NULL, OPT_JSON},
	{"rate", required_argument, NULL, OPT_RATE},
	{"arrivals", required_argument, NULL, OPT_ARRIVALS},
	{"connections", required_argument, NULL, OPT_CONNECTIONS},
	{"keys", required_argument, NULL, OPT_KEYS},
	{"keys-per-org", required_argument, NULL, OPT_KEYS_PER_ORG},
	{"snapshot", no_argument, NULL, OPT_SNAPSHOT},
	{"mode", required_argument, NULL, OPT_MODE},
	{"repetitions", required_argument, NULL, OPT_REPETITIONS},
	{"seconds", required_argument, NULL, OPT_SECONDS},
	{"warmup", required_argument, NULL, OPT_WARMUP},
	{"wait", required_argument, NULL, OPT_WAIT},
	{"lag-max", required_argument, NULL, OPT_LAG_MAX},
	{"pin", no_argument, NULL, OPT_PIN},
	{"plot", required_argument, NULL, OPT_PLOT},
	{"quick", no_argument, NULL, OPT_QUICK},
	{"stiled", required_argument, NULL, OPT_STILED},
	{"dir", required_argument, NULL, OPT_DIR},
	{"help", no_argument, NULL, OPTIONS_HELP},
	{NULL, 0, NULL, 0},
};

static void set_quick(struct latency_options *o)
{
	o->keys = 20000;
	o->repetitions = 3;
	o->seconds = 0.2;
	o->warmup_seconds = 0.05;
	o->rates[0] = 20000;
	o->rates_count = 1;
}

static bool take_arrivals(const char *value, enum schedule_kind *ret)
{
	bool fixed = strcmp(value, "fixed") == 0;

	*ret = fixed ? SCHEDULE_FIXED : SCHEDULE_POISSON;
	return fixed || strcmp(value, "poisson") == 0;
}

static bool take_wait(const char *value, enum latency_wait *ret)
{
	bool spin = strcmp(value, "spin") == 0;

	*ret = spin ? LATENCY_SPIN : LATENCY_SLEEP;
	return spin || strcmp(value, "sleep") == 0;
}

static bool take_option(void *to, int option, const char *value)
{
	struct latency_options *o = to;

	switch (option) {
	case OPT_JSON:
		o->json = true;
		return true;
	case OPT_RATE:
		return options_list(value, SCHEDULE_ARRIVALS_MAX, o->rates,
				    &o->rates_count);
	case OPT_ARRIVALS:
		return take_arrivals(value, &o->arrivals);
	case OPT_CONNECTIONS:
		return options_number(value, LOAD_CONNECTIONS_MAX,
				      &o->connections);
	case OPT_KEYS:
		return options_number(value, WORKLOAD_KEYS_MAX, &o->keys);
	case OPT_KEYS_PER_ORG:
		return options_number(value, WORKLOAD_KEYS_MAX,
				      &o->keys_per_org);
	case OPT_SNAPSHOT:
		o->snapshot = true;
		return true;
	case OPT_MODE:
		return options_modes(value, o->modes, &o->modes_count);
	case OPT_REPETITIONS:
		return options_number(value, OPTIONS_REPETITIONS_MAX,
				      &o->repetitions);
	case OPT_SECONDS:
		return options_seconds(value, 0.05, &o->seconds);
	case OPT_WARMUP:
		return options_seconds(value, 0, &o->warmup_seconds);
	case OPT_WAIT:
		return take_wait(value, &o->wait);
	case OPT_LAG_MAX:
		return options_number(value, 60000000, &o->lag_max_us);
	case OPT_PIN:
		o->pin = true;
		return true;
	case OPT_PLOT:
		o->plot = value;
		return true;
	case OPT_QUICK:
		set_quick(o);
		return true;
	case OPT_STILED:
		return options_path(value, o->stiled, sizeof(o->stiled));
	default:
		o->dir = value;
		return true;
	}
}

/* A schedule is laid down as a whole: it has to fit, and to hold something. */
static bool rates_fit(const struct latency_options *o)
{
	for (uint32_t i = 0; i < o->rates_count; i++) {
		if (o->rates[i] * (o->seconds + o->warmup_seconds) >
		    (double)SCHEDULE_ARRIVALS_MAX) {
			fprintf(stderr,
				"stile-bench: a rate of %u for %.1f s is more "
				"than %u requests in a run\n",
				(unsigned)o->rates[i],
				o->seconds + o->warmup_seconds,
				(unsigned)SCHEDULE_ARRIVALS_MAX);
			return false;
		}
		if (o->rates[i] * o->seconds < 10) {
			fprintf(stderr,
				"stile-bench: a rate of %u is less than ten "
				"requests in %.2f s\n",
				(unsigned)o->rates[i], o->seconds);
			return false;
		}
	}
	return true;
}

int latency_options_parse(struct latency_options *o, int argc, char **argv)
{
	static const struct options_spec spec = {
		.command = "latency",
		.help = help,
		.table = long_options,
		.take = take_option,
	};
	int r;

	memset(o, 0, sizeof(*o));
	o->keys = 1000000;
	o->keys_per_org = STAND_KEYS_PER_ORG;
	o->repetitions = 7;
	o->connections = 64;
	o->lag_max_us = 1000;
	o->seconds = 1;
	o->warmup_seconds = 0.2;
	options_list("10000,50000,100000", SCHEDULE_ARRIVALS_MAX, o->rates,
		     &o->rates_count);
	options_modes("raw", o->modes, &o->modes_count);
	r = options_parse(&spec, o, argc, argv);
	if (r != 0)
		return r;
	if (!rates_fit(o))
		return -1;
	if (o->stiled[0] == '\0')
		options_find_stiled(o->stiled, sizeof(o->stiled));
	return 0;
}
