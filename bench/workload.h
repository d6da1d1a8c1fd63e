/* SPDX-License-Identifier: MIT */
#ifndef STILE_BENCH_WORKLOAD_H
#define STILE_BENCH_WORKLOAD_H

/*
 * bench/workload - keys, the requests made of them, and what each reply has
 * to say.
 *
 * All frames are built beforehand, in random order of their keys, and a batch
 * is a run of neighbours: the load generator spends nothing per request, so
 * that it is not what is measured. The request id is the frame's index; a
 * reply is known by it wherever it comes in its batch.
 * Every key stands in `frames` once (more often when there are few keys), so
 * a pass touches all of them.
 */
#include "base/id.h"
#include "base/sha256.h"
#include "wire/native.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WORKLOAD_KEYS_MAX 20000000u
#define WORKLOAD_DEPTH_MAX 1024u /* requests in one batch */
/* With fewer keys than this their frames repeat. */
#define WORKLOAD_FRAMES_MIN 65536u

enum workload_mode { WORKLOAD_RAW, WORKLOAD_HASHED };

/* One key as it was made, and the names that the daemon gave it. */
struct workload_key {
	char text[NATIVE_KEY_MAX]; /* zero padded */
	struct id id;
	uint32_t org_idx;
	uint8_t text_len;
};

struct workload_expect {
	uint64_t org, key; /* the bytes of the ids */
};

struct workload {
	struct workload_key *keys;
	struct id *orgs;
	uint32_t key_count, org_count, keys_per_org;
	uint32_t limit;     /* of every organization, units */
	uint32_t window_ms; /* likewise */

	uint32_t frame_count;
	uint8_t *frames; /* NATIVE_REQUEST_BYTES each */
	struct workload_expect *expect;
	uint32_t *order; /* which key a frame carries */
	enum workload_mode mode;
};

/* Makes key_count keys, keys_per_org to an organization: key i belongs to
 * organization i / keys_per_org, the last one takes the rest. Returns -ENOMEM,
 * or -EIO when the CSPRNG fails. */
int workload_init(struct workload *w, uint32_t key_count,
		  uint32_t keys_per_org);
void workload_deinit(struct workload *w);

void workload_key_hash(const struct workload_key *k,
		       uint8_t out[static SHA256_BYTES]);

/* Builds the frames; to be called again when the mode changes. */
void workload_build(struct workload *w, enum workload_mode mode);

/* The same keys in the same order in frames of another mode, built. Borrows
 * all but its frames from w, which has to outlive it. -ENOMEM. */
int workload_twin_init(struct workload *twin, const struct workload *w,
		       enum workload_mode mode);
void workload_twin_deinit(struct workload *twin);

/* What became of a batch. */
struct workload_tally {
	uint64_t allowed, denied;
};

static inline double workload_denied_share(const struct workload_tally *t)
{
	uint64_t all = t->allowed + t->denied;

	return all > 0 ? (double)t->denied / (double)all : 0;
}

/*
 * Checks one reply. from_null: it comes from the null server, which knows no
 * organizations. Returns false when it is wrong and writes a sentence to
 * `error`; else *ret_frame is the frame that it answers, and whether that was
 * asked and not answered before is the caller's to know.
 */
bool workload_check_reply(const struct workload *w, bool from_null,
			  const uint8_t reply[static NATIVE_REPLY_BYTES],
			  uint32_t *ret_frame, struct workload_tally *tally,
			  char *error, size_t error_len);

/* Checks the replies to the frames first .. first + depth - 1, in any order:
 * each right, and each exactly once. */
bool workload_verify(const struct workload *w, bool from_null, uint32_t first,
		     uint32_t depth, const uint8_t *replies,
		     struct workload_tally *tally, char *error,
		     size_t error_len);

#endif
