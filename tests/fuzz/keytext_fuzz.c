/* SPDX-License-Identifier: MIT */
/*
 * base/keytext: any text is classified as its shape says, written down a
 * second time; a text whose checksum is put right is ours, and one changed
 * byte of it is not.
 */
#include "base/keytext.h"
#include "fuzz.h"

static bool base62(uint8_t c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
	       (c >= 'A' && c <= 'Z');
}

static enum keytext_kind expected(const struct keytext_prefix *p,
				  const uint8_t *key, size_t len)
{
	char crc[KEYTEXT_CRC_LEN];
	size_t at;

	if (len < p->len || memcmp(key, p->text, p->len) != 0)
		return KEYTEXT_FOREIGN;
	if (len != KEYTEXT_LEN(p->len - 1u))
		return KEYTEXT_BROKEN;
	for (at = p->len; at < len; at++)
		if (at == p->len + (size_t)ID_LEN ? key[at] != '_'
						  : !base62(key[at]))
			return KEYTEXT_BROKEN;
	keytext_checksum(key, len - KEYTEXT_CRC_LEN, crc);
	return memcmp(crc, key + len - KEYTEXT_CRC_LEN, sizeof(crc)) == 0
		       ? KEYTEXT_OURS
		       : KEYTEXT_BROKEN;
}

static void put_right(const struct keytext_prefix *p, const uint8_t *data,
		      size_t size)
{
	static const char digits[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
				     "abcdefghijklmnopqrstuvwxyz";
	size_t len = KEYTEXT_LEN(p->len - 1u), i, place;
	uint8_t *key = malloc(len), was;

	must(key != NULL);
	memcpy(key, p->text, p->len);
	for (i = p->len; i < len; i++)
		key[i] = (uint8_t)digits[(size ? data[i % size] : 0) % 62];
	key[p->len + ID_LEN] = '_';
	keytext_checksum(key, len - KEYTEXT_CRC_LEN,
			 (char *)key + len - KEYTEXT_CRC_LEN);
	must(keytext_classify(p, key, len) == KEYTEXT_OURS);
	place = size ? data[0] % len : 0;
	was = key[place];
	key[place] = (uint8_t)(was ^ (size > 1 && data[1] ? data[1] : 1));
	must(keytext_classify(p, key, len) != KEYTEXT_OURS);
	must(keytext_classify(p, key, len) == expected(p, key, len));
	free(key);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const prefixes[] = {"il", "a", "sk9live8"};

	for (size_t i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++) {
		struct keytext_prefix p;
		uint8_t *key = exact_copy(data, size);

		must(keytext_prefix_init(&p, prefixes[i]));
		must(keytext_classify(&p, key, size) ==
		     expected(&p, key, size));
		free(key);
		put_right(&p, data, size);
	}
	return 0;
}
