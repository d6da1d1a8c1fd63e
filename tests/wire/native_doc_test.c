/* SPDX-License-Identifier: MIT */
#include "native_frame.h"

#include "base/sha256.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- the examples of docs/protocol.md ---- */

/* Reads the block that begins with "```hex NAME": lines of an offset, then
 * bytes in hex. Returns how many bytes it holds. */
static size_t doc_example(const char *name, uint8_t *out, size_t out_len)
{
	FILE *f = fopen(PROTOCOL_MD, "r");
	char line[256];
	char head[64];
	bool inside = false;
	size_t n = 0;

	cr_assert_not_null(f, "cannot open " PROTOCOL_MD);
	snprintf(head, sizeof(head), "```hex %s\n", name);
	while (fgets(line, sizeof(line), f)) {
		char *at = line;
		char *end;

		if (!inside) {
			inside = strcmp(line, head) == 0;
			continue;
		}
		if (strncmp(line, "```", 3) == 0)
			break;
		cr_assert_eq(strtoul(at, &at, 16), n, "offset in %s", name);
		for (;; at = end) {
			unsigned long byte = strtoul(at, &end, 16);

			if (end == at)
				break;
			cr_assert_lt(n, out_len);
			out[n++] = (uint8_t)byte;
		}
	}
	fclose(f);
	return n;
}

static size_t example(const char *name)
{
	memset(frame, 0xee, sizeof(frame));
	memset(&c, 0xee, sizeof(c));
	memset(&extra, 0xee, sizeof(extra));
	return doc_example(name, frame, sizeof(frame));
}

#define DOC_KEY "il_Ab3dE6gH_0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZa4TzOvW"

Test(native_doc, example_of_a_raw_key_is_what_the_codec_reads)
{
	cr_assert_eq(example("request-key"), 128);
	cr_assert(native_decode(frame, &extra, &c));
	cr_assert_eq(c.credential, CREDENTIAL_KEY);
	cr_assert_eq(c.request_id, 1);
	cr_assert_eq(c.cost, 1);
	cr_assert_eq(c.flags, 0);
	cr_assert_eq(c.key_len, sizeof(DOC_KEY) - 1);
	cr_assert_eq(memcmp(c.key, DOC_KEY, sizeof(DOC_KEY) - 1), 0);
}

Test(native_doc, example_of_a_hash_is_what_the_codec_reads)
{
	uint8_t want[SHA256_BYTES];

	sha256(DOC_KEY, sizeof(DOC_KEY) - 1, want);
	cr_assert_eq(example("request-hash"), 128);
	cr_assert(native_decode(frame, &extra, &c));
	cr_assert_eq(c.credential, CREDENTIAL_HASH);
	cr_assert_eq(c.request_id, 2);
	cr_assert_eq(c.cost, 25);
	cr_assert_eq(c.flags, CHECK_PEEK);
	cr_assert_eq(memcmp(c.hash, want, sizeof(want)), 0);
}

static void expect_reply(const char *name, const struct check *check,
			 const struct verdict *v)
{
	const size_t len = native_answer_bytes(check, v);
	uint8_t want[NATIVE_ANSWER_MAX];
	uint8_t out[NATIVE_ANSWER_MAX];

	cr_assert_eq(doc_example(name, want, sizeof(want)), len);
	native_encode(check, v, out);
	cr_assert_eq(memcmp(out, want, len), 0, "%s differs", name);
}

Test(native_doc, examples_of_replies_are_what_the_codec_writes)
{
	struct check key = {.request_id = 1, .dialect = NATIVE_CHECK_KEY};
	struct check hash = {.request_id = 2, .dialect = NATIVE_CHECK_HASH};
	struct verdict v = {
		.reason = REASON_ALLOW,
		.limit = 100,
		.remaining = 99,
		.window_ms = 60000,
		.reset_ms = 60000,
		.retry_ms = 60000,
		.org = {"Qx7Lm2Rt"},
		.project = {"pJ4cVb9K"},
		.key = {"Ab3dE6gH"},
		.limit_name = "org",
	};

	expect_reply("reply-allow", &key, &v);
	v.reason = REASON_RATE_LIMITED;
	v.remaining = 7;
	v.reset_ms = 58211;
	v.retry_ms = 11412;
	expect_reply("reply-rate-limited", &hash, &v);
	v = (struct verdict){.reason = REASON_INVALID_KEY};
	expect_reply("reply-invalid-key", &key, &v);
	v = (struct verdict){.reason = REASON_BAD_REQUEST,
			     .detail = DETAIL_COST};
	expect_reply("reply-bad-cost", &key, &v);
}

Test(native_doc, example_of_a_reservation_is_what_the_codec_reads)
{
	static const uint8_t address[16] = {
		[10] = 0xff, [11] = 0xff, [12] = 192, [14] = 2, [15] = 1};

	cr_assert_eq(example("request-long"), 384);
	cr_assert(native_decode(frame, &extra, &c));
	cr_assert_eq(c.credential, CREDENTIAL_KEY);
	cr_assert_eq(c.request_id, 3);
	cr_assert_eq(c.cost, 20);
	cr_assert_eq(c.flags, CHECK_RESERVE);
	cr_assert_eq(memcmp(c.key, DOC_KEY, sizeof(DOC_KEY) - 1), 0);
	cr_assert_eq(memcmp(&extra.once, "0123456789abcdef", 16), 0);
	cr_assert(extra.has_address);
	cr_assert_eq(memcmp(extra.address, address, 16), 0);
	cr_assert_eq(extra.hold_ms, 300000);
	cr_assert_str_eq(extra.route, "convert");
	cr_assert_str_eq(extra.scope, "files:write");
}

Test(native_doc, example_of_a_settlement_is_what_the_codec_reads)
{
	cr_assert_eq(example("request-settle"), 128);
	cr_assert(native_decode(frame, &extra, &c));
	cr_assert_eq(c.credential, CREDENTIAL_HOLD);
	cr_assert_eq(c.request_id, 4);
	cr_assert_eq(c.cost, 12);
	cr_assert_eq(extra.hold, UINT64_C(0x00000a0000000001));
}

Test(native_doc, examples_of_long_replies_are_what_the_codec_writes)
{
	struct check key = {.request_id = 3, .dialect = NATIVE_LONG_KEY};
	struct check settle = {.request_id = 4, .dialect = NATIVE_SETTLE};
	struct verdict v = {
		.reason = REASON_ALLOW,
		.limit = 100,
		.remaining = 80,
		.window_ms = 60000,
		.reset_ms = 60000,
		.retry_ms = 60000,
		.org = {"Qx7Lm2Rt"},
		.project = {"pJ4cVb9K"},
		.key = {"Ab3dE6gH"},
		.limit_name = "org",
		.charged = 20,
		.hold = UINT64_C(0x00000a0000000001),
		.hold_ms = 300000,
		.credits = 980,
		.budget = CREDITS_NONE,
	};

	expect_reply("reply-long", &key, &v);
	v = (struct verdict){.reason = REASON_ALLOW,
			     .org = {"Qx7Lm2Rt"},
			     .project = {"pJ4cVb9K"},
			     .key = {"Ab3dE6gH"},
			     .charged = 12,
			     .credits = 988,
			     .budget = CREDITS_NONE};
	expect_reply("reply-settle", &settle, &v);
}

Test(native_doc, example_of_an_explanation_is_what_the_codec_writes)
{
	static const struct explain explain = {
		.count = 2,
		.lines = {{.name = "org",
			   .algorithm = 1,
			   .limit = 100,
			   .remaining = 7,
			   .window_ms = 60000,
			   .reset_ms = 58211,
			   .retry_ms = 11412,
			   .flags = EXPLAIN_DECIDED},
			  {.name = "credits",
			   .algorithm = EXPLAIN_CREDITS,
			   .allowed = 1,
			   .limit = 1000,
			   .remaining = 980}},
	};
	struct check key = {.request_id = 5,
			    .dialect = NATIVE_LONG_KEY,
			    .flags = CHECK_EXPLAIN};
	struct verdict v = {
		.reason = REASON_RATE_LIMITED,
		.limit = 100,
		.remaining = 7,
		.window_ms = 60000,
		.reset_ms = 58211,
		.retry_ms = 11412,
		.org = {"Qx7Lm2Rt"},
		.key = {"Ab3dE6gH"},
		.limit_name = "org",
		.credits = 980,
		.budget = CREDITS_NONE,
		.explain = &explain,
	};

	expect_reply("reply-explained", &key, &v);
}
