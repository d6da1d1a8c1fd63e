/* SPDX-License-Identifier: MIT */
#include "load.h"

#include "memtext.h"
#include "null_server.h"
#include "scratch.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define DEPTH 8u
#define CONNECTIONS 4u

static struct workload w;
static struct process server;
static char dir[80], path[sizeof(((struct sockaddr_un *)0)->sun_path)];
static char error[512];
static volatile sig_atomic_t interrupted;

static void setup(void)
{
	cr_assert_eq(scratch_make("/tmp", dir, sizeof(dir)), 0);
	snprintf(path, sizeof(path), "%s/s", dir);
	cr_assert_eq(workload_init(&w, 10, 10), 0);
	workload_build(&w, WORKLOAD_RAW);
}

static void teardown(void)
{
	process_stop(&server);
	workload_deinit(&w);
	scratch_remove(dir);
}

TestSuite(load, .init = setup, .fini = teardown, .timeout = 60);

static int run(uint32_t depth, uint32_t threads, struct load_result *ret)
{
	struct dialect d;
	struct load_options o = {
		.address.path = path,
		.servers = {&server},
		.server_count = 1,
		.server_cpu = -1,
		.connections = CONNECTIONS,
		.depth = depth,
		.threads = threads,
		.warmup_ns = 10000000,
		.measure_ns = 100000000,
		.interrupted = &interrupted,
	};

	dialect_of_frames(&d, &w, true);
	return load_run(&o, &d, ret, error, sizeof(error));
}

Test(load, null_server_answers_every_request)
{
	static const uint32_t depths[] = {1, 3, 128, 200, WORKLOAD_DEPTH_MAX};
	struct load_result r;

	cr_assert_eq(null_server_start(path, -1, &server), 0);
	for (size_t i = 0; i < sizeof(depths) / sizeof(depths[0]); i++) {
		cr_assert_eq(run(depths[i], 1, &r), 0, "%s", error);
		cr_assert_gt(r.replies, 0);
		cr_assert_geq(r.total.allowed, r.replies);
		cr_assert_eq(r.total.denied, 0);
		cr_assert_eq(r.total.allowed % depths[i], 0);
		cr_assert_gt(r.server_cpu_ns, 0);
	}
}

Test(load, threads_share_the_connections)
{
	struct load_result r;

	cr_assert_eq(null_server_start(path, -1, &server), 0);
	cr_assert_eq(run(DEPTH, 3, &r), 0, "%s", error);
	cr_assert_eq(r.total.allowed % DEPTH, 0);
}

/* Frames in pieces, which a closed loop of whole batches never sends. */
Test(load, null_server_joins_the_pieces_of_a_frame)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	uint8_t reply[3 * NATIVE_REPLY_BYTES];
	const size_t all = 3 * NATIVE_REQUEST_BYTES;
	size_t sent = 0;
	int fd;

	cr_assert_eq(null_server_start(path, -1, &server), 0);
	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	memcpy(addr.sun_path, path, sizeof(path));
	cr_assert_eq(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	for (size_t n = 1; sent < all; n = n * 3 % 101) {
		size_t part = n < all - sent ? n : all - sent;

		cr_assert_eq(send(fd, w.frames + sent, part, 0), (ssize_t)part);
		sent += part;
		usleep(1000);
	}
	cr_assert_eq(recv(fd, reply, sizeof(reply), MSG_WAITALL),
		     (ssize_t)sizeof(reply));
	for (uint8_t i = 0; i < 3; i++)
		cr_assert_eq(reply[i * NATIVE_REPLY_BYTES + 8], i);
	close(fd);
}

Test(load, single_request_is_answered)
{
	uint8_t reply[NATIVE_REPLY_BYTES];

	cr_assert_eq(null_server_start(path, -1, &server), 0);
	cr_assert_eq(load_ask_once(path, w.frames, reply, error, sizeof(error)),
		     0, "%s", error);
	cr_assert_eq(reply[0], NATIVE_CHECK_KEY | 0x80);
}

static void start_server(void (*serve)(int listen_fd, const void *arg),
			 const void *arg)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	pid_t parent = getpid();
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	memcpy(addr.sun_path, path, sizeof(path));
	cr_assert_eq(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	cr_assert_eq(listen(fd, 16), 0);
	server.name = "our server";
	server.pid = fork();
	if (server.pid == 0) {
		process_enter_child(parent, -1);
		serve(fd, arg);
	}
	close(fd);
}

/* ---- replies of any length, in pieces that end anywhere ---- */

#define PIECE 7u

/* Answers each line with its number, counted from 1, plus `more`. */
static _Noreturn void count_lines(int listen_fd, const void *more)
{
	for (;;) {
		int fd = accept(listen_fd, NULL, NULL);
		uint64_t lines = 0;
		char in[4096];
		ssize_t n;

		while ((n = recv(fd, in, sizeof(in), 0)) > 0) {
			char out[4096];
			size_t len = 0;

			for (ssize_t i = 0; i < n; i++)
				if (in[i] == '\n')
					len += (size_t)sprintf(
						out + len, "%lu\r\n%s", ++lines,
						(const char *)more);
			for (size_t at = 0; at < len; at += PIECE)
				send(fd, out + at,
				     len - at < PIECE ? len - at : PIECE,
				     MSG_NOSIGNAL);
		}
		close(fd);
	}
}

/* tally NULL: without the pass. */
static int pass_lines(const char *more, struct workload_tally *tally)
{
	struct dialect d;
	struct load_options o = {
		.address.path = path,
		.servers = {&server},
		.server_count = 1,
		.connections = 1, /* the server serves one at a time */
		.depth = DEPTH,
		.interrupted = &interrupted,
	};
	struct load_result r;
	int result;

	start_server(count_lines, more);
	cr_assert_eq(memtext_dialect_incr(&d, &w), 0);
	result = tally ? load_pass(&o, &d, tally, error, sizeof(error)) : 0;
	if (result == 0) {
		o.threads = 1;
		o.server_cpu = -1;
		o.measure_ns = 50000000;
		result = load_run(&o, &d, &r, error, sizeof(error));
	}
	dialect_free(&d);
	return result;
}

Test(load, replies_in_pieces_are_put_together)
{
	struct workload_tally tally = {0};

	cr_assert_eq(pass_lines("", &tally), 0, "%s", error);
	cr_assert_eq(tally.allowed, w.frame_count); /* each once */
}

Test(load, more_replies_than_requests_fail_the_run)
{
	struct workload_tally tally = {0};

	cr_assert_eq(pass_lines("1\r\n", &tally), -1);
	process_stop(&server);
	unlink(path);
	cr_assert_eq(pass_lines("1\r\n", NULL), -1);
}

/* The end of a head falls between any two pieces, and looks like one begun. */
Test(load, null_server_finds_the_end_of_each_head)
{
	static const char requests[] = "GET / HTTP/1.1\r\n\r\n"
				       "GET / HTTP/1.1\r\nA: \n\r\r\n\r\n";
	struct address address = {.path = path};
	char answer[2];

	cr_assert_eq(null_server_start_http(path, -1, "!", &server), 0);
	for (size_t cut = 1; cut < sizeof(requests) - 1; cut++) {
		int fd = address_connect(&address);

		cr_assert_geq(fd, 0);
		send(fd, requests, cut, 0);
		usleep(1000);
		send(fd, requests + cut, sizeof(requests) - 1 - cut, 0);
		cr_assert_eq(recv(fd, answer, 2, MSG_WAITALL), 2);
		cr_assert(answer[0] == '!' && answer[1] == '!');
		/* One too many would stand before the next one's. */
		send(fd, requests, 18, 0);
		cr_assert_eq(recv(fd, answer, 1, MSG_WAITALL), 1);
		cr_assert_lt(recv(fd, answer, 1, MSG_DONTWAIT), 0);
		close(fd);
	}
}

/* ---- servers that do wrong: each must fail the run with a sentence ---- */

enum fault { WRONG_ID, CLOSES_EARLY, SILENT, DIES };

static _Noreturn void misbehave(int listen_fd, const void *arg)
{
	enum fault fault = *(const enum fault *)arg;
	uint8_t frames[DEPTH * NATIVE_REQUEST_BYTES];
	uint8_t replies[DEPTH * NATIVE_REPLY_BYTES] = {0};
	int fd = accept(listen_fd, NULL, NULL);

	if (recv(fd, frames, sizeof(frames), MSG_WAITALL) !=
	    (ssize_t)sizeof(frames))
		_exit(1);
	if (fault == DIES)
		raise(SIGKILL);
	for (uint32_t i = 0; i < DEPTH; i++) {
		uint8_t *r = replies + i * NATIVE_REPLY_BYTES;

		r[0] = NATIVE_CHECK_KEY | 0x80;
		r[3] = NATIVE_VERSION;
		memcpy(r + 8, frames + i * NATIVE_REQUEST_BYTES + 8, 8);
	}
	if (fault == WRONG_ID)
		replies[5 * NATIVE_REPLY_BYTES + 8]++;
	if (fault != SILENT)
		send(fd, replies,
		     fault == CLOSES_EARLY ? sizeof(replies) / 2
					   : sizeof(replies),
		     0);
	if (fault == CLOSES_EARLY)
		close(fd);
	for (;;)
		pause();
}

static void expect_failure(enum fault fault, const char *part)
{
	struct load_result r;

	start_server(misbehave, &fault);
	cr_assert_eq(run(DEPTH, 1, &r), -1);
	cr_assert_not_null(strstr(error, part), "'%s' is not in: %s", part,
			   error);
}

Test(load, wrong_id_fails_the_run)
{
	expect_failure(WRONG_ID, "wrong reply");
}

Test(load, early_close_fails_the_run)
{
	expect_failure(CLOSES_EARLY, "closed the connection after 256");
}

Test(load, silence_fails_the_run)
{
	expect_failure(SILENT, "no reply");
}

Test(load, death_of_the_server_is_named)
{
	expect_failure(DIES, "our server was ended by signal 9");
}

Test(load, interruption_ends_the_run)
{
	struct load_result r;

	cr_assert_eq(null_server_start(path, -1, &server), 0);
	interrupted = 1;
	cr_assert_eq(run(DEPTH, 1, &r), -1);
	cr_assert_str_eq(error, "interrupted");
}
