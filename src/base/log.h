/* SPDX-License-Identifier: MIT */
#ifndef STILE_BASE_LOG_H
#define STILE_BASE_LOG_H

/*
 * base/log - structured lines on stderr (logfmt): ts, level, event, then
 * key=value pairs.
 *
 * Threads    any but workers in their loop: they post counters instead.
 * Rate       each event name passes at most LOG_BURST lines in ten seconds;
 *            the rest are counted and told with the next line that passes.
 * Secrets    never give it a key; ids only.
 */
enum log_level {
	LOG_LEVEL_DEBUG,
	LOG_LEVEL_INFO,
	LOG_LEVEL_WARN,
	LOG_LEVEL_ERROR
};

#define LOG_BURST 20

void log_set_level(enum log_level level);

/* log_event(LOG_LEVEL_INFO, "ready", "workers=%u dir=%s", n, dir). Values that
 * may hold spaces or quotes are given with %s through log_quote(). */
void log_event(enum log_level level, const char *event, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* Quotes `text` for logfmt into buf when it needs it; returns buf or text. */
const char *log_quote(const char *text, char *buf, unsigned long buf_len);

#endif
