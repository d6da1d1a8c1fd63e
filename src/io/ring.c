/* SPDX-License-Identifier: MIT */
#include "io/ring.h"

#include "base/check.h"
#include "base/clock.h"
#include "base/counters.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Newer than Debian's headers, or not in its liburing.so: used raw. */
#ifndef IORING_SETUP_SUBMIT_ALL
#define IORING_SETUP_SUBMIT_ALL (1U << 7)
#endif
#ifndef IORING_SETUP_SINGLE_ISSUER
#define IORING_SETUP_SINGLE_ISSUER (1U << 12)
#endif
#ifndef IORING_SETUP_DEFER_TASKRUN
#define IORING_SETUP_DEFER_TASKRUN (1U << 13)
#endif

#define SETUP_FLAGS                                                            \
	(IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |             \
	 IORING_SETUP_SUBMIT_ALL | IORING_SETUP_R_DISABLED |                   \
	 IORING_SETUP_CQSIZE)

static const uint8_t ring_ops[] = {
	IORING_OP_ACCEPT,       IORING_OP_RECV,     IORING_OP_SEND,
	IORING_OP_READ,         IORING_OP_WRITE,    IORING_OP_CLOSE,
	IORING_OP_ASYNC_CANCEL, IORING_OP_SHUTDOWN, IORING_OP_TIMEOUT,
};
#define RING_OPS (sizeof(ring_ops) / sizeof(ring_ops[0]))

#define SUBMIT_TRIES 1000

static int explain(int error, char *err, size_t err_len)
{
	struct rlimit lim = {0};

	switch (error) {
	case EPERM:
	case EACCES:
		snprintf(err, err_len,
			 "io_uring is refused (%s): allow it with `sysctl "
			 "kernel.io_uring_disabled=0`, or in a container with "
			 "a seccomp profile that permits io_uring_setup, "
			 "io_uring_enter and io_uring_register",
			 strerror(error));
		break;
	case ENOSYS:
		snprintf(err, err_len,
			 "this kernel or container has no io_uring: Linux 6.1 "
			 "or newer is needed, and a seccomp profile that "
			 "permits io_uring_setup");
		break;
	case EINVAL:
		snprintf(err, err_len,
			 "this kernel is too old: Linux 6.1 or newer is needed "
			 "(io_uring with SINGLE_ISSUER and DEFER_TASKRUN)");
		break;
	case ENOMEM:
		getrlimit(RLIMIT_MEMLOCK, &lim);
		snprintf(err, err_len,
			 "not enough lockable memory for io_uring (limit %llu "
			 "KiB, about 1 MiB a worker is needed): set "
			 "LimitMEMLOCK=infinity in the unit, or `ulimit -l "
			 "65536`",
			 (unsigned long long)lim.rlim_cur / 1024);
		break;
	case EMFILE:
	case ENFILE:
		snprintf(err, err_len,
			 "no descriptor is left for io_uring (%s): set "
			 "LimitNOFILE in the unit, or `ulimit -n`",
			 strerror(error));
		break;
	default:
		snprintf(err, err_len, "io_uring: %s", strerror(error));
	}
	return -error;
}

static int create(struct io_uring *u, char *err, size_t err_len)
{
	struct io_uring_params p = {.flags = SETUP_FLAGS,
				    .cq_entries = RING_CQ_ENTRIES};
	int r = io_uring_queue_init_params(RING_SQ_ENTRIES, u, &p);

	if (r < 0)
		return explain(-r, err, err_len);
	if ((p.features & IORING_FEAT_EXT_ARG) == 0 ||
	    (p.features & IORING_FEAT_CQE_SKIP) == 0) {
		io_uring_queue_exit(u);
		return explain(EINVAL, err, err_len);
	}
	return 0;
}

int ring_probe(char *err, size_t err_len)
{
	struct io_uring u;
	int r = create(&u, err, err_len);

	if (r == 0)
		io_uring_queue_exit(&u);
	return r;
}

/* Allows our operations and nothing else, then enables the ring. liburing's
 * shared library on Debian 12 does not export these two calls. */
static int restrict_and_enable(int fd)
{
	struct io_uring_restriction list[RING_OPS + 1];
	size_t i;

	memset(list, 0, sizeof(list));
	for (i = 0; i < RING_OPS; i++) {
		list[i].opcode = IORING_RESTRICTION_SQE_OP;
		list[i].sqe_op = ring_ops[i];
	}
	list[RING_OPS].opcode = IORING_RESTRICTION_SQE_FLAGS_ALLOWED;
	list[RING_OPS].sqe_flags = IOSQE_BUFFER_SELECT | IOSQE_CQE_SKIP_SUCCESS;
	if (syscall(__NR_io_uring_register, fd, IORING_REGISTER_RESTRICTIONS,
		    list, RING_OPS + 1) < 0)
		return -errno;
	if (syscall(__NR_io_uring_register, fd, IORING_REGISTER_ENABLE_RINGS,
		    NULL, 0) < 0)
		return -errno;
	return 0;
}

static void *pages(size_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		return NULL;
	/* Requests hold keys: not into a core dump. */
	(void)madvise(p, bytes, MADV_DONTDUMP);
	/* Taken now, not one by one while requests wait: the kernel uses the
	 * buffers in turn, so each would be a page fault once. */
	if (madvise(p, bytes, MADV_POPULATE_WRITE) < 0) {
		munmap(p, bytes);
		return NULL;
	}
	return p;
}

static int register_buffers(struct ring *r)
{
	size_t ring_bytes = r->buffer_count * sizeof(struct io_uring_buf);
	struct io_uring_buf_reg reg = {.ring_entries = r->buffer_count,
				       .bgid = RECV_GROUP};
	uint32_t i;
	int e;

	r->buf_ring = pages(ring_bytes);
	r->buffers = pages((size_t)r->buffer_count * RECV_BUFFER_BYTES);
	if (r->buf_ring == NULL || r->buffers == NULL)
		return -ENOMEM;
	io_uring_buf_ring_init(r->buf_ring);
	reg.ring_addr = (uint64_t)(uintptr_t)r->buf_ring;
	e = io_uring_register_buf_ring(&r->uring, &reg, 0);
	if (e < 0)
		return e;
	for (i = 0; i < r->buffer_count; i++)
		ring_recycle(r, i);
	ring_publish(r);
	return 0;
}

static void release(struct ring *r)
{
	if (r->buf_ring != NULL)
		munmap(r->buf_ring,
		       r->buffer_count * sizeof(struct io_uring_buf));
	if (r->buffers != NULL)
		munmap(r->buffers, (size_t)r->buffer_count * RECV_BUFFER_BYTES);
}

int ring_setup(struct ring *r, uint32_t recv_buffers, struct counters *counters,
	       char *err, size_t err_len)
{
	int e;

	memset(r, 0, sizeof(*r));
	r->buffer_count = recv_buffers;
	r->counters = counters;
	e = create(&r->uring, err, err_len);
	if (e < 0)
		return e;
	e = register_buffers(r);
	if (e == 0)
		e = restrict_and_enable(r->uring.ring_fd);
	if (e == 0)
		return 0;
	explain(-e, err, err_len);
	io_uring_queue_exit(&r->uring);
	release(r);
	return e;
}

void ring_teardown(struct ring *r)
{
	io_uring_queue_exit(&r->uring);
	/* Keys may still stand in the buffers. */
	explicit_bzero(r->buffers, (size_t)r->buffer_count * RECV_BUFFER_BYTES);
	release(r);
}

struct io_uring_sqe *ring_sqe(struct ring *r)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&r->uring);
	int i;

	if (unlikely(sqe == NULL)) {
		counter_add(&r->counters->ring_full, 1);
		/* The kernel takes every entry, those that fail too; none only
		 * when it has no memory for a single request. */
		for (i = 0; sqe == NULL && i < SUBMIT_TRIES; i++) {
			io_uring_submit(&r->uring);
			sqe = io_uring_get_sqe(&r->uring);
		}
		check(sqe != NULL);
	}
	return sqe;
}

/* -ETIME, -EINTR: nothing came. -EBUSY, -EAGAIN: the kernel wants completions
 * taken first, which the caller does next. -EBADR, a completion that the
 * kernel had no memory to keep, is not survived: a connection would hang and
 * nobody knows which. */
static void check_entered(struct ring *r, int e)
{
	check(e >= 0 || e == -ETIME || e == -EINTR || e == -EBUSY ||
	      e == -EAGAIN);
	if (unlikely(io_uring_cq_has_overflow(&r->uring)))
		counter_add(&r->counters->cq_overflows, 1);
}

void ring_wait(struct ring *r, unsigned timeout_ms)
{
	struct __kernel_timespec ts = {
		.tv_sec = timeout_ms / 1000,
		.tv_nsec = (long long)(timeout_ms % 1000) * 1000000,
	};
	struct io_uring_cqe *cqe;

	check_entered(r, timeout_ms == RING_EVER
				 ? io_uring_submit_and_wait(&r->uring, 1)
				 : io_uring_submit_and_wait_timeout(
					   &r->uring, &cqe, 1, &ts, NULL));
}

bool ring_spin(struct ring *r, uint64_t spin_ns)
{
	uint64_t end_ns = clock_ns(CLOCK_MONOTONIC) + spin_ns;

	do {
		check_entered(r, io_uring_submit_and_get_events(&r->uring));
		if (io_uring_cq_ready(&r->uring) > 0)
			return true;
	} while (clock_ns(CLOCK_MONOTONIC) < end_ns);
	return false;
}

bool ring_next(struct ring *r, struct io_uring_cqe *ret_cqe)
{
	struct io_uring_cqe *cqe;

	if (io_uring_peek_cqe(&r->uring, &cqe) != 0)
		return false;
	*ret_cqe = *cqe;
	io_uring_cqe_seen(&r->uring, cqe);
	return true;
}

void ring_recycle(struct ring *r, uint32_t id)
{
	io_uring_buf_ring_add(r->buf_ring, ring_buffer(r, id),
			      RECV_BUFFER_BYTES, (unsigned short)id,
			      io_uring_buf_ring_mask(r->buffer_count),
			      (int)r->recycled);
	r->recycled++;
}

void ring_publish(struct ring *r)
{
	if (r->recycled != 0)
		io_uring_buf_ring_advance(r->buf_ring, (int)r->recycled);
	r->recycled = 0;
}
