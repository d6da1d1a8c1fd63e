/* SPDX-License-Identifier: MIT */
#include "control/listen.h"

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define BACKLOG 4096       /* the kernel caps it at net.core.somaxconn */
#define STALE_WAIT_MS 2000 /* for a killed process's socket to go */
#define STALE_STEP_MS 10

static int address(struct sockaddr_un *ret_addr, const char *path)
{
	*ret_addr = (struct sockaddr_un){.sun_family = AF_UNIX};
	/* An empty one would be bound to a name that nobody asked for. */
	if (path[0] == '\0')
		return -EINVAL;
	if (strlen(path) >= sizeof(ret_addr->sun_path))
		return -ENAMETOOLONG;
	memcpy(ret_addr->sun_path, path, strlen(path) + 1);
	return 0;
}

/* Who called listen() on the socket behind `addr`: its pid, 0 when that cannot
 * be told, -ECONNREFUSED when nobody listens any more. */
static int listener_of(const struct sockaddr_un *addr)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct ucred peer = {0};
	socklen_t len = sizeof(peer);
	int r = 0;

	if (fd < 0)
		return -errno;
	if (connect(fd, (const struct sockaddr *)addr, sizeof(*addr)) < 0)
		/* -EAGAIN: its queue is full, so it listens. */
		r = errno == EAGAIN ? 0 : -errno;
	else if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0)
		r = peer.pid;
	close(fd);
	return r;
}

static bool is_dead(int pid)
{
	return pid > 0 && kill(pid, 0) < 0 && errno == ESRCH;
}

/*
 * A socket file without a listener is left over from a process that died. One
 * that was killed listens for a moment longer: the kernel takes its rings
 * down, and the accept that is armed on them, after it is gone.
 */
static int remove_stale(const struct sockaddr_un *addr)
{
	struct timespec pause = {.tv_nsec = STALE_STEP_MS * 1000000L};
	struct stat st;
	int pid = 0;

	if (lstat(addr->sun_path, &st) < 0)
		return errno == ENOENT ? 0 : -errno;
	if (!S_ISSOCK(st.st_mode))
		return -EEXIST;
	for (int ms = 0; ms < STALE_WAIT_MS; ms += STALE_STEP_MS) {
		pid = listener_of(addr);
		if (pid < 0 || is_dead(pid))
			break;
		nanosleep(&pause, NULL);
	}
	if (pid >= 0 && !is_dead(pid))
		return -EADDRINUSE;
	if (pid < 0 && pid != -ECONNREFUSED)
		return pid == -ENOENT ? 0 : pid;
	return unlink(addr->sun_path) < 0 && errno != ENOENT ? -errno : 0;
}

int listen_open(const char *path, uint32_t mode, char *err, size_t err_len)
{
	struct sockaddr_un addr;
	mode_t mask;
	int fd = -1, r;

	r = address(&addr, path);
	if (r == 0)
		r = remove_stale(&addr);
	if (r < 0)
		goto out;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0) {
		r = -errno;
		goto out;
	}
	mask = umask(~(mode_t)mode & 0777);
	r = bind(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0 ? -errno : 0;
	umask(mask);
	if (r == 0 && listen(fd, BACKLOG) < 0) {
		r = -errno;
		unlink(path);
	}
	if (r == 0)
		return fd;
	close(fd);
out:
	snprintf(err, err_len, "cannot listen on %s: %s%s", path, strerror(-r),
		 r == -EADDRINUSE ? " (another process serves it)"
		 : r == -EEXIST   ? " (a file that is no socket is there)"
				  : "");
	return r;
}

void listen_close(int fd, const char *path)
{
	if (fd < 0)
		return;
	close(fd);
	unlink(path);
}

void notify_systemd(const char *state)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un addr;
	socklen_t len;
	int fd;

	if (path == NULL || (path[0] != '/' && path[0] != '@') ||
	    address(&addr, path) < 0)
		return;
	len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) +
			  strlen(path));
	if (path[0] == '@')
		addr.sun_path[0] = '\0';
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return;
	(void)sendto(fd, state, strlen(state), MSG_NOSIGNAL,
		     (struct sockaddr *)&addr, len);
	close(fd);
}
