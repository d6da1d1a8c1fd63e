/* SPDX-License-Identifier: MIT */
#ifndef STILE_TESTS_CONTROL_OPENAPI_H
#define STILE_TESTS_CONTROL_OPENAPI_H

/*
 * Reads docs/openapi.yaml and holds values against its schemas: as much of
 * JSON Schema as the document uses (a keyword beyond that fails the test).
 */
#include <jansson.h>
#include <stdbool.h>

/* The document as JSON. Fails the test when it cannot be read. */
json_t *openapi_load(const char *path);

/* Follows $ref, as often as need be. */
json_t *openapi_resolve(json_t *doc, json_t *node);

/* The operation of "GET" and "/v1/orgs/{org}", or NULL. */
json_t *openapi_operation(json_t *doc, const char *method, const char *path);

/* The documented response: *ret_type is its media type without parameters. */
json_t *openapi_response(json_t *doc, json_t *operation, const char *status,
			 const char **ret_type);

#define OPENAPI_PROBLEM_MAX 512

/*
 * Does `value` fit the schema? With `closed`, members that no schema names are
 * refused everywhere, whatever the document says. If not, `problem` says where
 * and why.
 */
bool openapi_fits(json_t *doc, json_t *schema, json_t *value, bool closed,
		  char problem[static OPENAPI_PROBLEM_MAX]);

#endif
