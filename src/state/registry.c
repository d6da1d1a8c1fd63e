/* SPDX-License-Identifier: MIT */
#include "state/registry.h"
#include "state/registry_internal.h"

#include "base/check.h"
#include "base/clock.h"
#include "gate/keytable.h"
#include "state/arena.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int registry_fail(struct registry *g, int result, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(g->error, sizeof(g->error), fmt, ap);
	va_end(ap);
	return result;
}

int registry_from_records(struct registry *g, int r, const char *what)
{
	switch (r) {
	case 0:
		return 0;
	case RECORDS_EXISTS:
		return registry_fail(g, REGISTRY_EXISTS, "%s already exists",
				     what);
	case RECORDS_ABSENT:
		return registry_fail(g, REGISTRY_ABSENT, "no such %s", what);
	case RECORDS_FULL:
		return registry_fail(g, REGISTRY_FULL,
				     "no room for another %s; raise max_%ss",
				     what, what);
	default:
		return registry_fail(g, r, "%s", records_error(g->records));
	}
}

int registry_begin(struct registry *g, const char *what)
{
	return registry_from_records(g, records_begin(g->records), what);
}

int registry_commit(struct registry *g, const char *what)
{
	int r = 0;

	if (g->actor.action[0] != '\0') {
		g->actor.at_ms = registry_now_ms(g);
		r = records_audit_insert(g->records, &g->actor);
	}
	if (r == 0)
		return registry_from_records(g, records_commit(g->records),
					     what);
	r = registry_from_records(g, r, what);
	records_rollback(g->records);
	return r;
}

int registry_event_raise(struct registry *g, struct event_record *rec)
{
	rec->at_ms = registry_now_ms(g);
	rec->delivered_ms = 0;
	return registry_from_records(g, records_event_insert(g->records, rec),
				     "event");
}

void registry_act_for(struct registry *g, const struct audit_record *actor)
{
	if (actor != NULL)
		g->actor = *actor;
	else
		explicit_bzero(&g->actor, sizeof(g->actor));
}

const char *registry_error(const struct registry *g)
{
	return g->error;
}

struct records *registry_records(struct registry *g)
{
	return g->records;
}

int64_t registry_now_ms(const struct registry *g)
{
	return (int64_t)clock_civil_ms(&g->arena->header->civil_ns,
				       clock_ns(CLOCK_BOOTTIME));
}

int registry_open(struct registry **ret_registry, struct records *records,
		  struct arena_file *arena, bool fresh, struct keytable *table,
		  struct epoch *epoch, const char *state_dir,
		  const struct registry_options *options,
		  struct registry_report *ret_report, char *err, size_t err_len)
{
	struct registry *g = calloc(1, sizeof(*g));
	struct records_counts counts;
	int r;

	if (g == NULL)
		return -ENOMEM;
	g->records = records;
	g->file = arena;
	g->arena = &arena->arena;
	g->table = table;
	g->epoch = epoch;
	g->options = *options;
	check(keytext_prefix_init(&g->prefix, options->key_prefix));
	claim_init(&g->claim, g->arena, OWNER_CONTROL, NULL);
	rings_init(&g->rings, arena, options->ring_bytes, fresh);
	memset(ret_report, 0, sizeof(*ret_report));

	r = calendar_open(g);
	if (r < 0) {
		snprintf(err, err_len, "no memory for the calendar");
		goto out_free;
	}
	r = records_count(records, &counts);
	if (r < 0) {
		snprintf(err, err_len, "%s", records_error(records));
		goto out_free;
	}
	r = registry_plans_load(g);
	if (r != 0) {
		snprintf(err, err_len, "loading the limits: %s", strerror(-r));
		goto out_free;
	}
	r = keytable_init(table, counts.keys, epoch);
	if (r < 0) {
		snprintf(err, err_len, "no memory for the key table");
		goto out_free;
	}
	r = registry_load(g, &fresh, ret_report, err, err_len);
	if (r < 0)
		goto out_table;
	ret_report->fresh = fresh;
	if (fresh)
		registry_restore(g, state_dir, ret_report);
	r = registry_trials_load(g, err, err_len);
	if (r < 0)
		goto out_table;
	r = checks_open(g);
	if (r < 0) {
		snprintf(err, err_len, "no memory for checks");
		goto out_table;
	}
	if (ret_report->warning[0] == '\0') {
		if (options->strict)
			r = registry_disown_snapshot(g, state_dir, err,
						     err_len);
		if (r < 0)
			goto out_table;
		arena_set_ready(arena);
	}
	*ret_registry = g;
	return 0;
out_table:
	keytable_deinit(table);
out_free:
	checks_close(g);
	calendar_close(g);
	registry_plans_unload(g);
	rings_deinit(&g->rings);
	free(g);
	return r;
}

struct registry *registry_close(struct registry *g)
{
	keytable_deinit(g->table);
	checks_close(g);
	calendar_close(g);
	registry_plans_unload(g);
	rings_deinit(&g->rings);
	free(g);
	return NULL;
}
