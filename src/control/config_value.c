/* SPDX-License-Identifier: MIT */
#include "control/config.h"

#include "gate/layout.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

struct unit {
	const char *name;
	uint64_t factor;
};

/* Digits at the start of *p. */
static int parse_number(const char **p, uint64_t *ret_value)
{
	uint64_t v = 0;

	if (**p < '0' || **p > '9')
		return -EINVAL;
	for (; **p >= '0' && **p <= '9'; (*p)++)
		if (__builtin_mul_overflow(v, 10, &v) ||
		    __builtin_add_overflow(v, (uint64_t)(**p - '0'), &v))
			return -ERANGE;
	*ret_value = v;
	return 0;
}

static bool same(const char *a, const char *b)
{
	while (*a && *a == *b) {
		a++;
		b++;
	}
	return *a == *b;
}

/* A number and one of the units, and nothing else. */
static int parse_quantity(const char *text, const struct unit *units,
			  size_t unit_count, uint64_t *ret_value)
{
	uint64_t v;
	int r = parse_number(&text, &v);

	if (r < 0) {
		/* "99999999999999999999zz" is malformed first of all, but
		 * naming the range is as good an answer. */
		return r;
	}
	for (size_t i = 0; i < unit_count; i++) {
		if (!same(text, units[i].name))
			continue;
		if (__builtin_mul_overflow(v, units[i].factor, &v))
			return -ERANGE;
		*ret_value = v;
		return 0;
	}
	return -EINVAL;
}

int config_parse_duration(const char *text, uint64_t *ret_ms)
{
	static const struct unit units[] = {
		{"", 1000},   {"ms", 1},      {"s", 1000},
		{"m", 60000}, {"h", 3600000}, {"d", 86400000},
	};

	return parse_quantity(text, units, sizeof(units) / sizeof(units[0]),
			      ret_ms);
}

void config_format_duration(uint64_t ms, char out[static CONFIG_DURATION_MAX])
{
	static const struct unit units[] = {
		{"d", 86400000}, {"h", 3600000}, {"s", 1000}, {"ms", 1}};
	unsigned i = 0;

	while (ms % units[i].factor != 0)
		i++;
	snprintf(out, CONFIG_DURATION_MAX, "%" PRIu64 "%s",
		 ms / units[i].factor, units[i].name);
}

int config_parse_bytes(const char *text, uint64_t *ret_bytes)
{
	static const struct unit units[] = {
		{"", 1},
		{"KiB", UINT64_C(1) << 10},
		{"MiB", UINT64_C(1) << 20},
		{"GiB", UINT64_C(1) << 30},
	};

	return parse_quantity(text, units, sizeof(units) / sizeof(units[0]),
			      ret_bytes);
}

int config_parse_count(const char *text, uint64_t *ret_count)
{
	uint64_t count;
	int r = parse_number(&text, &count);

	if (r < 0)
		return r;
	if (*text != '\0')
		return -EINVAL;
	*ret_count = count;
	return 0;
}

int config_parse_rate(const char *text, uint64_t *ret_units,
		      uint64_t *ret_period_ms)
{
	uint64_t units;
	int r = parse_number(&text, &units);

	if (r < 0)
		return r;
	if (*text != '/')
		return -EINVAL;
	r = config_parse_duration(text + 1, ret_period_ms);
	if (r == 0)
		*ret_units = units;
	return r;
}

int config_parse_limit(const char *text, uint32_t *ret_limit,
		       uint64_t *ret_window_ms)
{
	uint64_t limit = 0, window_ms = 0;
	int r = config_parse_rate(text, &limit, &window_ms);

	if (r < 0)
		return r;
	if (limit < 1 || limit > LIMIT_MAX || window_ms < WINDOW_MS_MIN ||
	    window_ms > WINDOW_MS_MAX)
		return -ERANGE;
	*ret_limit = (uint32_t)limit;
	*ret_window_ms = window_ms;
	return 0;
}
