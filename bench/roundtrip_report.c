/* SPDX-License-Identifier: MIT */
#include "roundtrip_report.h"

#include "report.h"

#include <inttypes.h>
#include <stdio.h>

static const char *const server_names[ROUNDTRIP_SERVERS] = {
	[ROUNDTRIP_ECHO] = "echo",
	[ROUNDTRIP_NULL] = "null",
	[ROUNDTRIP_CHECK] = "check",
	[ROUNDTRIP_CHECK_SPIN] = "check-spin",
};

static const struct {
	const char *name;
	double grain;
} figures[ROUNDTRIP_FIGURES] = {
	[ROUNDTRIP_P50] = {"p50_us", 0.01},
	[ROUNDTRIP_P99] = {"p99_us", 0.01},
	[ROUNDTRIP_MEAN] = {"mean_us", 0.01},
	[ROUNDTRIP_CPU] = {"cpu_ns", 0.1},
	[ROUNDTRIP_P50_RATIO] = {"p50_ratio", 1e-4},
	[ROUNDTRIP_MEAN_RATIO] = {"mean_ratio", 1e-4},
};

void roundtrip_report_head(const struct roundtrip_options *o,
			   const struct machine *m)
{
	report_machine(m);
	printf("load     1 connection, 1 request in flight, %" PRIu32
	       " keys, %s\n"
	       "method   1 pinned worker, check-spin with spin: %" PRIu32
	       "; medians of %" PRIu32 " runs of %.2f s each, in turns\n\n",
	       o->keys, options_mode_name(o->mode), o->spin_us, o->repetitions,
	       o->seconds);
	printf("%-10s %-10s | %7s %7s %7s us | %8s | %-28s %s\n", "place",
	       "server", "p50", "p99", "mean", "cpu ns", "p50 / echo",
	       "mean / echo");
	fflush(stdout);
}

void roundtrip_report_row(const struct roundtrip_cell *c)
{
	const struct spread *f = c->figures;
	char ratio[48];

	snprintf(ratio, sizeof(ratio), "%.3f (%.3f..%.3f)",
		 f[ROUNDTRIP_P50_RATIO].median, f[ROUNDTRIP_P50_RATIO].min,
		 f[ROUNDTRIP_P50_RATIO].max);
	printf("%-10s %-10s | %7.2f %7.2f %7.2f    | %8.0f | %-28s %.3f "
	       "(%.3f..%.3f)\n",
	       roundtrip_place_names[c->place], server_names[c->server],
	       f[ROUNDTRIP_P50].median, f[ROUNDTRIP_P99].median,
	       f[ROUNDTRIP_MEAN].median, f[ROUNDTRIP_CPU].median, ratio,
	       f[ROUNDTRIP_MEAN_RATIO].median, f[ROUNDTRIP_MEAN_RATIO].min,
	       f[ROUNDTRIP_MEAN_RATIO].max);
	fflush(stdout);
}

json_t *roundtrip_report_json(const struct roundtrip_options *o,
			      const struct machine *m,
			      const struct roundtrip_cell *c)
{
	json_t *cell = json_pack(
		"{s:s, s:s, s:s, s:I, s:I, s:I, s:f, s:I}", "place",
		roundtrip_place_names[c->place], "server",
		server_names[c->server], "mode", options_mode_name(o->mode),
		"keys", (json_int_t)o->keys, "spin_us",
		(json_int_t)(c->server == ROUNDTRIP_CHECK_SPIN ? o->spin_us
							       : 0),
		"repetitions", (json_int_t)o->repetitions, "seconds",
		o->seconds, "replies_checked", (json_int_t)c->replies);

	if (!cell)
		return NULL;
	for (int i = 0; i < ROUNDTRIP_FIGURES; i++)
		report_spread(cell, figures[i].name, c->figures[i],
			      figures[i].grain);
	report_set_machine(cell, m);
	return cell;
}
