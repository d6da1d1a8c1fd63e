/* SPDX-License-Identifier: MIT */
#include "latency_report.h"

#include "plot.h"
#include "report.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static const char *const server_names[LATENCY_SERVERS] = {
	[LATENCY_CHECK] = "check",
	[LATENCY_NULL] = "null",
	[LATENCY_SNAPSHOT] = "snapshot",
};

static const char *const plot_names[LATENCY_SERVERS] = {
	[LATENCY_CHECK] = "stile",
	[LATENCY_NULL] = "null server",
	[LATENCY_SNAPSHOT] = "stile, writing snapshots",
};

static const struct {
	const char *name;
	double grain;
} figures[LATENCY_FIGURES] = {
	[LATENCY_P50] = {"p50_us", 0.1}, [LATENCY_P90] = {"p90_us", 0.1},
	[LATENCY_P99] = {"p99_us", 0.1}, [LATENCY_P999] = {"p99_9_us", 0.1},
	[LATENCY_MAX] = {"max_us", 0.1}, [LATENCY_REACHED] = {"rps", 1},
	[LATENCY_CPU] = {"cpu_ns", 0.1}, [LATENCY_LAG] = {"lag_p99_us", 0.1},
};

static const char *arrivals_name(const struct latency_options *o)
{
	return o->arrivals == SCHEDULE_FIXED ? "fixed" : "poisson";
}

bool latency_saturated(const struct latency_cell *c, int server)
{
	return c->servers[server].figures[LATENCY_REACHED].median <
	       c->rate * LATENCY_REACHED_MIN;
}

void latency_report_head(const struct latency_options *o, const struct stand *s,
			 bool spin)
{
	report_machine(&s->machine);
	printf("load     %" PRIu32 " keys, %" PRIu32
	       " organizations with limit %" PRIu32 "/%" PRIu32 "ms, %" PRIu32
	       " connections, %s arrivals, generator %s\n"
	       "method   1 worker, %s; latency from when a request was due; "
	       "medians of %" PRIu32 " runs of %.2f s each, in turns\n\n",
	       o->keys, s->workload.org_count, s->workload.limit,
	       s->workload.window_ms, o->connections, arrivals_name(o),
	       spin ? "spins" : "sleeps",
	       s->server_cpu >= 0 ? "servers and load on CPUs of their own"
				  : "threads float",
	       o->repetitions, o->seconds);
	printf("%-6s %9s %-9s| %9s | %8s %8s %8s %8s %8s us | %17s | %8s %8s\n",
	       "mode", "asked/s", "server", "reached/s", "p50", "p90", "p99",
	       "p99.9", "max", "p99 min..max", "cpu ns", "lag p99");
	fflush(stdout);
}

void latency_report_rows(const struct latency_cell *c)
{
	/* the base first */
	const int servers[] = {c->base, c->subject};

	for (int k = 0; k < 2; k++) {
		int i = servers[k];
		const struct spread *f = c->servers[i].figures;
		char range[48];

		snprintf(range, sizeof(range), "%.0f..%.0f", f[LATENCY_P99].min,
			 f[LATENCY_P99].max);
		printf("%-6s %9" PRIu32
		       " %-9s| %9.0f | %8.1f %8.1f %8.1f %8.1f %8.0f    | "
		       "%17s | %8.0f %8.1f%s\n",
		       options_mode_name(c->mode), c->rate, server_names[i],
		       f[LATENCY_REACHED].median, f[LATENCY_P50].median,
		       f[LATENCY_P90].median, f[LATENCY_P99].median,
		       f[LATENCY_P999].median, f[LATENCY_MAX].median, range,
		       f[LATENCY_CPU].median, f[LATENCY_LAG].median,
		       latency_saturated(c, i) ? "  SATURATED" : "");
	}
	printf("%-6s %9" PRIu32 " ratio    | %s / %s of a repetition: p50 %.3f "
	       "(%.3f..%.3f), p99 %.3f (%.3f..%.3f)\n",
	       options_mode_name(c->mode), c->rate, server_names[c->subject],
	       server_names[c->base], c->p50_ratio.median, c->p50_ratio.min,
	       c->p50_ratio.max, c->p99_ratio.median, c->p99_ratio.min,
	       c->p99_ratio.max);
	if (c->subject == LATENCY_SNAPSHOT)
		printf("%-6s %9" PRIu32 " snapshots| %" PRIu64 " of %" PRIu64
		       " organizations, %.0f ms each, %.0f %% of the time\n",
		       options_mode_name(c->mode), c->rate, c->snapshots,
		       c->snapshot_orgs, c->snapshot_ms,
		       c->snapshot_share.median * 100);
	fflush(stdout);
}

json_t *latency_report_json(const struct latency_options *o,
			    const struct stand *s, bool spin,
			    const struct latency_cell *c)
{
	json_t *cell = json_pack(
		"{s:s, s:I, s:s, s:I, s:I, s:I}", "mode",
		options_mode_name(c->mode), "rate", (json_int_t)c->rate,
		"arrivals", arrivals_name(o), "connections",
		(json_int_t)o->connections, "keys", (json_int_t)o->keys,
		"repetitions", (json_int_t)o->repetitions);
	const int servers[] = {c->base, c->subject};
	char name[64];

	if (!cell)
		return NULL;
	for (int n = 0; n < 2; n++) {
		int i = servers[n];

		for (int k = 0; k < LATENCY_FIGURES; k++) {
			snprintf(name, sizeof(name), "%s_%s", server_names[i],
				 figures[k].name);
			report_spread(cell, name, c->servers[i].figures[k],
				      figures[k].grain);
		}
		snprintf(name, sizeof(name), "%s_saturated", server_names[i]);
		json_object_set_new(cell, name,
				    json_boolean(latency_saturated(c, i)));
	}
	report_spread(cell, "p50_ratio", c->p50_ratio, 1e-4);
	report_spread(cell, "p99_ratio", c->p99_ratio, 1e-4);
	json_object_update_new(
		cell, json_pack("{s:I, s:f, s:f, s:s, s:I, s:I, s:I, s:I, s:b}",
				"replies_checked", (json_int_t)c->replies,
				"denied_share", c->denied_share, "seconds",
				o->seconds, "wait", spin ? "spin" : "sleep",
				"lag_max_us", (json_int_t)o->lag_max_us, "orgs",
				(json_int_t)s->workload.org_count, "limit",
				(json_int_t)s->workload.limit, "window_ms",
				(json_int_t)s->workload.window_ms, "pinned",
				s->server_cpu >= 0));
	if (c->subject == LATENCY_SNAPSHOT) {
		report_spread(cell, "snapshot_share", c->snapshot_share, 1e-4);
		json_object_update_new(
			cell,
			json_pack("{s:I, s:I, s:f}", "snapshots",
				  (json_int_t)c->snapshots, "snapshot_orgs",
				  (json_int_t)c->snapshot_orgs, "snapshot_ms",
				  c->snapshot_ms));
	}
	report_set_machine(cell, &s->machine);
	return cell;
}

/* Twenty points to each decade of 1 / (1 - percentile), as far as there are
 * values to carry them. */
static void add_series(struct plot *p, const char *name, bool reference,
		       const struct histogram *h)
{
	struct plot_series *s = plot_series(p, name, reference, false);

	for (int i = 0; i <= 120; i++) {
		double beyond = pow(10, -i / 20.0);

		if (i > 0 && beyond * (double)h->count < 1)
			break;
		plot_point(
			s, i / 20.0,
			(double)histogram_percentile(
				h, (uint32_t)((1 - beyond) * HISTOGRAM_ALL)) /
				1e3);
	}
}

int latency_report_plot(const struct latency_options *o, const struct stand *s,
			const struct latency_cell *c, char *error,
			size_t error_len)
{
	static const char *const ticks[] = {"0 %",      "90 %",    "99 %",
					    "99.9 %",   "99.99 %", "99.999 %",
					    "99.9999 %"};
	struct plot *p = calloc(1, sizeof(*p));
	char name[64];
	int r;

	if (!p) {
		snprintf(error, error_len, "out of memory");
		return -1;
	}
	snprintf(p->title, sizeof(p->title),
		 "Latency at %" PRIu32 " requests a second, %s", c->rate,
		 c->mode == WORKLOAD_RAW ? "key sent" : "hash sent");
	snprintf(p->subtitle, sizeof(p->subtitle),
		 "%" PRIu32 " connections, %s arrivals, %" PRIu32
		 " keys, %" PRIu32 " runs of %.2g s; %.40s, %u CPUs; %.24s",
		 o->connections, arrivals_name(o), o->keys, o->repetitions,
		 o->seconds, s->machine.cpu, s->machine.cpus,
		 s->machine.commit);
	p->x_label = "percentile of requests";
	p->y_label = "latency from when the request was due, µs";
	p->y_log = true;
	add_series(p, plot_names[c->subject], false,
		   &c->servers[c->subject].all);
	add_series(p, plot_names[c->base], true, &c->servers[c->base].all);
	plot_tick(p, log10(2), "50 %");
	for (uint32_t i = 0; i < sizeof(ticks) / sizeof(ticks[0]); i++)
		if (i <= p->series[0].x[p->series[0].count - 1])
			plot_tick(p, i, ticks[i]);
	snprintf(name, sizeof(name), "%s-%s-%" PRIu32 ".svg",
		 c->subject == LATENCY_SNAPSHOT ? "snapshot" : "latency",
		 options_mode_name(c->mode), c->rate);
	r = plot_write(p, o->plot, name, error, error_len);
	free(p);
	return r;
}
