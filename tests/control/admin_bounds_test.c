/* SPDX-License-Identifier: MIT */

/*
 * What the server on the admin socket takes from whom, and what is left of it.
 */
#include "admin_stand.h"
#include "control/admin_http.h"
#include "wiped.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

TestSuite(admin_bounds, .init = serve, .fini = stop);

Test(admin_bounds, one_connection_too_many_is_answered_503)
{
	int fds[CONNECTIONS], extra;
	const char *answer;
	bool closed;

	for (int i = 0; i < CONNECTIONS; i++)
		fds[i] = dial();
	settle();
	cr_assert_eq(admin_connections(stand.admin), CONNECTIONS);
	extra = dial();
	settle();
	/* It may send its request after it was turned away. */
	put(extra, GET);
	answer = get(extra, &closed);
	expect_status(answer, 503);
	cr_assert_eq(stand.handled, 0);
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

Test(admin_bounds, those_turned_away_have_a_bound_and_a_time)
{
	int fds[CONNECTIONS + ADMIN_AWAY_MAX], one_more;
	bool closed;

	for (int i = 0; i < CONNECTIONS + ADMIN_AWAY_MAX; i++)
		fds[i] = dial();
	settle();
	cr_assert_eq(admin_connections(stand.admin), CONNECTIONS);
	one_more = dial();
	settle();
	cr_assert_str_eq(get(one_more, &closed), "", "closed unheard");
	cr_assert(closed);
	close(one_more);
	/* They hold their places no longer than others linger. */
	pass(ADMIN_LINGER_MS);
	one_more = dial();
	settle();
	expect_status(get(one_more, &closed), 503);
	close(one_more);
	for (int i = 0; i < CONNECTIONS + ADMIN_AWAY_MAX; i++)
		close(fds[i]);
}

Test(admin_bounds, the_largest_body_is_taken)
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
	cr_assert_eq(stand.body_len, ADMIN_BODY_MAX);
	close(fd);
}

Test(admin_bounds, out_of_descriptors_it_waits_instead_of_spinning)
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
	cr_assert_eq(admin_connections(stand.admin), 0);
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

Test(admin_bounds, other_users_are_refused_even_if_the_file_lets_them)
{
	int status = 0;
	bool taken = false;
	pid_t child;

	if (geteuid() != 0)
		cr_skip_test("needs root to become somebody else");
	cr_assert_eq(chmod(stand.dir, 0777) | chmod(stand.path, 0777), 0);
	child = fork();
	if (child == 0)
		as_another_user();
	while (!taken && waitpid(child, &status, WNOHANG) == 0) {
		has_something_to_do(100);
		admin_step_at(stand.admin, stand.now_ms);
		taken = admin_connections(stand.admin) > 0;
	}
	if (taken)
		kill(child, SIGKILL);
	cr_assert_not(taken);
	cr_assert(WIFEXITED(status));
	cr_assert_eq(WEXITSTATUS(status), 0);
	cr_assert_eq(stand.handled, 0);
}

/* ---- secrets ---- */

Test(admin_bounds, nothing_of_a_request_or_an_answer_is_left_in_freed_memory)
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
	stand.reply_len = 2u << 20;
	fd = dial();
	put(fd, "POST /secretsecretsecret HTTP/1.1\r\n\r\n");
	settle();
	stand.admin = admin_close(stand.admin);
	close(fd);
	cr_assert_gt(wiped_frees(), 3);
	cr_assert_eq(wiped_leaks(), 0);
	wiped_watch(NULL);
}
