/* SPDX-License-Identifier: MIT */
#include "compare.h"

#include "base/check.h"
#include "compare_report.h"
#include "daemon.h"
#include "load.h"
#include "null_server.h"
#include "scratch.h"

#include <dirent.h>
#include <inttypes.h>
#include <jansson.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#define ERROR_LEN 1024
/* Denied checks cost other than allowed ones; with more of them the figure is
 * not the one it claims to be. */
#define DENIED_SHARE_MAX 0.01
/* No machine of today answers more than this with one worker. */
#define RPS_MAX 20000000u
#define WINDOW_MS 10u
#define LIMIT_MIN 128u
/* Records and arena of one key, generously, and of an empty daemon. */
#define SCRATCH_BYTES_PER_KEY UINT64_C(1024)
#define SCRATCH_SPARE (UINT64_C(64) << 20)
#define LIMIT_MAX_UNITS 65536u

struct compare {
	struct compare_options options;
	struct compare_setup setup;
	struct workload workload;
	struct process null_server;
	struct daemon_server daemon;
	char scratch[PATH_MAX]; /* "" = none made */
	char null_path[PATH_MAX];
	uint64_t units_allowed; /* by the daemon, as its clients saw it */
	json_t *cells;
	char error[ERROR_LEN];
};

static volatile sig_atomic_t interrupted;

static void on_signal(int number)
{
	(void)number;
	interrupted = 1;
}

/*
 * A limit that nobody reaches, with windows no larger than needed: twice what
 * the fastest server admits in one window, plus what can be in flight. The
 * window is short because only its length times the rate has to be kept.
 */
static void choose_limit(const struct compare *c, uint32_t *ret_limit,
			 uint32_t *ret_window_ms)
{
	const struct compare_options *o = &c->options;
	uint64_t in_flight = 0, want, limit = LIMIT_MIN;
	uint32_t window_ms = WINDOW_MS;

	for (uint32_t i = 0; i < o->connections_count; i++)
		for (uint32_t k = 0; k < o->depths_count; k++)
			if ((uint64_t)o->connections[i] * o->depths[k] >
			    in_flight)
				in_flight = (uint64_t)o->connections[i] *
					    o->depths[k];
	want = (2 * (uint64_t)RPS_MAX / 1000 * window_ms + 4 * in_flight) /
		       c->workload.org_count +
	       LIMIT_MIN / 2;
	if (want > LIMIT_MAX_UNITS)
		window_ms = 1;
	while (limit < want && limit < LIMIT_MAX_UNITS)
		limit *= 2;
	*ret_limit = (uint32_t)limit;
	*ret_window_ms = window_ms;
}

/* The last CPU we may use: the first one often serves interrupts. -1 when
 * there is only one. */
static int choose_server_cpu(void)
{
	cpu_set_t set;
	int last = -1;

	if (sched_getaffinity(0, sizeof(set), &set) < 0 || CPU_COUNT(&set) < 2)
		return -1;
	for (int i = 0; i < CPU_SETSIZE; i++)
		if (CPU_ISSET((size_t)i, &set))
			last = i;
	return last;
}

static bool is_empty_dir(const char *path)
{
	DIR *dir = opendir(path);
	struct dirent *entry;
	bool empty = dir != NULL;

	while (dir && (entry = readdir(dir)))
		if (strcmp(entry->d_name, ".") != 0 &&
		    strcmp(entry->d_name, "..") != 0)
			empty = false;
	if (dir)
		closedir(dir);
	return empty;
}

/* Memory rather than disk when there is room: what is measured never touches
 * the records, and importing keys waits for the disk twice for every
 * organization. */
static const char *choose_parent(uint32_t keys)
{
	const char *parent = getenv("TMPDIR");
	struct statvfs fs;

	if (parent)
		return parent;
	if (statvfs("/dev/shm", &fs) == 0 &&
	    (uint64_t)fs.f_bavail * fs.f_frsize >
		    SCRATCH_SPARE + keys * SCRATCH_BYTES_PER_KEY)
		return "/dev/shm";
	return "/tmp";
}

static const char *prepare_dir(struct compare *c)
{
	const char *dir = c->options.dir;
	int r;

	if (dir) {
		mkdir(dir, 0700); /* is_empty_dir() tells if it is there */
		if (is_empty_dir(dir))
			return dir;
		snprintf(c->error, ERROR_LEN, "%s is not an empty directory",
			 dir);
		return NULL;
	}
	r = scratch_make(choose_parent(c->options.keys), c->scratch,
			 sizeof(c->scratch));
	if (r == 0)
		return c->scratch;
	snprintf(c->error, ERROR_LEN, "cannot make a scratch directory: %s",
		 strerror(-r));
	return NULL;
}

static int setup(struct compare *c)
{
	const struct compare_options *o = &c->options;
	char full[PATH_MAX];
	const char *dir = prepare_dir(c);
	int r;

	if (!dir)
		return -1;
	if (!realpath(dir, full) ||
	    snprintf(c->null_path, PATH_MAX, "%.*s/null.sock", PATH_MAX - 16,
		     full) >= 100) {
		snprintf(c->error, ERROR_LEN,
			 "%.200s is too long for a socket's path", dir);
		return -1;
	}
	c->setup.options = o;
	c->setup.server_cpu = o->pin ? choose_server_cpu() : -1;
	if (o->pin && c->setup.server_cpu < 0) {
		snprintf(c->error, ERROR_LEN, "--pin needs two CPUs");
		return -1;
	}
	machine_read(&c->setup.machine);

	/* Forked while we are small: a large process is copied on write. */
	r = null_server_start(c->null_path, c->setup.server_cpu,
			      &c->null_server);
	if (r < 0) {
		snprintf(c->error, ERROR_LEN,
			 "the null server cannot be started: %s", strerror(-r));
		return -1;
	}
	if (daemon_start(&c->daemon, o->stiled, full, c->setup.server_cpu,
			 c->error, ERROR_LEN) < 0)
		return -1;
	r = workload_init(&c->workload, o->keys, COMPARE_KEYS_PER_ORG);
	if (r < 0) {
		snprintf(c->error, ERROR_LEN,
			 "%" PRIu32 " keys cannot be made: %s", o->keys,
			 strerror(-r));
		return -1;
	}
	choose_limit(c, &c->workload.limit, &c->workload.window_ms);
	c->setup.orgs = c->workload.org_count;
	c->setup.limit = c->workload.limit;
	c->setup.window_ms = c->workload.window_ms;
	return daemon_load_keys(&c->daemon, &c->workload, &interrupted,
				c->error, ERROR_LEN);
}

/* Before anything is measured: a known key passes, one that differs in a
 * single character does not. A server that allows everything is fast. */
static int probe(struct compare *c)
{
	const struct workload *w = &c->workload;
	uint8_t frame[NATIVE_REQUEST_BYTES], reply[NATIVE_REPLY_BYTES];
	struct workload_tally tally = {0};

	memcpy(frame, w->frames, sizeof(frame));
	if (load_ask_once(c->daemon.socket_path, frame, reply, c->error,
			  ERROR_LEN) < 0 ||
	    !workload_verify(w, false, 0, 1, reply, &tally, c->error,
			     ERROR_LEN))
		return -1;
	c->units_allowed += tally.allowed;
	frame[64 + 20] ^= 1;
	if (load_ask_once(c->daemon.socket_path, frame, reply, c->error,
			  ERROR_LEN) < 0)
		return -1;
	if (reply[1] != REASON_INVALID_KEY) {
		snprintf(c->error, ERROR_LEN,
			 "an unknown key was answered with reason %u instead "
			 "of %u",
			 reply[1], (unsigned)REASON_INVALID_KEY);
		return -1;
	}
	return 0;
}

static int run_one(struct compare *c, bool null, uint32_t connections,
		   uint32_t depth, struct load_result *ret)
{
	const struct compare_options *o = &c->options;
	struct load_options load = {
		.path = null ? c->null_path : c->daemon.socket_path,
		.server = null ? &c->null_server : &c->daemon.process,
		.server_is_null = null,
		.server_cpu = c->setup.server_cpu,
		.connections = connections,
		.depth = depth,
		.threads = o->threads,
		.warmup_ns = (uint64_t)(o->warmup_seconds * 1e9),
		.measure_ns = (uint64_t)(o->seconds * 1e9),
		.interrupted = &interrupted,
	};

	return load_run(&load, &c->workload, ret, c->error, ERROR_LEN);
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
	static double series[FIGURES][COMPARE_REPETITIONS_MAX];
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
	c->units_allowed += total.allowed;
	cell->denied_share =
		(double)total.denied / (double)(total.allowed + total.denied);
	cell->null_rps = stats_spread(series[NULL_RPS], repetitions);
	cell->check_rps = stats_spread(series[CHECK_RPS], repetitions);
	cell->share_of_null = stats_spread(series[SHARE], repetitions);
	cell->null_cpu_ns = stats_spread(series[NULL_CPU], repetitions);
	cell->check_cpu_ns = stats_spread(series[CHECK_CPU], repetitions);
	cell->diff_cpu_ns = stats_spread(series[DIFF], repetitions);
	cell->null_busy = stats_spread(series[NULL_BUSY], repetitions);
	cell->check_busy = stats_spread(series[CHECK_BUSY], repetitions);
	if (cell->denied_share <= DENIED_SHARE_MAX)
		return 0;
	snprintf(c->error, ERROR_LEN,
		 "%.1f %% of the checks were denied, a figure of something "
		 "else; use more keys or fewer connections",
		 cell->denied_share * 100);
	return -1;
}

static int report(struct compare *c, const struct compare_cell *cell)
{
	json_t *object;

	if (!c->options.json) {
		compare_report_row(cell);
		return 0;
	}
	fprintf(stderr,
		"stile-bench: %s, %" PRIu32 " connections, depth %" PRIu32
		": done\n",
		compare_mode_name(cell->mode), cell->connections, cell->depth);
	object = compare_report_json(&c->setup, cell);
	if (object && json_array_append_new(c->cells, object) == 0)
		return 0;
	snprintf(c->error, ERROR_LEN, "out of memory");
	return -1;
}

static int run_mode(struct compare *c, enum workload_mode mode)
{
	const struct compare_options *o = &c->options;

	workload_build(&c->workload, mode);
	if (probe(c) < 0)
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

/* What the clients were allowed and what the daemon has on its books. */
static int balance(struct compare *c)
{
	uint64_t units;

	if (daemon_units_used(&c->daemon, &units, c->error, ERROR_LEN) < 0)
		return -1;
	if (units == c->units_allowed)
		return 0;
	snprintf(c->error, ERROR_LEN,
		 "clients were allowed %" PRIu64
		 " units, but the daemon counted %" PRIu64,
		 c->units_allowed, units);
	return -1;
}

static int run(struct compare *c)
{
	const struct compare_options *o = &c->options;

	if (setup(c) < 0)
		return -1;
	if (!o->json)
		compare_report_head(&c->setup);
	for (uint32_t i = 0; i < o->modes_count; i++)
		if (run_mode(c, o->modes[i]) < 0)
			return -1;
	return balance(c);
}

static void teardown(struct compare *c)
{
	workload_deinit(&c->workload);
	process_stop(&c->null_server);
	if (c->scratch[0] != '\0')
		scratch_remove(c->scratch);
}

int compare_main(int argc, char **argv)
{
	struct sigaction action = {.sa_handler = on_signal};
	struct compare *c = calloc(1, sizeof(*c));
	int r;

	if (!c)
		return 1;
	r = compare_options_parse(&c->options, argc, argv);
	if (r != 0) {
		free(c);
		return r < 0 ? 2 : 0;
	}
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	signal(SIGPIPE, SIG_IGN);
	c->cells = json_array();

	r = run(c);
	if (!daemon_stop(&c->daemon) && r == 0) {
		snprintf(c->error, ERROR_LEN,
			 "stiled did not end as it should have");
		r = -1;
	}
	teardown(c);
	if (r < 0)
		fprintf(stderr, "stile-bench: %s\n", c->error);
	else if (c->options.json &&
		 (json_dumpf(c->cells, stdout,
			     JSON_INDENT(2) | JSON_REAL_PRECISION(10)) < 0 ||
		  putchar('\n') == EOF || fflush(stdout) != 0))
		r = -1;
	json_decref(c->cells);
	free(c);
	return r < 0 ? 1 : 0;
}
