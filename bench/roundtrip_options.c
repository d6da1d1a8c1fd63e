/* SPDX-License-Identifier: MIT */
#include "roundtrip_options.h"

#include <stdio.h>
#include <string.h>

#define SPIN_MAX_US 1000

static const char help[] =
	"Usage: stile-bench roundtrip [OPTION]...\n"
	"\n"
	"One connection with one request in flight: how long from its sending\n"
	"until its reply, by a blocking echo, by the null server, by stiled "
	"with\n"
	"one pinned worker, and by one in latency mode, in turns. Every reply\n"
	"is checked; a wrong one fails the run.\n"
	"\n"
	"  --json             one array of objects instead of a table\n"
	"  --place LIST       same: client and server on one CPU; apart: on "
	"two,\n"
	"                     and the client sleeps; apart-spin: and it does "
	"not\n"
	"                     (all that there are CPUs for)\n"
	"  --spin US          of the one in latency mode (50)\n"
	"  --keys N           keys, 100 to an organization (1000)\n"
	"  --mode MODE        raw: the key is sent; hashed: its SHA-256 (raw)\n"
	"  --repetitions N    runs of each server in each place (21)\n"
	"  --seconds S        measured time of one run (0.1)\n"
	"  --warmup S         time of a run before it (0.02)\n"
	"  --quick            3 short runs; options after it count\n"
	"  --stiled PATH      the daemon (beside this program)\n"
	"  --help\n"
	"\n"
	"Exit status: 0; 1 when a reply was wrong or a figure made no sense; "
	"2\n"
	"for wrong usage. Compare figures of one run only, as ratios.\n";

const char *const roundtrip_place_names[ROUNDTRIP_PLACES] = {
	[ROUNDTRIP_SAME] = "same",
	[ROUNDTRIP_APART] = "apart",
	[ROUNDTRIP_APART_SPIN] = "apart-spin",
};

enum {
	OPT_JSON = OPTIONS_HELP + 1,
	OPT_PLACE,
	OPT_SPIN,
	OPT_KEYS,
	OPT_MODE,
	OPT_REPETITIONS,
	OPT_SECONDS,
	OPT_WARMUP,
	OPT_QUICK,
	OPT_STILED
};

static const struct option long_options[] = {
	{"json", no_argument, NULL, OPT_JSON},
	{"place", required_argument, NULL, OPT_PLACE},
	{"spin", required_argument, NULL, OPT_SPIN},
	{"keys", required_argument, NULL, OPT_KEYS},
	{"mode", required_argument, NULL, OPT_MODE},
	{"repetitions", required_argument, NULL, OPT_REPETITIONS},
	{"seconds", required_argument, NULL, OPT_SECONDS},
	{"warmup", required_argument, NULL, OPT_WARMUP},
	{"quick", no_argument, NULL, OPT_QUICK},
	{"stiled", required_argument, NULL, OPT_STILED},
	{"help", no_argument, NULL, OPTIONS_HELP},
	{NULL, 0, NULL, 0},
};

static bool take_place(const char *name, bool places[ROUNDTRIP_PLACES])
{
	for (int i = 0; i < ROUNDTRIP_PLACES; i++) {
		if (strcmp(roundtrip_place_names[i], name) == 0) {
			places[i] = true;
			return true;
		}
	}
	return false;
}

static bool take_places(const char *value, bool places[ROUNDTRIP_PLACES])
{
	char copy[64], *rest = copy, *name;

	memset(places, 0, ROUNDTRIP_PLACES * sizeof(*places));
	if (!options_path(value, copy, sizeof(copy)))
		return false;
	while ((name = strsep(&rest, ",")))
		if (!take_place(name, places))
			return false;
	return true;
}

static bool take_mode(const char *value, enum workload_mode *ret)
{
	enum workload_mode modes[2];
	uint32_t count;

	if (!options_modes(value, modes, &count) || count > 1)
		return false;
	*ret = modes[0];
	return true;
}

static bool take_option(void *to, int option, const char *value)
{
	struct roundtrip_options *o = to;

	switch (option) {
	case OPT_JSON:
		o->json = true;
		return true;
	case OPT_PLACE:
		return take_places(value, o->places);
	case OPT_SPIN:
		return options_number(value, SPIN_MAX_US, &o->spin_us);
	case OPT_KEYS:
		return options_number(value, WORKLOAD_KEYS_MAX, &o->keys);
	case OPT_MODE:
		return take_mode(value, &o->mode);
	case OPT_REPETITIONS:
		return options_number(value, OPTIONS_REPETITIONS_MAX,
				      &o->repetitions);
	case OPT_SECONDS:
		return options_seconds(value, 0.01, &o->seconds);
	case OPT_WARMUP:
		return options_seconds(value, 0, &o->warmup_seconds);
	case OPT_QUICK:
		o->repetitions = 3;
		o->seconds = 0.05;
		o->warmup_seconds = 0.01;
		return true;
	default:
		return options_path(value, o->stiled, sizeof(o->stiled));
	}
}

int roundtrip_options_parse(struct roundtrip_options *o, unsigned int cpus,
			    int argc, char **argv)
{
	static const struct options_spec spec = {
		.command = "roundtrip",
		.help = help,
		.table = long_options,
		.take = take_option,
	};
	int r;

	memset(o, 0, sizeof(*o));
	o->keys = 1000;
	o->repetitions = 21;
	o->spin_us = 50;
	o->seconds = 0.1;
	o->warmup_seconds = 0.02;
	for (int i = 0; i < ROUNDTRIP_PLACES; i++)
		o->places[i] = i == ROUNDTRIP_SAME || cpus >= 2;
	r = options_parse(&spec, o, argc, argv);
	if (r != 0)
		return r;
	if (cpus < 2 &&
	    (o->places[ROUNDTRIP_APART] || o->places[ROUNDTRIP_APART_SPIN])) {
		fprintf(stderr, "stile-bench: apart needs two CPUs\n");
		return -1;
	}
	if (o->stiled[0] == '\0')
		options_find_stiled(o->stiled, sizeof(o->stiled));
	return 0;
}
