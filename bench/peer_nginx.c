/* SPDX-License-Identifier: MIT */
/*
 * nginx with limit_req by the key, in front of the smallest content that it
 * has; and that content alone, so that the limiter's share can be told. One
 * process: no master, whose worker would have to be found to read its CPU
 * time.
 */
#include "peer.h"

#include "httptext.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* limit_req takes milliseconds and 32 bits: a rate and a burst that nobody
 * reaches, and room for each key's node. */
#define BYTES_PER_KEY UINT64_C(256)
#define SPARE_MIB UINT64_C(16)

static const struct httptext_service service = {
	.path = "/",
	.status_denied = 429,
};
static const struct httptext_service probe_service = {
	.path = "/probe",
	.status_denied = 429,
};

static bool write_config(const struct peer *p, uint32_t keys)
{
	char path[PATH_MAX];
	FILE *f;

	snprintf(path, sizeof(path), "%.*s/nginx.conf", PATH_MAX - 16, p->dir);
	f = fopen(path, "we");
	if (!f)
		return false;
	fprintf(f,
		"pid nginx.pid;\n"
		"error_log log warn;\n"
		"events { worker_connections 4096; }\n"
		"http {\n"
		"	access_log off;\n"
		"	keepalive_requests 1000000000;\n"
		"	client_body_temp_path tmp_body;\n"
		"	proxy_temp_path tmp_proxy;\n"
		"	fastcgi_temp_path tmp_fastcgi;\n"
		"	uwsgi_temp_path tmp_uwsgi;\n"
		"	scgi_temp_path tmp_scgi;\n"
		"	limit_req_status 429;\n"
		"	limit_req_zone $http_x_api_key zone=keys:%" PRIu64
		"m rate=100000r/s;\n"
		"	limit_req_zone $http_x_api_key zone=probe:1m "
		"rate=1r/m;\n"
		"	server {\n"
		"		listen unix:%s backlog=4096;\n"
		"		location / {\n"
		"			limit_req zone=keys burst=1000000 "
		"nodelay;\n"
		"			empty_gif;\n"
		"		}\n"
		"		location /probe {\n"
		"			limit_req zone=probe;\n"
		"			empty_gif;\n"
		"		}\n"
		"	}\n"
		"	server {\n"
		"		listen unix:%s.content backlog=4096;\n"
		"		location / { empty_gif; }\n"
		"	}\n"
		"}\n",
		SPARE_MIB + keys * BYTES_PER_KEY / (1 << 20), p->path, p->path);
	return fclose(f) == 0;
}

static int start(struct peer *p, struct contest *c)
{
	const char *argv[] = {
		NULL,  "-p",         p->dir,
		"-c",  "nginx.conf", "-e",
		"log", "-g",         "daemon off; master_process off;",
		NULL,
	};

	if (peer_prepare(p, c->stand.daemon.dir, "nginx", c->stand.error,
			 STAND_ERROR_LEN) < 0)
		return -1;
	if (!write_config(p, c->options.keys))
		return contest_fail(c, "nginx's configuration cannot be "
				       "written");
	return peer_start(p, "nginx", argv, c->stand.server_cpu, c->stand.error,
			  STAND_ERROR_LEN);
}

/* The first request of a key passes, the second does not. */
static int probe(struct peer *p, struct contest *c)
{
	struct load_options load = {
		.address = p->address,
		.servers = {&p->process},
		.server_count = 1,
		.connections = 1,
		.depth = 1,
		.interrupted = &stand_interrupted,
	};
	struct workload_tally tally = {0};
	struct dialect d, first;
	int r = httptext_dialect(&d, &c->stand.workload, &probe_service);

	first = d;
	first.request_count = 1;
	for (int i = 0; i < 2 && r == 0; i++)
		r = load_pass(&load, &first, &tally, c->stand.error,
			      STAND_ERROR_LEN);
	dialect_free(&d);
	if (r == 0 && (tally.allowed != 1 || tally.denied != 1))
		return contest_fail(c, "nginx does not keep a limit of 1");
	return r;
}

int peer_nginx(struct peer *p, struct contest *c)
{
	static char content[PATH_MAX + 8];
	struct contender nginx = {
		.name = "nginx-content",
		.version = "the same without limit_req",
		.dialect = &p->dialects[0],
		.address.path = content,
		.servers = {&p->process},
		.server_count = 1,
	};
	char why[128];

	if (!contest_wants(c, "nginx"))
		return 0;
	if (!peer_find(p, "nginx", "-v", why, sizeof(why))) {
		contest_skip(c, "nginx", why);
		return 0;
	}
	if (start(p, c) < 0 || probe(p, c) < 0)
		return -1;
	if (httptext_dialect(&p->dialects[0], &c->stand.workload, &service) < 0)
		return contest_fail(c, "out of memory");
	snprintf(content, sizeof(content), "%s.content", p->path);
	contest_enter(c, &nginx);
	nginx.name = "nginx";
	nginx.version = p->version;
	nginx.address = p->address;
	nginx.base = "nginx-content";
	contest_enter(c, &nginx);
	return contest_fill(c, &p->address, &p->process, &p->dialects[0],
			    LOAD_PASS_DEPTH_MAX);
}
