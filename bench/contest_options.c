/* SPDX-License-Identifier: MIT */
#include "contest_options.h"

#include "load.h"

#include <stdio.h>
#include <string.h>

#define HELP_LEN 4096
#define KEYS_QUICK 2000

static const char help_options[] =
	"\n"
	"  --json             one array of objects instead of a table\n"
	"  --only LIST        only these, and the first, which the ratios are "
	"to\n"
	"  --repetitions N    runs of each server in each cell (5)\n"
	"  --seconds S        measured time of one run (0.3)\n"
	"  --warmup S         time of a run before it (0.1)\n"
	"  --threads N        threads of the load generator (1)\n"
	"  --pin              servers on one CPU, the load on the others\n"
	"  --plot DIR         write CPU time by contender as SVG there, one "
	"chart\n"
	"                     for each depth\n"
	"  --quick            seconds instead of minutes, for a first look:\n"
	"                     2000 keys, 2 short runs; options after it count\n"
	"  --stiled PATH      the daemon (beside this program)\n"
	"  --dir DIR          keep all files there; it must be empty. Else "
	"they\n"
	"                     are made in $TMPDIR, /dev/shm or /tmp and "
	"removed\n"
	"  --help\n"
	"\n"
	"Exit status: 0; 1 when a reply was wrong or a figure made no sense; "
	"2\n"
	"for wrong usage. What is not installed is named and left out.\n"
	"Compare figures of one run only, as ratios.\n";

enum {
	OPT_JSON = OPTIONS_HELP + 1,
	OPT_ONLY,
	OPT_CONNECTIONS,
	OPT_DEPTH,
	OPT_KEYS,
	OPT_REPETITIONS,
	OPT_SECONDS,
	OPT_WARMUP,
	OPT_THREADS,
	OPT_PIN,
	OPT_PLOT,
	OPT_QUICK,
	OPT_STILED,
	OPT_REDIS_CELL,
	OPT_DIR
};

static const struct option table[] = {
	{"json", no_argument, NULL, OPT_JSON},
	{"only", required_argument, NULL, OPT_ONLY},
	{"connections", required_argument, NULL, OPT_CONNECTIONS},
	{"depth", required_argument, NULL, OPT_DEPTH},
	{"keys", required_argument, NULL, OPT_KEYS},
	{"repetitions", required_argument, NULL, OPT_REPETITIONS},
	{"seconds", required_argument, NULL, OPT_SECONDS},
	{"warmup", required_argument, NULL, OPT_WARMUP},
	{"threads", required_argument, NULL, OPT_THREADS},
	{"pin", no_argument, NULL, OPT_PIN},
	{"plot", required_argument, NULL, OPT_PLOT},
	{"quick", no_argument, NULL, OPT_QUICK},
	{"stiled", required_argument, NULL, OPT_STILED},
	{"redis-cell", required_argument, NULL, OPT_REDIS_CELL},
	{"dir", required_argument, NULL, OPT_DIR},
	{"help", no_argument, NULL, OPTIONS_HELP},
	{NULL, 0, NULL, 0},
};

bool contest_options_names(const char *names, const char *name)
{
	size_t len = strlen(name);

	while (names) {
		if (strncmp(names, name, len) == 0 &&
		    (names[len] == ',' || names[len] == '\0'))
			return true;
		names = strchr(names, ',');
		names += names != NULL;
	}
	return false;
}

static bool all_known(const struct contest_kind *kind, const char *only)
{
	char copy[256], *rest = copy, *name;

	if (snprintf(copy, sizeof(copy), "%s", only) >= (int)sizeof(copy))
		return false;
	while ((name = strsep(&rest, ",")))
		if (*name == '\0' || !contest_options_names(kind->names, name))
			return false;
	return true;
}

static void set_quick(struct contest_options *o)
{
	o->keys = KEYS_QUICK;
	o->repetitions = 2;
	o->seconds = 0.1;
	o->warmup_seconds = 0.05;
}

static bool take_option(void *to, int option, const char *value)
{
	struct contest_options *o = to;

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
	case OPT_ONLY:
		o->only = value;
		return all_known(o->kind, value);
	case OPT_CONNECTIONS:
		return options_number(value, LOAD_CONNECTIONS_MAX,
				      &o->connections);
	case OPT_DEPTH:
		return options_list(value, WORKLOAD_DEPTH_MAX, o->depths,
				    &o->depths_count);
	case OPT_KEYS:
		return options_number(value, WORKLOAD_KEYS_MAX, &o->keys);
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
	case OPT_REDIS_CELL:
		o->redis_cell = value;
		return o->kind->takes_redis_cell;
	default:
		o->dir = value;
		return true;
	}
}

int contest_options_parse(struct contest_options *o,
			  const struct contest_kind *kind, int argc,
			  char **argv)
{
	char help[HELP_LEN], depths[64] = "";
	struct options_spec spec = {
		.command = kind->command,
		.help = help,
		.table = table,
		.take = take_option,
	};
	size_t len = 0;
	int r;

	memset(o, 0, sizeof(*o));
	o->kind = kind;
	o->keys = kind->keys;
	o->connections = kind->connections;
	o->repetitions = 5;
	o->seconds = 0.3;
	o->warmup_seconds = 0.1;
	o->threads = 1;
	memcpy(o->depths, kind->depths, sizeof(o->depths));
	o->depths_count = kind->depths_count;

	for (uint32_t i = 0; i < kind->depths_count && len < sizeof(depths);
	     i++)
		len += (size_t)snprintf(depths + len, sizeof(depths) - len,
					"%s%u", i > 0 ? "," : "",
					kind->depths[i]);
	snprintf(help, sizeof(help),
		 "Usage: stile-bench %s [OPTION]...\n\n%s\n  %s\n"
		 "\n"
		 "  --keys N           keys, 100 to an organization (%u)\n"
		 "  --connections N    connections, each with one batch under "
		 "way "
		 "(%u)\n"
		 "  --depth LIST       requests in a batch (%s)%s",
		 kind->command, kind->sentence, kind->names, kind->keys,
		 kind->connections, depths, help_options);
	r = options_parse(&spec, o, argc, argv);
	if (r != 0)
		return r;
	if (o->threads > o->connections) {
		fprintf(stderr, "stile-bench: more --threads than "
				"--connections\n");
		return -1;
	}
	if (o->stiled[0] == '\0')
		options_find_stiled(o->stiled, sizeof(o->stiled));
	return 0;
}
