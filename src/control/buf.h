/* SPDX-License-Identifier: MIT */
#ifndef STILE_CONTROL_BUF_H
#define STILE_CONTROL_BUF_H

/*
 * control/buf - a growing byte buffer with a bound, for text that may hold a
 * key: whatever memory it gives back is wiped first.
 *
 * Errors     -ENOSPC beyond `max`, -ENOMEM; sticky until buf_clear(), so that
 *            a run of appends is checked once, at the end (buf->error).
 */
#include <stddef.h>

struct buf {
	char *data;
	size_t len, cap, max;
	int error; /* 0 or the first negative errno */
};

void buf_init(struct buf *b, size_t max);
void buf_deinit(struct buf *b);

/* Wipes and empties; large memory is given back. */
void buf_clear(struct buf *b);

int buf_add(struct buf *b, const void *data, size_t len);
int buf_text(struct buf *b, const char *text);
int buf_printf(struct buf *b, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

#endif
