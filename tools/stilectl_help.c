/* SPDX-License-Identifier: MIT */
#include "stilectl.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SYNOPSIS_COLUMN 22 /* where summaries start in lists of commands */
#define OPTION_COLUMN 18
#define TEXT_COLUMNS 79
#define USAGE_MAX 512
#define NEAR_MAX 3       /* edits up to which a word counts as mistyped */
#define NEAR_WORD_MAX 64 /* longer words are not compared */

static void print_row(const char *left, int column, const char *right)
{
	printf("  %-*s %s\n", column, left, right);
}

static void print_command_row(const struct ctl_command *cmd)
{
	print_row(cmd->name, SYNOPSIS_COLUMN, cmd->summary);
}

static void print_option_row(unsigned id, bool repeats)
{
	const struct ctl_option *o = &ctl_options[id];
	char left[OPTION_COLUMN + NEAR_WORD_MAX], right[TEXT_COLUMNS + 1];

	snprintf(left, sizeof(left), "--%s%s%s", o->name, o->value ? " " : "",
		 o->value ? o->value : "");
	snprintf(right, sizeof(right), "%s%s", o->help,
		 repeats ? "; repeats" : "");
	print_row(left, OPTION_COLUMN, right);
}

/* Words wrapped at TEXT_COLUMNS; a line end in the text is kept, and so is a
 * line that starts with a space. */
static void print_wrapped(const char *text)
{
	size_t column = 0;
	bool as_it_is = *text == ' ';

	while (*text) {
		size_t len = strcspn(text, as_it_is ? "\n" : " \n");

		if (!as_it_is && column > 0 &&
		    column + 1 + len > TEXT_COLUMNS) {
			putchar('\n');
			column = 0;
		}
		if (column > 0)
			column += (size_t)printf(" ");
		column += (size_t)printf("%.*s", (int)len, text);
		text += len;
		if (*text == '\n') {
			putchar('\n');
			column = 0;
			as_it_is = text[1] == ' ';
			text++;
		} else if (*text == ' ') {
			text++;
		}
	}
	putchar('\n');
}

void help_overview(void)
{
	puts("stilectl " STILE_VERSION " - operate stiled, the rate limiter "
	     "and key check beside a proxy\n\n"
	     "usage: stilectl [--dir DIR] [--socket PATH] [--json] COMMAND "
	     "...\n"
	     "\ncommands (stilectl COMMAND --help explains each):");
	for (size_t i = 0; i < ctl_command_count; i++)
		print_command_row(&ctl_commands[i]);
	puts("\noptions, before or after the command:");
	for (unsigned i = 0; i < OPT_GLOBAL_COUNT; i++)
		print_option_row(i, false);
	puts("\nDIR is what stiled was started with (--dir). Without --dir it "
	     "is $STILE_DIR; if\nthat is not set, the first of these that "
	     "holds admin.sock: the current\ndirectory, /run/stile (where "
	     "the systemd unit has it), /var/lib/stile.\n"
	     "\nORG is an id or a name, ID the 8-character public id of a "
	     "key.\n"
	     "\nexit status:\n"
	     "  0  done; check: allow\n"
	     "  1  the server refused (not found, taken, ...); check: deny\n"
	     "  2  wrong usage, or no answer; check: no verdict");
}

bool help_group(const char *group)
{
	size_t len = strlen(group);
	bool any = false;

	for (size_t i = 0; i < ctl_command_count; i++) {
		const struct ctl_command *cmd = &ctl_commands[i];

		if (strncmp(cmd->name, group, len) != 0 ||
		    cmd->name[len] != ' ')
			continue;
		if (!any)
			printf("stilectl %s ... is one of:\n", group);
		any = true;
		print_command_row(cmd);
	}
	return any;
}

void help_command(const struct ctl_command *cmd)
{
	char usage[USAGE_MAX];

	printf("stilectl %s - %s\n\n", cmd->name, cmd->summary);
	snprintf(usage, sizeof(usage), "usage: stilectl %s%s%s", cmd->name,
		 *cmd->args ? " " : "", cmd->args);
	print_wrapped(usage);
	if (cmd->details) {
		putchar('\n');
		print_wrapped(cmd->details);
	}
	if (cmd->options) {
		puts("\noptions:");
		for (unsigned i = OPT_GLOBAL_COUNT; i < OPT_COUNT; i++) {
			if (cmd->options & OPT_BIT(i))
				print_option_row(i, cmd->repeats & OPT_BIT(i));
		}
	}
	puts("\noptions of every command:");
	for (unsigned i = 0; i < OPT_GLOBAL_COUNT; i++)
		print_option_row(i, false);
}

static int help_of(const char *name)
{
	const char *near;

	for (size_t i = 0; i < ctl_command_count; i++) {
		if (strcmp(ctl_commands[i].name, name) == 0) {
			help_command(&ctl_commands[i]);
			return CTL_OK;
		}
	}
	if (help_group(name))
		return CTL_OK;
	near = help_nearest_command(name);
	if (near)
		ctl_error("no such command; did you mean \"%s\"?", near);
	else
		ctl_error("no such command; see stilectl --help");
	return CTL_TROUBLE;
}

int cmd_help(struct ctl *c)
{
	char name[NEAR_WORD_MAX] = "";
	size_t len = 0;

	if (c->arg_count == 0) {
		help_overview();
		return CTL_OK;
	}
	for (unsigned i = 0; i < c->arg_count && len < sizeof(name); i++)
		len += (size_t)snprintf(name + len, sizeof(name) - len, "%s%s",
					i ? " " : "", c->arg[i]);
	return help_of(name);
}

static size_t min3(size_t a, size_t b, size_t c)
{
	size_t m = a < b ? a : b;

	return m < c ? m : c;
}

/* Levenshtein's distance, one row of the table at a time. */
static size_t distance(const char *a, const char *b)
{
	size_t b_len = strlen(b);
	size_t row[NEAR_WORD_MAX + 1];

	if (strlen(a) > NEAR_WORD_MAX || b_len > NEAR_WORD_MAX)
		return SIZE_MAX;
	for (size_t j = 0; j <= b_len; j++)
		row[j] = j;
	for (size_t i = 0; a[i]; i++) {
		size_t diagonal = row[0];

		row[0] = i + 1;
		for (size_t j = 0; j < b_len; j++) {
			size_t up = row[j + 1];

			row[j + 1] = min3(up + 1, row[j] + 1,
					  diagonal + (a[i] != b[j]));
			diagonal = up;
		}
	}
	return row[b_len];
}

/* Keeps the nearer of *best and `candidate`; a word must have at least half
 * of its letters right. */
static void keep_nearer(const char *text, const char *candidate,
			const char **best, size_t *best_distance)
{
	size_t d = distance(text, candidate);

	if (d <= NEAR_MAX && 2 * d <= strlen(candidate) && d < *best_distance) {
		*best = candidate;
		*best_distance = d;
	}
}

const char *help_nearest_option(const char *text)
{
	char word[NEAR_WORD_MAX];
	const char *best = NULL;
	size_t best_distance = SIZE_MAX;

	text += strspn(text, "-");
	snprintf(word, sizeof(word), "%.*s", (int)strcspn(text, "="), text);
	for (unsigned i = 0; i < OPT_COUNT; i++)
		keep_nearer(word, ctl_options[i].name, &best, &best_distance);
	return best;
}

const char *help_nearest_command(const char *text)
{
	const char *best = NULL;
	size_t best_distance = SIZE_MAX;

	for (size_t i = 0; i < ctl_command_count; i++) {
		const char *name = ctl_commands[i].name;
		const char *second = strchr(name, ' ');

		keep_nearer(text, name, &best, &best_distance);
		/* "revoke" is short for one command only, "list" is not. */
		if (second && strcmp(text, second + 1) == 0 && !best)
			best = name;
	}
	return best;
}
