/* SPDX-License-Identifier: MIT */
#include "process.h"

#include "base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

void process_enter_child(pid_t parent, int cpu)
{
	sigset_t none;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(1); /* it died before we asked */
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGINT, SIG_IGN); /* the parent decides when to stop */
	signal(SIGTERM, SIG_DFL);
	if (cpu >= 0)
		process_pin_self(cpu);
}

bool process_find(const char *name, char *ret_path, size_t ret_len)
{
	const char *dirs = getenv("PATH");
	char all[4096], *rest = all, *dir;

	if (strchr(name, '/'))
		return snprintf(ret_path, ret_len, "%s", name) < (int)ret_len &&
		       access(ret_path, X_OK) == 0;
	snprintf(all, sizeof(all), "%s:/usr/local/sbin:/usr/sbin:/sbin",
		 dirs ? dirs : "/usr/bin");
	while ((dir = strsep(&rest, ":")))
		if (snprintf(ret_path, ret_len, "%s/%s", dir, name) <
			    (int)ret_len &&
		    access(ret_path, X_OK) == 0)
			return true;
	return false;
}

static _Noreturn void exec_program(const char *const argv[], int out_fd,
				   int err_fd)
{
	dup2(err_fd, STDERR_FILENO);
	dup2(out_fd >= 0 ? out_fd : err_fd, STDOUT_FILENO);
	unsetenv("NOTIFY_SOCKET"); /* ours, if we have one */
	/* execv() changes nothing; its type is older than const. */
	execv(argv[0], (char *const *)(uintptr_t)argv);
	_exit(127);
}

static int spawn(struct process *p, const char *name, const char *const argv[],
		 int out_fd, int err_fd, int cpu)
{
	pid_t parent = getpid();
	pid_t pid = fork();

	if (pid < 0)
		return -errno;
	if (pid == 0) {
		process_enter_child(parent, cpu);
		exec_program(argv, out_fd, err_fd);
	}
	p->pid = pid;
	p->name = name;
	return 0;
}

int process_spawn(struct process *p, const char *name, const char *const argv[],
		  const char *log, int out_fd, int cpu)
{
	int log_fd = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	int r;

	if (log_fd < 0)
		return -errno;
	r = spawn(p, name, argv, out_fd, log_fd, cpu);
	close(log_fd);
	return r;
}

void process_log_tail(const char *log, char out[static PROCESS_LOG_TAIL])
{
	FILE *f = fopen(log, "re");
	size_t n = 0;

	if (f && fseek(f, 0, SEEK_END) == 0) {
		long size = ftell(f), most = PROCESS_LOG_TAIL - 1;

		fseek(f, size > most ? size - most : 0, SEEK_SET);
		n = fread(out, 1, PROCESS_LOG_TAIL - 1, f);
	}
	if (f)
		fclose(f);
	out[n] = '\0';
}

bool process_first_line(const char *const argv[], char *out, size_t out_len)
{
	struct process p = {0};
	size_t len = 0;
	ssize_t n = -1;
	int fds[2];

	if (pipe2(fds, O_CLOEXEC) < 0)
		return false;
	/* Some tell their version on standard error. */
	if (spawn(&p, argv[0], argv, fds[1], fds[1], -1) == 0) {
		close(fds[1]);
		while (len < out_len - 1 &&
		       (n = read(fds[0], out + len, out_len - 1 - len)) > 0)
			len += (size_t)n;
		waitpid(p.pid, NULL, 0);
	} else {
		close(fds[1]);
	}
	close(fds[0]);
	out[len] = '\0';
	out[strcspn(out, "\n")] = '\0';
	return out[0] != '\0';
}

static int pin(pid_t pid, int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET((size_t)cpu, &set);
	return sched_setaffinity(pid, sizeof(set), &set) < 0 ? -errno : 0;
}

int process_pin(const struct process *p, int cpu)
{
	return pin(p->pid, cpu);
}

int process_pin_self(int cpu)
{
	return pin(0, cpu);
}

int process_pin_self_away_from(int cpu)
{
	cpu_set_t set;

	if (sched_getaffinity(0, sizeof(set), &set) < 0)
		return -errno;
	CPU_CLR((size_t)cpu, &set);
	return sched_setaffinity(0, sizeof(set), &set) < 0 ? -errno : 0;
}

int process_cpu_ns(const struct process *p, uint64_t *ret_ns)
{
	struct timespec ts;
	clockid_t id;
	int r = clock_getcpuclockid(p->pid, &id);

	if (r != 0)
		return -r;
	if (clock_gettime(id, &ts) < 0)
		return -errno;
	*ret_ns = (uint64_t)ts.tv_sec * UINT64_C(1000000000) +
		  (uint64_t)ts.tv_nsec;
	return 0;
}

static void describe_end(const struct process *p, int status, char *why,
			 size_t why_len)
{
	if (WIFSIGNALED(status))
		snprintf(why, why_len, "%s was ended by signal %d (%s)",
			 p->name, WTERMSIG(status),
			 strsignal(WTERMSIG(status)));
	else
		snprintf(why, why_len, "%s exited with status %d", p->name,
			 WEXITSTATUS(status));
}

bool process_has_ended(struct process *p, char *why, size_t why_len)
{
	int status = 0;

	if (p->pid == 0) {
		snprintf(why, why_len, "%s does not run", p->name);
		return true;
	}
	if (waitpid(p->pid, &status, WNOHANG) != p->pid)
		return false;
	describe_end(p, status, why, why_len);
	p->pid = 0;
	return true;
}

void process_explain(struct process *const *processes, uint32_t count,
		     const char *what, char *error, size_t error_len)
{
	char why[128];

	/* What a client saw is often only the end of a server, which may take
	 * a moment until it can be waited for. */
	for (int i = 0; i < 20; i++) {
		for (uint32_t k = 0; k < count; k++) {
			if (process_has_ended(processes[k], why, sizeof(why))) {
				snprintf(error, error_len, "%s", why);
				return;
			}
		}
		usleep(5000);
	}
	snprintf(error, error_len, "%s", what);
}

/* Waits without reaping. Returns false when it has not ended in time. */
static bool wait_for_end(pid_t pid, int timeout_ms)
{
	int fd = (int)syscall(SYS_pidfd_open, pid, 0);
	struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
	int r;

	if (fd < 0)
		return false;
	do {
		r = poll(&poll_fd, 1, timeout_ms);
	} while (r < 0 && errno == EINTR);
	close(fd);
	return r == 1;
}

bool process_stop(struct process *p)
{
	int status = 0;
	bool fine;

	if (p->pid == 0)
		return true;
	kill(p->pid, SIGTERM);
	fine = wait_for_end(p->pid, PROCESS_STOP_TIMEOUT_MS);
	if (!fine)
		kill(p->pid, SIGKILL);
	waitpid(p->pid, &status, 0);
	p->pid = 0;
	/* The null server has nothing to drain: it ends by the signal. */
	return fine && (WIFSIGNALED(status) ? WTERMSIG(status) == SIGTERM
					    : WEXITSTATUS(status) == 0);
}
