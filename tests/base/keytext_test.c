/* SPDX-License-Identifier: MIT */
#include "base/keytext.h"

#include <criterion/criterion.h>
#include <ctype.h>
#include <string.h>
#include <zlib.h>

#define KEY_MAX (KEYTEXT_LEN(KEYTEXT_PREFIX_MAX) + 1)

static struct keytext_prefix il(void)
{
	struct keytext_prefix p;

	cr_assert(keytext_prefix_init(&p, "il"));
	return p;
}

static size_t make(char out[static KEY_MAX])
{
	struct keytext_prefix p = il();
	struct id id;

	cr_assert(keytext_random_id(&id));
	cr_assert(keytext_make(&p, id, out, KEY_MAX));
	return strlen(out);
}

static enum keytext_kind classify(const char *key, size_t key_len)
{
	struct keytext_prefix p = il();

	return keytext_classify(&p, (const uint8_t *)key, key_len);
}

Test(keytext, checksum_is_the_one_github_publishes)
{
	char crc[KEYTEXT_CRC_LEN];
	const char *token = "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";

	keytext_checksum(token + 4, 30, crc);
	cr_assert_arr_eq(crc, token + 34, KEYTEXT_CRC_LEN);
}

Test(keytext, checksum_is_padded_with_zeros)
{
	char crc[KEYTEXT_CRC_LEN];

	keytext_checksum("", 0, crc); /* CRC-32 of nothing is 0 */
	cr_assert_arr_eq(crc, "000000", KEYTEXT_CRC_LEN);
}

/* The six digits are a public format: whatever computes the CRC here, zlib's
 * has to give the same. */
Test(keytext, checksum_is_the_crc32_of_zlib)
{
	const char *all = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
			  "abcdefghijklmnopqrstuvwxyz";
	unsigned char text[80];
	char crc[KEYTEXT_CRC_LEN];

	for (unsigned int len = 0; len <= sizeof(text); len++) {
		uint64_t value = 0;

		for (unsigned int i = 0; i < len; i++)
			text[i] = (unsigned char)(i * 89 + len);
		keytext_checksum(text, len, crc);
		for (size_t i = 0; i < sizeof(crc); i++) {
			const char *at = memchr(all, crc[i], 62);

			cr_assert_not_null(at);
			value = value * 62 + (uint64_t)(at - all);
		}
		cr_assert_eq(value, crc32(0, text, len), "length %u", len);
	}
}

Test(keytext, made_key_has_the_promised_shape)
{
	char key[KEY_MAX];

	for (int n = 0; n < 1000; n++) {
		size_t len = make(key);

		cr_assert_eq(len, 55);
		cr_assert_arr_eq(key, "il_", 3);
		cr_assert_eq(key[11], '_');
		for (size_t i = 3; i < len; i++)
			cr_assert(i == 11 || isalnum((unsigned char)key[i]));
		cr_assert_eq(classify(key, len), KEYTEXT_OURS);
	}
}

Test(keytext, made_key_carries_the_id_given)
{
	struct keytext_prefix p = il();
	struct id id = {{'0', '9', 'A', 'Z', 'a', 'z', '5', 'k'}};
	char key[KEY_MAX];

	cr_assert(keytext_make(&p, id, key, sizeof(key)));
	cr_assert_arr_eq(key + 3, id.c, ID_LEN);
}

Test(keytext, room_for_exactly_the_key_is_enough)
{
	struct keytext_prefix p = il();
	char key[KEYTEXT_LEN(2) + 2];
	struct id id;

	memset(key, '!', sizeof(key));
	cr_assert(keytext_random_id(&id));
	cr_assert(keytext_make(&p, id, key, KEYTEXT_LEN(2) + 1));
	cr_assert_eq(key[KEYTEXT_LEN(2)], '\0');
	cr_assert_eq(key[KEYTEXT_LEN(2) + 1], '!');
}

Test(keytext, every_wrong_character_is_noticed)
{
	char key[KEY_MAX];
	size_t len = make(key);

	for (size_t i = 0; i < len; i++) {
		char right = key[i];

		for (int c = 0; c < 256; c++) {
			key[i] = (char)c;
			if (key[i] == right)
				continue;
			cr_assert_eq(classify(key, len),
				     i < 3 ? KEYTEXT_FOREIGN : KEYTEXT_BROKEN,
				     "byte %d at %zu", c, i);
		}
		key[i] = right;
	}
	cr_assert_eq(classify(key, len), KEYTEXT_OURS);
}

Test(keytext, nonsense_with_a_right_checksum_is_broken)
{
	static const size_t places[] = {3, 10, 11, 12, 48};
	static const char nonsense[] = {'/', ':', '@',  '[',    '`',       '{',
					'-', ' ', '\0', '\x7f', (char)0xc1};
	char key[KEY_MAX];
	size_t len = make(key);

	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		char right = key[places[i]];

		for (size_t n = 0; n < sizeof(nonsense); n++) {
			key[places[i]] = nonsense[n];
			keytext_checksum(key, len - KEYTEXT_CRC_LEN,
					 key + len - KEYTEXT_CRC_LEN);
			cr_assert_eq(classify(key, len), KEYTEXT_BROKEN,
				     "place %zu, character %zu", places[i], n);
		}
		key[places[i]] = right;
	}
	keytext_checksum(key, len - KEYTEXT_CRC_LEN,
			 key + len - KEYTEXT_CRC_LEN);
	cr_assert_eq(classify(key, len), KEYTEXT_OURS);
}

Test(keytext, checksum_above_32_bits_is_broken)
{
	struct keytext_prefix p = il();
	struct id id;
	char key[KEY_MAX];

	/* 62^6 - 1 is 56,800,235,583: its low 32 bits must not be compared
	 * alone. Any key does, unless its own checksum happens to be that. */
	cr_assert(keytext_random_id(&id));
	cr_assert(keytext_make(&p, id, key, sizeof(key)));
	memcpy(key + 49, "zzzzzz", 6);
	cr_assert_eq(classify(key, 55), KEYTEXT_BROKEN);
	/* The same number plus 2^32, for each key whose checksum allows it. */
	for (int n = 0; n < 100; n++) {
		uint64_t crc;

		make(key);
		crc = crc32(0, (unsigned char *)key, 49) + (UINT64_C(1) << 32);
		for (size_t i = 6; i-- > 0; crc /= 62)
			key[49 + i] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
				      "abcdefghijklmnopqrstuvwxyz"[crc % 62];
		cr_assert_eq(classify(key, 55), KEYTEXT_BROKEN);
	}
}

Test(keytext, length_one_off_is_broken)
{
	char key[KEY_MAX + 1];
	size_t len = make(key);

	cr_assert_eq(classify(key, len - 1), KEYTEXT_BROKEN);
	key[len] = '0';
	cr_assert_eq(classify(key, len + 1), KEYTEXT_BROKEN);
	cr_assert_eq(classify(key, 3), KEYTEXT_BROKEN);
}

Test(keytext, other_prefixes_are_foreign)
{
	cr_assert_eq(classify("", 0), KEYTEXT_FOREIGN);
	cr_assert_eq(classify("il", 2), KEYTEXT_FOREIGN);
	cr_assert_eq(classify("ilx_abc", 7), KEYTEXT_FOREIGN);
	cr_assert_eq(classify("IL_abc", 6), KEYTEXT_FOREIGN);
	cr_assert_eq(classify("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", 40),
		     KEYTEXT_FOREIGN);
}

Test(keytext, prefix_of_one_to_eight)
{
	struct keytext_prefix p;
	char key[KEY_MAX];
	struct id id;

	cr_assert(keytext_random_id(&id));
	for (size_t len = 1; len <= KEYTEXT_PREFIX_MAX; len++) {
		char prefix[KEYTEXT_PREFIX_MAX + 1] = {0};

		memcpy(prefix, "a0z9bcde", len);
		cr_assert(keytext_prefix_init(&p, prefix));
		cr_assert_eq(p.len, len + 1);
		cr_assert(keytext_make(&p, id, key, sizeof(key)));
		cr_assert_eq(strlen(key), KEYTEXT_LEN(len));
		cr_assert_eq(keytext_classify(&p, (uint8_t *)key, strlen(key)),
			     KEYTEXT_OURS);
	}
}

Test(keytext, bad_prefixes_are_refused)
{
	static const char *const bad[] = {"",    "abcdefghi", "Il",      "i_",
					  "i l", "i-",        "\xc3\xa4"};
	struct keytext_prefix p;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		cr_assert_not(keytext_prefix_init(&p, bad[i]), "'%s'", bad[i]);
}

/* With the bias of a plain modulo, the first eight digits of the alphabet
 * come up 5 times in 256 instead of 1 in 62: 25 % more often. */
Test(keytext, every_digit_is_equally_likely)
{
	unsigned int seen[256] = {0};
	char key[KEY_MAX];
	const unsigned int keys = 20000;
	double want = (double)keys * KEYTEXT_SECRET_LEN / 62;

	for (unsigned int n = 0; n < keys; n++) {
		make(key);
		for (size_t i = 12; i < 49; i++)
			seen[(unsigned char)key[i]]++;
	}
	for (int c = 0; c < 256; c++) {
		if (!isalnum(c))
			cr_assert_eq(seen[c], 0);
		else /* 8 standard deviations of about 108 */
			cr_assert(seen[c] > want * 0.93 &&
					  seen[c] < want * 1.07,
				  "%c came %u times, expected %.0f", c, seen[c],
				  want);
	}
}
