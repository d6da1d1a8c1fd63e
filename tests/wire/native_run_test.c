/* SPDX-License-Identifier: MIT */
#include "native_frame.h"

/* Frames one behind the other give what each would give by itself. */

#define CONN 7
#define FRAMES_MAX 8

static uint8_t stream[FRAMES_MAX * NATIVE_LONG_REQUEST_BYTES];
static uint32_t stream_len;
static struct check checks[FRAMES_MAX];
static struct check_extra extras[FRAMES_MAX];

static void begin(void)
{
	stream_len = 0;
	memset(checks, 0xee, sizeof(checks));
	memset(extras, 0xee, sizeof(extras));
}

static void add(uint8_t type, uint64_t id)
{
	if (type == NATIVE_CHECK_HASH || type == NATIVE_LONG_HASH)
		good_hash();
	else
		good_key();
	frame[0] = type;
	if (type == NATIVE_SETTLE) {
		memset(frame + 16, 0, NATIVE_REQUEST_BYTES - 16);
		frame[3] = 0;
		frame[16] = 1; /* the hold */
	}
	put64(8, id);
	memcpy(stream + stream_len, frame, native_request_bytes(type));
	stream_len += native_request_bytes(type);
}

static struct native_run decode_run(uint32_t len, uint32_t max)
{
	return native_decode_run(stream, len, CONN, max, extras, checks);
}

Test(native_run, checks_are_those_of_the_frames_one_by_one)
{
	struct native_run run;
	uint32_t at = 0;

	begin();
	for (uint8_t type = NATIVE_CHECK_KEY; type <= NATIVE_SETTLE; type++)
		add(type, 100u + type);
	run = decode_run(stream_len, FRAMES_MAX);
	cr_assert_eq(run.count, NATIVE_SETTLE);
	cr_assert_eq(run.bytes, stream_len);
	cr_assert(!run.broken);
	for (uint32_t i = 0; i < run.count; i++) {
		memset(&c, 0xee, sizeof(c));
		c.conn_idx = CONN;
		cr_assert(native_decode(stream + at, &extra, &c));
		cr_assert_neq(c.credential, CREDENTIAL_NONE);
		cr_assert_eq(checks[i].dialect, i + 1);
		cr_assert_eq(checks[i].request_id, 101 + i);
		if (c.extra != NULL) {
			cr_assert_eq(checks[i].extra, &extras[i]);
			cr_assert_eq(memcmp(&extras[i], &extra, sizeof(extra)),
				     0);
			c.extra = &extras[i];
		}
		cr_assert_eq(memcmp(&checks[i], &c, sizeof(c)), 0);
		at += native_request_bytes(stream[at]);
	}
}

Test(native_run, frame_that_is_not_whole_is_left)
{
	for (uint8_t type = NATIVE_CHECK_KEY; type <= NATIVE_SETTLE; type++) {
		const uint32_t whole = native_request_bytes(type);

		begin();
		add(NATIVE_CHECK_HASH, 1);
		add(type, 2);
		for (uint32_t len = 0; len <= stream_len; len++) {
			struct native_run run = decode_run(len, FRAMES_MAX);
			uint32_t want =
				(uint32_t)(len >= NATIVE_REQUEST_BYTES) +
				(uint32_t)(len == stream_len);

			cr_assert_eq(run.count, want);
			cr_assert_eq(run.bytes, want == 2   ? stream_len
						: want == 1 ? stream_len - whole
							    : 0);
		}
	}
}

Test(native_run, no_more_checks_than_are_wanted)
{
	begin();
	for (uint32_t i = 0; i < FRAMES_MAX; i++)
		add(i % 2 ? NATIVE_CHECK_HASH : NATIVE_CHECK_KEY, i);
	for (uint32_t max = 0; max < FRAMES_MAX; max++) {
		struct native_run run;

		memset(checks, 0xee, sizeof(checks));
		run = decode_run(stream_len, max);
		cr_assert_eq(run.count, max);
		cr_assert_eq(run.bytes, max * NATIVE_REQUEST_BYTES);
		cr_assert_eq(checks[max].conn_idx, 0xeeeeeeee);
	}
}

Test(native_run, nothing_is_read_behind_a_broken_frame)
{
	for (uint32_t bad = 0; bad < 3; bad++) {
		struct native_run run;

		begin();
		for (uint32_t i = 0; i < 3; i++)
			add(NATIVE_CHECK_HASH, i);
		stream[bad * NATIVE_REQUEST_BYTES + 1] = NATIVE_VERSION + 1;
		run = decode_run(stream_len, FRAMES_MAX);
		cr_assert(run.broken && run.secret);
		cr_assert_eq(run.count, bad + 1);
		cr_assert_eq(run.bytes, (bad + 1) * NATIVE_REQUEST_BYTES);
		cr_assert_eq(checks[bad].detail, DETAIL_VERSION);
		cr_assert_eq(checks[bad].conn_idx, CONN);
	}
}

Test(native_run, fault_of_a_frame_that_can_be_read_does_not_end_it)
{
	struct native_run run;

	begin();
	add(NATIVE_CHECK_HASH, 1);
	add(NATIVE_CHECK_HASH, 2);
	add(NATIVE_CHECK_HASH, 3);
	stream[127] = 1;
	stream[NATIVE_REQUEST_BYTES + 2] = 0x80; /* no such flag */
	run = decode_run(stream_len, FRAMES_MAX);
	cr_assert_eq(run.count, 3);
	cr_assert(!run.broken);
	cr_assert_eq(checks[0].detail, DETAIL_FRAME);
	cr_assert_eq(checks[1].detail, DETAIL_FRAME);
	cr_assert_eq(checks[2].credential, CREDENTIAL_HASH);
}

Test(native_run, any_frame_that_may_hold_a_key_makes_it_secret)
{
	for (unsigned int type = 0; type < 256; type++) {
		const bool without = type == NATIVE_CHECK_HASH ||
				     type == NATIVE_LONG_HASH ||
				     type == NATIVE_SETTLE;

		begin();
		add(NATIVE_CHECK_HASH, 1);
		add((uint8_t)type, 2);
		add(NATIVE_CHECK_HASH, 3);
		cr_assert_eq(decode_run(stream_len, FRAMES_MAX).secret,
			     !without);
	}
}

Test(native_run, replies_are_those_of_the_checks_as_far_as_they_fit)
{
	static const uint8_t types[] = {NATIVE_CHECK_KEY, NATIVE_LONG_HASH,
					NATIVE_CHECK_HASH, NATIVE_SETTLE};
	enum { N = sizeof(types) };
	uint8_t want[N * NATIVE_LONG_REPLY_BYTES], out[sizeof(want)];
	struct verdict verdicts[N] = {0};
	uint32_t ends[N + 1] = {0};

	begin();
	for (uint32_t i = 0; i < N; i++) {
		add(types[i], i);
		verdicts[i].org = (struct id){"orgORG12"};
		verdicts[i].limit = 10 + i;
	}
	cr_assert_eq(decode_run(stream_len, N).count, N);
	for (uint32_t i = 0; i < N; i++) {
		native_encode(&checks[i], &verdicts[i], want + ends[i]);
		ends[i + 1] = ends[i] + native_reply_bytes(types[i]);
	}
	for (uint32_t room = 0; room <= ends[N]; room++) {
		uint32_t fits = 0, bytes = UINT32_MAX;

		while (fits < N && ends[fits + 1] <= room)
			fits++;
		memset(out, 0xee, sizeof(out));
		cr_assert_eq(native_encode_run(checks, verdicts, N, out, room,
					       &bytes),
			     fits);
		cr_assert_eq(bytes, ends[fits]);
		cr_assert_eq(memcmp(out, want, bytes), 0);
		for (uint32_t i = bytes; i < sizeof(out); i++)
			cr_assert_eq(out[i], 0xee);
	}
	for (uint32_t same = 1; same < N; same++) {
		uint32_t bytes;

		checks[same].conn_idx = CONN + 1;
		cr_assert_eq(native_encode_run(checks, verdicts, N, out,
					       sizeof(out), &bytes),
			     same);
		cr_assert_eq(bytes, ends[same]);
		checks[same].conn_idx = CONN;
	}
}
