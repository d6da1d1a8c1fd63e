/* SPDX-License-Identifier: MIT */
/* throttlecrab, a GCRA server, by its Redis protocol. It has no Unix
 * socket. */
#include "peer.h"

#include "peer_limit.h"
#include "resp.h"

#include <stdio.h>

/* allowed, limit, remaining, reset, retry */
static const struct resp_limiter limiter = {
	.items = 5,
	.allowed = 1,
	.limit = PEER_BURST,
};

static int start(struct peer *p, struct contest *c)
{
	char port[8];
	const char *argv[] = {
		NULL,          "--redis",      "--redis-host",
		"127.0.0.1",   "--redis-port", port,
		"--log-level", "warn",         NULL,
	};

	if (peer_prepare(p, c->stand.daemon.dir, "throttlecrab", c->stand.error,
			 STAND_ERROR_LEN) < 0)
		return -1;
	p->address.path = NULL;
	if (address_free_port(&p->address.port) < 0)
		return contest_fail(c, "no port is free");
	snprintf(port, sizeof(port), "%u", p->address.port);
	return peer_start(p, "throttlecrab", argv, c->stand.server_cpu,
			  c->stand.error, STAND_ERROR_LEN);
}

int peer_throttlecrab(struct peer *p, struct contest *c)
{
	static const char *const argv[] = {"THROTTLE", "key", PEER_BURST_TEXT,
					   "1", PEER_UNIT_S_TEXT};
	/* Not 1: it never limits then. */
	static const char *const probe[] = {"THROTTLE", "probe", "2", "1",
					    PEER_UNIT_S_TEXT};
	static const struct resp_form form = {
		.argc = 5,
		.key_arg = 1,
		.argv = argv,
		.prefix = "",
	};
	char why[128];

	if (!contest_wants(c, "throttlecrab"))
		return 0;
	if (!peer_find(p, "throttlecrab-server", "--version", why,
		       sizeof(why))) {
		contest_skip(c, "throttlecrab", why);
		return 0;
	}
	if (start(p, c) < 0 ||
	    peer_probe(p, c, 5, probe, 2, limiter.allowed) < 0)
		return -1;
	if (resp_dialect(&p->dialects[0], &c->stand.workload, &form, &limiter) <
	    0)
		return contest_fail(c, "out of memory");
	contest_enter(c, &(struct contender){
				 .name = "throttlecrab",
				 .version = p->version,
				 .dialect = &p->dialects[0],
				 .address = p->address,
				 .servers = {&p->process},
				 .server_count = 1,
			 });
	/* One at a time: it writes each reply by itself, and waits for the
	 * client's acknowledgement before the next. */
	return contest_fill(c, &p->address, &p->process, &p->dialects[0], 1);
}
