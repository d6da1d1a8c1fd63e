/* SPDX-License-Identifier: MIT */

/*
 * The server on the admin socket: real sockets, time as an argument. The
 * handler answers with what it was asked.
 */
#include "control/admin.h"

#include "base/log.h"
#include "control/admin_http.h"
#include "control/listen.h"
#include "wiped.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <llhttp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define IDLE_MS 75000
#define CONNECTIONS 4
#define ANSWER_MAX (9u << 20)

static char dir[] = "/dev/shm/stile-admin-test.XXXXXX";
static char path[64];
static struct admin *admin;
static uint64_t now_ms = 1000000;
static unsigned handled;
static size_t reply_len; /* bytes of the handler's answer; 0 = an echo */
static size_t large_body;

/* "METHOD target body-length body" */
static void echo(void *arg, const struct admin_request *q, struct reply *reply)
{
	(void)arg;
	handled++;
	cr_assert_eq(q->uid, geteuid());
	if (q->body_len > 1000)
		large_body = q->body_len;
	if (strcmp(q->target, "/allow") == 0)
		strcpy(reply->allow, "GET, HEAD");
	reply_text(reply, 200, "text/plain", "");
	buf_printf(&reply->body, "%s %s %zu %.*s\n",
		   llhttp_method_name(q->method), q->target, q->body_len,
		   q->body_len < 100 ? (int)q->body_len : 0,
		   q->body ? q->body : "");
	while (reply->body.len < reply_len)
		buf_text(&reply->body, "xxxxxxxxxxxxxxx\n");
}

static void serve(void)
{
	struct admin_options o = {.max_connections = CONNECTIONS,
				  .idle_ms = IDLE_MS,
				  .handle = echo};
	char err[256];

	log_set_level(LOG_LEVEL_ERROR);
	cr_assert_not_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/a.sock", dir);
	o.listen_fd = listen_open(path, 0600, err, sizeof(err));
	cr_assert_geq(o.listen_fd, 0, "%s", err);
	cr_assert_eq(admin_open(&o, &admin), 0);
}

static void stop(void)
{
	admin = admin_close(admin);
	unlink(path);
	rmdir(dir);
}

TestSuite(admin, .init = serve, .fini = stop);

static bool has_something_to_do(int timeout_ms)
{
	struct pollfd p = {.fd = admin_fd(admin), .events = POLLIN};

	return poll(&p, 1, timeout_ms) > 0;
}

/* Until nothing is left to do at this time. */
static void settle(void)
{
	int steps = 0;

	for (; has_something_to_do(0); steps++) {
		cr_assert_lt(steps, 10000, "it spins");
		admin_step_at(admin, now_ms);
	}
}

static void pass(uint64_t ms)
{
	now_ms += ms;
	admin_step_at(admin, now_ms);
	settle();
}

static int dial(void)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	strcpy(addr.sun_path, path);
	cr_assert_eq(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	return fd;
}

static void put(int fd, const char *text)
{
	size_t len = strlen(text);

	cr_assert_eq(send(fd, text, len, MSG_NOSIGNAL), (ssize_t)len);
	settle();
}

/* All that has arrived; *ret_closed: the server has said its last. */
static const char *get(int fd, bool *ret_closed)
{
	static char answer[ANSWER_MAX];
	size_t len = 0;
	ssize_t n;

	*ret_closed = false;
	for (;;) {
		n = recv(fd, answer + len, sizeof(answer) - 1 - len,
			 MSG_DONTWAIT);
		if (n <= 0)
			break;
		len += (size_t)n;
		settle();
	}
	*ret_closed = n == 0 || errno != EAGAIN;
	answer[len] = '\0';
	return answer;
}

static unsigned count(const char *in, const char *what)
{
	unsigned n = 0;

	for (; (in = strstr(in, what)); in++)
		n++;
	return n;
}

static void expect_status(const char *answer, unsigned status)
{
	char line[32];

	snprintf(line, sizeof(line), "HTTP/1.1 %u ", status);
	cr_assert_eq(strncmp(answer, line, strlen(line)), 0, "%s: %.200s", line,
		     answer);
}

/* The last answer of a connection: this status, then the end. */
static void expect_last(int fd, unsigned status)
{
	bool closed;
	const char *answer = get(fd, &closed);

	expect_status(answer, status);
	cr_assert_not_null(strstr(answer, "\r\nConnection: close\r\n"));
	cr_assert_not_null(strstr(answer, "\"error\":{\"code\":\""), "%s",
			   answer);
	cr_assert(closed);
	close(fd);
	settle();
	cr_assert_eq(admin_connections(admin), 0);
}

#define GET "GET /a HTTP/1.1\r\nHost: stile\r\n\r\n"

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
		admin_step_at(admin, now_ms);
		cr_assert_eq(handled, i, "one a step");
		cr_assert(has_something_to_do(0), "the next is not forgotten");
	}
	settle();
	cr_assert_eq(handled, 32);
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
	admin_step_at(admin, now_ms);
	expect_status(get(other, &closed), 200);
	settle();
	cr_assert_eq(handled, 151);
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
	cr_assert_eq(admin_connections(admin), 0);
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
	cr_assert_eq(handled, 0);
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
	cr_assert_eq(admin_connections(admin), 0);
}

Test(admin, lingering_ends_after_its_time_and_its_bytes)
{
	char block[65536];
	int fd = dial();
	ssize_t n = 1;

	memset(block, 'x', sizeof(block));
	put(fd, "x\r\n");
	cr_assert_eq(admin_connections(admin), 1);
	pass(ADMIN_LINGER_MS - 1);
	cr_assert_eq(admin_connections(admin), 1);
	pass(1);
	cr_assert_eq(admin_connections(admin), 0);
	close(fd);

	fd = dial();
	put(fd, "x\r\n");
	for (int i = 0; i < 1000 && n > 0; i++) {
		n = send(fd, block, sizeof(block), MSG_NOSIGNAL | MSG_DONTWAIT);
		settle();
	}
	cr_assert_lt(n, 0, "a peer that never stops is cut off");
	cr_assert_eq(admin_connections(admin), 0);
	close(fd);
}

/* ---- time ---- */

Test(admin, an_idle_connection_is_closed_after_its_time)
{
	int fd = dial();
	bool closed;

	settle();
	pass(IDLE_MS - 1);
	cr_assert_eq(admin_connections(admin), 1);
	put(fd, GET);
	pass(IDLE_MS - 1);
	cr_assert_eq(admin_connections(admin), 1, "it began anew");
	pass(1);
	cr_assert_eq(admin_connections(admin), 0);
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
	cr_assert_eq(admin_connections(admin), 1);
	pass(1);
	cr_assert_eq(handled, 0);
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

	reply_len = 2u << 20;
	put(fd, GET);
	pass(ADMIN_REPLY_MS - 1);
	cr_assert_eq(admin_connections(admin), 1);
	pass(1);
	cr_assert_eq(admin_connections(admin), 0);
	close(fd);
}

Test(admin, a_large_answer_arrives_whole_and_the_next_waits_for_it)
{
	int fd = dial();
	const char *answer;
	bool closed;

	reply_len = REPLY_BODY_MAX - 100;
	put(fd, GET GET);
	cr_assert_eq(handled, 1, "the second waits until the first is fetched");
	answer = get(fd, &closed);
	cr_assert_eq(handled, 2);
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
	cr_assert_eq(admin_connections(admin), 0);

	reply_len = 2u << 20;
	fd = dial();
	put(fd, GET);
	close(fd);
	settle();
	cr_assert_eq(admin_connections(admin), 0);
}

/* ---- bounds ---- */

Test(admin, one_connection_too_many_is_answered_503)
{
	int fds[CONNECTIONS], extra;
	const char *answer;
	bool closed;

	for (int i = 0; i < CONNECTIONS; i++)
		fds[i] = dial();
	settle();
	cr_assert_eq(admin_connections(admin), CONNECTIONS);
	extra = dial();
	settle();
	answer = get(extra, &closed);
	expect_status(answer, 503);
	cr_assert_not_null(strstr(answer, "\"unavailable\""));
	cr_assert(closed);
	close(extra);
	/* Others are as they were, and room comes back. */
	put(fds[0], GET);
	expect_status(get(fds[0], &closed), 200);
	close(fds[0]);
	settle();
	extra = dial();
	put(extra, GET);
	expect_status(get(extra, &closed), 200);
	close(extra);
	for (int i = 1; i < CONNECTIONS; i++)
		close(fds[i]);
}

Test(admin, the_largest_body_is_taken)
{
	static char body[ADMIN_BODY_MAX + 1];
	char head[128];
	int fd = dial();
	size_t sent = 0;
	bool closed;

	memset(body, 'x', ADMIN_BODY_MAX);
	snprintf(head, sizeof(head),
		 "POST /p HTTP/1.1\r\nContent-Length: %u\r\n\r\n",
		 ADMIN_BODY_MAX);
	put(fd, head);
	while (sent < ADMIN_BODY_MAX) {
		ssize_t n = send(fd, body + sent, ADMIN_BODY_MAX - sent,
				 MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n > 0)
			sent += (size_t)n;
		settle();
	}
	expect_status(get(fd, &closed), 200);
	cr_assert_eq(large_body, ADMIN_BODY_MAX);
	close(fd);
}

Test(admin, out_of_descriptors_it_waits_instead_of_spinning)
{
	struct rlimit old, none;
	int fd = dial();
	bool closed;

	getrlimit(RLIMIT_NOFILE, &old);
	none = old;
	none.rlim_cur = (rlim_t)fd + 1;
	setrlimit(RLIMIT_NOFILE, &none);
	cr_assert_gt(send(fd, GET, strlen(GET), 0), 0);
	settle(); /* fails when the listener stays readable */
	cr_assert_eq(admin_connections(admin), 0);
	setrlimit(RLIMIT_NOFILE, &old);
	cr_assert(has_something_to_do(5000), "it listens again by itself");
	settle();
	expect_status(get(fd, &closed), 200);
	close(fd);
}

/* ---- peers ---- */

static void as_another_user(void)
{
	char answer[512] = "";
	int fd;

	if (setgid(65534) < 0 || setuid(65534) < 0)
		_exit(2);
	fd = dial();
	/* The server answers without having been asked. */
	for (size_t n = 0; n < sizeof(answer) - 1;) {
		ssize_t r = recv(fd, answer + n, sizeof(answer) - 1 - n, 0);

		if (r <= 0)
			break;
		n += (size_t)r;
	}
	_exit(strncmp(answer, "HTTP/1.1 403 ", 13) == 0 &&
			      strstr(answer, "\"forbidden\"")
		      ? 0
		      : 1);
}

Test(admin, other_users_are_refused_even_if_the_file_lets_them)
{
	int status, refused = 0;
	pid_t child;

	if (geteuid() != 0)
		cr_skip_test("needs root to become somebody else");
	cr_assert_eq(chmod(dir, 0777) | chmod(path, 0777), 0);
	child = fork();
	if (child == 0)
		as_another_user();
	while (waitpid(child, &status, WNOHANG) == 0) {
		has_something_to_do(100);
		admin_step_at(admin, now_ms);
		refused |= admin_connections(admin) != 0;
	}
	cr_assert(WIFEXITED(status));
	cr_assert_eq(WEXITSTATUS(status), 0);
	cr_assert_eq(refused, 0, "it never takes a place");
	cr_assert_eq(handled, 0);
}

/* ---- secrets ---- */

Test(admin, nothing_of_a_request_or_an_answer_is_left_in_freed_memory)
{
	int fd;
	bool closed;

	wiped_watch("secretsecretsecret");
	fd = dial();
	put(fd, "POST /secretsecretsecret HTTP/1.1\r\nContent-Length: 18\r\n"
		"\r\nsecretsecretsecret");
	cr_assert_not_null(strstr(get(fd, &closed), "18 secretsecretsecret"));
	/* One that breaks off, and one whose answer is not fetched. */
	put(fd, "POST /b HTTP/1.1\r\nContent-Length: 50\r\n"
		"\r\nsecretsecretsecret");
	close(fd);
	settle();
	reply_len = 2u << 20;
	fd = dial();
	put(fd, "POST /secretsecretsecret HTTP/1.1\r\n\r\n");
	settle();
	admin = admin_close(admin);
	close(fd);
	cr_assert_gt(wiped_frees(), 3);
	cr_assert_eq(wiped_leaks(), 0);
	wiped_watch(NULL);
}
