/* SPDX-License-Identifier: MIT */
#ifndef STILE_TOOLS_STILECTL_PRINT_H
#define STILE_TOOLS_STILECTL_PRINT_H

/*
 * stilectl_print - what the API sent, for people or (--json) for programs.
 *
 * Tables are aligned page by page, so that a list of any length needs the
 * memory of one page; a column only ever gets wider. Nothing is cut off.
 * Control characters in what the server sent are shown as '?'.
 */
#include "stilectl.h"

#include <jansson.h>
#include <stdio.h>

#define COLUMNS_MAX 16

enum cell {
	CELL_TEXT,
	CELL_NUMBER, /* right-aligned */
	CELL_TIME,   /* RFC 3339 */
	CELL_LIMIT,  /* {"limit","window_ms"} -> 100/60s */
	CELL_TEXTS,  /* an array of texts or of {"index","budget"}: a,b */
};

struct column {
	const char *title;
	const char *field;  /* of the object that makes the row */
	const char *absent; /* shown for null and "" */
	enum cell cell;
};

struct table {
	const struct column *columns;
	unsigned count;
	bool started; /* the titles have been printed */
	size_t width[COLUMNS_MAX];
};

/* With control characters made harmless. */
void print_text(FILE *out, const char *text);

/* Rows for the objects of an array; the titles come first, once. */
void print_rows(struct table *t, const json_t *array);

/* One object as lines "title   value". */
void print_record(const struct column *columns, unsigned count,
		  const json_t *object);

/* Any object the same way: nested ones as "outer.inner", arrays of objects as
 * tables with a row for each. */
void print_anything(json_t *object);

/* One JSON value on a line of its own. */
void print_json(const json_t *value);

/* A list that arrives in pages: a table, or with --json one array. */
struct list {
	struct table table;
	bool json;
	bool opened;  /* the array's bracket has been printed */
	size_t count; /* objects so far */
};

/* Nothing is printed before the first page. A list that breaks off is not
 * ended: an open array, which no program takes for the whole. */
void list_page(struct list *l, const json_t *array);
void list_end(struct list *l);

#endif
