/* SPDX-License-Identifier: MIT */
#include "state/access.h"

#include "base/label.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

static char why[ACCESS_WHY_MAX];

Test(access, networks_are_read)
{
	struct network n;

	cr_assert(access_parse_network("10.0.0.0/8", &n));
	cr_expect_eq(n.bits, 104);
	cr_expect_arr_eq(n.address, "\0\0\0\0\0\0\0\0\0\0\xff\xff\x0a\0\0\0",
			 16);
	cr_assert(access_parse_network("192.0.2.7", &n));
	cr_expect_eq(n.bits, 128);
	cr_assert(access_parse_network("0.0.0.0/0", &n));
	cr_expect_eq(n.bits, 96);
	cr_assert(access_parse_network("2001:db8::/32", &n));
	cr_expect_eq(n.bits, 32);
	cr_expect_arr_eq(n.address, "\x20\x01\x0d\xb8", 4);
	cr_assert(access_parse_network("::/0", &n));
	cr_expect_eq(n.bits, 0);
	cr_assert(access_parse_network("::1/128", &n));
	cr_assert(access_parse_network("128.0.0.0/1", &n));
	cr_expect_eq(n.bits, 97);
}

Test(access, other_networks_are_refused)
{
	static const char *const bad[] = {
		"",
		"/8",
		"10.0.0.0/",
		"10.0.0.0/33",
		"10.0.0.1/8",
		"10.0.0/8",
		"10.0.0.0/8/8",
		"10.0.0.0/-1",
		"10.0.0.0/ 8",
		"::/129",
		"::1/127",
		"a::g",
		"10.0.0.0/0008",
		"64.0.0.0/1",
		"fe80::1%eth0",
		"2001:0db8:0000:0000:0000:0000:0000:00000000000000001"};
	struct network n;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		cr_expect_not(access_parse_network(bad[i], &n), "%s", bad[i]);
}

static struct access_record one(uint8_t kind, const char *text)
{
	struct access_record rec = {.kind = kind};

	snprintf(rec.text, sizeof(rec.text), "%s", text);
	return rec;
}

Test(access, block_has_scopes_then_routes_then_networks)
{
	const struct access_record of[] = {
		one(ACCESS_NETWORK, "10.0.0.0/8"), one(ACCESS_ROUTE, "/ocr"),
		one(ACCESS_SCOPE, "write"), one(ACCESS_SCOPE, "read")};
	uint64_t out[ACCESS_WORDS_MAX];
	struct access head;
	struct network n;

	cr_assert_eq(access_check(of, 4, why), 0, "%s", why);
	cr_assert_eq(access_fill(of, 4, out), access_words(2, 1, 1));
	memcpy(&head, out, sizeof(head));
	cr_expect_eq(head.scopes, 2);
	cr_expect_eq(head.routes, 1);
	cr_expect_eq(head.networks, 1);
	cr_expect_eq(out[2], label_hash("write", 5));
	cr_expect_eq(out[3], label_hash("read", 4));
	cr_expect_eq(out[4], label_hash("/ocr", 4));
	memcpy(&n, out + 5, sizeof(n));
	cr_expect_eq(n.bits, 104);
}

Test(access, edited_network_admits_nobody)
{
	const struct access_record of[] = {one(ACCESS_NETWORK, "nonsense")};
	uint64_t out[ACCESS_WORDS_MAX];
	struct network n;

	cr_assert_eq(access_fill(of, 1, out), access_words(0, 0, 1));
	memcpy(&n, out + 2, sizeof(n));
	cr_expect_eq(n.bits, 128);
	cr_expect_eq(n.address[0], 0xff);
	cr_expect_eq(n.address[15], 0xff);
}

Test(access, what_is_refused_is_said)
{
	struct access_record of[ACCESS_SCOPES_MAX + 1];

	of[0] = one(ACCESS_SCOPE, "");
	cr_expect_eq(access_check(of, 1, why), -EINVAL);
	of[0] = one(ACCESS_ROUTE, "a b");
	cr_expect_eq(access_check(of, 1, why), -EINVAL);
	of[0] = one(ACCESS_NETWORK, "x");
	cr_expect_eq(access_check(of, 1, why), -EINVAL);
	cr_expect_not_null(strstr(why, "10.0.0.0/8"));
	of[0] = of[1] = one(ACCESS_SCOPE, "a");
	cr_expect_eq(access_check(of, 2, why), -EINVAL);
	cr_expect_not_null(strstr(why, "twice"));
	of[1].kind = ACCESS_ROUTE; /* the same text of another kind */
	cr_expect_eq(access_check(of, 2, why), 0);
	for (unsigned i = 0; i <= ACCESS_SCOPES_MAX; i++) {
		char name[8];

		snprintf(name, sizeof(name), "s%u", i);
		of[i] = one(ACCESS_SCOPE, name);
	}
	cr_expect_eq(access_check(of, ACCESS_SCOPES_MAX, why), 0);
	cr_expect_eq(access_check(of, ACCESS_SCOPES_MAX + 1, why), -EINVAL);
}
