/* SPDX-License-Identifier: MIT */
#ifndef STILE_BENCH_NGINX_CONFIG_H
#define STILE_BENCH_NGINX_CONFIG_H

/*
 * bench/nginx_config - the files of docs/deploy/nginx with sockets and a port
 * filled in. Beyond that only what a benchmark cannot have: no access log, and
 * connections that last for as many requests as they are sent.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct nginx_config {
	const char *gate_path, *api_path;
	uint16_t port;
	bool guarded; /* false: the same with `auth_request off` */
};

/* Into `dir`. The shipped files are looked for above this program, where it
 * is built. Returns -1 with a sentence in `error`: also when a text that is to
 * be replaced is not there. */
int nginx_config_write(const struct nginx_config *config, const char *dir,
		       char *error, size_t error_len);

#endif
