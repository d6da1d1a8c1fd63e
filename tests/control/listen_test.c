/* SPDX-License-Identifier: MIT */
#include "control/listen.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static char dir[] = "/dev/shm/stile-listen-test.XXXXXX";
static char path[64];
static char err[256];

static void open_dir(void)
{
	strcpy(dir + strlen(dir) - 6, "XXXXXX");
	cr_assert_not_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/a.sock", dir);
	err[0] = '\0';
}

static void close_dir(void)
{
	unlink(path);
	cr_assert_eq(rmdir(dir), 0, "something was left behind");
}

TestSuite(listen, .init = open_dir, .fini = close_dir);

static int connect_to(const char *to)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	strcpy(addr.sun_path, to);
	if (connect(fd, (struct sockaddr *)&addr, sizeof(addr)) == 0)
		return fd;
	close(fd);
	return -errno;
}

Test(listen, peers_can_connect_and_closing_removes_the_file)
{
	int fd = listen_open(path, 0600, err, sizeof(err)), peer;

	cr_assert_geq(fd, 0, "%s", err);
	peer = connect_to(path);
	cr_assert_geq(peer, 0);
	cr_assert(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	close(peer);
	listen_close(fd, path);
	cr_assert_neq(access(path, F_OK), 0);
	listen_close(-1, path);
}

Test(listen, the_mode_is_what_was_asked_whatever_the_umask)
{
	static const mode_t masks[] = {0, 022, 077, 0777};
	static const mode_t modes[] = {0600, 0660, 0666, 0777, 0};

	for (size_t i = 0; i < sizeof(masks) / sizeof(masks[0]); i++) {
		for (size_t k = 0; k < sizeof(modes) / sizeof(modes[0]); k++) {
			struct stat st;
			int fd;

			umask(masks[i]);
			fd = listen_open(path, modes[k], err, sizeof(err));
			cr_assert_geq(fd, 0, "%s", err);
			cr_assert_eq(stat(path, &st), 0);
			cr_assert_eq(st.st_mode & 07777, modes[k]);
			cr_assert_eq(umask(0), masks[i], "put back");
			listen_close(fd, path);
		}
	}
}

/* A chmod() afterwards would leave a moment in which others can connect. */
Test(listen, the_mode_is_there_when_the_file_appears)
{
	int watch = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	_Alignas(struct inotify_event) char events[1024];
	const struct inotify_event *first = (void *)events;
	int fd;

	cr_assert_geq(inotify_add_watch(watch, dir, IN_CREATE | IN_ATTRIB), 0);
	umask(0);
	fd = listen_open(path, 0600, err, sizeof(err));
	cr_assert_eq(read(watch, events, sizeof(events)),
		     sizeof(*first) + first->len, "one event");
	cr_assert_eq(first->mask, IN_CREATE);
	close(watch);
	listen_close(fd, path);
}

Test(listen, a_file_that_nobody_answers_is_replaced)
{
	int fd = listen_open(path, 0600, err, sizeof(err));

	close(fd); /* as when the process is killed */
	cr_assert_eq(access(path, F_OK), 0);
	fd = listen_open(path, 0600, err, sizeof(err));
	cr_assert_geq(fd, 0, "%s", err);
	close(connect_to(path));
	listen_close(fd, path);
}

Test(listen, one_that_is_served_is_left_alone)
{
	int first = listen_open(path, 0600, err, sizeof(err)), peer;

	cr_assert_eq(listen_open(path, 0600, err, sizeof(err)), -EADDRINUSE);
	cr_assert_not_null(strstr(err, path));
	cr_assert_not_null(strstr(err, "another process serves it"), "%s", err);
	peer = connect_to(path);
	cr_assert_geq(peer, 0, "the first still serves");
	close(peer);
	listen_close(first, path);
}

Test(listen, what_is_no_socket_is_left_alone)
{
	struct stat st;
	int fd = open(path, O_CREAT | O_WRONLY, 0600);

	cr_assert_eq(write(fd, "data", 4), 4);
	close(fd);
	cr_assert_eq(listen_open(path, 0600, err, sizeof(err)), -EEXIST);
	cr_assert_not_null(strstr(err, "no socket"), "%s", err);
	cr_assert_eq(stat(path, &st), 0);
	cr_assert_eq(st.st_size, 4);
	unlink(path);
	/* Nor is a link followed. */
	cr_assert_eq(symlink("/dev/shm/nowhere", path), 0);
	cr_assert_eq(listen_open(path, 0600, err, sizeof(err)), -EEXIST);
}

Test(listen, paths_that_cannot_be_bound)
{
	char longer[200];

	memset(longer, 'x', sizeof(longer));
	longer[0] = '/';
	longer[108] = '\0';
	cr_assert_eq(listen_open(longer, 0600, err, sizeof(err)),
		     -ENAMETOOLONG);
	cr_assert_eq(listen_open("", 0600, err, sizeof(err)), -EINVAL);
	cr_assert_eq(listen_open("/nowhere/a.sock", 0600, err, sizeof(err)),
		     -ENOENT);
	cr_assert_not_null(strstr(err, "cannot listen on /nowhere/a.sock: No "
				       "such file"),
			   "%s", err);
}

/* ---- systemd ---- */

static int notified(const char *name)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	socklen_t len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) +
				    strlen(name));
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);

	memcpy(addr.sun_path, name, strlen(name));
	if (name[0] == '@')
		addr.sun_path[0] = '\0';
	cr_assert_eq(bind(fd, (struct sockaddr *)&addr, len), 0);
	setenv("NOTIFY_SOCKET", name, 1);
	return fd;
}

static void expect_ready(int fd)
{
	char text[32] = "";

	notify_systemd("READY=1");
	cr_assert_eq(recv(fd, text, sizeof(text), 0), 7);
	cr_assert_str_eq(text, "READY=1");
	close(fd);
}

Test(listen, systemd_is_told_on_its_socket)
{
	char name[64];

	expect_ready(notified(path));
	snprintf(name, sizeof(name), "@stile-listen-test-%d", getpid());
	expect_ready(notified(name));
}

Test(listen, without_systemd_nobody_is_told)
{
	char longer[300];

	unsetenv("NOTIFY_SOCKET");
	notify_systemd("READY=1");
	setenv("NOTIFY_SOCKET", "", 1);
	notify_systemd("READY=1");
	setenv("NOTIFY_SOCKET", "relative", 1);
	notify_systemd("READY=1");
	setenv("NOTIFY_SOCKET", "/nowhere/notify", 1);
	notify_systemd("READY=1");
	memset(longer, 'x', sizeof(longer));
	longer[0] = '/';
	longer[sizeof(longer) - 1] = '\0';
	setenv("NOTIFY_SOCKET", longer, 1);
	notify_systemd("READY=1");
}
