/* SPDX-License-Identifier: MIT */
#include "base/log_limit.h"

#include "base/log.h"

#include <string.h>

static struct log_limit_entry *find(struct log_limit *l, const char *event,
				    uint64_t now_ms)
{
	struct log_limit_entry *e;

	for (uint32_t i = 0; i < l->count; i++) {
		e = &l->entries[i];
		if (strncmp(e->name, event, sizeof(e->name) - 1) == 0)
			return e;
	}
	if (l->count == LOG_EVENTS_MAX)
		return &l->entries[LOG_EVENTS_MAX];
	e = &l->entries[l->count++];
	strncpy(e->name, event, sizeof(e->name) - 1);
	e->period_ms = now_ms;
	return e;
}

bool log_limit_pass(struct log_limit *l, const char *event, uint64_t now_ms,
		    uint64_t *ret_held)
{
	struct log_limit_entry *e = find(l, event, now_ms);

	if (now_ms - e->period_ms >= LOG_PERIOD_MS) {
		e->period_ms = now_ms;
		e->passed = 0;
	}
	if (e->passed >= LOG_BURST) {
		e->held++;
		return false;
	}
	e->passed++;
	*ret_held = e->held;
	e->held = 0;
	return true;
}
