/* SPDX-License-Identifier: MIT */
#include "wire/extra.h"

#include "base/label.h"

#include <criterion/criterion.h>
#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static struct check_extra e;
static const struct check_extra nothing;

typedef enum detail taker(struct check_extra *, const void *, size_t);

static enum detail said(taker *take, const char *text)
{
	return take(&e, text, strlen(text));
}

/* A fault leaves no trace. */
static void expect_fault(taker *take, const char *text, enum detail detail)
{
	struct check_extra before = e;

	cr_assert_eq(said(take, text), detail, "%s", text);
	cr_assert_eq(memcmp(&e, &before, sizeof(e)), 0, "%s", text);
}

Test(extra, empty_says_nothing)
{
	cr_assert_eq(said(extra_route, ""), DETAIL_NONE);
	cr_assert_eq(said(extra_scope, ""), DETAIL_NONE);
	cr_assert_eq(said(extra_once, ""), DETAIL_NONE);
	cr_assert_eq(said(extra_address, ""), DETAIL_NONE);
	cr_assert_eq(said(extra_hold, ""), DETAIL_NONE);
	cr_assert_eq(memcmp(&e, &nothing, sizeof(e)), 0);
}

Test(extra, route_and_scope_are_kept_with_their_hashes)
{
	cr_assert_eq(said(extra_route, "POST /v1/convert"), DETAIL_NONE);
	cr_assert_eq(said(extra_scope, "documents:write"), DETAIL_NONE);
	cr_assert_str_eq(e.route, "POST /v1/convert");
	cr_assert_eq(e.route_len, 16);
	cr_assert_eq(e.route_hash, label_hash("POST /v1/convert", 16));
	cr_assert_str_eq(e.scope, "documents:write");
	cr_assert_eq(e.scope_len, 15);
	cr_assert_eq(e.scope_hash, label_hash("documents:write", 15));
}

Test(extra, a_label_has_63_printable_characters_at_most)
{
	char text[LABEL_MAX + 2];

	memset(text, '~', sizeof(text));
	text[LABEL_MAX + 1] = '\0';
	expect_fault(extra_route, text, DETAIL_ROUTE);
	expect_fault(extra_scope, text, DETAIL_ROUTE);
	text[LABEL_MAX] = '\0';
	cr_assert_eq(said(extra_route, text), DETAIL_NONE);
	cr_assert_eq(e.route_len, LABEL_MAX);
	cr_assert_eq(e.route[LABEL_MAX], '\0');
	for (unsigned int c = 1; c < 256; c++) {
		const char one[2] = {(char)c, '\0'};

		e = nothing;
		if (c >= ' ' && c <= '~')
			cr_assert_eq(said(extra_scope, one), DETAIL_NONE);
		else
			expect_fault(extra_scope, one, DETAIL_ROUTE);
	}
}

Test(extra, what_is_said_twice_has_to_agree)
{
	static const struct {
		taker *take;
		const char *one, *other;
		enum detail detail;
	} rows[] = {
		{extra_route, "a", "b", DETAIL_ROUTE},
		{extra_scope, "a", "b", DETAIL_ROUTE},
		{extra_once, "a", "b", DETAIL_ONCE},
		{extra_hold, "00000000000000a1", "00000000000000a2",
		 DETAIL_HOLD},
		{extra_hold_time, "1s", "1001ms", DETAIL_RESERVE},
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		cr_assert_eq(said(rows[i].take, rows[i].one), DETAIL_NONE);
		cr_assert_eq(said(rows[i].take, rows[i].one), DETAIL_NONE);
		expect_fault(rows[i].take, rows[i].other, rows[i].detail);
	}
}

Test(extra, request_ids_are_told_apart_by_128_bits)
{
	char text[EXTRA_ONCE_MAX + 2];
	uint64_t want[2];

	memset(text, 'i', sizeof(text));
	text[EXTRA_ONCE_MAX + 1] = '\0';
	expect_fault(extra_once, text, DETAIL_ONCE);
	text[EXTRA_ONCE_MAX] = '\0';
	cr_assert_eq(said(extra_once, text), DETAIL_NONE);
	label_hash_128(text, EXTRA_ONCE_MAX, want);
	cr_assert_eq(e.once[0], want[0]);
	cr_assert_eq(e.once[1], want[1]);
	cr_assert_neq(e.once[0], e.once[1]);
	e = nothing;
	text[0] = 'j';
	cr_assert_eq(said(extra_once, text), DETAIL_NONE);
	cr_assert_neq(e.once[0], want[0]);
	cr_assert_neq(e.once[1], want[1]);
}

#define V4(a, b, c, d)                                                         \
	{                                                                      \
		[10] = 0xff, [11] = 0xff, a, b, c, d                           \
	}

Test(extra, addresses_in_their_usual_forms)
{
	static const struct {
		const char *text;
		uint8_t address[16];
	} rows[] = {
		{"192.0.2.1", V4(192, 0, 2, 1)},
		{"0.0.0.0", V4(0, 0, 0, 0)},
		{"255.255.255.255:65535", V4(255, 255, 255, 255)},
		{"192.0.2.1:8", V4(192, 0, 2, 1)},
		{"::ffff:192.0.2.1", V4(192, 0, 2, 1)},
		{"[::ffff:192.0.2.1]:80", V4(192, 0, 2, 1)},
		{"::1", {[15] = 1}},
		{"::", {0}},
		{"[::1]", {[15] = 1}},
		{"[::1]:443", {[15] = 1}},
		{"2001:DB8::a:b",
		 {0x20, 1, 0x0d, 0xb8, [13] = 0x0a, [15] = 0x0b}},
		{"1111:2222:3333:4444:5555:6666:123.123.123.123",
		 {0x11, 0x11, 0x22, 0x22, 0x33, 0x33, 0x44, 0x44, 0x55, 0x55,
		  0x66, 0x66, 123, 123, 123, 123}},
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		memset(&e.address, 0xee, sizeof(e.address));
		e.has_address = false;
		cr_assert_eq(said(extra_address, rows[i].text), DETAIL_NONE,
			     "%s", rows[i].text);
		cr_assert(e.has_address);
		cr_assert_eq(memcmp(e.address, rows[i].address, 16), 0, "%s",
			     rows[i].text);
	}
}

Test(extra, what_is_no_address_is_a_fault)
{
	static const char *const rows[] = {
		"localhost",
		"1.2.3",
		"1.2.3.256",
		"01.2.3.4",
		"1.2.3.4.5",
		"1.2.3.4:",
		"1.2.3.4:123456",
		"1.2.3.4:x",
		"1.2.3.4:8 ",
		":80",
		"[1.2.3.4]",
		"[1.2.3.4]:80",
		"[::1",
		"[::1]x",
		"[::1]:",
		"[]",
		"[",
		"]",
		"[:]",
		":",
		":::",
		"1.2.3.4 ",
		" 1.2.3.4",
		"::1%lo",
		"fe80::1%1",
		"1.2.3.4,5.6.7.8",
		"-",
		"Unknown",
		"unix:/x",
		"1111:2222:3333:4444:5555:6666:1.2.3.4:1:2:3:4:5:6",
		"0x1.2.3.4",
		"1e1.2.3.4",
		"::g",
		"12345::"};

	cr_assert_eq(said(extra_address, "192.0.2.1"), DETAIL_NONE);
	for (size_t i = 0; i < COUNT(rows); i++)
		expect_fault(extra_address, rows[i], DETAIL_ADDRESS);
	cr_assert_eq(extra_address(&e, "1.2.3.4\0x", 9), DETAIL_ADDRESS);
	cr_assert_eq(extra_address(&e, "1.2.3.4\0", 8), DETAIL_ADDRESS);
}

Test(extra, of_addresses_the_last_counts_and_none_is_one)
{
	cr_assert_eq(said(extra_address, "192.0.2.1"), DETAIL_NONE);
	cr_assert_eq(said(extra_address, "192.0.2.2"), DETAIL_NONE);
	cr_assert_eq(e.address[15], 2);
	cr_assert_eq(said(extra_address, ""), DETAIL_NONE);
	cr_assert_not(e.has_address);
	cr_assert_eq(said(extra_address, "192.0.2.2"), DETAIL_NONE);
	cr_assert_eq(said(extra_address, "unknown"), DETAIL_NONE);
	cr_assert_not(e.has_address);
	cr_assert_eq(said(extra_address, "192.0.2.2"), DETAIL_NONE);
	cr_assert_eq(said(extra_address, "unix:"), DETAIL_NONE);
	cr_assert_not(e.has_address);
}

Test(extra, a_hold_is_16_hexadecimal_digits)
{
	static const char *const bad[] = {"0",
					  "0000000000000000",
					  "123456789abcdef",
					  "123456789abcdef01",
					  "123456789abcdefg",
					  "0x3456789abcdef0",
					  "+23456789abcdef0",
					  "123456789abcde :",
					  "123456789abcde`0",
					  "123456789abcde@0"};

	for (size_t i = 0; i < COUNT(bad); i++)
		expect_fault(extra_hold, bad[i], DETAIL_HOLD);
	cr_assert_eq(said(extra_hold, "0123456789abcdef"), DETAIL_NONE);
	cr_assert_eq(e.hold, UINT64_C(0x0123456789abcdef));
	cr_assert_eq(said(extra_hold, "0123456789ABCDEF"), DETAIL_NONE);
	e.hold = 0;
	cr_assert_eq(said(extra_hold, "ffffffffffffffff"), DETAIL_NONE);
	cr_assert_eq(e.hold, UINT64_MAX);
}

Test(extra, a_time_to_hold_has_a_unit_and_bounds)
{
	static const struct {
		const char *text;
		uint32_t ms;
	} good[] = {{"1ms", 1},
		    {"30s", 30000},
		    {"0030s", 30000},
		    {"5m", 300000},
		    {"1h", 3600000},
		    {"31d", 2678400000u},
		    {"2678400000ms", 2678400000u},
		    {"744h", 2678400000u}};
	static const char *const bad[] = {
		"",     "0s",     "0ms",      "s",
		"30",   "30 s",   " 30s",     "30S",
		"-1s",  "1.5s",   "32d",      "2678400001ms",
		"745h", "44641m", "2678401s", "99999999999999999999999999s",
		"30s ", "30sec",  "1d1h"};

	for (size_t i = 0; i < COUNT(good); i++) {
		e.hold_ms = 0;
		cr_assert_eq(said(extra_hold_time, good[i].text), DETAIL_NONE,
			     "%s", good[i].text);
		cr_assert_eq(e.hold_ms, good[i].ms);
	}
	e.hold_ms = 0;
	for (size_t i = 0; i < COUNT(bad); i++)
		expect_fault(extra_hold_time, bad[i], DETAIL_RESERVE);
}
