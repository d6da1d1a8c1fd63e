/* SPDX-License-Identifier: MIT */
#ifndef STILE_CONTROL_PROCESS_H
#define STILE_CONTROL_PROCESS_H

/*
 * control/process - what stiled asks of the kernel for itself: no dumps, room
 * for its descriptors, its directories and the lock on them, its signals.
 *
 * Threads    the control thread, before any other runs.
 * Errors     0, or a negative errno and a sentence with the remedy in `err`.
 */
#include <stddef.h>
#include <stdint.h>

/* Keys pass through our memory: no core dumps, no ptrace by equals; files are
 * private unless a mode says otherwise. A peer that went away, and a file that
 * may not grow (RLIMIT_FSIZE), are errors of the write, not signals. */
int process_harden(char *err, size_t err_len);

/* Room for `descriptors` open files, and for as much locked memory (rings) as
 * we may have. -EMFILE: the hard limit is lower. */
int process_raise_limits(uint64_t descriptors, char *err, size_t err_len);

/* CPUs that we may run on, at least 1. */
uint32_t process_cpus(void);

/* Makes `path` and its parent directories as far as they are missing; the last
 * one with `mode`. */
int process_make_dir(const char *path, uint32_t mode, char *err,
		     size_t err_len);

/* Takes the lock of a state directory: STATE/lock, with our pid in it, until
 * the descriptor that is returned is closed or we die. -EBUSY: another process
 * has it. */
int process_lock(const char *state_dir, char *err, size_t err_len);

/* Blocks SIGTERM, SIGINT and SIGHUP for all threads to come; returns a
 * descriptor that process_signal() reads them from. */
int process_signals(char *err, size_t err_len);

/* The next signal that arrived, or 0. */
int process_signal(int fd);

#endif
