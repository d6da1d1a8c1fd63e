/* SPDX-License-Identifier: MIT */
#include "memo.h"

#include <criterion/criterion.h>

/* The key and the messages of SipHash's reference vectors: 00 01 02 ... */
static void count_up(uint8_t *bytes, size_t len)
{
	for (size_t i = 0; i < len; i++)
		bytes[i] = (uint8_t)i;
}

static void expect_name(size_t len, const uint8_t expected[static 16])
{
	struct memo m = {0};
	uint8_t secret[16], message[64];
	struct memo_name name;

	count_up(secret, sizeof(secret));
	count_up(message, sizeof(message));
	memcpy(&m.secret, secret, sizeof(m.secret));
	name = memo_name(&m, message, len);
	cr_assert_arr_eq((const uint8_t *)&name, expected, 16, "%zu bytes",
			 len);
}

Test(memo, names_are_siphash_2_4_128)
{
	static const uint8_t of_0[16] = {0xa3, 0x81, 0x7f, 0x04, 0xba, 0x25,
					 0xa8, 0xe6, 0x6d, 0xf6, 0x72, 0x14,
					 0xc7, 0x55, 0x02, 0x93},
			     of_15[16] = {0x54, 0x93, 0xe9, 0x99, 0x33, 0xb0,
					  0xa8, 0x11, 0x7e, 0x08, 0xec, 0x0f,
					  0x97, 0xcf, 0xc3, 0xd9},
			     of_63[16] = {0x51, 0x50, 0xd1, 0x77, 0x2f, 0x50,
					  0x83, 0x4a, 0x50, 0x3e, 0x06, 0x9a,
					  0x97, 0x3f, 0xbd, 0x7c};

	expect_name(0, of_0);
	expect_name(15, of_15);
	expect_name(63, of_63);
}

Test(memo, known_keys_come_from_the_table_and_others_are_hashed)
{
	uint8_t known[55], hash[SHA256_BYTES], planted[SHA256_BYTES] = {7};
	struct memo m;

	cr_assert_eq(memo_init(&m, 100), 0);
	count_up(known, sizeof(known));
	memo_learn(&m, known, sizeof(known), planted);
	memo_hash(&m, memo_name(&m, known, sizeof(known)), known, sizeof(known),
		  hash);
	cr_assert_arr_eq(hash, planted, sizeof(hash));

	known[54] ^= 1;
	memo_hash(&m, memo_name(&m, known, sizeof(known)), known, sizeof(known),
		  hash);
	sha256(known, sizeof(known), planted);
	cr_assert_arr_eq(hash, planted, sizeof(hash));
	memo_deinit(&m);
}
