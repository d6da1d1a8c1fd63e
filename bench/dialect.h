/* SPDX-License-Identifier: MIT */
#ifndef STILE_BENCH_DIALECT_H
#define STILE_BENCH_DIALECT_H

/*
 * bench/dialect - a protocol as the load generator sees it: requests of one
 * length, built beforehand, and a judge of the replies.
 *
 * Request i carries the key that frame i of the workload carries, so every
 * server is asked for the same keys in the same order.
 */
#include "workload.h"

#include <sys/types.h>

struct dialect {
	const struct workload *workload;
	const uint8_t *requests; /* request_count of request_bytes each */
	uint32_t request_bytes, request_count;
	uint32_t reply_bytes_max; /* of one reply */
	bool reply_is_fixed;      /* every reply has that many bytes */
	const void *detail;       /* for the judge, which knows its type */

	/*
	 * Judges whole replies to requests first .. first + count - 1 from the
	 * beginning of `bytes`, adds them to *tally, stores how many they were.
	 * Returns how many bytes they had, 0 when none is whole yet, or -1 when
	 * one is wrong, with a sentence in `error`.
	 */
	ssize_t (*judge)(const struct dialect *d, uint32_t first,
			 uint32_t count, const uint8_t *bytes, size_t len,
			 struct workload_tally *tally, uint32_t *ret_count,
			 char *error, size_t error_len);
};

/* One reply at the beginning of `bytes`: what judges of text protocols are
 * made of. Returns as the judge does. */
typedef ssize_t dialect_judge_one(const struct dialect *d, uint32_t request,
				  const uint8_t *bytes, size_t len,
				  struct workload_tally *tally, char *error,
				  size_t error_len);

/* Calls `one` for reply after reply. */
ssize_t dialect_judge_each(dialect_judge_one *one, const struct dialect *d,
			   uint32_t first, uint32_t count, const uint8_t *bytes,
			   size_t len, struct workload_tally *tally,
			   uint32_t *ret_count, char *error, size_t error_len);

/* A request in text: before, the key, after; with `between` set: before, the
 * key, between, the organization's id, after. */
struct dialect_form {
	const char *before, *between, *after;
};

/* Builds a request for each frame of w, page-aligned; sets all of d but its
 * judge and what the judge needs. w has to be built. -ENOMEM. */
int dialect_build(struct dialect *d, const struct workload *w,
		  const struct dialect_form *form);
void dialect_free(struct dialect *d); /* does nothing for one never built */

/* The native frames of w as they are, nothing to be freed. from_null: the null
 * server answers. */
void dialect_of_frames(struct dialect *d, const struct workload *w,
		       bool from_null);

#endif
