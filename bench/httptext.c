/* SPDX-License-Identifier: MIT */
#include "httptext.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#define STATUS_LINE_MIN 14u /* "HTTP/1.1 200\r\n" */
#define LENGTH_DIGITS_MAX 6u
#define ASK_TIMEOUT_S 10
/* Around the key; a path stands in the first. */
#define REQUEST_BEFORE "GET %s HTTP/1.1\r\nHost: stile\r\nX-API-Key: "
#define REQUEST_AFTER "\r\n\r\n"

const char *httptext_find(const uint8_t *head, size_t head_len,
			  const char *name, size_t *ret_len)
{
	const char *at = (const char *)head, *end = at + head_len;
	size_t name_len = strlen(name);

	for (;;) {
		const char *line = memchr(at, '\n', (size_t)(end - at));
		const char *stop;

		if (!line)
			return NULL;
		at = line + 1;
		if ((size_t)(end - at) < name_len + 2 || at[name_len] != ':' ||
		    strncasecmp(at, name, name_len) != 0)
			continue;
		at += name_len + 1;
		at += *at == ' ';
		stop = memchr(at, '\r', (size_t)(end - at));
		if (!stop)
			return NULL;
		*ret_len = (size_t)(stop - at);
		return at;
	}
}

static bool read_status(const uint8_t *bytes, uint32_t *ret_status)
{
	uint32_t status = 0;

	if (memcmp(bytes, "HTTP/1.1 ", 9) != 0)
		return false;
	for (size_t i = 9; i < 12; i++) {
		if (bytes[i] < '0' || bytes[i] > '9')
			return false;
		status = status * 10 + (bytes[i] - '0');
	}
	*ret_status = status;
	return true;
}

static bool read_length(const uint8_t *head, size_t head_len, size_t *ret)
{
	size_t len, value = 0;
	const char *text =
		httptext_find(head, head_len, "Content-Length", &len);

	if (!text || len == 0 || len > LENGTH_DIGITS_MAX)
		return false; /* an end by closing is not for us */
	for (size_t i = 0; i < len; i++) {
		if (text[i] < '0' || text[i] > '9')
			return false;
		value = value * 10 + (size_t)(text[i] - '0');
	}
	*ret = value;
	return true;
}

ssize_t httptext_read(const uint8_t *bytes, size_t len,
		      struct httptext_reply *ret)
{
	const uint8_t *end = memmem(bytes, len, "\r\n\r\n", 4);

	if (!end)
		return len < HTTPTEXT_REPLY_MAX ? 0 : -1;
	ret->head_len = (size_t)(end - bytes) + 4;
	if (ret->head_len < STATUS_LINE_MIN ||
	    !read_status(bytes, &ret->status) ||
	    !read_length(bytes, ret->head_len, &ret->body_len) ||
	    ret->head_len + ret->body_len > HTTPTEXT_REPLY_MAX)
		return -1;
	if (len < ret->head_len + ret->body_len)
		return 0;
	return (ssize_t)(ret->head_len + ret->body_len);
}

int httptext_ask(const struct address *a, const char *path, const char *key,
		 size_t key_len, char out[static HTTPTEXT_REPLY_MAX + 1])
{
	struct timeval timeout = {.tv_sec = ASK_TIMEOUT_S};
	struct httptext_reply r = {0};
	int fd = address_connect(a);
	size_t len = 0;
	ssize_t n = 0;

	if (fd < 0)
		return -1;
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
	if (dprintf(fd, REQUEST_BEFORE "%.*s" REQUEST_AFTER, path, (int)key_len,
		    key) > 0) {
		do {
			n = recv(fd, out + len, HTTPTEXT_REPLY_MAX - len, 0);
			if (n <= 0)
				break;
			len += (size_t)n;
			n = httptext_read((const uint8_t *)out, len, &r);
		} while (n == 0 && len < HTTPTEXT_REPLY_MAX);
	}
	close(fd);
	out[len] = '\0';
	return n > 0 ? (int)r.status : -1;
}

static bool has_id(const uint8_t *head, size_t head_len, const char *name,
		   const uint64_t *id)
{
	size_t len;
	const char *value = httptext_find(head, head_len, name, &len);

	return value && len == ID_LEN && memcmp(value, id, ID_LEN) == 0;
}

static bool right(const struct dialect *d, uint32_t request,
		  const uint8_t *bytes, const struct httptext_reply *r)
{
	const struct httptext_service *s = d->detail;
	const struct workload_expect *want = &d->workload->expect[request];
	size_t len;

	if (r->status != 200)
		return r->status == s->status_denied;
	if (s->header && !httptext_find(bytes, r->head_len, s->header, &len))
		return false;
	return !s->names_key ||
	       (has_id(bytes, r->head_len, "X-Stile-Org", &want->org) &&
		has_id(bytes, r->head_len, "X-Stile-Key-Id", &want->key));
}

static ssize_t judge_answer(const struct dialect *d, uint32_t request,
			    const uint8_t *bytes, size_t len,
			    struct workload_tally *tally, char *error,
			    size_t error_len)
{
	struct httptext_reply r;
	ssize_t n = httptext_read(bytes, len, &r);

	if (n == 0)
		return 0;
	if (n < 0 || !right(d, request, bytes, &r)) {
		snprintf(error, error_len,
			 "wrong reply to request %" PRIu32 ": %.*s", request,
			 (int)(len < 200 ? len : 200), (const char *)bytes);
		return -1;
	}
	tally->allowed += r.status == 200;
	tally->denied += r.status != 200;
	return n;
}

static ssize_t judge_answers(const struct dialect *d, uint32_t first,
			     uint32_t count, const uint8_t *bytes, size_t len,
			     struct workload_tally *tally, uint32_t *ret_count,
			     char *error, size_t error_len)
{
	return dialect_judge_each(judge_answer, d, first, count, bytes, len,
				  tally, ret_count, error, error_len);
}

int httptext_dialect(struct dialect *d, const struct workload *w,
		     const struct httptext_service *service)
{
	char before[256];
	struct dialect_form form = {.before = before, .after = REQUEST_AFTER};
	int r;

	snprintf(before, sizeof(before), REQUEST_BEFORE, service->path);
	r = dialect_build(d, w, &form);
	d->reply_bytes_max = HTTPTEXT_REPLY_MAX;
	d->detail = service;
	d->judge = judge_answers;
	return r;
}
