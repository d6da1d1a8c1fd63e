/* SPDX-License-Identifier: MIT */
#include "base/label.h"

#include <xxhash.h>

uint64_t label_hash(const char *label, size_t len)
{
	uint64_t h = XXH3_64bits(label, len);

	return h != 0 ? h : 1;
}
