/* SPDX-License-Identifier: MIT */
/*
 * Redis with GCRA as a Lua script, by EVALSHA: once with the key itself as the
 * name of the counter, once with a lookup of the key's organization, whose
 * counter it is, as stile does. And Redis with redis-cell, a module for it.
 */
#include "peer.h"

#include "peer_limit.h"
#include "resp.h"

#include <stdio.h>
#include <string.h>

#define COMMAND_LEN 4096
#define REPLY_LEN 1024
#define SHA_LEN 40

/* GCRA in whole microseconds. The counter holds the theoretical arrival time
 * and is forgotten when it has passed. */
#define GCRA                                                                   \
	"local t = redis.call('TIME')\n"                                       \
	"local now = t[1] * 1000000 + t[2]\n"                                  \
	"local burst, unit = tonumber(ARGV[1]), tonumber(ARGV[2])\n"           \
	"local tat = tonumber(redis.call('GET', counter) or now)\n"            \
	"if tat < now then tat = now end\n"                                    \
	"local later = tat + unit\n"                                           \
	"local wait = later - now - burst * unit\n"                            \
	"if wait > 0 then\n"                                                   \
	"  return {0, burst, 0, math.ceil(wait / 1000),\n"                     \
	"          math.ceil((tat - now) / 1000), org}\n"                      \
	"end\n"                                                                \
	"local reset = math.ceil((later - now) / 1000)\n"                      \
	"redis.call('SET', counter, later, 'PX', reset)\n"                     \
	"return {1, burst, math.floor(-wait / unit), 0, reset, org}\n"

static const char script_by_key[] = "local counter, org = KEYS[1], nil\n" GCRA;
static const char script_by_org[] =
	"local org = redis.call('GET', KEYS[1])\n"
	"if not org then return {0, tonumber(ARGV[1]), 0, 0, 0, 'none'} end\n"
	"local counter = 'o:' .. org\n" GCRA;

static const struct resp_limiter by_key = {
	.items = 5,
	.allowed = 1,
	.limit = PEER_BURST,
};
static const struct resp_limiter by_org = {
	.items = 5,
	.allowed = 1,
	.limit = PEER_BURST,
	.names_org = true,
};
/* limited, limit, remaining, retry, reset */
static const struct resp_limiter by_cell = {
	.items = 5,
	.allowed = 0,
	.limit = PEER_BURST,
};

static int start_redis(struct peer *p, struct contest *c, const char *name,
		       const char *module)
{
	const char *argv[] = {
		NULL,      "--port",
		"0",       "--unixsocket",
		p->path,   "--dir",
		p->dir,    "--save",
		"",        "--appendonly",
		"no",      "--loglevel",
		"warning", module ? "--loadmodule" : NULL,
		module,    NULL,
	};

	if (peer_prepare(p, c->stand.daemon.dir, name, c->stand.error,
			 STAND_ERROR_LEN) < 0)
		return -1;
	return peer_start(p, name, argv, c->stand.server_cpu, c->stand.error,
			  STAND_ERROR_LEN);
}

/* Redis tells its build along with its version. */
static bool find_redis(struct peer *p, char *why, size_t why_len)
{
	char *build;

	if (!peer_find(p, "redis-server", "--version", why, why_len))
		return false;
	build = strstr(p->version, " sha=");
	if (build)
		*build = '\0';
	return true;
}

static int load_script(struct peer *p, struct contest *c, const char *script,
		       char sha[static SHA_LEN + 1])
{
	const char *argv[] = {"SCRIPT", "LOAD", script};
	char command[COMMAND_LEN];
	uint8_t buffer[REPLY_LEN];
	struct resp_reply r;

	if (!resp_command(command, sizeof(command), 3, argv) ||
	    resp_call(&p->address, command, buffer, sizeof(buffer), &r,
		      c->stand.error, STAND_ERROR_LEN) < 0)
		return -1;
	if (r.kind != '$' || r.text_len != SHA_LEN)
		return contest_fail(c, "redis: no hash for a script");
	memcpy(sha, r.text, SHA_LEN);
	sha[SHA_LEN] = '\0';
	return 0;
}

static void enter(struct contest *c, struct peer *p, const char *name,
		  const struct dialect *d, const char *base)
{
	contest_enter(c, &(struct contender){
				 .name = name,
				 .version = p->version,
				 .dialect = d,
				 .address = p->address,
				 .servers = {&p->process},
				 .server_count = 1,
				 .base = base,
			 });
}

static int enter_by_key(struct peer *p, struct contest *c, const char *sha)
{
	const char *argv[] = {
		"EVALSHA", sha, "1", "key", PEER_BURST_TEXT, PEER_UNIT_US_TEXT};
	const char *probe[] = {"EVALSHA", sha, "1",
			       "probe",   "1", PEER_UNIT_US_TEXT};
	struct resp_form form = {
		.argc = 6,
		.key_arg = 3,
		.argv = argv,
		.prefix = "t:",
	};

	if (peer_probe(p, c, 6, probe, 1, by_key.allowed) < 0)
		return -1;
	if (resp_dialect(&p->dialects[0], &c->stand.workload, &form, &by_key) <
	    0)
		return contest_fail(c, "out of memory");
	enter(c, p, "redis", &p->dialects[0], NULL);
	return contest_fill(c, &p->address, &p->process, &p->dialects[0],
			    LOAD_PASS_DEPTH_MAX);
}

static int enter_by_org(struct peer *p, struct contest *c, const char *sha)
{
	const char *argv[] = {
		"EVALSHA", sha, "1", "key", PEER_BURST_TEXT, PEER_UNIT_US_TEXT};
	struct resp_form form = {
		.argc = 6,
		.key_arg = 3,
		.argv = argv,
		.prefix = "k:",
	};
	struct dialect set = {0};
	int r = resp_dialect_set(&set, &c->stand.workload, form.prefix);

	if (r == 0)
		r = resp_dialect(&p->dialects[1], &c->stand.workload, &form,
				 &by_org);
	if (r < 0)
		contest_fail(c, "out of memory");
	else
		r = contest_fill(c, &p->address, &p->process, &set,
				 LOAD_PASS_DEPTH_MAX);
	dialect_free(&set);
	if (r == 0)
		enter(c, p, "redis-lookup", &p->dialects[1],
		      contest_wants(c, "redis") ? "redis" : NULL);
	return r;
}

int peer_redis(struct peer *p, struct contest *c)
{
	bool key = contest_wants(c, "redis");
	bool org = contest_wants(c, "redis-lookup");
	char sha[SHA_LEN + 1], why[128];

	if (!key && !org)
		return 0;
	if (!find_redis(p, why, sizeof(why))) {
		contest_skip(c, key ? "redis" : "redis-lookup", why);
		if (key && org)
			contest_skip(c, "redis-lookup", why);
		return 0;
	}
	if (start_redis(p, c, "redis", NULL) < 0)
		return -1;
	if (key && (load_script(p, c, script_by_key, sha) < 0 ||
		    enter_by_key(p, c, sha) < 0))
		return -1;
	if (org && (load_script(p, c, script_by_org, sha) < 0 ||
		    enter_by_org(p, c, sha) < 0))
		return -1;
	return 0;
}

int peer_redis_cell(struct peer *p, struct contest *c)
{
	/* It counts the first one apart from the burst. */
	static const char *const argv[] = {"CL.THROTTLE", "key",
					   PEER_BURST_BUT_ONE_TEXT, "1",
					   PEER_UNIT_S_TEXT};
	static const char *const probe[] = {"CL.THROTTLE", "probe", "0", "1",
					    PEER_UNIT_S_TEXT};
	static const struct resp_form form = {
		.argc = 5,
		.key_arg = 1,
		.argv = argv,
		.prefix = "",
	};
	const char *module = c->options.redis_cell;
	char why[128];

	if (!contest_wants(c, "redis-cell"))
		return 0;
	if (!find_redis(p, why, sizeof(why)) || !module) {
		contest_skip(c, "redis-cell",
			     module ? why : "no --redis-cell PATH given");
		return 0;
	}
	snprintf(p->version + strlen(p->version),
		 sizeof(p->version) - strlen(p->version), " with %s", module);
	if (start_redis(p, c, "redis-cell", module) < 0 ||
	    peer_probe(p, c, 5, probe, 1, by_cell.allowed) < 0)
		return -1;
	if (resp_dialect(&p->dialects[0], &c->stand.workload, &form, &by_cell) <
	    0)
		return contest_fail(c, "out of memory");
	enter(c, p, "redis-cell", &p->dialects[0], NULL);
	return contest_fill(c, &p->address, &p->process, &p->dialects[0],
			    LOAD_PASS_DEPTH_MAX);
}
