/* SPDX-License-Identifier: MIT */
#include "base/log.h"

#include "base/clock.h"
#include "base/log_limit.h"
#include "base/rfc3339.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define LOG_LINE_MAX 1024 /* bytes of one line with its newline */

static _Atomic(int) threshold = LOG_LEVEL_INFO;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct log_limit limits; /* under lock */

void log_set_level(enum log_level level)
{
	/* PAIRS: log_event(), relaxed: a setting that guards nothing. */
	atomic_store_explicit(&threshold, (int)level, memory_order_relaxed);
}

static const char *level_name(enum log_level level)
{
	static const char *const names[] = {"debug", "info", "warn", "error"};

	return level <= LOG_LEVEL_ERROR ? names[level] : "error";
}

/* What snprintf() really wrote into `room` bytes. */
static size_t written(int r, size_t room)
{
	if (r < 0)
		return 0;
	return (size_t)r < room ? (size_t)r : room - 1;
}

static bool pass(const char *event, uint64_t *ret_held)
{
	uint64_t now_ms = clock_ns(CLOCK_MONOTONIC) / 1000000;
	bool ok;

	pthread_mutex_lock(&lock);
	ok = log_limit_pass(&limits, event, now_ms, ret_held);
	pthread_mutex_unlock(&lock);
	return ok;
}

void log_event(enum log_level level, const char *event, const char *fmt, ...)
{
	char line[LOG_LINE_MAX];
	char ts[RFC3339_MAX];
	uint64_t held = 0;
	size_t room = sizeof(line) - 1; /* the newline has its place */
	size_t len;
	va_list ap;

	/* PAIRS: log_set_level(), relaxed; see there. */
	if ((int)level < atomic_load_explicit(&threshold, memory_order_relaxed))
		return;
	if (!pass(event, &held))
		return;
	rfc3339_format_ms((int64_t)clock_wall_ms(), ts);
	len = written(snprintf(line, room, "ts=%s level=%s event=%s", ts,
			       level_name(level), event),
		      room);
	if (held)
		len += written(snprintf(line + len, room - len, " held=%llu",
					(unsigned long long)held),
			       room - len);
	if (fmt[0] != '\0' && room - len > 2) {
		line[len++] = ' ';
		va_start(ap, fmt);
		len += written(vsnprintf(line + len, room - len, fmt, ap),
			       room - len);
		va_end(ap);
	}
	/* One event stays one line, whatever a value holds. */
	for (size_t i = 0; i < len; i++)
		if ((unsigned char)line[i] < 0x20 || line[i] == 0x7f)
			line[i] = '?';
	line[len++] = '\n';
	/* A reader of stderr that went away is no reason to stop. */
	if (write(STDERR_FILENO, line, len) < 0)
		return;
}

static bool needs_quotes(const char *text)
{
	if (*text == '\0')
		return true;
	for (; *text; text++)
		if ((unsigned char)*text <= 0x20 || *text == '"' ||
		    *text == '=' || *text == '\\' || *text == 0x7f)
			return true;
	return false;
}

const char *log_quote(const char *text, char *buf, unsigned long buf_len)
{
	static const char hex[] = "0123456789abcdef";
	unsigned long n = 0;

	if (!needs_quotes(text))
		return text;
	if (buf_len < 3)
		return "\"\"";
	buf[n++] = '"';
	/* The longest escape takes four bytes; two more close the text. */
	for (; *text && n + 6 <= buf_len; text++) {
		unsigned char c = (unsigned char)*text;

		if (c == '"' || c == '\\') {
			buf[n++] = '\\';
			buf[n++] = (char)c;
		} else if (c < 0x20 || c == 0x7f) {
			buf[n++] = '\\';
			buf[n++] = 'x';
			buf[n++] = hex[c >> 4];
			buf[n++] = hex[c & 15];
		} else {
			buf[n++] = (char)c;
		}
	}
	buf[n++] = '"';
	buf[n] = '\0';
	return buf;
}
