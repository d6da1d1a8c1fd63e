/* SPDX-License-Identifier: MIT */
#include "control/config.h"

#include "base/label.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static struct config config;
static char *said;
static size_t said_len;

static int load(const char *text)
{
	FILE *diag = open_memstream(&said, &said_len);
	int r;

	config_defaults(&config);
	r = config_load_text(&config, "f.yaml", text, strlen(text), diag);
	fclose(diag);
	return r;
}

static void accepts(const char *text)
{
	cr_assert_eq(load(text), 0, "<%s>: %s", text, said);
	cr_assert_str_eq(said, "");
	free(said);
}

/* Refused with exactly `faults`, and nothing of it is applied. */
static void refuses(const char *text, const char *faults)
{
	static struct config standard;

	config_defaults(&standard);
	cr_assert_eq(load(text), -EINVAL, "<%s>", text);
	cr_assert_str_eq(said, faults);
	cr_assert_eq(memcmp(&config, &standard, sizeof(config)), 0,
		     "half applied: <%s>", text);
	free(said);
}

static const struct route *find(const char *name)
{
	return routes_at(
		&config.routes,
		routes_find(&config.routes, label_hash(name, strlen(name))));
}

static void holds(const char *name, uint32_t price, const char *scope)
{
	const struct route *route = find(name);

	cr_assert_not_null(route, "%s", name);
	cr_assert_str_eq(route->name, name);
	cr_assert_eq(route->price, price, "%s: %u", name, route->price);
	cr_assert_str_eq(route->scope, scope);
	cr_assert_eq(route->scope_hash,
		     scope[0] ? label_hash(scope, strlen(scope)) : 0);
}

Test(config_routes, there_are_none_unless_the_file_names_some)
{
	accepts("workers: 1\n");
	cr_assert_eq(config.routes.count, 0);
	accepts("routes: {}\n");
	cr_assert_eq(config.routes.count, 0);
}

Test(config_routes, both_forms_are_read)
{
	accepts("routes:\n"
		"  document-extraction:\n"
		"    cost: 1\n"
		"    scope: documents\n"
		"  image-generation: 2        # only a cost\n"
		"  \"quoted\": {scope: \"a:b\"}\n"
		"  sheet-generation: {cost: 1000000}\n"
		"  free: {}\n"
		"workers: 3\n");
	cr_assert_eq(config.routes.count, 5);
	holds("document-extraction", 1, "documents");
	holds("image-generation", 2, "");
	holds("quoted", 1, "a:b");
	holds("sheet-generation", 1000000, "");
	holds("free", 1, "");
	cr_assert_eq(config.workers, 3, "what follows is read");
}

Test(config_routes, names_may_be_any_printable_text_of_their_length)
{
	static const char longest[] = "0123456789012345678901234567890123456789"
				      "01234567890123456789abc";
	char text[256];

	accepts("routes: {a.b: 2, GET/v1/x: 3, \"{}#:~!\": 4, ~: 5, 7: 8}\n");
	holds("a.b", 2, "");
	holds("GET/v1/x", 3, "");
	holds("{}#:~!", 4, "");
	holds("~", 5, "");
	holds("7", 8, "");
	cr_assert_eq(sizeof(longest) - 1, LABEL_MAX);
	snprintf(text, sizeof(text), "routes: {%s: {cost: 9, scope: %s}}\n",
		 longest, longest);
	accepts(text);
	holds(longest, 9, longest);
}

Test(config_routes, the_file_replaces_what_was_there)
{
	accepts("routes: {a: 2, b: 3}\n");
	cr_assert_eq(
		config_load_text(&config, "g", "routes: {b: 4}", 14, stderr),
		0);
	cr_assert_null(find("a"));
	holds("b", 4, "");
	cr_assert_eq(config_load_text(&config, "g", "workers: 1", 10, stderr),
		     0);
	holds("b", 4, "");
}

Test(config_routes, costs_at_and_beyond_their_bounds)
{
	static const char *const bad[] = {
		"0",   "1000001", "4294967297", "18446744073709551617",
		"-1",  "+1",      "1.0",        "0x10",
		"1e1", "free",    "1KiB",
	};

	accepts("routes: {a: 1, b: 1000000}\n");
	holds("a", 1, "");
	holds("b", 1000000, "");
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		char text[128], faults[256];

		snprintf(text, sizeof(text),
			 "routes:\n  a: %s\n  b: {cost: %s}\n", bad[i], bad[i]);
		snprintf(faults, sizeof(faults),
			 "f.yaml:2: routes.a: expected a whole number, "
			 "1..1000000; got \"%s\"\n"
			 "f.yaml:3: routes.b.cost: expected a whole number, "
			 "1..1000000; got \"%s\"\n",
			 bad[i], bad[i]);
		refuses(text, faults);
	}
	refuses("routes:\n  a: \"2\"\n",
		"f.yaml:2: routes.a: expected a whole number, 1..1000000, "
		"without quotes; got \"2\"\n");
	refuses("routes:\n  a:\n  b: {cost: ~}\n",
		"f.yaml:2: routes.a: expected a whole number, 1..1000000; "
		"there is no value\n"
		"f.yaml:3: routes.b.cost: expected a whole number, "
		"1..1000000; there is no value\n");
}

#define TRIAL "a whole number, 0..1000000000"

static uint32_t trial_of(const char *name)
{
	const struct route *route = find(name);

	return route != NULL ? route->trial : UINT32_MAX;
}

Test(config_routes, trials_are_credits_that_a_route_gives_once)
{
	accepts("routes:\n"
		"  a: {cost: 2, scope: s, trial: 500}\n"
		"  b: {trial: 1000000000}\n"
		"  c: {trial: 0}\n"
		"  d: 7\n"
		"  e: {trial: 1}\n");
	holds("a", 2, "s");
	holds("b", 1, "");
	cr_assert_eq(trial_of("a"), 500);
	cr_assert_eq(trial_of("b"), 1000000000);
	cr_assert_eq(trial_of("c"), 0);
	cr_assert_eq(trial_of("d"), 0);
	cr_assert_eq(trial_of("e"), 1);
	refuses("routes:\n  a: {trial: 1000000001}\n  b: {trial: -1}\n"
		"  c: {trial: }\n  d: {trial: \"5\"}\n"
		"  e: {trial: 1, trial: 2}\n  f: {trial: [1]}\n",
		"f.yaml:2: routes.a.trial: expected " TRIAL
		"; got \"1000000001\"\n"
		"f.yaml:3: routes.b.trial: expected " TRIAL "; got \"-1\"\n"
		"f.yaml:4: routes.c.trial: expected " TRIAL
		"; there is no value\n"
		"f.yaml:5: routes.d.trial: expected " TRIAL
		", without quotes; got \"5\"\n"
		"f.yaml:6: routes.e.trial: given twice, first in line 6\n"
		"f.yaml:7: routes.f.trial: expected " TRIAL "\n");
}

#define LABEL "1..63 printable ASCII characters without spaces"

Test(config_routes, names_that_no_request_could_carry_are_refused)
{
	refuses("routes:\n  \"\": 1\n  a b: 1\n  \xc3\xa4: 1\n"
		"  \"a\\tb\": 1\n",
		"f.yaml:2: routes.: expected a name of " LABEL "\n"
		"f.yaml:3: routes.a b: expected a name of " LABEL "\n"
		"f.yaml:4: routes.\xc3\xa4: expected a name of " LABEL "\n"
		"f.yaml:5: routes.a?b: expected a name of " LABEL "\n");
	refuses("routes:\n  0123456789012345678901234567890123456789"
		"01234567890123456789abcd: {bad: 1}\n",
		"f.yaml:2: routes.0123456789012345678901234567890123456789"
		"0123456789012345678: expected a name of " LABEL "\n");
	refuses("routes: {other: 1}\n",
		"f.yaml:1: routes.other: expected another name: in usage, this "
		"one is all routes that are not here\n");
	/* A zero byte does not end a name. */
	refuses("routes: {\"a\\0b\": 1, b: {\"cost\\0\": 1}}\n",
		"f.yaml:1: routes: expected the name of a route\n"
		"f.yaml:1: routes.b: expected cost, scope or trial\n");
}

Test(config_routes, scopes_are_texts_like_names)
{
	refuses("routes:\n  a:\n    scope: b c\n  b: {scope: \"\"}\n"
		"  c: {scope: }\n  d: {scope: [x]}\n  e: {scope: \"x\\0\"}\n",
		"f.yaml:3: routes.a.scope: expected " LABEL "; got \"b c\"\n"
		"f.yaml:4: routes.b.scope: expected " LABEL "; got \"\"\n"
		"f.yaml:5: routes.c.scope: expected " LABEL
		"; there is no value\n"
		"f.yaml:6: routes.d.scope: expected " LABEL "\n"
		"f.yaml:7: routes.e.scope: expected " LABEL "; got \"x\"\n");
}

Test(config_routes, what_is_given_twice_is_told_with_both_lines)
{
	refuses("routes:\n  a: 1\n  b: 2\n  a: {nonsense: 3}\n",
		"f.yaml:4: routes.a: given twice, first in line 2\n");
	refuses("routes:\n  a: x\n  a: 1\n",
		"f.yaml:2: routes.a: expected a whole number, 1..1000000; got "
		"\"x\"\n"
		"f.yaml:3: routes.a: given twice, first in line 2\n");
	refuses("routes:\n  a:\n    cost: 1\n    scope: b\n    cost: [2]\n"
		"    scope: d\n",
		"f.yaml:5: routes.a.cost: given twice, first in line 3\n"
		"f.yaml:6: routes.a.scope: given twice, first in line 4\n");
	refuses("routes: {a: 1}\nroutes: {b: {nonsense: 1}}\n",
		"f.yaml:2: routes: this group is given twice\n");
}

Test(config_routes, unknown_members_are_told_where_they_stand)
{
	refuses("routes:\n  a:\n    cost: 1\n    price: {x: [1, 2]}\n"
		"    scope: s\nworker: 1\n",
		"f.yaml:4: routes.a.price: there is no such member of a route; "
		"expected cost, scope or trial\n"
		"f.yaml:6: worker: there is no such option (stiled "
		"--help-config lists them)\n");
	refuses("routes.a: 1\n", "f.yaml:1: routes.a: there is no such option "
				 "(stiled --help-config lists them)\n");
}

#define GROUP                                                                  \
	"f.yaml:1: routes: expected a group of routes as \"name: cost\", "     \
	"without tag or anchor; {} for none\n"

Test(config_routes, values_of_the_wrong_kind)
{
	refuses("routes: 1\n", GROUP);
	refuses("routes:\n", GROUP);
	refuses("routes: [a, {b: 1}]\n", GROUP);
	refuses("routes: &x {a: 1}\n", GROUP);
	refuses("routes: *x\n", GROUP);
	refuses("routes:\n  a: [1]\n  b: {cost: {c: 1}}\n  c: &x {cost: 1}\n"
		"  d: *x\n",
		"f.yaml:2: routes.a: expected a cost, or a group of cost, "
		"scope "
		"or trial without tag or anchor\n"
		"f.yaml:3: routes.b.cost: expected a whole number, "
		"1..1000000\n"
		"f.yaml:4: routes.c: expected a cost, or a group of cost, "
		"scope "
		"or trial without tag or anchor\n"
		"f.yaml:5: routes.d: expected a cost, or a group of cost, "
		"scope "
		"or trial without tag or anchor\n");
	refuses("routes:\n  ? [x]\n  : 1\n  &n b: 2\n"
		"  c: {[y]: 1, cost: !!int 2}\n",
		"f.yaml:2: routes: expected the name of a route\n"
		"f.yaml:4: routes: expected the name of a route\n"
		"f.yaml:5: routes.c: expected cost, scope or trial\n"
		"f.yaml:5: routes.c.cost: expected a value without tag or "
		"anchor\n");
}

Test(config_routes, their_number_has_a_bound)
{
	char *text, line[32];
	size_t len;
	FILE *f = open_memstream(&text, &len);

	fputs("routes:\n", f);
	for (int i = 1; i <= ROUTES_MAX; i++)
		fprintf(f, "  r%d: %d\n", i, i);
	fflush(f);
	accepts(text);
	cr_assert_eq(config.routes.count, ROUTES_MAX);
	for (int i = 1; i <= ROUTES_MAX; i++) {
		snprintf(line, sizeof(line), "r%d", i);
		holds(line, (uint32_t)i, "");
	}
	fputs("  more: 1\n", f);
	fclose(f);
	refuses(text, "f.yaml:252: routes.more: expected at most 250 "
		      "routes\n");
	free(text);
}

Test(config_routes, a_text_that_breaks_off_is_refused)
{
	static const char whole[] = "routes: {a: {cost: 2, scope: x}, b: 3}";

	for (size_t len = 9; len < sizeof(whole) - 1; len++) {
		char text[sizeof(whole)];

		memcpy(text, whole, len);
		text[len] = '\0';
		cr_assert_eq(load(text), -EINVAL, "<%s>", text);
		cr_assert_not_null(strstr(said, "not valid YAML"), "<%s>: %s",
				   text, said);
		cr_assert_eq(config.routes.count, 0);
		free(said);
	}
	accepts(whole);
}
