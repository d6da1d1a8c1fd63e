/* SPDX-License-Identifier: MIT */
#include "worker/worker_internal.h"

#include "../gate/fixture.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/*
 * On which CPU a worker is, and what it does there while nobody asks: latency
 * mode, the tick, pinning. Most of it in one thread, which is client and worker
 * in turns.
 */

#define FOR_EVER_US (3600u * 1000000u)

static struct epoch epoch;
static struct keytable table;
static struct fixture fixture;
static struct workers_shared shared;

static void begin(void)
{
	epoch_init(&epoch);
	fixture_open(&fixture);
	cr_assert_eq(keytable_init(&table, 16, &epoch), 0);
	shared = (struct workers_shared){
		.options =
			{
				.listeners = {{.fd = -1}, {.fd = -1}},
				.count = 1,
				.max_connections = 4,
				.idle_timeout_s = 60,
				.recv_buffers = 8,
				.send_buffers = 8,
				.output_bytes_max = 1 << 16,
			},
		.arena = fixture.arena,
		.table = &table,
		.epoch = &epoch,
	};
	cr_assert(keytext_prefix_init(&shared.options.prefix, "il"));
}

static void end(void)
{
	keytable_deinit(&table);
	fixture_close(&fixture);
}

TestSuite(cpu, .init = begin, .fini = end, .timeout = 60);

/* ---- latency mode ---- */

static struct workers team;
static struct worker *worker;
static int client;

static void open_worker(uint32_t spin_us)
{
	char err[256] = "";
	int pair[2], r;

	shared.options.spin_us = spin_us;
	team = (struct workers){.shared = &shared, .count = 1};
	worker = worker_new(&team, 0);
	cr_assert_not_null(worker);
	team.workers[0] = worker;
	r = worker_setup(worker, err, sizeof(err));
	if (r == -EPERM || r == -ENOSYS)
		cr_skip_test("io_uring is refused on this machine");
	cr_assert_eq(r, 0, "%s", err);
	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair),
		     0);
	client = pair[0];
	conns_expect(&worker->conns, PROTOCOL_NATIVE);
	cr_assert_neq(conn_open(&worker->conns, pair[1], PROTOCOL_NATIVE),
		      CONN_NONE);
}

static void close_worker(void)
{
	close(client);
	worker_teardown(worker);
	worker_free(worker);
}

static void ask(void)
{
	uint8_t frame[NATIVE_REQUEST_BYTES] = {
		NATIVE_CHECK_HASH,
		NATIVE_VERSION,
		[4] = 1,
	};

	cr_assert_eq(send(client, frame, sizeof(frame), 0), sizeof(frame));
}

static void expect_spins(uint64_t spins, uint64_t hits)
{
	cr_expect_eq(counter_read(&worker->counters.spins), spins);
	cr_expect_eq(counter_read(&worker->counters.spins_hit), hits);
}

Test(cpu, worker_that_had_work_looks_for_more_before_it_sleeps)
{
	uint8_t reply[NATIVE_REPLY_BYTES];

	open_worker(FOR_EVER_US);
	ask();
	worker_round(worker);
	expect_spins(0, 0); /* it had slept */
	ask();
	worker_round(worker);
	expect_spins(1, 1);
	cr_expect_eq(counter_read(&worker->counters.sweeps), 2);
	/* What the sweep before had to send left with the look. */
	cr_expect_eq(recv(client, reply, sizeof(reply), MSG_DONTWAIT),
		     sizeof(reply));
	close_worker();
}

Test(cpu, nobody_looks_for_work_with_spin_off)
{
	open_worker(0);
	for (int i = 0; i < 3; i++) {
		ask();
		worker_round(worker);
	}
	expect_spins(0, 0);
	close_worker();
}

/* As drain and handover do it. */
static void wake(void)
{
	uint64_t one = 1;

	cr_assert_eq(write(worker->wake_fd, &one, sizeof(one)), sizeof(one));
}

static void arm_wake(void)
{
	struct io_uring_sqe *sqe = ring_sqe(&worker->ring);

	io_uring_prep_read(sqe, worker->wake_fd, &worker->wake_value,
			   sizeof(worker->wake_value), 0);
	sqe->user_data = ring_tag(OP_WAKE, 0, 0);
}

Test(cpu, wake_up_ends_the_look_and_is_no_work)
{
	open_worker(FOR_EVER_US);
	arm_wake();
	ask();
	worker_round(worker);
	wake();
	worker_round(worker);
	expect_spins(1, 1);
	wake();
	worker_round(worker);
	expect_spins(1, 1);
	close_worker();
}

static void *drain_in_a_while(void *arg)
{
	struct workers *ws = arg;

	/* Some worker has answered, so it looks for more now. */
	while (counter_read(&workers_counters(ws, 0)->sweeps) == 0)
		sched_yield();
	workers_drain(ws);
	return NULL;
}

Test(cpu, order_to_drain_ends_the_look)
{
	struct workers *ws;
	pthread_t thread;
	char err[256] = "";
	int pair[2], r;

	shared.options.spin_us = FOR_EVER_US;
	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair),
		     0);
	client = pair[0];
	r = workers_start(&ws, &shared, err, sizeof(err));
	if (r == -EPERM || r == -ENOSYS)
		cr_skip_test("io_uring is refused on this machine");
	cr_assert_eq(r, 0, "%s", err);
	/* As if worker 0 had accepted it. */
	conns_expect(&ws->workers[0]->conns, PROTOCOL_NATIVE);
	cr_assert(handoff_put(&ws->workers[0]->handoff,
			      (uintptr_t)(unsigned)pair[1] << 8 |
				      PROTOCOL_NATIVE));
	worker = ws->workers[0];
	wake();
	ask();
	cr_assert_eq(pthread_create(&thread, NULL, drain_in_a_while, ws), 0);
	pthread_join(thread, NULL);
	workers_join(ws, FOR_EVER_US / 1000);
	expect_spins(1, 1);
	close(client);
	workers_free(ws);
}

/* ---- the tick ---- */

Test(cpu, tick_closes_who_is_idle_and_is_armed_again)
{
	struct __kernel_timespec soon = {.tv_nsec = 1000};
	struct io_uring_sqe *sqe;
	uint8_t in;

	open_worker(0);
	ask();
	worker_round(worker);
	cr_expect_eq(counter_read(&worker->counters.connections_idle), 0);
	conn_at(&worker->conns, 0)->active_s -= 100;
	sqe = ring_sqe(&worker->ring);
	io_uring_prep_timeout(sqe, &soon, 0, 0);
	sqe->user_data = ring_tag(OP_TICK, 0, 0);
	worker_round(worker);
	cr_expect_eq(counter_read(&worker->counters.connections_idle), 1);
	cr_expect_gt(io_uring_sq_ready(&worker->ring.uring), 0);
	ring_wait(&worker->ring, 0);
	cr_expect_eq(recv(client, &in, 1, MSG_PEEK | MSG_DONTWAIT), 1);
	close_worker();
}

/* ---- pinning ---- */

static int start(struct workers **ret, uint32_t count, char *err,
		 size_t err_len)
{
	int r;

	shared.options.count = count;
	shared.options.pin = true;
	r = workers_start(ret, &shared, err, err_len);
	if (r == -EPERM || r == -ENOSYS)
		cr_skip_test("io_uring or affinity is refused here");
	return r;
}

/* The only CPU of the thread with that name; -1: none, -2: several. */
static int cpu_of(const char *thread)
{
	DIR *tasks = opendir("/proc/self/task");
	struct dirent *task;
	int found = -1;

	cr_assert_not_null(tasks);
	while ((task = readdir(tasks)) != NULL) {
		char path[300], name[32] = "";
		cpu_set_t set;
		FILE *f;

		snprintf(path, sizeof(path), "/proc/self/task/%s/comm",
			 task->d_name);
		f = fopen(path, "re");
		if (f == NULL)
			continue;
		if (fgets(name, sizeof(name), f) != NULL &&
		    strncmp(name, thread, strlen(thread)) == 0 &&
		    sched_getaffinity((pid_t)strtol(task->d_name, NULL, 10),
				      sizeof(set), &set) == 0) {
			found = -2;
			for (int i = 0; i < CPU_SETSIZE; i++)
				if (CPU_COUNT(&set) == 1 &&
				    CPU_ISSET((size_t)i, &set))
					found = i;
		}
		fclose(f);
	}
	closedir(tasks);
	return found;
}

Test(cpu, pinned_workers_take_the_cpus_of_the_process_in_order)
{
	struct workers *ws;
	cpu_set_t all;
	char err[256] = "", name[32];
	int cpu = 0;

	cr_assert_eq(sched_getaffinity(0, sizeof(all), &all), 0);
	cr_assert_eq(start(&ws, CPU_COUNT(&all) > 1 ? 2 : 1, err, sizeof(err)),
		     0, "%s", err);
	for (uint32_t i = 0; i < workers_count(ws); i++, cpu++) {
		while (!CPU_ISSET((size_t)cpu, &all))
			cpu++;
		snprintf(name, sizeof(name), "worker-%u\n", i);
		cr_expect_eq(cpu_of(name), cpu, "%s", name);
	}
	workers_drain(ws);
	workers_join(ws, FOR_EVER_US / 1000);
	workers_free(ws);
}

Test(cpu, more_pinned_workers_than_cpus_are_refused_with_a_sentence)
{
	struct workers *ws = NULL;
	cpu_set_t all, one;
	char err[256] = "";
	size_t cpu = 0;

	cr_assert_eq(sched_getaffinity(0, sizeof(all), &all), 0);
	while (!CPU_ISSET(cpu, &all))
		cpu++;
	CPU_ZERO(&one);
	CPU_SET(cpu, &one);
	cr_assert_eq(sched_setaffinity(0, sizeof(one), &one), 0);
	cr_expect_eq(start(&ws, 2, err, sizeof(err)), -EINVAL);
	cr_expect_str_eq(err, "pin: there is no CPU for worker 1: lower "
			      "workers, or turn pin off");
	cr_expect_null(ws);
}
