/* SPDX-License-Identifier: MIT */
#include "compare_report.h"

#include "plot.h"
#include "report.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

void compare_report_head(const struct compare_options *o, const struct stand *s)
{
	report_machine(&s->machine);
	printf("load     %" PRIu32 " keys, %" PRIu32
	       " organizations with limit %" PRIu32 "/%" PRIu32 "ms, %" PRIu32
	       " client thread(s)\n"
	       "method   1 worker, %s; medians of %" PRIu32
	       " runs of %.2f s each, in turns\n\n",
	       o->keys, s->workload.org_count, s->workload.limit,
	       s->workload.window_ms, o->threads,
	       s->server_cpu >= 0 ? "servers and load on CPUs of their own"
				  : "threads float",
	       o->repetitions, o->seconds);
	printf("%-6s %5s %5s | %10s %10s %6s | %8s %8s %8s %19s | %5s %5s\n",
	       "mode", "conns", "depth", "null k/s", "check k/s", "share",
	       "null ns", "check ns", "diff ns", "diff min..max", "nbusy",
	       "cbusy");
	fflush(stdout);
}

void compare_report_row(const struct compare_cell *c)
{
	char range[48];

	snprintf(range, sizeof(range), "%.0f..%.0f", c->diff_cpu_ns.min,
		 c->diff_cpu_ns.max);
	printf("%-6s %5" PRIu32 " %5" PRIu32
	       " | %10.0f %10.0f %5.1f%% | %8.0f %8.0f %8.0f %19s | %5.2f "
	       "%5.2f\n",
	       options_mode_name(c->mode), c->connections, c->depth,
	       c->null_rps.median / 1000, c->check_rps.median / 1000,
	       c->share_of_null.median * 100, c->null_cpu_ns.median,
	       c->check_cpu_ns.median, c->diff_cpu_ns.median, range,
	       c->null_busy.median, c->check_busy.median);
	fflush(stdout);
}

json_t *compare_report_json(const struct compare_options *o,
			    const struct stand *s, const struct compare_cell *c)
{
	json_t *cell = json_pack(
		"{s:s, s:I, s:I, s:I, s:I}", "mode", options_mode_name(c->mode),
		"connections", (json_int_t)c->connections, "depth",
		(json_int_t)c->depth, "keys", (json_int_t)o->keys,
		"repetitions", (json_int_t)o->repetitions);

	if (!cell)
		return NULL;
	report_spread(cell, "null_rps", c->null_rps, 1);
	report_spread(cell, "check_rps", c->check_rps, 1);
	report_spread(cell, "share_of_null", c->share_of_null, 1e-4);
	report_spread(cell, "null_cpu_ns", c->null_cpu_ns, 0.1);
	report_spread(cell, "check_cpu_ns", c->check_cpu_ns, 0.1);
	report_spread(cell, "diff_cpu_ns", c->diff_cpu_ns, 0.1);
	report_spread(cell, "null_busy", c->null_busy, 1e-3);
	report_spread(cell, "check_busy", c->check_busy, 1e-3);
	json_object_update_new(
		cell,
		json_pack("{s:I, s:f, s:f, s:I, s:I, s:I, s:I, s:b}",
			  "replies_checked", (json_int_t)c->replies,
			  "denied_share", c->denied_share, "seconds",
			  o->seconds, "client_threads", (json_int_t)o->threads,
			  "orgs", (json_int_t)s->workload.org_count, "limit",
			  (json_int_t)s->workload.limit, "window_ms",
			  (json_int_t)s->workload.window_ms, "pinned",
			  s->server_cpu >= 0));
	report_set_machine(cell, &s->machine);
	return cell;
}

/* Both servers with one mode: the cells of one number of connections. */
static void add_series(struct plot *p, uint32_t connections,
		       enum workload_mode mode,
		       const struct compare_cell *cells, uint32_t cell_count)
{
	const char *sent = mode == WORKLOAD_RAW ? "key sent" : "hash sent";
	struct plot_series *check, *null;
	char name[48];

	snprintf(name, sizeof(name), "stile, %s", sent);
	check = plot_series(p, name, false, true);
	snprintf(name, sizeof(name), "null server, %s", sent);
	null = plot_series(p, name, true, true);
	for (uint32_t i = 0; i < cell_count; i++) {
		const struct compare_cell *c = &cells[i];

		if (c->mode != mode || c->connections != connections)
			continue;
		plot_point(check, log2(c->depth), c->check_rps.median / 1e6);
		plot_point(null, log2(c->depth), c->null_rps.median / 1e6);
	}
}

static int plot_one(const struct compare_options *o, const struct stand *s,
		    uint32_t connections, const struct compare_cell *cells,
		    uint32_t cell_count, char *error, size_t error_len)
{
	struct plot *p = calloc(1, sizeof(*p));
	char text[64];
	int r;

	if (!p) {
		snprintf(error, error_len, "out of memory");
		return -1;
	}
	snprintf(p->title, sizeof(p->title),
		 "Throughput by depth, %" PRIu32 " connections", connections);
	snprintf(p->subtitle, sizeof(p->subtitle),
		 "1 worker, %" PRIu32 " keys, medians of %" PRIu32
		 " runs of %.2g s; %.40s, %u CPUs; %.24s",
		 o->keys, o->repetitions, o->seconds, s->machine.cpu,
		 s->machine.cpus, s->machine.commit);
	p->x_label = "depth: requests in one batch of a connection";
	p->y_label = "million replies a second";
	for (uint32_t i = 0; i < o->depths_count; i++) {
		snprintf(text, sizeof(text), "%" PRIu32, o->depths[i]);
		plot_tick(p, log2(o->depths[i]), text);
	}
	for (uint32_t i = 0; i < o->modes_count; i++)
		add_series(p, connections, o->modes[i], cells, cell_count);
	snprintf(text, sizeof(text), "throughput-%" PRIu32 ".svg", connections);
	r = plot_write(p, o->plot, text, error, error_len);
	free(p);
	return r;
}

int compare_report_plot(const struct compare_options *o, const struct stand *s,
			const struct compare_cell *cells, uint32_t cell_count,
			char *error, size_t error_len)
{
	for (uint32_t i = 0; i < o->connections_count; i++)
		if (plot_one(o, s, o->connections[i], cells, cell_count, error,
			     error_len) < 0)
			return -1;
	return 0;
}
