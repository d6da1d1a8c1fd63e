/* SPDX-License-Identifier: MIT */
#include "control/metrics.h"

#include "base/clock.h"
#include "wire/reason.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

static void add(struct counters *sum, const struct counters *one)
{
	for (unsigned i = 0; i < REASON_COUNT; i++)
		counter_add(&sum->verdicts[i], counter_read(&one->verdicts[i]));
#define X(field, metric, help)                                                 \
	counter_add(&sum->field, counter_read(&one->field));
	COUNTERS(X)
#undef X
	counter_add(&sum->connections, counter_read(&one->connections));
}

void metrics_sum(const struct control *c, struct counters *ret_sum)
{
	memset(ret_sum, 0, sizeof(*ret_sum));
	for (uint32_t w = 0; w < c->worker_count; w++)
		add(ret_sum, c->workers[w]);
	add(ret_sum, registry_counters(c->registry));
}

static void head(struct buf *out, const char *name, const char *type,
		 const char *help)
{
	buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void number(struct buf *out, const char *name, const char *type,
		   const char *help, uint64_t value)
{
	head(out, name, type, help);
	buf_printf(out, "%s %" PRIu64 "\n", name, value);
}

/* A value in thousandths, exactly. */
static void thousandths(struct buf *out, const char *name, const char *type,
			const char *help, uint64_t value)
{
	head(out, name, type, help);
	buf_printf(out, "%s %" PRIu64 ".%03u\n", name, value / 1000,
		   (unsigned)(value % 1000));
}

static void write_counters(const struct control *c, struct buf *out)
{
	struct counters sum;

	metrics_sum(c, &sum);
	head(out, "stile_checks_total", "counter",
	     "Checks answered, by verdict.");
	for (unsigned i = 0; i < REASON_COUNT; i++)
		buf_printf(out,
			   "stile_checks_total{result=\"%s\"} %" PRIu64 "\n",
			   reason_info((uint8_t)i)->word.s,
			   counter_read(&sum.verdicts[i]));
#define X(field, metric, help)                                                 \
	number(out, "stile_" metric, "counter", help ".",                      \
	       counter_read(&sum.field));
	COUNTERS(X)
#undef X
	number(out, "stile_connections", "gauge",
	       "Connections open on the check sockets.",
	       counter_read(&sum.connections));
	number(out, "stile_workers", "gauge", "Worker threads.",
	       c->worker_count);
}

static int write_records(struct control *c, struct buf *out)
{
	struct records_counts counts;
	int r = records_count(registry_records(c->registry), &counts);

	if (r < 0)
		return r;
	number(out, "stile_orgs", "gauge", "Organizations.", counts.orgs);
	number(out, "stile_projects", "gauge", "Projects.", counts.projects);
	number(out, "stile_keys", "gauge",
	       "Keys, revoked and expired ones included.", counts.keys);
	return 0;
}

static void write_capacities(const struct config *f, struct buf *out)
{
	number(out, "stile_orgs_capacity", "gauge",
	       "Organizations there can be (max_orgs).", f->max_orgs);
	number(out, "stile_projects_capacity", "gauge",
	       "Projects there can be (max_projects).", f->max_projects);
	number(out, "stile_keys_capacity", "gauge",
	       "Keys there can be (max_keys).", f->max_keys);
	number(out, "stile_connections_capacity", "gauge",
	       "Connections there can be (max_connections).",
	       f->max_connections);
	number(out, "stile_ring_capacity_bytes", "gauge",
	       "Memory that windows may take together (ring_bytes).",
	       f->ring_bytes);
}

static void write_usage(const struct control *c, struct buf *out)
{
	struct usage_status s;
	int64_t age_ms;

	usage_status(c->usage, &s);
	number(out, "stile_usage_failed", "gauge",
	       "1 when what was used could not be written to usage.db.",
	       s.error[0] != 0);
	number(out, "stile_usage_failures_total", "counter",
	       "Times that it could not.", s.failures);
	number(out, "stile_usage_rows_total", "counter",
	       "Rows of usage.db that have grown.", s.rows);
	number(out, "stile_usage_pruned_total", "counter",
	       "Rows of usage.db that were deleted by age.", s.pruned);
	if (s.last_ms == 0)
		return;
	age_ms = registry_now_ms(c->registry) - s.last_ms;
	thousandths(out, "stile_usage_age_seconds", "gauge",
		    "Time since usage was last collected.",
		    age_ms > 0 ? (uint64_t)age_ms : 0);
}

static void write_snapshot(const struct control *c, struct buf *out)
{
	struct snapshot_result last = {0};
	int64_t age_ms;

	c->snapshot_last(c, &last);
	number(out, "stile_snapshot_failed", "gauge",
	       "1 when the last snapshot failed.", last.error[0] != 0);
	if (!last.taken)
		return;
	age_ms = (int64_t)clock_wall_ms() - last.info.wall_ms;
	thousandths(out, "stile_snapshot_age_seconds", "gauge",
		    "Time since the last snapshot that worked.",
		    age_ms > 0 ? (uint64_t)age_ms : 0);
	thousandths(out, "stile_snapshot_duration_seconds", "gauge",
		    "Time that the last snapshot took.", last.info.duration_ms);
	number(out, "stile_snapshot_bytes", "gauge",
	       "Size of the last snapshot.", last.info.bytes);
}

static void write_clock(const struct control *c, struct buf *out)
{
	int64_t step_ms = civil_step_ms(c->civil);
	int64_t size_ms = step_ms < 0 ? -step_ms : step_ms;
	const char *name = "stile_clock_step_seconds";

	head(out, name, "gauge",
	     "How far the wall clock has stepped from the time that is "
	     "believed; 0: it has not.");
	buf_printf(out, "%s %s%" PRId64 ".%03d\n", name, step_ms < 0 ? "-" : "",
		   size_ms / 1000, (int)(size_ms % 1000));
}

static void write_memory(struct buf *out)
{
	FILE *f = fopen("/proc/self/statm", "re");
	uint64_t total;
	uint64_t resident;

	if (!f)
		return;
	if (fscanf(f, "%" SCNu64 " %" SCNu64, &total, &resident) == 2)
		number(out, "process_resident_memory_bytes", "gauge",
		       "Resident memory size in bytes.",
		       resident * (uint64_t)sysconf(_SC_PAGESIZE));
	fclose(f);
}

static void write_descriptors(struct buf *out)
{
	DIR *d = opendir("/proc/self/fd");
	const struct dirent *e;
	struct rlimit most;
	uint64_t count = 0;

	if (!d)
		return;
	while ((e = readdir(d)) != NULL)
		count += e->d_name[0] != '.';
	closedir(d);
	/* One of them was the directory itself. */
	number(out, "process_open_fds", "gauge",
	       "Number of open file descriptors.", count ? count - 1 : 0);
	if (getrlimit(RLIMIT_NOFILE, &most) == 0)
		number(out, "process_max_fds", "gauge",
		       "Maximum number of open file descriptors.",
		       most.rlim_cur);
}

static void write_process(const struct control *c, struct buf *out)
{
	struct rusage use;

	thousandths(out, "process_start_time_seconds", "gauge",
		    "Start time of the process since unix epoch in seconds.",
		    c->started_ms > 0 ? (uint64_t)c->started_ms : 0);
	write_memory(out);
	write_descriptors(out);
	if (getrusage(RUSAGE_SELF, &use) == 0)
		thousandths(
			out, "process_cpu_seconds_total", "counter",
			"Total user and system CPU time spent in seconds.",
			(uint64_t)(use.ru_utime.tv_sec + use.ru_stime.tv_sec) *
					1000 +
				(uint64_t)(use.ru_utime.tv_usec +
					   use.ru_stime.tv_usec) /
					1000);
}

int metrics_write(struct control *c, struct buf *out)
{
	const char *why;
	int r;

	head(out, "stile_build_info", "gauge", "The version that runs.");
	buf_printf(out, "stile_build_info{version=\"%s\"} 1\n", STILE_VERSION);
	number(out, "stile_ready", "gauge", "1 when checks are answered.",
	       c->ready(c, &why));
	write_counters(c, out);
	r = write_records(c, out);
	if (r < 0)
		return r;
	write_capacities(c->config, out);
	write_snapshot(c, out);
	write_clock(c, out);
	write_usage(c, out);
	write_process(c, out);
	return out->error;
}
