/* SPDX-License-Identifier: MIT */
/*
 * wire/native: any frame gives a check that can be answered, by the rules
 * of docs/protocol.md written down a second time; any verdict gives a reply
 * that says what the verdict says.
 */
#include "fuzz.h"
#include "wire/native.h"
#include "wire/reason.h"

static uint64_t le(const uint8_t *p, int bytes)
{
	uint64_t v = 0;

	while (bytes-- > 0)
		v = v << 8 | p[bytes];
	return v;
}

static bool zero(const uint8_t *p, size_t len)
{
	while (len > 0)
		if (p[--len] != 0)
			return false;
	return true;
}

static bool is_long(const uint8_t *f)
{
	return f[0] == 3 || f[0] == 4;
}

static size_t frame_bytes(const uint8_t *f)
{
	return is_long(f) ? 384 : 128;
}

/* The fault of a label of `len` bytes at `f`; DETAIL_NONE: none. */
static uint8_t label_fault(const uint8_t *f, uint8_t len)
{
	if (len > 63)
		return DETAIL_ROUTE;
	if (!zero(f + len, 64u - len))
		return DETAIL_FRAME;
	while (len-- > 0)
		if (f[len] < 32 || f[len] > 126)
			return DETAIL_ROUTE;
	return DETAIL_NONE;
}

static uint8_t extra_fault(const uint8_t *f)
{
	uint8_t detail;

	if (!zero(f + 16, 48) || !zero(f + 166, 26) || !zero(f + 320, 64))
		return DETAIL_FRAME;
	detail = label_fault(f + 192, f[164]);
	if (detail == DETAIL_NONE)
		detail = label_fault(f + 256, f[165]);
	if (detail == DETAIL_NONE && le(f + 160, 4) > 31 * 86400 * 1000ull)
		detail = DETAIL_HOLD;
	return detail;
}

static uint8_t settle_fault(const uint8_t *f)
{
	uint64_t cost = le(f + 4, 4);

	if (f[2] != 0 || f[3] != 0 || !zero(f + 24, 104))
		return DETAIL_FRAME;
	if (cost > 1000000 && cost != UINT32_MAX)
		return DETAIL_COST;
	return le(f + 16, 8) == 0 ? DETAIL_HOLD : DETAIL_NONE;
}

static uint8_t check_fault(const uint8_t *f)
{
	const bool hash = f[0] == 2 || f[0] == 4;
	uint64_t cost = le(f + 4, 4);
	size_t used = hash ? 32 : f[3];
	uint8_t detail = DETAIL_NONE;

	if (f[2] > (is_long(f) ? 7 : 1) || used > 64 || (hash && f[3] != 0) ||
	    !zero(f + 64 + used, 64 - used))
		return DETAIL_FRAME;
	if (is_long(f))
		detail = extra_fault(f);
	if (detail == DETAIL_NONE &&
	    (cost > 1000000 || (cost == 0 && !is_long(f))))
		detail = DETAIL_COST;
	return detail;
}

/* The answer that wire has to give by itself; REASON_ALLOW: none. */
static void expected(const uint8_t *f, uint8_t *reason, uint8_t *detail,
		     bool *goes_on)
{
	*goes_on = f[1] == 1 && f[0] >= 1 && f[0] <= 5;
	if (f[1] != 1)
		*detail = DETAIL_VERSION;
	else if (!*goes_on)
		*detail = DETAIL_FRAME;
	else
		*detail = f[0] == 5 ? settle_fault(f) : check_fault(f);
	*reason = REASON_ALLOW;
	if (*detail != DETAIL_NONE)
		*reason = REASON_BAD_REQUEST;
	else if ((f[0] == 1 || f[0] == 3) && f[3] == 0)
		*reason = REASON_NO_CREDENTIAL;
}

static void check_extra(const uint8_t *f, const struct check_extra *e)
{
	static const struct check_extra nothing;
	struct check_extra hold = nothing;

	if (f[0] == NATIVE_SETTLE) {
		hold.hold = le(f + 16, 8);
		must(memcmp(e, &hold, sizeof(hold)) == 0);
		return;
	}
	must(e->once[0] == le(f + 128, 8) && e->once[1] == le(f + 136, 8));
	must(memcmp(e->address, f + 144, 16) == 0);
	must(e->has_address == !zero(f + 144, 16));
	must(e->hold_ms == le(f + 160, 4) && e->hold == 0);
	must(e->route_len == f[164] && e->scope_len == f[165]);
	must(memcmp(e->route, f + 192, 64) == 0);
	must(memcmp(e->scope, f + 256, 64) == 0);
	must((e->route_hash != 0) == (f[164] != 0));
	must((e->scope_hash != 0) == (f[165] != 0));
}

static void decode(const uint8_t *f, struct check *c, struct check_extra *e)
{
	uint8_t reason, detail;
	bool goes_on;

	memset(c, 0xa5, sizeof(*c));
	memset(e, 0xa5, sizeof(*e));
	expected(f, &reason, &detail, &goes_on);
	must(native_request_bytes(f[0]) == frame_bytes(f));
	must(native_decode(f, e, c) == goes_on);
	must(c->request_id == le(f + 8, 8));
	must(c->reason == reason && c->detail == detail);
	if (reason != REASON_ALLOW) {
		must(c->credential == CREDENTIAL_NONE && c->flags == 0);
		return;
	}
	must(c->cost == le(f + 4, 4) && c->flags == f[2]);
	must(c->extra == (f[0] < NATIVE_LONG_KEY ? NULL : e));
	if (c->extra)
		check_extra(f, e);
	if (f[0] == NATIVE_SETTLE) {
		must(c->credential == CREDENTIAL_HOLD);
	} else if (f[0] == NATIVE_CHECK_HASH || f[0] == NATIVE_LONG_HASH) {
		must(c->credential == CREDENTIAL_HASH);
		must(memcmp(c->hash, f + 64, 32) == 0);
	} else {
		must(c->credential == CREDENTIAL_KEY);
		must(c->key == f + 64 && c->key_len == f[3]);
	}
}

static void check_long_reply(const uint8_t *out, bool settled,
			     const struct verdict *v)
{
	if (id_is_none(v->org) && v->reason != REASON_ALLOW) {
		must(zero(out + 64, 57) && zero(out + 122, 6));
		return;
	}
	must(memcmp(out + 64, v->limit_name, 24) == 0);
	must(le(out + 88, 8) == (settled ? 0 : v->hold));
	must(le(out + 96, 4) ==
	     (v->hold_ms > UINT32_MAX ? UINT32_MAX : v->hold_ms));
	must(le(out + 100, 4) == v->charged);
	must(le(out + 104, 8) == v->credits && le(out + 112, 8) == v->budget);
	must(out[120] == (v->flags & 1) && zero(out + 122, 6));
}

static void check_line(const uint8_t *f, const uint8_t *out, unsigned number,
		       const struct explain_line *l)
{
	must(out[0] == 192 && out[1] == number && out[2] == l->level);
	must(out[3] == 1 && out[4] == l->algorithm && zero(out + 6, 2));
	must(out[5] == ((l->flags & 3) | (l->allowed ? 4 : 0)));
	must(memcmp(out + 8, f + 8, 8) == 0);
	must(le(out + 16, 8) == l->limit && le(out + 24, 8) == l->remaining);
	must(le(out + 32, 8) == l->window_ms && le(out + 40, 8) == l->reset_ms);
	must(le(out + 48, 8) == l->retry_ms);
	must(memcmp(out + 56, l->name, 24) == 0 && zero(out + 80, 16));
}

static void encode(const uint8_t *f, const struct check *c,
		   const struct verdict *v)
{
	const bool at_length = f[0] >= 3 && f[0] <= 5;
	const bool told = is_long(f) && c->flags & 4 && v->explain != NULL;
	const unsigned lines = told ? v->explain->count : 0;
	const size_t len = (at_length ? 128 : 64) + (size_t)lines * 96;
	uint8_t *out = malloc(len);

	must(out != NULL && native_answer_bytes(c, v) == len);
	memset(out, 0xa5, len);
	native_encode(c, v, out);
	for (unsigned i = 0; i < lines; i++)
		check_line(f, out + 128 + 96 * i, i, &v->explain->lines[i]);
	must(!at_length || out[121] == lines);
	must(out[0] == (f[0] | 0x80));
	must(out[1] == v->reason && out[2] == v->detail && out[3] == 1);
	must(memcmp(out + 8, f + 8, 8) == 0);
	if (at_length)
		check_long_reply(out, f[0] == NATIVE_SETTLE, v);
	if (id_is_none(v->org)) {
		must(zero(out + 4, 4) && zero(out + 16, 48));
	} else {
		must(le(out + 4, 4) == v->limit);
		must(le(out + 16, 4) == v->remaining);
		must(le(out + 20, 4) == v->window_ms);
		must(le(out + 24, 4) == v->reset_ms);
		must(le(out + 28, 4) == v->retry_ms);
		must(memcmp(out + 32, v->org.c, 8) == 0);
		must(memcmp(out + 40, v->project.c, 8) == 0);
		must(memcmp(out + 48, v->key.c, 8) == 0);
		must(memcmp(out + 56, v->limit_name, 8) == 0);
	}
	free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct check_extra e;
	struct verdict v;
	struct explain x;
	struct check c;
	uint8_t *frame;
	size_t len;

	if (size < 1 || size < (len = frame_bytes(data)))
		return 0;
	frame = exact_copy(data, len);
	memset(&v, 0, sizeof(v));
	size -= len;
	memcpy(&v, data + len, size < sizeof(v) ? size : sizeof(v));
	memset(&x, 0x5a, sizeof(x));
	if (size > sizeof(v))
		memcpy(&x, data + len + sizeof(v),
		       size - sizeof(v) < sizeof(x) ? size - sizeof(v)
						    : sizeof(x));
	x.count %= EXPLAIN_LINES_MAX + 1;
	v.explain = size % 2 == 0 ? &x : NULL;
	decode(frame, &c, &e);
	encode(frame, &c, &v);
	free(frame);
	return 0;
}
