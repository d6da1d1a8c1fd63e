/* SPDX-License-Identifier: MIT */
#include "workload.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#define KEYS 1000u
#define DEPTH 4u

static struct workload w;
static uint8_t replies[WORKLOAD_DEPTH_MAX * NATIVE_REPLY_BYTES];
static char error[512];

static void name_everything(void)
{
	for (uint32_t i = 0; i < w.org_count; i++) {
		memset(w.orgs[i].c, 'o', ID_LEN);
		memcpy(w.orgs[i].c, &i, sizeof(i));
	}
	for (uint32_t i = 0; i < w.key_count; i++) {
		memset(w.keys[i].id.c, 'k', ID_LEN);
		memcpy(w.keys[i].id.c, &i, sizeof(i));
	}
}

static void setup(void)
{
	cr_assert_eq(workload_init(&w, KEYS, 100), 0);
	name_everything();
	w.limit = 128;
	w.window_ms = 10;
	workload_build(&w, WORKLOAD_RAW);
}

static void teardown(void)
{
	workload_deinit(&w);
}

TestSuite(workload, .init = setup, .fini = teardown);

static void put_reply(uint32_t place, uint32_t frame_idx)
{
	uint8_t *r = replies + place * NATIVE_REPLY_BYTES;
	uint32_t number[6] = {w.limit, 0, w.limit - 1, w.window_ms, 1, 0};
	uint64_t id = frame_idx;

	memset(r, 0, NATIVE_REPLY_BYTES);
	r[0] = NATIVE_CHECK_KEY | 0x80;
	r[3] = NATIVE_VERSION;
	memcpy(r + 4, &number[0], 4);
	memcpy(r + 8, &id, 8);
	memcpy(r + 16, &number[2], 16);
	memcpy(r + 32, &w.expect[frame_idx].org, 8);
	memcpy(r + 48, &w.expect[frame_idx].key, 8);
}

static bool verify(struct workload_tally *tally)
{
	memset(tally, 0, sizeof(*tally));
	error[0] = '\0';
	return workload_verify(&w, false, 10, DEPTH, replies, tally, error,
			       sizeof(error));
}

static void put_batch(void)
{
	for (uint32_t i = 0; i < DEPTH; i++)
		put_reply(i, 10 + i);
}

Test(workload, frames_carry_every_key_and_their_own_index)
{
	uint32_t *seen = calloc(KEYS, sizeof(*seen));

	cr_assert_not_null(seen);
	cr_assert_eq(w.frame_count, WORKLOAD_FRAMES_MIN);
	for (uint32_t i = 0; i < w.frame_count; i++) {
		const uint8_t *f = w.frames + i * NATIVE_REQUEST_BYTES;
		const struct workload_key *k =
			&w.keys[w.order[i] % w.key_count];
		uint64_t id;

		memcpy(&id, f + 8, sizeof(id));
		cr_assert_eq(id, i);
		cr_assert_eq(f[3], 55);
		cr_assert_arr_eq(f + 64, k->text, 64);
		seen[w.order[i] % w.key_count]++;
	}
	for (uint32_t i = 0; i < KEYS; i++)
		cr_assert_geq(seen[i], WORKLOAD_FRAMES_MIN / KEYS);
	free(seen);
}

Test(workload, hashed_frames_carry_the_hash_of_the_same_key)
{
	uint8_t hash[SHA256_BYTES];

	workload_build(&w, WORKLOAD_HASHED);
	for (uint32_t i = 0; i < 100; i++) {
		const uint8_t *f = w.frames + i * NATIVE_REQUEST_BYTES;

		workload_key_hash(&w.keys[w.order[i] % w.key_count], hash);
		cr_assert_eq(f[0], NATIVE_CHECK_HASH);
		cr_assert_eq(f[3], 0);
		cr_assert_arr_eq(f + 64, hash, SHA256_BYTES);
	}
}

Test(workload, last_organization_takes_the_odd_keys)
{
	workload_deinit(&w);
	cr_assert_eq(workload_init(&w, 250, 100), 0);
	cr_assert_eq(w.org_count, 2);
	cr_assert_eq(w.keys[99].org_idx, 0);
	cr_assert_eq(w.keys[100].org_idx, 1);
	cr_assert_eq(w.keys[249].org_idx, 1);
}

Test(workload, right_replies_are_accepted_in_any_order)
{
	static const uint32_t order[DEPTH] = {2, 0, 3, 1};
	struct workload_tally t;

	put_batch();
	cr_assert(verify(&t));
	cr_assert_eq(t.allowed, DEPTH);
	for (uint32_t i = 0; i < DEPTH; i++)
		put_reply(i, 10 + order[i]);
	cr_assert(verify(&t));
}

Test(workload, denials_are_counted_apart)
{
	struct workload_tally t;
	uint32_t retry = 5;

	put_batch();
	replies[NATIVE_REPLY_BYTES + 1] = REASON_RATE_LIMITED;
	memcpy(replies + NATIVE_REPLY_BYTES + 28, &retry, 4);
	cr_assert(verify(&t));
	cr_assert_eq(t.allowed, DEPTH - 1);
	cr_assert_eq(t.denied, 1);
}

/* Every byte of a reply that says something is looked at. */
Test(workload, wrong_replies_are_refused)
{
	static const uint32_t places[] = {0 /* type */,
					  1 /* reason */,
					  3 /* version */,
					  4 /* limit */,
					  8 /* id */,
					  15 /* id, high byte */,
					  19 /* remaining */,
					  20 /* window */,
					  32 /* organization */,
					  55 /* key */};
	struct workload_tally t;

	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		put_batch();
		replies[2 * NATIVE_REPLY_BYTES + places[i]] ^= 0x41;
		cr_assert_not(verify(&t), "byte %u", places[i]);
		cr_assert_neq(error[0], '\0');
	}
}

Test(workload, denial_of_a_known_key_is_wrong)
{
	struct workload_tally t;

	put_batch();
	replies[1] = REASON_INVALID_KEY;
	cr_assert_not(verify(&t));
}

Test(workload, answer_given_twice_is_refused)
{
	struct workload_tally t;

	put_batch();
	put_reply(3, 10);
	cr_assert_not(verify(&t));
}

Test(workload, answer_to_another_batch_is_refused)
{
	struct workload_tally t;

	put_batch();
	put_reply(0, 9);
	cr_assert_not(verify(&t));
	put_reply(0, 10 + DEPTH);
	cr_assert_not(verify(&t));
}
