/* SPDX-License-Identifier: MIT */
/*
 * Two nginx, each of one process, with the configuration that we ship: one as
 * it is, one with auth_request off. Both in front of the same API, a null
 * server, which is not counted.
 */
#include "nginx.h"

#include "httptext.h"
#include "nginx_config.h"
#include "null_server.h"
#include "peer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct contest_kind kind = {
	.command = "nginx",
	.sentence =
		"Requests through nginx to an API that does nothing, over TCP "
		"on the\n"
		"loopback interface, connections kept open: without and with "
		"stile asked\n"
		"by auth_request, in the configuration of docs/deploy/nginx. "
		"Servers:\n",
	.names = "nginx,nginx-stile",
	.keys = 100000,
	/* No more than the shipped upstream blocks keep open. */
	.connections = 16,
	.depths = {1},
	.depths_count = 1,
};

static const char api_answer[] = "HTTP/1.1 200 OK\r\n"
				 "Content-Type: text/plain\r\n"
				 "Content-Length: 6\r\n\r\nhello\n";

/* Through the configuration a denial is 429 again. */
static const struct httptext_service plain_service = {
	.path = "/v1/thing",
	.status_denied = 429,
};
static const struct httptext_service guarded_service = {
	.path = "/v1/thing",
	.status_denied = 429,
	.header = "X-RateLimit-Limit",
};

struct nginx {
	struct contest contest;
	struct process api;
	char api_path[PATH_MAX];
	struct peer plain, guarded;
};

static int start_api(struct nginx *n)
{
	struct contest *c = &n->contest;
	int r;

	snprintf(n->api_path, PATH_MAX, "%.*s/api.sock", PATH_MAX - 16,
		 c->stand.daemon.dir);
	r = null_server_start_http(n->api_path, c->stand.server_cpu, api_answer,
				   &n->api);
	if (r < 0)
		return contest_fail(c, "the API cannot be started: %s",
				    strerror(-r));
	return 0;
}

static int start_nginx(struct nginx *n, struct peer *p, const char *name,
		       bool guarded)
{
	static const char *argv[] = {
		NULL,  "-p",         NULL,
		"-c",  "nginx.conf", "-e",
		"log", "-g",         "daemon off; master_process off;",
		NULL,
	};
	struct contest *c = &n->contest;
	struct stand *s = &c->stand;
	struct nginx_config config = {
		.gate_path = s->daemon.http_path,
		.api_path = n->api_path,
		.guarded = guarded,
	};

	if (peer_prepare(p, s->daemon.dir, name, s->error, STAND_ERROR_LEN) < 0)
		return -1;
	p->address.path = NULL;
	if (address_free_port(&p->address.port) < 0)
		return contest_fail(c, "no port is free");
	config.port = p->address.port;
	if (nginx_config_write(&config, p->dir, s->error, STAND_ERROR_LEN) < 0)
		return -1;
	argv[2] = p->dir;
	return peer_start(p, "nginx", argv, s->server_cpu, s->error,
			  STAND_ERROR_LEN);
}

/* One asks nobody, the other refuses what the gate does not know. */
static int probe(struct nginx *n)
{
	struct contest *c = &n->contest;
	struct workload_key key = c->stand.workload.keys[0];
	char answer[HTTPTEXT_REPLY_MAX + 1];

	key.text[20] ^= 1;
	if (httptext_ask(&n->plain.address, plain_service.path, key.text,
			 key.text_len, answer) != 200)
		return contest_fail(c, "nginx without stile asks somebody");
	if (httptext_ask(&n->guarded.address, guarded_service.path, key.text,
			 key.text_len, answer) != 401)
		return contest_fail(c, "nginx with stile lets an unknown key "
				       "pass");
	return 0;
}

static int enter_all(struct nginx *n)
{
	struct contest *c = &n->contest;
	struct stand *s = &c->stand;
	struct contender who = {
		.name = "nginx",
		.version = n->plain.version,
		.dialect = &n->plain.dialects[0],
		.address = n->plain.address,
		.servers = {&n->plain.process},
		.server_count = 1,
	};

	if (httptext_dialect(&n->plain.dialects[0], &s->workload,
			     &plain_service) < 0 ||
	    httptext_dialect(&n->guarded.dialects[0], &s->workload,
			     &guarded_service) < 0)
		return contest_fail(c, "out of memory");
	contest_enter(c, &who);
	if (!contest_wants(c, "nginx-stile"))
		return 0;
	contest_enter(
		c, &(struct contender){
			   .name = "nginx-stile",
			   .version = n->guarded.version,
			   .dialect = &n->guarded.dialects[0],
			   .address = n->guarded.address,
			   .servers = {&n->guarded.process, &s->daemon.process},
			   .server_count = 2,
			   .base = "nginx",
			   .units_allowed = &s->units_allowed,
		   });
	return 0;
}

static int run(struct nginx *n)
{
	struct contest *c = &n->contest;

	if (contest_open(c) < 0 || start_api(n) < 0 ||
	    start_nginx(n, &n->plain, "plain", false) < 0 ||
	    start_nginx(n, &n->guarded, "guarded", true) < 0 || probe(n) < 0 ||
	    enter_all(n) < 0)
		return -1;
	return contest_run(c);
}

/* Without nginx there is nothing to measure, and nothing wrong. */
static int skip_all(struct contest *c, const char *why)
{
	fprintf(stderr, "stile-bench: nginx is skipped: %s\n", why);
	if (c->options.json)
		printf("[{\"server\": \"nginx\", \"skipped\": \"%s\"}]\n", why);
	return 0;
}

int nginx_main(int argc, char **argv)
{
	struct nginx *n = calloc(1, sizeof(*n));
	bool fine;
	char why[128];
	int r;

	if (!n)
		return 1;
	r = contest_options_parse(&n->contest.options, &kind, argc, argv);
	if (r != 0) {
		r = r < 0 ? 2 : 0;
	} else if (!peer_find(&n->plain, "nginx", "-v", why, sizeof(why)) ||
		   !peer_find(&n->guarded, "nginx", "-v", why, sizeof(why))) {
		r = skip_all(&n->contest, why);
	} else {
		r = run(n);
		fine = peer_stop(&n->plain);
		fine = peer_stop(&n->guarded) && fine;
		if (!fine && r == 0)
			r = contest_fail(&n->contest, "nginx did not end as it "
						      "should have");
		process_stop(&n->api);
		r = contest_close(&n->contest, r < 0);
	}
	free(n);
	return r;
}
