/* SPDX-License-Identifier: MIT */
#include "peers.h"

#include "peer.h"

#include <stdio.h>
#include <stdlib.h>

static const struct contest_kind kind = {
	.command = "peers",
	.sentence =
		"Runs the same load, keys at random, against stile and against "
		"what people\n"
		"use instead, in turns, and tells the server's CPU time per "
		"decision.\n"
		"Every server is started here, listens on a Unix socket if it "
		"can, and\n"
		"ends with the run. Takes about 1 GB of memory; more with "
		"more keys.\n"
		"--redis-cell PATH names that module for redis. Servers:\n",
	.names = "stile,stile-hashed,redis,redis-lookup,redis-cell,"
		 "throttlecrab,memcached,nginx",
	.keys = 1000000,
	.connections = 50,
	.depths = {1, 16, 64},
	.depths_count = 3,
	.takes_redis_cell = true,
};

static int (*const starters[])(struct peer *p, struct contest *c) = {
	peer_redis,     peer_redis_cell, peer_throttlecrab,
	peer_memcached, peer_nginx,
};
#define STARTER_COUNT (sizeof(starters) / sizeof(starters[0]))

struct natives {
	struct workload hashed; /* twin of the stand's */
	struct dialect raw, by_hash;
};

/* stile by key, the reference, and by hash. */
static int enter_stile(struct contest *c, struct natives *n)
{
	struct stand *s = &c->stand;
	struct contender stile = {
		.name = "stile",
		.version = "SHA-256, key table, organization's limit",
		.dialect = &n->raw,
		.address.path = s->daemon.socket_path,
		.servers = {&s->daemon.process},
		.server_count = 1,
		.units_allowed = &s->units_allowed,
	};

	dialect_of_frames(&n->raw, &s->workload, false);
	contest_enter(c, &stile);
	if (!contest_wants(c, "stile-hashed"))
		return 0;
	if (workload_twin_init(&n->hashed, &s->workload, WORKLOAD_HASHED) < 0)
		return contest_fail(c, "out of memory");
	dialect_of_frames(&n->by_hash, &n->hashed, false);
	stile.name = "stile-hashed";
	stile.version = "the client sends the SHA-256";
	stile.dialect = &n->by_hash;
	stile.base = "stile";
	contest_enter(c, &stile);
	return 0;
}

static bool stop_all(struct contest *c, struct peer *peers)
{
	bool fine = true;

	for (size_t i = 0; i < STARTER_COUNT; i++) {
		const char *name = peers[i].process.name;

		if (!peer_stop(&peers[i])) {
			contest_fail(c, "%s did not end as it should have",
				     name);
			fine = false;
		}
	}
	return fine;
}

static int run(struct contest *c, struct natives *natives, struct peer *peers)
{
	if (contest_open(c) < 0 || enter_stile(c, natives) < 0)
		return -1;
	for (size_t i = 0; i < STARTER_COUNT; i++)
		if (starters[i](&peers[i], c) < 0)
			return -1;
	return contest_run(c);
}

int peers_main(int argc, char **argv)
{
	struct contest *c = calloc(1, sizeof(*c));
	struct peer *peers = calloc(STARTER_COUNT, sizeof(*peers));
	struct natives natives = {0};
	int status = 1;

	if (!c || !peers)
		goto out_free;
	status = contest_options_parse(&c->options, &kind, argc, argv);
	if (status != 0) {
		status = status < 0 ? 2 : 0;
		goto out_free;
	}
	status = run(c, &natives, peers) < 0;
	if (status == 0 && !stop_all(c, peers))
		status = 1;
	else if (status != 0)
		for (size_t i = 0; i < STARTER_COUNT; i++)
			peer_stop(&peers[i]); /* the error is told already */
	workload_twin_deinit(&natives.hashed);
	status = contest_close(c, status != 0);
out_free:
	free(peers);
	free(c);
	return status;
}
