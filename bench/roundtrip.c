/* SPDX-License-Identifier: MIT */
#include "roundtrip.h"

#include "address.h"
#include "base/clock.h"
#include "clocks.h"
#include "echo_server.h"
#include "histogram.h"
#include "load.h"
#include "report.h"
#include "roundtrip_report.h"
#include "stand.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

/* A server as the client sees it. */
struct peer {
	struct process *process;
	struct stand *stand; /* whose keys it knows */
	const char *path;
	bool constant; /* answers one */
	int fd;
	uint32_t next; /* frame */
	struct workload_tally tally;
};

struct roundtrip {
	struct roundtrip_options options;
	struct stand plain, spinning;
	struct process echo;
	char echo_path[PATH_MAX];
	struct peer peers[ROUNDTRIP_SERVERS];
	int first_cpu, last_cpu;
	json_t *cells;
	struct histogram latency_ns;
	double series[ROUNDTRIP_SERVERS][ROUNDTRIP_FIGURES]
		     [OPTIONS_REPETITIONS_MAX];
	struct roundtrip_cell done[ROUNDTRIP_SERVERS];
	char error[STAND_ERROR_LEN];
};

/* The first and the last CPU that we may use; how many they are. */
static unsigned int find_cpus(int *ret_first, int *ret_last)
{
	cpu_set_t set;

	*ret_first = *ret_last = -1;
	if (sched_getaffinity(0, sizeof(set), &set) < 0)
		return 1;
	for (int i = 0; i < CPU_SETSIZE; i++) {
		if (!CPU_ISSET((size_t)i, &set))
			continue;
		if (*ret_first < 0)
			*ret_first = i;
		*ret_last = i;
	}
	return (unsigned int)CPU_COUNT(&set);
}

static bool say(struct roundtrip *t, const struct peer *p, const char *what)
{
	process_explain(&(struct process *){p->process}, 1, what, t->error,
			STAND_ERROR_LEN);
	return false;
}

/* One reply, whole. `flags` MSG_DONTWAIT: without sleeping. */
static bool receive(struct roundtrip *t, const struct peer *p, int flags,
		    uint8_t reply[static NATIVE_REPLY_BYTES])
{
	uint64_t end_ns = clock_ns(CLOCK_MONOTONIC) + LOAD_STALL_NS;
	size_t len = 0;

	while (len < NATIVE_REPLY_BYTES) {
		ssize_t n = recv(p->fd, reply + len, NATIVE_REPLY_BYTES - len,
				 flags);

		if (n > 0)
			len += (size_t)n;
		else if (n == 0)
			return say(t, p, "the server closed the connection");
		else if (errno != EAGAIN && errno != EINTR)
			return say(t, p, strerror(errno));
		else if (clock_ns(CLOCK_MONOTONIC) > end_ns)
			return say(t, p, "no reply for 5 s");
		if (stand_interrupted)
			return say(t, p, "interrupted");
	}
	return true;
}

/* There and back. */
static bool exchange(struct roundtrip *t, struct peer *p, int flags,
		     uint64_t *ret_ns)
{
	const struct workload *w = &p->stand->workload;
	const uint8_t *frame =
		w->frames + (size_t)p->next * NATIVE_REQUEST_BYTES;
	uint8_t reply[NATIVE_REPLY_BYTES];
	uint64_t begin_ns = clock_ns(CLOCK_MONOTONIC);

	if (send(p->fd, frame, NATIVE_REQUEST_BYTES, MSG_NOSIGNAL) !=
	    NATIVE_REQUEST_BYTES)
		return say(t, p, "a request could not be sent");
	if (!receive(t, p, flags, reply))
		return false;
	*ret_ns = clock_ns(CLOCK_MONOTONIC) - begin_ns;
	if (!workload_verify(w, p->constant, p->next, 1, reply, &p->tally,
			     t->error, STAND_ERROR_LEN))
		return false;
	p->next = p->next + 1 < w->frame_count ? p->next + 1 : 0;
	return true;
}

static bool run_for(struct roundtrip *t, struct peer *p, int flags,
		    double seconds, uint64_t *ret_sum_ns)
{
	uint64_t end_ns = clock_ns(CLOCK_MONOTONIC) + (uint64_t)(seconds * 1e9);

	histogram_clear(&t->latency_ns);
	*ret_sum_ns = 0;
	do {
		uint64_t ns;

		if (!exchange(t, p, flags, &ns))
			return false;
		histogram_record(&t->latency_ns, ns);
		*ret_sum_ns += ns;
	} while (clock_ns(CLOCK_MONOTONIC) < end_ns);
	return true;
}

static const char no_cpu_time[] = "the server's CPU time cannot be read";

static bool measure(struct roundtrip *t, enum roundtrip_place place, int server,
		    uint32_t repetition)
{
	const struct roundtrip_options *o = &t->options;
	struct peer *p = &t->peers[server];
	int flags = place == ROUNDTRIP_APART_SPIN ? MSG_DONTWAIT : 0;
	uint64_t cpu_ns, cpu_after_ns, sum_ns, count;
	double figures[ROUNDTRIP_FIGURES];

	if (!run_for(t, p, flags, o->warmup_seconds, &sum_ns))
		return false;
	if (process_cpu_ns(p->process, &cpu_ns) < 0)
		return say(t, p, no_cpu_time);
	if (!run_for(t, p, flags, o->seconds, &sum_ns))
		return false;
	if (process_cpu_ns(p->process, &cpu_after_ns) < 0)
		return say(t, p, no_cpu_time);
	count = t->latency_ns.count;
	figures[ROUNDTRIP_P50] =
		(double)histogram_percentile(&t->latency_ns, 500000) / 1e3;
	figures[ROUNDTRIP_P99] =
		(double)histogram_percentile(&t->latency_ns, 990000) / 1e3;
	figures[ROUNDTRIP_MEAN] = (double)sum_ns / (double)count / 1e3;
	figures[ROUNDTRIP_CPU] =
		(double)(cpu_after_ns - cpu_ns) / (double)count;
	for (int i = 0; i < ROUNDTRIP_P50_RATIO; i++)
		t->series[server][i][repetition] = figures[i];
	t->done[server].replies += count;
	return true;
}

/* Echo first in one repetition, last in the next. */
static bool repeat(struct roundtrip *t, enum roundtrip_place place,
		   uint32_t repetition)
{
	for (int k = 0; k < ROUNDTRIP_SERVERS; k++) {
		int server =
			repetition % 2 == 0 ? k : ROUNDTRIP_SERVERS - 1 - k;

		if (!measure(t, place, server, repetition))
			return false;
	}
	for (int k = 0; k < ROUNDTRIP_SERVERS; k++) {
		double(*s)[OPTIONS_REPETITIONS_MAX] = t->series[k];
		double(*echo)[OPTIONS_REPETITIONS_MAX] =
			t->series[ROUNDTRIP_ECHO];

		s[ROUNDTRIP_P50_RATIO][repetition] =
			s[ROUNDTRIP_P50][repetition] /
			echo[ROUNDTRIP_P50][repetition];
		s[ROUNDTRIP_MEAN_RATIO][repetition] =
			s[ROUNDTRIP_MEAN][repetition] /
			echo[ROUNDTRIP_MEAN][repetition];
	}
	return true;
}

static bool report(struct roundtrip *t)
{
	for (int k = 0; k < ROUNDTRIP_SERVERS; k++) {
		json_t *cell;

		if (!t->options.json) {
			roundtrip_report_row(&t->done[k]);
			continue;
		}
		cell = roundtrip_report_json(&t->options, &t->plain.machine,
					     &t->done[k]);
		if (!cell || json_array_append_new(t->cells, cell) < 0) {
			snprintf(t->error, STAND_ERROR_LEN, "out of memory");
			return false;
		}
	}
	return true;
}

static bool run_place(struct roundtrip *t, enum roundtrip_place place)
{
	uint32_t repetitions = t->options.repetitions;
	struct clocks before = clocks_read(), after;
	const char *why;

	/* Servers stay on the first CPU. */
	if (t->first_cpu >= 0)
		process_pin_self(place == ROUNDTRIP_SAME ? t->first_cpu
							 : t->last_cpu);
	for (int k = 0; k < ROUNDTRIP_SERVERS; k++) {
		memset(&t->done[k], 0, sizeof(t->done[k]));
		t->done[k].place = place;
		t->done[k].server = (enum roundtrip_server)k;
	}
	for (uint32_t i = 0; i < repetitions; i++)
		if (!repeat(t, place, i))
			return false;
	after = clocks_read();
	why = clocks_disagree(&before, &after);
	if (why) {
		snprintf(t->error, STAND_ERROR_LEN, "%s", why);
		return false;
	}
	for (int k = 0; k < ROUNDTRIP_SERVERS; k++)
		for (int i = 0; i < ROUNDTRIP_FIGURES; i++)
			t->done[k].figures[i] =
				stats_spread(t->series[k][i], repetitions);
	return report(t);
}

static bool open_stand(struct roundtrip *t, struct stand *s, uint32_t spin_us)
{
	const struct roundtrip_options *o = &t->options;
	char settings[64];
	struct stand_options options = {
		.keys = o->keys,
		.in_flight_max = 1,
		.stiled = o->stiled,
		.settings = settings,
	};

	snprintf(settings, sizeof(settings), "pin: on\nspin: %u\n",
		 (unsigned)spin_us);
	if (stand_open(s, &options) == 0 && stand_set_mode(s, o->mode) == 0)
		return true;
	snprintf(t->error, STAND_ERROR_LEN, "%s", s->error);
	return false;
}

static bool open_peer(struct roundtrip *t, int server, struct stand *s,
		      struct process *process, const char *path, bool constant)
{
	const struct address address = {.path = path};
	struct timeval timeout = {.tv_sec = 1};
	struct peer *p = &t->peers[server];

	*p = (struct peer){
		.process = process,
		.stand = s,
		.path = path,
		.constant = constant,
		.fd = address_connect(&address),
	};
	if (p->fd < 0) {
		snprintf(t->error, STAND_ERROR_LEN,
			 "cannot connect to %.200s: %s", path,
			 strerror(-p->fd));
		return false;
	}
	setsockopt(p->fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
	if (constant && t->first_cpu >= 0)
		process_pin(process, t->first_cpu);
	return true;
}

static bool open_all(struct roundtrip *t)
{
	struct stand *s = &t->plain;
	int r;

	if (!open_stand(t, s, 0) ||
	    !open_stand(t, &t->spinning, t->options.spin_us))
		return false;
	snprintf(t->echo_path, PATH_MAX, "%.*s/echo.sock", PATH_MAX - 16,
		 s->daemon.dir);
	r = echo_server_start(t->echo_path, &t->echo);
	if (r < 0) {
		snprintf(t->error, STAND_ERROR_LEN,
			 "the echo server cannot be started: %s", strerror(-r));
		return false;
	}
	return open_peer(t, ROUNDTRIP_ECHO, s, &t->echo, t->echo_path, true) &&
	       open_peer(t, ROUNDTRIP_NULL, s, &s->null_server, s->null_path,
			 true) &&
	       open_peer(t, ROUNDTRIP_CHECK, s, &s->daemon.process,
			 s->daemon.socket_path, false) &&
	       open_peer(t, ROUNDTRIP_CHECK_SPIN, &t->spinning,
			 &t->spinning.daemon.process,
			 t->spinning.daemon.socket_path, false);
}

/* Denied checks, and units that are on one side's books only. */
static bool balance(struct roundtrip *t, int server)
{
	struct peer *p = &t->peers[server];

	p->stand->units_allowed += p->tally.allowed;
	if (stand_check_denied(p->stand, &p->tally) == 0 &&
	    stand_balance(p->stand) == 0)
		return true;
	snprintf(t->error, STAND_ERROR_LEN, "%s", p->stand->error);
	return false;
}

static bool run(struct roundtrip *t)
{
	if (!open_all(t))
		return false;
	if (!t->options.json)
		roundtrip_report_head(&t->options, &t->plain.machine);
	for (int i = 0; i < ROUNDTRIP_PLACES; i++)
		if (t->options.places[i] &&
		    !run_place(t, (enum roundtrip_place)i))
			return false;
	return balance(t, ROUNDTRIP_CHECK) && balance(t, ROUNDTRIP_CHECK_SPIN);
}

static bool close_all(struct roundtrip *t)
{
	bool fine = true;

	for (int k = 0; k < ROUNDTRIP_SERVERS; k++)
		if (t->peers[k].fd > 0)
			close(t->peers[k].fd);
	process_stop(&t->echo);
	if (!stand_close(&t->spinning) || !stand_close(&t->plain))
		fine = false;
	if (!fine && t->error[0] == '\0')
		snprintf(t->error, STAND_ERROR_LEN,
			 "stiled did not end as it should have");
	return fine;
}

int roundtrip_main(int argc, char **argv)
{
	struct roundtrip *t = calloc(1, sizeof(*t));
	bool fine;
	int r;

	if (!t)
		return 1;
	r = roundtrip_options_parse(&t->options,
				    find_cpus(&t->first_cpu, &t->last_cpu),
				    argc, argv);
	if (r != 0) {
		free(t);
		return r < 0 ? 2 : 0;
	}
	t->cells = json_array();
	fine = run(t);
	fine = close_all(t) && fine;
	if (!fine)
		fprintf(stderr, "stile-bench: %s\n", t->error);
	else if (t->options.json)
		fine = report_dump(t->cells);
	json_decref(t->cells);
	free(t);
	return fine ? 0 : 1;
}
