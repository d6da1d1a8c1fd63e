/* SPDX-License-Identifier: MIT */
#include "stilectl.h"

#include "stilectl_api.h"
#include "stilectl_print.h"
#include "stilectl_secret.h"

#include <errno.h>
#include <getopt.h>
#include <locale.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define UNIT_DIR "/run/stile" /* of docs/deploy/systemd */
#define DEFAULT_DIR "/var/lib/stile"
/* getopt's value of option i; above every character. */
#define OPT_VALUE(i) (256 + (int)(i))
#define NAME_WORDS_MAX 3 /* of a command's name */
#define WORDS_MAX (CTL_ARGS_MAX + NAME_WORDS_MAX)

struct words {
	char *word[WORDS_MAX];
	unsigned count;
};

static void hide_keys(char *text)
{
	const char *id;
	size_t len;

	while ((text = secret_find(text, &id, &len)) != NULL) {
		memset(text, '*', len);
		text += len;
	}
}

void ctl_error(const char *fmt, ...)
{
	char *text;
	va_list ap;
	int len;

	va_start(ap, fmt);
	len = vasprintf(&text, fmt, ap);
	va_end(ap);
	fflush(stdout);
	fputs("stilectl: ", stderr);
	if (len < 0) {
		fputs("out of memory while telling an error", stderr);
	} else {
		hide_keys(text);
		print_text(stderr, text);
		free(text);
	}
	fputc('\n', stderr);
}

static int unknown_option(const char *text)
{
	const char *near = help_nearest_option(text);

	if (near)
		ctl_error("unknown option %s; did you mean --%s?", text, near);
	else
		ctl_error("unknown option %s; see stilectl --help", text);
	return CTL_TROUBLE;
}

/* What getopt says with '?': no such option, or a value for a flag. */
static int bad_option(const char *text)
{
	if (optopt >= OPT_VALUE(0)) {
		ctl_error("option --%s takes no value",
			  ctl_options[optopt - OPT_VALUE(0)].name);
		return CTL_TROUBLE;
	}
	if (optopt) {
		/* One letter; optind may not have moved to its word yet. */
		ctl_error("unknown option -%c; see stilectl --help", optopt);
		return CTL_TROUBLE;
	}
	return unknown_option(text);
}

static int take_word(struct words *w, char *word)
{
	if (w->count == WORDS_MAX) {
		ctl_error("too many words on the command line; see stilectl "
			  "--help");
		return CTL_TROUBLE;
	}
	w->word[w->count++] = word;
	return 0;
}

/* A whole key where none belongs: says so, with its id, and wipes it. */
static bool refuse_key(char *text)
{
	const char *id;
	size_t len;
	char *secret = secret_find(text, &id, &len);

	if (!secret)
		return false;
	ctl_error("a whole key does not belong here, where the list of "
		  "processes shows it and the shell's history keeps it; to "
		  "name the key, give its id alone: %.*s",
		  SECRET_ID_LEN, id);
	explicit_bzero(secret, len);
	return true;
}

static int take_option(struct ctl *c, unsigned id, char *value)
{
	if (value && refuse_key(value))
		return CTL_TROUBLE;
	if (ctl_options[id].repeats) {
		if (c->more_count == CTL_MORE_MAX) {
			ctl_error("option --%s is given too often",
				  ctl_options[id].name);
			return CTL_TROUBLE;
		}
		c->more[c->more_count].id = id;
		c->more[c->more_count++].value = value;
	} else if (c->opt[id] && ctl_options[id].value) {
		ctl_error("option --%s is given twice", ctl_options[id].name);
		return CTL_TROUBLE;
	}
	c->opt[id] = value ? value : "";
	return 0;
}

/* Options and words in any order; after -- only words. */
static int parse(struct ctl *c, int argc, char **argv, struct words *w)
{
	struct option longs[OPT_COUNT + 1] = {0};
	int rc = 0, v;

	for (unsigned i = 0; i < OPT_COUNT; i++) {
		longs[i].name = ctl_options[i].name;
		longs[i].has_arg =
			ctl_options[i].value ? required_argument : no_argument;
		longs[i].val = OPT_VALUE(i);
	}
	opterr = 0;
	while (rc == 0 &&
	       (v = getopt_long(argc, argv, "-:h", longs, NULL)) != -1) {
		if (v == 1)
			rc = take_word(w, optarg);
		else if (v == 'h')
			rc = take_option(c, OPT_HELP, NULL);
		else if (v >= OPT_VALUE(0))
			rc = take_option(c, (unsigned)(v - OPT_VALUE(0)),
					 optarg);
		else if (v == ':') {
			ctl_error("option %s wants a value; see --help",
				  argv[optind - 1]);
			rc = CTL_TROUBLE;
		} else {
			rc = bad_option(argv[optind - 1]);
		}
	}
	while (rc == 0 && optind < argc)
		rc = take_word(w, argv[optind++]);
	return rc;
}

/* How many words the name has when the command line begins with it; else 0. */
static unsigned words_of(const char *name, const struct words *w)
{
	for (unsigned n = 0; n < w->count; n++) {
		size_t len = strcspn(name, " ");

		if (strlen(w->word[n]) != len ||
		    strncmp(w->word[n], name, len) != 0)
			return 0;
		if (name[len] == '\0')
			return n + 1;
		name += len + 1;
	}
	return 0;
}

/* Finds the command and moves what follows its name into c->arg. */
static const struct ctl_command *find_command(struct ctl *c,
					      const struct words *w)
{
	for (size_t i = 0; i < ctl_command_count; i++) {
		const struct ctl_command *cmd = &ctl_commands[i];
		unsigned named = words_of(cmd->name, w);

		if (named == 0)
			continue;
		for (unsigned n = named; n < w->count; n++) {
			if (c->arg_count < CTL_ARGS_MAX)
				c->arg[c->arg_count++] = w->word[n];
		}
		return cmd;
	}
	return NULL;
}

/* "key" alone: name what may follow. */
static bool group_wants_more(const char *group)
{
	size_t len = strlen(group);
	char rest[128] = "";
	size_t rest_len = 0;

	for (size_t i = 0; i < ctl_command_count; i++) {
		const char *name = ctl_commands[i].name;

		if (strncmp(name, group, len) != 0 || name[len] != ' ' ||
		    rest_len >= sizeof(rest))
			continue;
		rest_len += (size_t)snprintf(
			rest + rest_len, sizeof(rest) - rest_len, "%s%s",
			rest_len ? ", " : "", name + len + 1);
	}
	if (rest_len == 0)
		return false;
	ctl_error("%s wants another word: %s; see stilectl %s --help", group,
		  rest, group);
	return true;
}

/* The first `count` words, or as many as there are. */
static void join_words(const struct words *w, unsigned count, char *out,
		       size_t out_len)
{
	size_t len = 0;

	out[0] = '\0';
	for (unsigned i = 0; i < count && i < w->count && len < out_len; i++)
		len += (size_t)snprintf(out + len, out_len - len, "%s%s",
					i ? " " : "", w->word[i]);
}

/* What was typed is not repeated: it may be a key of another system, which
 * nothing tells from a word. */
static int unknown_command(const struct ctl *c, const struct words *w)
{
	char name[64];
	const char *near = NULL;

	if (w->count == 0) {
		ctl_error("no command given; see stilectl --help");
		return CTL_TROUBLE;
	}
	if (w->count == 1 && c->opt[OPT_HELP] && help_group(w->word[0]))
		return CTL_OK;
	if (w->count == 1 && group_wants_more(w->word[0]))
		return CTL_TROUBLE;
	for (unsigned n = NAME_WORDS_MAX; n > 0 && !near; n--) {
		join_words(w, n, name, sizeof(name));
		near = help_nearest_command(name);
	}
	if (near)
		ctl_error("no such command; did you mean \"%s\"?", near);
	else
		ctl_error("no such command; see stilectl --help");
	return CTL_TROUBLE;
}

static unsigned times_given(const struct ctl *c, unsigned id)
{
	unsigned times = 0;

	for (unsigned i = 0; i < c->more_count; i++)
		times += c->more[i].id == id;
	return times;
}

/* Does the command line fit the command? */
static int check_usage(const struct ctl *c, const struct ctl_command *cmd)
{
	for (unsigned i = 0; i < OPT_COUNT; i++) {
		if (i >= OPT_GLOBAL_COUNT && c->opt[i] &&
		    !(cmd->options & OPT_BIT(i))) {
			ctl_error("%s takes no option --%s; see stilectl %s "
				  "--help",
				  cmd->name, ctl_options[i].name, cmd->name);
			return CTL_TROUBLE;
		}
		if (times_given(c, i) > 1 && !(cmd->repeats & OPT_BIT(i))) {
			ctl_error("option --%s is given twice",
				  ctl_options[i].name);
			return CTL_TROUBLE;
		}
		if (c->opt[i] && ctl_options[i].value && i != OPT_NAME &&
		    *c->opt[i] == '\0') {
			ctl_error("the value of --%s is empty",
				  ctl_options[i].name);
			return CTL_TROUBLE;
		}
		if (!c->opt[i] && (cmd->required & OPT_BIT(i))) {
			ctl_error("%s wants --%s %s; see stilectl %s --help",
				  cmd->name, ctl_options[i].name,
				  ctl_options[i].value, cmd->name);
			return CTL_TROUBLE;
		}
	}
	if (c->arg_count < cmd->args_min || c->arg_count > cmd->args_max) {
		ctl_error("%s: too %s arguments; usage: stilectl %s%s%s",
			  cmd->name,
			  c->arg_count < cmd->args_min ? "few" : "many",
			  cmd->name, *cmd->args ? " " : "", cmd->args);
		return CTL_TROUBLE;
	}
	for (unsigned i = 0; i < c->arg_count; i++) {
		if (c->arg[i][0] == '\0') {
			ctl_error("%s: an argument is empty", cmd->name);
			return CTL_TROUBLE;
		}
	}
	return 0;
}

static const char *default_dir(void)
{
	const char *env = getenv("STILE_DIR");

	if (env && *env)
		return env;
	if (access("admin.sock", F_OK) == 0)
		return ".";
	/* Who may not look into it is told so of this one. */
	if (access(UNIT_DIR "/admin.sock", F_OK) == 0 || errno == EACCES)
		return UNIT_DIR;
	return DEFAULT_DIR;
}

static int run(struct ctl *c, int argc, char **argv)
{
	struct words w = {.count = 0};
	const struct ctl_command *cmd;
	int rc = parse(c, argc, argv, &w);

	if (rc != 0)
		return rc;
	if (c->opt[OPT_VERSION]) {
		puts("stilectl " STILE_VERSION);
		return CTL_OK;
	}
	if (w.count == 0 && c->opt[OPT_HELP]) {
		help_overview();
		return CTL_OK;
	}
	cmd = find_command(c, &w);
	if (!cmd)
		return unknown_command(c, &w);
	if (c->opt[OPT_HELP]) {
		help_command(cmd);
		return CTL_OK;
	}
	for (unsigned i = 0; i < c->arg_count && !cmd->takes_key; i++) {
		if (refuse_key(c->arg[i]))
			return CTL_TROUBLE;
	}
	rc = check_usage(c, cmd);
	if (rc != 0)
		return rc;
	c->dir = c->opt[OPT_DIR] ? c->opt[OPT_DIR] : default_dir();
	return cmd->run(c);
}

int main(int argc, char **argv)
{
	struct ctl c = {.dir = NULL};
	int rc, end_rc;

	setlocale(LC_CTYPE, "");
	rc = secret_setup();
	if (rc != 0)
		return rc;
	rc = run(&c, argc, argv);
	c.api = api_free(c.api);
	end_rc = secret_teardown();
	return end_rc != 0 ? end_rc : rc;
}
