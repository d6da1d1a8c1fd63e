/* SPDX-License-Identifier: MIT */
#ifndef STILE_BENCH_PROCESS_H
#define STILE_BENCH_PROCESS_H

/*
 * bench/process - a server that we started: what CPU time it has used, whether
 * it still lives, its end.
 *
 * Servers die with us: each asks the kernel for SIGKILL on our death.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct process {
	pid_t pid; /* 0 = none */
	const char *name;
};

/* To be called first thing in the child. cpu: the CPU to stay on, or -1. */
void process_enter_child(pid_t parent, int cpu);

/* Where a program is: on $PATH or in a directory for administrators that a
 * user's $PATH may lack. False when it is not installed; name may be a path. */
bool process_find(const char *name, char *ret_path, size_t ret_len);

/*
 * Starts a program. Its standard error goes to the end of the file `log`, its
 * standard output to out_fd, or to the log as well when that is -1. `name`
 * must outlive the process. Returns -errno; that it cannot be executed shows
 * in its exit status, 127.
 */
int process_spawn(struct process *p, const char *name, const char *const argv[],
		  const char *log, int out_fd, int cpu);

/* What a log ends with, as text. */
#define PROCESS_LOG_TAIL 401
void process_log_tail(const char *log, char out[static PROCESS_LOG_TAIL]);

/* Runs a program that says a line and ends. False when it says none. */
bool process_first_line(const char *const argv[], char *out, size_t out_len);

/* Runs on the CPU given only, or on all but the one given. -errno. */
int process_pin(const struct process *p, int cpu); /* of one thread */
int process_pin_self(int cpu);
int process_pin_self_away_from(int cpu);

/* CPU time of all its threads, user and system, in nanoseconds. What a thread
 * has used since the last tick is missing unless it is off its CPU: over a
 * second that is at most 0.4 % (HZ=250), and less in a difference. -errno. */
int process_cpu_ns(const struct process *p, uint64_t *ret_ns);

/* Says in a sentence how it ended; false while it runs. */
bool process_has_ended(struct process *p, char *why, size_t why_len);

/* Says why something failed: how one of the processes ended, if any did, else
 * `what`. */
void process_explain(struct process *const *processes, uint32_t count,
		     const char *what, char *error, size_t error_len);

/* SIGTERM, after STOP_TIMEOUT_MS SIGKILL. Returns false when it took the
 * latter or the process failed. Does nothing for a process that was never
 * started. */
#define PROCESS_STOP_TIMEOUT_MS 20000
bool process_stop(struct process *p);

#endif
