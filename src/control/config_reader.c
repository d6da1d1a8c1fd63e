/* SPDX-License-Identifier: MIT */
#include "control/config_reader.h"

#include <stdio.h>
#include <string.h>

#define NESTING_MAX 16 /* of what is skipped; libyaml takes quadratic time */

uint32_t reader_line_at(yaml_mark_t mark)
{
	return mark.line < UINT32_MAX ? (uint32_t)mark.line + 1 : 0;
}

/* The reader of bytes gives a place in the text where everybody else gives a
 * mark. */
static uint32_t problem_line(const struct reader *r)
{
	const yaml_parser_t *p = &r->parser;
	uint32_t line = 1;

	if (p->error != YAML_READER_ERROR)
		return reader_line_at(p->problem_mark);
	for (size_t i = 0; i < r->text_len && i < p->problem_offset; i++)
		line += r->text[i] == '\n';
	return line;
}

/* Follows the depth; false when it is beyond its bound. */
static bool nest(struct reader *r, const yaml_event_t *e)
{
	if (e->type == YAML_MAPPING_START_EVENT ||
	    e->type == YAML_SEQUENCE_START_EVENT)
		r->depth++;
	else if (e->type == YAML_MAPPING_END_EVENT ||
		 e->type == YAML_SEQUENCE_END_EVENT)
		r->depth--;
	return r->depth <= NESTING_MAX;
}

bool reader_next(struct reader *r, yaml_event_t *ret_event)
{
	const yaml_parser_t *p = &r->parser;

	if (r->broken)
		return false;
	if (!yaml_parser_parse(&r->parser, ret_event)) {
		r->broken = true;
		config_fault(&r->faults, problem_line(r), NULL,
			     "not valid YAML: %s%s%s",
			     p->problem ? p->problem : "out of memory",
			     p->context ? ", " : "",
			     p->context ? p->context : "");
		return false;
	}
	if (nest(r, ret_event))
		return true;
	r->broken = true;
	config_fault(&r->faults, reader_line_at(ret_event->start_mark), NULL,
		     "nested more than %d deep; the rest is not read",
		     NESTING_MAX);
	yaml_event_delete(ret_event);
	return false;
}

void reader_skip(struct reader *r, yaml_event_type_t first)
{
	yaml_event_t e;
	unsigned depth = first == YAML_MAPPING_START_EVENT ||
			 first == YAML_SEQUENCE_START_EVENT;

	while (depth > 0 && reader_next(r, &e)) {
		if (e.type == YAML_MAPPING_START_EVENT ||
		    e.type == YAML_SEQUENCE_START_EVENT)
			depth++;
		else if (e.type == YAML_MAPPING_END_EVENT ||
			 e.type == YAML_SEQUENCE_END_EVENT)
			depth--;
		yaml_event_delete(&e);
	}
}

void reader_skip_node(struct reader *r)
{
	yaml_event_t e;
	yaml_event_type_t type;

	if (!reader_next(r, &e))
		return;
	type = e.type;
	yaml_event_delete(&e);
	reader_skip(r, type);
}

const char *reader_shown(const char *text, char out[static READER_SHOWN_MAX])
{
	size_t n = 0;

	for (; text[n] && n + 1 < READER_SHOWN_MAX; n++)
		out[n] = (unsigned char)text[n] < 0x20 || text[n] == 0x7f
				 ? '?'
				 : text[n];
	out[n] = '\0';
	return out;
}

bool reader_decorated(const yaml_event_t *e)
{
	switch (e->type) {
	case YAML_SCALAR_EVENT:
		return e->data.scalar.anchor || e->data.scalar.tag;
	case YAML_MAPPING_START_EVENT:
		return e->data.mapping_start.anchor ||
		       e->data.mapping_start.tag;
	default:
		return false;
	}
}

bool reader_plain(const yaml_event_t *e)
{
	return e->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
}

bool reader_is_null(const yaml_event_t *e)
{
	const char *text = (const char *)e->data.scalar.value;

	return reader_plain(e) && (text[0] == '\0' || strcmp(text, "~") == 0 ||
				   strcmp(text, "null") == 0);
}
