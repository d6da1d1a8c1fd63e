/* SPDX-License-Identifier: MIT */
#include "echo_server.h"

#include "address.h"
#include "null_server.h"

#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

static void answer_all(int fd)
{
	uint8_t frame[NATIVE_REQUEST_BYTES], reply[NATIVE_REPLY_BYTES];
	ssize_t n;

	while ((n = read(fd, frame, sizeof(frame))) == sizeof(frame)) {
		null_server_reply(frame, reply);
		if (write(fd, reply, sizeof(reply)) != sizeof(reply))
			return;
	}
	if (n == 0)
		return;
	fprintf(stderr, "stile-bench: echo server: got no whole frame\n");
	_exit(1);
}

static _Noreturn void serve(int listen_fd)
{
	for (;;) {
		int fd = accept(listen_fd, NULL, NULL);

		if (fd < 0)
			_exit(1);
		answer_all(fd);
		close(fd);
	}
}

int echo_server_start(const char *path, struct process *ret_process)
{
	pid_t parent = getpid();
	int fd = address_listen(path, 1);
	pid_t pid;

	if (fd < 0)
		return fd;
	pid = fork();
	if (pid == 0) {
		process_enter_child(parent, -1);
		serve(fd);
	}
	close(fd);
	if (pid < 0)
		return -errno;
	ret_process->pid = pid;
	ret_process->name = "the echo server";
	return 0;
}
