/* SPDX-License-Identifier: MIT */
#include "base/label.h"

#include <xxhash.h>

uint64_t label_hash(const char *label, size_t len)
{
	uint64_t h = XXH3_64bits(label, len);

	return h != 0 ? h : 1;
}

void label_hash_128(const void *text, size_t len, uint64_t ret[static 2])
{
	XXH128_hash_t h = XXH3_128bits(text, len);

	ret[0] = h.low64;
	ret[1] = h.high64;
	if ((ret[0] | ret[1]) == 0)
		ret[0] = 1;
}
