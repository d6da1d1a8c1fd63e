/* SPDX-License-Identifier: MIT */
#include "stats.h"

#include "base/check.h"

/* The value with `rank` others before it. Quadratic, for dozens of values;
 * equal ones are ordered by position. */
static double value_of_rank(const double *values, size_t count, size_t rank)
{
	for (size_t i = 0; i < count; i++) {
		size_t before = 0;

		for (size_t j = 0; j < count; j++)
			before += values[j] < values[i] ||
				  (j < i && values[j] <= values[i]);
		if (before == rank)
			return values[i];
	}
	return values[0]; /* not reached with numbers */
}

struct spread stats_spread(const double *values, size_t count)
{
	struct spread s;

	check(count > 0);
	s.min = value_of_rank(values, count, 0);
	s.max = value_of_rank(values, count, count - 1);
	s.median = (value_of_rank(values, count, (count - 1) / 2) +
		    value_of_rank(values, count, count / 2)) /
		   2;
	return s;
}
