/* SPDX-License-Identifier: MIT */
/*
 * stiled - the daemon: the list of start-up steps, in order, the control
 * thread's loop, and the way down, which is the list backwards.
 */
#include "base/civil.h"
#include "base/clock.h"
#include "base/epoch.h"
#include "base/log.h"
#include "control/admin.h"
#include "control/api.h"
#include "control/arguments.h"
#include "control/config.h"
#include "control/control.h"
#include "control/listen.h"
#include "control/process.h"
#include "gate/decide.h"
#include "gate/keytable.h"
#include "io/ring.h"
#include "state/arena.h"
#include "state/arena_mark.h"
#include "state/records.h"
#include "state/registry.h"
#include "state/snapshotter.h"
#include "state/usage.h"
#include "worker/worker.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define ERROR_MAX 512

#define DIR_MODE 0755   /* proxies of other users pass through to sockets */
#define STATE_MODE 0700 /* records and snapshots */
/* Descriptors besides connections: a ring and an eventfd each worker, and
 * what the control thread has open (sockets, database, arena, snapshot). */
#define FILES_PER_WORKER 4
#define FILES_OTHER 64

#define NS_PER_S UINT64_C(1000000000)
#define NS_PER_MS UINT64_C(1000000)

static_assert((int)ERRORS_NESTED == (int)HTTP_ERRORS_NESTED &&
		      (int)ERRORS_PROBLEM == (int)HTTP_ERRORS_PROBLEM,
	      "the option means what the codec does");

struct daemon {
	struct config config;
	char state_dir[PATH_MAX];
	char arena_file[PATH_MAX];
	char paths[3][CONFIG_PATH_MAX]; /* native, http, admin */
	int lock_fd, signal_fd;
	int fds[3]; /* listeners, -1 = none */
	struct records *records;
	struct arena_file arena;
	struct civil civil;
	struct usage *usage;
	struct keytable table;
	struct epoch epoch;
	struct registry *registry;
	struct workers_shared shared;
	struct workers *workers;
	struct snapshotter *snapshotter;
	struct admin *admin;
	struct control control;
	const struct counters *counters[WORKERS_MAX];
	char err[ERROR_MAX];
};

enum { NATIVE = PROTOCOL_NATIVE, HTTP = PROTOCOL_HTTP, ADMIN = PROTOCOLS };

static void tell(enum log_level level, const char *event, const char *text)
{
	char quoted[2 * ERROR_MAX];

	log_event(level, event, "error=%s",
		  log_quote(text, quoted, sizeof(quoted)));
}

/* ---- what the admin API asks of us ---- */

static bool hook_ready(const struct control *c, const char **ret_why)
{
	const struct daemon *d = c->hook_arg;

	/* PAIRS: set_ready(), relaxed: a flag that guards nothing. */
	if (atomic_load_explicit(&d->shared.ready, memory_order_relaxed))
		return true;
	*ret_why = "draining";
	return false;
}

static int hook_snapshot(struct control *c, struct snapshot_info *ret_info,
			 char *err, size_t err_len)
{
	struct daemon *d = c->hook_arg;

	return snapshotter_now(d->snapshotter, ret_info, err, err_len);
}

static void hook_snapshot_last(const struct control *c,
			       struct snapshot_result *ret_last)
{
	const struct daemon *d = c->hook_arg;

	snapshotter_last(d->snapshotter, ret_last);
}

/* ---- the steps ---- */

static void set_ready(struct daemon *d, bool ready)
{
	/* PAIRS: reply_probe() in worker/, and hook_ready(), relaxed: a flag
	 * that guards nothing. */
	atomic_store_explicit(&d->shared.ready, ready, memory_order_relaxed);
}

static int fit_cpus(struct config *c, char *err, size_t err_len)
{
	uint32_t cpus = process_cpus();

	if (c->pin == PIN_ON && c->workers > cpus) {
		snprintf(err, err_len,
			 "pin: %u workers need as many CPUs, and stiled may "
			 "use %u: lower workers, or turn pin off",
			 c->workers, cpus);
		return -EINVAL;
	}
	/* Whom a worker waits for could not run meanwhile. */
	if (c->spin_us > 0 && c->workers >= cpus) {
		log_event(LOG_LEVEL_WARN, "spin_ignored",
			  "workers=%u cpus=%u hint=\"needs fewer workers than "
			  "CPUs\"",
			  c->workers, cpus);
		c->spin_us = 0;
	}
	return 0;
}

static int prepare_process(struct daemon *d)
{
	struct config *c = &d->config;
	int r;

	if (c->workers == 0)
		c->workers = process_cpus();
	if (c->workers > WORKERS_MAX)
		c->workers = WORKERS_MAX;
	r = fit_cpus(c, d->err, sizeof(d->err));
	if (r == 0)
		r = process_harden(d->err, sizeof(d->err));
	if (r == 0)
		r = process_raise_limits((uint64_t)c->max_connections +
						 c->admin.max_connections +
						 (uint64_t)c->workers *
							 FILES_PER_WORKER +
						 FILES_OTHER,
					 d->err, sizeof(d->err));
	/* Before anything is touched: without rings there is nothing to do. */
	if (r == 0)
		r = ring_probe(d->err, sizeof(d->err));
	if (r < 0)
		return r;
	d->signal_fd = process_signals(d->err, sizeof(d->err));
	return d->signal_fd < 0 ? d->signal_fd : 0;
}

static int lock_state(struct daemon *d)
{
	int n, r;

	n = snprintf(d->state_dir, sizeof(d->state_dir), "%s/state",
		     d->config.dir);
	if (n < 0 || (size_t)n >= sizeof(d->state_dir) - NAME_MAX) {
		snprintf(d->err, sizeof(d->err), "dir: the name is too long");
		return -ENAMETOOLONG;
	}
	r = process_make_dir(d->config.dir, DIR_MODE, d->err, sizeof(d->err));
	if (r == 0)
		r = process_make_dir(d->state_dir, STATE_MODE, d->err,
				     sizeof(d->err));
	if (r < 0)
		return r;
	d->lock_fd = process_lock(d->state_dir, d->err, sizeof(d->err));
	return d->lock_fd < 0 ? d->lock_fd : 0;
}

static int open_records(struct daemon *d)
{
	char path[PATH_MAX + NAME_MAX];

	snprintf(path, sizeof(path), "%s/records.db", d->state_dir);
	return records_open(path, &d->records, d->err, sizeof(d->err));
}

static int open_arena(struct daemon *d)
{
	unsigned recovered;
	bool stale = false;
	int r = arena_path(d->arena_file, sizeof(d->arena_file),
			   d->config.runtime_dir, d->state_dir);

	if (r < 0) {
		snprintf(d->err, sizeof(d->err),
			 "runtime_dir: no usable path for the arena: %s",
			 strerror(-r));
		return r;
	}
	r = arena_open(&d->arena, d->arena_file, &d->control.arena_fresh,
		       &recovered, d->err, sizeof(d->err));
	if (r == 0)
		r = arena_mark(&d->arena, d->state_dir, &d->control.arena_fresh,
			       &stale, d->err, sizeof(d->err));
	if (r < 0)
		return r;
	if (stale)
		tell(LOG_LEVEL_WARN, "arena_discarded",
		     "another one has counted for this directory since");
	log_event(LOG_LEVEL_INFO, "arena", "carried_on=%d recovered=%u",
		  !d->control.arena_fresh, recovered);
	/* Before the registry looks at what has expired. */
	civil_init(&d->civil, &d->arena.arena.header->civil_ns,
		   (uint64_t)d->config.clock_settle_s * NS_PER_S);
	civil_tick(&d->civil);
	return 0;
}

/* Before the registry: it may free slots, or find that the arena is damaged
 * and begin anew, and what usage.db knows of it has to be done with by then. */
static int open_usage(struct daemon *d)
{
	const struct usage_options options = {
		.arena = &d->arena,
		.fresh = d->control.arena_fresh,
		.state_dir = d->state_dir,
		.retention_ms = (uint64_t)d->config.usage_retention_s * 1000,
		.routes = &d->config.routes,
	};
	int r = usage_open(
		&d->usage, &options,
		(int64_t)clock_civil_ms(&d->arena.arena.header->civil_ns,
					clock_ns(CLOCK_BOOTTIME)));

	if (r < 0)
		snprintf(d->err, sizeof(d->err), "cannot keep usage: %s",
			 strerror(-r));
	return r;
}

static int open_registry(struct daemon *d)
{
	const struct config *c = &d->config;
	const struct registry_options options = {
		.max_orgs = c->max_orgs,
		.max_projects = c->max_projects,
		.max_keys = c->max_keys,
		.ring_bytes = c->ring_bytes,
		.default_limit = c->default_limit,
		.default_window_ms = c->default_window_ms,
		.key_prefix = c->key_prefix,
		.strict = c->restore == RESTORE_STRICT,
		.request_ids = c->request_ids,
		.request_id_ms = (uint64_t)c->request_id_ttl_s * 1000,
		.holds = c->holds,
		.control_holds = GATE_CONTROL_HOLDS(c->holds),
		.hold_ms = (uint64_t)c->hold_ttl_s * 1000,
		.hold_keep = c->hold_expiry == HOLD_EXPIRY_KEEP,
		.cells = c->usage_cells,
		.subjects = c->rule_subjects,
		.routes = &c->routes,
		.events_ms = (uint64_t)c->events_retention_s * 1000,
		.audit_ms = (uint64_t)c->audit_retention_s * 1000,
	};
	struct registry_report report;
	int r;

	epoch_init(&d->epoch);
	r = registry_open(&d->registry, d->records, &d->arena,
			  d->control.arena_fresh, &d->table, &d->epoch,
			  d->state_dir, &options, &report, d->err,
			  sizeof(d->err));
	if (r < 0)
		return r;
	d->control.arena_fresh = report.fresh;
	if (report.fresh)
		usage_forget(d->usage);
	if (report.arena_warning[0] != '\0')
		tell(LOG_LEVEL_WARN, "arena_discarded", report.arena_warning);
	if (report.unserved != 0)
		log_event(LOG_LEVEL_ERROR, "keys_unserved",
			  "keys=%u reason=\"hashes that are not random\"",
			  report.unserved);
	if (report.warning[0] != '\0') {
		/* Starting without it would forget what was counted, and the
		 * next snapshot would take its place: that is for people to
		 * decide. */
		snprintf(d->err, sizeof(d->err),
			 "%s (the file is left as it is; move it away to start "
			 "with empty windows and usage totals of zero)",
			 report.warning);
		return -EBADMSG;
	}
	log_event(LOG_LEVEL_INFO, "loaded",
		  "orgs=%u projects=%u keys=%u snapshot_restored=%d",
		  report.orgs, report.projects, report.keys, report.restored);
	return 0;
}

static int open_listeners(struct daemon *d)
{
	const struct listener_config *const all[] = {
		[NATIVE] = &d->config.native,
		[HTTP] = &d->config.http,
		[ADMIN] = &d->config.admin,
	};

	for (int i = 0; i <= ADMIN; i++) {
		if (all[i]->path[0] == '\0')
			continue;
		if (config_socket_path(&d->config, all[i], d->paths[i]) < 0) {
			snprintf(d->err, sizeof(d->err), "%s: too long",
				 all[i]->path);
			return -ENAMETOOLONG;
		}
		d->fds[i] = listen_open(d->paths[i], all[i]->mode, d->err,
					sizeof(d->err));
		if (d->fds[i] < 0)
			return d->fds[i];
	}
	return 0;
}

static int start_workers(struct daemon *d)
{
	const struct config *c = &d->config;
	struct workers_options *o = &d->shared.options;
	int r;

	*o = (struct workers_options){
		.listeners =
			{
				[NATIVE] = {.fd = d->fds[NATIVE],
					    .protocol = PROTOCOL_NATIVE,
					    .max_connections =
						    c->native.max_connections},
				[HTTP] = {.fd = d->fds[HTTP],
					  .protocol = PROTOCOL_HTTP,
					  .max_connections =
						  c->http.max_connections},
			},
		.count = c->workers,
		.max_connections = c->max_connections,
		.idle_timeout_s = c->idle_timeout_s,
		.spin_us = c->spin_us,
		.pin = c->pin == PIN_ON,
		.recv_buffers = c->recv_buffers,
		.send_buffers = c->send_buffers,
		.output_bytes_max = c->output_bytes_max,
		.gate = {.routes = &c->routes,
			 .once_ms = (uint64_t)c->request_id_ttl_s * 1000,
			 .hold_ms = (uint64_t)c->hold_ttl_s * 1000,
			 .hold_keep = c->hold_expiry == HOLD_EXPIRY_KEEP,
			 .control_holds = GATE_CONTROL_HOLDS(c->holds)},
		.http = {.reset_is_delta = c->reset_form == RESET_DELTA,
			 .errors = (enum http_errors)c->error_form,
			 .realm = c->realm},
	};
	keytext_prefix_init(&o->prefix, c->key_prefix);
	d->shared.arena = &d->arena.arena;
	d->shared.table = &d->table;
	d->shared.epoch = &d->epoch;
	r = workers_start(&d->workers, &d->shared, d->err, sizeof(d->err));
	if (r < 0)
		return r;
	for (uint32_t i = 0; i < workers_count(d->workers); i++)
		d->counters[i] = workers_counters(d->workers, i);
	return 0;
}

static int start_snapshotter(struct daemon *d)
{
	const struct snapshotter_options options = {
		.arena = &d->arena.arena,
		.epoch = &d->epoch,
		.dir = d->state_dir,
		.interval_s = d->config.snapshot_interval_s,
		.usage = d->usage,
		.usage_interval_s = d->config.usage_interval_s,
	};
	int r = snapshotter_start(&d->snapshotter, &options);

	if (r < 0)
		snprintf(d->err, sizeof(d->err),
			 "cannot start the snapshot thread: %s", strerror(-r));
	return r;
}

static int open_admin(struct daemon *d)
{
	const struct admin_options options = {
		.listen_fd = d->fds[ADMIN],
		.max_connections = d->config.admin.max_connections,
		.idle_ms = (uint64_t)d->config.idle_timeout_s * 1000,
		.handle = api_handle,
		.arg = &d->control,
	};
	int r;

	d->control.registry = d->registry;
	d->control.usage = d->usage;
	d->control.config = &d->config;
	d->control.workers = d->counters;
	d->control.worker_count = workers_count(d->workers);
	d->control.arena_path = d->arena_file;
	d->control.started_ms = registry_now_ms(d->registry);
	d->control.civil = &d->civil;
	d->control.ready = hook_ready;
	d->control.snapshot = hook_snapshot;
	d->control.snapshot_last = hook_snapshot_last;
	d->control.hook_arg = d;
	r = admin_open(&options, &d->admin);
	if (r < 0)
		snprintf(d->err, sizeof(d->err),
			 "cannot serve the admin socket: %s", strerror(-r));
	return r;
}

/* ---- the loop, and the way down ---- */

static void announce(struct daemon *d, uint64_t began_ns)
{
	set_ready(d, true);
	log_event(LOG_LEVEL_INFO, "ready",
		  "version=%s workers=%u start_ms=%llu", STILE_VERSION,
		  d->config.workers,
		  (unsigned long long)(clock_ns(CLOCK_MONOTONIC) - began_ns) /
			  1000000);
	/* Whoever started us may have closed its end; we serve all the same. */
	if (write(STDOUT_FILENO, "ready\n", 6) < 0)
		log_event(LOG_LEVEL_DEBUG, "stdout_closed", "errno=%d", errno);
	notify_systemd("READY=1\nSTATUS=serving");
}

/* Once a second, or as soon after as the admin API lets us. True: it has more
 * to do, as soon as the admin API had its turn. */
static bool tick(struct daemon *d)
{
	civil_tick(&d->civil);
	return registry_step(d->registry);
}

/* Ticks when it is time. Returns the milliseconds until the next one. */
static int tick_when_due(struct daemon *d, uint64_t *next_ns)
{
	uint64_t now_ns = clock_ns(CLOCK_MONOTONIC);

	if (now_ns >= *next_ns)
		*next_ns = now_ns + (tick(d) ? 0 : NS_PER_S);
	return (int)((*next_ns - now_ns + NS_PER_MS - 1) / NS_PER_MS);
}

/* The control thread: the admin API and the ticks, until a signal says stop. */
static void serve(struct daemon *d)
{
	uint64_t next_ns = 0;
	struct pollfd fds[] = {
		{.fd = d->signal_fd, .events = POLLIN},
		{.fd = admin_fd(d->admin), .events = POLLIN},
	};

	for (;;) {
		int signo;

		if (poll(fds, 2, tick_when_due(d, &next_ns)) < 0 &&
		    errno != EINTR) {
			log_event(LOG_LEVEL_ERROR, "poll", "errno=%d", errno);
			return;
		}
		if (fds[1].revents != 0)
			admin_step(d->admin);
		signo = process_signal(d->signal_fd);
		if (signo == SIGHUP) {
			log_event(LOG_LEVEL_WARN, "sighup_ignored",
				  "hint=\"a changed configuration needs a "
				  "restart\"");
		} else if (signo != 0) {
			log_event(LOG_LEVEL_INFO, "stopping", "signal=%s",
				  signo == SIGINT ? "SIGINT" : "SIGTERM");
			return;
		}
	}
}

/* Everything that start() did and that still stands, backwards. Whatever was
 * read is answered, and what was counted is on disk afterwards. */
static int stop(struct daemon *d)
{
	int r = 0;

	set_ready(d, false);
	notify_systemd("STOPPING=1\nSTATUS=draining");
	if (d->admin != NULL) {
		d->admin = admin_close(d->admin);
		d->fds[ADMIN] = -1;
		unlink(d->paths[ADMIN]);
	}
	/* A proxy that connects now shall fail over at once, not wait in a
	 * queue that nobody will take it from. */
	for (int i = 0; i < PROTOCOLS; i++)
		if (d->fds[i] >= 0)
			unlink(d->paths[i]);
	if (d->workers != NULL) {
		workers_drain(d->workers);
		workers_join(d->workers, d->config.drain_timeout_s * 1000);
	}
	for (int i = 0; i <= ADMIN; i++)
		if (d->fds[i] >= 0)
			listen_close(d->fds[i], d->paths[i]);
	if (d->snapshotter != NULL)
		r = snapshotter_stop(d->snapshotter, d->err, sizeof(d->err));
	if (d->usage != NULL)
		usage_close(d->usage);
	if (d->registry != NULL)
		registry_close(d->registry);
	if (d->workers != NULL)
		workers_free(d->workers);
	if (d->arena.arena.base != NULL)
		arena_close(&d->arena);
	if (d->records != NULL)
		records_close(d->records);
	if (d->lock_fd >= 0)
		close(d->lock_fd);
	if (d->signal_fd >= 0)
		close(d->signal_fd);
	return r;
}

static int start(struct daemon *d)
{
	static int (*const steps[])(struct daemon *) = {
		prepare_process,   lock_state,    open_records,   open_arena,
		open_usage,        open_registry, open_listeners, start_workers,
		start_snapshotter, open_admin,
	};

	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
		int r = steps[i](d);

		if (r < 0)
			return r;
	}
	return 0;
}

static int run(struct daemon *d)
{
	uint64_t began_ns = clock_ns(CLOCK_MONOTONIC);
	int r;

	d->lock_fd = d->signal_fd = -1;
	for (int i = 0; i <= ADMIN; i++)
		d->fds[i] = -1;
	log_set_level((enum log_level)d->config.log_level);
	r = start(d);
	if (r < 0) {
		/* Start-up happens before a log reader: plain words too. */
		fprintf(stderr, "stiled: %s\n",
			d->err[0] != '\0' ? d->err : strerror(-r));
		d->snapshotter = NULL;
		(void)stop(d);
		return EXIT_FAILED;
	}
	announce(d, began_ns);
	serve(d);
	if (stop(d) < 0) {
		tell(LOG_LEVEL_ERROR, "stopped_without_snapshot", d->err);
		return EXIT_FAILED;
	}
	log_event(LOG_LEVEL_INFO, "stopped", "clean=1");
	return 0;
}

int main(int argc, char **argv)
{
	static struct daemon daemon;
	int status = arguments_read(argc, argv, &daemon.config);

	if (status >= 0)
		return status;
	reply_json_init();
	return run(&daemon);
}
