/* SPDX-License-Identifier: MIT */
#ifndef STILE_WIRE_HTTP_BODY_H
#define STILE_WIRE_HTTP_BODY_H

/*
 * wire/http_body - what an answer says in JSON.
 *
 * Does       a verdict -> the body of a denial in the configured form, one
 *            line of ASCII, so that it can stand in a header as well; with an
 *            explanation the body of an allowed check too.
 * Private    to wire/http*.c.
 */
#include "wire/http.h"
#include "wire/http_writer.h"

/* Bytes of a body without an explanation. */
#define HTTP_BODY_MAX 512

/* Has it something to say by waiting: does Retry-After make sense? */
bool http_may_retry(const struct verdict *v);

/* Is it a rule that denied it, whose name the verdict tells? */
bool http_names_limit(const struct verdict *v);

/* "Rate limit exceeded", or what was malformed. */
struct text http_message(const struct verdict *v);

/* "Too Many Requests" */
struct text http_phrase(unsigned int status);

struct text http_body_type(enum http_errors form);

/* The body of a denial, and of `explain` when it is not NULL. */
void http_put_body(struct writer *w, enum http_errors form,
		   const struct verdict *v, const struct explain *explain);

#endif
