/* SPDX-License-Identifier: MIT */
#include "control/api.h"

#include "base/log.h"
#include "control/admin_http.h"
#include "control/api_call.h"

#include <errno.h>
#include <llhttp.h>
#include <openssl/crypto.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/*
 * A call goes through: target -> path and query, decoded -> route -> body ->
 * handler. Everything that fits every handler is refused on the way.
 */
enum body_rule { BODY_NONE, BODY_OPTIONAL, BODY_REQUIRED };

struct endpoint {
	uint8_t method;
	const char *path; /* at most one part in braces */
	void (*handle)(struct call *c);
	unsigned query;
	enum body_rule body;
	const char *action; /* in the audit trail; NULL: changes no record */
};

static const struct endpoint routes[] = {
	{HTTP_GET, "/livez", api_livez, QUERY_NONE, BODY_NONE, NULL},
	{HTTP_GET, "/readyz", api_readyz, QUERY_NONE, BODY_NONE, NULL},
	{HTTP_GET, "/healthz", api_readyz, QUERY_NONE, BODY_NONE, NULL},
	{HTTP_GET, "/metrics", api_metrics, QUERY_NONE, BODY_NONE, NULL},
	{HTTP_GET, "/v1/status", api_status, QUERY_NONE, BODY_NONE, NULL},
	{HTTP_GET, "/v1/usage", api_usage,
	 QUERY_PAGE | QUERY_ORG | QUERY_REPORT, BODY_NONE, NULL},
	{HTTP_POST, "/v1/snapshot", api_snapshot, QUERY_NONE, BODY_OPTIONAL,
	 NULL},
	{HTTP_POST, "/v1/backup", api_backup, QUERY_NONE, BODY_REQUIRED, NULL},
	{HTTP_POST, "/v1/orgs", api_org_create, QUERY_NONE, BODY_REQUIRED,
	 "org.create"},
	{HTTP_GET, "/v1/orgs", api_org_list, QUERY_PAGE, BODY_NONE, NULL},
	{HTTP_GET, "/v1/orgs/{org}", api_org_show, QUERY_NONE, BODY_NONE, NULL},
	{HTTP_PATCH, "/v1/orgs/{org}", api_org_change, QUERY_NONE,
	 BODY_REQUIRED, "org.change"},
	{HTTP_POST, "/v1/orgs/{org}/suspend", api_org_suspend, QUERY_NONE,
	 BODY_OPTIONAL, "org.suspend"},
	{HTTP_POST, "/v1/orgs/{org}/resume", api_org_resume, QUERY_NONE,
	 BODY_OPTIONAL, "org.resume"},
	{HTTP_GET, "/v1/orgs/{org}/limits", api_org_rules, QUERY_NONE,
	 BODY_NONE, NULL},
	{HTTP_POST, "/v1/orgs/{org}/limits", api_org_rule_set, QUERY_NONE,
	 BODY_REQUIRED, "limit.set"},
	{HTTP_POST, "/v1/orgs/{org}/limits/remove", api_org_rule_remove,
	 QUERY_NONE, BODY_REQUIRED, "limit.remove"},
	{HTTP_GET, "/v1/orgs/{org}/limits/show", api_limit_show, QUERY_LIMIT,
	 BODY_NONE, NULL},
	{HTTP_POST, "/v1/orgs/{org}/limits/reset", api_limit_reset, QUERY_NONE,
	 BODY_REQUIRED, "limit.reset"},
	{HTTP_GET, "/v1/orgs/{org}/credits", api_credits_show, QUERY_NONE,
	 BODY_NONE, NULL},
	{HTTP_POST, "/v1/orgs/{org}/credits", api_credits_grant, QUERY_NONE,
	 BODY_REQUIRED, "credits.grant"},
	{HTTP_POST, "/v1/orgs/{org}/credits/subscribe", api_credits_subscribe,
	 QUERY_NONE, BODY_REQUIRED, "credits.subscribe"},
	{HTTP_POST, "/v1/orgs/{org}/credits/revoke", api_credits_revoke,
	 QUERY_NONE, BODY_REQUIRED, "credits.revoke"},
	{HTTP_POST, "/v1/orgs/{org}/credits/overage", api_credits_overage,
	 QUERY_NONE, BODY_REQUIRED, "credits.overage"},
	{HTTP_GET, "/v1/orgs/{org}/ledger", api_ledger, QUERY_PAGE, BODY_NONE,
	 NULL},
	{HTTP_POST, "/v1/orgs/{org}/projects", api_project_create, QUERY_NONE,
	 BODY_REQUIRED, "project.create"},
	{HTTP_GET, "/v1/orgs/{org}/projects", api_project_list, QUERY_PAGE,
	 BODY_NONE, NULL},
	{HTTP_POST, "/v1/projects/{project}/budget", api_project_budget,
	 QUERY_NONE, BODY_REQUIRED, "project.budget"},
	{HTTP_POST, "/v1/orgs/{org}/keys", api_key_create, QUERY_NONE,
	 BODY_OPTIONAL, "key.create"},
	{HTTP_GET, "/v1/orgs/{org}/keys", api_key_list, QUERY_PAGE, BODY_NONE,
	 NULL},
	{HTTP_POST, "/v1/orgs/{org}/keys/import", api_key_import, QUERY_NONE,
	 BODY_REQUIRED, "key.import"},
	{HTTP_GET, "/v1/keys", api_key_list_all, QUERY_PAGE, BODY_NONE, NULL},
	{HTTP_GET, "/v1/keys/{key}", api_key_show, QUERY_NONE, BODY_NONE, NULL},
	{HTTP_POST, "/v1/keys/{key}/revoke", api_key_revoke, QUERY_NONE,
	 BODY_OPTIONAL, "key.revoke"},
	{HTTP_POST, "/v1/keys/{key}/rotate", api_key_rotate, QUERY_NONE,
	 BODY_OPTIONAL, "key.rotate"},
	{HTTP_POST, "/v1/keys/{key}/disable", api_key_disable, QUERY_NONE,
	 BODY_OPTIONAL, "key.disable"},
	{HTTP_POST, "/v1/keys/{key}/enable", api_key_enable, QUERY_NONE,
	 BODY_OPTIONAL, "key.enable"},
	{HTTP_POST, "/v1/plans", api_plan_create, QUERY_NONE, BODY_REQUIRED,
	 "plan.create"},
	{HTTP_GET, "/v1/plans", api_plan_list, QUERY_PAGE, BODY_NONE, NULL},
	{HTTP_GET, "/v1/plans/{plan}", api_plan_show, QUERY_NONE, BODY_NONE,
	 NULL},
	{HTTP_POST, "/v1/plans/{plan}/limits", api_plan_rule_set, QUERY_NONE,
	 BODY_REQUIRED, "plan.limit.set"},
	{HTTP_POST, "/v1/plans/{plan}/limits/remove", api_plan_rule_remove,
	 QUERY_NONE, BODY_REQUIRED, "plan.limit.remove"},
	{HTTP_POST, "/v1/plans/{plan}/remove", api_plan_remove, QUERY_NONE,
	 BODY_OPTIONAL, "plan.remove"},
	{HTTP_POST, "/v1/checks", api_check, QUERY_NONE, BODY_REQUIRED, NULL},
	{HTTP_POST, "/v1/settle", api_settle, QUERY_NONE, BODY_REQUIRED, NULL},
	{HTTP_POST, "/v1/explain", api_explain, QUERY_NONE, BODY_REQUIRED,
	 NULL},
	{HTTP_GET, "/v1/events", api_events, QUERY_PAGE, BODY_NONE, NULL},
	{HTTP_GET, "/v1/audit", api_audit, QUERY_PAGE, BODY_NONE, NULL},
};
#define ROUTE_COUNT (sizeof(routes) / sizeof(routes[0]))

bool api_route(size_t number, struct api_route_name *ret_name)
{
	if (number >= ROUTE_COUNT)
		return false;
	ret_name->method = llhttp_method_name(routes[number].method);
	ret_name->path = routes[number].path;
	return true;
}

void call_invalid(struct call *c, const char *fmt, ...)
{
	char message[INPUT_PROBLEM_MAX];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(message, sizeof(message), fmt, ap);
	va_end(ap);
	reply_error(c->reply, 400, "invalid_request", "%s", message);
}

bool call_input(struct call *c, const struct input *inputs, size_t count)
{
	char problem[INPUT_PROBLEM_MAX];

	if (input_read(c->body, inputs, count, problem))
		return true;
	call_invalid(c, "%s", problem);
	return false;
}

unsigned call_outcome(int r, const char **ret_code)
{
	switch (r) {
	case REGISTRY_EXISTS:
	case REGISTRY_REVOKED:
	case REGISTRY_IN_USE:
		*ret_code = "conflict";
		return 409;
	case REGISTRY_ABSENT:
		*ret_code = "not_found";
		return 404;
	case REGISTRY_FULL:
	case -ENOSPC:
		*ret_code = "capacity";
		return 507;
	case REGISTRY_INVALID:
		*ret_code = "invalid_request";
		return 400;
	default:
		*ret_code = "internal";
		return 500;
	}
}

void call_log_failure(int r, const char *text)
{
	char quoted[512];

	log_event(LOG_LEVEL_ERROR, "admin_failed", "errno=%d error=%s", -r,
		  log_quote(text, quoted, sizeof(quoted)));
}

void call_registry_failed(struct call *c, int r, const char *what)
{
	const char *text = registry_error(c->control->registry);
	const char *code;
	unsigned status = call_outcome(r, &code);

	if (r < 0)
		call_log_failure(r, text && text[0] ? text : strerror(-r));
	if (r == REGISTRY_EXISTS)
		reply_error(c->reply, status, code, "This %s is taken already.",
			    what);
	else if (r == REGISTRY_ABSENT)
		reply_error(c->reply, status, code, "There is no such %s.",
			    what);
	else if (r == REGISTRY_REVOKED)
		reply_error(c->reply, status, code,
			    "The %s is revoked or expired.", what);
	else
		reply_error(c->reply, status, code, "%s",
			    text && text[0] ? text
			    : r < 0         ? strerror(-r)
					    : "The request cannot be met.");
}

void call_records_failed(struct call *c, int r)
{
	const char *text =
		records_error(registry_records(c->control->registry));

	call_log_failure(r, text);
	reply_error(c->reply, 500, "internal", "The database failed: %s",
		    text && text[0] ? text : strerror(-r));
}

bool call_find_org(struct call *c, const char *text, struct org_record *ret_org)
{
	int r = records_org_find(registry_records(c->control->registry), text,
				 ret_org);

	if (r == 0)
		return true;
	if (r < 0)
		call_records_failed(c, r);
	else
		reply_error(c->reply, 404, "not_found",
			    "There is no organization with this id or name.");
	return false;
}

bool call_find_plan(struct call *c, const char *text,
		    struct plan_record *ret_plan)
{
	int r = records_plan_find(registry_records(c->control->registry), text,
				  ret_plan);

	if (r == 0)
		return true;
	if (r < 0)
		call_records_failed(c, r);
	else
		reply_error(c->reply, 404, "not_found",
			    "There is no plan with this id or name.");
	return false;
}

bool call_after_number(struct call *c, int64_t *ret_after)
{
	uint64_t after = 0;

	if (c->after &&
	    (config_parse_count(c->after, &after) < 0 || after > INT64_MAX)) {
		call_invalid(c, "Parameter \"after\": expected a whole number");
		return false;
	}
	*ret_after = (int64_t)after;
	return true;
}

bool call_find_key(struct call *c, const char *text, struct key_record *ret_key)
{
	int r = records_key_find(registry_records(c->control->registry), text,
				 ret_key);

	if (r == 0)
		return true;
	if (r < 0)
		call_records_failed(c, r);
	else
		reply_error(c->reply, 404, "not_found",
			    "There is no key with this id.");
	return false;
}

/* Does `path` (not yet decoded) have the pattern's form? The part in braces
 * is [*ret_at, *ret_at + *ret_len). */
static bool matches(const char *pattern, const char *path, const char **ret_at,
		    size_t *ret_len)
{
	while (*pattern) {
		if (*pattern != '{') {
			if (*pattern++ != *path++)
				return false;
			continue;
		}
		*ret_at = path;
		*ret_len = strcspn(path, "/");
		if (*ret_len == 0)
			return false;
		path += *ret_len;
		pattern = strchr(pattern, '}') + 1;
	}
	return *path == '\0';
}

/* The route, or NULL after an answer; copies the part in braces out. */
static const struct endpoint *
find_route(struct call *c, const char *path,
	   char subject[static ADMIN_TARGET_MAX + 1])
{
	uint8_t method =
		c->request->method == HTTP_HEAD ? HTTP_GET : c->request->method;
	char *allow = c->reply->allow;
	size_t allow_len = 0;

	for (size_t i = 0; i < ROUTE_COUNT; i++) {
		const struct endpoint *r = &routes[i];
		const char *at = NULL;
		size_t len = 0;

		if (!matches(r->path, path, &at, &len))
			continue;
		c->route = r->path;
		if (r->method == method) {
			if (at)
				memcpy(subject, at, len);
			subject[len] = '\0';
			allow[0] = '\0';
			return r;
		}
		allow_len += (size_t)snprintf(
			allow + allow_len, REPLY_ALLOW_MAX - allow_len,
			"%s%s%s", allow_len ? ", " : "",
			llhttp_method_name(r->method),
			r->method == HTTP_GET ? ", HEAD" : "");
	}
	if (allow_len)
		reply_error(c->reply, 405, "method_not_allowed",
			    "This path takes %s.", allow);
	else
		reply_error(c->reply, 404, "not_found",
			    "There is no such path in the admin API.");
	return NULL;
}

/* The library's own sentence would repeat bytes of the body. */
static const char *json_problem(const json_error_t *e)
{
	switch (json_error_code(e)) {
	case json_error_duplicate_key:
		return "a member is given twice";
	case json_error_invalid_utf8:
		return "not UTF-8";
	case json_error_null_character:
	case json_error_null_byte_in_key:
		return "a text holds a zero byte";
	case json_error_premature_end_of_input:
		return "it ends too early";
	case json_error_end_of_input_expected:
		return "something follows the object";
	case json_error_stack_overflow:
		return "nested too deeply";
	case json_error_numeric_overflow:
		return "a number is too large";
	case json_error_out_of_memory:
		return "out of memory";
	default:
		return "syntax";
	}
}

static bool read_body(struct call *c, enum body_rule rule)
{
	const struct admin_request *q = c->request;
	json_error_t error;

	if (q->body_len == 0) {
		if (rule == BODY_REQUIRED)
			call_invalid(c, "A JSON object is expected as body");
		return rule != BODY_REQUIRED;
	}
	if (rule == BODY_NONE) {
		call_invalid(c, "This request takes no body");
		return false;
	}
	c->body = json_loadb(q->body, q->body_len, JSON_REJECT_DUPLICATES,
			     &error);
	if (!c->body) {
		call_invalid(c,
			     "The body is not a JSON object (line %d, "
			     "column %d): %s",
			     error.line, error.column, json_problem(&error));
		return false;
	}
	if (!json_is_object(c->body)) {
		call_invalid(c, "The body is JSON, but not an object");
		return false;
	}
	return true;
}

/* Who asks for what, for the audit trail. No body holds anything secret but
 * those of imports, whose hashes are many. */
static void act_for(struct call *c)
{
	struct audit_record actor = {.uid = c->request->uid};
	size_t len;

	if (!c->action)
		return;
	snprintf(actor.action, sizeof(actor.action), "%s", c->action);
	snprintf(actor.subject, sizeof(actor.subject), "%.*s",
		 AUDIT_SUBJECT_BYTES, c->subject ? c->subject : "");
	if (c->body && c->route && !strstr(c->route, "import")) {
		len = json_dumpb(c->body, actor.detail, AUDIT_DETAIL_BYTES,
				 JSON_COMPACT | JSON_ENSURE_ASCII);
		actor.detail[len < AUDIT_DETAIL_BYTES ? len
						      : AUDIT_DETAIL_BYTES] =
			'\0';
	}
	registry_act_for(c->control->registry, &actor);
	/* A whole key may have been given for an id or a name. */
	OPENSSL_cleanse(&actor, sizeof(actor));
}

static void dispatch(struct call *c, char target[static ADMIN_TARGET_MAX + 1],
		     char subject[static ADMIN_TARGET_MAX + 1])
{
	size_t target_len = strlen(c->request->target);
	const struct endpoint *route;
	char *query;

	if (target_len > ADMIN_TARGET_MAX) {
		call_invalid(c, "The path is too long");
		return;
	}
	memcpy(target, c->request->target, target_len + 1);
	query = strchr(target, '?');
	if (query)
		*query++ = '\0';
	route = find_route(c, target, subject);
	if (!route)
		return;
	if (!call_decode(subject)) {
		call_invalid(c, "The path is not percent-encoded");
		return;
	}
	c->subject = subject;
	if (!call_query(c, route->query, query ? query : target + target_len))
		return;
	c->action = route->action;
	if (read_body(c, route->body)) {
		act_for(c);
		route->handle(c);
		registry_act_for(c->control->registry, NULL);
	}
	json_decref(c->body);
}

/* A path may hold anything, a whole key for its id by mistake: what is in it
 * is told only when it named an organization or a key. */
static void log_change(const struct call *c)
{
	bool named = c->subject && c->subject[0] && c->reply->status < 300;
	char quoted[512];

	log_event(LOG_LEVEL_INFO, "admin",
		  "method=%s route=%s%s%s status=%u uid=%u",
		  llhttp_method_name(c->request->method),
		  c->route ? c->route : "none", named ? " subject=" : "",
		  named ? log_quote(c->subject, quoted, sizeof(quoted)) : "",
		  c->reply->status, c->request->uid);
}

void api_handle(void *control, const struct admin_request *request,
		struct reply *reply)
{
	struct control *ctl = control;
	struct call c = {
		.control = ctl,
		.request = request,
		.reply = reply,
		.now_ms = registry_now_ms(ctl->registry),
	};
	char target[ADMIN_TARGET_MAX + 1];
	char subject[ADMIN_TARGET_MAX + 1];

	subject[0] = '\0';
	dispatch(&c, target, subject);
	if (request->method != HTTP_GET && request->method != HTTP_HEAD)
		log_change(&c);
	/* A whole key may have been given for its id. */
	OPENSSL_cleanse(target, sizeof(target));
	OPENSSL_cleanse(subject, sizeof(subject));
}
