/* SPDX-License-Identifier: MIT */
#include "control/config_option.h"

#include "base/check.h"

#include <inttypes.h>
#include <stdarg.h>
#include <string.h>

#define EXPECT(...) snprintf(expected, OPTION_EXPECTED_MAX, __VA_ARGS__)

static uint64_t load(const struct option *o, const struct config *c)
{
	const char *at = (const char *)c + o->offset;
	uint32_t half;
	uint64_t word;

	if (o->size == sizeof(word)) {
		memcpy(&word, at, sizeof(word));
		return word;
	}
	check(o->size == sizeof(half));
	memcpy(&half, at, sizeof(half));
	return half;
}

static void store(const struct option *o, struct config *c, uint64_t value)
{
	char *at = (char *)c + o->offset;
	uint32_t half = (uint32_t)value;

	if (o->size == sizeof(value)) {
		memcpy(at, &value, sizeof(value));
		return;
	}
	check(o->size == sizeof(half));
	memcpy(at, &half, sizeof(half));
}

bool option_is_number(const struct option *o)
{
	return o->type == OPTION_MODE || o->type == OPTION_COUNT ||
	       o->type == OPTION_POWER;
}

static void describe_choices(const struct option *o, char *expected)
{
	size_t len = (size_t)EXPECT("one of");

	for (size_t i = 0; o->choices[i]; i++)
		len += (size_t)snprintf(expected + len,
					OPTION_EXPECTED_MAX - len, "%s %s",
					i ? "," : "", o->choices[i]);
}

void option_describe(const struct option *o,
		     char expected[static OPTION_EXPECTED_MAX])
{
	switch (o->type) {
	case OPTION_DIR:
		EXPECT("a directory");
		return;
	case OPTION_SOCKET:
		EXPECT("the path of a Unix socket, at most %d bytes%s",
		       CONFIG_PATH_MAX - 1,
		       o->min ? "" : "; \"\" to turn it off");
		return;
	case OPTION_TEXT:
		EXPECT("text of %" PRIu64 "..%" PRIu64 " characters", o->min,
		       o->max);
		return;
	case OPTION_MODE:
		EXPECT("an octal file mode with a leading 0, such as 0660");
		return;
	case OPTION_COUNT:
		EXPECT("a whole number, %" PRIu64 "..%" PRIu64, o->min, o->max);
		return;
	case OPTION_POWER:
		EXPECT("a power of two, %" PRIu64 "..%" PRIu64, o->min, o->max);
		return;
	case OPTION_BYTES:
		EXPECT("a size such as 64KiB, 4MiB or 1GiB, %" PRIu64
		       "..%" PRIu64 " bytes",
		       o->min, o->max);
		return;
	case OPTION_SECONDS:
		EXPECT("a duration in whole seconds such as 10s or 2m, "
		       "%" PRIu64 "..%" PRIu64 " s",
		       o->min, o->max);
		return;
	case OPTION_LIMIT:
		EXPECT("a limit such as 100/60s: 1..8388607 in 1ms..31d");
		return;
	case OPTION_CHOICE:
		describe_choices(o, expected);
		return;
	}
	check(false);
}

static bool in_bounds(const struct option *o, uint64_t v)
{
	if (o->type == OPTION_POWER && (v & (v - 1)) != 0)
		return false;
	return v >= o->min && v <= o->max;
}

static bool set_text(const struct option *o, struct config *c, const char *text)
{
	size_t len = strlen(text);

	if (len >= o->size || len < o->min || len > o->max)
		return false;
	memset((char *)c + o->offset, 0, o->size);
	memcpy((char *)c + o->offset, text, len);
	return true;
}

static bool set_number(const struct option *o, struct config *c,
		       const char *text)
{
	uint64_t v;

	/* A suffix makes it a size or a duration, not a number. */
	if (text[strspn(text, "0123456789")] != '\0' ||
	    config_parse_bytes(text, &v) < 0 || !in_bounds(o, v))
		return false;
	store(o, c, v);
	return true;
}

static bool set_mode(const struct option *o, struct config *c, const char *text)
{
	uint64_t v = 0;
	size_t len = strlen(text);

	if (text[0] != '0' || len < 2 || len > 4 ||
	    text[strspn(text, "01234567")] != '\0')
		return false;
	for (; *text; text++)
		v = v * 8 + (uint64_t)(*text - '0');
	if (!in_bounds(o, v))
		return false;
	store(o, c, v);
	return true;
}

static bool set_choice(const struct option *o, struct config *c,
		       const char *text)
{
	for (size_t i = 0; o->choices[i]; i++) {
		if (strcmp(o->choices[i], text) == 0) {
			store(o, c, i);
			return true;
		}
	}
	return false;
}

static bool set_bytes(const struct option *o, struct config *c,
		      const char *text)
{
	uint64_t v;

	if (config_parse_bytes(text, &v) < 0 || !in_bounds(o, v))
		return false;
	store(o, c, v);
	return true;
}

static bool set_seconds(const struct option *o, struct config *c,
			const char *text)
{
	uint64_t v;

	if (config_parse_duration(text, &v) < 0 || v % 1000 != 0 ||
	    !in_bounds(o, v / 1000))
		return false;
	store(o, c, v / 1000);
	return true;
}

static bool set(const struct option *o, struct config *c, const char *text)
{
	switch (o->type) {
	case OPTION_DIR:
	case OPTION_SOCKET:
	case OPTION_TEXT:
		return set_text(o, c, text);
	case OPTION_MODE:
		return set_mode(o, c, text);
	case OPTION_COUNT:
	case OPTION_POWER:
		return set_number(o, c, text);
	case OPTION_BYTES:
		return set_bytes(o, c, text);
	case OPTION_SECONDS:
		return set_seconds(o, c, text);
	case OPTION_LIMIT:
		return config_parse_limit(text, &c->default_limit,
					  &c->default_window_ms) == 0;
	case OPTION_CHOICE:
		return set_choice(o, c, text);
	}
	check(false);
	return false;
}

bool option_set(const struct option *o, struct config *c, const char *text,
		char expected[static OPTION_EXPECTED_MAX])
{
	if (set(o, c, text))
		return true;
	option_describe(o, expected);
	return false;
}

static size_t choice_count(const struct option *o)
{
	size_t n = 0;

	while (o->choices[n])
		n++;
	return n;
}

bool option_check(const struct option *o, const struct config *c,
		  char expected[static OPTION_EXPECTED_MAX])
{
	const char *text = (const char *)c + o->offset;
	size_t len;
	bool ok;

	switch (o->type) {
	case OPTION_DIR:
	case OPTION_SOCKET:
	case OPTION_TEXT:
		len = strnlen(text, o->size);
		ok = len < o->size && len >= o->min && len <= o->max;
		break;
	case OPTION_LIMIT:
		ok = c->default_limit >= o->min && c->default_limit <= o->max;
		break;
	case OPTION_CHOICE:
		ok = load(o, c) < choice_count(o);
		break;
	default:
		ok = in_bounds(o, load(o, c));
		break;
	}
	if (!ok)
		option_describe(o, expected);
	return ok;
}

void config_fault(struct config_faults *f, uint32_t line, const char *name,
		  const char *fmt, ...)
{
	va_list ap;

	f->count++;
	if (!f->out || f->count > CONFIG_FAULTS_MAX)
		return;
	if (f->name)
		fprintf(f->out, "%s:", f->name);
	if (f->name && line)
		fprintf(f->out, "%" PRIu32 ":", line);
	if (f->name)
		fputc(' ', f->out);
	if (name)
		fprintf(f->out, "%s: ", name);
	va_start(ap, fmt);
	vfprintf(f->out, fmt, ap);
	va_end(ap);
	fputc('\n', f->out);
	if (f->count == CONFIG_FAULTS_MAX)
		fputs("more faults may follow; they are not shown\n", f->out);
}
