/* SPDX-License-Identifier: MIT */
#include "stilectl_calls.h"
#include "stilectl_secret.h"

#include "control/config.h"

#include <stdio.h>
#include <string.h>

int call_and_show(struct ctl *c, const struct kind *k, const char *method,
		  char *path, json_t *body)
{
	struct reply reply;
	int rc = api_call(c, method, path, body, &reply);

	json_decref(body);
	if (rc != CTL_OK)
		return rc;
	if (ctl_json(c))
		print_json(reply.json);
	else if (k)
		print_record(k->columns, k->count, reply.json);
	else
		print_anything(reply.json);
	reply_deinit(&reply);
	return CTL_OK;
}

int call_and_judge(struct ctl *c, const char *path, json_t *body,
		   void (*show)(const json_t *answer))
{
	struct reply reply;
	const char *message;
	bool allowed;
	int rc = api_call(c, "POST", api_path(path, "", ""), body, &reply);

	json_decref(body);
	if (rc != CTL_OK)
		return rc;
	allowed = json_is_true(json_object_get(reply.json, "allowed"));
	message = json_string_value(json_object_get(reply.json, "message"));
	if (ctl_json(c)) {
		print_json(reply.json);
	} else if (allowed) {
		puts("allow");
		show(reply.json);
	} else {
		printf("deny (%" JSON_INTEGER_FORMAT "): ",
		       json_integer_value(
			       json_object_get(reply.json, "status")));
		print_text(stdout, message ? message : "");
		putchar('\n');
		show(reply.json);
	}
	reply_deinit(&reply);
	return allowed ? CTL_OK : CTL_REFUSED;
}

int call_and_tell(struct ctl *c, const struct kind *k, const char *method,
		  char *path, json_t *body, const char *field)
{
	struct table table = {.columns = k->columns, .count = k->count};
	struct reply reply;
	int rc = api_call(c, method, path, body, &reply);

	json_decref(body);
	if (rc != CTL_OK)
		return rc;
	if (ctl_json(c))
		print_json(reply.json);
	else
		print_rows(&table, json_object_get(reply.json, field));
	reply_deinit(&reply);
	return CTL_OK;
}

int call_and_list_after(struct ctl *c, const struct kind *k, char *path,
			const char *field, const char *after)
{
	struct list l = {.table = {.columns = k->columns, .count = k->count},
			 .json = ctl_json(c)};
	struct pages pages;
	int rc = pages_open(&pages, c, path);

	if (after)
		snprintf(pages.after, sizeof(pages.after), "%s", after);
	while (rc == CTL_OK && pages_next(&pages, &rc))
		list_page(&l, json_object_get(pages.reply.json, field));
	if (rc == CTL_OK)
		list_end(&l);
	pages_close(&pages);
	return rc;
}

int call_and_list(struct ctl *c, const struct kind *k, char *path,
		  const char *field)
{
	return call_and_list_after(c, k, path, field, NULL);
}

int body_text(json_t *body, const char *field, const char *text)
{
	if (!text)
		return 0;
	if (json_object_set_new(body, field, json_string(text)) != 0) {
		ctl_error("the %s is not valid UTF-8", field);
		return CTL_TROUBLE;
	}
	return 0;
}

int body_number(json_t *body, const char *field, const char *text)
{
	uint64_t number;

	if (!text)
		return 0;
	if (config_parse_count(text, &number) < 0 || number > INT64_MAX) {
		ctl_error("the %s is not a whole number", field);
		return CTL_TROUBLE;
	}
	json_object_set_new(body, field, json_integer((json_int_t)number));
	return 0;
}

int body_texts(json_t *body, const char *field, const struct ctl *c,
	       unsigned option)
{
	json_t *array;

	if (!c->opt[option])
		return 0;
	array = json_array();
	json_object_set_new(body, field, array);
	for (unsigned i = 0; i < c->more_count; i++) {
		if (c->more[i].id == option &&
		    json_array_append_new(array,
					  json_string(c->more[i].value)) != 0) {
			ctl_error("one of the %s is not valid UTF-8", field);
			return CTL_TROUBLE;
		}
	}
	return 0;
}

/* The key or its id; 0 or CTL_TROUBLE. */
static int body_credential(json_t *body, struct ctl *c)
{
	char key[SECRET_KEY_MAX + 1];
	int rc;

	if ((c->arg_count == 0) == (c->opt[OPT_KEY_ID] == NULL)) {
		ctl_error("either KEY or --key-id ID is expected");
		return CTL_TROUBLE;
	}
	if (c->opt[OPT_KEY_ID])
		return body_text(body, "key_id", c->opt[OPT_KEY_ID]);
	rc = secret_take_key(c->arg[0], key);
	if (rc == 0)
		rc = body_text(body, "key", key);
	explicit_bzero(key, sizeof(key));
	return rc;
}

int body_question(json_t *body, struct ctl *c)
{
	int rc = body_credential(body, c);

	if (rc == 0)
		rc = body_number(body, "cost", c->opt[OPT_COST]);
	if (rc == 0)
		rc = body_text(body, "route", c->opt[OPT_ROUTE]);
	if (rc == 0)
		rc = body_text(body, "scope", c->opt[OPT_SCOPE]);
	return rc != 0 ? rc : body_text(body, "address", c->opt[OPT_ADDRESS]);
}
