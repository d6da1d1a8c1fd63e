/* SPDX-License-Identifier: MIT */
#include "admin_stand.h"

#include "base/log.h"
#include "control/listen.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <llhttp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define ANSWER_MAX (9u << 20)

struct admin_stand stand = {
	.dir = "/dev/shm/stile-admin-test.XXXXXX",
	.now_ms = 1000000,
};

/* "METHOD target body-length body" */
static void echo(void *arg, const struct admin_request *q, struct reply *reply)
{
	(void)arg;
	stand.handled++;
	cr_assert_eq(q->uid, geteuid());
	stand.body_len = q->body_len;
	if (strcmp(q->target, "/allow") == 0)
		strcpy(reply->allow, "GET, HEAD");
	reply_text(reply, 200, "text/plain", "");
	buf_printf(&reply->body, "%s %s %zu %.*s\n",
		   llhttp_method_name(q->method), q->target, q->body_len,
		   q->body_len < 100 ? (int)q->body_len : 0,
		   q->body ? q->body : "");
	while (reply->body.len < stand.reply_len)
		buf_text(&reply->body, "xxxxxxxxxxxxxxx\n");
}

void serve(void)
{
	struct admin_options o = {.max_connections = CONNECTIONS,
				  .idle_ms = IDLE_MS,
				  .handle = echo};
	char err[256];

	log_set_level(LOG_LEVEL_ERROR);
	cr_assert_not_null(mkdtemp(stand.dir));
	snprintf(stand.path, sizeof(stand.path), "%s/a.sock", stand.dir);
	o.listen_fd = listen_open(stand.path, 0600, err, sizeof(err));
	cr_assert_geq(o.listen_fd, 0, "%s", err);
	cr_assert_eq(admin_open(&o, &stand.admin), 0);
}

void stop(void)
{
	stand.admin = admin_close(stand.admin);
	unlink(stand.path);
	rmdir(stand.dir);
}

bool has_something_to_do(int timeout_ms)
{
	struct pollfd p = {.fd = admin_fd(stand.admin), .events = POLLIN};

	return poll(&p, 1, timeout_ms) > 0;
}

/* Until nothing is left to do at this time. */
void settle(void)
{
	int steps = 0;

	for (; has_something_to_do(0); steps++) {
		cr_assert_lt(steps, 10000, "it spins");
		admin_step_at(stand.admin, stand.now_ms);
	}
}

void pass(uint64_t ms)
{
	stand.now_ms += ms;
	admin_step_at(stand.admin, stand.now_ms);
	settle();
}

int dial(void)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	strcpy(addr.sun_path, stand.path);
	cr_assert_eq(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	return fd;
}

void put(int fd, const char *text)
{
	size_t len = strlen(text);

	cr_assert_eq(send(fd, text, len, MSG_NOSIGNAL), (ssize_t)len);
	settle();
}

/* All that has arrived; *ret_closed: the server has said its last. */
const char *get(int fd, bool *ret_closed)
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

unsigned count(const char *in, const char *what)
{
	unsigned n = 0;

	for (; (in = strstr(in, what)); in++)
		n++;
	return n;
}

void expect_status(const char *answer, unsigned status)
{
	char line[32];

	snprintf(line, sizeof(line), "HTTP/1.1 %u ", status);
	cr_assert_eq(strncmp(answer, line, strlen(line)), 0, "%s: %.200s", line,
		     answer);
}

/* The last answer of a connection: this status, then the end. */
void expect_last(int fd, unsigned status)
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
	cr_assert_eq(admin_connections(stand.admin), 0);
}
