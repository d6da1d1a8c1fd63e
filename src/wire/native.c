/* SPDX-License-Identifier: MIT */
#include "wire/native.h"

#include "base/line.h"

#include <assert.h>
#include <endian.h>
#include <string.h>

/* Offsets of a request; native.h and docs/protocol.md draw the frame. */
enum {
	REQ_TYPE = 0,
	REQ_VERSION = 1,
	REQ_FLAGS = 2,
	REQ_KEY_LEN = 3,
	REQ_COST = 4,
	REQ_ID = 8,
	REQ_KEY = 64,
};

enum {
	REP_TYPE = 0,
	REP_REASON = 1,
	REP_DETAIL = 2,
	REP_VERSION = 3,
	REP_LIMIT = 4,
	REP_ID = 8,
	REP_REMAINING = 16,
	REP_WINDOW = 20,
	REP_RESET = 24,
	REP_RETRY = 28,
	REP_ORG = 32,
	REP_PROJECT = 40,
	REP_KEY = 48,
	REP_LIMIT_NAME = 56,
};
static_assert(REQ_KEY + NATIVE_KEY_MAX == NATIVE_REQUEST_BYTES, "key is last");
/* Of a longer name a reply has the beginning. */
#define REPLY_NAME_LEN 8
static_assert(REP_LIMIT_NAME + REPLY_NAME_LEN == NATIVE_REPLY_BYTES,
	      "limit name is last");
static_assert(NATIVE_KEY_MAX <= CHECK_KEY_MAX, "fits a check");

#define REPLY_BIT 0x80
#define HASH_BYTES sizeof(((struct check *)0)->hash)

static uint32_t load32(const uint8_t *at)
{
	uint32_t v;

	memcpy(&v, at, sizeof(v));
	return le32toh(v);
}

static uint64_t load64(const uint8_t *at)
{
	uint64_t v;

	memcpy(&v, at, sizeof(v));
	return le64toh(v);
}

static void store32(uint8_t *at, uint32_t v)
{
	v = htole32(v);
	memcpy(at, &v, sizeof(v));
}

static void store64(uint8_t *at, uint64_t v)
{
	v = htole64(v);
	memcpy(at, &v, sizeof(v));
}

/* 64 zeros, then 64 ones: read from 64 - n on it masks out the first n bytes
 * of the key field, without a branch on the key's length. */
static const uint8_t pad_mask[2 * NATIVE_KEY_MAX] = {
	[NATIVE_KEY_MAX... 2 * NATIVE_KEY_MAX - 1] = 0xff,
};

/* True when the key field holds only zeros from byte `used` on. */
static bool padding_is_zero(const uint8_t *field, uint32_t used)
{
	const uint8_t *mask = pad_mask + NATIVE_KEY_MAX - used;
	uint64_t any = 0;

	for (int i = 0; i < NATIVE_KEY_MAX; i += 8)
		any |= load64(field + i) & load64(mask + i);
	return any == 0;
}

static bool refuse(struct check *c, enum reason reason, enum detail detail,
		   bool go_on)
{
	c->credential = CREDENTIAL_NONE;
	c->reason = (uint8_t)reason;
	c->detail = (uint8_t)detail;
	return go_on;
}

bool native_decode(const uint8_t frame[static NATIVE_REQUEST_BYTES],
		   struct check *ret_check)
{
	struct check *c = ret_check;
	uint8_t type = frame[REQ_TYPE];
	uint8_t flags = frame[REQ_FLAGS];
	uint8_t key_len = frame[REQ_KEY_LEN];
	uint32_t used;

	c->request_id = load64(frame + REQ_ID);
	c->key = frame + REQ_KEY;
	c->extra = NULL;
	c->cost = load32(frame + REQ_COST);
	c->key_len = key_len;
	c->flags = flags;
	c->reason = REASON_ALLOW;
	c->detail = DETAIL_NONE;
	c->dialect = type; /* the reply names the request's type */

	if (unlikely(frame[REQ_VERSION] != NATIVE_VERSION))
		return refuse(c, REASON_BAD_REQUEST, DETAIL_VERSION, false);

	if (type == NATIVE_CHECK_HASH) {
		c->credential = CREDENTIAL_HASH;
		memcpy(c->hash, frame + REQ_KEY, HASH_BYTES);
		used = HASH_BYTES;
		/* A key length has no meaning here; make it a fault below. */
		key_len = key_len ? NATIVE_KEY_MAX + 1 : 0;
	} else if (likely(type == NATIVE_CHECK_KEY)) {
		c->credential = CREDENTIAL_KEY;
		used = key_len;
	} else {
		return refuse(c, REASON_BAD_REQUEST, DETAIL_FRAME, false);
	}

	if (unlikely((flags & ~CHECK_PEEK) || key_len > NATIVE_KEY_MAX ||
		     !padding_is_zero(frame + REQ_KEY, used)))
		return refuse(c, REASON_BAD_REQUEST, DETAIL_FRAME, true);
	/* Zero wraps around to the far side of the bound. */
	if (unlikely(c->cost - 1 >= CHECK_COST_MAX))
		return refuse(c, REASON_BAD_REQUEST, DETAIL_COST, true);
	if (unlikely(used == 0))
		return refuse(c, REASON_NO_CREDENTIAL, DETAIL_NONE, true);
	return true;
}

void native_encode(const struct check *check, const struct verdict *verdict,
		   uint8_t out[static NATIVE_REPLY_BYTES])
{
	const struct verdict *v = verdict;

	out[REP_TYPE] = check->dialect | REPLY_BIT;
	out[REP_REASON] = v->reason;
	out[REP_DETAIL] = v->detail;
	out[REP_VERSION] = NATIVE_VERSION;
	store64(out + REP_ID, check->request_id);
	if (unlikely(id_is_none(v->org))) {
		/* Nobody was recognised: there is nothing to tell, and a
		 * verdict that was not cleared must not tell it. */
		memset(out + REP_LIMIT, 0, 4);
		memset(out + REP_REMAINING, 0,
		       NATIVE_REPLY_BYTES - REP_REMAINING);
		return;
	}
	store32(out + REP_LIMIT, v->limit);
	store32(out + REP_REMAINING, v->remaining);
	store32(out + REP_WINDOW, v->window_ms);
	store32(out + REP_RESET, v->reset_ms);
	store32(out + REP_RETRY, v->retry_ms);
	memcpy(out + REP_ORG, v->org.c, ID_LEN);
	memcpy(out + REP_PROJECT, v->project.c, ID_LEN);
	memcpy(out + REP_KEY, v->key.c, ID_LEN);
	memcpy(out + REP_LIMIT_NAME, v->limit_name, REPLY_NAME_LEN);
}
