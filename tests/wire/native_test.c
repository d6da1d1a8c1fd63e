/* SPDX-License-Identifier: MIT */
#include "native_frame.h"

Test(native, key_request_is_read_whole)
{
	good_key();
	frame[2] = CHECK_PEEK;
	put32(4, 0x00010203);
	cr_assert(native_decode(frame, &extra, &c));
	cr_assert_eq(c.credential, CREDENTIAL_KEY);
	cr_assert_eq(c.request_id, UINT64_C(0x1122334455667788));
	cr_assert_eq(c.cost, 0x00010203);
	cr_assert_eq(c.flags, CHECK_PEEK);
	cr_assert_eq(c.key_len, 5);
	cr_assert_eq(c.key, frame + KEY_AT);
	cr_assert_eq(c.reason, REASON_ALLOW);
	cr_assert_eq(c.detail, DETAIL_NONE);
}

Test(native, hash_request_is_read_whole)
{
	good_hash();
	cr_assert(native_decode(frame, &extra, &c));
	cr_assert_eq(c.credential, CREDENTIAL_HASH);
	cr_assert_eq(memcmp(c.hash, frame + KEY_AT, 32), 0);
	cr_assert_eq(c.cost, 1);
}

Test(native, connection_of_the_check_is_left_alone)
{
	good_key();
	c.conn_idx = 77;
	cr_assert(native_decode(frame, &extra, &c));
	cr_assert_eq(c.conn_idx, 77);
}

Test(native, any_alignment_of_the_frame_will_do)
{
	uint8_t room[NATIVE_LONG_REQUEST_BYTES + 8];

	good_hash();
	for (size_t shift = 0; shift < 8; shift++) {
		memcpy(room + shift, frame, sizeof(frame));
		cr_assert(native_decode(room + shift, &extra, &c));
		cr_assert_eq(c.hash[31], 0xa0 + 31);
	}
}

Test(native, room_for_later_rules_takes_any_value)
{
	good_key();
	memset(frame + 16, 0xff, 48);
	cr_assert(native_decode(frame, &extra, &c));
	cr_assert_eq(c.credential, CREDENTIAL_KEY);
}

Test(native, cost_is_bounded_at_both_ends)
{
	static const struct {
		uint32_t cost;
		bool good;
	} rows[] = {
		{0, false},
		{1, true},
		{2, true},
		{CHECK_COST_MAX - 1, true},
		{CHECK_COST_MAX, true},
		{CHECK_COST_MAX + 1, false},
		{INT32_MAX, false},
		{UINT32_MAX, false},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		good_key();
		put32(4, rows[i].cost);
		if (rows[i].good) {
			cr_assert(native_decode(frame, &extra, &c));
			cr_assert_eq(c.credential, CREDENTIAL_KEY);
			cr_assert_eq(c.cost, rows[i].cost);
		} else {
			expect_refused(true, REASON_BAD_REQUEST, DETAIL_COST);
		}
		good_hash();
		put32(4, rows[i].cost);
		cr_assert(native_decode(frame, &extra, &c));
		cr_assert_eq(c.credential,
			     rows[i].good ? CREDENTIAL_HASH : CREDENTIAL_NONE);
	}
}

Test(native, every_key_length_is_judged)
{
	for (unsigned int len = 0; len < 256; len++) {
		good_key();
		frame[3] = (uint8_t)len;
		memset(frame + KEY_AT, 0, NATIVE_KEY_MAX);
		memset(frame + KEY_AT, 'k', len < 64 ? len : 64);
		if (len == 0) {
			expect_refused(true, REASON_NO_CREDENTIAL, DETAIL_NONE);
		} else if (len > NATIVE_KEY_MAX) {
			expect_refused(true, REASON_BAD_REQUEST, DETAIL_FRAME);
		} else {
			cr_assert(native_decode(frame, &extra, &c));
			cr_assert_eq(c.credential, CREDENTIAL_KEY);
			cr_assert_eq(c.key_len, len);
		}
	}
}

Test(native, any_byte_after_the_key_is_a_fault)
{
	for (uint8_t len = 0; len < NATIVE_KEY_MAX; len++) {
		for (size_t at = len; at < NATIVE_KEY_MAX; at++) {
			good_key();
			frame[3] = len;
			memset(frame + KEY_AT, 0, NATIVE_KEY_MAX);
			memset(frame + KEY_AT, 'k', len);
			frame[KEY_AT + at] = 0x80;
			expect_refused(true, REASON_BAD_REQUEST, DETAIL_FRAME);
		}
	}
}

Test(native, any_byte_after_the_hash_is_a_fault)
{
	for (size_t at = 32; at < 64; at++) {
		good_hash();
		frame[KEY_AT + at] = 1;
		expect_refused(true, REASON_BAD_REQUEST, DETAIL_FRAME);
	}
}

Test(native, hash_request_has_no_key_length)
{
	for (unsigned int len = 1; len < 256; len++) {
		good_hash();
		frame[3] = (uint8_t)len;
		expect_refused(true, REASON_BAD_REQUEST, DETAIL_FRAME);
	}
}

Test(native, every_unknown_flag_is_a_fault)
{
	for (unsigned int flags = 0; flags < 256; flags++) {
		good_key();
		frame[2] = (uint8_t)flags;
		if ((flags & ~CHECK_PEEK) != 0) {
			expect_refused(true, REASON_BAD_REQUEST, DETAIL_FRAME);
		} else {
			cr_assert(native_decode(frame, &extra, &c));
			cr_assert_eq(c.flags, flags);
		}
	}
}

Test(native, every_unknown_type_is_answered_and_ends_the_stream)
{
	for (unsigned int type = 0; type < 256; type++) {
		if (type >= NATIVE_CHECK_KEY && type <= NATIVE_SETTLE)
			continue;
		good_key();
		frame[0] = (uint8_t)type;
		expect_refused(false, REASON_BAD_REQUEST, DETAIL_FRAME);
	}
}

Test(native, every_unknown_version_is_answered_and_ends_the_stream)
{
	for (unsigned int version = 0; version < 256; version++) {
		if (version == NATIVE_VERSION)
			continue;
		good_key();
		frame[1] = (uint8_t)version;
		expect_refused(false, REASON_BAD_REQUEST, DETAIL_VERSION);
	}
}

Test(native, a_bad_request_is_told_before_a_missing_key)
{
	good_key();
	frame[3] = 0;
	memset(frame + KEY_AT, 0, 64);
	put32(4, 0);
	expect_refused(true, REASON_BAD_REQUEST, DETAIL_COST);
}

Test(native, version_is_told_before_anything_that_depends_on_it)
{
	good_key();
	frame[0] = 99;
	frame[1] = 2;
	frame[2] = 0xff;
	expect_refused(false, REASON_BAD_REQUEST, DETAIL_VERSION);
}

/* ---- replies ---- */

static const struct verdict full = {
	.reason = REASON_RATE_LIMITED,
	.detail = DETAIL_NONE,
	.limit = 0x01020304,
	.remaining = 0x11121314,
	.window_ms = 0x21222324,
	.reset_ms = 0x31323334,
	.retry_ms = 0x41424344,
	.org = {"orgORG12"},
	.project = {"prjPRJ34"},
	.key = {"keyKEY56"},
	.limit_name = "org",
};

Test(native, reply_has_every_field_in_its_place)
{
	static const uint8_t want[NATIVE_REPLY_BYTES] = {
		0x81, 5,    0,    1,    0x04, 0x03, 0x02, 0x01, /* limit */
		0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11, /* id */
		0x14, 0x13, 0x12, 0x11, 0x24, 0x23, 0x22, 0x21, /* window */
		0x34, 0x33, 0x32, 0x31, 0x44, 0x43, 0x42, 0x41, /* retry */
		'o',  'r',  'g',  'O',  'R',  'G',  '1',  '2',  'p',
		'r',  'j',  'P',  'R',  'J',  '3',  '4',  'k',  'e',
		'y',  'K',  'E',  'Y',  '5',  '6',  'o',  'r',  'g',
	};
	uint8_t out[NATIVE_REPLY_BYTES];

	good_key();
	cr_assert(native_decode(frame, &extra, &c));
	memset(out, 0xee, sizeof(out));
	native_encode(&c, &full, out);
	cr_assert_eq(memcmp(out, want, sizeof(out)), 0);
}

Test(native, reply_names_the_type_of_its_request)
{
	uint8_t out[NATIVE_LONG_REPLY_BYTES + 1];

	for (unsigned int type = 0; type < 256; type++) {
		const uint32_t len = native_reply_bytes((uint8_t)type);

		cr_assert_eq(len, type >= 3 && type <= 5 ? 128 : 64);
		good_hash();
		frame[0] = (uint8_t)type;
		native_decode(frame, &extra, &c);
		memset(out, 0xee, sizeof(out));
		native_encode(&c, &full, out);
		cr_assert_eq(out[0], type | 0x80);
		cr_assert_eq(out[3], NATIVE_VERSION);
		cr_assert_neq(out[len - 1], 0xee);
		cr_assert_eq(out[len], 0xee);
	}
}

Test(native, reply_without_an_organization_tells_no_numbers)
{
	static const uint8_t zero[NATIVE_REPLY_BYTES];
	uint8_t out[NATIVE_REPLY_BYTES];
	struct verdict v = full;

	memset(&v.org, 0, sizeof(v.org));
	v.reason = REASON_INVALID_KEY;
	good_key();
	cr_assert(native_decode(frame, &extra, &c));
	memset(out, 0xee, sizeof(out));
	native_encode(&c, &v, out);
	cr_assert_eq(out[1], REASON_INVALID_KEY);
	cr_assert_eq(memcmp(out + 4, zero, 4), 0);
	cr_assert_eq(out[8], 0x88);
	cr_assert_eq(memcmp(out + 16, zero, 48), 0);
}
