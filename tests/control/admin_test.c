/* SPDX-License-Identifier: MIT */
#include "control/admin.h"

#include "admin_stand.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

TestSuite(admin, .init = serve, .fini = stop);

Test(admin, a_request_is_answered_and_the_connection_kept)
{
	int fd = dial();
	bool closed;

	for (int i = 0; i < 3; i++) {
		const char *answer;

		put(fd, GET);
		answer = get(fd, &closed);
		expect_status(answer, 200);
		cr_assert_not_null(
			strstr(answer, "\r\nContent-Length: 10\r\n"));
		cr_assert_not_null(
			strstr(answer, "\r\nContent-Type: text/plain\r\n"));
		cr_assert_not_null(
			strstr(answer, "\r\nCache-Control: no-store\r\n"));
		cr_assert_null(strstr(answer, "Connection: close"));
		cr_assert_not_null(strstr(answer, "\r\n\r\nGET /a 0 \n"));
		cr_assert_not(closed);
	}
	close(fd);
}

Test(admin, head_gets_the_head_alone)
{
	int fd = dial();
	bool closed;
	const char *answer;

	put(fd, "HEAD /a HTTP/1.1\r\n\r\n");
	answer = get(fd, &closed);
	cr_assert_not_null(strstr(answer, "\r\nContent-Length: 11\r\n"));
	cr_assert_str_eq(strstr(answer, "\r\n\r\n"), "\r\n\r\n");
	put(fd, GET);
	expect_status(get(fd, &closed), 200);
	close(fd);
}

Test(admin, allow_is_sent_with_the_answer_it_belongs_to)
{
	int fd = dial();
	bool closed;

	put(fd, "GET /allow HTTP/1.1\r\n\r\n");
	cr_assert_not_null(
		strstr(get(fd, &closed), "\r\nAllow: GET, HEAD\r\n"));
	put(fd, GET);
	cr_assert_null(strstr(get(fd, &closed), "Allow"));
	close(fd);
}

Test(admin, pipelined_requests_are_answered_in_order_one_a_step)
{
	char many[64 * 32] = "";
	int fd = dial();
	const char *answer;
	bool closed;

	settle();
	for (int i = 0; i < 32; i++)
		snprintf(many + strlen(many), 64, "GET /%02d HTTP/1.1\r\n\r\n",
			 i);
	cr_assert_gt(send(fd, many, strlen(many), 0), 0);
	for (unsigned i = 1; i <= 3; i++) {
		admin_step_at(stand.admin, stand.now_ms);
		cr_assert_eq(stand.handled, i, "one a step");
		cr_assert(has_something_to_do(0), "the next is not forgotten");
	}
	settle();
	cr_assert_eq(stand.handled, 32);
	answer = get(fd, &closed);
	for (int i = 0; i < 32; i++) {
		char line[32];

		snprintf(line, sizeof(line), "GET /%02d 0", i);
		answer = strstr(answer, line);
		cr_assert_not_null(answer, "%s", line);
	}
	close(fd);
}

Test(admin, a_busy_peer_does_not_keep_others_from_being_answered)
{
	int busy = dial(), other = dial();
	bool closed;

	settle();
	for (int i = 0; i < 50; i++)
		cr_assert_gt(send(busy, GET GET GET, 3 * strlen(GET), 0), 0);
	cr_assert_gt(send(other, GET, strlen(GET), 0), 0);
	admin_step_at(stand.admin, stand.now_ms);
	expect_status(get(other, &closed), 200);
	settle();
	cr_assert_eq(stand.handled, 151);
	close(busy);
	close(other);
}

Test(admin, byte_by_byte_is_the_same)
{
	static const char text[] = "POST /p HTTP/1.1\r\nContent-Length: "
				   "3\r\n\r\nabc" GET;
	int fd = dial();
	const char *answer;
	bool closed;

	for (const char *p = text; *p; p++) {
		char one[2] = {*p, '\0'};

		put(fd, one);
	}
	answer = get(fd, &closed);
	cr_assert_not_null(strstr(answer, "POST /p 3 abc\n"));
	cr_assert_not_null(strstr(answer, "GET /a 0 \n"));
	close(fd);
}

Test(admin, a_half_closed_peer_still_gets_every_answer)
{
	int fd = dial();
	bool closed;

	settle();
	cr_assert_gt(send(fd, GET GET GET, 3 * strlen(GET), 0), 0);
	shutdown(fd, SHUT_WR);
	settle();
	cr_assert_eq(count(get(fd, &closed), "HTTP/1.1 200"), 3);
	cr_assert(closed);
	cr_assert_eq(admin_connections(stand.admin), 0);
	close(fd);
}

Test(admin, leave_to_send_a_body_is_given)
{
	int fd = dial();
	bool closed;

	put(fd, "POST /p HTTP/1.1\r\nExpect: 100-continue\r\n"
		"Content-Length: 3\r\n\r\n");
	cr_assert_str_eq(get(fd, &closed), "HTTP/1.1 100 Continue\r\n\r\n");
	put(fd, "abc");
	cr_assert_not_null(strstr(get(fd, &closed), "POST /p 3 abc\n"));
	close(fd);
}

Test(admin, what_the_peer_asked_to_close_is_closed)
{
	int fd = dial();
	const char *answer;
	bool closed;

	put(fd, "GET /a HTTP/1.0\r\n\r\n" GET);
	answer = get(fd, &closed);
	cr_assert_eq(count(answer, "HTTP/1.1 200"), 1);
	cr_assert_not_null(strstr(answer, "Connection: close"));
	cr_assert(closed);
	close(fd);
}

/* ---- what is no request ---- */

Test(admin, broken_input_is_answered_and_closed)
{
	static const struct {
		const char *text;
		unsigned status;
	} cases[] = {
		{"\x16\x03\x01", 400},
		{"GET /a HTTP/2.0\r\n\r\n", 505},
		{"POST /p HTTP/1.1\r\nContent-Length: 4194305\r\n\r\n", 413},
		{"POST /p HTTP/1.1\r\nContent-Length: 5\r\n"
		 "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		 400},
		{"POST /p HTTP/1.1\r\nExpect: tea\r\n\r\n", 417},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		int fd = dial();

		put(fd, cases[i].text);
		expect_last(fd, cases[i].status);
	}
	cr_assert_eq(stand.handled, 0);
}

Test(admin, an_answer_survives_a_peer_that_is_still_sending)
{
	char block[4096];
	int fd = dial();
	bool closed;

	memset(block, 'x', sizeof(block));
	put(fd, "POST /p HTTP/1.1\r\nContent-Length: 5000000\r\n\r\n");
	for (int i = 0; i < 1000; i++) {
		ssize_t n = send(fd, block, sizeof(block),
				 MSG_NOSIGNAL | MSG_DONTWAIT);

		cr_assert_gt(n, 0, "the socket stays open for it: %d", errno);
		settle();
	}
	expect_status(get(fd, &closed), 413);
	close(fd);
	settle();
	cr_assert_eq(admin_connections(stand.admin), 0);
}

Test(admin, lingering_ends_after_its_time_and_its_bytes)
{
	char block[65536];
	int fd = dial();
	ssize_t n = 1;

	memset(block, 'x', sizeof(block));
	put(fd, "x\r\n");
	cr_assert_eq(admin_connections(stand.admin), 1);
	pass(ADMIN_LINGER_MS - 1);
	cr_assert_eq(admin_connections(stand.admin), 1);
	pass(1);
	cr_assert_eq(admin_connections(stand.admin), 0);
	close(fd);

	fd = dial();
	put(fd, "x\r\n");
	for (int i = 0; i < 1000 && n > 0; i++) {
		n = send(fd, block, sizeof(block), MSG_NOSIGNAL | MSG_DONTWAIT);
		settle();
	}
	cr_assert_lt(n, 0, "a peer that never stops is cut off");
	cr_assert_eq(admin_connections(stand.admin), 0);
	close(fd);
}

/* ---- time ---- */

Test(admin, an_idle_connection_is_closed_after_its_time)
{
	int fd = dial();
	bool closed;

	settle();
	pass(IDLE_MS - 1);
	cr_assert_eq(admin_connections(stand.admin), 1);
	put(fd, GET);
	pass(IDLE_MS - 1);
	cr_assert_eq(admin_connections(stand.admin), 1, "it began anew");
	pass(1);
	cr_assert_eq(admin_connections(stand.admin), 0);
	cr_assert_eq(count(get(fd, &closed), "HTTP/1.1"), 1,
		     "closed without a word");
	cr_assert(closed);
	close(fd);
}

Test(admin, a_request_that_dribbles_in_is_answered_408)
{
	int fd = dial();

	put(fd, "GET /a HTTP/1.1\r\n");
	for (int i = 0; i < 29; i++) {
		pass(1000);
		put(fd, "A: b\r\n");
	}
	pass(999);
	cr_assert_eq(admin_connections(stand.admin), 1);
	pass(1);
	cr_assert_eq(stand.handled, 0);
	expect_last(fd, 408);
}

Test(admin, a_body_that_does_not_come_is_answered_408)
{
	int fd = dial();

	put(fd, "POST /a HTTP/1.1\r\nContent-Length: 5\r\n\r\nabc");
	pass(ADMIN_REQUEST_MS);
	expect_last(fd, 408);
}

Test(admin, the_time_of_a_request_begins_with_its_first_byte)
{
	int fd = dial();
	bool closed;

	settle();
	pass(IDLE_MS - 10);
	put(fd, "GET /a HTTP/1.1\r\n");
	pass(ADMIN_REQUEST_MS - 10);
	put(fd, "\r\n");
	expect_status(get(fd, &closed), 200);
	put(fd, GET "GET /b");
	pass(ADMIN_REQUEST_MS - 1);
	put(fd, " HTTP/1.1\r\n\r\n");
	cr_assert_eq(count(get(fd, &closed), "HTTP/1.1 200"), 2);
	close(fd);
}

Test(admin, an_answer_that_is_not_fetched_ends_the_connection)
{
	int fd = dial();

	stand.reply_len = 2u << 20;
	put(fd, GET);
	pass(ADMIN_REPLY_MS - 1);
	cr_assert_eq(admin_connections(stand.admin), 1);
	pass(1);
	cr_assert_eq(admin_connections(stand.admin), 0);
	close(fd);
}

Test(admin, a_large_answer_arrives_whole_and_the_next_waits_for_it)
{
	int fd = dial();
	const char *answer;
	bool closed;

	stand.reply_len = REPLY_BODY_MAX - 100;
	put(fd, GET GET);
	cr_assert_eq(stand.handled, 1,
		     "the second waits until the first is fetched");
	answer = get(fd, &closed);
	cr_assert_eq(stand.handled, 2);
	cr_assert_eq(count(answer, "HTTP/1.1 200"), 2);
	cr_assert_gt(strlen(answer), 2 * (REPLY_BODY_MAX - 100));
	cr_assert_not(closed);
	close(fd);
}

Test(admin, a_peer_that_vanishes_is_forgotten)
{
	int fd = dial();

	put(fd, "GET /a HT");
	close(fd);
	settle();
	cr_assert_eq(admin_connections(stand.admin), 0);

	stand.reply_len = 2u << 20;
	fd = dial();
	put(fd, GET);
	close(fd);
	settle();
	cr_assert_eq(admin_connections(stand.admin), 0);
}
