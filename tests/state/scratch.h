/* SPDX-License-Identifier: MIT */
#ifndef STILE_TESTS_STATE_SCRATCH_H
#define STILE_TESTS_STATE_SCRATCH_H

/*
 * tests/state/scratch - a directory for state and one in tmpfs for the arena,
 * both removed afterwards, and whole files as bytes.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct scratch {
	char state[64];
	char shm[64];
	char arena[96];   /* a name in shm */
	char records[96]; /* a name in state */
	char snapshot[96];
};

void scratch_init(struct scratch *s);
void scratch_deinit(struct scratch *s);

/* The file's bytes, to be freed. */
uint8_t *scratch_read(const char *path, size_t *ret_len);
void scratch_write(const char *path, const void *bytes, size_t len);
bool scratch_exists(const char *path);
/* Entries of a directory whose names begin with `prefix`. */
unsigned scratch_count(const char *dir, const char *prefix);

#endif
