/* SPDX-License-Identifier: MIT */
#include "contest_report.h"

#include "bars.h"
#include "report.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static_assert(CONTEST_CONTENDERS_MAX <= BARS_MAX, "a bar for each");

static void print_head(const struct contest *c)
{
	const struct contest_options *o = &c->options;

	report_machine(&c->stand.machine);
	printf("load     %" PRIu32 " keys at random, %" PRIu32
	       " connections, %" PRIu32 " client thread(s)\n"
	       "method   %s; medians of %" PRIu32
	       " runs of %.2f s each, in turns\n\n",
	       o->keys, o->connections, o->threads,
	       c->stand.server_cpu >= 0
		       ? "servers and load on CPUs of their own"
		       : "threads float",
	       o->repetitions, o->seconds);
	for (uint32_t i = 0; i < c->contender_count; i++)
		printf("%-14s %s\n", c->contenders[i].name,
		       c->contenders[i].version);
	for (uint32_t i = 0; i < c->skipped_count; i++)
		printf("%-14s skipped: %s\n", c->skipped[i].name,
		       c->skipped[i].why);
	printf("\n%-14s %5s | %9s | %9s %17s %5s | %8s | %s\n", "server",
	       "depth", "k/s", "CPU s/M", "min..max", "busy", "to first",
	       "beyond its base, parts; CPU s/M");
	fflush(stdout);
}

void contest_report_head(struct contest *c)
{
	if (!c->options.json) {
		print_head(c);
		return;
	}
	for (uint32_t i = 0; i < c->skipped_count; i++)
		json_array_append_new(c->cells,
				      json_pack("{s:s, s:s}", "server",
						c->skipped[i].name, "skipped",
						c->skipped[i].why));
}

/* Nanoseconds for one are CPU seconds for a million, times 1000. */
static void print_row(const struct contest_cell *cell)
{
	const struct contender *who = cell->contender;
	char range[48];

	snprintf(range, sizeof(range), "%.3f..%.3f", cell->cpu_ns.min / 1000,
		 cell->cpu_ns.max / 1000);
	printf("%-14s %5" PRIu32 " | %9.1f | %9.3f %17s %5.2f | %7.2fx |",
	       who->name, cell->depth, cell->rps.median / 1000,
	       cell->cpu_ns.median / 1000, range, cell->busy.median,
	       cell->ratio.median);
	if (who->base)
		printf(" %+.3f to %s", cell->diff.median / 1000, who->base);
	for (uint32_t i = 0; i < who->server_count && who->server_count > 1;
	     i++)
		printf("%s %s %.3f", i == 0 && who->base ? ";" : "",
		       who->servers[i]->name, cell->each_ns[i].median / 1000);
	putchar('\n');
	fflush(stdout);
}

static void set_parts(json_t *to, const struct contest_cell *cell)
{
	const struct contender *who = cell->contender;
	json_t *parts = json_object();

	for (uint32_t i = 0; i < who->server_count; i++)
		report_spread(parts, who->servers[i]->name, cell->each_ns[i],
			      0.1);
	json_object_set_new(to, "cpu_ns_of", parts);
}

static json_t *as_json(const struct contest *c, const struct contest_cell *cell)
{
	const struct contest_options *o = &c->options;
	const struct contender *who = cell->contender;
	json_t *object =
		json_pack("{s:s, s:s, s:I, s:I, s:I, s:I}", "server", who->name,
			  "server_version", who->version, "connections",
			  (json_int_t)o->connections, "depth",
			  (json_int_t)cell->depth, "keys", (json_int_t)o->keys,
			  "repetitions", (json_int_t)o->repetitions);

	if (!object)
		return NULL;
	report_spread(object, "rps", cell->rps, 1);
	report_spread(object, "cpu_ns", cell->cpu_ns, 0.1);
	report_spread(object, "busy", cell->busy, 1e-3);
	report_spread(object, "cpu_ratio", cell->ratio, 1e-3);
	if (who->base) {
		json_object_set_new(object, "base", json_string(who->base));
		report_spread(object, "diff_cpu_ns", cell->diff, 0.1);
	}
	set_parts(object, cell);
	json_object_update_new(
		object,
		json_pack("{s:I, s:f, s:f, s:I, s:b}", "replies_checked",
			  (json_int_t)cell->replies, "denied_share",
			  cell->denied_share, "seconds", o->seconds,
			  "client_threads", (json_int_t)o->threads, "pinned",
			  c->stand.server_cpu >= 0));
	report_set_machine(object, &c->stand.machine);
	return object;
}

int contest_report_cell(struct contest *c, const struct contest_cell *cell)
{
	json_t *object;

	if (!c->options.json) {
		print_row(cell);
		return 0;
	}
	fprintf(stderr, "stile-bench: %s, depth %" PRIu32 ": done\n",
		cell->contender->name, cell->depth);
	object = as_json(c, cell);
	if (object && json_array_append_new(c->cells, object) == 0)
		return 0;
	return contest_fail(c, "out of memory");
}

int contest_report_plot(struct contest *c, const struct contest_cell *cells)
{
	const struct contest_options *o = &c->options;
	const struct machine *m = &c->stand.machine;
	struct bars bars = {.label = "server CPU, ns a request"};
	char name[64];

	snprintf(bars.title, sizeof(bars.title),
		 "stile-bench %s: server CPU for a request, %" PRIu32
		 " in a batch",
		 o->kind->command, cells->depth);
	snprintf(bars.subtitle, sizeof(bars.subtitle),
		 "%" PRIu32 " connections, %" PRIu32
		 " keys, medians of %" PRIu32
		 " runs of %.2g s; %.40s, %u CPUs; %.24s",
		 o->connections, o->keys, o->repetitions, o->seconds, m->cpu,
		 m->cpus, m->commit);
	for (uint32_t i = 0; i < c->contender_count; i++)
		bars_add(&bars, cells[i].contender->name, cells[i].cpu_ns);
	snprintf(name, sizeof(name), "%s-%" PRIu32 ".svg", o->kind->command,
		 cells->depth);
	return bars_write(&bars, o->plot, name, c->stand.error,
			  STAND_ERROR_LEN);
}
