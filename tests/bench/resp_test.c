/* SPDX-License-Identifier: MIT */
#include "resp.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

static struct workload w;
static struct dialect d;
static char error[256];

static const char *const argv[] = {"CL", "key", "10"};
static const struct resp_form form = {
	.argc = 3,
	.key_arg = 1,
	.argv = argv,
	.prefix = "k:",
};
static const struct resp_limiter limiter = {
	.items = 3,
	.allowed = 1,
	.limit = 10,
};

static void setup(void)
{
	cr_assert_eq(workload_init(&w, 10, 10), 0);
	memcpy(w.orgs[0].c, "org00001", ID_LEN);
	workload_build(&w, WORKLOAD_RAW);
	cr_assert_eq(resp_dialect(&d, &w, &form, &limiter), 0);
}

static void teardown(void)
{
	dialect_free(&d);
	workload_deinit(&w);
}

TestSuite(resp, .init = setup, .fini = teardown, .timeout = 60);

static ssize_t read_text(const char *text, struct resp_reply *r)
{
	return resp_read((const uint8_t *)text, strlen(text), r);
}

Test(resp, every_kind_is_read_to_its_end)
{
	struct resp_reply r;

	cr_assert_eq(read_text("+OK\r\n+", &r), 5);
	cr_assert(r.kind == '+' && r.text_len == 2);
	cr_assert_eq(read_text("-ERR no\r\n", &r), 9);
	cr_assert(r.kind == '-' && memcmp(r.text, "ERR no", 6) == 0);
	cr_assert_eq(read_text(":-42\r\n", &r), 6);
	cr_assert_eq(r.numbers[0], -42);
	cr_assert_eq(read_text("$3\r\na\r\n\r\n", &r), 9);
	cr_assert(r.text_len == 3 && memcmp(r.text, "a\r\n", 3) == 0);
	cr_assert_eq(read_text("$-1\r\n", &r), 5);
	cr_assert_null(r.text);
	cr_assert_eq(read_text("*0\r\n", &r), 4);
	cr_assert_eq(r.count, 0);
	cr_assert_eq(read_text("*3\r\n:1\r\n$1\r\nx\r\n:3\r\n", &r), 19);
	cr_assert(r.count == 3 && r.numbers[0] == 1 && r.numbers[2] == 3);
	cr_assert(r.text_len == 1 && r.text[0] == 'x');
}

Test(resp, no_beginning_of_a_reply_is_taken_for_one)
{
	static const char text[] = "*4\r\n:1\r\n$3\r\nabc\r\n:-30\r\n+x\r\n";
	struct resp_reply r;

	for (size_t len = 0; len < sizeof(text) - 1; len++)
		cr_assert_eq(resp_read((const uint8_t *)text, len, &r), 0,
			     "%zu bytes", len);
	cr_assert_eq(read_text(text, &r), (ssize_t)sizeof(text) - 1);
}

Test(resp, garbage_is_refused)
{
	static const char *const texts[] = {
		"x\r\n",
		":\r\n",
		":1x\r\n",
		":1\rx",
		":1234567890123456789\r\n",
		"$1\r\nab\r\n",
		"$-2\r\n",
		"*9\r\n",
		"*-1\r\n",
		"*1\r\nx\r\n",
		"+OK\n",
		"*1\r\n*1\r\n:1\r\n",
	};
	struct resp_reply r;

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		cr_assert_eq(read_text(texts[i], &r), -1, "%s", texts[i]);
}

Test(resp, command_is_an_array_of_strings)
{
	char out[64];

	cr_assert(resp_command(out, sizeof(out), 3, argv));
	cr_assert_str_eq(out, "*3\r\n$2\r\nCL\r\n$3\r\nkey\r\n$2\r\n10\r\n");
	cr_assert_not(resp_command(out, 20, 3, argv));
}

Test(resp, request_carries_the_key_of_its_frame)
{
	char want[160];
	const struct workload_key *k = &w.keys[w.order[7] % w.key_count];

	snprintf(want, sizeof(want),
		 "*3\r\n$2\r\nCL\r\n$%d\r\nk:%.*s\r\n$2\r\n10\r\n",
		 k->text_len + 2, k->text_len, k->text);
	cr_assert_eq(d.request_bytes, strlen(want));
	cr_assert_eq(memcmp(d.requests + 7 * (size_t)d.request_bytes, want,
			    strlen(want)),
		     0);
}

static ssize_t judge(const char *text, uint32_t count,
		     struct workload_tally *tally, uint32_t *ret_count)
{
	return d.judge(&d, 0, count, (const uint8_t *)text, strlen(text), tally,
		       ret_count, error, sizeof(error));
}

Test(resp, judge_counts_whole_replies_only)
{
	static const char text[] = "*3\r\n:1\r\n:10\r\n:9\r\n"
				   "*3\r\n:0\r\n:10\r\n:0\r\n"
				   "*3\r\n:1\r\n";
	struct workload_tally tally = {0};
	uint32_t count;

	cr_assert_eq(judge(text, 3, &tally, &count), 34);
	cr_assert_eq(count, 2);
	cr_assert(tally.allowed == 1 && tally.denied == 1);
	cr_assert_eq(judge(text, 1, &tally, &count), 17);
	cr_assert_eq(count, 1);
}

Test(resp, judge_refuses_what_no_limiter_says)
{
	static const char *const texts[] = {
		"-ERR unknown command\r\n",   "*2\r\n:1\r\n:10\r\n",
		"*3\r\n:2\r\n:10\r\n:9\r\n",  /* neither yes nor no */
		"*3\r\n:1\r\n:11\r\n:9\r\n",  /* another limit */
		"*3\r\n:1\r\n:10\r\n:10\r\n", /* allowed, and nothing used */
		"*3\r\n:1\r\n:10\r\n:-1\r\n", "*4\r\n:1\r\n:10\r\n:9\r\n:0\r\n",
	};
	struct workload_tally tally = {0};
	uint32_t count;

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		cr_assert_eq(judge(texts[i], 1, &tally, &count), -1, "%s",
			     texts[i]);
	cr_assert(tally.allowed == 0 && tally.denied == 0);
	cr_assert_not_null(strstr(error, "wrong reply to request 0"));
}

Test(resp, judge_wants_the_organization_of_the_key)
{
	static const struct resp_limiter naming = {
		.items = 3,
		.allowed = 1,
		.limit = 10,
		.names_org = true,
	};
	struct workload_tally tally = {0};
	uint32_t count;

	d.detail = &naming;
	cr_assert_gt(judge("*4\r\n:1\r\n:10\r\n:9\r\n$8\r\norg00001\r\n", 1,
			   &tally, &count),
		     0);
	cr_assert_eq(judge("*4\r\n:1\r\n:10\r\n:9\r\n$8\r\norg00002\r\n", 1,
			   &tally, &count),
		     -1);
	cr_assert_eq(
		judge("*4\r\n:1\r\n:10\r\n:9\r\n$-1\r\n", 1, &tally, &count),
		-1);
}

Test(resp, set_names_key_and_organization)
{
	struct workload_tally tally = {0};
	struct dialect set;
	uint32_t count;

	cr_assert_eq(resp_dialect_set(&set, &w, "k:"), 0);
	cr_assert_eq(memcmp(set.requests, "*3\r\n$3\r\nSET\r\n", 13), 0);
	cr_assert_eq(memcmp(set.requests + set.request_bytes - 14,
			    "$8\r\norg00001\r\n", 14),
		     0);
	cr_assert_eq(set.judge(&set, 0, 1, (const uint8_t *)"+OK\r\n", 5,
			       &tally, &count, error, sizeof(error)),
		     5);
	cr_assert_eq(set.judge(&set, 0, 1, (const uint8_t *)"+KO\r\n", 5,
			       &tally, &count, error, sizeof(error)),
		     -1);
	dialect_free(&set);
}
