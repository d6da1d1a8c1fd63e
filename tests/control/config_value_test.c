/* SPDX-License-Identifier: MIT */
#include "control/config.h"

#include <criterion/criterion.h>
#include <errno.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define KEPT UINT64_C(0x1234)

Test(config_value, durations)
{
	static const struct {
		const char *text;
		uint64_t ms;
	} good[] = {
		{"0", 0},
		{"1", 1000},
		{"90s", 90000},
		{"500ms", 500},
		{"2m", 120000},
		{"1h", 3600000},
		{"31d", UINT64_C(2678400000)},
		{"007s", 7000},
		{"18446744073709551615ms", UINT64_MAX},
		{"18446744073709551s", UINT64_C(18446744073709551000)},
	};
	uint64_t ms;

	for (size_t i = 0; i < COUNT(good); i++) {
		cr_assert_eq(config_parse_duration(good[i].text, &ms), 0, "%s",
			     good[i].text);
		cr_assert_eq(ms, good[i].ms, "%s", good[i].text);
	}
}

static void expect(int (*parse)(const char *, uint64_t *), const char *text,
		   int error)
{
	uint64_t v = KEPT;

	cr_assert_eq(parse(text, &v), error, "\"%s\"", text);
	cr_assert_eq(v, KEPT, "a failure leaves the result alone");
}

Test(config_value, what_is_no_duration)
{
	static const char *const bad[] = {
		"",   "s",    "-1s",  "+1s", " 1s", "1s ",        "1 s",   "1S",
		"1w", "1.5s", "0x1s", "1e3", "1s1", "1\xc2\xb5s", "1m30s",
	};

	for (size_t i = 0; i < COUNT(bad); i++)
		expect(config_parse_duration, bad[i], -EINVAL);
}

Test(config_value, durations_beyond_64_bits)
{
	expect(config_parse_duration, "18446744073709551616ms", -ERANGE);
	expect(config_parse_duration, "18446744073709552s", -ERANGE);
	expect(config_parse_duration, "213503982335d", -ERANGE);
	expect(config_parse_duration, "99999999999999999999999999", -ERANGE);
}

Test(config_value, sizes)
{
	static const struct {
		const char *text;
		uint64_t bytes;
	} good[] = {
		{"0", 0},
		{"4096", 4096},
		{"64KiB", 65536},
		{"4MiB", 4 << 20},
		{"4GiB", UINT64_C(4) << 30},
		{"17179869183GiB", UINT64_C(17179869183) << 30},
	};
	uint64_t bytes;

	for (size_t i = 0; i < COUNT(good); i++) {
		cr_assert_eq(config_parse_bytes(good[i].text, &bytes), 0, "%s",
			     good[i].text);
		cr_assert_eq(bytes, good[i].bytes, "%s", good[i].text);
	}
}

Test(config_value, what_is_no_size)
{
	static const char *const bad[] = {"",   "KiB",  "-1",   "4K",
					  "4k", "4KB",  "4kib", "4 KiB",
					  "4M", "4TiB", "4MiB,"};

	for (size_t i = 0; i < COUNT(bad); i++)
		expect(config_parse_bytes, bad[i], -EINVAL);
	expect(config_parse_bytes, "17179869184GiB", -ERANGE);
}

Test(config_value, limits)
{
	static const struct {
		const char *text;
		uint32_t limit;
		uint64_t window_ms;
	} good[] = {
		{"100/60s", 100, 60000},
		{"5/1500ms", 5, 1500},
		{"1000/1h", 1000, 3600000},
		{"1/1ms", 1, 1},
		{"65536/31d", 65536, UINT64_C(2678400000)},
		{"65536/2678400000ms", 65536, UINT64_C(2678400000)},
		{"100/60", 100, 60000},
	};
	uint32_t limit;
	uint64_t window_ms;

	for (size_t i = 0; i < COUNT(good); i++) {
		cr_assert_eq(
			config_parse_limit(good[i].text, &limit, &window_ms), 0,
			"%s", good[i].text);
		cr_assert_eq(limit, good[i].limit, "%s", good[i].text);
		cr_assert_eq(window_ms, good[i].window_ms, "%s", good[i].text);
	}
}

Test(config_value, what_is_no_limit_or_out_of_range)
{
	static const struct {
		const char *text;
		int error;
	} bad[] = {
		{"", -EINVAL},
		{"100", -EINVAL},
		{"/60s", -EINVAL},
		{"100/", -EINVAL},
		{"100 / 60s", -EINVAL},
		{"100/60s/1", -EINVAL},
		{"-1/60s", -EINVAL},
		{"100/1w", -EINVAL},
		{"0/60s", -ERANGE},
		{"8388608/60s", -ERANGE},
		{"4294967396/60s", -ERANGE},
		{"18446744073709551616/60s", -ERANGE},
		{"100/0", -ERANGE},
		{"100/0ms", -ERANGE},
		{"100/32d", -ERANGE},
		{"100/2678400001ms", -ERANGE},
		{"100/18446744073709551616ms", -ERANGE},
	};

	for (size_t i = 0; i < COUNT(bad); i++) {
		uint32_t limit = 7;
		uint64_t window_ms = KEPT;

		cr_assert_eq(
			config_parse_limit(bad[i].text, &limit, &window_ms),
			bad[i].error, "\"%s\"", bad[i].text);
		cr_assert_eq(limit, 7);
		cr_assert_eq(window_ms, KEPT);
	}
}
