/* SPDX-License-Identifier: MIT */
#include "peer.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LISTEN_TIMEOUT_MS 10000
#define LISTEN_POLL_MS 10

bool peer_find(struct peer *p, const char *program, const char *version_option,
	       char *why, size_t why_len)
{
	const char *argv[] = {p->program, version_option, NULL};

	if (process_find(program, p->program, sizeof(p->program)) &&
	    process_first_line(argv, p->version, sizeof(p->version)))
		return true;
	snprintf(why, why_len, "%s is not installed", program);
	return false;
}

int peer_prepare(struct peer *p, const char *dir, const char *name, char *error,
		 size_t error_len)
{
	/* All fit: the directory of an experiment leaves room for a socket. */
	if (snprintf(p->dir, PATH_MAX, "%s/%s", dir, name) >= PATH_MAX - 16 ||
	    mkdir(p->dir, 0700) < 0) {
		snprintf(error, error_len, "%.200s/%s cannot be made", dir,
			 name);
		return -1;
	}
	snprintf(p->log, PATH_MAX, "%.*s/log", PATH_MAX - 16, p->dir);
	snprintf(p->path, PATH_MAX, "%.*s/sock", PATH_MAX - 16, p->dir);
	p->address.path = p->path;
	return 0;
}

static bool wait_until_listening(struct peer *p, char *why, size_t why_len)
{
	for (int ms = 0; ms < LISTEN_TIMEOUT_MS; ms += LISTEN_POLL_MS) {
		int fd = address_connect(&p->address);

		if (fd >= 0) {
			close(fd);
			return true;
		}
		if (process_has_ended(&p->process, why, why_len))
			return false;
		usleep(LISTEN_POLL_MS * 1000);
	}
	snprintf(why, why_len, "%s does not listen", p->process.name);
	return false;
}

int peer_start(struct peer *p, const char *name, const char *argv[], int cpu,
	       char *error, size_t error_len)
{
	char tail[PROCESS_LOG_TAIL], why[128] = "no process";

	argv[0] = p->program;
	if (process_spawn(&p->process, name, argv, p->log, -1, cpu) == 0 &&
	    wait_until_listening(p, why, sizeof(why)))
		return 0;
	process_log_tail(p->log, tail);
	snprintf(error, error_len, "%s could not be started: %s\n%s", name, why,
		 tail);
	return -1;
}

bool peer_stop(struct peer *p)
{
	bool fine = process_stop(&p->process);

	for (int i = 0; i < PEER_DIALECTS; i++)
		dialect_free(&p->dialects[i]);
	return fine;
}
