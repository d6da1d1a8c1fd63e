/* SPDX-License-Identifier: MIT */
#ifndef STILE_TOOLS_STILECTL_API_H
#define STILE_TOOLS_STILECTL_API_H

/*
 * stilectl_api - HTTP with stiled over a Unix socket.
 *
 * One connection, opened by the first call and kept for the following ones.
 * Functions that return int return CTL_OK, or the exit status of the process
 * after telling what went wrong.
 */
#include "stilectl.h"

#include <jansson.h>

#define API_CONNECT_TIMEOUT_S 5L
#define API_TIMEOUT_S 600L               /* a backup may take this long */
#define API_CHECK_TIMEOUT_S 10L          /* a check takes microseconds */
#define API_BODY_MAX (64u * 1024 * 1024) /* bytes of an answer */
#define API_PAGE 1000                    /* rows asked for at a time */

/* An answer of the server, whatever its status. */
struct reply {
	long status;
	json_t *json; /* NULL when the body is no JSON */
	char *text;   /* the body, terminated */
	size_t text_len;
};

/* Headers of an answer go to this, name and value terminated. */
typedef void (*header_fn)(const char *name, const char *value, void *arg);

struct api *api_free(struct api *a);
void reply_deinit(struct reply *r);

/* "/v1/orgs/" + "a b" + "/keys" -> "/v1/orgs/a%20b/keys"; secret_free() it.
 * NULL when out of memory (told). */
char *api_path(const char *before, const char *name, const char *after);

/* Admin socket. An answer of any status is CTL_OK; body may be NULL. */
int api_try(struct ctl *c, const char *method, const char *path,
	    const json_t *body, struct reply *ret_reply);
/* Admin socket, path freed here (and NULL is passed on as trouble); an answer
 * that is no 2xx is told and refused. */
int api_call(struct ctl *c, const char *method, char *path, const json_t *body,
	     struct reply *ret_reply);
/* A list that the server hands out in pages:
 *	pages_open(); while (pages_next(&p, &rc)) ... p.reply.json ...;
 *	pages_close();
 * pages_open() takes over `path`. */
struct pages {
	struct ctl *c;
	char *path; /* of the first page, without limit and after */
	/* Id or number that the next page starts behind; may be set before the
	 * first. */
	char after[64];
	bool started;
	struct reply reply; /* the page at hand */
};

int pages_open(struct pages *p, struct ctl *c, char *path);
/* False at the end, and after a fault, whose exit status is in *ret_rc. */
bool pages_next(struct pages *p, int *ret_rc);
void pages_close(struct pages *p);

/* The sentence of {"error": "..."} or {"error": {"message": "..."}}; NULL when
 * there is none. */
const char *api_sentence(const json_t *body);
/* Tells the error that the server answered with; returns the exit status. */
int api_refused(const struct reply *r);

/* One GET on http.sock with `headers` ("Name: value"), a NULL ends them. */
int api_check(struct ctl *c, const char *path, const char *const *headers,
	      header_fn fn, void *arg, struct reply *ret_reply);

#endif
