/* SPDX-License-Identifier: MIT */
#include "control/process.h"

#include "state/fs.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

int process_harden(char *err, size_t err_len)
{
	const struct rlimit none = {0, 0};

	if (setrlimit(RLIMIT_CORE, &none) < 0 ||
	    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		return fs_fail(-errno, err, err_len,
			       "cannot turn core dumps off: %s",
			       strerror(errno));
	/* A peer that went away, a file-size limit: errors, not the end. */
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN);
	umask(077);
	return 0;
}

int process_raise_limits(uint64_t descriptors, char *err, size_t err_len)
{
	struct rlimit lim;

	/* What is not enough shows when the rings are made; see io/ring. */
	if (getrlimit(RLIMIT_MEMLOCK, &lim) == 0) {
		lim.rlim_cur = lim.rlim_max;
		(void)setrlimit(RLIMIT_MEMLOCK, &lim);
	}
	if (getrlimit(RLIMIT_NOFILE, &lim) < 0)
		return fs_fail(-errno, err, err_len, "getrlimit: %s",
			       strerror(errno));
	if (lim.rlim_cur >= descriptors)
		return 0;
	if (lim.rlim_max < descriptors)
		return fs_fail(-EMFILE, err, err_len,
			       "%llu open files are needed and %llu allowed: "
			       "raise LimitNOFILE= in the unit (or ulimit -n), "
			       "or lower max_connections",
			       (unsigned long long)descriptors,
			       (unsigned long long)lim.rlim_max);
	lim.rlim_cur = descriptors;
	if (setrlimit(RLIMIT_NOFILE, &lim) < 0)
		return fs_fail(-errno, err, err_len,
			       "cannot allow %llu open files: %s",
			       (unsigned long long)descriptors,
			       strerror(errno));
	return 0;
}

uint32_t process_cpus(void)
{
	cpu_set_t set;
	int count;

	if (sched_getaffinity(0, sizeof(set), &set) < 0)
		return 1;
	count = CPU_COUNT(&set);
	return count > 0 ? (uint32_t)count : 1;
}

/* Whatever stands at `path` must be a directory afterwards. */
static int make_one(const char *path, uint32_t mode)
{
	struct stat st;

	if (mkdir(path, 0700) == 0)
		return chmod(path, (mode_t)mode) < 0 ? -errno : 0;
	if (errno != EEXIST)
		return -errno;
	if (stat(path, &st) < 0)
		return -errno;
	return S_ISDIR(st.st_mode) ? 0 : -ENOTDIR;
}

int process_make_dir(const char *path, uint32_t mode, char *err, size_t err_len)
{
	char part[PATH_MAX];
	size_t len = strlen(path);
	int r = 0;

	if (len >= sizeof(part))
		return fs_fail(-ENAMETOOLONG, err, err_len,
			       "the name of the directory is too long");
	for (size_t i = 1; i <= len && r == 0; i++) {
		bool whole = i == len;

		if (!whole && path[i] != '/')
			continue;
		memcpy(part, path, i);
		part[i] = '\0';
		r = make_one(part, whole ? mode : 0755);
	}
	if (r < 0)
		return fs_fail(r, err, err_len, "cannot make directory %s: %s",
			       part, strerror(-r));
	return 0;
}

int process_lock(const char *state_dir, char *err, size_t err_len)
{
	char path[PATH_MAX], pid[32];
	int fd, r, n;

	n = snprintf(path, sizeof(path), "%s/lock", state_dir);
	if (n < 0 || (size_t)n >= sizeof(path))
		return fs_fail(-ENAMETOOLONG, err, err_len,
			       "the name of the lock is too long");
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return fs_fail(-errno, err, err_len,
			       "cannot open the lock %s: %s", path,
			       strerror(errno));
	if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		r = errno == EWOULDBLOCK ? -EBUSY : -errno;
		memset(pid, 0, sizeof(pid));
		if (r == -EBUSY && read(fd, pid, sizeof(pid) - 1) > 0)
			pid[strcspn(pid, "\n")] = '\0';
		fs_fail(r, err, err_len,
			r == -EBUSY ? "%s: the lock is held by process %s; one "
				      "stiled serves a directory"
				    : "cannot lock %s (%s)",
			path,
			r != -EBUSY ? strerror(-r)
			: pid[0]    ? pid
				    : "another");
		close(fd);
		return r;
	}
	n = snprintf(pid, sizeof(pid), "%d\n", (int)getpid());
	/* For people who look; the lock itself does not need it. */
	if (ftruncate(fd, 0) < 0 || pwrite(fd, pid, (size_t)n, 0) < 0) {
		r = -errno;
		close(fd);
		return fs_fail(r, err, err_len, "cannot write the lock %s: %s",
			       path, strerror(-r));
	}
	return fd;
}

int process_signals(char *err, size_t err_len)
{
	sigset_t set;
	int fd;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return fs_fail(-errno, err, err_len, "sigprocmask: %s",
			       strerror(errno));
	fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (fd < 0)
		return fs_fail(-errno, err, err_len, "signalfd: %s",
			       strerror(errno));
	return fd;
}

int process_signal(int fd)
{
	struct signalfd_siginfo info;

	if (read(fd, &info, sizeof(info)) != (ssize_t)sizeof(info))
		return 0;
	return (int)info.ssi_signo;
}
