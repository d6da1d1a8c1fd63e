/* SPDX-License-Identifier: MIT */
#ifndef STILE_BENCH_API_H
#define STILE_BENCH_API_H

/*
 * bench/api - calls to the admin API of a daemon that we started, on one
 * connection.
 *
 * Threads    one at a time for each struct api. The first one of a process is
 *            opened before there are threads (libcurl).
 */
#include <curl/curl.h>
#include <jansson.h>
#include <stddef.h>

struct api {
	CURL *curl;
	struct curl_slist *headers;
	char *answer; /* malloc'ed */
	size_t answer_len;
	char *error;
	size_t error_len;
};

/* Returns -1 with a sentence, else 0; to be closed in either case. */
int api_open(struct api *a, const char *socket_path, char *error,
	     size_t error_len);
void api_close(struct api *a);

/* POSTs `body`, or GETs when it is NULL. Returns the answer's object, or NULL
 * with a sentence in a->error. */
json_t *api_call(struct api *a, const char *path, const char *body);

#endif
