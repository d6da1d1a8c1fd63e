/* SPDX-License-Identifier: MIT */
#include "control/config.h"

#include "base/check.h"
#include "base/keytext.h"
#include "control/config_option.h"
#include "control/config_routes.h"
#include "gate/layout.h"
#include "state/registry.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

static const char *const reset_forms[] = {"epoch", "delta", NULL};
static const char *const error_forms[] = {"flat", "nested", "problem", NULL};
static const char *const hold_expiries[] = {"return", "keep", NULL};
static const char *const restore_modes[] = {"snapshot", "strict", NULL};
static const char *const pin_modes[] = {"off", "on", NULL};
static const char *const log_levels[] = {"debug", "info", "warn", "error",
					 NULL};

#define AT(member)                                                             \
	.offset = offsetof(struct config, member),                             \
	.size = sizeof(((struct config *)NULL)->member)

#define SOCKET_PATH_MAX (CONFIG_PATH_MAX - 1)
#define IDLE_TIMEOUT_MIN_S 60
#define CONNECTIONS_MAX 65536
#define ADMIN_CONNECTIONS_MAX 1024
#define BUFFERS_MAX 32768
#define SPIN_MAX_US 1000

/* Name, type, unit, default, bounds, place, sentence: one row per option, in
 * the order of the reference; options of one group stand together. */
const struct option config_options[] = {
	{"dir", OPTION_DIR, "", ".", 1, PATH_MAX - 1, AT(dir), NULL,
	 "Where sockets with relative paths and the folder state/ live; --dir "
	 "wins over it."},
	{"runtime_dir", OPTION_DIR, "", "", 0, PATH_MAX - 1, AT(runtime_dir),
	 NULL,
	 "A directory on tmpfs for the counters; empty means "
	 "$RUNTIME_DIRECTORY, and /dev/shm when that is not set."},
	{"native.path", OPTION_SOCKET, "", "stile.sock", 0, SOCKET_PATH_MAX,
	 AT(native.path), NULL,
	 "Socket of the native protocol (docs/protocol.md)."},
	{"native.mode", OPTION_MODE, "", "0660", 0, 0777, AT(native.mode), NULL,
	 "File mode of that socket: who may write to it may ask."},
	{"native.max_connections", OPTION_COUNT, "connections", "4096", 1,
	 CONNECTIONS_MAX, AT(native.max_connections), NULL,
	 "Connections on that socket; more are closed at once and counted. "
	 "max_connections bounds them as well."},
	{"http.path", OPTION_SOCKET, "", "http.sock", 0, SOCKET_PATH_MAX,
	 AT(http.path), NULL,
	 "Socket of HTTP/1.1 checks, for nginx auth_request and the like."},
	{"http.mode", OPTION_MODE, "", "0660", 0, 0777, AT(http.mode), NULL,
	 "File mode of that socket; the proxy's user needs write permission."},
	{"http.max_connections", OPTION_COUNT, "connections", "4096", 1,
	 CONNECTIONS_MAX, AT(http.max_connections), NULL,
	 "Connections on that socket; more are closed at once and counted. "
	 "max_connections bounds them as well."},
	{"http.realm", OPTION_TEXT, "", "stile", 1, 63, AT(realm), NULL,
	 "The realm in WWW-Authenticate of a 401."},
	{"http.reset", OPTION_CHOICE, "", "epoch", 0, 0, AT(reset_form),
	 reset_forms,
	 "X-RateLimit-Reset as a Unix time (epoch) or as seconds from now "
	 "(delta)."},
	{"http.errors", OPTION_CHOICE, "", "flat", 0, 0, AT(error_form),
	 error_forms,
	 "The JSON of a denial: {\"success\":false,\"error\":...} (flat), "
	 "{\"error\":{\"code\":...}} (nested), or application/problem+json of "
	 "RFC 9457 (problem)."},
	{"admin.path", OPTION_SOCKET, "", "admin.sock", 1, SOCKET_PATH_MAX,
	 AT(admin.path), NULL,
	 "Socket of the admin API (docs/openapi.yaml); only root and the user "
	 "of stiled are answered."},
	{"admin.mode", OPTION_MODE, "", "0600", 0, 0777, AT(admin.mode), NULL,
	 "File mode of that socket; may not allow others."},
	{"admin.max_connections", OPTION_COUNT, "connections", "64", 1,
	 ADMIN_CONNECTIONS_MAX, AT(admin.max_connections), NULL,
	 "Connections on that socket; more are answered 503 and closed."},
	{"workers", OPTION_COUNT, "threads", "0", 0, WORKERS_MAX, AT(workers),
	 NULL, "Worker threads; 0 is one per CPU."},
	{"pin", OPTION_CHOICE, "", "off", 0, 0, AT(pin), pin_modes,
	 "Keeps each worker on a CPU of its own, the first on the first that "
	 "stiled may use; needs as many CPUs as workers (docs/operation.md)."},
	{"spin", OPTION_COUNT, "microseconds", "0", 0, SPIN_MAX_US, AT(spin_us),
	 NULL,
	 "Latency mode: how long a worker that had work looks for more before "
	 "it sleeps; 0 turns it off. Ignored unless there are more CPUs than "
	 "workers."},
	{"max_connections", OPTION_COUNT, "connections", "4096", 1,
	 CONNECTIONS_MAX, AT(max_connections), NULL,
	 "Connections of all check sockets together."},
	{"idle_timeout", OPTION_SECONDS, "seconds", "75s", IDLE_TIMEOUT_MIN_S,
	 86400, AT(idle_timeout_s), NULL,
	 "A connection without traffic is closed after this; keep it above "
	 "the keep-alive timeout of the proxy's upstream."},
	{"recv_buffers", OPTION_POWER, "buffers", "512", 8, BUFFERS_MAX,
	 AT(recv_buffers), NULL, "Receive buffers of each worker."},
	{"send_buffers", OPTION_POWER, "buffers", "512", 8, BUFFERS_MAX,
	 AT(send_buffers), NULL, "Send buffers of each worker."},
	{"output_bytes_max", OPTION_BYTES, "bytes", "4MiB", 1 << 16,
	 UINT64_C(1) << 30, AT(output_bytes_max), NULL,
	 "Replies that one connection may leave unread before it is no longer "
	 "read from."},
	{"max_orgs", OPTION_COUNT, "organizations", "1048575", 1,
	 ARENA_ORGS_MAX - 1, AT(max_orgs), NULL,
	 "Organizations; creating one more is answered 507."},
	{"max_projects", OPTION_COUNT, "projects", "1048575", 1,
	 ARENA_PROJECTS_MAX - 1, AT(max_projects), NULL,
	 "Projects; creating one more is answered 507."},
	{"max_keys", OPTION_COUNT, "keys", "10485760", 1, ARENA_KEYS_MAX - 1,
	 AT(max_keys), NULL, "Keys; creating one more is answered 507."},
	{"ring_bytes", OPTION_BYTES, "bytes", "4GiB", 1 << 20, ARENA_RING_BYTES,
	 AT(ring_bytes), NULL,
	 "Memory of all windows together: about 8 bytes per unit of limit, "
	 "taken as organizations need it."},
	{"default_limit", OPTION_LIMIT, "", "100/60s", 1, LIMIT_MAX,
	 AT(default_limit), NULL,
	 "Limit of an organization that is created without one."},
	{"key_prefix", OPTION_TEXT, "", "il", 1, KEYTEXT_PREFIX_MAX,
	 AT(key_prefix), NULL,
	 "What new keys begin with, [a-z0-9]; il makes il_..."},
	{"snapshot_interval", OPTION_SECONDS, "seconds", "10s", 0, 86400,
	 AT(snapshot_interval_s), NULL,
	 "Counters are written to state/ this often; 0s only on demand and at "
	 "exit."},
	{"request_ids", OPTION_COUNT, "entries", "32768", 0, REGISTRY_IDS_MAX,
	 AT(request_ids), NULL,
	 "Request ids that are remembered at a time; beyond them a check is "
	 "charged as if it named none, and counted."},
	{"request_id_ttl", OPTION_SECONDS, "seconds", "10s", 0, 3600,
	 AT(request_id_ttl_s), NULL,
	 "The same request id of the same key with the same cost is charged "
	 "once within this time; 0s: not remembered."},
	{"holds", OPTION_COUNT, "holds", "16384", 0, REGISTRY_HOLDS_MAX,
	 AT(holds), NULL,
	 "Reservations and leases at a time; a sixteenth of them is for the "
	 "admin API, of the others each worker has an equal part, and beyond "
	 "it they are answered 503."},
	{"hold_ttl", OPTION_SECONDS, "seconds", "5m", 1, 604800, AT(hold_ttl_s),
	 NULL,
	 "A reservation that does not say how long it lasts expires after "
	 "this."},
	{"hold_expiry", OPTION_CHOICE, "", "return", 0, 0, AT(hold_expiry),
	 hold_expiries,
	 "What becomes of the units of a reservation that nobody settled: "
	 "given back (return) or kept charged (keep)."},
	{"usage_cells", OPTION_COUNT, "cells", "16384", 0, REGISTRY_CELLS_MAX,
	 AT(usage_cells), NULL,
	 "Keys on routes, and keys that are denied, whose usage is counted "
	 "apart at a time."},
	{"rule_subjects", OPTION_COUNT, "subjects", "4096", 16, 16777216,
	 AT(rule_subjects), NULL,
	 "Projects, keys, labels or addresses that a limit counts at a time, "
	 "when it does not say (--max-subjects); fewer for windows so large "
	 "that they would take more than 160 MiB."},
	{"usage_interval", OPTION_SECONDS, "seconds", "5s", 1, 3600,
	 AT(usage_interval_s), NULL,
	 "What was used is added to state/usage.db this often, and at the turn "
	 "of each hour. In one interval up to 16777215 checks of one key are "
	 "told "
	 "apart; units always are."},
	{"usage_retention", OPTION_SECONDS, "seconds", "90d", 0,
	 UINT64_C(3660) * 86400, AT(usage_retention_s), NULL,
	 "Rows of usage older than this are deleted; 0s keeps them."},
	{"events_retention", OPTION_SECONDS, "seconds", "90d", 0,
	 UINT64_C(3660) * 86400, AT(events_retention_s), NULL,
	 "Events older than this are deleted, also those that are still "
	 "pending, which is logged; 32d or more, or 0s, which keeps them."},
	{"audit_retention", OPTION_SECONDS, "seconds", "400d", 0,
	 UINT64_C(3660) * 86400, AT(audit_retention_s), NULL,
	 "Lines of the audit trail older than this are deleted; 0s keeps "
	 "them."},
	{"restore", OPTION_CHOICE, "", "snapshot", 0, 0, AT(restore),
	 restore_modes,
	 "After a reboot, windows are those of the last snapshot (snapshot) or "
	 "count as full for one window (strict)."},
	{"clock_settle", OPTION_SECONDS, "seconds", "10m", 0, 86400,
	 AT(clock_settle_s), NULL,
	 "How long a step of the wall clock must last before expiry and budget "
	 "periods follow it; 0s believes it at once."},
	{"drain_timeout", OPTION_SECONDS, "seconds", "10s", 0, 3600,
	 AT(drain_timeout_s), NULL,
	 "On SIGTERM, how long replies may take to be fetched before "
	 "connections are closed."},
	{"log_level", OPTION_CHOICE, "", "info", 0, 0, AT(log_level),
	 log_levels, "Least level that is logged."},
};
const size_t config_option_count =
	sizeof(config_options) / sizeof(config_options[0]);

void config_defaults(struct config *c)
{
	char expected[OPTION_EXPECTED_MAX];

	memset(c, 0, sizeof(*c));
	for (size_t i = 0; i < config_option_count; i++)
		check(option_set(&config_options[i], c,
				 config_options[i].standard, expected));
}

static uint32_t line_of(const struct config_faults *f, const char *name)
{
	for (size_t i = 0; f->lines && i < config_option_count; i++)
		if (strcmp(config_options[i].name, name) == 0)
			return f->lines[i];
	return 0;
}

#define FAULT(name, ...) config_fault(f, line_of(f, name), name, __VA_ARGS__)

int config_socket_path(const struct config *c, const struct listener_config *l,
		       char out[static CONFIG_PATH_MAX])
{
	char path[PATH_MAX + CONFIG_PATH_MAX + 1];
	int len;

	if (l->path[0] == '/' || strcmp(c->dir, ".") == 0)
		len = snprintf(path, sizeof(path), "%s", l->path);
	else
		len = snprintf(path, sizeof(path), "%s/%s", c->dir, l->path);
	if (len < 0 || len >= CONFIG_PATH_MAX)
		return -ENAMETOOLONG;
	memcpy(out, path, (size_t)len + 1);
	return 0;
}

static void check_sockets(const struct config *c, struct config_faults *f)
{
	static const char *const names[] = {"native.path", "http.path",
					    "admin.path"};
	const struct listener_config *const all[] = {&c->native, &c->http,
						     &c->admin};
	char path[3][CONFIG_PATH_MAX];

	for (int i = 0; i < 3; i++) {
		if (config_socket_path(c, all[i], path[i]) < 0) {
			FAULT(names[i],
			      "expected a path that fits %d bytes together "
			      "with dir "
			      "\"%s\"",
			      CONFIG_PATH_MAX - 1, c->dir);
			path[i][0] = '\0';
		}
		for (int j = 0; j < i; j++)
			if (all[i]->path[0] != '\0' && path[i][0] != '\0' &&
			    strcmp(path[i], path[j]) == 0)
				FAULT(names[i],
				      "expected another socket than %s (one "
				      "listener "
				      "speaks one protocol)",
				      names[j]);
	}
	if (c->native.path[0] == '\0' && c->http.path[0] == '\0')
		FAULT("http.path", "expected a path here or in native.path: "
				   "with both turned off "
				   "nobody could ask");
	if (c->admin.mode & 0007)
		FAULT("admin.mode", "expected a mode that allows nothing to "
				    "others, such as 0600");
}

static void check_texts(const struct config *c, struct config_faults *f)
{
	for (const char *p = c->key_prefix; *p; p++) {
		if ((*p >= 'a' && *p <= 'z') || (*p >= '0' && *p <= '9'))
			continue;
		FAULT("key_prefix", "expected 1..%d characters of a-z and 0-9",
		      KEYTEXT_PREFIX_MAX);
		break;
	}
	for (const char *p = c->realm; *p; p++) {
		if (*p >= 0x20 && *p < 0x7f && *p != '"' && *p != '\\')
			continue;
		FAULT("http.realm", "expected printable ASCII without quotes "
				    "and backslashes");
		break;
	}
	if (c->default_window_ms < WINDOW_MS_MIN ||
	    c->default_window_ms > WINDOW_MS_MAX)
		FAULT("default_limit", "expected a window of 1ms..31d");
}

/* An event that is there is not raised again: it has to outlast the longest
 * period that one is told of once. */
#define EVENTS_RETENTION_MIN_S (32u * 86400)

static void check_retention(const struct config *c, struct config_faults *f)
{
	if (c->events_retention_s != 0 &&
	    c->events_retention_s < EVENTS_RETENTION_MIN_S)
		FAULT("events_retention",
		      "expected 32d or more, or 0s to keep events for ever");
}

void config_check_all(const struct config *c, struct config_faults *f)
{
	char expected[OPTION_EXPECTED_MAX];

	for (size_t i = 0; i < config_option_count; i++)
		if (!option_check(&config_options[i], c, expected))
			FAULT(config_options[i].name, "expected %s", expected);
	check_sockets(c, f);
	check_texts(c, f);
	check_retention(c, f);
}

int config_check(const struct config *c, FILE *diag)
{
	struct config_faults f = {.out = diag};

	config_check_all(c, &f);
	return f.count ? -EINVAL : 0;
}

static void print_option(FILE *out, const struct option *o, const char *key,
			 const char *indent)
{
	char takes[OPTION_EXPECTED_MAX];

	option_describe(o, takes);
	fprintf(out, "#%s# %s\n", indent, o->sentence);
	fprintf(out, "#%s# Takes %s.\n", indent, takes);
	if (o->unit[0])
		fprintf(out, "#%s# Unit: %s.\n", indent, o->unit);
	fprintf(out, "#%s%s: %s\n", indent, key,
		o->standard[0] ? o->standard : "\"\"");
}

void config_print_reference(FILE *out)
{
	const char *group = "";
	size_t group_len = 0;

	for (size_t i = 0; i < config_option_count; i++) {
		const struct option *o = &config_options[i];
		const char *dot = strchr(o->name, '.');
		size_t len = dot ? (size_t)(dot - o->name) : 0;

		if (i > 0)
			fputs("#\n", out);
		if (len &&
		    (len != group_len || strncmp(group, o->name, len) != 0))
			fprintf(out, "#%.*s:\n", (int)len, o->name);
		group = o->name;
		group_len = len;
		print_option(out, o, dot ? dot + 1 : o->name, dot ? "  " : "");
	}
	fputs("#\n", out);
	config_routes_describe(out);
}
