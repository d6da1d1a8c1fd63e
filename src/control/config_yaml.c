/* SPDX-License-Identifier: MIT */
#include "control/config_reader.h"
#include "control/config_routes.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/*
 * YAML events -> dotted names. The depth is that of the option names, so a
 * document cannot nest deeper than they do: everything else is a fault and is
 * skipped unread. Anchors, aliases and tags are refused; a config needs none.
 */

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
	if (r->group_count < READER_GROUPS_MAX)
		snprintf(r->groups[r->group_count++], READER_NAME_MAX, "%s",
			 name);
	return true;
}

static void set_scalar(struct reader *r, const char *name, size_t row,
		       const yaml_event_t *e)
{
	const struct option *o = &config_options[row];
	const char *text = (const char *)e->data.scalar.value;
	uint32_t line = reader_line_at(e->start_mark);
	char expected[OPTION_EXPECTED_MAX];
	char buf[READER_SHOWN_MAX];

	if (reader_is_null(e)) {
		option_describe(o, expected);
		config_fault(&r->faults, line, name,
			     "expected %s; there is no value", expected);
	} else if (reader_decorated(e)) {
		config_fault(&r->faults, line, name,
			     "expected a value without tag or anchor");
	} else if (option_is_number(o) && !reader_plain(e)) {
		option_describe(o, expected);
		config_fault(&r->faults, line, name,
			     "expected %s, without quotes", expected);
	} else if (strlen(text) != e->data.scalar.length ||
		   !option_set(o, r->config, text, expected)) {
		option_describe(o, expected);
		config_fault(&r->faults, line, name, "expected %s; got \"%s\"",
			     expected, reader_shown(text, buf));
	}
}

static void read_mapping(struct reader *r, const char *prefix);

static void read_routes(struct reader *r, uint32_t line)
{
	if (open_group(r, CONFIG_ROUTES)) {
		config_routes_read(r, line);
		return;
	}
	config_fault(&r->faults, line, CONFIG_ROUTES,
		     "this group is given twice");
	reader_skip_node(r);
}

static void read_known(struct reader *r, const char *name, uint32_t line)
{
	size_t row = find_option(name);
	yaml_event_t e;
	yaml_event_type_t type;

	if (strcmp(name, CONFIG_ROUTES) == 0) {
		read_routes(r, line);
		return;
	}
	if (row < config_option_count) {
		if (r->lines[row]) {
			config_fault(&r->faults, line, name,
				     "given twice, first in line %u",
				     r->lines[row]);
			reader_skip_node(r);
			return;
		}
		r->lines[row] = line;
	}
	if (!reader_next(r, &e))
		return;
	type = e.type;
	if (row < config_option_count && type == YAML_SCALAR_EVENT) {
		set_scalar(r, name, row, &e);
	} else if (row < config_option_count) {
		char expected[OPTION_EXPECTED_MAX];

		option_describe(&config_options[row], expected);
		config_fault(&r->faults, line, name, "expected %s", expected);
		reader_skip(r, type);
	} else if (type == YAML_MAPPING_START_EVENT) {
		if (reader_decorated(&e))
			config_fault(&r->faults, line, name,
				     "expected a group without tag or anchor");
		if (!open_group(r, name)) {
			config_fault(&r->faults, line, name,
				     "this group is given twice");
			reader_skip(r, type);
		} else {
			read_mapping(r, name);
		}
	} else {
		config_fault(&r->faults, line, name,
			     "expected a group of options");
		reader_skip(r, type);
	}
	yaml_event_delete(&e);
}

/* Everything up to the end of a mapping whose start has been read. */
static void read_mapping(struct reader *r, const char *prefix)
{
	yaml_event_t e;

	while (reader_next(r, &e)) {
		char name[READER_NAME_MAX];
		char buf[READER_SHOWN_MAX];
		uint32_t line = reader_line_at(e.start_mark);
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
			reader_skip(r, type);
			reader_skip_node(r);
			continue;
		}
		key = (const char *)e.data.scalar.value;
		len = snprintf(name, sizeof(name), "%s%s%s", prefix,
			       prefix[0] ? "." : "", key);
		if (len < (int)sizeof(name) &&
		    strlen(key) == e.data.scalar.length &&
		    (find_option(name) < config_option_count ||
		     is_group(name) || strcmp(name, CONFIG_ROUTES) == 0)) {
			if (reader_decorated(&e))
				config_fault(&r->faults, line, name,
					     "expected a name without tag or "
					     "anchor");
			yaml_event_delete(&e);
			read_known(r, name, line);
			continue;
		}
		config_fault(&r->faults, line, reader_shown(name, buf),
			     "there is no such option (stiled --help-config "
			     "lists them)");
		yaml_event_delete(&e);
		reader_skip_node(r);
	}
}

static void read_document(struct reader *r)
{
	yaml_event_t e;
	yaml_event_type_t type;

	if (!reader_next(r, &e))
		return;
	type = e.type;
	if (type == YAML_MAPPING_START_EVENT) {
		if (reader_decorated(&e))
			config_fault(&r->faults, reader_line_at(e.start_mark),
				     NULL,
				     "expected options without tag or anchor");
		read_mapping(r, "");
	} else if (type != YAML_SCALAR_EVENT || !reader_is_null(&e)) {
		config_fault(&r->faults, reader_line_at(e.start_mark), NULL,
			     "expected options as \"name: value\"");
		reader_skip(r, type);
	}
	yaml_event_delete(&e);
}

static void read_stream(struct reader *r)
{
	unsigned documents = 0;
	bool more = true;
	yaml_event_t e;

	while (more && reader_next(r, &e)) {
		if (e.type == YAML_DOCUMENT_START_EVENT && ++documents == 1)
			read_document(r);
		else if (e.type == YAML_DOCUMENT_START_EVENT)
			config_fault(&r->faults, reader_line_at(e.start_mark),
				     NULL,
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

	_Static_assert(
		sizeof(r.lines) / sizeof(r.lines[0]) == READER_OPTIONS_MAX, "");
	if (config_option_count > READER_OPTIONS_MAX)
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
