/* SPDX-License-Identifier: MIT */
#include "resp.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#define FORM_LEN 1024
#define REPLY_BYTES_MAX 256u
#define DIGITS_MAX 18u
#define CALL_TIMEOUT_S 10

/* ---- reading ---- */

/* A line's number, after its first byte. Returns the line's length. */
static ssize_t read_number(const uint8_t *bytes, size_t len, int64_t *ret)
{
	size_t i = 1;
	bool minus = len > 1 && bytes[1] == '-';
	int64_t value = 0;
	size_t first;

	i += minus;
	first = i;
	while (i < len && bytes[i] >= '0' && bytes[i] <= '9') {
		if (i - first == DIGITS_MAX)
			return -1;
		value = value * 10 + (bytes[i] - '0');
		i++;
	}
	if (i < len && (i == first || bytes[i] != '\r'))
		return -1;
	if (i + 1 < len && bytes[i + 1] != '\n')
		return -1;
	*ret = minus ? -value : value;
	return i + 1 < len ? (ssize_t)(i + 2) : 0;
}

static ssize_t read_line(const uint8_t *bytes, size_t len,
			 struct resp_reply *ret)
{
	const uint8_t *end = memchr(bytes, '\n', len);

	if (!end)
		return 0;
	if (end == bytes || end[-1] != '\r')
		return -1;
	ret->text = (const char *)bytes + 1;
	ret->text_len = (size_t)(end - bytes) - 2;
	return end - bytes + 1;
}

static ssize_t read_bulk(const uint8_t *bytes, size_t len,
			 struct resp_reply *ret)
{
	int64_t size;
	ssize_t n = read_number(bytes, len, &size);
	size_t all;

	if (n <= 0)
		return n;
	if (size < 0) { /* nil */
		ret->text = NULL;
		ret->text_len = 0;
		return size == -1 ? n : -1;
	}
	all = (size_t)n + (size_t)size + 2;
	if (len < all)
		return 0;
	if (bytes[all - 2] != '\r' || bytes[all - 1] != '\n')
		return -1;
	ret->text = (const char *)bytes + n;
	ret->text_len = (size_t)size;
	return (ssize_t)all;
}

static ssize_t read_item(const uint8_t *bytes, size_t len, uint32_t idx,
			 struct resp_reply *ret)
{
	if (len == 0)
		return 0;
	switch (bytes[0]) {
	case ':':
		return read_number(bytes, len, &ret->numbers[idx]);
	case '$':
		return read_bulk(bytes, len, ret);
	case '+':
	case '-':
		return read_line(bytes, len, ret);
	default:
		return -1;
	}
}

ssize_t resp_read(const uint8_t *bytes, size_t len, struct resp_reply *ret)
{
	int64_t count = 1;
	ssize_t taken = 0;

	memset(ret, 0, sizeof(*ret));
	if (len == 0)
		return 0;
	ret->kind = (char)bytes[0];
	if (ret->kind == '*') {
		taken = read_number(bytes, len, &count);
		if (taken <= 0)
			return taken;
		if (count < 0 || count > RESP_ITEMS_MAX)
			return -1;
	}
	ret->count = (uint32_t)count;
	for (uint32_t i = 0; i < ret->count; i++) {
		ssize_t n =
			read_item(bytes + taken, len - (size_t)taken, i, ret);

		if (n <= 0)
			return n;
		taken += n;
	}
	return taken;
}

/* ---- writing ---- */

/* Appends; *at stays below out_len, or becomes out_len when there is no
 * room. */
__attribute__((format(printf, 4, 5))) static void
append(char *out, size_t out_len, size_t *at, const char *format, ...)
{
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(out + *at, out_len - *at, format, args);
	va_end(args);
	*at = n < 0 || (size_t)n >= out_len - *at ? out_len - 1
						  : *at + (size_t)n;
}

bool resp_command(char *out, size_t out_len, size_t argc,
		  const char *const *argv)
{
	size_t at = 0;

	append(out, out_len, &at, "*%zu\r\n", argc);
	for (size_t i = 0; i < argc; i++)
		append(out, out_len, &at, "$%zu\r\n%s\r\n", strlen(argv[i]),
		       argv[i]);
	return at < out_len - 1;
}

int resp_call(const struct address *a, const char *command, uint8_t *buffer,
	      size_t buffer_len, struct resp_reply *ret_reply, char *error,
	      size_t error_len)
{
	struct timeval timeout = {.tv_sec = CALL_TIMEOUT_S};
	int fd = address_connect(a);
	size_t len = 0;
	ssize_t n = 0;

	if (fd < 0) {
		snprintf(error, error_len, "cannot connect: %s", strerror(-fd));
		return -1;
	}
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
	if (send(fd, command, strlen(command), MSG_NOSIGNAL) ==
	    (ssize_t)strlen(command)) {
		do {
			n = recv(fd, buffer + len, buffer_len - len, 0);
			if (n <= 0)
				break;
			len += (size_t)n;
			n = resp_read(buffer, len, ret_reply);
		} while (n == 0 && len < buffer_len);
	}
	close(fd);
	if (n > 0 && ret_reply->kind != '-')
		return 0;
	snprintf(error, error_len, "a command was answered with: %.*s",
		 n > 0 ? (int)ret_reply->text_len : 7,
		 n > 0 ? ret_reply->text : "nothing");
	return -1;
}

/* ---- the dialects ---- */

static ssize_t say_wrong(uint32_t request, const uint8_t *bytes, size_t len,
			 char *error, size_t error_len)
{
	char text[REPLY_BYTES_MAX];
	size_t n = 0;

	for (; n < len && n < sizeof(text) - 1; n++)
		text[n] = bytes[n] >= ' ' && bytes[n] < 127 ? (char)bytes[n]
							    : ' ';
	text[n] = '\0';
	snprintf(error, error_len, "wrong reply to request %" PRIu32 ": %.120s",
		 request, text);
	return -1;
}

static bool right_org(const struct dialect *d, uint32_t request,
		      const struct resp_reply *r)
{
	return r->text && r->text_len == ID_LEN &&
	       memcmp(r->text, &d->workload->expect[request].org, ID_LEN) == 0;
}

static ssize_t judge_limiter(const struct dialect *d, uint32_t request,
			     const uint8_t *bytes, size_t len,
			     struct workload_tally *tally, char *error,
			     size_t error_len)
{
	const struct resp_limiter *l = d->detail;
	struct resp_reply r;
	ssize_t n = resp_read(bytes, len, &r);
	bool allowed;

	if (n == 0)
		return 0;
	if (n < 0 || r.kind != '*' || r.count != l->items + l->names_org ||
	    r.numbers[0] < 0 || r.numbers[0] > 1 || r.numbers[1] != l->limit)
		return say_wrong(request, bytes, len, error, error_len);
	allowed = r.numbers[0] == l->allowed;
	if (r.numbers[2] < 0 || r.numbers[2] > l->limit - allowed ||
	    (l->names_org && !right_org(d, request, &r)))
		return say_wrong(request, bytes, len, error, error_len);
	tally->allowed += allowed;
	tally->denied += !allowed;
	return n;
}

static ssize_t judge_limiters(const struct dialect *d, uint32_t first,
			      uint32_t count, const uint8_t *bytes, size_t len,
			      struct workload_tally *tally, uint32_t *ret_count,
			      char *error, size_t error_len)
{
	return dialect_judge_each(judge_limiter, d, first, count, bytes, len,
				  tally, ret_count, error, error_len);
}

int resp_dialect(struct dialect *d, const struct workload *w,
		 const struct resp_form *form,
		 const struct resp_limiter *limiter)
{
	char before[FORM_LEN], after[FORM_LEN];
	struct dialect_form text = {.before = before, .after = after};
	size_t at = 0, end = 0;
	int r;

	append(before, FORM_LEN, &at, "*%zu\r\n", form->argc);
	for (size_t i = 0; i < form->key_arg; i++)
		append(before, FORM_LEN, &at, "$%zu\r\n%s\r\n",
		       strlen(form->argv[i]), form->argv[i]);
	append(before, FORM_LEN, &at, "$%zu\r\n%s",
	       strlen(form->prefix) + w->keys[0].text_len, form->prefix);
	append(after, FORM_LEN, &end, "\r\n");
	for (size_t i = form->key_arg + 1; i < form->argc; i++)
		append(after, FORM_LEN, &end, "$%zu\r\n%s\r\n",
		       strlen(form->argv[i]), form->argv[i]);
	if (at == FORM_LEN - 1 || end == FORM_LEN - 1)
		return -ENAMETOOLONG;
	r = dialect_build(d, w, &text);
	d->reply_bytes_max = REPLY_BYTES_MAX;
	d->detail = limiter;
	d->judge = judge_limiters;
	return r;
}

static ssize_t judge_ok(const struct dialect *d, uint32_t request,
			const uint8_t *bytes, size_t len,
			struct workload_tally *tally, char *error,
			size_t error_len)
{
	struct resp_reply r;
	ssize_t n = resp_read(bytes, len, &r);

	(void)d;
	if (n == 0)
		return 0;
	if (n < 0 || r.kind != '+' || r.text_len != 2 ||
	    memcmp(r.text, "OK", 2) != 0)
		return say_wrong(request, bytes, len, error, error_len);
	tally->allowed++;
	return n;
}

static ssize_t judge_oks(const struct dialect *d, uint32_t first,
			 uint32_t count, const uint8_t *bytes, size_t len,
			 struct workload_tally *tally, uint32_t *ret_count,
			 char *error, size_t error_len)
{
	return dialect_judge_each(judge_ok, d, first, count, bytes, len, tally,
				  ret_count, error, error_len);
}

int resp_dialect_set(struct dialect *d, const struct workload *w,
		     const char *prefix)
{
	char before[FORM_LEN], between[32];
	struct dialect_form text = {
		.before = before,
		.between = between,
		.after = "\r\n",
	};
	int r;

	snprintf(before, FORM_LEN, "*3\r\n$3\r\nSET\r\n$%zu\r\n%s",
		 strlen(prefix) + w->keys[0].text_len, prefix);
	snprintf(between, sizeof(between), "\r\n$%d\r\n", ID_LEN);
	r = dialect_build(d, w, &text);
	d->reply_bytes_max = REPLY_BYTES_MAX;
	d->judge = judge_oks;
	return r;
}
