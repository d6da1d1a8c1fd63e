/* SPDX-License-Identifier: MIT */
#include "memtext.h"

#include <criterion/criterion.h>
#include <string.h>

static struct workload w;
static struct dialect d;

static void setup(void)
{
	cr_assert_eq(workload_init(&w, 10, 10), 0);
	workload_build(&w, WORKLOAD_RAW);
}

static void teardown(void)
{
	dialect_free(&d);
	workload_deinit(&w);
}

TestSuite(memtext, .init = setup, .fini = teardown, .timeout = 60);

static ssize_t judge(const char *text, uint32_t count, uint32_t *ret_count)
{
	struct workload_tally tally = {0};
	char error[256];
	ssize_t n = d.judge(&d, 0, count, (const uint8_t *)text, strlen(text),
			    &tally, ret_count, error, sizeof(error));

	cr_assert(n < 0 || tally.allowed == *ret_count);
	return n;
}

Test(memtext, incr_is_answered_with_numbers)
{
	uint32_t count;

	cr_assert_eq(memtext_dialect_incr(&d, &w), 0);
	cr_assert_eq(memcmp(d.requests, "incr ", 5), 0);
	cr_assert_eq(memcmp(d.requests + d.request_bytes - 4, " 1\r\n", 4), 0);
	cr_assert_eq(judge("1\r\n20\r\n3\r", 3, &count), 7);
	cr_assert_eq(count, 2);
	cr_assert_eq(judge("1\r\n20\r\n", 1, &count), 3);
	cr_assert_eq(judge("12", 1, &count), 0);
	cr_assert_eq(judge("", 1, &count), 0);
}

Test(memtext, anything_else_is_wrong)
{
	static const char *const texts[] = {
		"NOT_FOUND\r\n", "ERROR\r\n", "0\r\n", "01\r\n",
		"1 \r\n",        "-1\r\n",    "1\n",   "\r\n",
	};
	char longer[80] = "";
	uint32_t count;

	cr_assert_eq(memtext_dialect_incr(&d, &w), 0);
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		cr_assert_eq(judge(texts[i], 1, &count), -1, "%s", texts[i]);
	memset(longer, '1', sizeof(longer) - 1); /* than any number */
	cr_assert_eq(judge(longer, 1, &count), -1);
}

Test(memtext, set_is_answered_with_stored)
{
	uint32_t count;

	cr_assert_eq(memtext_dialect_set(&d, &w), 0);
	cr_assert_eq(judge("STORED\r\nSTOR", 2, &count), 8);
	cr_assert_eq(count, 1);
	cr_assert_eq(judge("NOT_STORED\r\n", 1, &count), -1);
	cr_assert_eq(judge("1\r\n", 1, &count), -1);
}
