/* SPDX-License-Identifier: MIT */
#include "openapi.h"

#include <criterion/criterion.h>
#include <ctype.h>
#include <regex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

/* ---- YAML to JSON ---- */

static json_t *scalar(const yaml_node_t *n)
{
	const char *text = (const char *)n->data.scalar.value;
	char *end;
	long long number;

	if (n->data.scalar.style != YAML_PLAIN_SCALAR_STYLE)
		return json_string(text);
	if (strcmp(text, "null") == 0 || text[0] == '\0')
		return json_null();
	if (strcmp(text, "true") == 0 || strcmp(text, "false") == 0)
		return json_boolean(text[0] == 't');
	number = strtoll(text, &end, 10);
	if (isdigit((unsigned char)text[0]) && *end == '\0')
		return json_integer(number);
	return json_string(text);
}

static json_t *convert(yaml_document_t *d, int index)
{
	const yaml_node_t *n = yaml_document_get_node(d, index);
	json_t *out;

	cr_assert_not_null(n);
	if (n->type == YAML_SCALAR_NODE)
		return scalar(n);
	if (n->type == YAML_SEQUENCE_NODE) {
		out = json_array();
		for (const int *i = n->data.sequence.items.start;
		     i < n->data.sequence.items.top; i++)
			json_array_append_new(out, convert(d, *i));
		return out;
	}
	out = json_object();
	for (const yaml_node_pair_t *p = n->data.mapping.pairs.start;
	     p < n->data.mapping.pairs.top; p++) {
		const yaml_node_t *key = yaml_document_get_node(d, p->key);
		const char *name = (const char *)key->data.scalar.value;

		cr_assert_null(json_object_get(out, name),
			       "%s: twice in line "
			       "%zu",
			       name, key->start_mark.line + 1);
		json_object_set_new(out, name, convert(d, p->value));
	}
	return out;
}

json_t *openapi_load(const char *path)
{
	yaml_parser_t parser;
	yaml_document_t document;
	FILE *f = fopen(path, "r");
	json_t *doc;

	cr_assert_not_null(f, "%s", path);
	cr_assert(yaml_parser_initialize(&parser));
	yaml_parser_set_input_file(&parser, f);
	cr_assert(yaml_parser_load(&parser, &document), "%s:%zu: %s", path,
		  parser.problem_mark.line + 1, parser.problem);
	doc = convert(&document, 1);
	yaml_document_delete(&document);
	yaml_parser_delete(&parser);
	fclose(f);
	return doc;
}

/* ---- finding one's way ---- */

json_t *openapi_resolve(json_t *doc, json_t *node)
{
	const char *ref;

	while ((ref = json_string_value(json_object_get(node, "$ref")))) {
		char path[256], *rest = path, *part;

		cr_assert_eq(strncmp(ref, "#/", 2), 0, "%s", ref);
		cr_assert_lt(strlen(ref), sizeof(path));
		strcpy(path, ref + 2);
		node = doc;
		while ((part = strsep(&rest, "/")))
			node = json_object_get(node, part);
		cr_assert_not_null(node, "%s leads nowhere", ref);
	}
	return node;
}

json_t *openapi_operation(json_t *doc, const char *method, const char *path)
{
	char name[16];
	size_t n = 0;

	for (; method[n] && n + 1 < sizeof(name); n++)
		name[n] = (char)tolower((unsigned char)method[n]);
	name[n] = '\0';
	return json_object_get(
		json_object_get(json_object_get(doc, "paths"), path), name);
}

json_t *openapi_response(json_t *doc, json_t *operation, const char *status,
			 const char **ret_type)
{
	json_t *response = openapi_resolve(
		doc, json_object_get(json_object_get(operation, "responses"),
				     status));
	json_t *content = json_object_get(response, "content");

	if (response)
		*ret_type = json_object_iter_key(json_object_iter(content));
	return response;
}

/* ---- schemas ---- */

struct place {
	json_t *doc;
	bool closed;
	char at[128]; /* "orgs[3].limit" */
	char *problem;
};

static bool wrong(const struct place *p, const char *what)
{
	snprintf(p->problem, OPENAPI_PROBLEM_MAX, "%s: %s",
		 p->at[0] ? p->at : "the whole", what);
	return false;
}

static bool is_type(const char *type, json_t *v)
{
	return (strcmp(type, "object") == 0 && json_is_object(v)) ||
	       (strcmp(type, "array") == 0 && json_is_array(v)) ||
	       (strcmp(type, "string") == 0 && json_is_string(v)) ||
	       (strcmp(type, "integer") == 0 && json_is_integer(v)) ||
	       (strcmp(type, "boolean") == 0 && json_is_boolean(v)) ||
	       (strcmp(type, "null") == 0 && json_is_null(v));
}

static bool type_fits(json_t *type, json_t *v)
{
	json_t *one;
	size_t i;

	if (json_is_string(type))
		return is_type(json_string_value(type), v);
	json_array_foreach(type, i, one)
	{
		if (is_type(json_string_value(one), v))
			return true;
	}
	return type == NULL;
}

static bool pattern_fits(const char *pattern, const char *text)
{
	regex_t re;
	bool fits;

	cr_assert_eq(regcomp(&re, pattern, REG_EXTENDED | REG_NOSUB), 0, "%s",
		     pattern);
	fits = regexec(&re, text, 0, NULL, 0) == 0;
	regfree(&re);
	return fits;
}

static bool in(json_t *list, json_t *v)
{
	json_t *one;
	size_t i;

	json_array_foreach(list, i, one)
	{
		if (json_equal(one, v))
			return true;
	}
	return false;
}

static bool within(json_t *schema, const char *min, const char *max,
		   json_int_t v)
{
	json_t *least = json_object_get(schema, min);
	json_t *most = json_object_get(schema, max);

	return (!least || v >= json_integer_value(least)) &&
	       (!most || v <= json_integer_value(most));
}

static bool bounds_fit(json_t *schema, json_t *v)
{
	const char *text = json_string_value(v);
	json_t *pattern = json_object_get(schema, "pattern");

	if (text)
		return within(schema, "minLength", "maxLength",
			      (json_int_t)strlen(text)) &&
		       (!pattern ||
			pattern_fits(json_string_value(pattern), text));
	if (json_is_integer(v))
		return within(schema, "minimum", "maximum",
			      json_integer_value(v));
	if (json_is_array(v))
		return within(schema, "minItems", "maxItems",
			      (json_int_t)json_array_size(v));
	return true;
}

static void keywords_are_known(json_t *schema)
{
	static const char *const known[] = {
		"$ref",       "type",
		"properties", "required",
		"items",      "enum",
		"pattern",    "oneOf",
		"allOf",      "minimum",
		"maximum",    "minLength",
		"maxLength",  "minItems",
		"maxItems",   "default",
		"examples",   "description",
		"format",     "additionalProperties",
	};

	for (void *i = json_object_iter(schema); i;
	     i = json_object_iter_next(schema, i)) {
		const char *name = json_object_iter_key(i);
		bool found = false;

		for (size_t k = 0; k < sizeof(known) / sizeof(known[0]); k++)
			found = found || strcmp(known[k], name) == 0;
		cr_assert(found, "the test does not know \"%s\"", name);
	}
}

/* The schema of a member, here or in one of allOf. */
static json_t *property(const struct place *p, json_t *schema, const char *name)
{
	json_t *found, *part;
	size_t i;

	schema = openapi_resolve(p->doc, schema);
	found = json_object_get(json_object_get(schema, "properties"), name);
	json_array_foreach(json_object_get(schema, "allOf"), i, part)
	{
		if (!found)
			found = property(p, part, name);
	}
	return found;
}

static bool fits(struct place *p, json_t *schema, json_t *v);

static bool member_fits(struct place *p, json_t *schema, const char *name,
			json_t *v)
{
	size_t len = strlen(p->at);
	bool ok;

	snprintf(p->at + len, sizeof(p->at) - len, "%s%s", len ? "." : "",
		 name);
	ok = fits(p, schema, v);
	p->at[len] = '\0';
	return ok;
}

static bool object_fits(struct place *p, json_t *schema, json_t *v)
{
	json_t *one;
	json_t *name;
	const char *key;
	size_t i;

	json_array_foreach(json_object_get(schema, "required"), i, name)
	{
		if (!json_object_get(v, json_string_value(name)))
			return wrong(p, json_string_value(name));
	}
	json_object_foreach(v, key, one)
	{
		json_t *of = json_object_get(
			json_object_get(schema, "properties"), key);

		if (of && !member_fits(p, of, key, one))
			return false;
	}
	return true;
}

/* Is every member named, and may be? */
static bool names_fit(struct place *p, json_t *schema, json_t *v)
{
	bool shut =
		json_is_false(json_object_get(schema, "additionalProperties"));
	json_t *one;
	const char *key;

	if ((!p->closed && !shut) ||
	    json_is_true(json_object_get(schema, "additionalProperties")))
		return true;
	json_object_foreach(v, key, one)
	{
		if (!property(p, schema, key))
			return wrong(p, key);
	}
	return true;
}

static bool array_fits(struct place *p, json_t *schema, json_t *v)
{
	json_t *items = json_object_get(schema, "items"), *one;
	size_t i, len = strlen(p->at);

	json_array_foreach(v, i, one)
	{
		snprintf(p->at + len, sizeof(p->at) - len, "[%zu]", i);
		if (!fits(p, items, one))
			return false;
		p->at[len] = '\0';
	}
	return true;
}

static bool alternatives_fit(struct place *p, json_t *schema, json_t *v)
{
	json_t *list = json_object_get(schema, "oneOf"), *part;
	unsigned count = 0;
	size_t i;

	json_array_foreach(list, i, part)
	{
		struct place copy = *p;

		count += fits(&copy, part, v);
	}
	if (list && count != 1)
		return wrong(p, "fits not exactly one of oneOf");
	json_array_foreach(json_object_get(schema, "allOf"), i, part)
	{
		bool closed = p->closed, ok;

		/* Each part names only its own members. */
		p->closed = false;
		ok = fits(p, part, v);
		p->closed = closed;
		if (!ok)
			return false;
	}
	return true;
}

static bool fits(struct place *p, json_t *schema, json_t *v)
{
	json_t *values;

	schema = openapi_resolve(p->doc, schema);
	keywords_are_known(schema);
	values = json_object_get(schema, "enum");
	if (!type_fits(json_object_get(schema, "type"), v))
		return wrong(p, "the wrong type");
	if (values && !in(values, v))
		return wrong(p, "none of the values in enum");
	if (!bounds_fit(schema, v))
		return wrong(p, "out of bounds");
	if (!alternatives_fit(p, schema, v))
		return false;
	if (json_is_object(v) && !json_object_get(schema, "oneOf") &&
	    !names_fit(p, schema, v))
		return false;
	if (json_is_object(v))
		return object_fits(p, schema, v);
	return !json_is_array(v) || array_fits(p, schema, v);
}

bool openapi_fits(json_t *doc, json_t *schema, json_t *value, bool closed,
		  char problem[static OPENAPI_PROBLEM_MAX])
{
	struct place p = {.doc = doc, .closed = closed, .problem = problem};

	return fits(&p, schema, value);
}
