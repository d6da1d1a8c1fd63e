/* SPDX-License-Identifier: MIT */
#include "options.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int options_parse(const struct options_spec *spec, void *to, int argc,
		  char **argv)
{
	int option, long_idx = 0;

	optind = 1;
	while ((option = getopt_long(argc, argv, "", spec->table, &long_idx)) !=
	       -1) {
		if (option == '?')
			return -1; /* getopt has said why */
		if (option == OPTIONS_HELP) {
			fputs(spec->help, stdout);
			return 1;
		}
		if (!spec->take(to, option, optarg)) {
			fprintf(stderr,
				"stile-bench: --%s does not take '%s'; see "
				"stile-bench %s --help\n",
				spec->table[long_idx].name, optarg,
				spec->command);
			return -1;
		}
	}
	if (optind == argc)
		return 0;
	fprintf(stderr,
		"stile-bench: %s does not know '%s'; see stile-bench %s "
		"--help\n",
		spec->command, argv[optind], spec->command);
	return -1;
}

bool options_number(const char *text, unsigned long max, uint32_t *ret)
{
	char *end;
	unsigned long v;

	errno = 0;
	v = strtoul(text, &end, 10);
	if (errno != 0 || end == text || *end != '\0' || text[0] == '-' ||
	    v == 0 || v > max)
		return false;
	*ret = (uint32_t)v;
	return true;
}

bool options_seconds(const char *text, double min, double *ret)
{
	char *end;
	double v;

	errno = 0;
	v = strtod(text, &end);
	if (errno != 0 || end == text || *end != '\0' ||
	    !(v >= min && v <= OPTIONS_SECONDS_MAX))
		return false;
	*ret = v;
	return true;
}

bool options_list(const char *text, unsigned long max,
		  uint32_t ret[static OPTIONS_LIST_MAX], uint32_t *ret_count)
{
	char copy[256], *rest = copy, *item;
	uint32_t values[OPTIONS_LIST_MAX];
	uint32_t count = 0;
	size_t len = strlen(text);

	if (len >= sizeof(copy))
		return false;
	memcpy(copy, text, len + 1);
	while ((item = strsep(&rest, ","))) {
		if (count == OPTIONS_LIST_MAX ||
		    !options_number(item, max, &values[count]))
			return false;
		count++;
	}
	memcpy(ret, values, count * sizeof(*values));
	*ret_count = count;
	return true;
}

bool options_modes(const char *text, enum workload_mode ret[static 2],
		   uint32_t *ret_count)
{
	uint32_t count = 0;

	if (strcmp(text, "raw") == 0 || strcmp(text, "raw,hashed") == 0)
		ret[count++] = WORKLOAD_RAW;
	if (strcmp(text, "hashed") == 0 || strcmp(text, "raw,hashed") == 0)
		ret[count++] = WORKLOAD_HASHED;
	if (count > 0)
		*ret_count = count;
	return count > 0;
}

bool options_path(const char *text, char *out, size_t out_len)
{
	return snprintf(out, out_len, "%s", text) < (int)out_len;
}

void options_find_stiled(char *out, size_t out_len)
{
	static const char *const places[] = {"stiled", "../src/stiled"};
	char self[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	char *slash;

	self[n > 0 ? n : 0] = '\0';
	slash = strrchr(self, '/');
	if (slash)
		*slash = '\0';
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		int len = snprintf(out, out_len, "%s/%s", self, places[i]);

		if (len < (int)out_len && access(out, X_OK) == 0)
			return;
	}
}

const char *options_mode_name(enum workload_mode mode)
{
	return mode == WORKLOAD_RAW ? "raw" : "hashed";
}
