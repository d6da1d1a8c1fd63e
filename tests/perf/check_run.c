/* SPDX-License-Identifier: MIT */

/*
 * A fixed run of checks through a whole worker, for callgrind to count:
 *
 *	check_run MODE ROUNDS
 *
 * One thread is client and worker in turns, and the clock is a counter, so
 * that the same binary executes the same instructions every time. Only
 * worker_round() is counted (tests/perf/instructions): a round is one batch of
 * DEPTH checks on each of CONNECTIONS connections.
 */
#include "../gate/fixture.h"
#include "../random.h"
#include "base/sha256.h"
#include "wire/native.h"
#include "worker/worker_internal.h"

#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define CONNECTIONS 64
#define DEPTH 32
#define ORGS 2048u
#define KEYS 16384u
#define ROUND_NS 1000000u
#define SEED 6

/* A window of 16 rounds, in which an organization spends about 16 units: most
 * checks find that one of its entries has left. */
#define LIMIT 128
#define WINDOW (16 * (uint64_t)MS)

enum mode { RAW, HASHED, DENIED, UNKNOWN, ONE_ORG, MODES };
static const char *const names[MODES] = {"raw", "hashed", "denied", "unknown",
					 "one_org"};

static struct {
	char text[NATIVE_KEY_MAX];
	uint8_t hash[SHA256_BYTES];
} keys[KEYS + 1];

static struct fixture fixture;
static struct keytable table;
static struct epoch epoch;
static struct workers_shared shared;
static struct workers team;
static struct worker *worker;
static int clients[CONNECTIONS];
static uint64_t now_ns = UINT64_C(1000000000000);

/* Also the worker's: both its clocks are this one. */
int clock_gettime(clockid_t id, struct timespec *ts)
{
	(void)id;
	ts->tv_sec = (time_t)(now_ns / 1000000000);
	ts->tv_nsec = (long)(now_ns % 1000000000);
	return 0;
}

static void make_text(struct rng *rng, const struct keytext_prefix *prefix,
		      uint32_t slot)
{
	static const char digits[] = "0123456789abcdefghijklmnopqrstuvwxyz"
				     "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
	char *text = keys[slot].text;
	size_t len = prefix->len, i;

	memcpy(text, prefix->text, prefix->len);
	for (i = 0; i < ID_LEN + 1 + KEYTEXT_SECRET_LEN; i++)
		text[len++] = digits[rng_below(rng, sizeof(digits) - 1)];
	text[prefix->len + ID_LEN] = '_';
	keytext_checksum(text, len, text + len);
	sha256(text, len + KEYTEXT_CRC_LEN, keys[slot].hash);
}

static void provide(struct rng *rng, enum mode mode)
{
	uint32_t slot, orgs = mode == ONE_ORG ? 1 : ORGS;

	for (slot = 1; slot <= orgs; slot++)
		fixture_org(&fixture, slot,
			    mode == DENIED    ? 1
			    : mode == ONE_ORG ? METER_EXACT_MAX
					      : LIMIT,
			    mode == DENIED ? WINDOW * 1000000 : WINDOW, 0);
	for (slot = 1; slot <= KEYS; slot++) {
		struct key *key = fixture_key(&fixture, slot);
		const uint8_t *hash = keys[slot].hash;

		make_text(rng, &shared.options.prefix, slot);
		memcpy(key->hash, hash + KEY_HASH_SKIP, sizeof(key->hash));
		memcpy(key->id.c, keys[slot].text + shared.options.prefix.len,
		       ID_LEN);
		key->org = 1 + slot % orgs;
		atomic_store_explicit(&key->state, SLOT_ACTIVE,
				      memory_order_relaxed);
		if (mode != UNKNOWN)
			check(keytable_insert(&table, hash, slot) == 0);
	}
}

static void start(void)
{
	char err[256];
	int i;

	team = (struct workers){.shared = &shared, .count = 1};
	worker = worker_new(&team, 0);
	check(worker != NULL);
	if (worker_setup(worker, err, sizeof(err)) < 0) {
		fprintf(stderr, "check_run: %s\n", err);
		exit(77);
	}
	for (i = 0; i < CONNECTIONS; i++) {
		int pair[2];

		check(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0,
				 pair) == 0);
		clients[i] = pair[0];
		conns_expect(&worker->conns, PROTOCOL_NATIVE);
		check(conn_open(&worker->conns, pair[1], PROTOCOL_NATIVE) !=
		      CONN_NONE);
	}
}

static void ask(struct rng *rng, enum mode mode)
{
	static uint8_t frames[DEPTH][NATIVE_REQUEST_BYTES];
	int i, j;

	for (i = 0; i < CONNECTIONS; i++) {
		memset(frames, 0, sizeof(frames));
		for (j = 0; j < DEPTH; j++) {
			uint32_t slot = 1 + rng_below(rng, KEYS);
			uint8_t *f = frames[j];
			size_t len = strlen(keys[slot].text);

			f[0] = mode == RAW ? NATIVE_CHECK_KEY
					   : NATIVE_CHECK_HASH;
			f[1] = NATIVE_VERSION;
			f[3] = mode == RAW ? (uint8_t)len : 0;
			f[4] = 1; /* cost */
			if (mode == RAW)
				memcpy(f + 64, keys[slot].text, len);
			else
				memcpy(f + 64, keys[slot].hash, SHA256_BYTES);
		}
		check(send(clients[i], frames, sizeof(frames), MSG_DONTWAIT) ==
		      sizeof(frames));
	}
}

/* Counts the replies that lie in the sockets; each must say `reason`, but for
 * the admissions of organizations that were at rest when denials are wanted. */
static uint32_t read_replies(enum reason reason)
{
	static uint8_t replies[DEPTH][NATIVE_REPLY_BYTES];
	uint32_t count = 0;
	int i;

	for (i = 0; i < CONNECTIONS; i++) {
		ssize_t n = recv(clients[i], replies, sizeof(replies),
				 MSG_DONTWAIT);
		ssize_t j;

		for (j = 0; j < n / NATIVE_REPLY_BYTES; j++)
			check(replies[j][1] == reason ||
			      (reason == REASON_RATE_LIMITED &&
			       replies[j][1] == REASON_ALLOW));
		count += n > 0 ? (uint32_t)(n / NATIVE_REPLY_BYTES) : 0;
	}
	return count;
}

static void run(enum mode mode, unsigned rounds)
{
	static const enum reason reasons[MODES] = {
		[RAW] = REASON_ALLOW,           [HASHED] = REASON_ALLOW,
		[DENIED] = REASON_RATE_LIMITED, [UNKNOWN] = REASON_INVALID_KEY,
		[ONE_ORG] = REASON_ALLOW,
	};
	struct rng rng = {SEED};
	unsigned i;

	provide(&rng, mode);
	start();
	for (i = 0; i < rounds; i++) {
		uint32_t replies = 0;

		now_ns += ROUND_NS;
		ask(&rng, mode);
		while (replies < CONNECTIONS * DEPTH) {
			worker_round(worker);
			/* Replies leave with the next wait; one without a
			 * completion to wait for would last. */
			io_uring_submit(&worker->ring.uring);
			replies += read_replies(reasons[mode]);
		}
	}
	for (i = 0; i < CONNECTIONS; i++)
		close(clients[i]);
	worker_teardown(worker);
	worker_free(worker);
}

int main(int argc, char **argv)
{
	enum mode mode = 0;

	while (argc == 3 && mode < MODES && strcmp(argv[1], names[mode]) != 0)
		mode++;
	if (argc != 3 || mode == MODES) {
		fprintf(stderr, "usage: check_run MODE ROUNDS\n");
		return 2;
	}
	fixture_open(&fixture);
	epoch_init(&epoch);
	check(keytable_init(&table, KEYS, &epoch) == 0);
	shared = (struct workers_shared){
		.options =
			{
				.listeners = {{.fd = -1}, {.fd = -1}},
				.count = 1,
				.max_connections = CONNECTIONS,
				.idle_timeout_s = 60,
				.recv_buffers = 4 * CONNECTIONS,
				.send_buffers = 4 * CONNECTIONS,
				.output_bytes_max = 1 << 16,
			},
		.arena = fixture.arena,
		.table = &table,
		.epoch = &epoch,
	};
	check(keytext_prefix_init(&shared.options.prefix, "il"));
	run(mode, (unsigned)strtoul(argv[2], NULL, 10));
	keytable_deinit(&table);
	fixture_close(&fixture);
	return 0;
}
