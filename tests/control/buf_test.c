/* SPDX-License-Identifier: MIT */
#include "control/buf.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdint.h>
#include <string.h>

#define SECRET "il_secretSE_secretsecretsecretsecretsecret"

Test(buf, holds_what_is_added_in_order)
{
	struct buf b;

	buf_init(&b, 100);
	cr_assert_eq(buf_text(&b, "one "), 0);
	cr_assert_eq(buf_add(&b, "two\0", 4), 0);
	cr_assert_eq(buf_printf(&b, "%d%s", 3, "!"), 0);
	cr_assert_eq(b.len, 10);
	cr_assert_eq(memcmp(b.data, "one two\0003!", 10), 0);
	buf_deinit(&b);
}

Test(buf, adding_nothing_to_an_empty_one_works)
{
	struct buf b;

	buf_init(&b, 0);
	cr_assert_eq(buf_add(&b, NULL, 0), 0);
	cr_assert_eq(buf_text(&b, ""), 0);
	cr_assert_eq(b.len, 0);
	buf_clear(&b);
	buf_deinit(&b);
}

Test(buf, is_full_one_byte_beyond_its_bound_and_says_so_until_cleared)
{
	struct buf b;

	buf_init(&b, 8);
	cr_assert_eq(buf_text(&b, "12345678"), 0);
	cr_assert_eq(buf_text(&b, "9"), -ENOSPC);
	cr_assert_eq(b.error, -ENOSPC);
	cr_assert_eq(b.len, 8, "what did not fit is not there in part");
	cr_assert_eq(buf_text(&b, ""), -ENOSPC);
	buf_clear(&b);
	cr_assert_eq(buf_text(&b, "9"), 0);
	buf_deinit(&b);
}

Test(buf, a_length_that_would_wrap_is_too_large)
{
	struct buf b;

	buf_init(&b, 8);
	buf_text(&b, "1");
	cr_assert_eq(buf_add(&b, "x", SIZE_MAX), -ENOSPC);
	buf_deinit(&b);
}

Test(buf, prints_texts_longer_than_its_scratch)
{
	struct buf b;
	char text[2000];

	memset(text, 'x', sizeof(text));
	for (size_t len = 500; len < 520; len++) {
		buf_init(&b, sizeof(text));
		cr_assert_eq(buf_printf(&b, "<%.*s>", (int)len, text), 0);
		cr_assert_eq(b.len, len + 2);
		cr_assert_eq(b.data[0], '<');
		cr_assert_eq(b.data[len + 1], '>');
		cr_assert_eq(memcmp(b.data + 1, text, len), 0);
		buf_deinit(&b);
	}
}

Test(buf, gives_large_memory_back_when_cleared)
{
	struct buf b;
	char block[4096] = {0};

	buf_init(&b, 1 << 20);
	for (int i = 0; i < 64; i++)
		buf_add(&b, block, sizeof(block));
	cr_assert_geq(b.cap, 64 * sizeof(block));
	buf_clear(&b);
	cr_assert_null(b.data);
	cr_assert_eq(b.cap, 0);
	cr_assert_eq(b.max, 1 << 20);
	buf_deinit(&b);
}

Test(buf, a_cleared_buffer_holds_nothing_of_what_was_in_it)
{
	struct buf b;

	buf_init(&b, 4096);
	buf_text(&b, SECRET);
	buf_clear(&b);
	cr_assert_not_null(b.data, "small memory is kept");
	for (size_t i = 0; i < strlen(SECRET); i++)
		cr_assert_eq(b.data[i], 0);
	buf_deinit(&b);
}
