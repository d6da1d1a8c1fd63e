/* SPDX-License-Identifier: MIT */
#include "control/arguments.h"

#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

struct arguments {
	const char *dir;
	const char *config;
	bool check;
};

static void print_help(void)
{
	fputs("stiled - says for every request who is calling and whether it "
	      "may pass\n"
	      "\n"
	      "usage: stiled --dir DIR [--config FILE]\n"
	      "       stiled --config FILE\n"
	      "\n"
	      "  --dir DIR        everything under DIR: stile.sock (native "
	      "protocol),\n"
	      "                   http.sock (HTTP checks), admin.sock (admin "
	      "API) and\n"
	      "                   state/; no configuration is needed\n"
	      "  --config FILE    read settings from a YAML file\n"
	      "  --check-config   check the settings, tell every fault, and "
	      "exit\n"
	      "  --help-config    print every setting with its default, as a "
	      "YAML file\n"
	      "  --help           print this\n"
	      "  --version        print the version\n"
	      "\n"
	      "Prints `ready` once it serves, and tells systemd so. SIGTERM or "
	      "SIGINT\n"
	      "drains: stops accepting, answers what was read, writes a "
	      "snapshot, exits 0.\n"
	      "Exit status: 0 fine, 1 could not start or not stop cleanly, 2 "
	      "wrong usage.\n"
	      "\n"
	      "Manage it with `stilectl --dir DIR`; see docs/operation.md.\n",
	      stdout);
}

static int usage(const char *problem)
{
	fprintf(stderr, "stiled: %s; see stiled --help\n", problem);
	return EXIT_USAGE;
}

/* -1: go on; otherwise the exit status. */
static int read_words(int argc, char **argv, struct arguments *a)
{
	enum { DIR, CONFIG, CHECK, HELP_CONFIG, HELP, VERSION };
	static const struct option words[] = {
		{"dir", required_argument, NULL, DIR},
		{"config", required_argument, NULL, CONFIG},
		{"check-config", no_argument, NULL, CHECK},
		{"help-config", no_argument, NULL, HELP_CONFIG},
		{"help", no_argument, NULL, HELP},
		{"version", no_argument, NULL, VERSION},
		{NULL, 0, NULL, 0},
	};
	int option;

	while ((option = getopt_long(argc, argv, "", words, NULL)) != -1) {
		switch (option) {
		case DIR:
			a->dir = optarg;
			break;
		case CONFIG:
			a->config = optarg;
			break;
		case CHECK:
			a->check = true;
			break;
		case HELP_CONFIG:
			config_print_reference(stdout);
			return 0;
		case HELP:
			print_help();
			return 0;
		case VERSION:
			puts("stiled " STILE_VERSION);
			return 0;
		default:
			return usage("wrong usage");
		}
	}
	if (optind < argc)
		return usage("it takes options only");
	if (a->dir == NULL && a->config == NULL)
		return usage("give it --dir DIR or --config FILE");
	return -1;
}

static int read_config(const struct arguments *a, struct config *c)
{
	config_defaults(c);
	if (a->config != NULL && config_load(c, a->config, stderr) < 0)
		return EXIT_FAILED;
	if (a->dir == NULL)
		return 0;
	if (a->dir[0] == '\0' || strlen(a->dir) >= sizeof(c->dir))
		return usage("--dir: expected the name of a directory");
	memset(c->dir, 0, sizeof(c->dir));
	memcpy(c->dir, a->dir, strlen(a->dir));
	return config_check(c, stderr) < 0 ? EXIT_FAILED : 0;
}

int arguments_read(int argc, char **argv, struct config *ret_config)
{
	struct arguments a = {0};
	int status = read_words(argc, argv, &a);

	if (status >= 0)
		return status;
	status = read_config(&a, ret_config);
	if (status != 0 || !a.check)
		return status != 0 ? status : -1;
	puts("the configuration is good");
	return 0;
}
