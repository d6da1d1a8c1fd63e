/* SPDX-License-Identifier: MIT */
#include "compare_report.h"

#include "report.h"

#include <inttypes.h>
#include <stdio.h>

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
