/* SPDX-License-Identifier: MIT */
#include "null_server.h"

#include "address.h"
#include "base/check.h"
#include "base/line.h"
#include "workload.h"

#include <errno.h>
#include <liburing.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#define SQ_ENTRIES 2048
#define CQ_ENTRIES 8192
#define RECV_BUFFERS 512 /* power of two */
#define RECV_BUFFER_BYTES 16384
#define RECV_GROUP 0
#define OUT_BYTES (WORKLOAD_DEPTH_MAX * NATIVE_REPLY_BYTES)

enum op { OP_ACCEPT, OP_RECV, OP_SEND };

struct null_conn {
	int fd;     /* -1 = free */
	bool dirty; /* has replies to send in this sweep */
	uint32_t out_len;
	/* Of a frame begun, its bytes; of HTTP, how much of the end of a head
	 * was just seen. */
	uint32_t carry_len;
	uint8_t carry[NATIVE_REQUEST_BYTES];
	uint8_t *out;
};

struct null_server {
	struct io_uring ring;
	struct io_uring_buf_ring *buffers;
	uint8_t *recv_memory, *out_memory;
	int listen_fd;
	const char *answer; /* to HTTP; NULL = native frames */
	uint32_t answer_len;
	struct null_conn conns[NULL_SERVER_CONNECTIONS_MAX];
	uint32_t dirty[NULL_SERVER_CONNECTIONS_MAX];
	uint32_t dirty_count;
};

static _Noreturn void fail(const char *what, int r)
{
	fprintf(stderr, "stile-bench: null server: %s%s%s\n", what,
		r < 0 ? ": " : "", r < 0 ? strerror(-r) : "");
	_exit(1);
}

static uint8_t *map_pages(size_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		fail("no memory for buffers", -errno);
	return p;
}

static struct io_uring_sqe *get_sqe(struct null_server *s)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&s->ring);

	if (unlikely(!sqe)) {
		int r = io_uring_submit(&s->ring);

		if (r < 0)
			fail("submit", r);
		sqe = io_uring_get_sqe(&s->ring);
		check(sqe != NULL);
	}
	return sqe;
}

static void arm(struct io_uring_sqe *sqe, enum op op, uint32_t conn_idx)
{
	io_uring_sqe_set_data64(sqe, (uint64_t)conn_idx << 8 | op);
}

static void arm_accept(struct null_server *s)
{
	struct io_uring_sqe *sqe = get_sqe(s);

	io_uring_prep_multishot_accept(sqe, s->listen_fd, NULL, NULL,
				       SOCK_CLOEXEC);
	arm(sqe, OP_ACCEPT, 0);
}

static void arm_recv(struct null_server *s, uint32_t conn_idx)
{
	struct io_uring_sqe *sqe = get_sqe(s);

	io_uring_prep_recv_multishot(sqe, s->conns[conn_idx].fd, NULL, 0, 0);
	sqe->flags |= IOSQE_BUFFER_SELECT;
	sqe->buf_group = RECV_GROUP;
	arm(sqe, OP_RECV, conn_idx);
}

static void recycle(struct null_server *s, uint16_t buffer_idx)
{
	io_uring_buf_ring_add(s->buffers,
			      s->recv_memory +
				      (size_t)buffer_idx * RECV_BUFFER_BYTES,
			      RECV_BUFFER_BYTES, buffer_idx,
			      io_uring_buf_ring_mask(RECV_BUFFERS), 0);
	io_uring_buf_ring_advance(s->buffers, 1);
}

static void handle_accept(struct null_server *s, int fd, bool more)
{
	uint32_t i = 0;

	if (fd < 0)
		fail("accept", fd);
	while (s->conns[i].fd >= 0)
		if (++i == NULL_SERVER_CONNECTIONS_MAX)
			fail("more connections than it has room for", 0);
	s->conns[i].fd = fd;
	s->conns[i].carry_len = 0;
	s->conns[i].out_len = 0;
	s->conns[i].dirty = false;
	arm_recv(s, i);
	if (!more)
		arm_accept(s);
}

void null_server_reply(const uint8_t frame[static NATIVE_REQUEST_BYTES],
		       uint8_t out[static NATIVE_REPLY_BYTES])
{
	memset(out, 0, NATIVE_REPLY_BYTES);
	out[0] = frame[0] | 0x80;
	out[1] = REASON_ALLOW;
	out[3] = NATIVE_VERSION;
	memcpy(out + 8, frame + 8, 8); /* request id */
}

static void answer(struct null_conn *c, const uint8_t *frame)
{
	uint8_t *out = c->out + c->out_len;

	if (unlikely(frame[0] != NATIVE_CHECK_KEY &&
		     frame[0] != NATIVE_CHECK_HASH) ||
	    unlikely(frame[1] != NATIVE_VERSION))
		fail("got bytes that are no frame", 0);
	if (unlikely(c->out_len == OUT_BYTES))
		fail("a client does not fetch its replies", 0);
	null_server_reply(frame, out);
	c->out_len += NATIVE_REPLY_BYTES;
}

static void take(struct null_conn *c, const uint8_t *bytes, uint32_t len)
{
	if (c->carry_len > 0) {
		uint32_t part = NATIVE_REQUEST_BYTES - c->carry_len;

		if (part > len)
			part = len;
		memcpy(c->carry + c->carry_len, bytes, part);
		c->carry_len += part;
		bytes += part;
		len -= part;
		if (c->carry_len < NATIVE_REQUEST_BYTES)
			return;
		answer(c, c->carry);
	}
	while (len >= NATIVE_REQUEST_BYTES) {
		answer(c, bytes);
		bytes += NATIVE_REQUEST_BYTES;
		len -= NATIVE_REQUEST_BYTES;
	}
	memcpy(c->carry, bytes, len);
	c->carry_len = len;
}

static void take_heads(const struct null_server *s, struct null_conn *c,
		       const uint8_t *bytes, size_t len)
{
	static const uint8_t end[] = {'\r', '\n', '\r', '\n'};

	while (len > 0) {
		if (c->carry_len == 0) {
			const uint8_t *line = memchr(bytes, '\r', len);

			if (!line)
				return;
			len -= (size_t)(line - bytes);
			bytes = line;
		}
		if (*bytes == end[c->carry_len])
			c->carry_len++;
		else
			c->carry_len = *bytes == '\r';
		bytes++;
		len--;
		if (c->carry_len < sizeof(end))
			continue;
		c->carry_len = 0;
		if (unlikely(c->out_len + s->answer_len > OUT_BYTES))
			fail("a client does not fetch its answers", 0);
		memcpy(c->out + c->out_len, s->answer, s->answer_len);
		c->out_len += s->answer_len;
	}
}

static void handle_recv(struct null_server *s, uint32_t conn_idx,
			const struct io_uring_cqe *cqe)
{
	struct null_conn *c = &s->conns[conn_idx];

	if (cqe->res > 0) {
		uint16_t buffer_idx =
			(uint16_t)(cqe->flags >> IORING_CQE_BUFFER_SHIFT);

		const uint8_t *bytes =
			s->recv_memory + (size_t)buffer_idx * RECV_BUFFER_BYTES;

		if (s->answer)
			take_heads(s, c, bytes, (size_t)cqe->res);
		else
			take(c, bytes, (uint32_t)cqe->res);
		recycle(s, buffer_idx);
		if (c->out_len > 0 && !c->dirty) {
			c->dirty = true;
			s->dirty[s->dirty_count++] = conn_idx;
		}
	} else if (cqe->res != -ENOBUFS) {
		close(c->fd); /* end, or a client that was killed */
		c->fd = -1;
		return;
	}
	if (!(cqe->flags & IORING_CQE_F_MORE))
		arm_recv(s, conn_idx);
}

static void handle(struct null_server *s, const struct io_uring_cqe *cqe)
{
	uint32_t conn_idx = (uint32_t)(cqe->user_data >> 8);

	switch ((enum op)(cqe->user_data & 0xff)) {
	case OP_ACCEPT:
		handle_accept(s, cqe->res, cqe->flags & IORING_CQE_F_MORE);
		break;
	case OP_RECV:
		handle_recv(s, conn_idx, cqe);
		break;
	case OP_SEND:
		/* Success posts nothing. What the client may leave unread
		 * fits a socket's buffer, so only its death is expected; the
		 * recv tells of that. */
		if (cqe->res >= 0 || cqe->res == -EAGAIN)
			fail("a socket's buffer is smaller than the replies to "
			     "one batch; raise net.core.wmem_default",
			     0);
		break;
	}
}

static void send_replies(struct null_server *s)
{
	for (uint32_t i = 0; i < s->dirty_count; i++) {
		struct null_conn *c = &s->conns[s->dirty[i]];
		struct io_uring_sqe *sqe;

		c->dirty = false;
		if (c->fd < 0)
			continue;
		sqe = get_sqe(s);
		/* Does not wait, so it is over when the submission is, and
		 * the buffer is free again. */
		io_uring_prep_send(sqe, c->fd, c->out, c->out_len,
				   MSG_WAITALL | MSG_DONTWAIT | MSG_NOSIGNAL);
		sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
		arm(sqe, OP_SEND, s->dirty[i]);
		c->out_len = 0;
	}
	s->dirty_count = 0;
}

static void setup(struct null_server *s, int listen_fd)
{
	struct io_uring_params params = {
		.flags = IORING_SETUP_SINGLE_ISSUER |
			 IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_CQSIZE,
		.cq_entries = CQ_ENTRIES,
	};
	struct io_uring_buf_reg reg = {
		.ring_entries = RECV_BUFFERS,
		.bgid = RECV_GROUP,
	};
	int r = io_uring_queue_init_params(SQ_ENTRIES, &s->ring, &params);

	if (r < 0)
		fail("cannot set up io_uring", r);
	s->listen_fd = listen_fd;
	s->recv_memory = map_pages((size_t)RECV_BUFFERS * RECV_BUFFER_BYTES);
	s->out_memory =
		map_pages((size_t)NULL_SERVER_CONNECTIONS_MAX * OUT_BYTES);
	s->buffers = (struct io_uring_buf_ring *)(void *)map_pages(
		RECV_BUFFERS * sizeof(struct io_uring_buf));
	reg.ring_addr = (uintptr_t)s->buffers;
	r = io_uring_register_buf_ring(&s->ring, &reg, 0);
	if (r < 0)
		fail("cannot register buffers", r);
	for (uint16_t i = 0; i < RECV_BUFFERS; i++)
		recycle(s, i);
	for (uint32_t i = 0; i < NULL_SERVER_CONNECTIONS_MAX; i++) {
		s->conns[i].fd = -1;
		s->conns[i].out = s->out_memory + (size_t)i * OUT_BYTES;
	}
	arm_accept(s);
}

static _Noreturn void serve(int listen_fd, const char *answer)
{
	struct null_server *s = calloc(1, sizeof(*s));

	if (!s)
		fail("no memory", -ENOMEM);
	if (answer) {
		s->answer = answer;
		s->answer_len = (uint32_t)strlen(answer);
		check(s->answer_len <= NULL_SERVER_ANSWER_MAX);
	}
	setup(s, listen_fd);
	for (;;) {
		struct io_uring_cqe *cqe;
		unsigned int head, count = 0;
		int r = io_uring_submit_and_wait(&s->ring, 1);

		if (r < 0 && r != -EINTR)
			fail("wait", r);
		io_uring_for_each_cqe(&s->ring, head, cqe)
		{
			handle(s, cqe);
			count++;
		}
		io_uring_cq_advance(&s->ring, count);
		send_replies(s);
	}
}

static int start(const char *path, int cpu, const char *answer,
		 struct process *ret_process)
{
	pid_t parent = getpid();
	int fd = address_listen(path, NULL_SERVER_CONNECTIONS_MAX);
	pid_t pid;

	if (fd < 0)
		return fd;
	pid = fork();
	if (pid == 0) {
		process_enter_child(parent, cpu);
		serve(fd, answer);
	}
	close(fd);
	if (pid < 0)
		return -errno;
	ret_process->pid = pid;
	ret_process->name = "the null server";
	return 0;
}

int null_server_start(const char *path, int cpu, struct process *ret_process)
{
	return start(path, cpu, NULL, ret_process);
}

int null_server_start_http(const char *path, int cpu, const char *answer,
			   struct process *ret_process)
{
	return start(path, cpu, answer, ret_process);
}
