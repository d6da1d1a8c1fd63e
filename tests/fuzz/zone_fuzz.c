/* SPDX-License-Identifier: MIT */
/*
 * state/zone: any bytes are a zone or are not. What is one has offsets within
 * the bounds at any instant, and a first instant for any local time.
 */
#include "fuzz.h"
#include "state/zone.h"

static void probe(const struct zone *z, int64_t s)
{
	int64_t first = zone_first_instant(z, s);
	int32_t offset = zone_offset_s(z, s);

	must(offset >= -ZONE_OFFSET_MAX_S && offset <= ZONE_OFFSET_MAX_S);
	if (s < -ZONE_TIME_MAX_S / 2 || s > ZONE_TIME_MAX_S / 2)
		return;
	must(first + zone_offset_s(z, first) >= s);
	must(first - 1 + zone_offset_s(z, first - 1) < s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t *copy = exact_copy(data, size);
	struct cuts cuts = cuts_of(data, size);
	struct zone *z;

	if (zone_parse(&z, copy, size) == 0) {
		probe(z, INT64_MIN);
		probe(z, INT64_MAX);
		for (int i = 0; i < 32; i++)
			probe(z, (int64_t)cuts_draw(&cuts, UINT32_MAX) *
						 (i % 4 ? 1 : 64) -
					 INT64_C(1000000000));
		zone_free(z);
	}
	free(copy);
	return 0;
}
