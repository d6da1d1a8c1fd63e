/* SPDX-License-Identifier: MIT */
#include "stilectl_api.h"
#include "stilectl_print.h"
#include "stilectl_secret.h"
#include "stilectl_time.h"

#include "base/clock.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/*
 * Lines become the items of a batch; a full batch is one call, which the
 * server carries out wholly or not at all. So a fault leaves a clean cut: all
 * lines before the batch at hand are in, none from it on is, and the message
 * says where to go on.
 */
#define BATCH_KEYS 10000       /* what one call may hold */
#define BATCH_BYTES (2u << 20) /* of JSON, so that no body gets huge */
#define LINE_MAX_BYTES 4096    /* the longest line that makes sense */
#define HASH_HEX_LEN 64

static volatile sig_atomic_t interrupted;

static void on_interrupt(int sig)
{
	(void)sig;
	interrupted = 1;
}

struct import {
	struct ctl *c;
	FILE *in;
	const char *expires;       /* RFC 3339; NULL = none */
	json_t *items;             /* the batch at hand */
	size_t bytes;              /* about what it takes as JSON */
	uint64_t line[BATCH_KEYS]; /* which line an item came from */
	uint64_t line_no;          /* of the line just read */
	uint64_t done;             /* keys imported */
	bool any_id;               /* --json: an id has been printed */
	bool progress;
};

/* Where the batch at hand starts; before that everything is in. */
static uint64_t cut_line(const struct import *im)
{
	return json_array_size(im->items) ? im->line[0] : im->line_no;
}

static void tell_cut(const struct import *im)
{
	fprintf(stderr,
		"stilectl: keys imported so far: %" PRIu64 ", none from line "
		"%" PRIu64 " on; mend the fault and import from there\n",
		im->done, cut_line(im));
}

static int line_fault(const struct import *im, const char *what)
{
	ctl_error("line %" PRIu64 ": %s", im->line_no, what);
	tell_cut(im);
	return CTL_TROUBLE;
}

static bool is_hash(const char *text, size_t len)
{
	if (len != HASH_HEX_LEN)
		return false;
	for (size_t i = 0; i < len; i++) {
		if (!isxdigit((unsigned char)text[i]))
			return false;
	}
	return true;
}

/* The line is never quoted: somebody may have put a key there. */
static const char *plain_item(const char *line, json_t **ret_item)
{
	size_t len = strcspn(line, " \t");
	const char *name = line + len + strspn(line + len, " \t");
	json_t *item;

	if (!is_hash(line, len))
		return "expected 64 hex digits (the SHA-256 of a key; see "
		       "stilectl key hash), then perhaps a name";
	item = json_pack("{s:s%}", "hash", line, len);
	if (item && *name &&
	    json_object_set_new(item, "name", json_string(name)) != 0) {
		json_decref(item);
		return "the name is not valid UTF-8";
	}
	*ret_item = item;
	return item ? NULL : "out of memory";
}

static bool is_import_field(const char *field)
{
	static const char *const fields[] = {"hash", "name", "project",
					     "expires_at"};

	for (size_t i = 0; i < sizeof(fields) / sizeof(*fields); i++) {
		if (strcmp(field, fields[i]) == 0)
			return true;
	}
	return false;
}

static const char *json_item(const char *line, json_t **ret_item)
{
	json_t *item = json_loads(line, JSON_REJECT_DUPLICATES, NULL);
	const char *hash, *field;
	json_t *value;
	const char *fault = NULL;

	if (!json_is_object(item)) {
		json_decref(item);
		return "this is not one JSON object";
	}
	hash = json_string_value(json_object_get(item, "hash"));
	if (!hash || !is_hash(hash, strlen(hash)))
		fault = "\"hash\" has to be 64 hex digits (the SHA-256 of a "
			"key; see stilectl key hash)";
	json_object_foreach(item, field, value)
	{
		if (!is_import_field(field))
			fault = "unknown field; there are hash, name, project "
				"and expires_at";
		else if (!json_is_string(value) && !json_is_null(value))
			fault = "every field has to be a string";
	}
	if (fault) {
		json_decref(item);
		return fault;
	}
	*ret_item = item;
	return NULL;
}

/* The server takes an absent field for none. */
static void set_default(json_t *item, const char *field, const char *value)
{
	if (json_is_null(json_object_get(item, field)))
		json_object_del(item, field);
	else if (value && !json_object_get(item, field))
		json_object_set_new(item, field, json_string(value));
}

static void show_ids(struct import *im, const json_t *ids)
{
	const json_t *id;
	size_t n;

	json_array_foreach(ids, n, id)
	{
		fputs(im->any_id ? "," : "", stdout);
		json_dumpf(id, stdout, JSON_ENCODE_ANY);
		im->any_id = true;
	}
}

static int batch_refused(const struct import *im, const struct reply *r)
{
	json_int_t index = -1;
	int rc;

	json_unpack(r->json, "{s:{s?I}}", "error", "index", &index);
	if (index < 0)
		json_unpack(r->json, "{s?I}", "index", &index);
	if (index >= 0 && (size_t)index < json_array_size(im->items))
		fprintf(stderr, "stilectl: line %" PRIu64 " was refused\n",
			im->line[index]);
	rc = api_refused(r);
	tell_cut(im);
	return rc;
}

static int send_batch(struct import *im)
{
	struct ctl *c = im->c;
	struct reply reply;
	json_t *body;
	char *path;
	int rc;

	if (json_array_size(im->items) == 0)
		return CTL_OK;
	body = json_pack("{s:O}", "keys", im->items);
	path = api_path("/v1/orgs/", c->opt[OPT_ORG], "/keys/import");
	rc = body && path ? api_try(c, "POST", path, body, &reply)
			  : CTL_TROUBLE;
	json_decref(body);
	secret_free(path);
	if (rc != CTL_OK) {
		fprintf(stderr,
			"stilectl: keys imported before: %" PRIu64 "; "
			"whether lines %" PRIu64 " to %" PRIu64 " were is not "
			"known (see key list)\n",
			im->done, cut_line(im), im->line_no);
		return rc;
	}
	if (reply.status < 200 || reply.status > 299) {
		rc = batch_refused(im, &reply);
	} else {
		im->done += json_array_size(im->items);
		if (ctl_json(c))
			show_ids(im, json_object_get(reply.json, "ids"));
		if (im->progress)
			fprintf(stderr, "\r%" PRIu64 " keys imported",
				im->done);
		json_array_clear(im->items);
		im->bytes = 0;
	}
	reply_deinit(&reply);
	return rc;
}

static int take_line(struct import *im, char *line)
{
	json_t *item = NULL;
	const char *fault;
	size_t n = json_array_size(im->items);

	line += strspn(line, " \t");
	if (*line == '\0' || *line == '#')
		return CTL_OK;
	fault = *line == '{' ? json_item(line, &item) : plain_item(line, &item);
	if (fault)
		return line_fault(im, fault);
	set_default(item, "name", NULL);
	set_default(item, "project", im->c->opt[OPT_PROJECT]);
	set_default(item, "expires_at", im->expires);
	if (json_array_append_new(im->items, item) != 0) {
		ctl_error("out of memory");
		return CTL_TROUBLE;
	}
	im->line[n] = im->line_no;
	im->bytes += json_dumpb(item, NULL, 0, JSON_COMPACT) + 1;
	if (n + 1 == BATCH_KEYS || im->bytes >= BATCH_BYTES - LINE_MAX_BYTES)
		return send_batch(im);
	return CTL_OK;
}

/* One line without its end into `line`; false at the end of the input, after
 * an interrupt, and after a fault, which is then in *ret_fault. */
static bool read_line(struct import *im, char line[static LINE_MAX_BYTES + 1],
		      const char **ret_fault)
{
	size_t len = 0;
	int c = 0;

	while (!interrupted && (c = getc(im->in)) != EOF && c != '\n') {
		if (len == LINE_MAX_BYTES)
			*ret_fault = "longer than 4096 bytes";
		else if (c == '\0')
			*ret_fault = "a zero byte, which no text has";
		else
			line[len++] = (char)c;
		if (*ret_fault)
			break;
	}
	if (interrupted || (c == EOF && (len == 0 || ferror(im->in))))
		return false;
	im->line_no++;
	while (len > 0 && isspace((unsigned char)line[len - 1]))
		len--;
	line[len] = '\0';
	return !*ret_fault;
}

static int take_lines(struct import *im)
{
	char line[LINE_MAX_BYTES + 1];
	const char *fault = NULL;
	int rc = CTL_OK;

	while (rc == CTL_OK && read_line(im, line, &fault))
		rc = take_line(im, line);
	explicit_bzero(line, sizeof(line));
	if (rc != CTL_OK)
		return rc;
	if (fault)
		return line_fault(im, fault);
	if (interrupted || ferror(im->in)) {
		im->line_no++; /* the one that was not read */
		ctl_error("cannot read on: %s",
			  interrupted ? "interrupted" : strerror(errno));
		tell_cut(im);
		return CTL_TROUBLE;
	}
	return send_batch(im);
}

static int import(struct import *im)
{
	char expires[TIME_TEXT_MAX];
	const char *when = im->c->opt[OPT_EXPIRES];
	int rc = 0;

	if (when) {
		rc = time_from_when(when, (int64_t)clock_wall_ms(), expires);
		im->expires = expires;
	}
	if (rc != 0)
		return rc;
	if (ctl_json(im->c))
		fputs("{\"ids\":[", stdout);
	rc = take_lines(im);
	if (im->progress && im->done > 0)
		fputc('\n', stderr);
	/* Also after a fault: these ids are in. */
	if (ctl_json(im->c))
		printf("],\"imported\":%" PRIu64 "}\n", im->done);
	else if (rc == CTL_OK)
		printf("%" PRIu64 " key%s imported\n", im->done,
		       im->done == 1 ? "" : "s");
	return rc;
}

int cmd_key_import(struct ctl *c)
{
	const char *file = c->arg_count ? c->arg[0] : "-";
	bool is_stdin = strcmp(file, "-") == 0;
	struct sigaction stop = {.sa_handler = on_interrupt,
				 .sa_flags = (int)SA_RESETHAND};
	struct import *im = calloc(1, sizeof(*im));
	int rc = CTL_TROUBLE;

	if (!im) {
		ctl_error("out of memory");
		return rc;
	}
	im->c = c;
	im->progress = isatty(STDERR_FILENO);
	im->items = json_array();
	/* Between batches, so that the cut can be told; a second one ends us
	 * at once. */
	sigaction(SIGINT, &stop, NULL);
	sigaction(SIGTERM, &stop, NULL);
	im->in = is_stdin ? stdin : fopen(file, "re");
	if (!im->in)
		ctl_error("cannot open %s: %s", file, strerror(errno));
	else if (im->items)
		rc = import(im);
	if (im->in && !is_stdin)
		fclose(im->in);
	json_decref(im->items);
	free(im);
	return rc;
}
