/* SPDX-License-Identifier: MIT */
#include "io/chunks.h"

#include <criterion/criterion.h>
#include <string.h>
#include <unistd.h>

Test(chunks, each_piece_is_a_page_aligned_place_of_its_own)
{
	struct chunks c;
	uint32_t taken[8];

	cr_assert_eq(chunks_init(&c, 8), 0);
	for (uint32_t i = 0; i < 8; i++) {
		taken[i] = chunks_take(&c);
		cr_assert_lt(taken[i], 8);
		cr_assert_eq((uintptr_t)chunk_bytes(&c, taken[i]) %
				     (uintptr_t)getpagesize(),
			     0);
		memset(chunk_bytes(&c, taken[i]), (int)i, CHUNK_BYTES);
	}
	for (uint32_t i = 0; i < 8; i++) {
		cr_expect_eq(chunk_bytes(&c, taken[i])[0], i);
		cr_expect_eq(chunk_bytes(&c, taken[i])[CHUNK_BYTES - 1], i);
	}
	chunks_deinit(&c);
}

Test(chunks, empty_pool_is_an_answer_and_ends_when_one_comes_back)
{
	struct chunks c;
	uint32_t a, b;

	cr_assert_eq(chunks_init(&c, 2), 0);
	a = chunks_take(&c);
	b = chunks_take(&c);
	cr_expect_neq(a, b);
	cr_expect_eq(chunks_take(&c), CHUNK_NONE);
	chunks_give(&c, a);
	cr_expect_eq(chunks_take(&c), a);
	cr_expect_eq(chunks_take(&c), CHUNK_NONE);
	chunks_deinit(&c);
}

Test(chunks, last_one_given_back_is_taken_next_and_clean)
{
	struct chunks c;
	uint32_t a;

	cr_assert_eq(chunks_init(&c, 4), 0);
	a = chunks_take(&c);
	(void)chunks_take(&c);
	c.chunks[a] = (struct chunk){.next = 3, .len = 100, .sent = 7};
	chunks_give(&c, a);
	cr_expect_eq(chunks_take(&c), a);
	cr_expect_eq(c.chunks[a].len, 0);
	cr_expect_eq(c.chunks[a].sent, 0);
	cr_expect_eq(c.chunks[a].next, CHUNK_NONE);
	chunks_deinit(&c);
}
