/* SPDX-License-Identifier: MIT */
#include "open_loop.h"

#include "null_server.h"
#include "scratch.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define MS UINT64_C(1000000)
#define CONNECTIONS 4u
/* The generator may be as late as it likes: machines that test are busy. */
#define NO_LAG_MAX UINT64_C(60000000000)

static struct workload w;
static struct schedule schedule;
static struct process server;
static struct open_loop_result result;
static char dir[80], path[sizeof(((struct sockaddr_un *)0)->sun_path)];
static char error[512];
static volatile sig_atomic_t interrupted;

static void setup(void)
{
	cr_assert_eq(scratch_make("/tmp", dir, sizeof(dir)), 0);
	snprintf(path, sizeof(path), "%s/s", dir);
	cr_assert_eq(workload_init(&w, 10, 10), 0);
	workload_build(&w, WORKLOAD_HASHED);
}

static void teardown(void)
{
	process_stop(&server);
	schedule_deinit(&schedule);
	workload_deinit(&w);
	scratch_remove(dir);
}

TestSuite(open_loop, .init = setup, .fini = teardown, .timeout = 60);

static struct open_loop_options options(void)
{
	return (struct open_loop_options){
		.path = path,
		.server = &server,
		.server_is_null = true,
		.connections = CONNECTIONS,
		.lag_max_ns = NO_LAG_MAX,
		.schedule = &schedule,
		.interrupted = &interrupted,
	};
}

static int run(const struct open_loop_options *o)
{
	error[0] = '\0';
	return open_loop_run(o, &w, &result, error, sizeof(error));
}

static void lay_down(enum schedule_kind kind, uint32_t rate, uint64_t ms)
{
	cr_assert_eq(schedule_init(&schedule, kind, rate, ms * MS, 1), 0);
}

Test(open_loop, every_request_is_answered_and_counted_once)
{
	struct open_loop_options o = options();

	cr_assert_eq(null_server_start(path, -1, &server), 0);
	lay_down(SCHEDULE_POISSON, 20000, 100);
	for (int spin = 0; spin < 2; spin++) {
		o.spin = spin;
		cr_assert_eq(run(&o), 0, "%s", error);
		cr_assert_eq(result.replies, schedule.count);
		cr_assert_eq(result.latency_ns.count, schedule.count);
		cr_assert_eq(result.lag_ns.count, schedule.count);
		cr_assert_eq(result.total.allowed, schedule.count);
		cr_assert_geq(result.elapsed_ns, 100 * MS);
	}
}

Test(open_loop, warm_up_is_answered_but_not_counted)
{
	struct open_loop_options o = options();

	cr_assert_eq(null_server_start(path, -1, &server), 0);
	lay_down(SCHEDULE_FIXED, 1000, 100);
	o.warmup_ns = 40 * MS;
	cr_assert_eq(run(&o), 0, "%s", error);
	cr_assert_eq(result.replies, 60);
	cr_assert_eq(result.total.allowed, 100);
}

/* More than the frames there are, and all of it at once: frames go round, and
 * requests wait for room. */
Test(open_loop, rate_that_nobody_reaches_is_worked_off)
{
	struct open_loop_options o = options();

	cr_assert_eq(null_server_start(path, -1, &server), 0);
	lay_down(SCHEDULE_FIXED, 10000000, 40);
	cr_assert_gt(schedule.count, CONNECTIONS * (uint64_t)w.frame_count);
	o.spin = true;
	cr_assert_eq(run(&o), 0, "%s", error);
	cr_assert_eq(result.replies, schedule.count);
}

Test(open_loop, generator_that_comes_late_fails_the_run)
{
	struct open_loop_options o = options();

	cr_assert_eq(null_server_start(path, -1, &server), 0);
	lay_down(SCHEDULE_FIXED, 1000, 20);
	o.lag_max_ns = 0;
	cr_assert_eq(run(&o), -1);
	cr_assert_not_null(strstr(error, "late to its own requests"), "%s",
			   error);
}

Test(open_loop, interruption_ends_the_run)
{
	struct open_loop_options o = options();

	cr_assert_eq(null_server_start(path, -1, &server), 0);
	lay_down(SCHEDULE_FIXED, 10, 10000);
	interrupted = 1;
	cr_assert_eq(run(&o), -1);
	cr_assert_str_eq(error, "interrupted");
}

/* ---- servers that do wrong, on one connection ---- */

#define ASKED 20u

enum fault {
	STALLS, /* answers nothing until the last request has come */
	WRONG_ID,
	TWICE,
	CLOSES,
	DIES
};

static void answer(uint8_t *reply, const uint8_t *frame)
{
	memset(reply, 0, NATIVE_REPLY_BYTES);
	reply[0] = NATIVE_CHECK_HASH | 0x80;
	reply[3] = NATIVE_VERSION;
	memcpy(reply + 8, frame + 8, 8);
}

static void misbehave(int listen_fd, enum fault fault)
{
	uint8_t frames[ASKED * NATIVE_REQUEST_BYTES];
	uint8_t replies[ASKED * NATIVE_REPLY_BYTES];
	int fd = accept(listen_fd, NULL, NULL);

	if (recv(fd, frames, sizeof(frames), MSG_WAITALL) !=
	    (ssize_t)sizeof(frames))
		_exit(1);
	if (fault == DIES)
		raise(SIGKILL);
	/* in the opposite order, which the protocol allows */
	for (uint32_t i = 0; i < ASKED; i++)
		answer(replies + i * NATIVE_REPLY_BYTES,
		       frames + (ASKED - 1 - i) * NATIVE_REQUEST_BYTES);
	if (fault == WRONG_ID)
		replies[9] ^= 1;
	if (fault == TWICE)
		memcpy(replies + NATIVE_REPLY_BYTES, replies,
		       NATIVE_REPLY_BYTES);
	/* in pieces that are no whole replies */
	send(fd, replies, 100, 0);
	if (fault == CLOSES)
		_exit(0);
	send(fd, replies + 100, sizeof(replies) - 100, 0);
	for (;;)
		pause();
}

static int run_against(enum fault fault)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	struct open_loop_options o = options();
	pid_t parent = getpid();
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	memcpy(addr.sun_path, path, sizeof(path));
	cr_assert_eq(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	cr_assert_eq(listen(fd, 16), 0);
	server.name = "the faulty server";
	server.pid = fork();
	if (server.pid == 0) {
		process_enter_child(parent, -1);
		misbehave(fd, fault);
	}
	close(fd);
	lay_down(SCHEDULE_FIXED, ASKED * 10, 100);
	cr_assert_eq(schedule.count, ASKED);
	o.connections = 1;
	return run(&o);
}

/* What a closed loop leaves out: request i was due 5 i ms after the start and
 * none was answered before 95 ms, whatever the generator did meanwhile. */
Test(open_loop, stall_shows_in_every_request_that_was_due_meanwhile)
{
	cr_assert_eq(run_against(STALLS), 0, "%s", error);
	cr_assert_eq(result.replies, ASKED);
	cr_assert_geq(result.latency_ns.max, 95 * MS);
	cr_assert_geq(histogram_percentile(&result.latency_ns, 500000),
		      45 * MS);
	cr_assert_geq(histogram_percentile(&result.latency_ns, 900000),
		      85 * MS);
}

Test(open_loop, wrong_id_fails_the_run)
{
	cr_assert_eq(run_against(WRONG_ID), -1);
	cr_assert_not_null(strstr(error, "was not asked"), "%s", error);
}

Test(open_loop, second_answer_fails_the_run)
{
	cr_assert_eq(run_against(TWICE), -1);
	cr_assert_not_null(strstr(error, "answered before"), "%s", error);
}

Test(open_loop, early_end_fails_the_run)
{
	cr_assert_eq(run_against(CLOSES), -1);
	cr_assert_not_null(strstr(error, "exited with status 0"), "%s", error);
}

Test(open_loop, death_of_the_server_is_named)
{
	cr_assert_eq(run_against(DIES), -1);
	cr_assert_not_null(strstr(error, "was ended by signal 9"), "%s", error);
}
