/* SPDX-License-Identifier: MIT */
#include "base/sha256.h"

#include <criterion/criterion.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#define LONGEST 256

static void expect_hex(const void *msg, size_t msg_len, const char *hex)
{
	uint8_t got[SHA256_BYTES];
	char text[2 * SHA256_BYTES + 1];

	sha256(msg, msg_len, got);
	for (size_t i = 0; i < sizeof(got); i++)
		snprintf(text + 2 * i, 3, "%02x", got[i]);
	cr_assert_str_eq(text, hex);
}

Test(sha256, fips_180_4_one_block)
{
	expect_hex("abc", 3,
		   "ba7816bf8f01cfea414140de5dae2223"
		   "b00361a396177a9cb410ff61f20015ad");
}

Test(sha256, fips_180_4_two_blocks)
{
	const char *msg =
		"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";

	expect_hex(msg, strlen(msg),
		   "248d6a61d20638b8e5c026930c3e6039"
		   "a33ce45964ff2167f6ecedd419db06c1");
}

Test(sha256, empty_message_without_a_pointer)
{
	expect_hex(NULL, 0,
		   "e3b0c44298fc1c149afbf4c8996fb924"
		   "27ae41e4649b934ca495991b7852b855");
}

Test(sha256, fips_180_4_million_a)
{
	size_t len = 1000000;
	char *msg = malloc(len);

	cr_assert_not_null(msg);
	memset(msg, 'a', len);
	expect_hex(msg, len,
		   "cdc76e5c9914fb9281a1c7e284d73e67"
		   "f1809a48a497200e046d39ccc7112cd0");
	free(msg);
}

Test(sha256, agrees_with_evp_at_every_length_and_alignment)
{
	uint8_t room[LONGEST + 8], want[SHA256_BYTES], got[SHA256_BYTES];

	for (size_t i = 0; i < sizeof(room); i++)
		room[i] = (uint8_t)(i * 167 + 13);
	for (size_t len = 0; len <= LONGEST; len++) {
		const uint8_t *msg = room + len % 8;

		cr_assert_eq(
			EVP_Digest(msg, len, want, NULL, EVP_sha256(), NULL),
			1);
		sha256(msg, len, got);
		cr_assert_arr_eq(got, want, SHA256_BYTES, "length %zu", len);
	}
}

Test(sha256, result_may_overwrite_the_message)
{
	uint8_t both[64] = "il_message", want[SHA256_BYTES];

	sha256(both, 55, want);
	sha256(both, 55, both);
	cr_assert_arr_eq(both, want, SHA256_BYTES);
}
