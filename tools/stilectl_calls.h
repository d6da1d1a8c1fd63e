/* SPDX-License-Identifier: MIT */
#ifndef STILE_TOOLS_STILECTL_CALLS_H
#define STILE_TOOLS_STILECTL_CALLS_H

/*
 * stilectl_calls - calls that most commands make: a body out of the command
 * line, one answer, shown. Return values are exit statuses, told.
 */
#include "stilectl_api.h"
#include "stilectl_print.h"

/* How objects of one kind are shown. */
struct kind {
	const struct column *columns;
	unsigned count;
};

/* POST: the answer is a verdict; `show` prints what follows its first line.
 * Refused is CTL_REFUSED. `body` is stolen. */
int call_and_judge(struct ctl *c, const char *path, json_t *body,
		   void (*show)(const json_t *answer));

/* One call whose answer is one object. Steals `body`, frees `path`. `k` NULL:
 * shown as print_anything() does. */
int call_and_show(struct ctl *c, const struct kind *k, const char *method,
		  char *path, json_t *body);
/* One call whose answer has its rows in `field`: a table of them. Steals and
 * frees likewise. */
int call_and_tell(struct ctl *c, const struct kind *k, const char *method,
		  char *path, json_t *body, const char *field);
/* A list in pages, in `field` of each; from behind `after` if not NULL. */
int call_and_list(struct ctl *c, const struct kind *k, char *path,
		  const char *field);
int call_and_list_after(struct ctl *c, const struct kind *k, char *path,
			const char *field, const char *after);

/* Of the command line into a JSON body; NULL is left out. 0 or CTL_TROUBLE. */
int body_text(json_t *body, const char *field, const char *text);
int body_number(json_t *body, const char *field, const char *text);
/* Every value of an option that repeats, as an array. */
int body_texts(json_t *body, const char *field, const struct ctl *c,
	       unsigned option);
/* What a check is about: KEY or --key-id, cost, route, scope, address. */
int body_question(json_t *body, struct ctl *c);

#endif
