/* SPDX-License-Identifier: MIT */
#include "control/api_call.h"

#include "control/metrics.h"
#include "wire/reason.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

void api_livez(struct call *c)
{
	reply_text(c->reply, 200, "text/plain; charset=utf-8", "ok\n");
}

static bool ready(struct call *c, const char **ret_why)
{
	*ret_why = "starting or draining";
	if (!c->control->ready(c->control, ret_why))
		return false;
	*ret_why = "the database cannot be written";
	return records_probe(registry_records(c->control->registry)) == 0;
}

void api_readyz(struct call *c)
{
	const char *why;
	char text[128];

	if (ready(c, &why)) {
		reply_text(c->reply, 200, "text/plain; charset=utf-8",
			   "ready\n");
		return;
	}
	snprintf(text, sizeof(text), "not ready: %s\n", why);
	reply_text(c->reply, 503, "text/plain; charset=utf-8", text);
}

void api_metrics(struct call *c)
{
	int r;

	reply_text(c->reply, 200, METRICS_CONTENT_TYPE, "");
	r = metrics_write(c->control, &c->reply->body);
	if (r < 0)
		reply_error(c->reply, 500, "internal",
			    "The metrics cannot be collected: %s",
			    strerror(-r));
}

static json_t *show_counters(const struct counters *counters)
{
	json_t *checks = json_object();
	json_t *all;
	int bad = 0;

	for (unsigned i = 0; i < REASON_COUNT; i++)
		bad |= json_object_set_new(
			checks, reason_info((uint8_t)i)->word.s,
			json_integer((json_int_t)counter_read(
				&counters->verdicts[i])));
	all = json_pack("{s:I,s:o}", "connections",
			(json_int_t)counter_read(&counters->connections),
			"checks", checks);
#define X(field, metric, help)                                                 \
	bad |= json_object_set_new(                                            \
		all, #field,                                                   \
		json_integer((json_int_t)counter_read(&counters->field)));
	COUNTERS(X)
#undef X
	if (bad == 0)
		return all;
	json_decref(all);
	return NULL;
}

static json_t *show_workers(const struct control *ctl)
{
	json_t *array = json_array();

	for (uint32_t i = 0; i < ctl->worker_count; i++)
		if (json_array_append_new(array,
					  show_counters(ctl->workers[i])) < 0) {
			json_decref(array);
			return NULL;
		}
	return array;
}

static json_t *show_snapshot(const struct control *ctl)
{
	struct snapshot_result last = {0};
	const struct snapshot_info *i = &last.info;

	ctl->snapshot_last(ctl, &last);
	return json_pack("{s:o,s:I,s:I,s:I,s:I,s:o}", "last_at",
			 last.taken ? show_time(i->wall_ms) : json_null(),
			 "bytes", (json_int_t)i->bytes, "duration_ms",
			 (json_int_t)i->duration_ms, "orgs",
			 (json_int_t)i->orgs, "keys", (json_int_t)i->keys,
			 "last_error",
			 last.error[0] ? json_string(last.error) : json_null());
}

static json_t *show_usage(const struct control *ctl)
{
	struct usage_status s;

	usage_status(ctl->usage, &s);
	return json_pack(
		"{s:o,s:I,s:I,s:I,s:o}", "last_at", show_time(s.last_ms),
		"collections", (json_int_t)s.collections, "failures",
		(json_int_t)s.failures, "rows", (json_int_t)s.rows,
		"last_error", s.error[0] ? json_string(s.error) : json_null());
}

static json_t *show_capacities(const struct config *config)
{
	return json_pack("{s:I,s:I,s:I,s:I,s:I}", "orgs",
			 (json_int_t)config->max_orgs, "projects",
			 (json_int_t)config->max_projects, "keys",
			 (json_int_t)config->max_keys, "connections",
			 (json_int_t)config->max_connections, "ring_bytes",
			 (json_int_t)config->ring_bytes);
}

static json_t *show_clock(const struct control *ctl)
{
	return json_pack("{s:I,s:I}", "step_ms",
			 (json_int_t)civil_step_ms(ctl->civil), "settle_s",
			 (json_int_t)ctl->config->clock_settle_s);
}

void api_status(struct call *c)
{
	const struct control *ctl = c->control;
	struct records_counts counts;
	struct counters sum;
	const char *why;
	int64_t up_ms = c->now_ms - ctl->started_ms;
	int r = records_count(registry_records(ctl->registry), &counts);

	if (r < 0) {
		call_records_failed(c, r);
		return;
	}
	metrics_sum(ctl, &sum);
	reply_json(
		c->reply, 200,
		json_pack("{s:s,s:i,s:o,s:I,s:b,s:o,s:o,s:I,s:{s:I,s:I,s:I},"
			  "s:o,s:o,s:o,s:o,s:{s:s,s:b}}",
			  "version", STILE_VERSION, "pid", (int)getpid(),
			  "started_at", show_time(ctl->started_ms), "uptime_s",
			  (json_int_t)(up_ms > 0 ? up_ms / 1000 : 0), "ready",
			  (int)ready(c, &why), "workers", show_workers(ctl),
			  "counters", show_counters(&sum), "connections",
			  (json_int_t)counter_read(&sum.connections), "counts",
			  "orgs", (json_int_t)counts.orgs, "projects",
			  (json_int_t)counts.projects, "keys",
			  (json_int_t)counts.keys, "capacities",
			  show_capacities(ctl->config), "snapshot",
			  show_snapshot(ctl), "usage", show_usage(ctl), "clock",
			  show_clock(ctl), "arena", "path", ctl->arena_path,
			  "fresh", (int)ctl->arena_fresh));
}

void api_snapshot(struct call *c)
{
	struct control *ctl = c->control;
	struct snapshot_info info = {0};
	char err[SNAPSHOT_ERROR_MAX] = "";
	int r;

	if (!call_input(c, NULL, 0))
		return;
	r = ctl->snapshot(ctl, &info, err, sizeof(err));
	if (r < 0) {
		reply_error(c->reply, r == -ENOSPC ? 507 : 500,
			    r == -ENOSPC ? "capacity" : "internal",
			    "The snapshot failed: %s",
			    err[0] ? err : strerror(-r));
		return;
	}
	reply_json(c->reply, 200,
		   json_pack("{s:I,s:I,s:I,s:I}", "bytes",
			     (json_int_t)info.bytes, "duration_ms",
			     (json_int_t)info.duration_ms, "orgs",
			     (json_int_t)info.orgs, "keys",
			     (json_int_t)info.keys));
}

static void answer_backup_failed(struct call *c, int r, const char *text)
{
	switch (r) {
	case -ENOENT:
	case -ENOTDIR:
	case -EISDIR:
	case -EACCES:
	case -EPERM:
	case -EROFS:
	case -ENAMETOOLONG:
		call_invalid(c, "\"path\": %s", text);
		return;
	case -ENOSPC:
	case -EDQUOT:
		reply_error(c->reply, 507, "capacity", "%s", text);
		return;
	default:
		reply_error(c->reply, 500, "internal", "%s", text);
		return;
	}
}

void api_backup(struct call *c)
{
	struct records *records = registry_records(c->control->registry);
	const char *path = NULL;
	const struct input inputs[] = {
		{"path", INPUT_TEXT, true, &path},
	};
	int r;

	if (!call_input(c, inputs, 1))
		return;
	if (path[0] != '/') {
		call_invalid(c, "\"path\": expected an absolute path of a file "
				"that does not exist yet");
		return;
	}
	r = records_backup(records, path);
	if (r < 0)
		answer_backup_failed(c, r, records_error(records));
	else if (r > 0)
		reply_error(c->reply, 409, "conflict",
			    "There is a file with this path; backups do not "
			    "overwrite.");
	else
		reply_json(c->reply, 201, json_pack("{s:s}", "path", path));
}
