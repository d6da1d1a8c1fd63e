/* SPDX-License-Identifier: MIT */
#include "stilectl_api.h"
#include "stilectl_print.h"
#include "stilectl_secret.h"
#include "stilectl_time.h"

#include "base/sha256.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#define VALUE_MAX 64  /* a header of the answer that we show */
#define SAID_MAX 1024 /* the value of an option, as it is sent */
#define COUNT_OF(a) (sizeof(a) / sizeof(*(a)))

/* What of the command line becomes a header of the check. */
static const struct {
	unsigned option;
	const char *header;
} questions[] = {
	{OPT_COST, "X-Stile-Cost"},       {OPT_ROUTE, "X-Stile-Route"},
	{OPT_SCOPE, "X-Stile-Scope"},     {OPT_ADDRESS, "X-Forwarded-For"},
	{OPT_REQUEST_ID, "X-Request-Id"},
};

/* The headers of an answer that are worth showing. */
enum answer_id {
	ANSWER_ORG,
	ANSWER_PROJECT,
	ANSWER_KEY,
	ANSWER_NAME,
	ANSWER_LIMIT,
	ANSWER_REMAINING,
	ANSWER_RESET,
	ANSWER_RETRY,
	ANSWER_CHARGED,
	ANSWER_HOLD,
	ANSWER_HOLD_EXPIRES,
	ANSWER_CREDITS,
	ANSWER_BUDGET,
	ANSWER_COUNT
};

static const struct {
	const char *header, *field;
	bool number;
} answers[ANSWER_COUNT] = {
	[ANSWER_ORG] = {"X-Stile-Org", "org", false},
	[ANSWER_PROJECT] = {"X-Stile-Project", "project", false},
	[ANSWER_KEY] = {"X-Stile-Key-Id", "key_id", false},
	[ANSWER_NAME] = {"RateLimit-Policy", "limit_name", false},
	[ANSWER_LIMIT] = {"X-RateLimit-Limit", "limit", true},
	[ANSWER_REMAINING] = {"X-RateLimit-Remaining", "remaining", true},
	[ANSWER_RESET] = {"X-RateLimit-Reset", "reset", true},
	[ANSWER_RETRY] = {"Retry-After", "retry_after_s", true},
	[ANSWER_CHARGED] = {"X-Stile-Charged", "charged", true},
	[ANSWER_HOLD] = {"X-Stile-Hold", "hold", false},
	[ANSWER_HOLD_EXPIRES] = {"X-Stile-Hold-Expires", "hold_expires_s",
				 true},
	[ANSWER_CREDITS] = {"X-Stile-Credits-Remaining", "credits", true},
	[ANSWER_BUDGET] = {"X-Stile-Budget-Remaining", "budget", true},
};

struct answer {
	char value[ANSWER_COUNT][VALUE_MAX]; /* "" = not there */
};

/* "work";q=8;... -> work */
static void keep_name(char *value)
{
	size_t len;

	if (*value != '"')
		return;
	len = strcspn(value + 1, "\"");
	memmove(value, value + 1, len);
	value[len] = '\0';
}

static void on_answer(const char *name, const char *value, void *arg)
{
	struct answer *a = arg;

	for (unsigned i = 0; i < ANSWER_COUNT; i++) {
		if (strcasecmp(name, answers[i].header) != 0)
			continue;
		snprintf(a->value[i], VALUE_MAX, "%s", value);
		if (i == ANSWER_NAME)
			keep_name(a->value[i]);
	}
}

static json_t *answer_json(const struct answer *a, const struct reply *r)
{
	const char *sentence = api_sentence(r->json);
	json_t *out = json_pack("{s:s,s:i,s:s?}", "verdict",
				r->status == 200 ? "allow" : "deny", "status",
				(int)r->status, "error", sentence);

	for (unsigned i = 0; out && i < ANSWER_COUNT; i++) {
		const char *value = a->value[i];
		json_t *field = NULL;

		if (*value && answers[i].number)
			field = json_integer(strtoll(value, NULL, 10));
		else if (*value)
			field = json_string(value);
		json_object_set_new(out, answers[i].field,
				    field ? field : json_null());
	}
	return out;
}

static void answer_for_people(const struct answer *a, const struct reply *r)
{
	const char *sentence = api_sentence(r->json);

	if (r->status == 200)
		fputs("allow", stdout);
	else
		printf("deny (%ld)", r->status);
	if (sentence) {
		fputs(": ", stdout);
		print_text(stdout, sentence);
	}
	putchar('\n');
	for (unsigned i = 0; i < ANSWER_COUNT; i++) {
		if (!*a->value[i])
			continue;
		printf("%-14s ", answers[i].field);
		print_text(stdout, a->value[i]);
		putchar('\n');
	}
}

static int tell_answer(const struct ctl *c, const struct answer *a,
		       const struct reply *r)
{
	json_t *out;

	switch (r->status) {
	case 200:
	case 401:
	case 402:
	case 403:
	case 429:
		break;
	default:
		ctl_error("no verdict: stiled answered %ld%s%s", r->status,
			  api_sentence(r->json) ? ", " : "",
			  api_sentence(r->json) ? api_sentence(r->json) : "");
		return CTL_TROUBLE;
	}
	if (ctl_json(c)) {
		out = answer_json(a, r);
		print_json(out);
		json_decref(out);
	} else {
		answer_for_people(a, r);
	}
	return r->status == 200 ? CTL_OK : CTL_REFUSED;
}

/* A value that becomes a header must not end the header. */
static int check_header_value(const char *option, const char *value)
{
	if (strlen(value) > SAID_MAX) {
		ctl_error("the value of --%s is longer than %d bytes", option,
			  SAID_MAX);
		return CTL_TROUBLE;
	}
	for (; *value; value++) {
		if ((unsigned char)*value < 0x20 || *value == 0x7f) {
			ctl_error("the value of --%s holds a control character",
				  option);
			return CTL_TROUBLE;
		}
	}
	return 0;
}

static int ask(struct ctl *c, const char *key)
{
	char bearer[SECRET_KEY_MAX + 32];
	char said[COUNT_OF(questions)][SAID_MAX + 32];
	const char *headers[COUNT_OF(questions) + 3];
	struct answer answer = {0};
	struct reply reply;
	unsigned n = 0;
	int rc;

	snprintf(bearer, sizeof(bearer), "Authorization: Bearer %s", key);
	headers[n++] = bearer;
	for (unsigned i = 0; i < COUNT_OF(questions); i++) {
		const char *value = c->opt[questions[i].option];

		if (value == NULL)
			continue;
		snprintf(said[i], sizeof(said[i]), "%s: %s",
			 questions[i].header, value);
		headers[n++] = said[i];
	}
	if (c->opt[OPT_PEEK])
		headers[n++] = "X-Stile-Peek: 1";
	headers[n] = NULL;
	rc = api_check(c, "/v1/check", headers, on_answer, &answer, &reply);
	explicit_bzero(bearer, sizeof(bearer));
	if (rc != CTL_OK)
		return rc;
	rc = tell_answer(c, &answer, &reply);
	reply_deinit(&reply);
	return rc;
}

int cmd_check(struct ctl *c)
{
	char key[SECRET_KEY_MAX + 1];
	int rc = 0;

	for (unsigned i = 0; rc == 0 && i < COUNT_OF(questions); i++) {
		unsigned id = questions[i].option;

		if (c->opt[id])
			rc = check_header_value(ctl_options[id].name,
						c->opt[id]);
	}
	if (rc != 0)
		return rc;
	rc = secret_take_key(c->arg[0], key);
	if (rc != 0)
		return rc;
	rc = ask(c, key);
	explicit_bzero(key, sizeof(key));
	return rc;
}

int cmd_key_hash(struct ctl *c)
{
	char key[SECRET_KEY_MAX + 1], hex[2 * SHA256_BYTES + 1];
	uint8_t hash[SHA256_BYTES];
	int rc = secret_read_key(key);

	if (rc != 0)
		return rc;
	sha256(key, strlen(key), hash);
	explicit_bzero(key, sizeof(key));
	for (unsigned i = 0; i < SHA256_BYTES; i++)
		snprintf(hex + 2 * i, 3, "%02x", hash[i]);
	if (ctl_json(c))
		printf("{\"hash\":\"%s\"}\n", hex);
	else
		puts(hex);
	return CTL_OK;
}
