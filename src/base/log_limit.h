/* SPDX-License-Identifier: MIT */
#ifndef STILE_BASE_LOG_LIMIT_H
#define STILE_BASE_LOG_LIMIT_H

/*
 * base/log_limit - says which log lines pass, per event name.
 *
 * Bounds     LOG_EVENTS_MAX names; those that come later share one entry, so
 *            a flood of new names is limited as well.
 * Time       monotonic milliseconds, passed in.
 * Threads    none of its own: the caller holds a lock.
 */
#include <stdbool.h>
#include <stdint.h>

#define LOG_EVENTS_MAX 64
#define LOG_EVENT_NAME_MAX 40 /* compared and kept up to this length */
#define LOG_PERIOD_MS 10000

struct log_limit_entry {
	char name[LOG_EVENT_NAME_MAX];
	uint64_t period_ms; /* when its period began */
	uint32_t passed;    /* lines in this period */
	uint64_t held;      /* lines held back since the last that passed */
};

struct log_limit {
	uint32_t count;
	struct log_limit_entry entries[LOG_EVENTS_MAX + 1]; /* last: shared */
};

/* True when a line may be written; *ret_held is then the number of lines held
 * back before it. */
bool log_limit_pass(struct log_limit *l, const char *event, uint64_t now_ms,
		    uint64_t *ret_held);

#endif
