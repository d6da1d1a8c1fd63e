/* SPDX-License-Identifier: MIT */
#include "control/api_input.h"

#include "base/rfc3339.h"
#include "control/config.h"
#include "gate/layout.h"
#include "state/records.h"

#include <errno.h>
#include <inttypes.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <string.h>

#define SAY(...) snprintf(problem, INPUT_PROBLEM_MAX, __VA_ARGS__)

bool input_name_ok(const char *text)
{
	size_t len = strlen(text);

	if (len < 1 || len > NAME_MAX_BYTES)
		return false;
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)text[i];
		unsigned char next = (unsigned char)text[i + 1];

		if (c < 0x20 || c == 0x7f)
			return false;
		/* U+0080..U+009F */
		if (c == 0xc2 && next < 0xa0)
			return false;
	}
	return true;
}

static bool read_name(const char *name, const json_t *value, void *out,
		      char *problem)
{
	const char *text = json_string_value(value);

	if (!text || !input_name_ok(text)) {
		SAY("\"%s\": expected text of 1..%d bytes without control "
		    "characters",
		    name, NAME_MAX_BYTES);
		return false;
	}
	*(const char **)out = text;
	return true;
}

static bool read_text(const char *name, const json_t *value, void *out,
		      char *problem)
{
	const char *text = json_string_value(value);

	if (!text || text[0] == '\0') {
		SAY("\"%s\": expected text", name);
		return false;
	}
	*(const char **)out = text;
	return true;
}

static bool whole(const json_t *value, uint64_t min, uint64_t max,
		  uint64_t *ret_value)
{
	json_int_t v = json_integer_value(value);

	if (!json_is_integer(value) || v < 0 || (uint64_t)v < min ||
	    (uint64_t)v > max)
		return false;
	*ret_value = (uint64_t)v;
	return true;
}

static bool read_limit_object(const char *name, const json_t *value,
			      struct input_limit *out, char *problem)
{
	const json_t *limit = json_object_get(value, "limit");
	const json_t *window = json_object_get(value, "window_ms");
	uint64_t l = 0;
	uint64_t w = 0;

	if (json_object_size(value) != 2 || !limit || !window) {
		SAY("\"%s\": expected the members \"limit\" and \"window_ms\" "
		    "and no others",
		    name);
		return false;
	}
	if (!whole(limit, 1, LIMIT_MAX, &l)) {
		SAY("\"%s.limit\": expected a whole number, 1..%u", name,
		    LIMIT_MAX);
		return false;
	}
	if (!whole(window, WINDOW_MS_MIN, WINDOW_MS_MAX, &w)) {
		SAY("\"%s.window_ms\": expected a whole number, %u..%" PRIu64,
		    name, WINDOW_MS_MIN, WINDOW_MS_MAX);
		return false;
	}
	out->limit = (uint32_t)l;
	out->window_ms = w;
	return true;
}

static bool read_limit(const char *name, const json_t *value, void *out,
		       char *problem)
{
	struct input_limit *limit = out;

	if (json_is_object(value))
		return read_limit_object(name, value, limit, problem);
	if (json_is_string(value) &&
	    config_parse_limit(json_string_value(value), &limit->limit,
			       &limit->window_ms) == 0)
		return true;
	SAY("\"%s\": expected a limit such as \"100/60s\" or {\"limit\":100,"
	    "\"window_ms\":60000}: 1..%u in 1ms..31d",
	    name, LIMIT_MAX);
	return false;
}

static bool read_time(const char *name, const json_t *value, void *out,
		      char *problem)
{
	if (json_is_string(value) &&
	    rfc3339_parse(json_string_value(value), out) == 0)
		return true;
	SAY("\"%s\": expected an RFC 3339 time such as "
	    "\"2030-01-31T12:00:00Z\"",
	    name);
	return false;
}

static bool read_duration(const char *name, const json_t *value, void *out,
			  char *problem)
{
	if (json_is_string(value) &&
	    config_parse_duration(json_string_value(value), out) == 0)
		return true;
	SAY("\"%s\": expected a duration such as \"30d\", \"1h\" or \"90s\"",
	    name);
	return false;
}

static bool read_hash(const char *name, const json_t *value, void *out,
		      char *problem)
{
	const char *text = json_string_value(value);
	uint8_t *hash = out;
	bool ok = text && strlen(text) == 64;

	for (size_t i = 0; ok && i < 32; i++) {
		int high = OPENSSL_hexchar2int((unsigned char)text[2 * i]);
		int low = OPENSSL_hexchar2int((unsigned char)text[2 * i + 1]);

		ok = high >= 0 && low >= 0;
		if (ok)
			hash[i] = (uint8_t)(high * 16 + low);
	}
	if (!ok)
		SAY("\"%s\": expected the SHA-256 of a key as 64 hexadecimal "
		    "digits",
		    name);
	return ok;
}

static bool read_array(const char *name, json_t *value, void *out,
		       char *problem)
{
	if (!json_is_array(value)) {
		SAY("\"%s\": expected an array", name);
		return false;
	}
	*(json_t **)out = value;
	return true;
}

static bool read_count(const char *name, const json_t *value, void *out,
		       char *problem)
{
	uint64_t v;

	if (!whole(value, 0, INT64_MAX, &v)) {
		SAY("\"%s\": expected a whole number, not negative", name);
		return false;
	}
	*(int64_t *)out = (int64_t)v;
	return true;
}

static bool read_flag(const char *name, const json_t *value, void *out,
		      char *problem)
{
	if (!json_is_boolean(value)) {
		SAY("\"%s\": expected true or false", name);
		return false;
	}
	*(bool *)out = json_is_true(value);
	return true;
}

static bool read_one(const struct input *in, json_t *value, char *problem)
{
	switch (in->type) {
	case INPUT_NAME:
		return read_name(in->name, value, in->out, problem);
	case INPUT_TEXT:
		return read_text(in->name, value, in->out, problem);
	case INPUT_LIMIT:
		return read_limit(in->name, value, in->out, problem);
	case INPUT_TIME:
		return read_time(in->name, value, in->out, problem);
	case INPUT_DURATION:
		return read_duration(in->name, value, in->out, problem);
	case INPUT_HASH:
		return read_hash(in->name, value, in->out, problem);
	case INPUT_ARRAY:
		return read_array(in->name, value, in->out, problem);
	case INPUT_COUNT:
		return read_count(in->name, value, in->out, problem);
	case INPUT_FLAG:
		return read_flag(in->name, value, in->out, problem);
	}
	return false;
}

static bool known(const char *name, const struct input *inputs, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (strcmp(inputs[i].name, name) == 0)
			return true;
	return false;
}

bool input_read(const json_t *object, const struct input *inputs, size_t count,
		char problem[static INPUT_PROBLEM_MAX])
{
	/* The library's iterators take no const; nothing is written. */
	union {
		const json_t *in;
		json_t *out;
	} o = {.in = object};

	for (void *i = json_object_iter(o.out); i;
	     i = json_object_iter_next(o.out, i)) {
		const char *name = json_object_iter_key(i);

		if (!known(name, inputs, count)) {
			SAY("\"%.60s\": there is no such member here", name);
			return false;
		}
	}
	for (size_t i = 0; i < count; i++) {
		json_t *value = json_object_get(object, inputs[i].name);

		if (!inputs[i].required && (!value || json_is_null(value)))
			continue;
		if (!value) {
			SAY("\"%s\": missing", inputs[i].name);
			return false;
		}
		if (!read_one(&inputs[i], value, problem))
			return false;
	}
	return true;
}
