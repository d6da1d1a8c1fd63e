/* SPDX-License-Identifier: MIT */
#include "address.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

union any {
	struct sockaddr any;
	struct sockaddr_un un;
	struct sockaddr_in in;
};

static socklen_t loopback(union any *to, uint16_t port)
{
	memset(to, 0, sizeof(*to));
	to->in.sin_family = AF_INET;
	to->in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	to->in.sin_port = htons(port);
	return sizeof(to->in);
}

int address_connect(const struct address *a)
{
	socklen_t len = sizeof(struct sockaddr_un);
	union any to = {.un = {.sun_family = AF_UNIX}};
	const int one = 1;
	int fd, r;

	if (!a->path)
		len = loopback(&to, a->port);
	else if (strlen(a->path) < sizeof(to.un.sun_path))
		memcpy(to.un.sun_path, a->path, strlen(a->path) + 1);
	else
		return -ENAMETOOLONG;
	fd = socket(to.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (connect(fd, &to.any, len) < 0) {
		r = -errno;
		close(fd);
		return r;
	}
	if (!a->path)
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	return fd;
}

int address_listen(const char *path, int backlog)
{
	union any at = {.un = {.sun_family = AF_UNIX}};
	int fd, r;

	if (strlen(path) >= sizeof(at.un.sun_path))
		return -ENAMETOOLONG;
	memcpy(at.un.sun_path, path, strlen(path) + 1);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (bind(fd, &at.any, sizeof(at.un)) < 0 || listen(fd, backlog) < 0) {
		r = -errno;
		close(fd);
		return r;
	}
	return fd;
}

void address_name(const struct address *a, char *out, size_t out_len)
{
	if (a->path)
		snprintf(out, out_len, "%s", a->path);
	else
		snprintf(out, out_len, "127.0.0.1:%u", a->port);
}

int address_free_port(uint16_t *ret_port)
{
	union any at;
	socklen_t len = loopback(&at, 0);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int r = 0;

	if (fd < 0)
		return -errno;
	if (bind(fd, &at.any, len) < 0 || getsockname(fd, &at.any, &len) < 0)
		r = -errno;
	else
		*ret_port = ntohs(at.in.sin_port);
	close(fd);
	return r;
}
