/* SPDX-License-Identifier: MIT */
#ifndef STILE_CONTROL_CONFIG_READER_H
#define STILE_CONTROL_CONFIG_READER_H

/*
 * control/config_reader - YAML events, one after the other, with the faults
 * that any text may have: no YAML, nested too deeply. For config*.c only.
 */
#include "control/config_option.h"

#include <yaml.h>

#define READER_NAME_MAX 64    /* a dotted name */
#define READER_OPTIONS_MAX 64 /* rows of the table */
#define READER_GROUPS_MAX 16  /* groups opened in one document */
#define READER_SHOWN_MAX 60   /* bytes of a foreign text in a fault */

struct reader {
	yaml_parser_t parser;
	struct config *config;
	struct config_faults faults;
	uint32_t lines[READER_OPTIONS_MAX]; /* where each option was set */
	char groups[READER_GROUPS_MAX][READER_NAME_MAX];
	unsigned group_count;
	unsigned depth;
	const char *text;
	size_t text_len;
	bool broken; /* not YAML, or nested too deeply: stop */
};

uint32_t reader_line_at(yaml_mark_t mark);

/* The next event, which the caller deletes; false when there is none, and no
 * more will come. */
bool reader_next(struct reader *r, yaml_event_t *ret_event);

/* Reads over the rest of a node whose first event was of this type. */
void reader_skip(struct reader *r, yaml_event_type_t first);
/* Reads over the node that comes next. */
void reader_skip_node(struct reader *r);

/* Does a node carry an anchor or a tag? */
bool reader_decorated(const yaml_event_t *e);
/* Of a scalar: without quotes; nothing, ~ or null. */
bool reader_plain(const yaml_event_t *e);
bool reader_is_null(const yaml_event_t *e);

/* Foreign text as a fault shows it: short and on one line. */
const char *reader_shown(const char *text, char out[static READER_SHOWN_MAX]);

#endif
