/* SPDX-License-Identifier: MIT */
#include "wire/native.h"

#include "base/line.h"
#include "wire/extra.h"

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
	REQ_HOLD = 16,     /* settle */
	REQ_HOLD_END = 24, /* and nothing from here on */
	REQ_ROOM = 16,     /* up to the key; of a long frame: nothing */
	REQ_KEY = 64,
	REQ_ONCE = 128, /* from here on: long frames */
	REQ_ADDRESS = 144,
	REQ_HOLD_MS = 160,
	REQ_ROUTE_LEN = 164,
	REQ_SCOPE_LEN = 165,
	REQ_LENS_END = 166,
	REQ_ROUTE = 192,
	REQ_SCOPE = 256,
	REQ_SCOPE_END = 320,
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
	REP_WHOLE_NAME = 64, /* from here on: long replies */
	REP_HOLD = 88,
	REP_HOLD_MS = 96,
	REP_CHARGED = 100,
	REP_CREDITS = 104,
	REP_BUDGET = 112,
	REP_FLAGS = 120,
	REP_LINES = 121,
};

enum {
	LINE_TYPE = 0,
	LINE_NUMBER = 1,
	LINE_LEVEL = 2,
	LINE_VERSION = 3,
	LINE_ALGORITHM = 4,
	LINE_FLAGS = 5,
	LINE_ID = 8,
	LINE_LIMIT = 16,
	LINE_REMAINING = 24,
	LINE_WINDOW = 32,
	LINE_RESET = 40,
	LINE_RETRY = 48,
	LINE_NAME = 56,
	LINE_NAME_END = 80,
};
static_assert(LINE_NAME + LIMIT_NAME_LEN == LINE_NAME_END &&
		      LINE_NAME_END <= NATIVE_LINE_BYTES,
	      "a line's name");
static_assert(EXPLAIN_LINES_MAX <= UINT8_MAX, "lines are counted in a byte");
static_assert(REQ_KEY + NATIVE_KEY_MAX == NATIVE_REQUEST_BYTES, "key is last");
/* Of a longer name a reply has the beginning. */
#define REPLY_NAME_LEN 8
static_assert(REP_LIMIT_NAME + REPLY_NAME_LEN == NATIVE_REPLY_BYTES,
	      "limit name is last");
static_assert(NATIVE_KEY_MAX <= CHECK_KEY_MAX, "fits a check");

#define REPLY_FLAGS VERDICT_REPEATED
/* Of a line. */
#define LINE_FLAGS_SAID (EXPLAIN_SHADOW | EXPLAIN_DECIDED)
#define LINE_ALLOWED 0x04u

/* Of route and scope; the last byte of each is always 0. */
#define LABEL_BYTES 64
static_assert(REQ_SCOPE - REQ_ROUTE == LABEL_BYTES &&
		      REQ_SCOPE_END - REQ_SCOPE == LABEL_BYTES &&
		      LABEL_BYTES > LABEL_MAX,
	      "fields of labels");

#define REPLY_BIT 0x80

/* The first four bytes of a request as one word: one comparison sees them all.
 */
static_assert(REQ_KEY_LEN < sizeof(uint32_t), "fits a word");
#define HEAD(type, version, flags, key_len)                                    \
	((uint32_t)(type) << 8 * REQ_TYPE |                                    \
	 (uint32_t)(version) << 8 * REQ_VERSION |                              \
	 (uint32_t)(flags) << 8 * REQ_FLAGS |                                  \
	 (uint32_t)(key_len) << 8 * REQ_KEY_LEN)
#define HEAD_HASH HEAD(NATIVE_CHECK_HASH, NATIVE_VERSION, 0, 0)
#define HEAD_HASH_VARIES HEAD(0, 0, CHECK_PEEK, 0)
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
	c->flags = 0;
	c->reason = (uint8_t)reason;
	c->detail = (uint8_t)detail;
	return go_on;
}

static inline bool is_zero(const uint8_t *at, size_t len)
{
	uint64_t any = 0;

	for (; len >= sizeof(any); len -= sizeof(any), at += sizeof(any))
		any |= load64(at);
	while (len > 0)
		any |= at[--len];
	return any == 0;
}

/* Both: false when the key field is not as it should be. */
static inline bool read_hash(const uint8_t *frame, struct check *c)
{
	memcpy(c->hash, frame + REQ_KEY, HASH_BYTES);
	return is_zero(frame + REQ_KEY + HASH_BYTES,
		       NATIVE_KEY_MAX - HASH_BYTES);
}

static inline bool read_key(const uint8_t *frame, struct check *c)
{
	return c->key_len <= NATIVE_KEY_MAX &&
	       padding_is_zero(frame + REQ_KEY, c->key_len);
}

/* A label that fills `len` bytes of its field, and nothing after it. */
static enum detail read_label(const uint8_t *field, uint8_t len,
			      enum detail (*take)(struct check_extra *,
						  const void *, size_t),
			      struct check_extra *e)
{
	if (len > LABEL_MAX)
		return DETAIL_ROUTE;
	if (!is_zero(field + len, (size_t)(LABEL_BYTES - len)))
		return DETAIL_FRAME;
	return take(e, field, len);
}

static enum detail read_extra(const uint8_t *frame, struct check_extra *e)
{
	enum detail detail;

	memset(e, 0, sizeof(*e));
	if (!is_zero(frame + REQ_ROOM, REQ_KEY - REQ_ROOM) ||
	    !is_zero(frame + REQ_LENS_END, REQ_ROUTE - REQ_LENS_END) ||
	    !is_zero(frame + REQ_SCOPE_END,
		     NATIVE_LONG_REQUEST_BYTES - REQ_SCOPE_END))
		return DETAIL_FRAME;
	detail = read_label(frame + REQ_ROUTE, frame[REQ_ROUTE_LEN],
			    extra_route, e);
	if (detail == DETAIL_NONE)
		detail = read_label(frame + REQ_SCOPE, frame[REQ_SCOPE_LEN],
				    extra_scope, e);
	if (detail != DETAIL_NONE)
		return detail;
	e->hold_ms = load32(frame + REQ_HOLD_MS);
	if (e->hold_ms > CHECK_HOLD_MS_MAX)
		return DETAIL_HOLD;
	e->once[0] = load64(frame + REQ_ONCE);
	e->once[1] = load64(frame + REQ_ONCE + 8);
	e->has_address = !is_zero(frame + REQ_ADDRESS, sizeof(e->address));
	memcpy(e->address, frame + REQ_ADDRESS, sizeof(e->address));
	return DETAIL_NONE;
}

static bool read_settle(const uint8_t *frame, struct check_extra *e,
			struct check *c)
{
	memset(e, 0, sizeof(*e));
	e->hold = load64(frame + REQ_HOLD);
	c->extra = e;
	c->credential = CREDENTIAL_HOLD;
	if (c->flags != 0 || c->key_len != 0 ||
	    !is_zero(frame + REQ_HOLD_END, NATIVE_REQUEST_BYTES - REQ_HOLD_END))
		return refuse(c, REASON_BAD_REQUEST, DETAIL_FRAME, true);
	if (c->cost > CHECK_COST_MAX && c->cost != SETTLE_AS_RESERVED)
		return refuse(c, REASON_BAD_REQUEST, DETAIL_COST, true);
	if (e->hold == 0)
		return refuse(c, REASON_BAD_REQUEST, DETAIL_HOLD, true);
	return true;
}

static bool read_long(const uint8_t *frame, struct check_extra *e,
		      struct check *c)
{
	const bool hash = frame[REQ_TYPE] == NATIVE_LONG_HASH;
	enum detail detail;

	if (hash)
		c->credential = CREDENTIAL_HASH;
	if ((c->flags & ~(CHECK_PEEK | CHECK_RESERVE | CHECK_EXPLAIN)) != 0 ||
	    !(hash ? c->key_len == 0 && read_hash(frame, c)
		   : read_key(frame, c)))
		return refuse(c, REASON_BAD_REQUEST, DETAIL_FRAME, true);
	detail = read_extra(frame, e);
	if (detail != DETAIL_NONE)
		return refuse(c, REASON_BAD_REQUEST, detail, true);
	c->extra = e;
	if (c->cost > CHECK_COST_MAX)
		return refuse(c, REASON_BAD_REQUEST, DETAIL_COST, true);
	if (!hash && c->key_len == 0)
		return refuse(c, REASON_NO_CREDENTIAL, DETAIL_NONE, true);
	return true;
}

static bool read_short_key(const uint8_t *frame, struct check *c)
{
	if ((c->flags & ~CHECK_PEEK) != 0 || !read_key(frame, c))
		return refuse(c, REASON_BAD_REQUEST, DETAIL_FRAME, true);
	if (c->cost - 1 >= CHECK_COST_MAX)
		return refuse(c, REASON_BAD_REQUEST, DETAIL_COST, true);
	if (c->key_len == 0)
		return refuse(c, REASON_NO_CREDENTIAL, DETAIL_NONE, true);
	return true;
}

/* What every check has, of a frame of this type with this length of a key.
 * All is loaded before anything is stored: as far as the compiler knows a store
 * may change the frame, and it would do it byte by byte. */
static inline void read_head(const uint8_t *frame, uint8_t type,
			     uint8_t key_len, enum credential credential,
			     struct check *c)
{
	const uint64_t request_id = load64(frame + REQ_ID);
	const uint32_t cost = load32(frame + REQ_COST);
	const uint8_t flags = frame[REQ_FLAGS];

	c->request_id = request_id;
	c->key = frame + REQ_KEY;
	c->extra = NULL;
	c->cost = cost;
	c->key_len = key_len;
	c->credential = (uint8_t)credential;
	c->reason = REASON_ALLOW;
	c->detail = DETAIL_NONE;
	c->dialect = type; /* the reply names the request's type */
	c->flags = flags;
}

/* Any frame but those that read_short_hash() reads. */
__attribute__((noinline)) static bool
read_other(const uint8_t *frame, struct check_extra *e, struct check *c)
{
	read_head(frame, frame[REQ_TYPE], frame[REQ_KEY_LEN], CREDENTIAL_KEY,
		  c);
	if (frame[REQ_VERSION] != NATIVE_VERSION)
		return refuse(c, REASON_BAD_REQUEST, DETAIL_VERSION, false);
	switch (frame[REQ_TYPE]) {
	case NATIVE_CHECK_KEY:
		return read_short_key(frame, c);
	case NATIVE_CHECK_HASH: /* or its head would be that of HEAD_HASH */
		return refuse(c, REASON_BAD_REQUEST, DETAIL_FRAME, true);
	case NATIVE_LONG_KEY:
	case NATIVE_LONG_HASH:
		return read_long(frame, e, c);
	case NATIVE_SETTLE:
		return read_settle(frame, e, c);
	default:
		return refuse(c, REASON_BAD_REQUEST, DETAIL_FRAME, false);
	}
}

static inline bool is_short_hash(const uint8_t *frame)
{
	return (load32(frame) & ~HEAD_HASH_VARIES) == HEAD_HASH;
}

/* What is asked most, read in a straight line; is_short_hash() is true. */
static inline void read_short_hash(const uint8_t *frame, struct check *c)
{
	read_head(frame, NATIVE_CHECK_HASH, 0, CREDENTIAL_HASH, c);
	if (unlikely(!read_hash(frame, c)))
		refuse(c, REASON_BAD_REQUEST, DETAIL_FRAME, true);
	/* Zero wraps around to the far side of the bound. */
	else if (unlikely(c->cost - 1 >= CHECK_COST_MAX))
		refuse(c, REASON_BAD_REQUEST, DETAIL_COST, true);
}

bool native_decode(const uint8_t *frame, struct check_extra *ret_extra,
		   struct check *ret_check)
{
	if (!is_short_hash(frame))
		return read_other(frame, ret_extra, ret_check);
	read_short_hash(frame, ret_check);
	return true;
}

static void encode_line(const struct explain_line *l, uint64_t request_id,
			unsigned number, uint8_t *out)
{
	memset(out, 0, NATIVE_LINE_BYTES);
	out[LINE_TYPE] = NATIVE_LINE | REPLY_BIT;
	out[LINE_NUMBER] = (uint8_t)number;
	out[LINE_LEVEL] = l->level;
	out[LINE_VERSION] = NATIVE_VERSION;
	out[LINE_ALGORITHM] = l->algorithm;
	out[LINE_FLAGS] = (uint8_t)((l->flags & LINE_FLAGS_SAID) |
				    (l->allowed ? LINE_ALLOWED : 0));
	store64(out + LINE_ID, request_id);
	store64(out + LINE_LIMIT, l->limit);
	store64(out + LINE_REMAINING, l->remaining);
	store64(out + LINE_WINDOW, l->window_ms);
	store64(out + LINE_RESET, l->reset_ms);
	store64(out + LINE_RETRY, l->retry_ms);
	memcpy(out + LINE_NAME, l->name, LIMIT_NAME_LEN);
}

static void encode_lines(const struct check *c, const struct verdict *v,
			 uint8_t *out)
{
	unsigned i;

	out[REP_LINES] = v->explain->count;
	for (i = 0; i < v->explain->count; i++)
		encode_line(&v->explain->lines[i], c->request_id, i,
			    out + NATIVE_LONG_REPLY_BYTES +
				    (size_t)i * NATIVE_LINE_BYTES);
}

struct native_run native_decode_run(const uint8_t *bytes, uint32_t len,
				    uint32_t conn_idx, uint32_t max,
				    struct check_extra *ret_extras,
				    struct check *ret_checks)
{
	const uint8_t *at = bytes, *end = bytes + len;
	struct check *c = ret_checks, *last = ret_checks + max;
	struct native_run run = {0};

	for (; c < last && end - at >= NATIVE_REQUEST_BYTES; c++) {
		uint32_t whole;

		c->conn_idx = conn_idx;
		if (likely(is_short_hash(at))) {
			read_short_hash(at, c);
			at += NATIVE_REQUEST_BYTES;
			continue;
		}
		whole = native_request_bytes(at[REQ_TYPE]);
		if (end - at < whole)
			break;
		run.broken = !read_other(at, &ret_extras[c - ret_checks], c);
		/* What cannot be read may hold anything. */
		run.secret |= run.broken || at[REQ_TYPE] == NATIVE_CHECK_KEY ||
			      at[REQ_TYPE] == NATIVE_LONG_KEY;
		/* After what is to be explained it is for the caller to say
		 * whether there is room for another. */
		if (run.broken || c->flags & CHECK_EXPLAIN)
			last = c + 1;
		at += whole;
	}
	run.count = (uint32_t)(c - ret_checks);
	run.bytes = (uint32_t)(at - bytes);
	return run;
}

/* The first 64 bytes of every reply, and all of most. */
static inline void encode_short(const struct check *c,
				const struct verdict *verdict, uint8_t *out)
{
	/* Loaded before anything is stored, see read_head(). */
	const struct verdict v = *verdict;
	const uint64_t request_id = c->request_id;

	out[REP_TYPE] = c->dialect | REPLY_BIT;
	out[REP_REASON] = v.reason;
	out[REP_DETAIL] = v.detail;
	out[REP_VERSION] = NATIVE_VERSION;
	store64(out + REP_ID, request_id);
	if (unlikely(id_is_none(v.org))) {
		/* Nobody was recognised: there is nothing to tell, and a
		 * verdict that was not cleared must not tell it. */
		memset(out + REP_LIMIT, 0, 4);
		memset(out + REP_REMAINING, 0,
		       NATIVE_REPLY_BYTES - REP_REMAINING);
		return;
	}
	store32(out + REP_LIMIT, v.limit);
	store32(out + REP_REMAINING, v.remaining);
	store32(out + REP_WINDOW, v.window_ms);
	store32(out + REP_RESET, v.reset_ms);
	store32(out + REP_RETRY, v.retry_ms);
	memcpy(out + REP_ORG, v.org.c, ID_LEN);
	memcpy(out + REP_PROJECT, v.project.c, ID_LEN);
	memcpy(out + REP_KEY, v.key.c, ID_LEN);
	memcpy(out + REP_LIMIT_NAME, v.limit_name, REPLY_NAME_LEN);
}

/* The rest is told to who asked at length. */
__attribute__((noinline)) static void
encode_long(const struct check *c, const struct verdict *v, uint8_t *out)
{
	encode_short(c, v, out);
	memset(out + NATIVE_REPLY_BYTES, 0,
	       NATIVE_LONG_REPLY_BYTES - NATIVE_REPLY_BYTES);
	if (c->flags & CHECK_EXPLAIN && v->explain != NULL)
		encode_lines(c, v, out);
	if (id_is_none(v->org) && v->reason != REASON_ALLOW)
		return;
	memcpy(out + REP_WHOLE_NAME, v->limit_name, LIMIT_NAME_LEN);
	/* What is settled is held no more. */
	store64(out + REP_HOLD, c->dialect == NATIVE_SETTLE ? 0 : v->hold);
	store32(out + REP_HOLD_MS,
		v->hold_ms < UINT32_MAX ? (uint32_t)v->hold_ms : UINT32_MAX);
	store32(out + REP_CHARGED, v->charged);
	store64(out + REP_CREDITS, v->credits);
	store64(out + REP_BUDGET, v->budget);
	out[REP_FLAGS] = v->flags & REPLY_FLAGS;
}

void native_encode(const struct check *check, const struct verdict *verdict,
		   uint8_t *out)
{
	if (native_reply_bytes(check->dialect) == NATIVE_REPLY_BYTES)
		encode_short(check, verdict, out);
	else
		encode_long(check, verdict, out);
}

uint32_t native_encode_run(const struct check *checks,
			   const struct verdict *verdicts, uint32_t count,
			   uint8_t *out, uint32_t room, uint32_t *ret_bytes)
{
	uint8_t *at = out, *end = out + room;
	uint32_t i, bytes;

	for (i = 0; i < count && checks[i].conn_idx == checks[0].conn_idx &&
		    end - at >= NATIVE_REPLY_BYTES;
	     i++) {
		if (likely(native_reply_bytes(checks[i].dialect) ==
			   NATIVE_REPLY_BYTES)) {
			encode_short(&checks[i], &verdicts[i], at);
			at += NATIVE_REPLY_BYTES;
			continue;
		}
		bytes = native_answer_bytes(&checks[i], &verdicts[i]);
		if (end - at < bytes)
			break;
		encode_long(&checks[i], &verdicts[i], at);
		at += bytes;
	}
	*ret_bytes = (uint32_t)(at - out);
	return i;
}
