/* SPDX-License-Identifier: MIT */
#include "control/config_routes.h"

#include "base/label.h"
#include "state/usage.h"

#include <string.h>

#define ROUTE_PRICE 1 /* of a route that names none */
#define FULL_NAME_MAX 128

#define LABEL_EXPECTED "1..63 printable ASCII characters without spaces"
#define COST_EXPECTED "a whole number, 1..1000000"
#define TRIAL_EXPECTED "a whole number, 0..1000000000"
#define MEMBERS "cost, scope or trial"

_Static_assert(LABEL_MAX == 63 && CHECK_COST_MAX == 1000000 &&
		       ROUTE_TRIAL_MAX == 1000000000,
	       "as the texts say");
_Static_assert(sizeof(CONFIG_ROUTES) + LABEL_MAX + sizeof(".scope") <=
		       FULL_NAME_MAX,
	       "names of members are told whole");

enum member {
	MEMBER_COST,
	MEMBER_SCOPE,
	MEMBER_TRIAL,
	MEMBER_COUNT,
};

static const char *const member_names[MEMBER_COUNT] = {"cost", "scope",
						       "trial"};

/* One `name: ...` while it is read. */
struct entry {
	struct reader *reader;
	const char *name;             /* "routes.NAME" */
	uint32_t lines[MEMBER_COUNT]; /* 0: not there */
	uint32_t cost, trial;
	char scope[LABEL_MAX + 1];
};

static bool is_label(const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (text[i] <= ' ' || text[i] > '~')
			return false;
	return len >= 1 && len <= LABEL_MAX;
}

static const char *text_of(const yaml_event_t *e)
{
	return (const char *)e->data.scalar.value;
}

/* A text that is there and without ornament; if not, that is told. */
static bool is_text(struct reader *r, const char *name, const yaml_event_t *e,
		    const char *expected)
{
	uint32_t line = reader_line_at(e->start_mark);

	if (e->type != YAML_SCALAR_EVENT)
		config_fault(&r->faults, line, name, "expected %s", expected);
	else if (reader_is_null(e))
		config_fault(&r->faults, line, name,
			     "expected %s; there is no value", expected);
	else if (reader_decorated(e))
		config_fault(&r->faults, line, name,
			     "expected a value without tag or anchor");
	else
		return true;
	return false;
}

static void refuse(struct reader *r, const char *name, const yaml_event_t *e,
		   const char *expected)
{
	char buf[READER_SHOWN_MAX];

	config_fault(&r->faults, reader_line_at(e->start_mark), name,
		     "expected %s; got \"%s\"", expected,
		     reader_shown(text_of(e), buf));
}

static void take_count(struct reader *r, const char *name,
		       const yaml_event_t *e, uint32_t min, uint32_t max,
		       const char *expected, uint32_t *ret_count)
{
	char unquoted[sizeof(TRIAL_EXPECTED ", without quotes")];
	uint64_t count;

	snprintf(unquoted, sizeof(unquoted), "%s, without quotes", expected);
	if (!is_text(r, name, e, expected))
		return;
	if (!reader_plain(e))
		refuse(r, name, e, unquoted);
	else if (strlen(text_of(e)) != e->data.scalar.length ||
		 config_parse_count(text_of(e), &count) < 0 || count < min ||
		 count > max)
		refuse(r, name, e, expected);
	else
		*ret_count = (uint32_t)count;
}

static void take_cost(struct entry *n, const char *name, const yaml_event_t *e)
{
	take_count(n->reader, name, e, 1, CHECK_COST_MAX, COST_EXPECTED,
		   &n->cost);
}

static void take_scope(struct entry *n, const char *name, const yaml_event_t *e)
{
	size_t len = e->data.scalar.length;

	if (!is_text(n->reader, name, e, LABEL_EXPECTED))
		return;
	if (is_label(text_of(e), len))
		memcpy(n->scope, text_of(e), len + 1);
	else
		refuse(n->reader, name, e, LABEL_EXPECTED);
}

/* What stands at the name `key` of a route, whose line is given. */
static void read_member(struct entry *n, const char *key, uint32_t line)
{
	struct reader *r = n->reader;
	unsigned member = 0;
	char name[FULL_NAME_MAX], buf[READER_SHOWN_MAX];
	yaml_event_type_t type;
	yaml_event_t e;

	snprintf(name, sizeof(name), "%s.%s", n->name, reader_shown(key, buf));
	while (member < MEMBER_COUNT && strcmp(key, member_names[member]) != 0)
		member++;
	if (member == MEMBER_COUNT) {
		config_fault(&r->faults, line, name,
			     "there is no such member of a route; "
			     "expected " MEMBERS);
		reader_skip_node(r);
		return;
	}
	if (n->lines[member] != 0) {
		config_fault(&r->faults, line, name,
			     "given twice, first in line %u", n->lines[member]);
		reader_skip_node(r);
		return;
	}
	n->lines[member] = line;
	if (!reader_next(r, &e))
		return;
	type = e.type;
	if (member == MEMBER_COST)
		take_cost(n, name, &e);
	else if (member == MEMBER_SCOPE)
		take_scope(n, name, &e);
	else
		take_count(r, name, &e, 0, ROUTE_TRIAL_MAX, TRIAL_EXPECTED,
			   &n->trial);
	yaml_event_delete(&e);
	reader_skip(r, type);
}

/* The next name of a mapping, as the event that the caller deletes; false at
 * its end. What is no name is told and read over. */
static bool next_name(struct reader *r, const char *in, const char *expected,
		      yaml_event_t *ret_event)
{
	while (reader_next(r, ret_event)) {
		yaml_event_type_t type = ret_event->type;

		if (type == YAML_SCALAR_EVENT && !reader_decorated(ret_event) &&
		    strlen(text_of(ret_event)) == ret_event->data.scalar.length)
			return true;
		if (type != YAML_MAPPING_END_EVENT)
			config_fault(&r->faults,
				     reader_line_at(ret_event->start_mark), in,
				     "expected %s", expected);
		yaml_event_delete(ret_event);
		if (type == YAML_MAPPING_END_EVENT)
			return false;
		reader_skip(r, type);
		reader_skip_node(r);
	}
	return false;
}

static void read_members(struct entry *n)
{
	yaml_event_t e;

	while (next_name(n->reader, n->name, MEMBERS, &e)) {
		read_member(n, text_of(&e), reader_line_at(e.start_mark));
		yaml_event_delete(&e);
	}
}

static void read_entry(struct entry *n)
{
	struct reader *r = n->reader;
	yaml_event_type_t type;
	yaml_event_t e;

	if (!reader_next(r, &e))
		return;
	type = e.type;
	if (type == YAML_MAPPING_START_EVENT && !reader_decorated(&e)) {
		read_members(n);
	} else if (type == YAML_SCALAR_EVENT) {
		take_cost(n, n->name, &e);
	} else {
		config_fault(&r->faults, reader_line_at(e.start_mark), n->name,
			     "expected a cost, or a group of " MEMBERS
			     " without tag or anchor");
		reader_skip(r, type);
	}
	yaml_event_delete(&e);
}

/* `lines` of the routes so far. */
static void read_route(struct reader *r, const char *label, uint32_t line,
		       uint32_t lines[static ROUTES_MAX])
{
	struct routes *routes = &r->config->routes;
	size_t len = strlen(label);
	uint32_t number = routes_find(routes, label_hash(label, len));
	char name[FULL_NAME_MAX], buf[READER_SHOWN_MAX];
	struct entry n = {.reader = r, .name = name, .cost = ROUTE_PRICE};

	if (!is_label(label, len)) {
		snprintf(name, sizeof(name), CONFIG_ROUTES ".%s",
			 reader_shown(label, buf));
		config_fault(&r->faults, line, name,
			     "expected a name of " LABEL_EXPECTED);
		reader_skip_node(r);
		return;
	}
	snprintf(name, sizeof(name), CONFIG_ROUTES ".%s", label);
	if (strcmp(label, USAGE_ROUTE_OTHER) == 0) {
		config_fault(&r->faults, line, name,
			     "expected another name: in usage, this one is all "
			     "routes that are not here");
		reader_skip_node(r);
		return;
	}
	if (number != ROUTE_OTHER) {
		config_fault(&r->faults, line, name,
			     "given twice, first in line %u",
			     lines[number - 1]);
		reader_skip_node(r);
		return;
	}
	read_entry(&n);
	/* Also one with faults, so that a second of its name is told. */
	if (routes_add(routes, label, n.cost, n.scope)) {
		routes->routes[routes->count - 1].trial = n.trial;
		lines[routes->count - 1] = line;
	} else {
		config_fault(&r->faults, line, name,
			     "expected at most %d routes", ROUTES_MAX);
	}
}

void config_routes_read(struct reader *r, uint32_t line)
{
	uint32_t lines[ROUTES_MAX] = {0};
	yaml_event_type_t type;
	yaml_event_t e;

	if (!reader_next(r, &e))
		return;
	type = e.type;
	if (type != YAML_MAPPING_START_EVENT || reader_decorated(&e)) {
		config_fault(&r->faults, line, CONFIG_ROUTES,
			     "expected a group of routes as \"name: cost\", "
			     "without tag or anchor; {} for none");
		yaml_event_delete(&e);
		reader_skip(r, type);
		return;
	}
	yaml_event_delete(&e);
	memset(&r->config->routes, 0, sizeof(r->config->routes));
	while (next_name(r, CONFIG_ROUTES, "the name of a route", &e)) {
		read_route(r, text_of(&e), reader_line_at(e.start_mark), lines);
		yaml_event_delete(&e);
	}
}

void config_routes_describe(FILE *out)
{
	fprintf(out,
		"## What a request on a route costs when the proxy does not "
		"say (X-Stile-Cost), the scope that a key with scopes "
		"needs when it does not say (X-Stile-Scope), and the credits "
		"that each organization may try the route with. Usage of these "
		"routes is told apart by name.\n"
		"## Takes at most %d names of " LABEL_EXPECTED
		", each with a cost, or with a group of cost (" COST_EXPECTED
		"; %d when it is not there), scope (a text like the "
		"names) and trial (" TRIAL_EXPECTED
		"; 0 when it is not there).\n"
		"## For instance:\n"
		"##   document-extraction: {cost: 1, scope: documents, "
		"trial: 500}\n"
		"##   document-to-markdown: {trial: 500}\n"
		"##   website-extraction: {trial: 150}\n"
		"##   image-transformation: {trial: 200}\n"
		"##   image-generation: {cost: 2, trial: 200}\n"
		"##   document-generation: {cost: 2, trial: 200}\n"
		"##   sheet-generation: 2\n",
		ROUTES_MAX, ROUTE_PRICE);
	fputs("#" CONFIG_ROUTES ": {}\n", out);
}
