/* SPDX-License-Identifier: MIT */
#include "compare.h"
#include "core.h"
#include "http.h"
#include "latency.h"
#include "machine.h"
#include "nginx.h"
#include "peers.h"
#include "roundtrip.h"

#include <stdio.h>
#include <string.h>

static const struct command {
	const char *name;
	int (*main)(int argc, char **argv);
	const char *sentence;
} commands[] = {
	{"compare", compare_main,
	 "null server and real check, interleaved: what a check costs"},
	{"core", core_main, "each stage of a check by itself, in process"},
	{"http", http_main, "checks by HTTP, by hand and for nginx"},
	{"latency", latency_main,
	 "how long a reply takes at a given rate, from when it was due"},
	{"nginx", nginx_main, "nginx with and without stile beside it"},
	{"peers", peers_main,
	 "the same checks by stile and by what people use instead"},
	{"roundtrip", roundtrip_main,
	 "one request at a time, against a blocking echo"},
};
#define COMMAND_COUNT (sizeof(commands) / sizeof(commands[0]))

static void print_help(FILE *out)
{
	fprintf(out, "Usage: stile-bench COMMAND [OPTION]...\n\n");
	for (size_t i = 0; i < COMMAND_COUNT; i++)
		fprintf(out, "  %-10s %s\n", commands[i].name,
			commands[i].sentence);
	fprintf(out, "\nstile-bench COMMAND --help tells of its options.\n");
}

int main(int argc, char **argv)
{
	struct machine machine;

	if (argc < 2) {
		print_help(stderr);
		return 2;
	}
	if (strcmp(argv[1], "--help") == 0) {
		print_help(stdout);
		return 0;
	}
	if (strcmp(argv[1], "--version") == 0) {
		machine_read(&machine);
		printf("stile-bench %s (%s)\n", machine.version,
		       machine.commit);
		return 0;
	}
	for (size_t i = 0; i < COMMAND_COUNT; i++)
		if (strcmp(argv[1], commands[i].name) == 0)
			return commands[i].main(argc - 1, argv + 1);
	fprintf(stderr, "stile-bench: there is no command '%s'\n\n", argv[1]);
	print_help(stderr);
	return 2;
}
