/* SPDX-License-Identifier: MIT */
#include "daemon.h"

#include "base/clock.h"
#include "scratch.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define READY_TIMEOUT_MS 60000

static int write_config(const struct daemon_server *d, const char *settings,
			const char *path)
{
	FILE *f = fopen(path, "we");

	if (!f)
		return -errno;
	/* One worker, because the figure is CPU time per check, and no
	 * snapshots in the middle of a measurement. */
	fprintf(f,
		"dir: %s\n"
		"runtime_dir: %s\n"
		"workers: 1\n"
		"snapshot_interval: 0s\n"
		"log_level: warn\n"
		"%s",
		d->dir, d->runtime_dir, settings ? settings : "");
	return fclose(f) != 0 ? -errno : 0;
}

/* Reads the daemon's standard output until the line `ready`. */
static bool wait_until_ready(int fd)
{
	uint64_t end_ms = clock_ns(CLOCK_MONOTONIC) / UINT64_C(1000000) +
			  READY_TIMEOUT_MS;
	char text[4096] = "";
	size_t len = 0;

	while (len < sizeof(text) - 1) {
		uint64_t now_ms = clock_ns(CLOCK_MONOTONIC) / UINT64_C(1000000);
		struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
		ssize_t n;

		if (now_ms >= end_ms ||
		    poll(&poll_fd, 1, (int)(end_ms - now_ms)) <= 0)
			return false;
		n = read(fd, text + len, sizeof(text) - 1 - len);
		if (n <= 0)
			return false;
		len += (size_t)n;
		text[len] = '\0';
		if (strncmp(text, "ready", 5) == 0 || strstr(text, "\nready"))
			return true;
	}
	return false;
}

int daemon_start(struct daemon_server *d, const char *stiled, const char *dir,
		 const char *settings, int cpu, char *error, size_t error_len)
{
	char config[PATH_MAX], log[PATH_MAX], tail[PROCESS_LOG_TAIL];
	const char *argv[] = {stiled, "--config", config, NULL};
	int ready[2], r;

	memset(d, 0, sizeof(*d));
	if (snprintf(d->dir, sizeof(d->dir), "%s", dir) >= PATH_MAX - 16) {
		snprintf(error, error_len, "%s is too long a path", dir);
		return -1;
	}
	snprintf(d->socket_path, PATH_MAX, "%.*s/stile.sock", PATH_MAX - 16,
		 dir);
	snprintf(d->http_path, PATH_MAX, "%.*s/http.sock", PATH_MAX - 16, dir);
	snprintf(d->admin_path, PATH_MAX, "%.*s/admin.sock", PATH_MAX - 16,
		 dir);
	snprintf(config, PATH_MAX, "%.*s/stiled.yaml", PATH_MAX - 16, dir);
	snprintf(log, PATH_MAX, "%.*s/stiled.log", PATH_MAX - 16, dir);
	if (access(stiled, X_OK) < 0) {
		snprintf(error, error_len,
			 "%s cannot be run; build stiled or name it with "
			 "--stiled",
			 stiled);
		return -1;
	}
	if (scratch_make("/dev/shm", d->runtime_dir, PATH_MAX) < 0 ||
	    write_config(d, settings, config) < 0 ||
	    pipe2(ready, O_CLOEXEC) < 0) {
		snprintf(error, error_len, "cannot prepare %s: %s", dir,
			 strerror(errno));
		return -1;
	}

	r = process_spawn(&d->process, "stiled", argv, log, ready[1], cpu);
	close(ready[1]);
	if (r == 0 && wait_until_ready(ready[0])) {
		/* Stays open unread: stiled has nothing more to say there, and
		 * would not survive a closed one if it had. */
		return 0;
	}
	close(ready[0]);
	process_log_tail(log, tail);
	snprintf(error, error_len, "%s did not become ready%s%s", stiled,
		 tail[0] ? ":\n" : "", tail);
	return -1;
}

bool daemon_stop(struct daemon_server *d)
{
	bool fine = process_stop(&d->process);

	if (d->runtime_dir[0] != '\0')
		scratch_remove(d->runtime_dir);
	d->runtime_dir[0] = '\0';
	return fine;
}
