/* SPDX-License-Identifier: MIT */
#include "worker/worker.h"

#include "../gate/fixture.h"
#include "base/sha256.h"
#include "gate/keytable.h"
#include "wire/native.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

/*
 * Real workers on sockets without a name in the file system, over an arena
 * in which at most one key is known: what is asked here is whether every
 * request gets its own answer, what becomes of connections, and what stays in
 * memory.
 */

#define CONNECTIONS 64
#define WAIT_MS 10000

static struct epoch epoch;
static struct keytable table;
static struct fixture fixture;
static struct workers_shared shared;
static struct workers *workers;
static int listeners[PROTOCOLS];

static struct sockaddr_un address(enum protocol p, socklen_t *ret_len)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	int n = snprintf(a.sun_path + 1, sizeof(a.sun_path) - 1,
			 "stile-worker-test-%d-%d", getpid(), (int)p);

	*ret_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 +
			       (size_t)n);
	return a;
}

static int listener(enum protocol p)
{
	socklen_t len;
	struct sockaddr_un a = address(p, &len);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	cr_assert_geq(fd, 0);
	cr_assert_eq(bind(fd, (struct sockaddr *)&a, len), 0);
	cr_assert_eq(listen(fd, 256), 0);
	return fd;
}

static int start(uint32_t count, char *err, size_t err_len)
{
	epoch_init(&epoch);
	fixture_open(&fixture);
	cr_assert_eq(keytable_init(&table, 16, &epoch), 0);
	for (int p = 0; p < PROTOCOLS; p++)
		listeners[p] = listener((enum protocol)p);
	shared = (struct workers_shared){
		.options =
			{
				.listeners =
					{
						{listeners[0], PROTOCOL_NATIVE,
						 CONNECTIONS},
						{listeners[1], PROTOCOL_HTTP,
						 CONNECTIONS / 2},
					},
				.count = count,
				.max_connections = CONNECTIONS,
				.idle_timeout_s = 60,
				.recv_buffers = 8,
				.send_buffers = 64,
				.output_bytes_max = 1 << 16,
				.http = {.realm = "stile"},
			},
		.arena = fixture.arena,
		.table = &table,
		.epoch = &epoch,
	};
	cr_assert(keytext_prefix_init(&shared.options.prefix, "il"));
	return workers_start(&workers, &shared, err, err_len);
}

static void setup(uint32_t count)
{
	char err[256] = "";
	int r = start(count, err, sizeof(err));

	if (r == -EPERM || r == -ENOSYS)
		cr_skip_test("io_uring is refused on this machine");
	cr_assert_eq(r, 0, "%s", err);
}

/* After workers_join(). */
static void put_away(void)
{
	workers = workers_free(workers);
	for (int p = 0; p < PROTOCOLS; p++)
		close(listeners[p]);
	keytable_deinit(&table);
	fixture_close(&fixture);
}

static void teardown(void)
{
	workers_drain(workers);
	workers_join(workers, WAIT_MS);
	put_away();
}

/* A key that passes 65,536 times. */
static void know(const char *text)
{
	struct key *key = fixture_key(&fixture, 1);
	uint8_t hash[32];

	(void)fixture_org(&fixture, 1, 65536, 86400000 * (uint64_t)MS, 0);
	sha256(text, strlen(text), hash);
	memcpy(key->hash, hash + KEY_HASH_SKIP, sizeof(key->hash));
	memcpy(key->id.c, "key00001", ID_LEN);
	key->org = 1;
	atomic_store_explicit(&key->state, SLOT_ACTIVE, memory_order_relaxed);
	cr_assert_eq(keytable_insert(&table, hash, 1), 0);
}

/* -1: nobody listens any more. */
static int try_dial(enum protocol p)
{
	socklen_t len;
	struct sockaddr_un a = address(p, &len);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	cr_assert_geq(fd, 0);
	if (connect(fd, (struct sockaddr *)&a, len) == 0)
		return fd;
	cr_assert_eq(errno, ECONNREFUSED);
	close(fd);
	return -1;
}

static int dial(enum protocol p)
{
	int fd = try_dial(p);

	cr_assert_geq(fd, 0);
	return fd;
}

static void send_all(int fd, const void *bytes, size_t len)
{
	const uint8_t *at = bytes;

	while (len > 0) {
		ssize_t n = send(fd, at, len, MSG_NOSIGNAL);

		cr_assert_gt(n, 0, "%s", strerror(errno));
		at += n;
		len -= (size_t)n;
	}
}

/* Bytes there are, 0 at the end, which a reset is too. */
static size_t receive(int fd, void *out, size_t len)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	ssize_t n;

	cr_assert_eq(poll(&p, 1, WAIT_MS), 1, "no answer");
	n = recv(fd, out, len, 0);
	return n > 0 ? (size_t)n : 0;
}

static void receive_all(int fd, void *out, size_t len)
{
	uint8_t *at = out;

	while (len > 0) {
		size_t n = receive(fd, at, len);

		cr_assert_gt(n, 0, "closed");
		at += n;
		len -= n;
	}
}

static void fill_frame(uint8_t *frame, uint64_t id, const char *key)
{
	memset(frame, 0, NATIVE_REQUEST_BYTES);
	frame[0] = NATIVE_CHECK_KEY;
	frame[1] = NATIVE_VERSION;
	frame[3] = (uint8_t)strlen(key);
	frame[4] = 1;
	memcpy(frame + 8, &id, sizeof(id));
	memcpy(frame + 64, key, strlen(key));
}

static uint64_t sum(size_t counter_offset)
{
	uint64_t n = 0;

	for (uint32_t i = 0; i < workers_count(workers); i++)
		n += counter_read((
			const _Atomic(uint64_t)
				*)(const void *)((const char *)workers_counters(
							 workers, i) +
						 counter_offset));
	return n;
}
#define SUM(field) sum(offsetof(struct counters, field))

#define wait_until(condition)                                                  \
	do {                                                                   \
		int tries_ = 0;                                                \
		while (!(condition)) {                                         \
			cr_assert_lt(tries_++, WAIT_MS, "%s", #condition);     \
			poll(NULL, 0, 1);                                      \
		}                                                              \
	} while (0)

static uint64_t seed(void)
{
	const char *text = getenv("STILE_SEED");
	uint64_t s = text ? strtoull(text, NULL, 0)
			  : (uint64_t)getpid() * 2654435761u;

	fprintf(stderr, "STILE_SEED=%llu\n", (unsigned long long)s);
	return s;
}

static uint32_t draw(uint64_t *s, uint32_t below)
{
	*s = *s * UINT64_C(6364136223846793005) + 1442695040888963407u;
	return (uint32_t)(*s >> 33) % below;
}

TestSuite(worker, .timeout = 60);

/* Frame `i` of a mixture of all types. How long it is. */
static size_t mixed_frame(uint8_t *frame, uint64_t i)
{
	fill_frame(frame, i, i % 3 ? "sk_nobody" : "sk_somebody");
	memset(frame + NATIVE_REQUEST_BYTES, 0,
	       NATIVE_LONG_REQUEST_BYTES - NATIVE_REQUEST_BYTES);
	if (i % 7 == 2) {
		frame[0] = NATIVE_LONG_KEY;
		memcpy(frame + 192, "route", frame[164] = 5);
		frame[2] = i / 7 % 3 ? CHECK_EXPLAIN : 0;
	} else if (i % 7 == 5) {
		frame[0] = NATIVE_SETTLE;
		frame[3] = 0;
		memset(frame + 64, 0, NATIVE_KEY_MAX);
		frame[16] = 1;
	}
	return native_request_bytes(frame[0]);
}

/* How long the answer to it is: the one key that is known has one rule. */
static size_t mixed_answer(const uint8_t *frame, uint64_t i)
{
	bool explained = frame[0] == NATIVE_LONG_KEY &&
			 frame[2] == CHECK_EXPLAIN && i % 3 == 0;

	return native_reply_bytes(frame[0]) +
	       (explained ? NATIVE_LINE_BYTES : 0);
}

/* Sizes that divide evenly never split a frame over two buffers. */
Test(worker, frames_cut_anywhere_are_answered_once_each_and_in_order)
{
	enum { FRAMES = 20000 };
	static uint8_t out[(FRAMES + 1) * NATIVE_LONG_REQUEST_BYTES];
	static uint8_t in[FRAMES * NATIVE_LONG_REPLY_BYTES];
	static uint8_t type[FRAMES], len_of[FRAMES];
	const uint8_t *at = in;
	uint64_t s = seed();
	size_t sent = 0, got = 0, asked = 0, answers = 0;
	int fd;

	setup(2);
	know("sk_somebody");
	fd = dial(PROTOCOL_NATIVE);
	for (uint64_t i = 0; i < FRAMES; i++) {
		size_t len = mixed_frame(out + asked, i);

		type[i] = out[asked];
		len_of[i] = (uint8_t)mixed_answer(out + asked, i);
		answers += len_of[i];
		asked += len;
	}
	while (got < answers) {
		struct pollfd p = {.fd = fd, .events = POLLIN};

		if (sent < asked)
			p.events |= POLLOUT;
		cr_assert_eq(poll(&p, 1, WAIT_MS), 1);
		if (p.revents & POLLOUT) {
			size_t len = 1 + draw(&s, draw(&s, 4) ? 40000 : 200);
			ssize_t n;

			if (len > asked - sent)
				len = asked - sent;
			n = send(fd, out + sent, len,
				 MSG_DONTWAIT | MSG_NOSIGNAL);
			cr_assert(n > 0 || errno == EAGAIN);
			sent += n > 0 ? (size_t)n : 0;
		}
		if (p.revents & POLLIN)
			got += receive(fd, in + got, sizeof(in) - got);
	}
	cr_assert_eq(got, answers);
	for (uint64_t i = 0; i < FRAMES; i++) {
		uint64_t id;

		memcpy(&id, at + 8, sizeof(id));
		cr_assert_eq(id, i);
		cr_assert_eq(at[0], type[i] | 0x80);
		cr_assert_eq(at[1], type[i] == NATIVE_SETTLE ? REASON_NO_HOLD
				    : i % 3 ? REASON_INVALID_KEY
					    : REASON_ALLOW);
		if (len_of[i] > NATIVE_LONG_REPLY_BYTES) {
			cr_assert_eq(at[121], 1);
			cr_assert_eq(at[128], NATIVE_LINE | 0x80);
			cr_assert_eq(memcmp(at + 128 + 8, &id, sizeof(id)), 0);
		}
		at += len_of[i];
	}
	close(fd);
	teardown();
}

/* Frames, without reading, until no more are taken. How many. */
static uint64_t stuff(int fd)
{
	uint8_t frame[NATIVE_REQUEST_BYTES];
	struct pollfd p = {.fd = fd, .events = POLLOUT};
	uint64_t sent = 0;

	while (poll(&p, 1, 200) == 1) {
		fill_frame(frame, sent++, "sk_nobody");
		send_all(fd, frame, sizeof(frame));
		cr_assert_lt(sent, 1000000, "nothing bounds the output");
	}
	return sent;
}

/* More than the sockets, the output and its bound hold together, many times:
 * it must not be that both sides wait for the other to read. */
Test(worker, peer_that_reads_late_gets_every_answer)
{
	static uint8_t in[NATIVE_REPLY_BYTES];
	uint64_t sent, id;
	int fd;

	setup(1);
	fd = dial(PROTOCOL_NATIVE);
	sent = stuff(fd);
	cr_expect_gt(SUM(output_overflows), 0);
	for (uint64_t i = 0; i < sent; i++) {
		receive_all(fd, in, sizeof(in));
		memcpy(&id, in + 8, sizeof(id));
		cr_assert_eq(id, i);
	}
	close(fd);
	teardown();
}

Test(worker, connections_above_a_limit_are_told_and_closed)
{
	int native[CONNECTIONS], http[CONNECTIONS / 2], fd;
	char reply[1024] = "";

	setup(2);
	for (int i = 0; i < CONNECTIONS / 2; i++)
		http[i] = dial(PROTOCOL_HTTP);
	wait_until(SUM(connections) == CONNECTIONS / 2);
	fd = dial(PROTOCOL_HTTP); /* its listener is full */
	cr_expect_gt(receive(fd, reply, sizeof(reply) - 1), 0);
	cr_expect_eq(strncmp(reply, "HTTP/1.1 503 ", 13), 0);
	cr_expect_eq(receive(fd, reply, sizeof(reply)), 0);
	close(fd);
	for (int i = 0; i < CONNECTIONS / 2; i++)
		native[i] = dial(PROTOCOL_NATIVE);
	wait_until(SUM(connections) == CONNECTIONS);
	fd = dial(PROTOCOL_NATIVE); /* all together are too many */
	cr_expect_eq(receive(fd, reply, sizeof(reply)), 0);
	close(fd);
	cr_expect_eq(SUM(connections_refused), 2);
	/* One that ends makes room for another. */
	close(http[0]);
	wait_until(SUM(connections) == CONNECTIONS - 1);
	http[0] = dial(PROTOCOL_HTTP);
	wait_until(SUM(connections) == CONNECTIONS);
	cr_expect_eq(SUM(connections_refused), 2);
	for (int i = 0; i < CONNECTIONS / 2; i++) {
		close(http[i]);
		close(native[i]);
	}
	teardown();
}

Test(worker, connections_are_spread_without_help_of_kernel_threads)
{
	int fds[CONNECTIONS];
	DIR *d;
	struct dirent *e;

	setup(4);
	for (int i = 0; i < CONNECTIONS; i++)
		fds[i] = dial(PROTOCOL_NATIVE);
	wait_until(SUM(connections) == CONNECTIONS);
	for (uint32_t i = 0; i < 4; i++)
		cr_expect_eq(
			counter_read(
				&workers_counters(workers, i)->connections),
			CONNECTIONS / 4);
	d = opendir("/proc/self/task");
	cr_assert_not_null(d);
	while ((e = readdir(d)) != NULL) {
		char path[300], name[32] = "";
		int fd;

		snprintf(path, sizeof(path), "/proc/self/task/%s/comm",
			 e->d_name);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd < 0)
			continue;
		cr_assert_gt(read(fd, name, sizeof(name) - 1), 0);
		cr_expect_null(strstr(name, "iou-wrk"), "%s", name);
		close(fd);
	}
	closedir(d);
	for (int i = 0; i < CONNECTIONS; i++)
		close(fds[i]);
	teardown();
}

/* Connections arrive, are handed over and ask while the workers drain: whose
 * request could be sent gets its answer, wherever it was on its way. */
Test(worker, drain_leaves_no_connection_behind)
{
	uint8_t frame[NATIVE_REQUEST_BYTES], in[NATIVE_REPLY_BYTES];

	for (int round = 0; round < 20; round++) {
		int fds[CONNECTIONS], sent = 0;
		bool asked[CONNECTIONS];

		setup(4);
		for (int i = 0; i < CONNECTIONS; i++) {
			fds[i] = try_dial(PROTOCOL_NATIVE);
			fill_frame(frame, (uint64_t)i, "sk_nobody");
			asked[i] = fds[i] >= 0 &&
				   send(fds[i], frame, sizeof(frame),
					MSG_NOSIGNAL) == sizeof(frame);
			sent += asked[i];
			cr_assert(asked[i] || i > round * 3);
			if (i == round * 3)
				workers_drain(workers);
		}
		workers_join(workers, WAIT_MS);
		/* All have ended by themselves. */
		cr_expect_eq(SUM(connections), 0);
		cr_expect_eq(SUM(connections_accepted),
			     SUM(connections_closed));
		cr_expect_eq(SUM(verdicts[REASON_INVALID_KEY]), (uint64_t)sent);
		for (int i = 0; i < CONNECTIONS; i++) {
			if (asked[i])
				receive_all(fds[i], in, sizeof(in));
			if (fds[i] >= 0) {
				cr_expect_eq(receive(fds[i], in, sizeof(in)),
					     0);
				close(fds[i]);
			}
		}
		put_away();
	}
}

Test(worker, what_does_not_end_is_cut_after_the_timeout)
{
	uint8_t in[64];
	int fds[8];

	setup(2);
	for (int i = 0; i < 8; i++) {
		fds[i] = dial(i % 2 ? PROTOCOL_NATIVE : PROTOCOL_HTTP);
		if (i % 2)
			(void)stuff(fds[i]);
	}
	cr_expect_geq(SUM(sends_parked), 4);
	workers_drain(workers);
	workers_join(workers, 50);
	cr_expect_eq(SUM(connections), 0);
	for (int i = 0; i < 8; i++) {
		while (receive(fds[i], in, sizeof(in)) > 0) {
		}
		close(fds[i]);
	}
	put_away();
}

Test(worker, none_starts_where_io_uring_is_refused)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
			 offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_io_uring_setup, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog prog = {.len = 4, .filter = code};
	char err[256] = "";

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
	    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog) < 0)
		cr_skip_test("no seccomp on this machine");
	cr_expect_eq(start(4, err, sizeof(err)), -EPERM);
	cr_expect_not_null(strstr(err, "io_uring_disabled"), "%s", err);
	cr_expect_null(workers);
}

/* ---- secrets ---- */

#define SECRET_LEN 40
#define MASK 0x5a
#define MAPPING_MAX (64ul << 20) /* larger is the arena: no keys go there */

/* The key, masked, so that the program itself does not hold it. */
static uint8_t masked[SECRET_LEN];

static void make_secret(void)
{
	uint64_t s = seed();

	for (int i = 0; i < SECRET_LEN; i++)
		masked[i] = (uint8_t)(('a' + draw(&s, 26)) ^ MASK);
}

static void put_secret(uint8_t *out, size_t len)
{
	for (size_t i = 0; i < len; i++)
		out[i] = masked[i] ^ MASK;
}

/* Whether `len` bytes of the key from its byte `from` on stand anywhere in
 * the memory of this process. */
static bool in_memory(size_t from, size_t len)
{
	static uint8_t block[1 << 20];
	FILE *maps = fopen("/proc/self/maps", "re");
	int mem = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
	char line[512];
	bool found = false;

	cr_assert(maps != NULL && mem >= 0);
	while (!found && fgets(line, sizeof(line), maps)) {
		unsigned long at, end;
		char mode[5];

		if (sscanf(line, "%lx-%lx %4s", &at, &end, mode) != 3 ||
		    mode[0] != 'r' || mode[1] != 'w' || end - at > MAPPING_MAX)
			continue;
		while (!found && at < end) {
			size_t want = end - at < sizeof(block) ? end - at
							       : sizeof(block);
			ssize_t n = pread(mem, block, want, (off_t)at);

			if (n < (ssize_t)len)
				break;
			/* Not where it is searched for: block itself. */
			for (ssize_t i = 0; i + (ssize_t)len <= n && !found;
			     i++) {
				size_t k = 0;

				while (k < len &&
				       block[i + (ssize_t)k] ==
					       (masked[from + k] ^ MASK))
					k++;
				found = k == len &&
					(at + (unsigned long)i <
						 (unsigned long)block ||
					 at + (unsigned long)i >=
						 (unsigned long)block +
							 sizeof(block));
			}
			explicit_bzero(block, sizeof(block));
			if ((size_t)n < want || want < sizeof(block))
				break;
			at += want - len + 1;
		}
	}
	close(mem);
	fclose(maps);
	return found;
}

Test(worker, memory_is_searched_where_it_matters)
{
	uint8_t *copy = malloc(SECRET_LEN);

	cr_assert_not_null(copy);
	make_secret();
	cr_expect_not(in_memory(0, SECRET_LEN));
	put_secret(copy, SECRET_LEN);
	cr_expect(in_memory(0, SECRET_LEN));
	explicit_bzero(copy, SECRET_LEN);
	cr_expect_not(in_memory(0, SECRET_LEN));
	free(copy);
}

static void send_masked_frame(int fd, uint64_t id, size_t from, size_t to)
{
	uint8_t frame[NATIVE_REQUEST_BYTES];

	fill_frame(frame, id, "");
	frame[3] = SECRET_LEN;
	put_secret(frame + 64, SECRET_LEN);
	send_all(fd, frame + from, to - from);
	explicit_bzero(frame, sizeof(frame));
}

/* Whole frames, a frame in two pieces, and the beginning of a third behind
 * it, which keeps the place where the second one stood in use. */
Test(worker, native_key_is_nowhere_after_its_reply)
{
	uint8_t in[NATIVE_REPLY_BYTES];
	int fd;

	make_secret();
	setup(2);
	fd = dial(PROTOCOL_NATIVE);
	send_masked_frame(fd, 1, 0, NATIVE_REQUEST_BYTES);
	receive_all(fd, in, sizeof(in));
	send_masked_frame(fd, 2, 0, 70);
	wait_until(SUM(recv_bytes) == NATIVE_REQUEST_BYTES + 70);
	send_masked_frame(fd, 2, 70, NATIVE_REQUEST_BYTES);
	send_masked_frame(fd, 3, 0, 10);
	receive_all(fd, in, sizeof(in));
	wait_until(SUM(recv_bytes) == 2 * NATIVE_REQUEST_BYTES + 10);
	/* The sweep that answered has ended when the next answers. */
	close(dial(PROTOCOL_NATIVE));
	wait_until(SUM(connections_closed) == 1);
	wait_until(!in_memory(6, SECRET_LEN - 6));
	close(fd);
	teardown();
}

Test(worker, half_a_key_is_wiped_when_its_connection_ends)
{
	static const char head[] = "GET /v1/check HTTP/1.1\r\nX-Api-Key: ";
	uint8_t key[SECRET_LEN];
	int native, http;

	make_secret();
	setup(1);
	native = dial(PROTOCOL_NATIVE);
	http = dial(PROTOCOL_HTTP);
	send_masked_frame(native, 1, 0, 64 + 30);
	send_all(http, head, sizeof(head) - 1);
	put_secret(key, sizeof(key));
	send_all(http, key, 30);
	explicit_bzero(key, sizeof(key));
	wait_until(SUM(recv_bytes) == 64 + 30 + sizeof(head) - 1 + 30);
	cr_expect(in_memory(0, 30)); /* it has to be kept somewhere */
	close(native);
	close(http);
	wait_until(SUM(connections_closed) == 2);
	wait_until(!in_memory(0, 30));
	teardown();
}
