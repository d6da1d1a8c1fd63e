/* SPDX-License-Identifier: MIT */
#include "memtext.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define REPLY_BYTES_MAX 64u
#define DIGITS_MAX 20

/* The reply's line with its end, 0 when it is not whole, -1 when there can be
 * no such line. */
static ssize_t line_len(const uint8_t *bytes, size_t len)
{
	const uint8_t *end = memchr(bytes, '\n', len);

	if (!end)
		return len < REPLY_BYTES_MAX ? 0 : -1;
	return end > bytes && end[-1] == '\r' ? end - bytes + 1 : -1;
}

static ssize_t say_wrong(uint32_t request, const uint8_t *bytes, size_t len,
			 char *error, size_t error_len)
{
	int shown = (int)(len < REPLY_BYTES_MAX ? len : REPLY_BYTES_MAX);
	const uint8_t *end = memchr(bytes, '\r', (size_t)shown);

	if (end)
		shown = (int)(end - bytes);
	snprintf(error, error_len, "wrong reply to request %" PRIu32 ": %.*s",
		 request, shown, (const char *)bytes);
	return -1;
}

static ssize_t judge_number(const struct dialect *d, uint32_t request,
			    const uint8_t *bytes, size_t len,
			    struct workload_tally *tally, char *error,
			    size_t error_len)
{
	ssize_t n = line_len(bytes, len);

	(void)d;
	if (n == 0)
		return 0;
	/* A number does not begin with 0 unless it is 0, and it is not. */
	if (n < 3 || n - 2 > DIGITS_MAX || bytes[0] == '0')
		return say_wrong(request, bytes, len, error, error_len);
	for (ssize_t i = 0; i < n - 2; i++)
		if (bytes[i] < '0' || bytes[i] > '9')
			return say_wrong(request, bytes, len, error, error_len);
	tally->allowed++;
	return n;
}

static ssize_t judge_stored(const struct dialect *d, uint32_t request,
			    const uint8_t *bytes, size_t len,
			    struct workload_tally *tally, char *error,
			    size_t error_len)
{
	ssize_t n = line_len(bytes, len);

	(void)d;
	if (n == 0)
		return 0;
	if (n != 8 || memcmp(bytes, "STORED\r\n", 8) != 0)
		return say_wrong(request, bytes, len, error, error_len);
	tally->allowed++;
	return n;
}

static ssize_t judge_numbers(const struct dialect *d, uint32_t first,
			     uint32_t count, const uint8_t *bytes, size_t len,
			     struct workload_tally *tally, uint32_t *ret_count,
			     char *error, size_t error_len)
{
	return dialect_judge_each(judge_number, d, first, count, bytes, len,
				  tally, ret_count, error, error_len);
}

static ssize_t judge_stores(const struct dialect *d, uint32_t first,
			    uint32_t count, const uint8_t *bytes, size_t len,
			    struct workload_tally *tally, uint32_t *ret_count,
			    char *error, size_t error_len)
{
	return dialect_judge_each(judge_stored, d, first, count, bytes, len,
				  tally, ret_count, error, error_len);
}

int memtext_dialect_set(struct dialect *d, const struct workload *w)
{
	static const struct dialect_form form = {
		.before = "set ",
		.after = " 0 0 1\r\n0\r\n",
	};
	int r = dialect_build(d, w, &form);

	d->reply_bytes_max = REPLY_BYTES_MAX;
	d->judge = judge_stores;
	return r;
}

int memtext_dialect_incr(struct dialect *d, const struct workload *w)
{
	static const struct dialect_form form = {
		.before = "incr ",
		.after = " 1\r\n",
	};
	int r = dialect_build(d, w, &form);

	d->reply_bytes_max = REPLY_BYTES_MAX;
	d->judge = judge_numbers;
	return r;
}
