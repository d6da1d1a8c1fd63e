/* SPDX-License-Identifier: MIT */
#include "httptext.h"

#include <criterion/criterion.h>
#include <string.h>

static struct workload w;
static struct dialect d;
static char error[512];
static const struct httptext_service service = {
	.path = "/v1/check",
	.status_denied = 429,
	.names_key = true,
	.header = "X-RateLimit-Limit",
};

static void setup(void)
{
	cr_assert_eq(workload_init(&w, 1, 1), 0);
	memcpy(w.orgs[0].c, "org00001", ID_LEN);
	memcpy(w.keys[0].id.c, "key00001", ID_LEN);
	workload_build(&w, WORKLOAD_RAW);
	cr_assert_eq(httptext_dialect(&d, &w, &service), 0);
}

static void teardown(void)
{
	dialect_free(&d);
	workload_deinit(&w);
}

TestSuite(httptext, .init = setup, .fini = teardown, .timeout = 60);

static ssize_t read_text(const char *text, struct httptext_reply *r)
{
	return httptext_read((const uint8_t *)text, strlen(text), r);
}

Test(httptext, answer_ends_with_its_body)
{
	static const char text[] = "HTTP/1.1 429 Too Many Requests\r\n"
				   "content-length: 4\r\n\r\nbody";
	struct httptext_reply r;

	for (size_t len = 0; len < sizeof(text) - 1; len++)
		cr_assert_eq(httptext_read((const uint8_t *)text, len, &r), 0,
			     "%zu bytes", len);
	cr_assert_eq(read_text(text, &r), (ssize_t)sizeof(text) - 1);
	cr_assert(r.status == 429 && r.body_len == 4);
}

Test(httptext, garbage_is_refused)
{
	static const char *const texts[] = {
		"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",
		"HTTP/1.1 2x0 OK\r\nContent-Length: 0\r\n\r\n",
		"HTTP/1.1 200 OK\r\n\r\n", /* until it closes */
		"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: \r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n",
		"\r\n\r\n",
	};
	struct httptext_reply r;

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		cr_assert_eq(read_text(texts[i], &r), -1, "%s", texts[i]);
}

Test(httptext, header_is_found_by_its_whole_name)
{
	static const char head[] = "HTTP/1.1 200 OK\r\nX-Stile-Organ: no\r\n"
				   "x-stile-org: yes\r\nEmpty:\r\n\r\n";
	size_t len;
	const char *value = httptext_find(
		(const uint8_t *)head, sizeof(head) - 1, "X-Stile-Org", &len);

	cr_assert(value && len == 3 && memcmp(value, "yes", 3) == 0);
	value = httptext_find((const uint8_t *)head, sizeof(head) - 1, "Empty",
			      &len);
	cr_assert(value && len == 0);
	cr_assert_null(httptext_find((const uint8_t *)head, sizeof(head) - 1,
				     "Organ", &len));
}

static ssize_t judge(const char *text, struct workload_tally *tally)
{
	uint32_t count;

	return d.judge(&d, 0, 1, (const uint8_t *)text, strlen(text), tally,
		       &count, error, sizeof(error));
}

#define WHO(org, key) "X-Stile-Org: " org "\r\nX-Stile-Key-Id: " key "\r\n"
#define END "Content-Length: 0\r\n\r\n"
#define LIMIT "X-RateLimit-Limit: 1\r\n"

Test(httptext, judge_knows_whom_it_asked_for)
{
	struct workload_tally tally = {0};

	cr_assert_gt(judge("HTTP/1.1 200 OK\r\n" LIMIT WHO("org00001",
							   "key00001") END,
			   &tally),
		     0);
	cr_assert_eq(tally.allowed, 1);
	cr_assert_gt(judge("HTTP/1.1 429 No\r\n" END, &tally), 0);
	cr_assert_eq(tally.denied, 1);
	cr_assert_eq(judge("HTTP/1.1 200 OK\r\n" LIMIT WHO("org00001",
							   "key00002") END,
			   &tally),
		     -1);
	cr_assert_eq(judge("HTTP/1.1 200 OK\r\n" LIMIT WHO("", "key00001") END,
			   &tally),
		     -1);
	cr_assert_eq(judge("HTTP/1.1 200 OK\r\n" WHO("org00001", "key00001")
				   END,
			   &tally),
		     -1);
	cr_assert_eq(judge("HTTP/1.1 401 No\r\n" END, &tally), -1);
	cr_assert_not_null(strstr(error, "wrong reply to request 0"));
	cr_assert(tally.allowed == 1 && tally.denied == 1);
}
