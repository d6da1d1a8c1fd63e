/* SPDX-License-Identifier: MIT */
/* Long requests, settlements, and the replies to both. */
#include "native_frame.h"

#include "base/label.h"

static const struct verdict reserved = {
	.reason = REASON_ALLOW,
	.limit = 1,
	.org = {"orgORG12"},
	.limit_name = "abcdefghijklmnopqrstuvwx",
	.flags = 0xff,
	.charged = 0x51525354,
	.hold = UINT64_C(0x6162636465666768),
	.hold_ms = 0x71727374,
	.credits = UINT64_C(0x8182838485868788),
	.budget = UINT64_C(0x9192939495969798),
};

Test(native_long, reply_has_every_field_in_its_place)
{
	static const uint8_t want[] = {
		0x68, 0x67, 0x66, 0x65, 0x64, 0x63, 0x62, 0x61, /* hold */
		0x74, 0x73, 0x72, 0x71, 0x54, 0x53, 0x52, 0x51, /* charged */
		0x88, 0x87, 0x86, 0x85, 0x84, 0x83, 0x82, 0x81, /* credits */
		0x98, 0x97, 0x96, 0x95, 0x94, 0x93, 0x92, 0x91, /* budget */
		0x01, 0,    0,    0,    0,    0,    0,    0,    /* flags */
	};
	uint8_t out[NATIVE_LONG_REPLY_BYTES], less[NATIVE_REPLY_BYTES];
	struct verdict v = reserved;

	good_hash();
	native_decode(frame, &extra, &c);
	native_encode(&c, &v, less);
	c.dialect = NATIVE_LONG_HASH;
	memset(out, 0xee, sizeof(out));
	native_encode(&c, &v, out);
	cr_assert_eq(out[0], 0x84);
	cr_assert_eq(memcmp(out + 1, less + 1, sizeof(less) - 1), 0);
	cr_assert_eq(memcmp(out + 64, "abcdefghijklmnopqrstuvwx", 24), 0);
	cr_assert_eq(memcmp(out + 88, want, sizeof(want)), 0);
	v.hold_ms = UINT64_C(0x100000000);
	native_encode(&c, &v, out);
	cr_assert_eq(memcmp(out + 96, "\xff\xff\xff\xff", 4), 0,
		     "it expires later than can be told");
}

Test(native_long, a_denial_without_an_organization_tells_nothing)
{
	static const uint8_t zero[64];
	uint8_t out[NATIVE_LONG_REPLY_BYTES];
	struct verdict v = reserved;

	memset(&v.org, 0, sizeof(v.org));
	v.reason = REASON_INVALID_KEY;
	c.dialect = NATIVE_LONG_KEY;
	memset(out, 0xee, sizeof(out));
	native_encode(&c, &v, out);
	cr_assert_eq(memcmp(out + 64, zero, 64), 0);
	/* a settlement that worked does */
	c.dialect = NATIVE_SETTLE;
	v.reason = REASON_ALLOW;
	native_encode(&c, &v, out);
	cr_assert_eq(out[100], 0x54);
	cr_assert_eq(memcmp(out + 88, zero, 8), 0, "nothing is held any more");
}

/* ---- long requests ---- */

#define ONCE_AT 128
#define ADDRESS_AT 144
#define HOLD_MS_AT 160
#define ROUTE_LEN_AT 164
#define SCOPE_LEN_AT 165
#define ROUTE_AT 192
#define SCOPE_AT 256

static void good_long(void)
{
	good_key();
	frame[0] = NATIVE_LONG_KEY;
}

Test(native_long, request_is_as_long_as_its_type_says)
{
	for (unsigned int type = 0; type < 256; type++)
		cr_assert_eq(native_request_bytes((uint8_t)type),
			     type == 3 || type == 4 ? 384 : 128);
}

Test(native_long, request_is_read_whole)
{
	good_long();
	frame[2] = CHECK_PEEK | CHECK_RESERVE;
	put64(ONCE_AT, UINT64_C(0x0102030405060708));
	put64(ONCE_AT + 8, UINT64_C(0x1112131415161718));
	memset(frame + ADDRESS_AT, 7, 16);
	put32(HOLD_MS_AT, 0x21222324);
	frame[ROUTE_LEN_AT] = 5;
	memcpy(frame + ROUTE_AT, "files", 5);
	frame[SCOPE_LEN_AT] = 63;
	memset(frame + SCOPE_AT, 's', 63);
	cr_assert(native_decode(frame, &extra, &c));
	cr_assert_eq(c.credential, CREDENTIAL_KEY);
	cr_assert_eq(c.key, frame + KEY_AT);
	cr_assert_eq(c.key_len, 5);
	cr_assert_eq(c.cost, 1);
	cr_assert_eq(c.flags, CHECK_PEEK | CHECK_RESERVE);
	cr_assert_eq(c.extra, &extra);
	cr_assert_eq(extra.once[0], UINT64_C(0x0102030405060708));
	cr_assert_eq(extra.once[1], UINT64_C(0x1112131415161718));
	cr_assert(extra.has_address);
	cr_assert_eq(extra.address[0], 7);
	cr_assert_eq(extra.address[15], 7);
	cr_assert_eq(extra.hold, 0);
	cr_assert_eq(extra.hold_ms, 0x21222324);
	cr_assert_str_eq(extra.route, "files");
	cr_assert_eq(extra.route_hash, label_hash("files", 5));
	cr_assert_eq(extra.scope_len, 63);
	cr_assert_eq(extra.scope[62], 's');
	cr_assert_eq(extra.scope[63], '\0');
}

Test(native_long, zeros_say_nothing)
{
	static const struct check_extra nothing;

	good_hash();
	frame[0] = NATIVE_LONG_HASH;
	put32(4, 0);
	cr_assert(native_decode(frame, &extra, &c));
	cr_assert_eq(c.credential, CREDENTIAL_HASH);
	cr_assert_eq(c.hash[0], 0xa0);
	cr_assert_eq(c.cost, 0, "what the route costs");
	cr_assert_eq(memcmp(&extra, &nothing, sizeof(extra)), 0);
}

Test(native_long, a_short_request_has_no_extra_part)
{
	good_key();
	memset(frame + 128, 0xff, 256);
	cr_assert(native_decode(frame, &extra, &c));
	cr_assert_null(c.extra);
}

Test(native_long, every_byte_of_room_has_to_be_zero)
{
	for (size_t at = 16; at < 384; at++) {
		const bool room =
			at < KEY_AT || (at >= 166 && at < 192) || at >= 320;

		if (!room)
			continue;
		good_long();
		frame[at] = 1;
		expect_refused(true, REASON_BAD_REQUEST, DETAIL_FRAME);
	}
}

Test(native_long, a_label_is_as_long_as_it_says)
{
	static const size_t len_at[] = {ROUTE_LEN_AT, SCOPE_LEN_AT};
	static const size_t text_at[] = {ROUTE_AT, SCOPE_AT};

	for (size_t i = 0; i < 2; i++) {
		for (unsigned int len = 0; len < 256; len++) {
			good_long();
			frame[len_at[i]] = (uint8_t)len;
			memset(frame + text_at[i], 'l', len < 64 ? len : 64);
			if (len > LABEL_MAX) {
				expect_refused(true, REASON_BAD_REQUEST,
					       DETAIL_ROUTE);
				continue;
			}
			cr_assert(native_decode(frame, &extra, &c));
			frame[text_at[i] + len] = 'l';
			expect_refused(true, REASON_BAD_REQUEST, DETAIL_FRAME);
			frame[text_at[i] + len] = 0;
			if (len == 0)
				continue;
			frame[text_at[i] + len - 1] = 0;
			expect_refused(true, REASON_BAD_REQUEST, DETAIL_ROUTE);
		}
	}
}

Test(native_long, cost_and_time_to_hold_are_bounded)
{
	good_long();
	put32(4, CHECK_COST_MAX);
	put32(HOLD_MS_AT, CHECK_HOLD_MS_MAX);
	cr_assert(native_decode(frame, &extra, &c));
	cr_assert_eq(c.credential, CREDENTIAL_KEY);
	put32(4, CHECK_COST_MAX + 1);
	expect_refused(true, REASON_BAD_REQUEST, DETAIL_COST);
	put32(HOLD_MS_AT, CHECK_HOLD_MS_MAX + 1);
	expect_refused(true, REASON_BAD_REQUEST, DETAIL_HOLD);
}

Test(native_long, every_unknown_flag_is_a_fault)
{
	for (unsigned int flags = 0; flags < 256; flags++) {
		good_long();
		frame[2] = (uint8_t)flags;
		if (flags > (CHECK_PEEK | CHECK_RESERVE | CHECK_EXPLAIN)) {
			expect_refused(true, REASON_BAD_REQUEST, DETAIL_FRAME);
		} else {
			cr_assert(native_decode(frame, &extra, &c));
			cr_assert_eq(c.flags, flags);
		}
	}
}

Test(native_long, a_key_is_needed_all_the_same)
{
	good_long();
	frame[3] = 0;
	memset(frame + KEY_AT, 0, 64);
	expect_refused(true, REASON_NO_CREDENTIAL, DETAIL_NONE);
}

/* ---- settling ---- */

static void good_settle(void)
{
	good_key();
	frame[0] = NATIVE_SETTLE;
	frame[3] = 0;
	memset(frame + KEY_AT, 0, 64);
	put64(16, UINT64_C(0x0102030405060708));
}

Test(native_settle, takes_a_hold_and_what_it_has_cost)
{
	static const uint32_t costs[] = {0, 1, CHECK_COST_MAX,
					 SETTLE_AS_RESERVED};

	for (size_t i = 0; i < sizeof(costs) / sizeof(costs[0]); i++) {
		good_settle();
		put32(4, costs[i]);
		cr_assert(native_decode(frame, &extra, &c));
		cr_assert_eq(c.credential, CREDENTIAL_HOLD);
		cr_assert_eq(c.reason, REASON_ALLOW);
		cr_assert_eq(c.cost, costs[i]);
		cr_assert_eq(c.flags, 0);
		cr_assert_eq(c.extra, &extra);
		cr_assert_eq(extra.hold, UINT64_C(0x0102030405060708));
		cr_assert_eq(extra.route_hash, 0);
	}
}

Test(native_settle, refuses_what_is_malformed)
{
	static const uint32_t costs[] = {CHECK_COST_MAX + 1, INT32_MAX,
					 SETTLE_AS_RESERVED - 1};

	for (size_t i = 0; i < sizeof(costs) / sizeof(costs[0]); i++) {
		good_settle();
		put32(4, costs[i]);
		expect_refused(true, REASON_BAD_REQUEST, DETAIL_COST);
	}
	good_settle();
	put64(16, 0);
	expect_refused(true, REASON_BAD_REQUEST, DETAIL_HOLD);
	for (size_t at = 2; at < 4; at++) {
		good_settle();
		frame[at] = 1;
		expect_refused(true, REASON_BAD_REQUEST, DETAIL_FRAME);
	}
	for (size_t at = 24; at < 128; at++) {
		good_settle();
		frame[at] = 1;
		expect_refused(true, REASON_BAD_REQUEST, DETAIL_FRAME);
	}
}

/* ---- explanations ---- */

static const struct explain explained = {
	.count = 2,
	.lines = {{.name = "org",
		   .level = 0,
		   .algorithm = 1,
		   .allowed = 7,
		   .limit = UINT64_C(0x2122232425262728),
		   .remaining = UINT64_C(0x3132333435363738),
		   .window_ms = UINT64_C(0x4142434445464748),
		   .reset_ms = UINT64_C(0x5152535455565758),
		   .retry_ms = UINT64_C(0x6162636465666768)},
		  {.name = "abcdefghijklmnopqrstuvwx",
		   .level = 4,
		   .algorithm = 5,
		   .flags = 0xff}},
};

Test(native_long, lines_follow_the_reply_that_is_to_be_explained)
{
	static const uint8_t want[] = {
		0xc0, 0,    0,    1,    1,    4,    0,    0,    /* head */
		0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11, /* request id */
		0x28, 0x27, 0x26, 0x25, 0x24, 0x23, 0x22, 0x21, /* limit */
		0x38, 0x37, 0x36, 0x35, 0x34, 0x33, 0x32, 0x31, /* remaining */
		0x48, 0x47, 0x46, 0x45, 0x44, 0x43, 0x42, 0x41, /* window */
		0x58, 0x57, 0x56, 0x55, 0x54, 0x53, 0x52, 0x51, /* reset */
		0x68, 0x67, 0x66, 0x65, 0x64, 0x63, 0x62, 0x61, /* retry */
		'o',  'r',  'g',
	};
	static const uint8_t second[] = {0xc0, 1, 4, 1, 5, 3, 0, 0};
	static const uint8_t zero[NATIVE_LINE_BYTES];
	uint8_t less[NATIVE_LONG_REPLY_BYTES], out[NATIVE_ANSWER_MAX + 1];
	struct verdict v = reserved;

	good_long();
	cr_assert(native_decode(frame, &extra, &c));
	v.explain = &explained;
	native_encode(&c, &v, less);
	cr_assert_eq(less[121], 0, "nobody asked");
	cr_assert_eq(native_answer_bytes(&c, &v), 128);
	frame[2] = CHECK_EXPLAIN;
	cr_assert(native_decode(frame, &extra, &c));
	cr_assert_eq(native_answer_bytes(&c, &v), 128 + 2 * 96);
	memset(out, 0xee, sizeof(out));
	native_encode(&c, &v, out);
	less[121] = 2;
	cr_assert_eq(memcmp(out, less, sizeof(less)), 0);
	cr_assert_eq(memcmp(out + 128, want, sizeof(want)), 0);
	cr_assert_eq(memcmp(out + 128 + 59, zero, 96 - 59), 0);
	cr_assert_eq(memcmp(out + 224, second, sizeof(second)), 0);
	cr_assert_eq(memcmp(out + 224 + 56, "abcdefghijklmnopqrstuvwx", 24), 0);
	cr_assert_eq(memcmp(out + 224 + 80, zero, 16), 0);
	cr_assert_eq(out[320], 0xee);
	v.explain = NULL;
	cr_assert_eq(native_answer_bytes(&c, &v), 128);
	native_encode(&c, &v, out);
	cr_assert_eq(out[121], 0, "the key is not known");
}

Test(native_long, longest_explanation_has_room)
{
	static struct explain full = {.count = EXPLAIN_LINES_MAX};
	static uint8_t out[NATIVE_ANSWER_MAX + 1];
	struct verdict v = reserved;

	good_long();
	frame[2] = CHECK_EXPLAIN;
	cr_assert(native_decode(frame, &extra, &c));
	v.explain = &full;
	cr_assert_eq(native_answer_bytes(&c, &v), NATIVE_ANSWER_MAX);
	out[NATIVE_ANSWER_MAX] = 0xee;
	native_encode(&c, &v, out);
	cr_assert_eq(out[NATIVE_ANSWER_MAX], 0xee);
	cr_assert_eq(out[NATIVE_ANSWER_MAX - 95], EXPLAIN_LINES_MAX - 1);
}

Test(native_long, what_is_refused_is_not_explained)
{
	struct verdict v = reserved;

	v.explain = &explained;
	good_long();
	frame[2] = CHECK_EXPLAIN;
	frame[16] = 1;
	expect_refused(true, REASON_BAD_REQUEST, DETAIL_FRAME);
	cr_assert_eq(native_answer_bytes(&c, &v), 128);
	good_key();
	frame[2] = CHECK_EXPLAIN;
	expect_refused(true, REASON_BAD_REQUEST, DETAIL_FRAME);
	cr_assert_eq(native_answer_bytes(&c, &v), 64);
}
