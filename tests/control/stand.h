/* SPDX-License-Identifier: MIT */
#ifndef STILE_TESTS_CONTROL_STAND_H
#define STILE_TESTS_CONTROL_STAND_H

/*
 * A stand for the admin API: a real registry over a scratch directory, the
 * hooks of struct control under the test's hand, and docs/openapi.yaml, which
 * every answer is held against.
 */
#include "base/epoch.h"
#include "control/api.h"
#include "gate/keytable.h"
#include "state/arena.h"

#include <jansson.h>

#define STAND_WORKERS 2
#define STAND_HOLDS 4 /* all of them for the admin API */

struct stand {
	char dir[64];
	struct config config;
	struct counters counters[STAND_WORKERS];
	const struct counters *workers[STAND_WORKERS];
	struct records *records;
	struct arena_file arena;
	struct epoch epoch;
	struct civil civil;
	struct keytable table;
	struct control control;
	/* what the hooks say */
	const char *not_ready; /* NULL = ready */
	int snapshot_result;
	struct snapshot_result last;
	/* the answer of the last call */
	struct reply reply;
	json_t *json; /* NULL when it was no JSON */
	/* the document, and its answers that have been given: "GET /livez 200"
	 */
	json_t *doc, *given;
};

extern struct stand stand;

/* With the defaults, or with a configuration. */
void stand_open(void);
void stand_open_with(const char *yaml);
void stand_close(void);

/*
 * Calls the API and returns the status. `body` may be NULL. The answer must be
 * one that the document has for this path and method, with the type and the
 * members that it names.
 */
unsigned call(const char *method, const char *target, const char *body);
unsigned call_bytes(const char *method, const char *target, const char *body,
		    size_t body_len);

/* The same, with `part` in place of the '*' in the target. */
unsigned call_at(const char *method, const char *form, const char *part,
		 const char *body);
/* The same with a JSON body. */
unsigned call_json(const char *method, const char *target, const json_t *body);
/* Creates an organization with this name. */
void make_org(const char *name);

/* Of the last answer: a member by its dotted name, "" when absent or no text;
 * valid until the next call. "keys.0.id" goes into arrays. */
json_t *value(const char *path);
const char *text(const char *path);
json_int_t number(const char *path);
/* The same, copied: five of them are kept at a time. */
const char *keep(const char *path);

/* error.code and error.message of the last answer; fails when it is no
 * error. */
void expect_error(const char *code, const char *message_part);

#endif
