/* SPDX-License-Identifier: MIT */
#include "stilectl_print.h"

#include "stilectl_secret.h"
#include "stilectl_time.h"

#include "control/config.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <wchar.h>

#define GAP "  "
#define NUMBER_TEXT_MAX 32
#define NAME_TEXT_MAX 256 /* of a dotted name in print_anything() */
#define DEPTH_MAX 4       /* objects within objects */

void print_text(FILE *out, const char *text)
{
	for (; *text; text++) {
		unsigned char c = (unsigned char)*text;

		/* 0xc2 0x80..0x9f are the control characters U+0080-9F. */
		if (c == 0xc2 && (unsigned char)text[1] >= 0x80 &&
		    (unsigned char)text[1] < 0xa0) {
			fputc('?', out);
			text++;
		} else {
			fputc(c < 0x20 || c == 0x7f ? '?' : *text, out);
		}
	}
}

/* Columns that a terminal gives to the text; code points when the locale
 * cannot tell. */
static size_t text_width(const char *text)
{
	size_t points = 0, columns = 0, left = strlen(text);
	mbstate_t state = {0};

	for (const char *p = text; *p; p++)
		points += ((unsigned char)*p & 0xc0) != 0x80;
	while (left > 0) {
		wchar_t wide;
		size_t n = mbrtowc(&wide, text, left, &state);
		int w;

		if (n == (size_t)-1 || n == (size_t)-2 || n == 0)
			return points;
		w = wcwidth(wide);
		columns += w < 0 ? 1 : (size_t)w;
		text += n;
		left -= n;
	}
	return columns;
}

static char *copy_text(const char *text)
{
	size_t len = strlen(text) + 1;
	char *copy = secret_malloc(len);

	if (copy)
		memcpy(copy, text, len);
	return copy;
}

static void limit_text(const json_t *value, char out[static TIME_TEXT_MAX])
{
	json_int_t limit = json_integer_value(json_object_get(value, "limit"));
	json_int_t ms = json_integer_value(json_object_get(value, "window_ms"));
	char window[CONFIG_DURATION_MAX];

	config_format_duration((uint64_t)ms, window);
	snprintf(out, TIME_TEXT_MAX, "%" JSON_INTEGER_FORMAT "/%.16s", limit,
		 window);
}

/* Texts with commas between; NULL: out of memory. */
static char *join_texts(const json_t *array, const char *absent)
{
	size_t len = 0, i;
	const json_t *one;
	char *out = NULL;

	for (unsigned pass = 0; pass < 2; pass++) {
		len = 0;
		json_array_foreach(array, i, one)
		{
			const json_t *budget = json_object_get(one, "budget");
			const char *text =
				json_string_value(budget ? budget : one);

			if (!text)
				continue;
			if (out)
				sprintf(out + len, "%s%s", len ? "," : "",
					text);
			len += strlen(text) + (len != 0);
		}
		if (len == 0)
			return copy_text(absent ? absent : "-");
		if (!out)
			out = secret_malloc(len + 1);
		if (!out)
			return NULL;
	}
	return out;
}

/* The value as people read it; secret_free() it. NULL: out of memory. */
static char *cell_text(enum cell cell, const json_t *value, const char *absent)
{
	char text[TIME_TEXT_MAX];

	if (json_is_array(value) && cell == CELL_TEXTS)
		return join_texts(value, absent);
	if (json_is_object(value) && cell == CELL_LIMIT)
		limit_text(value, text);
	else if (json_is_string(value) && cell == CELL_TIME)
		time_for_people(json_string_value(value), text);
	else if (json_is_string(value) && *json_string_value(value))
		return copy_text(json_string_value(value));
	else if (json_is_integer(value))
		snprintf(text, sizeof(text), "%" JSON_INTEGER_FORMAT,
			 json_integer_value(value));
	else if (json_is_real(value))
		snprintf(text, sizeof(text), "%.6g", json_real_value(value));
	else if (json_is_boolean(value))
		snprintf(text, sizeof(text), "%s",
			 json_is_true(value) ? "yes" : "no");
	else
		return copy_text(absent ? absent : "-");
	return copy_text(text);
}

static char *column_text(const struct column *col, const json_t *object)
{
	return cell_text(col->cell, json_object_get(object, col->field),
			 col->absent);
}

static void pad(size_t from, size_t to)
{
	for (; from < to; from++)
		putchar(' ');
}

/* One cell; the last column gets no blanks after it. */
static void print_cell(const struct table *t, unsigned i, const char *text)
{
	size_t width = text_width(text);

	if (i > 0)
		fputs(GAP, stdout);
	if (t->columns[i].cell == CELL_NUMBER)
		pad(width, t->width[i]);
	print_text(stdout, text);
	if (t->columns[i].cell != CELL_NUMBER && i + 1 < t->count)
		pad(width, t->width[i]);
}

static void widen(struct table *t, unsigned i, const char *text)
{
	size_t width = text_width(text);

	if (width > t->width[i])
		t->width[i] = width;
}

void print_rows(struct table *t, const json_t *array)
{
	const json_t *row;
	char *text;
	size_t n;

	json_array_foreach(array, n, row)
	{
		for (unsigned i = 0; i < t->count; i++) {
			text = column_text(&t->columns[i], row);
			widen(t, i, text ? text : "?");
			secret_free(text);
		}
	}
	for (unsigned i = 0; !t->started && i < t->count; i++)
		widen(t, i, t->columns[i].title);
	for (unsigned i = 0; !t->started && i < t->count; i++)
		print_cell(t, i, t->columns[i].title);
	if (!t->started)
		putchar('\n');
	t->started = true;
	json_array_foreach(array, n, row)
	{
		for (unsigned i = 0; i < t->count; i++) {
			text = column_text(&t->columns[i], row);
			print_cell(t, i, text ? text : "?");
			secret_free(text);
		}
		putchar('\n');
	}
}

static void print_line(const char *title, size_t width, const char *text)
{
	print_text(stdout, title);
	pad(text_width(title), width);
	fputs(GAP, stdout);
	print_text(stdout, text ? text : "?");
	putchar('\n');
}

void print_record(const struct column *columns, unsigned count,
		  const json_t *object)
{
	size_t width = 0;

	for (unsigned i = 0; i < count; i++) {
		size_t w = text_width(columns[i].title);

		width = w > width ? w : width;
	}
	for (unsigned i = 0; i < count; i++) {
		char *text = column_text(&columns[i], object);

		print_line(columns[i].title, width, text);
		secret_free(text);
	}
}

static bool ends_with(const char *text, const char *end)
{
	size_t len = strlen(text), end_len = strlen(end);

	return len >= end_len && strcmp(text + len - end_len, end) == 0;
}

/* What a field is, as its name tells. */
static char *value_text(const char *field, const json_t *value)
{
	char text[TIME_TEXT_MAX];

	if (ends_with(field, "uptime_s") && json_is_integer(value)) {
		time_elapsed(json_integer_value(value), text);
		return copy_text(text);
	}
	return cell_text(ends_with(field, "_at") ? CELL_TIME : CELL_TEXT, value,
			 "-");
}

static bool is_table(const json_t *value)
{
	return json_is_array(value) && json_array_size(value) > 0 &&
	       json_is_object(json_array_get(value, 0));
}

typedef void (*field_fn)(const char *name, json_t *value, void *arg);

/* Every plain value of an object and of those within it. */
static void each_field(json_t *object, const char *prefix, int depth,
		       field_fn fn, void *arg)
{
	void *it = json_object_iter(object);

	for (; it; it = json_object_iter_next(object, it)) {
		json_t *value = json_object_iter_value(it);
		char name[NAME_TEXT_MAX];

		if (snprintf(name, sizeof(name), "%s%s%s", prefix,
			     *prefix ? "." : "",
			     json_object_iter_key(it)) >= NAME_TEXT_MAX)
			continue;
		if (json_is_object(value) && depth < DEPTH_MAX)
			each_field(value, name, depth + 1, fn, arg);
		else if (!json_is_array(value))
			fn(name, value, arg);
	}
}

static void measure_field(const char *name, json_t *value, void *arg)
{
	size_t *width = arg, w = text_width(name);

	(void)value;
	*width = w > *width ? w : *width;
}

static void print_field(const char *name, json_t *value, void *arg)
{
	const size_t *width = arg;
	char *text = value_text(name, value);

	print_line(name, *width, text);
	secret_free(text);
}

static void put_field(const char *name, json_t *value, void *arg)
{
	json_object_set(arg, name, value);
}

/* The same objects without nesting. */
static json_t *flatten(const json_t *array)
{
	json_t *flat = json_array(), *row;
	size_t n;

	json_array_foreach(array, n, row)
	{
		json_t *fields = json_object();

		each_field(row, "", 0, put_field, fields);
		json_array_append_new(flat, fields);
	}
	return flat;
}

/* The objects of an array side by side: a line for each of their fields. */
static void print_side_by_side(const char *name, const json_t *array)
{
	json_t *first = json_array_get(array, 0);
	const json_t *row;
	void *it = json_object_iter(first);
	size_t width = strlen(name), n;

	for (void *w = it; w; w = json_object_iter_next(first, w))
		measure_field(json_object_iter_key(w), NULL, &width);
	putchar('\n');
	print_text(stdout, name);
	pad(text_width(name), width);
	for (n = 0; n < json_array_size(array); n++)
		printf(GAP "%12zu", n);
	putchar('\n');
	for (; it; it = json_object_iter_next(first, it)) {
		const char *field = json_object_iter_key(it);

		print_text(stdout, field);
		pad(text_width(field), width);
		json_array_foreach(array, n, row)
		{
			char *text =
				value_text(field, json_object_get(row, field));

			fputs(GAP, stdout);
			pad(text ? text_width(text) : 1, 12);
			print_text(stdout, text ? text : "?");
			secret_free(text);
		}
		putchar('\n');
	}
}

void print_anything(json_t *object)
{
	void *it = json_object_iter(object);
	size_t width = 0;

	each_field(object, "", 0, measure_field, &width);
	each_field(object, "", 0, print_field, &width);
	for (; it; it = json_object_iter_next(object, it)) {
		json_t *value = json_object_iter_value(it);

		if (is_table(value)) {
			json_t *flat = flatten(value);

			print_side_by_side(json_object_iter_key(it), flat);
			json_decref(flat);
		}
	}
}

void print_json(const json_t *value)
{
	json_dumpf(value, stdout, JSON_COMPACT | JSON_ENCODE_ANY);
	putchar('\n');
}

void list_page(struct list *l, const json_t *array)
{
	const json_t *row;
	size_t n;

	if (!l->json) {
		print_rows(&l->table, array);
		return;
	}
	if (!l->opened)
		putchar('[');
	l->opened = true;
	json_array_foreach(array, n, row)
	{
		fputs(l->count++ ? ",\n" : "\n", stdout);
		json_dumpf(row, stdout, JSON_COMPACT);
	}
}

void list_end(struct list *l)
{
	if (l->json)
		fputs(l->count ? "\n]\n" : "]\n", stdout);
}
