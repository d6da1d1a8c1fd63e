/* SPDX-License-Identifier: MIT */
#include "control/buf.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BUF_FIRST 4096 /* bytes of the first piece of memory */
#define BUF_KEEP 65536 /* an emptied buffer keeps no more than this */

void buf_init(struct buf *b, size_t max)
{
	*b = (struct buf){.max = max};
}

void buf_deinit(struct buf *b)
{
	if (b->data)
		OPENSSL_cleanse(b->data, b->cap);
	free(b->data);
	*b = (struct buf){.max = b->max};
}

void buf_clear(struct buf *b)
{
	if (b->cap > BUF_KEEP) {
		buf_deinit(b);
		return;
	}
	if (b->len)
		OPENSSL_cleanse(b->data, b->len);
	b->len = 0;
	b->error = 0;
}

/* realloc() may leave a copy behind, so this moves by hand. */
static int grow(struct buf *b, size_t need)
{
	size_t cap = b->cap ? b->cap : BUF_FIRST;
	char *data;

	while (cap < need)
		cap *= 2;
	data = malloc(cap);
	if (!data)
		return -ENOMEM;
	if (b->data) {
		memcpy(data, b->data, b->len);
		OPENSSL_cleanse(b->data, b->cap);
		free(b->data);
	}
	b->data = data;
	b->cap = cap;
	return 0;
}

/* Room for `len` more bytes. */
static int reserve(struct buf *b, size_t len)
{
	if (b->error)
		return b->error;
	if (len > b->max || b->len > b->max - len)
		b->error = -ENOSPC;
	else if (b->len + len > b->cap)
		b->error = grow(b, b->len + len);
	return b->error;
}

int buf_add(struct buf *b, const void *data, size_t len)
{
	int r = reserve(b, len);

	if (r < 0 || len == 0)
		return r;
	memcpy(b->data + b->len, data, len);
	b->len += len;
	return 0;
}

int buf_text(struct buf *b, const char *text)
{
	return buf_add(b, text, strlen(text));
}

int buf_printf(struct buf *b, const char *fmt, ...)
{
	char small[512];
	va_list ap;
	int len;
	int r;

	va_start(ap, fmt);
	len = vsnprintf(small, sizeof(small), fmt, ap);
	va_end(ap);
	if (len < 0)
		r = b->error = b->error ? b->error : -EINVAL;
	else if ((size_t)len < sizeof(small))
		r = buf_add(b, small, (size_t)len);
	else
		/* Its terminator needs a place too. */
		r = reserve(b, (size_t)len + 1);
	if (r == 0 && (size_t)len >= sizeof(small)) {
		va_start(ap, fmt);
		vsnprintf(b->data + b->len, (size_t)len + 1, fmt, ap);
		va_end(ap);
		b->len += (size_t)len;
	}
	OPENSSL_cleanse(small, sizeof(small));
	return r;
}
