/* SPDX-License-Identifier: MIT */
#ifndef STILE_CONTROL_API_CALL_H
#define STILE_CONTROL_API_CALL_H

/*
 * control/api_call - one call of the admin API on its way through a handler.
 * For api*.c only. A handler answers exactly once, through the functions
 * below or reply_json().
 */
#include "control/api.h"
#include "control/api_input.h"
#include "wire/check.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

struct call {
	struct control *control;
	const struct admin_request *request;
	struct reply *reply;
	int64_t now_ms;          /* civil time */
	const char *route;       /* its path in the table, or NULL */
	const char *action;      /* what the audit trail calls it, or NULL */
	const char *subject;     /* {org} or {key} of the path, decoded */
	json_t *body;            /* an object, or NULL without a body */
	const char *after, *org; /* query parameters, or NULL */
	const char *by, *from, *to, *format; /* the same, of a report */
	uint32_t limit;                      /* page size */
	/* the same, of a limit and its subject */
	struct {
		const char *name, *key, *project, *route, *address;
	} of;
};

/* Handlers, by the file they are in. */
void api_org_create(struct call *c);
void api_org_list(struct call *c);
void api_org_show(struct call *c);
void api_org_change(struct call *c);
void api_org_suspend(struct call *c);
void api_org_resume(struct call *c);
void api_org_rules(struct call *c);
void api_org_rule_set(struct call *c);
void api_org_rule_remove(struct call *c);
void api_limit_show(struct call *c);
void api_limit_reset(struct call *c);
void api_check(struct call *c);
void api_explain(struct call *c);
void api_settle(struct call *c);
void api_plan_create(struct call *c);
void api_plan_list(struct call *c);
void api_plan_show(struct call *c);
void api_plan_remove(struct call *c);
void api_plan_rule_set(struct call *c);
void api_plan_rule_remove(struct call *c);
void api_project_create(struct call *c);
void api_project_budget(struct call *c);
void api_project_list(struct call *c);

void api_key_create(struct call *c);
void api_key_list(struct call *c);
void api_key_list_all(struct call *c);
void api_key_show(struct call *c);
void api_key_import(struct call *c);
void api_key_revoke(struct call *c);
void api_key_rotate(struct call *c);
void api_key_disable(struct call *c);
void api_key_enable(struct call *c);

void api_credits_show(struct call *c);
void api_credits_grant(struct call *c);
void api_credits_subscribe(struct call *c);
void api_credits_revoke(struct call *c);
void api_credits_overage(struct call *c);
void api_ledger(struct call *c);
void api_events(struct call *c);
void api_audit(struct call *c);

void api_usage(struct call *c);
void api_status(struct call *c);
void api_snapshot(struct call *c);
void api_backup(struct call *c);
void api_livez(struct call *c);
void api_readyz(struct call *c);
void api_metrics(struct call *c);

/* Percent-decodes in place. False: malformed, or a zero byte. */
bool call_decode(char *text);
/* "a=1&b=2", cut up and decoded in place, into what `allowed` (of these) says;
 * false when that has been answered with a 400. */
enum query_flags {
	QUERY_NONE = 0,
	QUERY_PAGE = 1, /* after, limit */
	QUERY_ORG = 2,
	QUERY_REPORT = 4, /* by, from, to, format */
	QUERY_LIMIT = 8,  /* name, key, project, route, address */
};

bool call_query(struct call *c, unsigned allowed, char *query);

/* Reads the body's members; false when that has been answered with a 400. */
bool call_input(struct call *c, const struct input *inputs, size_t count);

/* 400 with this sentence. */
void call_invalid(struct call *c, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* The answer to a failure: `r` from the registry (positive outcome or errno)
 * or from the records (negative errno only). */
void call_registry_failed(struct call *c, int r, const char *what);
void call_records_failed(struct call *c, int r);
void call_log_failure(int r, const char *text);
/* Status and code of a registry failure. */
unsigned call_outcome(int r, const char **ret_code);

/* The organization named by `text` (id or name); false when answered. */
bool call_find_org(struct call *c, const char *text,
		   struct org_record *ret_org);
/* The plan named by `text` (id or name); false when answered. */
bool call_find_plan(struct call *c, const char *text,
		    struct plan_record *ret_plan);
/* The number in c->after, 0 when there is none; false when answered. */
bool call_after_number(struct call *c, int64_t *ret_after);
/* A time after now and before the year 10000 from either of two members, 0
 * when neither is given; false when answered. */
bool call_expiry(struct call *c, const char *at, const char *in,
		 int64_t *ret_ms);
/* The organization as the database has it now. */
void call_answer_org(struct call *c, unsigned status, uint32_t slot);
/* The key with id `text`; false when answered. */
bool call_find_key(struct call *c, const char *text,
		   struct key_record *ret_key);

/* What a check or a subject says beside the key, each or NULL; false when
 * answered. */
bool call_extra(struct call *c, const char *route, const char *scope,
		const char *address, struct check_extra *ret_extra);

/* Records as JSON; NULL when memory is short. */
json_t *show_org(struct call *c, const struct org_record *org);
json_t *show_org_usage(struct call *c, const struct org_record *org);
json_t *show_project(struct call *c, const struct project_record *project,
		     struct id org);
json_t *show_rule(const struct rule_record *rule, const char *source);
json_t *show_text(const char *text); /* null when empty */

/* Ids of the slots that were looked up last: lists ask for the same ones
 * again and again. */
struct show_names {
	uint32_t org_slot, project_slot;
	struct id org, project;
};
json_t *show_key(struct call *c, struct show_names *names,
		 const struct key_record *key);
json_t *show_key_usage(struct call *c, struct show_names *names,
		       const struct key_record *key);
json_t *show_id(struct id id); /* null when none */
json_t *show_limit_name(const char name[static LIMIT_NAME_LEN]);
/* Of a rule, or of a line of an explanation. */
const char *show_algorithm(uint8_t algorithm);
json_t *show_time(int64_t wall_ms); /* null when 0 */

/*
 * A page of keys: at most c->limit behind c->after, of organization `org`
 * (slot, 0 = all), each shown by `show` into `array`; *ret_next is the id to
 * go on with, or null. False when that has been answered.
 */
bool call_key_page(struct call *c, uint32_t org,
		   json_t *(*show)(struct call *c, struct show_names *names,
				   const struct key_record *key),
		   json_t **ret_array, json_t **ret_next);
bool call_org_page(struct call *c,
		   json_t *(*show)(struct call *c,
				   const struct org_record *org),
		   json_t **ret_array, json_t **ret_next);

#endif
