/* SPDX-License-Identifier: MIT */
#include "http.h"

#include "contest.h"
#include "httptext.h"
#include "null_server.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct contest_kind kind = {
	.command = "http",
	.sentence =
		"Checks over HTTP/1.1 on http.sock, connections kept open, "
		"against a\n"
		"responder that answers the same bytes and decides nothing, "
		"and against\n"
		"the native protocol, in turns. Servers:\n",
	.names = "null,http,http-nginx,native",
	.keys = 100000,
	.connections = 50,
	.depths = {1, 8},
	.depths_count = 2,
};

static const struct httptext_service null_service = {
	.path = "/v1/check",
	.status_denied = 429,
};
static const struct httptext_service check_service = {
	.path = "/v1/check",
	.status_denied = 429,
	.names_key = true,
	.header = "X-RateLimit-Limit",
};
/* Denials are 403 there; X-Stile-Status says 429. */
static const struct httptext_service nginx_service = {
	.path = "/v1/check/nginx",
	.status_denied = 403,
	.names_key = true,
	.header = "X-Stile-Status",
};

struct http {
	struct contest contest;
	struct process null_server;
	char null_path[PATH_MAX];
	char answer[HTTPTEXT_REPLY_MAX + 1];
	struct dialect null, check, nginx, native;
};

/* A known key passes, one that differs in a character does not. The answer to
 * the first is the null server's constant. */
static int probe(struct http *h, const struct address *gate)
{
	struct contest *c = &h->contest;
	struct workload_key key = c->stand.workload.keys[0];
	char answer[HTTPTEXT_REPLY_MAX + 1];

	if (httptext_ask(gate, check_service.path, key.text, key.text_len,
			 h->answer) != 200)
		return contest_fail(c, "http.sock does not allow a known key");
	c->stand.units_allowed++;
	key.text[20] ^= 1;
	if (httptext_ask(gate, check_service.path, key.text, key.text_len,
			 answer) != 401)
		return contest_fail(c, "http.sock does not refuse an unknown "
				       "key");
	return 0;
}

static int start_null(struct http *h)
{
	struct contest *c = &h->contest;
	int r;

	snprintf(h->null_path, PATH_MAX, "%.*s/null-http.sock", PATH_MAX - 32,
		 c->stand.daemon.dir);
	r = null_server_start_http(h->null_path, c->stand.server_cpu, h->answer,
				   &h->null_server);
	if (r < 0)
		return contest_fail(c, "the null server cannot be started: %s",
				    strerror(-r));
	return 0;
}

static int build(struct http *h)
{
	struct contest *c = &h->contest;
	const struct workload *w = &c->stand.workload;

	dialect_of_frames(&h->native, w, false);
	if (httptext_dialect(&h->null, w, &null_service) < 0 ||
	    httptext_dialect(&h->check, w, &check_service) < 0 ||
	    httptext_dialect(&h->nginx, w, &nginx_service) < 0)
		return contest_fail(c, "out of memory");
	return 0;
}

static void enter_all(struct http *h, const struct address *gate)
{
	struct contest *c = &h->contest;
	struct stand *s = &c->stand;
	struct contender who = {
		.name = "null",
		.version = "answers a constant",
		.dialect = &h->null,
		.address.path = h->null_path,
		.servers = {&h->null_server},
		.server_count = 1,
	};

	contest_enter(c, &who);
	who = (struct contender){
		.name = "http",
		.version = "/v1/check",
		.dialect = &h->check,
		.address = *gate,
		.servers = {&s->daemon.process},
		.server_count = 1,
		.base = "null",
		.units_allowed = &s->units_allowed,
	};
	if (contest_wants(c, who.name))
		contest_enter(c, &who);
	who.name = "http-nginx";
	who.version = "/v1/check/nginx";
	who.dialect = &h->nginx;
	if (contest_wants(c, who.name))
		contest_enter(c, &who);
	who.name = "native";
	who.version = "the native protocol, for comparison";
	who.dialect = &h->native;
	who.address.path = s->daemon.socket_path;
	who.base = NULL;
	if (contest_wants(c, who.name))
		contest_enter(c, &who);
}

static int run(struct http *h)
{
	struct contest *c = &h->contest;
	struct address gate = {.path = c->stand.daemon.http_path};

	if (contest_open(c) < 0 || probe(h, &gate) < 0 || start_null(h) < 0 ||
	    build(h) < 0)
		return -1;
	enter_all(h, &gate);
	return contest_run(c);
}

int http_main(int argc, char **argv)
{
	struct http *h = calloc(1, sizeof(*h));
	int r;

	if (!h)
		return 1;
	r = contest_options_parse(&h->contest.options, &kind, argc, argv);
	if (r != 0) {
		free(h);
		return r < 0 ? 2 : 0;
	}
	r = run(h);
	process_stop(&h->null_server);
	dialect_free(&h->null);
	dialect_free(&h->check);
	dialect_free(&h->nginx);
	r = contest_close(&h->contest, r < 0);
	free(h);
	return r;
}
