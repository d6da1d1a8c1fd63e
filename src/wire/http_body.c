/* SPDX-License-Identifier: MIT */
#include "wire/http_body.h"

#include <assert.h>

#define TEXT(literal) ((struct text){literal, sizeof(literal) - 1})

struct text http_phrase(unsigned int status)
{
	switch (status) {
	case 200:
		return TEXT("OK");
	case 400:
		return TEXT("Bad Request");
	case 401:
		return TEXT("Unauthorized");
	case 402:
		return TEXT("Payment Required");
	case 403:
		return TEXT("Forbidden");
	case 404:
		return TEXT("Not Found");
	case 429:
		return TEXT("Too Many Requests");
	case 503:
		return TEXT("Service Unavailable");
	default:
		check(status == 0); /* a status without a phrase */
		return TEXT("");
	}
}

struct text http_message(const struct verdict *v)
{
	return v->reason == REASON_BAD_REQUEST
		       ? reason_detail_message(v->detail)
		       : reason_info(v->reason)->message;
}

bool http_may_retry(const struct verdict *v)
{
	switch (v->reason) {
	case REASON_RATE_LIMITED:
	case REASON_CONCURRENCY:
	case REASON_FULL:
		return true;
	case REASON_BUDGET:
	case REASON_CREDITS:
		return v->retry_ms != 0;
	default:
		return false;
	}
}

bool http_names_limit(const struct verdict *v)
{
	/* Without room for a hold the rules have told what they have left:
	 * something, since none of them denied. */
	return v->limit_name[0] != '\0' &&
	       (reason_info(v->reason)->status == 429 ||
		(v->reason == REASON_FULL && v->remaining == 0));
}

struct text http_body_type(enum http_errors form)
{
	return form == HTTP_ERRORS_PROBLEM ? TEXT("application/problem+json")
					   : TEXT("application/json");
}

/* ---- explanations ---- */

/* The numbers are those of gate/layout.h; tests/wire/http_body_test.c holds
 * the two together. */
static const struct text levels[] = {
	[0] = {"org", 3},   [1] = {"project", 7}, [2] = {"key", 3},
	[3] = {"route", 5}, [4] = {"address", 7},
};

static const struct text algorithms[] = {
	[1] = {"window", 6},
	[2] = {"gcra", 4},
	[3] = {"concurrency", 11},
	[EXPLAIN_BUDGET] = {"budget", 6},
	[EXPLAIN_CREDITS] = {"credits", 7},
};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static void put_word(struct writer *w, const struct text *words, size_t count,
		     uint8_t word)
{
	if (word < count && words[word].len != 0)
		put(w, words[word].s, words[word].len);
}

static void put_bool(struct writer *w, bool yes)
{
	if (yes)
		PUT(w, "true");
	else
		PUT(w, "false");
}

static void put_line(struct writer *w, const struct explain_line *l)
{
	PUT(w, "{\"name\":\"");
	put_name(w, l->name);
	PUT(w, "\",\"level\":\"");
	put_word(w, levels, COUNT(levels), l->level);
	PUT(w, "\",\"algorithm\":\"");
	put_word(w, algorithms, COUNT(algorithms), l->algorithm);
	PUT(w, "\",\"shadow\":");
	put_bool(w, l->flags & EXPLAIN_SHADOW);
	PUT(w, ",\"allowed\":");
	put_bool(w, l->allowed);
	PUT(w, ",\"decided\":");
	put_bool(w, l->flags & EXPLAIN_DECIDED);
	PUT(w, ",\"limit\":");
	put_u64(w, l->limit);
	PUT(w, ",\"remaining\":");
	put_u64(w, l->remaining);
	PUT(w, ",\"window_ms\":");
	put_u64(w, l->window_ms);
	PUT(w, ",\"reset_ms\":");
	put_u64(w, l->reset_ms);
	PUT(w, ",\"retry_ms\":");
	put_u64(w, l->retry_ms);
	PUT(w, "}");
}

static void put_explain(struct writer *w, const struct explain *e)
{
	PUT(w, ",\"explain\":[");
	for (unsigned int i = 0; i < e->count && i < EXPLAIN_LINES_MAX; i++) {
		if (i > 0)
			PUT(w, ",");
		put_line(w, &e->lines[i]);
	}
	PUT(w, "]");
}

/* ---- denials ---- */

static void put_flat(struct writer *w, const struct verdict *v)
{
	PUT(w, "{\"success\":false,\"error\":\"");
	put_text(w, http_message(v));
	PUT(w, "\"");
}

/* RATE_LIMITED */
static void put_code(struct writer *w, struct text word)
{
	for (uint8_t i = 0; i < word.len; i++) {
		char c = word.s[i];

		if (c >= 'a' && c <= 'z')
			c = (char)(c - 'a' + 'A');
		put(w, &c, 1);
	}
}

static void put_nested(struct writer *w, const struct verdict *v)
{
	const bool limit = http_names_limit(v);

	PUT(w, "{\"error\":{\"code\":\"");
	put_code(w, reason_info(v->reason)->word);
	PUT(w, "\",\"message\":\"");
	put_text(w, http_message(v));
	PUT(w, "\",\"details\":{");
	if (limit) {
		PUT(w, "\"limit\":\"");
		put_name(w, v->limit_name);
		PUT(w, "\"");
	}
	if (http_may_retry(v) && v->retry_ms != 0) {
		if (limit)
			PUT(w, ",");
		PUT(w, "\"retry_after_ms\":");
		put_u64(w, v->retry_ms);
	}
	PUT(w, "}}");
}

/* RFC 9457; the type of a quota is that of
 * draft-ietf-httpapi-ratelimit-headers. */
static void put_problem(struct writer *w, const struct verdict *v)
{
	const struct reason_info *info = reason_info(v->reason);
	const bool limit = http_names_limit(v);
	const bool quota = limit && info->status == 429;

	if (quota) {
		PUT(w,
		    "{\"type\":\"https://iana.org/assignments/"
		    "http-problem-types#quota-exceeded\",\"title\":\"Request "
		    "cannot be satisfied as assigned quota has been "
		    "exceeded\"");
	} else {
		PUT(w, "{\"type\":\"about:blank\",\"title\":\"");
		put_text(w, http_phrase(info->status));
		PUT(w, "\"");
	}
	PUT(w, ",\"status\":");
	put_u64(w, info->status);
	PUT(w, ",\"detail\":\"");
	put_text(w, http_message(v));
	PUT(w, "\",\"reason\":\"");
	put_text(w, info->word);
	PUT(w, "\"");
	if (quota) {
		PUT(w, ",\"violated-policies\":[\"");
		put_name(w, v->limit_name);
		PUT(w, "\"]");
	} else if (limit) {
		PUT(w, ",\"limit\":\"");
		put_name(w, v->limit_name);
		PUT(w, "\"");
	}
}

void http_put_body(struct writer *w, enum http_errors form,
		   const struct verdict *v, const struct explain *explain)
{
	if (v->reason == REASON_ALLOW)
		PUT(w, "{\"success\":true");
	else if (form == HTTP_ERRORS_NESTED)
		put_nested(w, v);
	else if (form == HTTP_ERRORS_PROBLEM)
		put_problem(w, v);
	else
		put_flat(w, v);
	if (explain)
		put_explain(w, explain);
	PUT(w, "}");
}
