/* SPDX-License-Identifier: MIT */
#include "control/listen.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define BACKLOG 4096 /* the kernel caps it at net.core.somaxconn */

static int address(struct sockaddr_un *ret_addr, const char *path)
{
	*ret_addr = (struct sockaddr_un){.sun_family = AF_UNIX};
	if (strlen(path) >= sizeof(ret_addr->sun_path))
		return -ENAMETOOLONG;
	memcpy(ret_addr->sun_path, path, strlen(path) + 1);
	return 0;
}

/* A socket file without a listener is left over from a process that died. */
static int remove_stale(const struct sockaddr_un *addr)
{
	struct stat st;
	int fd, r;

	if (lstat(addr->sun_path, &st) < 0)
		return errno == ENOENT ? 0 : -errno;
	if (!S_ISSOCK(st.st_mode))
		return -EEXIST;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	r = connect(fd, (const struct sockaddr *)addr, sizeof(*addr)) < 0
		    ? -errno
		    : 0;
	close(fd);
	if (r != -ECONNREFUSED)
		return r == -ENOENT ? 0 : -EADDRINUSE;
	return unlink(addr->sun_path) < 0 ? -errno : 0;
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
	if (r == 0 && listen(fd, BACKLOG) < 0)
		r = -errno;
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
