/* SPDX-License-Identifier: MIT */
#include "control/api_input.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static char problem[INPUT_PROBLEM_MAX];
static json_t *object;

static bool read_into(const char *json, enum input_type type, bool required,
		      void *out)
{
	const struct input inputs[] = {{"m", type, required, out}};

	json_decref(object);
	object = json_loads(json, 0, NULL);
	cr_assert_not_null(object, "%s", json);
	problem[0] = '\0';
	return input_read(object, inputs, 1, problem);
}

/* {"m": value} is refused with a sentence that begins so. */
static void refuses(enum input_type type, void *out, const char *value,
		    const char *start)
{
	char json[512];

	snprintf(json, sizeof(json), "{\"m\":%s}", value);
	cr_assert_not(read_into(json, type, false, out), "%s", json);
	cr_assert_eq(strncmp(problem, start, strlen(start)), 0, "%s: %s", json,
		     problem);
}

Test(api_input, what_is_absent_or_null_leaves_the_value_alone)
{
	const char *name = "before";

	cr_assert(read_into("{}", INPUT_NAME, false, &name));
	cr_assert(read_into("{\"m\":null}", INPUT_NAME, false, &name));
	cr_assert_str_eq(name, "before");
	cr_assert(input_read(NULL, NULL, 0, problem), "no body at all");
}

Test(api_input, what_is_required_may_be_neither_absent_nor_null)
{
	const struct input inputs[] = {{"m", INPUT_NAME, true, NULL}};
	const char *name;

	cr_assert_not(read_into("{}", INPUT_NAME, true, &name));
	cr_assert_str_eq(problem, "\"m\": missing");
	cr_assert_not(read_into("{\"m\":null}", INPUT_NAME, true, &name));
	cr_assert_not(input_read(NULL, inputs, 1, problem));
}

Test(api_input, unknown_members_are_named)
{
	const char *name;

	cr_assert_not(
		read_into("{\"m\":\"a\",\"M\":1}", INPUT_NAME, false, &name));
	cr_assert_str_eq(problem, "\"M\": there is no such member here");
	cr_assert_not(read_into("{\"\":1}", INPUT_NAME, false, &name));
	cr_assert_str_eq(problem, "\"\": there is no such member here");
}

Test(api_input, names_are_1_to_100_bytes_without_control_characters)
{
	static const char *const good[] = {
		"a",        ".",          "..",           "a b",
		"\xc2\xa0", "\xc3\xa4/%", "\xe2\x82\xac", "\xf0\x9f\x9a\xaa",
		"\"\\"};
	static const char *const bad[] = {
		"", "\n", "a\x1f", "\x7f", "\xc2\x80", "a\xc2\x9f", "\t"};
	char text[102];

	for (size_t i = 0; i < COUNT(good); i++)
		cr_assert(input_name_ok(good[i]), "%s", good[i]);
	for (size_t i = 0; i < COUNT(bad); i++)
		cr_assert_not(input_name_ok(bad[i]), "bad %zu", i);
	memset(text, 'x', sizeof(text));
	text[100] = '\0';
	cr_assert(input_name_ok(text));
	text[100] = 'x';
	text[101] = '\0';
	cr_assert_not(input_name_ok(text));
}

Test(api_input, texts_of_the_wrong_kind)
{
	const char *name = NULL;
	static const char *const wrong[] = {"1",  "true", "[]",
					    "{}", "1.5",  "\"\""};

	for (size_t i = 0; i < COUNT(wrong); i++) {
		refuses(INPUT_NAME, &name, wrong[i], "\"m\": expected text");
		refuses(INPUT_TEXT, &name, wrong[i], "\"m\": expected text");
	}
	refuses(INPUT_NAME, &name, "\"\\u0007\"", "\"m\": expected text of");
	refuses(INPUT_NAME, &name, "\"\\u0085\"", "\"m\": expected text of");
	cr_assert_null(name);
}

Test(api_input, limits_in_both_forms)
{
	static const struct {
		const char *json;
		uint32_t limit;
		uint64_t window_ms;
	} good[] = {
		{"{\"m\":\"100/60s\"}", 100, 60000},
		{"{\"m\":{\"limit\":1,\"window_ms\":1}}", 1, 1},
		{"{\"m\":{\"window_ms\":2678400000,\"limit\":65536}}", 65536,
		 UINT64_C(2678400000)},
	};

	for (size_t i = 0; i < COUNT(good); i++) {
		struct input_limit limit = {0};

		cr_assert(read_into(good[i].json, INPUT_LIMIT, true, &limit),
			  "%s", problem);
		cr_assert_eq(limit.limit, good[i].limit);
		cr_assert_eq(limit.window_ms, good[i].window_ms);
	}
}

Test(api_input, limits_that_are_refused)
{
	struct input_limit limit = {7, 7};
	static const struct {
		const char *value, *start;
	} bad[] = {
		{"100", "\"m\": expected a limit such as"},
		{"[100,60]", "\"m\": expected a limit such as"},
		{"\"100\"", "\"m\": expected a limit such as"},
		{"\"0/1s\"", "\"m\": expected a limit such as"},
		{"\"8388608/1s\"", "\"m\": expected a limit such as"},
		{"\"1/32d\"", "\"m\": expected a limit such as"},
		{"{}", "\"m\": expected the members"},
		{"{\"limit\":1}", "\"m\": expected the members"},
		{"{\"limit\":1,\"window_ms\":1,\"x\":1}",
		 "\"m\": expected the members"},
		{"{\"limit\":1,\"window\":1}", "\"m\": expected the members"},
		{"{\"limit\":0,\"window_ms\":1}", "\"m.limit\": expected a"},
		{"{\"limit\":8388608,\"window_ms\":1}", "\"m.limit\": "},
		{"{\"limit\":4294967297,\"window_ms\":1}", "\"m.limit\": "},
		{"{\"limit\":-1,\"window_ms\":1}", "\"m.limit\": "},
		{"{\"limit\":1.0,\"window_ms\":1}", "\"m.limit\": "},
		{"{\"limit\":\"1\",\"window_ms\":1}", "\"m.limit\": "},
		{"{\"limit\":null,\"window_ms\":1}", "\"m.limit\": "},
		{"{\"limit\":1,\"window_ms\":0}", "\"m.window_ms\": "},
		{"{\"limit\":1,\"window_ms\":2678400001}", "\"m.window_ms\": "},
		{"{\"limit\":1,\"window_ms\":9223372036854775807}",
		 "\"m.window_ms\": "},
	};

	for (size_t i = 0; i < COUNT(bad); i++)
		refuses(INPUT_LIMIT, &limit, bad[i].value, bad[i].start);
	cr_assert_eq(limit.limit, 7);
	cr_assert_eq(limit.window_ms, 7);
}

Test(api_input, times_and_durations)
{
	int64_t ms = 0;
	uint64_t duration = 0;
	static const char *const no_times[] = {"0",
					       "1893456000",
					       "\"\"",
					       "\"2030-01-31\"",
					       "\"+30d\"",
					       "\"2030-02-30T00:00:00Z\"",
					       "\"2030-01-31T12:00:00\"",
					       "\"2030-01-31T12:00:00Z \"",
					       "\"1969-12-31T23:59:59Z\""};
	static const char *const no_durations[] = {
		"3600",    "\"\"",     "\"1w\"",
		"\"-1s\"", "\"1.5h\"", "\"99999999999999999999s\""};

	cr_assert(read_into("{\"m\":\"2030-01-31T12:00:00+01:00\"}", INPUT_TIME,
			    true, &ms));
	cr_assert_eq(ms, INT64_C(1896087600000));
	cr_assert(
		read_into("{\"m\":\"90m\"}", INPUT_DURATION, true, &duration));
	cr_assert_eq(duration, 5400000);
	for (size_t i = 0; i < COUNT(no_times); i++)
		refuses(INPUT_TIME, &ms, no_times[i],
			"\"m\": expected an RFC 3339 time");
	for (size_t i = 0; i < COUNT(no_durations); i++)
		refuses(INPUT_DURATION, &duration, no_durations[i],
			"\"m\": expected a duration");
	cr_assert_eq(ms, INT64_C(1896087600000));
	cr_assert_eq(duration, 5400000);
}

Test(api_input, hashes_are_64_hex_digits_of_either_case)
{
	uint8_t hash[32];
	static const char digits[] =
		"00112233445566778899aabbccddeeffFFEEDDCCBBAA99887766554433221"
		"100";
	char json[128];

	snprintf(json, sizeof(json), "{\"m\":\"%s\"}", digits);
	cr_assert(read_into(json, INPUT_HASH, true, hash), "%s", problem);
	cr_assert_eq(hash[1], 0x11);
	cr_assert_eq(hash[15], 0xff);
	cr_assert_eq(hash[17], 0xee);
	cr_assert_eq(hash[31], 0x00);
	for (int len = 0; len <= 65; len++) {
		char value[128];

		if (len == 64)
			continue;
		snprintf(value, sizeof(value), "\"%.*s%s\"", len, digits,
			 len > 64 ? "0" : "");
		refuses(INPUT_HASH, hash, value, "\"m\": expected the SHA-256");
	}
	snprintf(json, sizeof(json), "\"%.63sg\"", digits);
	refuses(INPUT_HASH, hash, json, "\"m\": expected the SHA-256");
	refuses(INPUT_HASH, hash, "[]", "\"m\": expected the SHA-256");
}

Test(api_input, arrays_are_lent)
{
	json_t *array = NULL;

	cr_assert(read_into("{\"m\":[1,2]}", INPUT_ARRAY, true, &array));
	cr_assert_eq(json_array_size(array), 2);
	refuses(INPUT_ARRAY, &array, "{}", "\"m\": expected an array");
}
