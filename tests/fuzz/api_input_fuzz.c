/* SPDX-License-Identifier: MIT */
/*
 * control/api_input: a JSON body is read by a table of every type, and what
 * is taken is within its bounds; or the problem names a member.
 */
#include "base/rfc3339.h"
#include "control/api_input.h"
#include "control/config.h"
#include "fuzz.h"
#include "gate/layout.h"
#include "state/records.h"

#define UNTOUCHED UINT64_C(0x5555555555555555)

static void read_all(const json_t *body, bool required)
{
	const char *name = NULL, *text = NULL;
	struct input_limit limit = {.window_ms = UNTOUCHED};
	int64_t when = INT64_MIN;
	uint64_t duration = UNTOUCHED;
	uint8_t hash[32] = {0};
	json_t *array = NULL;
	const struct input inputs[] = {
		{"name", INPUT_NAME, required, &name},
		{"text", INPUT_TEXT, false, &text},
		{"limit", INPUT_LIMIT, false, &limit},
		{"expires", INPUT_TIME, false, &when},
		{"grace", INPUT_DURATION, false, &duration},
		{"hash", INPUT_HASH, false, hash},
		{"keys", INPUT_ARRAY, false, &array},
	};
	char problem[INPUT_PROBLEM_MAX] = "";

	if (!input_read(body, inputs, 7, problem)) {
		must(problem[0] != '\0');
		must(memchr(problem, '\0', sizeof(problem)) != NULL);
		return;
	}
	must(!required || name != NULL);
	if (name)
		must(strlen(name) >= 1 && strlen(name) <= NAME_MAX_BYTES &&
		     input_name_ok(name));
	if (text)
		must(text[0] != '\0');
	if (limit.limit != 0) {
		must(limit.limit <= LIMIT_MAX);
		must(limit.window_ms >= 1 && limit.window_ms <= WINDOW_MS_MAX);
	}
	if (when != INT64_MIN) {
		char out[RFC3339_MAX];
		int64_t again;

		must(when >= 0);
		rfc3339_format_ms(when, out);
		must(rfc3339_parse(out, &again) == 0 && again == when);
	}
	if (array)
		must(json_is_array(array));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *bytes = (char *)exact_copy(data, size);
	char *text = malloc(size + 1);
	uint64_t ms;
	uint32_t limit;
	json_error_t error;
	json_t *body = json_loadb(bytes, size, JSON_REJECT_DUPLICATES, &error);

	if (body != NULL) {
		read_all(json_is_object(body) ? body : NULL, false);
		read_all(json_is_object(body) ? body : NULL, true);
		json_decref(body);
	}
	/* The texts inside, without JSON around them. */
	must(text != NULL);
	memcpy(text, data, size);
	text[size] = '\0';
	if (config_parse_limit(text, &limit, &ms) == 0)
		must(limit >= 1 && limit <= LIMIT_MAX && ms >= 1 &&
		     ms <= WINDOW_MS_MAX);
	(void)config_parse_duration(text, &ms);
	(void)config_parse_bytes(text, &ms);
	(void)rfc3339_parse(text, &(int64_t){0});
	free(text);
	free(bytes);
	return 0;
}
