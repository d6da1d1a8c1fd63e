/* SPDX-License-Identifier: MIT */
#ifndef STILE_CONTROL_API_INPUT_H
#define STILE_CONTROL_API_INPUT_H

/*
 * control/api_input - reads the members of a JSON object by a table, and
 * refuses what the table does not know.
 *
 * Absent     optional members that are missing or null leave `out` alone.
 * Memory     texts point into the object.
 */
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum input_type {
	INPUT_NAME,     /* const char *: 1..100 bytes, no control characters */
	INPUT_TEXT,     /* const char *: not empty */
	INPUT_LIMIT,    /* struct input_limit: object or "100/60s" */
	INPUT_TIME,     /* int64_t: RFC 3339 -> wall clock ms */
	INPUT_DURATION, /* uint64_t: "1h" -> ms */
	INPUT_HASH,     /* uint8_t[32]: 64 hex digits */
	INPUT_ARRAY,    /* json_t *, borrowed */
	INPUT_COUNT,    /* int64_t: a whole number, not negative */
	INPUT_FLAG,     /* bool */
};

struct input_limit {
	uint32_t limit; /* 0 = not given */
	uint64_t window_ms;
};

struct input {
	const char *name;
	enum input_type type;
	bool required;
	void *out;
};

#define INPUT_PROBLEM_MAX 256

/* False: `problem` says which member is at fault and what was expected.
 * `object` may be NULL (no body): the same as an empty one. */
bool input_read(const json_t *object, const struct input *inputs, size_t count,
		char problem[static INPUT_PROBLEM_MAX]);

/* 1..NAME_MAX_BYTES bytes of UTF-8 without control characters (C0, DEL,
 * C1)? `text` is UTF-8. */
bool input_name_ok(const char *text);

#endif
