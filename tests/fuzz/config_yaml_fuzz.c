/* SPDX-License-Identifier: MIT */
/*
 * control/config_yaml: a text is taken whole and passes the checks, or it
 * changes nothing and at least one fault is told, with the file's name.
 */
#include "control/config.h"
#include "fuzz.h"

#include <errno.h>

/* What the gate and the wire take for granted. */
static void look_at_routes(const struct routes *routes)
{
	must(routes->count <= ROUTES_MAX);
	for (uint32_t i = 0; i < routes->count; i++) {
		const struct route *route = &routes->routes[i];

		must(route->price >= 1 && route->price <= CHECK_COST_MAX);
		must(route->name[0] != '\0');
		must(strnlen(route->name, LABEL_MAX + 1) <= LABEL_MAX);
		must(strnlen(route->scope, LABEL_MAX + 1) <= LABEL_MAX);
		must((route->scope_hash != 0) == (route->scope[0] != '\0'));
		must(routes_find(routes, route->hash) == i + 1);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct config c, defaults;
	char *told = NULL, *text = (char *)exact_copy(data, size);
	size_t told_len = 0;
	FILE *diag = open_memstream(&told, &told_len);
	int r;

	must(diag != NULL);
	memset(&defaults, 0, sizeof(defaults));
	config_defaults(&defaults);
	c = defaults;
	r = config_load_text(&c, "fuzz.yaml", text, size, diag);
	fclose(diag);
	if (r == 0) {
		must(told_len == 0);
		must(config_check(&c, NULL) == 0);
		look_at_routes(&c.routes);
	} else {
		must(r == -EINVAL);
		must(memcmp(&c, &defaults, sizeof(c)) == 0);
		must(strncmp(told, "fuzz.yaml", 9) == 0);
		must(told[told_len - 1] == '\n');
	}
	/* The same without anybody who wants to hear of it. */
	c = defaults;
	must(config_load_text(&c, "fuzz.yaml", text, size, NULL) == r);
	free(told);
	free(text);
	return 0;
}
