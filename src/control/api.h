/* SPDX-License-Identifier: MIT */
#ifndef STILE_CONTROL_API_H
#define STILE_CONTROL_API_H

/*
 * control/api - the admin API of docs/openapi.yaml: a request in, a reply
 * out, through the registry.
 *
 * Threads    the control thread alone.
 * Strict     unknown members and parameters, wrong types and values out of
 *            range are refused by name; nothing is guessed.
 */
#include "control/control.h"
#include "control/reply.h"

#define API_PAGE_MAX 1000
#define API_PAGE_STANDARD 100
#define API_IMPORT_MAX 10000

/* For struct admin_options: `control` is a struct control. */
void api_handle(void *control, const struct admin_request *request,
		struct reply *reply);

struct api_route_name {
	const char *method;
	const char *path; /* as in OpenAPI: "/v1/orgs/{org}" */
};
/* The route with this number; false behind the last. */
bool api_route(size_t number, struct api_route_name *ret_name);

#endif
