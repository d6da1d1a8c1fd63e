/* SPDX-License-Identifier: MIT */
/*
 * wire/native: any 128 bytes give a check that can be answered, by the rules
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

/* The answer that wire has to give by itself; REASON_ALLOW: none. */
static void expected(const uint8_t *f, uint8_t *reason, uint8_t *detail,
		     bool *goes_on)
{
	uint32_t cost = (uint32_t)le(f + 4, 4);
	size_t used = f[0] == 2 ? 32 : f[3];

	*reason = REASON_BAD_REQUEST;
	*detail = DETAIL_FRAME;
	*goes_on = f[1] == 1 && (f[0] == 1 || f[0] == 2);
	if (f[1] != 1) {
		*detail = DETAIL_VERSION;
	} else if (!*goes_on || f[2] > 1 || used > 64 ||
		   (f[0] == 2 && f[3] != 0) ||
		   !zero(f + 64 + used, 64 - used)) {
		return;
	} else if (cost == 0 || cost > 1000000) {
		*detail = DETAIL_COST;
	} else {
		*detail = DETAIL_NONE;
		*reason = used == 0 ? REASON_NO_CREDENTIAL : REASON_ALLOW;
	}
}

static void decode(const uint8_t *f, struct check *c)
{
	uint8_t reason, detail;
	bool goes_on;

	memset(c, 0xa5, sizeof(*c));
	expected(f, &reason, &detail, &goes_on);
	must(native_decode(f, c) == goes_on);
	must(c->request_id == le(f + 8, 8));
	must(c->reason == reason && c->detail == detail);
	if (reason != REASON_ALLOW) {
		must(c->credential == CREDENTIAL_NONE);
		return;
	}
	must(c->cost == le(f + 4, 4) && c->flags == f[2]);
	if (f[0] == NATIVE_CHECK_HASH) {
		must(c->credential == CREDENTIAL_HASH);
		must(memcmp(c->hash, f + 64, 32) == 0);
	} else {
		must(c->credential == CREDENTIAL_KEY);
		must(c->key == f + 64 && c->key_len == f[3]);
	}
}

static void encode(const uint8_t *f, const struct check *c,
		   const struct verdict *v)
{
	uint8_t out[NATIVE_REPLY_BYTES];

	memset(out, 0xa5, sizeof(out));
	native_encode(c, v, out);
	must(out[0] == (f[0] | 0x80));
	must(out[1] == v->reason && out[2] == v->detail && out[3] == 1);
	must(memcmp(out + 8, f + 8, 8) == 0);
	if (id_is_none(v->org)) {
		must(zero(out + 4, 4) && zero(out + 16, 48));
		return;
	}
	must(le(out + 4, 4) == v->limit && le(out + 16, 4) == v->remaining);
	must(le(out + 20, 4) == v->window_ms && le(out + 24, 4) == v->reset_ms);
	must(le(out + 28, 4) == v->retry_ms);
	must(memcmp(out + 32, v->org.c, 8) == 0);
	must(memcmp(out + 40, v->project.c, 8) == 0);
	must(memcmp(out + 48, v->key.c, 8) == 0);
	must(memcmp(out + 56, v->limit_name, 8) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct verdict v;
	struct check c;
	uint8_t *frame;

	if (size < NATIVE_REQUEST_BYTES)
		return 0;
	frame = exact_copy(data, NATIVE_REQUEST_BYTES);
	memset(&v, 0, sizeof(v));
	size -= NATIVE_REQUEST_BYTES;
	memcpy(&v, data + NATIVE_REQUEST_BYTES,
	       size < sizeof(v) ? size : sizeof(v));
	decode(frame, &c);
	encode(frame, &c, &v);
	free(frame);
	return 0;
}
