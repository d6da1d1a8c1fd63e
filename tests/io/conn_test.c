/* SPDX-License-Identifier: MIT */
#include "io/conn.h"

#include "base/counters.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/*
 * A real ring, socket pairs, and a worker that is no more than it has to be:
 * turn() waits, takes all completions and settles. What was received is kept
 * by slot.
 */

#define CONNS 16
#define BUFFERS 8
#define CHUNKS 24
#define OUTPUT_MAX (8 * CHUNK_BYTES)
#define TURNS_MAX 5000

static struct ring ring;
static struct conns conns;
static struct counters counters;
static uint64_t got_bytes[CONNS];
static uint8_t got_last[CONNS];
static unsigned send_completions, shut_completions;
static unsigned fds_before;

static unsigned count_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	unsigned n = 0;

	cr_assert_not_null(d);
	while (readdir(d) != NULL)
		n++;
	closedir(d);
	return n;
}

static void setup(void)
{
	char err[256] = "";
	int r;

	fds_before = count_fds();
	r = ring_setup(&ring, BUFFERS, &counters, err, sizeof(err));
	if (r == -EPERM || r == -ENOSYS)
		cr_skip_test("io_uring is refused on this machine");
	cr_assert_eq(r, 0, "%s", err);
	cr_assert_eq(
		conns_init(&conns, &ring, CONNS, CHUNKS, OUTPUT_MAX, &counters),
		0);
	conns.now_s = 1000;
}

static void gather(void)
{
	struct io_uring_cqe cqe;

	while (ring_next(&ring, &cqe)) {
		struct conn *c = conn_of(&conns, cqe.user_data);
		uint32_t idx = TAG_IDX(cqe.user_data);

		if (TAG_OP(cqe.user_data) == OP_SEND) {
			cr_assert_not_null(c);
			conn_sent(&conns, idx, cqe.res);
			send_completions++;
		}
		if (TAG_OP(cqe.user_data) == OP_SHUT) {
			cr_assert_not_null(c);
			conn_shut(&conns, idx);
			shut_completions++;
		}
		if (TAG_OP(cqe.user_data) != OP_RECV)
			continue;
		cr_assert_not_null(c);
		if (conn_received(&conns, idx, cqe.res, cqe.flags) > 0) {
			got_bytes[idx] += (uint64_t)cqe.res;
			got_last[idx] = ring_buffer(
				&ring,
				cqe.flags >>
					IORING_CQE_BUFFER_SHIFT)[cqe.res - 1];
		}
		if (cqe.flags & IORING_CQE_F_BUFFER)
			ring_recycle(&ring,
				     cqe.flags >> IORING_CQE_BUFFER_SHIFT);
	}
	ring_publish(&ring);
	conns_confirm(&conns);
}

static void turn(void)
{
	conns_settle(&conns);
	ring_wait(&ring, 1);
	gather();
	conns_settle(&conns);
	ring_wait(&ring, 0);
	gather();
}

#define turn_until(condition)                                                  \
	do {                                                                   \
		int turns_ = 0;                                                \
		while (!(condition)) {                                         \
			cr_assert_lt(turns_++, TURNS_MAX, "%s", #condition);   \
			turn();                                                \
		}                                                              \
	} while (0)

/* Returns the slot; *ret_peer is the other end, which does not block. */
static uint32_t open_pair(int *ret_peer)
{
	int fds[2];
	uint32_t idx;

	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds),
		     0);
	conns_expect(&conns, 0);
	idx = conn_open(&conns, fds[0], 0);
	cr_assert_neq(idx, CONN_NONE);
	*ret_peer = fds[1];
	return idx;
}

/* `len` bytes of a pattern that goes on from call to call. */
static bool reply(uint32_t idx, uint32_t len, uint64_t *at)
{
	while (len > 0) {
		uint32_t piece = len < 1000 ? len : 1000;
		uint8_t *out = conn_room(&conns, idx, piece);

		if (out == NULL)
			return false;
		for (uint32_t i = 0; i < piece; i++)
			out[i] = (uint8_t)((*at)++ % 251);
		conn_wrote(&conns, idx, piece);
		len -= piece;
	}
	return true;
}

/* What there is to read, checked against the pattern: bytes, or -1 for end of
 * file. */
static int64_t take(int peer, uint64_t *at)
{
	static uint8_t buf[1 << 16];
	ssize_t n = recv(peer, buf, sizeof(buf), MSG_DONTWAIT);

	if (n == 0)
		return -1;
	if (n < 0) {
		cr_assert_eq(errno, EAGAIN, "%s", strerror(errno));
		return 0;
	}
	for (ssize_t i = 0; i < n; i++)
		cr_assert_eq(buf[i], (uint8_t)((*at)++ % 251));
	return n;
}

static void say(int peer, const char *text)
{
	cr_assert_eq(send(peer, text, strlen(text), MSG_NOSIGNAL),
		     (ssize_t)strlen(text));
}

static bool at_rest(void)
{
	uint32_t n = 0, i;

	for (i = conns.chunks.free; i != CHUNK_NONE;
	     i = conns.chunks.chunks[i].next)
		n++;
	return conns.open == 0 && n == CHUNKS;
}

static void teardown(void)
{
	turn_until(at_rest());
	cr_expect_eq(conns_load(&conns, 0), 0);
	cr_expect_eq(counter_read(&counters.connections), 0);
	ring_wait(&ring, 0);
	ring_teardown(&ring);
	conns_deinit(&conns);
	cr_expect_eq(count_fds(), fds_before);
}

TestSuite(conn, .timeout = 20);

Test(conn, replies_that_fit_are_sent_without_a_completion)
{
	uint64_t wrote = 0, read_to = 0;
	uint32_t idx;
	int peer;

	setup();
	idx = open_pair(&peer);
	for (int i = 0; i < 100; i++) {
		cr_assert(reply(idx, 64, &wrote));
		turn();
		cr_assert_eq(take(peer, &read_to), 64);
	}
	cr_expect_eq(send_completions, 0);
	cr_expect_eq(conn_at(&conns, idx)->queued, 0);
	cr_expect_eq(counter_read(&counters.sent_bytes), 6400);
	close(peer);
	teardown();
}

/* conns_confirm(): silence means success only of what the kernel has taken. */
Test(conn, send_that_was_never_submitted_is_not_taken_for_done)
{
	uint64_t wrote = 0, read_to = 0;
	uint32_t idx;
	int peer;

	setup();
	idx = open_pair(&peer);
	turn();
	cr_assert(reply(idx, 640, &wrote));
	conns_settle(&conns);
	gather(); /* no ring_wait() in between */
	cr_expect_eq(conn_at(&conns, idx)->queued, 640);
	cr_expect(conn_at(&conns, idx)->flags & CONN_SENDING);
	/* Nor is it sent twice. */
	cr_assert(reply(idx, 64, &wrote));
	conns_settle(&conns);
	turn_until(read_to == wrote || take(peer, &read_to) < 0);
	cr_expect_eq(read_to, 704);
	turn();
	cr_expect_eq(take(peer, &read_to), 0);
	cr_expect_eq(conn_at(&conns, idx)->queued, 0);
	close(peer);
	teardown();
}

/* Something else that was queued meanwhile, a new connection for instance, has
 * nothing to do with it: the next reply must not wait. */
Test(conn, send_that_was_submitted_is_done_whatever_is_queued_behind_it)
{
	uint64_t wrote = 0, read_to = 0;
	int peer, other_peer;
	uint32_t idx;

	setup();
	idx = open_pair(&peer);
	turn();
	cr_assert(reply(idx, 64, &wrote));
	conns_settle(&conns);
	ring_wait(&ring, 0);
	open_pair(&other_peer); /* queues its receive */
	gather();
	cr_expect_eq(conn_at(&conns, idx)->queued, 0);
	cr_expect_not(conn_at(&conns, idx)->flags & CONN_SENDING);
	cr_assert(reply(idx, 64, &wrote));
	conns_settle(&conns);
	ring_wait(&ring, 0);
	take(peer, &read_to);
	cr_expect_eq(read_to, wrote);
	close(peer);
	close(other_peer);
	teardown();
}

Test(conn, short_send_goes_on_where_it_stopped)
{
	const int small = 4096;
	uint64_t wrote = 0, read_to = 0;
	uint32_t idx;
	int peer;

	setup();
	idx = open_pair(&peer);
	setsockopt(conn_at(&conns, idx)->fd, SOL_SOCKET, SO_SNDBUF, &small,
		   sizeof(small));
	cr_assert(reply(idx, 5 * CHUNK_BYTES + 123, &wrote));
	turn();
	cr_expect_gt(counter_read(&counters.sends_parked), 0);
	cr_expect_gt(conn_at(&conns, idx)->queued, 0);
	turn_until((take(peer, &read_to), read_to == wrote));
	turn_until(conn_at(&conns, idx)->queued == 0);
	close(peer);
	teardown();
}

Test(conn, peer_that_does_not_read_is_not_read_from_until_it_does)
{
	static char block[CHUNK_BYTES];
	uint64_t wrote = 0, read_to = 0, was;
	uint32_t idx;
	int peer;

	setup();
	idx = open_pair(&peer);
	while (conn_at(&conns, idx)->queued <= OUTPUT_MAX) {
		cr_assert(reply(idx, CHUNK_BYTES, &wrote));
		turn();
	}
	turn_until((conn_at(&conns, idx)->flags & (CONN_PAUSED | CONN_RECV)) ==
		   CONN_PAUSED);
	cr_expect_eq(counter_read(&counters.output_overflows), 1);
	was = got_bytes[idx];
	cr_assert_eq(send(peer, block, sizeof(block), MSG_DONTWAIT),
		     sizeof(block));
	turn();
	turn();
	cr_expect_eq(got_bytes[idx], was);
	/* It reads: so do we, the rest of its bytes too. */
	turn_until((take(peer, &read_to), read_to == wrote));
	turn_until(got_bytes[idx] == was + sizeof(block));
	cr_expect_eq(conn_at(&conns, idx)->flags & CONN_PAUSED, 0);
	close(peer);
	teardown();
}

/* A pause whose receive had already ended, and whose last send is silent. */
Test(conn, pause_without_a_receive_ends_too)
{
	uint64_t wrote = 0, read_to = 0;
	uint32_t idx;
	int peer;

	setup();
	conns.output_max = 1000;
	idx = open_pair(&peer);
	turn();
	conn_at(&conns, idx)->flags &= ~(unsigned)CONN_RECV;
	conn_at(&conns, idx)->flags |= CONN_REARM;
	cr_assert(reply(idx, 2000, &wrote));
	conns_settle(&conns);
	cr_expect(conn_at(&conns, idx)->flags & CONN_PAUSED);
	turn_until((take(peer, &read_to), read_to == wrote));
	turn_until((conn_at(&conns, idx)->flags & (CONN_PAUSED | CONN_RECV)) ==
		   CONN_RECV);
	conns.output_max = OUTPUT_MAX;
	close(peer);
	/* The receive that was forgotten above ends as well. */
	turn();
	teardown();
}

Test(conn, empty_pool_costs_the_one_that_holds_most)
{
	uint64_t hog_wrote = 0, wrote = 0, read_to = 0;
	uint32_t hog, idx;
	int hog_peer, peer;

	setup();
	conns.output_max = UINT64_MAX;
	hog = open_pair(&hog_peer);
	idx = open_pair(&peer);
	while (conns.chunks.free != CHUNK_NONE) {
		cr_assert(reply(hog, 1000, &hog_wrote));
		turn();
	}
	cr_assert(reply(idx, 64, &wrote));
	cr_expect_eq(counter_read(&counters.output_evictions), 1);
	cr_expect(conn_at(&conns, hog)->flags & CONN_ABORT);
	cr_expect_eq(conn_at(&conns, idx)->flags & CONN_ABORT, 0);
	turn();
	cr_expect_eq(take(peer, &read_to), 64);
	turn_until(conns.open == 1);
	close(hog_peer);
	close(peer);
	teardown();
}

Test(conn, empty_pool_closes_the_one_that_asks_when_it_is_the_cause)
{
	uint64_t hog_wrote = 0, wrote = 0, read_to = 0;
	uint32_t hog, idx;
	int hog_peer, peer;

	setup();
	conns.output_max = UINT64_MAX;
	idx = open_pair(&peer);
	hog = open_pair(&hog_peer);
	turn();
	while (reply(hog, 1000, &hog_wrote))
		turn();
	cr_expect(conn_at(&conns, hog)->flags & CONN_ABORT);
	turn_until(conns.open == 1);
	cr_assert(reply(idx, 64, &wrote));
	turn();
	cr_expect_eq(take(peer, &read_to), 64);
	close(hog_peer);
	close(peer);
	teardown();
}

Test(conn, half_closed_peer_gets_its_answers_then_the_end)
{
	uint64_t wrote = 0, read_to = 0;
	uint32_t idx;
	int peer;

	setup();
	idx = open_pair(&peer);
	say(peer, "abc");
	shutdown(peer, SHUT_WR);
	ring_wait(&ring, 1);
	gather();
	cr_assert_eq(got_bytes[idx], 3);
	/* Several chunks, more than the socket takes at once. */
	cr_assert(reply(idx, 15 * CHUNK_BYTES, &wrote));
	turn_until(take(peer, &read_to) < 0);
	cr_expect_eq(read_to, wrote);
	close(peer);
	teardown();
}

Test(conn, end_of_file_while_a_silent_send_is_out_closes)
{
	uint64_t wrote = 0, read_to = 0;
	uint32_t idx;
	int peer;

	setup();
	idx = open_pair(&peer);
	turn();
	cr_assert(reply(idx, 64, &wrote));
	conns_settle(&conns);
	shutdown(peer, SHUT_WR);
	ring_wait(&ring, 1);
	gather();
	conns_settle(&conns);
	ring_wait(&ring, 0);
	cr_expect_eq(take(peer, &read_to), 64);
	cr_expect_eq(take(peer, &read_to), -1);
	close(peer);
	teardown();
}

Test(conn, finished_connection_answers_then_drops_what_comes)
{
	uint64_t wrote = 0, read_to = 0;
	uint32_t idx;
	int peer;

	setup();
	idx = open_pair(&peer);
	turn();
	cr_assert(reply(idx, 3 * CHUNK_BYTES, &wrote));
	conn_finish(&conns, idx);
	turn_until(take(peer, &read_to) < 0);
	cr_expect_eq(read_to, wrote);
	say(peer, "more");
	turn();
	cr_expect_eq(got_bytes[idx], 0);
	cr_expect_eq(conns.open, 1);
	close(peer);
	teardown();
}

Test(conn, abort_waits_for_the_kernel_before_the_slot_is_free)
{
	uint64_t wrote = 0;
	uint32_t idx;
	int peer;

	setup();
	idx = open_pair(&peer);
	cr_assert(reply(idx, 20 * CHUNK_BYTES, &wrote));
	turn_until(counter_read(&counters.sends_parked) > 0);
	cr_assert(conn_at(&conns, idx)->flags & CONN_SENDING);
	conn_abort(&conns, idx);
	conns_settle(&conns);
	cr_expect_eq(conns.open, 1); /* the send is still out */
	turn_until(conns.open == 0);
	close(peer);
	teardown();
}

/* The number is looked up when the shutdown runs: closed before, it may be
 * another file's. */
Test(conn, descriptor_is_closed_only_after_its_shutdowns)
{
	uint64_t wrote = 0;
	uint32_t idx;
	int peer;

	setup();
	for (unsigned i = 0; i < 300; i++) {
		idx = open_pair(&peer);
		conn_drain(&conns, idx);
		if (i % 3 == 0) {
			conn_abort(&conns, idx);
		} else if (i % 3 == 1) {
			cr_assert(reply(idx, 100, &wrote));
			conn_finish(&conns, idx);
		}
		close(peer);
		/* gather() finds the connection of each completion. */
		turn_until(conns.open == 0);
	}
	turn();
	cr_expect_geq(shut_completions, 300);
	teardown();
}

Test(conn, slot_that_is_used_again_ignores_completions_of_the_last_user)
{
	uint64_t tag;
	uint32_t idx, again;
	int peer;

	setup();
	idx = open_pair(&peer);
	tag = ring_tag(OP_RECV, conn_at(&conns, idx)->gen, idx);
	turn();
	cr_expect_eq(conn_of(&conns, tag), conn_at(&conns, idx));
	close(peer);
	turn_until(conns.open == 0);
	cr_expect_null(conn_of(&conns, tag));
	again = open_pair(&peer);
	cr_assert_eq(again, idx);
	cr_expect_null(conn_of(&conns, tag));
	cr_expect_null(conn_of(&conns, ring_tag(OP_RECV, 0, CONNS)));
	close(peer);
	teardown();
}

Test(conn, ended_slots_are_told)
{
	uint32_t idx;
	int peer;

	setup();
	idx = open_pair(&peer);
	conns_settle(&conns);
	cr_expect_eq(conns.closed_count, 0);
	close(peer);
	ring_wait(&ring, 1);
	gather();
	conns_settle(&conns);
	cr_expect_eq(conns.closed_count, 1);
	cr_expect_eq(conns.closed[0], idx);
	teardown();
}

Test(conn, table_that_is_full_says_so)
{
	int peers[CONNS], fds[2];

	setup();
	for (int i = 0; i < CONNS; i++)
		(void)open_pair(&peers[i]);
	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	cr_expect_eq(conn_open(&conns, fds[0], 0), CONN_NONE);
	close(fds[0]);
	close(fds[1]);
	for (int i = 0; i < CONNS; i++)
		close(peers[i]);
	teardown();
}

Test(conn, too_few_buffers_for_all_delay_and_lose_nothing)
{
	static uint8_t block[4 * RECV_BUFFER_BYTES];
	uint64_t total = 0;
	int peers[CONNS];

	setup();
	block[sizeof(block) - 1] = 42;
	for (int i = 0; i < CONNS; i++) {
		(void)open_pair(&peers[i]);
		cr_assert_eq(send(peers[i], block, sizeof(block), MSG_DONTWAIT),
			     sizeof(block));
	}
	turn_until((total = 0, ({
			    for (int i = 0; i < CONNS; i++)
				    total += got_bytes[i];
		    }),
		    total == CONNS * sizeof(block)));
	cr_expect_gt(counter_read(&counters.recv_buffers_exhausted), 0);
	for (int i = 0; i < CONNS; i++) {
		cr_expect_eq(got_bytes[i], sizeof(block));
		cr_expect_eq(got_last[i], 42);
		close(peers[i]);
	}
	teardown();
}

Test(conn, peer_that_is_gone_ends_the_connection)
{
	uint64_t wrote = 0;
	uint32_t idx;
	int peer;

	setup();
	idx = open_pair(&peer);
	turn();
	/* Its end of file and our broken send in one sweep. */
	close(peer);
	cr_assert(reply(idx, 64, &wrote));
	teardown();
}

Test(conn, drained_connection_still_reads_what_lies_in_the_socket)
{
	uint64_t wrote = 0, read_to = 0;
	uint32_t idx;
	int peer;

	setup();
	idx = open_pair(&peer);
	say(peer, "lying there");
	conn_drain(&conns, idx);
	ring_wait(&ring, 1);
	gather();
	cr_expect_eq(got_bytes[idx], 11);
	cr_assert(reply(idx, 64, &wrote));
	turn_until(conns.open == 0);
	cr_expect_eq(take(peer, &read_to), 64);
	cr_expect_eq(take(peer, &read_to), -1);
	close(peer);
	teardown();
}

Test(conn, idle_time_passes_wholly_before_the_end)
{
	uint64_t wrote = 0;
	uint32_t idx;
	int peer;

	setup();
	idx = open_pair(&peer);
	turn();
	conns.now_s += 60;
	conns_reap(&conns, 60, 5);
	turn();
	cr_assert_eq(conns.open, 1);
	/* A reply starts it anew. */
	cr_assert(reply(idx, 64, &wrote));
	turn();
	conns.now_s += 60;
	conns_reap(&conns, 60, 5);
	turn();
	cr_assert_eq(conns.open, 1);
	conns.now_s += 1;
	conns_reap(&conns, 60, 5);
	turn_until(conns.open == 0);
	cr_expect_eq(counter_read(&counters.connections_idle), 1);
	close(peer);
	teardown();
}

Test(conn, bytes_that_become_no_request_keep_nobody_alive)
{
	int peer;

	setup();
	(void)open_pair(&peer);
	turn();
	for (int i = 0; i < 61; i++) {
		conns.now_s += 1;
		say(peer, "x");
		turn();
		conns_reap(&conns, 60, 5);
	}
	turn_until(conns.open == 0);
	close(peer);
	teardown();
}

Test(conn, finished_connection_does_not_linger_however_much_is_sent)
{
	uint32_t idx;
	int peer;

	setup();
	idx = open_pair(&peer);
	turn();
	conns.now_s += 30;
	conn_finish(&conns, idx);
	turn();
	conns_reap(&conns, 60, 5);
	turn();
	cr_assert_eq(conns.open, 1); /* since the end, not since the reply */
	for (int i = 0; i < 6 && conns.open == 1; i++) {
		conns.now_s += 1;
		say(peer, "x");
		turn();
		conns_reap(&conns, 60, 5);
	}
	turn_until(conns.open == 0);
	cr_expect_eq(counter_read(&counters.connections_idle), 0);
	close(peer);
	teardown();
}
