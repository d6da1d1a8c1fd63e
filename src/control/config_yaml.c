/* SPDX-License-Identifier: MIT */
#include "control/config_option.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

/*
 * YAML events -> dotted names. The depth is that of the option names, so a
 * document cannot nest deeper than they do: everything else is a fault and is
 * skipped unread. Anchors, aliases and tags are refused; a config needs none.
 */
#define NAME_LEN_MAX 64 /* a dotted name */
#define OPTIONS_MAX 64  /* rows of the table */
#define GROUPS_MAX 16   /* groups opened in one document */
#define NESTING_MAX 16  /* of what is skipped; libyaml takes quadratic time */
#define SHOWN_MAX 60    /* bytes of a foreign text that a fault repeats */

struct reader {
	yaml_parser_t parser;
	struct config *config;
	struct config_faults faults;
	uint32_t lines[OPTIONS_MAX]; /* where each option was set */
	char groups[GROUPS_MAX][NAME_LEN_MAX];
	unsigned group_count;
	unsigned depth;
	const char *text;
	size_t text_len;
	bool broken; /* not YAML, or nested too deeply: stop */
};

static uint32_t line_at(yaml_mark_t mark)
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
		return line_at(p->problem_mark);
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

/* The next event, which the caller deletes; false when there is none. */
static bool next(struct reader *r, yaml_event_t *ret_event)
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
	config_fault(&r->faults, line_at(ret_event->start_mark), NULL,
		     "nested more than %d deep; the rest is not read",
		     NESTING_MAX);
	yaml_event_delete(ret_event);
	return false;
}

/* Reads over the rest of a node whose first event was of this type. */
static void skip(struct reader *r, yaml_event_type_t first)
{
	yaml_event_t e;
	unsigned depth = first == YAML_MAPPING_START_EVENT ||
			 first == YAML_SEQUENCE_START_EVENT;

	while (depth > 0 && next(r, &e)) {
		if (e.type == YAML_MAPPING_START_EVENT ||
		    e.type == YAML_SEQUENCE_START_EVENT)
			depth++;
		else if (e.type == YAML_MAPPING_END_EVENT ||
			 e.type == YAML_SEQUENCE_END_EVENT)
			depth--;
		yaml_event_delete(&e);
	}
}

static void skip_node(struct reader *r)
{
	yaml_event_t e;
	yaml_event_type_t type;

	if (!next(r, &e))
		return;
	type = e.type;
	yaml_event_delete(&e);
	skip(r, type);
}

/* Foreign text as a fault shows it: short and on one line. */
static const char *shown(const char *text, char out[static SHOWN_MAX])
{
	size_t n = 0;

	for (; text[n] && n + 1 < SHOWN_MAX; n++)
		out[n] = (unsigned char)text[n] < 0x20 || text[n] == 0x7f
				 ? '?'
				 : text[n];
	out[n] = '\0';
	return out;
}

static size_t find_option(const char *name)
{
	for (size_t i = 0; i < config_option_count; i++)
		if (strcmp(config_options[i].name, name) == 0)
			return i;
	return config_option_count;
}

static bool is_group(const char *name)
{
	size_t len = strlen(name);

	for (size_t i = 0; i < config_option_count; i++)
		if (strncmp(config_options[i].name, name, len) == 0 &&
		    config_options[i].name[len] == '.')
			return true;
	return false;
}

/* False when the document opened this group before. */
static bool open_group(struct reader *r, const char *name)
{
	for (unsigned i = 0; i < r->group_count; i++)
		if (strcmp(r->groups[i], name) == 0)
			return false;
	if (r->group_count < GROUPS_MAX)
		snprintf(r->groups[r->group_count++], NAME_LEN_MAX, "%s", name);
	return true;
}

/* Does a node carry an anchor or a tag? */
static bool decorated(const yaml_event_t *e)
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

static bool plain(const yaml_event_t *e)
{
	return e->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
}

static bool is_null(const yaml_event_t *e)
{
	const char *text = (const char *)e->data.scalar.value;

	return plain(e) && (text[0] == '\0' || strcmp(text, "~") == 0 ||
			    strcmp(text, "null") == 0);
}

static void set_scalar(struct reader *r, const char *name, size_t row,
		       const yaml_event_t *e)
{
	const struct option *o = &config_options[row];
	const char *text = (const char *)e->data.scalar.value;
	uint32_t line = line_at(e->start_mark);
	char expected[OPTION_EXPECTED_MAX];
	char buf[SHOWN_MAX];

	if (is_null(e)) {
		option_describe(o, expected);
		config_fault(&r->faults, line, name,
			     "expected %s; there is no value", expected);
	} else if (decorated(e)) {
		config_fault(&r->faults, line, name,
			     "expected a value without tag or anchor");
	} else if (option_is_number(o) && !plain(e)) {
		option_describe(o, expected);
		config_fault(&r->faults, line, name,
			     "expected %s, without quotes", expected);
	} else if (strlen(text) != e->data.scalar.length ||
		   !option_set(o, r->config, text, expected)) {
		option_describe(o, expected);
		config_fault(&r->faults, line, name, "expected %s; got \"%s\"",
			     expected, shown(text, buf));
	}
}

static void read_mapping(struct reader *r, const char *prefix);

static void read_known(struct reader *r, const char *name, uint32_t line)
{
	size_t row = find_option(name);
	yaml_event_t e;
	yaml_event_type_t type;

	if (row < config_option_count) {
		if (r->lines[row]) {
			config_fault(&r->faults, line, name,
				     "given twice, first in line %u",
				     r->lines[row]);
			skip_node(r);
			return;
		}
		r->lines[row] = line;
	}
	if (!next(r, &e))
		return;
	type = e.type;
	if (row < config_option_count && type == YAML_SCALAR_EVENT) {
		set_scalar(r, name, row, &e);
	} else if (row < config_option_count) {
		char expected[OPTION_EXPECTED_MAX];

		option_describe(&config_options[row], expected);
		config_fault(&r->faults, line, name, "expected %s", expected);
		skip(r, type);
	} else if (type == YAML_MAPPING_START_EVENT) {
		if (decorated(&e))
			config_fault(&r->faults, line, name,
				     "expected a group without tag or anchor");
		if (!open_group(r, name)) {
			config_fault(&r->faults, line, name,
				     "this group is given twice");
			skip(r, type);
		} else {
			read_mapping(r, name);
		}
	} else {
		config_fault(&r->faults, line, name,
			     "expected a group of options");
		skip(r, type);
	}
	yaml_event_delete(&e);
}

/* Everything up to the end of a mapping whose start has been read. */
static void read_mapping(struct reader *r, const char *prefix)
{
	yaml_event_t e;

	while (next(r, &e)) {
		char name[NAME_LEN_MAX];
		char buf[SHOWN_MAX];
		uint32_t line = line_at(e.start_mark);
		yaml_event_type_t type = e.type;
		const char *key;
		int len;

		if (type == YAML_MAPPING_END_EVENT) {
			yaml_event_delete(&e);
			return;
		}
		if (type != YAML_SCALAR_EVENT) {
			yaml_event_delete(&e);
			config_fault(&r->faults, line, NULL,
				     "expected the name of an option");
			skip(r, type);
			skip_node(r);
			continue;
		}
		key = (const char *)e.data.scalar.value;
		len = snprintf(name, sizeof(name), "%s%s%s", prefix,
			       prefix[0] ? "." : "", key);
		if (len < (int)sizeof(name) &&
		    strlen(key) == e.data.scalar.length &&
		    (find_option(name) < config_option_count ||
		     is_group(name))) {
			if (decorated(&e))
				config_fault(&r->faults, line, name,
					     "expected a name without tag or "
					     "anchor");
			yaml_event_delete(&e);
			read_known(r, name, line);
			continue;
		}
		config_fault(&r->faults, line, shown(name, buf),
			     "there is no such option (stiled --help-config "
			     "lists them)");
		yaml_event_delete(&e);
		skip_node(r);
	}
}

static void read_document(struct reader *r)
{
	yaml_event_t e;
	yaml_event_type_t type;

	if (!next(r, &e))
		return;
	type = e.type;
	if (type == YAML_MAPPING_START_EVENT) {
		if (decorated(&e))
			config_fault(&r->faults, line_at(e.start_mark), NULL,
				     "expected options without tag or anchor");
		read_mapping(r, "");
	} else if (type != YAML_SCALAR_EVENT || !is_null(&e)) {
		config_fault(&r->faults, line_at(e.start_mark), NULL,
			     "expected options as \"name: value\"");
		skip(r, type);
	}
	yaml_event_delete(&e);
}

static void read_stream(struct reader *r)
{
	unsigned documents = 0;
	bool more = true;
	yaml_event_t e;

	while (more && next(r, &e)) {
		if (e.type == YAML_DOCUMENT_START_EVENT && ++documents == 1)
			read_document(r);
		else if (e.type == YAML_DOCUMENT_START_EVENT)
			config_fault(&r->faults, line_at(e.start_mark), NULL,
				     "expected one document, not several");
		more = e.type != YAML_STREAM_END_EVENT && documents < 2;
		yaml_event_delete(&e);
	}
}

int config_load_text(struct config *c, const char *name, const char *text,
		     size_t text_len, FILE *diag)
{
	struct config loaded = *c;
	struct reader r = {
		.config = &loaded, .text = text, .text_len = text_len};

	_Static_assert(sizeof(r.lines) / sizeof(r.lines[0]) == OPTIONS_MAX, "");
	if (config_option_count > OPTIONS_MAX)
		return -E2BIG;
	r.faults = (struct config_faults){
		.out = diag, .name = name, .lines = r.lines};
	if (!yaml_parser_initialize(&r.parser))
		return -ENOMEM;
	yaml_parser_set_input_string(&r.parser, (const unsigned char *)text,
				     text_len);
	read_stream(&r);
	yaml_parser_delete(&r.parser);
	config_check_all(&loaded, &r.faults);
	if (r.faults.count)
		return -EINVAL;
	*c = loaded;
	return 0;
}

static int read_file(const char *path, char *text, size_t room, size_t *ret_len)
{
	FILE *f = fopen(path, "re");
	int r = 0;

	if (!f)
		return -errno;
	*ret_len = fread(text, 1, room, f);
	if (ferror(f))
		r = errno ? -errno : -EIO;
	else if (*ret_len == room)
		r = -EFBIG;
	fclose(f);
	return r;
}

int config_load(struct config *c, const char *path, FILE *diag)
{
	char *text = malloc(CONFIG_FILE_MAX + 1);
	size_t len = 0;
	int r;

	if (!text)
		return -ENOMEM;
	r = read_file(path, text, CONFIG_FILE_MAX + 1, &len);
	if (r == -EFBIG && diag)
		fprintf(diag, "%s: expected a file of at most %u bytes\n", path,
			CONFIG_FILE_MAX);
	else if (r < 0 && diag)
		fprintf(diag, "%s: cannot be read: %s\n", path, strerror(-r));
	if (r == 0)
		r = config_load_text(c, path, text, len, diag);
	free(text);
	return r;
}
