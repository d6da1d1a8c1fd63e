/* SPDX-License-Identifier: MIT */
#include "stand.h"

#include "load.h"
#include "null_server.h"
#include "scratch.h"

#include <dirent.h>
#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

/* No machine of today answers more than this with one worker. */
#define RPS_MAX 20000000u
#define WINDOW_MS 10u
#define WINDOW_LONG_MS 3600000u
#define LIMIT_MIN 128u
#define LIMIT_MAX_UNITS 65536u
/* Records and arena of one key, generously, and of an empty daemon. */
#define SCRATCH_BYTES_PER_KEY UINT64_C(1024)
#define SCRATCH_SPARE (UINT64_C(64) << 20)

volatile sig_atomic_t stand_interrupted;

static void on_signal(int number)
{
	(void)number;
	stand_interrupted = 1;
}

/*
 * A limit that nobody reaches, with windows no larger than needed: twice what
 * the fastest server admits in one window, plus what can be in flight. The
 * window is short because only its length times the rate has to be kept. When
 * the number of requests is known: four times an organization's share of them,
 * because the one that gets most of them has to pass too.
 */
static void choose_limit(struct workload *w, const struct stand_options *o)
{
	uint64_t want, limit = LIMIT_MIN;

	w->window_ms = WINDOW_MS;
	want = (2 * (uint64_t)RPS_MAX / 1000 * w->window_ms +
		4 * o->in_flight_max) /
		       w->org_count +
	       LIMIT_MIN / 2;
	if (want > LIMIT_MAX_UNITS)
		w->window_ms = 1;
	if (o->requests_max > 0) {
		w->window_ms = WINDOW_LONG_MS;
		want = 4 * o->requests_max / w->org_count + LIMIT_MIN / 2;
	}
	while (limit < want && limit < LIMIT_MAX_UNITS)
		limit *= 2;
	w->limit = (uint32_t)limit;
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

static const char *prepare_dir(struct stand *s, const struct stand_options *o)
{
	const char *dir = o->dir;
	int r;

	if (dir) {
		mkdir(dir, 0700); /* is_empty_dir() tells if it is there */
		if (is_empty_dir(dir))
			return dir;
		snprintf(s->error, STAND_ERROR_LEN,
			 "%s is not an empty directory", dir);
		return NULL;
	}
	r = scratch_make(choose_parent(o->keys), s->scratch,
			 sizeof(s->scratch));
	if (r == 0)
		return s->scratch;
	snprintf(s->error, STAND_ERROR_LEN,
		 "cannot make a scratch directory: %s", strerror(-r));
	return NULL;
}

int stand_open(struct stand *s, const struct stand_options *o)
{
	struct sigaction action = {.sa_handler = on_signal};
	char full[PATH_MAX];
	const char *dir;
	int r;

	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	signal(SIGPIPE, SIG_IGN);
	dir = prepare_dir(s, o);
	if (!dir)
		return -1;
	if (!realpath(dir, full) ||
	    snprintf(s->null_path, PATH_MAX, "%.*s/null.sock", PATH_MAX - 16,
		     full) >= 100) {
		snprintf(s->error, STAND_ERROR_LEN,
			 "%.200s is too long for a socket's path", dir);
		return -1;
	}
	s->server_cpu = o->pin ? choose_server_cpu() : -1;
	if (o->pin && s->server_cpu < 0) {
		snprintf(s->error, STAND_ERROR_LEN, "--pin needs two CPUs");
		return -1;
	}
	machine_read(&s->machine);

	/* Forked while we are small: a large process is copied on write. */
	r = null_server_start(s->null_path, s->server_cpu, &s->null_server);
	if (r < 0) {
		snprintf(s->error, STAND_ERROR_LEN,
			 "the null server cannot be started: %s", strerror(-r));
		return -1;
	}
	if (daemon_start(&s->daemon, o->stiled, full, o->settings,
			 s->server_cpu, s->error, STAND_ERROR_LEN) < 0)
		return -1;
	r = workload_init(&s->workload, o->keys,
			  o->keys_per_org ? o->keys_per_org
					  : STAND_KEYS_PER_ORG);
	if (r < 0) {
		snprintf(s->error, STAND_ERROR_LEN,
			 "%" PRIu32 " keys cannot be made: %s", o->keys,
			 strerror(-r));
		return -1;
	}
	choose_limit(&s->workload, o);
	return daemon_load_keys(&s->daemon, &s->workload, &stand_interrupted,
				s->error, STAND_ERROR_LEN);
}

static int probe(struct stand *s)
{
	const struct workload *w = &s->workload;
	uint8_t frame[NATIVE_REQUEST_BYTES], reply[NATIVE_REPLY_BYTES];
	struct workload_tally tally = {0};

	memcpy(frame, w->frames, sizeof(frame));
	if (load_ask_once(s->daemon.socket_path, frame, reply, s->error,
			  STAND_ERROR_LEN) < 0 ||
	    !workload_verify(w, false, 0, 1, reply, &tally, s->error,
			     STAND_ERROR_LEN))
		return -1;
	s->units_allowed += tally.allowed;
	frame[64 + 20] ^= 1;
	if (load_ask_once(s->daemon.socket_path, frame, reply, s->error,
			  STAND_ERROR_LEN) < 0)
		return -1;
	if (reply[1] != REASON_INVALID_KEY) {
		snprintf(s->error, STAND_ERROR_LEN,
			 "an unknown key was answered with reason %u instead "
			 "of %u",
			 reply[1], (unsigned)REASON_INVALID_KEY);
		return -1;
	}
	return 0;
}

int stand_set_mode(struct stand *s, enum workload_mode mode)
{
	workload_build(&s->workload, mode);
	return probe(s);
}

int stand_check_denied(struct stand *s, const struct workload_tally *tally)
{
	double share = workload_denied_share(tally);

	if (share <= STAND_DENIED_SHARE_MAX)
		return 0;
	snprintf(s->error, STAND_ERROR_LEN,
		 "%.1f %% of the checks were denied, a figure of something "
		 "else; use more keys or fewer connections",
		 share * 100);
	return -1;
}

int stand_balance(struct stand *s)
{
	uint64_t units;

	if (daemon_units_used(&s->daemon, &units, s->error, STAND_ERROR_LEN) <
	    0)
		return -1;
	if (units == s->units_allowed)
		return 0;
	snprintf(s->error, STAND_ERROR_LEN,
		 "clients were allowed %" PRIu64
		 " units, but the daemon counted %" PRIu64,
		 s->units_allowed, units);
	return -1;
}

bool stand_close(struct stand *s)
{
	bool fine = daemon_stop(&s->daemon);

	if (!fine && s->error[0] == '\0')
		snprintf(s->error, STAND_ERROR_LEN,
			 "stiled did not end as it should have");
	workload_deinit(&s->workload);
	process_stop(&s->null_server);
	if (s->scratch[0] != '\0')
		scratch_remove(s->scratch);
	return fine;
}
