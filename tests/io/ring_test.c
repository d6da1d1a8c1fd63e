/* SPDX-License-Identifier: MIT */
#include "io/ring.h"

#include "base/counters.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define BUFFERS 8

static struct ring ring;
static struct counters counters;

static void open_ring(void)
{
	char err[256] = "";
	int r = ring_setup(&ring, BUFFERS, &counters, err, sizeof(err));

	if (r == -EPERM || r == -ENOSYS)
		cr_skip_test("io_uring is refused on this machine");
	cr_assert_eq(r, 0, "%s", err);
}

static void close_ring(void)
{
	ring_teardown(&ring);
}

/* An operation that fails at once, so that its completion is seen. */
static void submit_bad_close(uint32_t idx)
{
	struct io_uring_sqe *sqe = ring_sqe(&ring);

	io_uring_prep_close(sqe, -1);
	sqe->user_data = ring_tag(OP_QUIET, 0, idx);
}

static void expect_each_once(uint32_t count)
{
	uint8_t *seen = calloc(count, 1);
	struct io_uring_cqe cqe;
	uint32_t n = 0;

	cr_assert_not_null(seen);
	while (ring_next(&ring, &cqe)) {
		uint32_t idx = TAG_IDX(cqe.user_data);

		cr_assert_lt(idx, count);
		cr_assert_eq(seen[idx], 0);
		cr_assert_eq(cqe.res, -EBADF);
		seen[idx] = 1;
		n++;
	}
	cr_expect_eq(n, count);
	free(seen);
}

Test(ring, full_submission_ring_is_flushed_and_loses_nothing)
{
	const uint32_t count = 3 * RING_SQ_ENTRIES + 5;

	open_ring();
	for (uint32_t i = 0; i < count; i++)
		submit_bad_close(i);
	cr_expect_eq(counter_read(&counters.ring_full), 3);
	cr_expect_not(ring_taken(&ring, ring_mark(&ring)));
	ring_wait(&ring, 0);
	cr_expect(ring_taken(&ring, ring_mark(&ring)));
	expect_each_once(count);
	close_ring();
}

Test(ring, more_completions_than_the_ring_holds_come_all_the_same)
{
	const uint32_t count = 2 * RING_CQ_ENTRIES + 77;

	open_ring();
	for (uint32_t i = 0; i < count; i++)
		submit_bad_close(i);
	ring_wait(&ring, 0);
	cr_expect_gt(counter_read(&counters.cq_overflows), 0);
	expect_each_once(count);
	close_ring();
}

Test(ring, tag_gives_back_what_was_put_in)
{
	uint64_t tag = ring_tag(OP_SEND, 0x1fffffe, UINT32_MAX);

	cr_expect_eq(TAG_OP(tag), OP_SEND);
	cr_expect_eq(TAG_GEN(tag), 0xfffffe);
	cr_expect_eq(TAG_IDX(tag), UINT32_MAX);
}

Test(ring, operations_that_stile_does_not_use_are_refused)
{
	struct io_uring_cqe cqe;
	struct io_uring_sqe *sqe;
	int results[4], n = 0;

	open_ring();
	sqe = ring_sqe(&ring);
	io_uring_prep_openat(sqe, AT_FDCWD, "/etc/passwd", O_RDONLY, 0);
	sqe->user_data = 0;
	sqe = ring_sqe(&ring);
	io_uring_prep_connect(sqe, 0, NULL, 0);
	sqe->user_data = 1;
	sqe = ring_sqe(&ring);
	io_uring_prep_nop(sqe);
	sqe->user_data = 2;
	sqe = ring_sqe(&ring);
	io_uring_prep_close(sqe, -1);
	sqe->flags |= IOSQE_IO_LINK;
	sqe->user_data = 3;
	/* One that is refused does not hold up the others. */
	ring_wait(&ring, 0);
	cr_expect(ring_taken(&ring, ring_mark(&ring)));
	while (n < 4 && ring_next(&ring, &cqe)) {
		results[cqe.user_data] = cqe.res;
		n++;
	}
	cr_assert_eq(n, 4);
	for (int i = 0; i < 4; i++)
		cr_expect_eq(results[i], -EACCES, "%d: %d", i, results[i]);
	cr_expect_lt(syscall(__NR_io_uring_register, ring.uring.ring_fd,
			     IORING_REGISTER_FILES, NULL, 0),
		     0);
	cr_expect_eq(errno, EACCES);
	close_ring();
}

Test(ring, receive_buffers_begin_at_pages)
{
	open_ring();
	for (uint32_t i = 0; i < BUFFERS; i++)
		cr_expect_eq((uintptr_t)ring_buffer(&ring, i) %
				     (uintptr_t)getpagesize(),
			     0);
	close_ring();
}

Test(ring, wait_ends_by_its_timeout)
{
	struct io_uring_cqe cqe;

	open_ring();
	ring_wait(&ring, 1);
	cr_expect_not(ring_next(&ring, &cqe));
	close_ring();
}

Test(ring, spin_submits_and_sees_what_completed)
{
	open_ring();
	submit_bad_close(0);
	cr_expect(ring_spin(&ring, UINT64_MAX / 2));
	cr_expect(ring_taken(&ring, ring_mark(&ring)));
	expect_each_once(1);
	close_ring();
}

/* Its completion happens in the ring's own thread, inside of a call. */
Test(ring, spin_sees_what_completes_meanwhile)
{
	struct io_uring_sqe *sqe;
	struct io_uring_cqe cqe;
	int pair[2];
	char in;

	open_ring();
	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	sqe = ring_sqe(&ring);
	io_uring_prep_recv(sqe, pair[0], &in, 1, 0);
	sqe->user_data = ring_tag(OP_RECV, 0, 7);
	cr_expect_not(ring_spin(&ring, 0));
	cr_expect(ring_taken(&ring, ring_mark(&ring)));
	cr_assert_eq(write(pair[1], "x", 1), 1);
	cr_expect(ring_spin(&ring, UINT64_MAX / 2));
	cr_assert(ring_next(&ring, &cqe));
	cr_expect_eq(TAG_IDX(cqe.user_data), 7);
	close(pair[0]);
	close(pair[1]);
	close_ring();
}

/* ---- why there is no ring, and what helps ---- */

/* io_uring_setup() fails with `error` from here on. */
static void refuse_io_uring(int error)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
			 offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_io_uring_setup, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (uint32_t)error),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog prog = {.len = 4, .filter = code};

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
	    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog) < 0)
		cr_skip_test("no seccomp on this machine");
}

static void expect_reason(int error, const char *remedy)
{
	char err[256] = "";

	cr_expect_eq(ring_probe(err, sizeof(err)), -error);
	cr_expect_not_null(strstr(err, remedy), "%s", err);
	err[0] = '\0';
	cr_expect_eq(ring_setup(&ring, BUFFERS, &counters, err, sizeof(err)),
		     -error);
	cr_expect_not_null(strstr(err, remedy), "%s", err);
	/* The sentence was not cut off. */
	cr_expect_lt(strlen(err), sizeof(err) - 1);
}

Test(ring, forbidden_by_policy_says_which_switch)
{
	refuse_io_uring(EPERM);
	expect_reason(EPERM, "kernel.io_uring_disabled=0");
}

Test(ring, absent_says_which_kernel)
{
	refuse_io_uring(ENOSYS);
	expect_reason(ENOSYS, "Linux 6.1");
}

Test(ring, too_old_kernel_says_which_one)
{
	refuse_io_uring(EINVAL);
	expect_reason(EINVAL, "Linux 6.1");
}

Test(ring, memlock_says_how_to_raise_it)
{
	const struct rlimit lim = {4096, 4096};
	char err[256] = "";
	int status;
	pid_t child = fork(); /* it cannot become root again */

	cr_assert_geq(child, 0);
	if (child == 0) {
		if (geteuid() == 0 && setresuid(65534, 65534, 65534) < 0)
			_exit(77);
		if (setrlimit(RLIMIT_MEMLOCK, &lim) < 0 ||
		    ring_probe(err, sizeof(err)) == 0)
			_exit(77);
		_exit(ring_probe(err, sizeof(err)) == -ENOMEM &&
				      strstr(err, "limit 4 KiB") &&
				      strstr(err, "LimitMEMLOCK")
			      ? 0
			      : 1);
	}
	cr_assert_eq(waitpid(child, &status, 0), child);
	cr_assert(WIFEXITED(status));
	if (WEXITSTATUS(status) == 77)
		cr_skip_test("this kernel does not charge rings");
	cr_expect_eq(WEXITSTATUS(status), 0);
}

Test(ring, no_descriptor_left_says_how_to_get_more)
{
	struct rlimit was, lim;

	cr_assert_eq(getrlimit(RLIMIT_NOFILE, &was), 0);
	lim = (struct rlimit){3, was.rlim_max};
	cr_assert_eq(setrlimit(RLIMIT_NOFILE, &lim), 0);
	expect_reason(EMFILE, "LimitNOFILE");
	cr_assert_eq(setrlimit(RLIMIT_NOFILE, &was), 0);
}

Test(ring, buffers_that_cannot_be_had_leave_nothing_behind)
{
	char err[256] = "";

	/* More than the kernel's 32768. */
	cr_expect_lt(ring_setup(&ring, 1u << 17, &counters, err, sizeof(err)),
		     0);
	cr_expect_gt(strlen(err), 0);
	open_ring();
	close_ring();
}
