/* SPDX-License-Identifier: MIT */
#include "compare_options.h"

#include "load.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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

static bool parse_number(const char *text, unsigned long max, uint32_t *ret)
{
	char *end;
	unsigned long v;

	errno = 0;
	v = strtoul(text, &end, 10);
	if (errno != 0 || end == text || *end != '\0' || text[0] == '-' ||
	    v == 0 || v > max)
		return false;
	*ret = (uint32_t)v;
	return true;
}

static bool parse_seconds(const char *text, double min, double *ret)
{
	char *end;
	double v;

	errno = 0;
	v = strtod(text, &end);
	if (errno != 0 || end == text || *end != '\0' ||
	    !(v >= min && v <= COMPARE_SECONDS_MAX))
		return false;
	*ret = v;
	return true;
}

static bool parse_list(const char *text, unsigned long max, uint32_t *ret,
		       uint32_t *ret_count)
{
	char copy[256], *rest = copy, *item;
	uint32_t count = 0;
	size_t len = strlen(text);

	if (len >= sizeof(copy))
		return false;
	memcpy(copy, text, len + 1);
	while ((item = strsep(&rest, ","))) {
		if (count == COMPARE_LIST_MAX ||
		    !parse_number(item, max, &ret[count]))
			return false;
		count++;
	}
	*ret_count = count;
	return count > 0;
}

static bool parse_modes(const char *text, struct compare_options *o)
{
	o->modes_count = 0;
	if (strcmp(text, "raw") == 0 || strcmp(text, "raw,hashed") == 0)
		o->modes[o->modes_count++] = WORKLOAD_RAW;
	if (strcmp(text, "hashed") == 0 || strcmp(text, "raw,hashed") == 0)
		o->modes[o->modes_count++] = WORKLOAD_HASHED;
	return o->modes_count > 0;
}

/* Beside this program, where `tools/build` leaves both; or where meson builds
 * them. */
static void find_stiled(char *out, size_t out_len)
{
	static const char *const places[] = {"stiled", "../src/stiled"};
	char self[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	char *slash;

	self[n > 0 ? n : 0] = '\0';
	slash = strrchr(self, '/');
	if (slash)
		*slash = '\0';
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		int len = snprintf(out, out_len, "%s/%s", self, places[i]);

		if (len < (int)out_len && access(out, X_OK) == 0)
			return;
	}
}

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
	parse_modes("raw,hashed", o);
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
	OPT_JSON = 1,
	OPT_CONNECTIONS,
	OPT_DEPTH,
	OPT_KEYS,
	OPT_MODE,
	OPT_REPETITIONS,
	OPT_SECONDS,
	OPT_WARMUP,
	OPT_THREADS,
	OPT_PIN,
	OPT_QUICK,
	OPT_STILED,
	OPT_DIR,
	OPT_HELP
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
	{"quick", no_argument, NULL, OPT_QUICK},
	{"stiled", required_argument, NULL, OPT_STILED},
	{"dir", required_argument, NULL, OPT_DIR},
	{"help", no_argument, NULL, OPT_HELP},
	{NULL, 0, NULL, 0},
};

/* Returns false when the value is none that the option takes. */
static bool take_option(struct compare_options *o, int option,
			const char *value)
{
	switch (option) {
	case OPT_JSON:
		o->json = true;
		return true;
	case OPT_PIN:
		o->pin = true;
		return true;
	case OPT_QUICK:
		set_quick(o);
		return true;
	case OPT_CONNECTIONS:
		return parse_list(value, LOAD_CONNECTIONS_MAX, o->connections,
				  &o->connections_count);
	case OPT_DEPTH:
		return parse_list(value, WORKLOAD_DEPTH_MAX, o->depths,
				  &o->depths_count);
	case OPT_KEYS:
		return parse_number(value, WORKLOAD_KEYS_MAX, &o->keys);
	case OPT_MODE:
		return parse_modes(value, o);
	case OPT_REPETITIONS:
		return parse_number(value, COMPARE_REPETITIONS_MAX,
				    &o->repetitions);
	case OPT_SECONDS:
		return parse_seconds(value, 0.05, &o->seconds);
	case OPT_WARMUP:
		return parse_seconds(value, 0, &o->warmup_seconds);
	case OPT_THREADS:
		return parse_number(value, LOAD_THREADS_MAX, &o->threads);
	case OPT_STILED:
		return snprintf(o->stiled, sizeof(o->stiled), "%s", value) <
		       (int)sizeof(o->stiled);
	default:
		o->dir = value;
		return true;
	}
}

int compare_options_parse(struct compare_options *o, int argc, char **argv)
{
	int option, long_idx = 0;

	set_defaults(o);
	optind = 1;
	while ((option = getopt_long(argc, argv, "", long_options,
				     &long_idx)) != -1) {
		if (option == '?')
			return -1; /* getopt has said why */
		if (option == OPT_HELP) {
			fputs(help, stdout);
			return 1;
		}
		if (!take_option(o, option, optarg)) {
			fprintf(stderr,
				"stile-bench: --%s does not take '%s'; see "
				"stile-bench compare --help\n",
				long_options[long_idx].name, optarg);
			return -1;
		}
	}
	if (optind < argc) {
		fprintf(stderr,
			"stile-bench: compare does not know '%s'; see "
			"stile-bench compare --help\n",
			argv[optind]);
		return -1;
	}
	for (uint32_t i = 0; i < o->connections_count; i++) {
		if (o->threads > o->connections[i]) {
			fprintf(stderr, "stile-bench: more --threads than "
					"--connections\n");
			return -1;
		}
	}
	if (o->stiled[0] == '\0')
		find_stiled(o->stiled, sizeof(o->stiled));
	return 0;
}

const char *compare_mode_name(enum workload_mode mode)
{
	return mode == WORKLOAD_RAW ? "raw" : "hashed";
}
