/* SPDX-License-Identifier: MIT */
#include "workload.h"

#include "base/check.h"
#include "base/keytext.h"
#include "base/line.h"
#include "pages.h"
#include "splitmix.h"

#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static size_t keys_bytes(const struct workload *w)
{
	return (size_t)w->key_count * sizeof(*w->keys);
}

static size_t frames_bytes(const struct workload *w)
{
	return (size_t)w->frame_count * NATIVE_REQUEST_BYTES;
}

static size_t expect_bytes(const struct workload *w)
{
	return (size_t)w->frame_count * sizeof(*w->expect);
}

static size_t order_bytes(const struct workload *w)
{
	return (size_t)w->frame_count * sizeof(*w->order);
}

static uint32_t org_of(const struct workload *w, uint32_t key_idx)
{
	uint32_t org_idx = key_idx / w->keys_per_org;

	return org_idx < w->org_count ? org_idx : w->org_count - 1;
}

static int make_keys(struct workload *w)
{
	struct keytext_prefix prefix;
	char text[KEYTEXT_LEN(2) + 1];

	check(keytext_prefix_init(&prefix, "il"));
	for (uint32_t i = 0; i < w->key_count; i++) {
		struct workload_key *k = &w->keys[i];
		struct id id;

		if (!keytext_random_id(&id) ||
		    !keytext_make(&prefix, id, text, sizeof(text)))
			return -EIO;
		memcpy(k->text, text, sizeof(text) - 1);
		k->text_len = sizeof(text) - 1;
		k->org_idx = org_of(w, i);
	}
	return 0;
}

int workload_init(struct workload *w, uint32_t key_count, uint32_t keys_per_org)
{
	int r;

	check(key_count > 0 && key_count <= WORKLOAD_KEYS_MAX);
	check(keys_per_org > 0);
	memset(w, 0, sizeof(*w));
	w->key_count = key_count;
	w->keys_per_org = keys_per_org;
	w->org_count = key_count / keys_per_org;
	if (w->org_count == 0)
		w->org_count = 1;
	w->frame_count = key_count > WORKLOAD_FRAMES_MIN ? key_count
							 : WORKLOAD_FRAMES_MIN;
	w->keys = pages_map(keys_bytes(w));
	w->frames = pages_map(frames_bytes(w));
	w->expect = pages_map(expect_bytes(w));
	w->order = pages_map(order_bytes(w));
	w->orgs = calloc(w->org_count, sizeof(*w->orgs));
	r = w->keys && w->frames && w->expect && w->order && w->orgs
		    ? make_keys(w)
		    : -ENOMEM;
	if (r < 0)
		workload_deinit(w);
	else /* the daemon was told of the keys in their order, and its tables
	      * must not be walked in it */
		splitmix_shuffle(w->order, w->frame_count, 1);
	return r;
}

void workload_deinit(struct workload *w)
{
	pages_unmap(w->keys, keys_bytes(w));
	pages_unmap(w->frames, frames_bytes(w));
	pages_unmap(w->expect, expect_bytes(w));
	pages_unmap(w->order, order_bytes(w));
	free(w->orgs);
	memset(w, 0, sizeof(*w));
}

int workload_twin_init(struct workload *twin, const struct workload *w,
		       enum workload_mode mode)
{
	*twin = *w;
	twin->frames = pages_map(frames_bytes(w));
	if (!twin->frames)
		return -ENOMEM;
	workload_build(twin, mode);
	return 0;
}

void workload_twin_deinit(struct workload *twin)
{
	pages_unmap(twin->frames, frames_bytes(twin));
	memset(twin, 0, sizeof(*twin));
}

void workload_key_hash(const struct workload_key *k,
		       uint8_t out[static SHA256_BYTES])
{
	sha256(k->text, k->text_len, out);
}

static void build_frame(struct workload *w, uint32_t frame_idx,
			const struct workload_key *k)
{
	uint8_t *f = w->frames + (size_t)frame_idx * NATIVE_REQUEST_BYTES;
	uint32_t cost = htole32(1);
	uint64_t request_id = htole64(frame_idx);

	memset(f, 0, NATIVE_REQUEST_BYTES);
	f[1] = NATIVE_VERSION;
	memcpy(f + 4, &cost, sizeof(cost));
	memcpy(f + 8, &request_id, sizeof(request_id));
	if (w->mode == WORKLOAD_RAW) {
		f[0] = NATIVE_CHECK_KEY;
		f[3] = k->text_len;
		memcpy(f + 64, k->text, sizeof(k->text));
	} else {
		f[0] = NATIVE_CHECK_HASH;
		workload_key_hash(k, f + 64);
	}
	memcpy(&w->expect[frame_idx].org, w->orgs[k->org_idx].c, ID_LEN);
	memcpy(&w->expect[frame_idx].key, k->id.c, ID_LEN);
}

void workload_build(struct workload *w, enum workload_mode mode)
{
	w->mode = mode;
	for (uint32_t i = 0; i < w->frame_count; i++)
		build_frame(w, i, &w->keys[w->order[i] % w->key_count]);
}

/* A reply as words; offsets in wire/native.h. */
struct reply {
	uint8_t type, reason, detail, version;
	uint32_t limit;
	uint64_t request_id;
	uint32_t remaining, window_ms, reset_ms, retry_ms;
	uint64_t org, project, key, limit_name;
};
static_assert(sizeof(struct reply) == NATIVE_REPLY_BYTES, "layout of replies");

static bool same_from_null(const struct reply *r)
{
	return r->reason == REASON_ALLOW && r->limit == 0 && r->org == 0 &&
	       r->key == 0;
}

static bool right_verdict(const struct workload *w, const struct reply *r)
{
	if (le32toh(r->limit) != w->limit ||
	    le32toh(r->window_ms) != w->window_ms)
		return false;
	if (r->reason == REASON_ALLOW)
		return le32toh(r->remaining) < w->limit;
	return r->reason == REASON_RATE_LIMITED && r->retry_ms != 0;
}

static void describe(const struct reply *r, char *error, size_t error_len)
{
	snprintf(error, error_len,
		 "wrong reply to request %" PRIu64 ": type 0x%02x version %u "
		 "reason %u detail %u limit %" PRIu32 " remaining %" PRIu32
		 " retry %" PRIu32 " ms org %.8s key %.8s",
		 le64toh(r->request_id), r->type, r->version, r->reason,
		 r->detail, le32toh(r->limit), le32toh(r->remaining),
		 le32toh(r->retry_ms), (const char *)&r->org,
		 (const char *)&r->key);
}

bool workload_check_reply(const struct workload *w, bool from_null,
			  const uint8_t bytes[static NATIVE_REPLY_BYTES],
			  uint32_t *ret_frame, struct workload_tally *tally,
			  char *error, size_t error_len)
{
	uint8_t type = (w->mode == WORKLOAD_RAW ? NATIVE_CHECK_KEY
						: NATIVE_CHECK_HASH) |
		       0x80;
	const struct workload_expect *want;
	uint64_t frame_idx;
	struct reply r;
	bool right;

	memcpy(&r, bytes, sizeof(r));
	frame_idx = le64toh(r.request_id);
	right = frame_idx < w->frame_count && r.type == type &&
		r.version == NATIVE_VERSION;
	if (right && from_null) {
		right = same_from_null(&r);
	} else if (right) {
		want = &w->expect[frame_idx];
		right = r.org == want->org && r.key == want->key &&
			right_verdict(w, &r);
	}
	if (unlikely(!right)) {
		describe(&r, error, error_len);
		return false;
	}
	tally->allowed += r.reason == REASON_ALLOW;
	tally->denied += r.reason != REASON_ALLOW;
	*ret_frame = (uint32_t)frame_idx;
	return true;
}

bool workload_verify(const struct workload *w, bool from_null, uint32_t first,
		     uint32_t depth, const uint8_t *replies,
		     struct workload_tally *tally, char *error,
		     size_t error_len)
{
	uint64_t seen[WORKLOAD_DEPTH_MAX / 64] = {0};

	for (uint32_t i = 0; i < depth; i++) {
		uint32_t place;

		if (!workload_check_reply(w, from_null,
					  replies + (size_t)i *
							    NATIVE_REPLY_BYTES,
					  &place, tally, error, error_len))
			return false;
		place -= first;
		if (place >= depth || seen[place / 64] >> place % 64 & 1) {
			snprintf(error, error_len,
				 "wrong reply to request %" PRIu32
				 ": it was not asked, or answered before",
				 first + place);
			return false;
		}
		seen[place / 64] |= UINT64_C(1) << place % 64;
	}
	return true;
}
