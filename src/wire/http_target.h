/* SPDX-License-Identifier: MIT */
#ifndef STILE_WIRE_HTTP_TARGET_H
#define STILE_WIRE_HTTP_TARGET_H

/*
 * wire/http_target - the paths that the check listener knows; shared by the
 * two halves of wire/http.
 */
enum http_target {
	TARGET_UNKNOWN, /* 404 */
	TARGET_CHECK,
	TARGET_CHECK_NGINX,
	TARGET_LIVEZ,
	TARGET_READYZ,
	TARGET_HEALTHZ,
};

#endif
