/* SPDX-License-Identifier: MIT */
#include "api.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CALL_TIMEOUT_MS 120000L
#define ANSWER_MAX (4u << 20)

static size_t take_answer(char *bytes, size_t size, size_t count, void *arg)
{
	struct api *a = arg;
	size_t len = size * count;
	char *grown;

	if (a->answer_len + len > ANSWER_MAX)
		return 0;
	grown = realloc(a->answer, a->answer_len + len + 1);
	if (!grown)
		return 0;
	memcpy(grown + a->answer_len, bytes, len);
	a->answer = grown;
	a->answer_len += len;
	a->answer[a->answer_len] = '\0';
	return len;
}

int api_open(struct api *a, const char *socket_path, char *error,
	     size_t error_len)
{
	memset(a, 0, sizeof(*a));
	a->error = error;
	a->error_len = error_len;
	a->curl = curl_easy_init();
	a->headers = curl_slist_append(NULL, "Content-Type: application/json");
	if (!a->curl || !a->headers) {
		snprintf(error, error_len, "libcurl cannot be set up");
		return -1;
	}
	curl_easy_setopt(a->curl, CURLOPT_UNIX_SOCKET_PATH, socket_path);
	curl_easy_setopt(a->curl, CURLOPT_HTTPHEADER, a->headers);
	curl_easy_setopt(a->curl, CURLOPT_WRITEFUNCTION, take_answer);
	curl_easy_setopt(a->curl, CURLOPT_WRITEDATA, a);
	curl_easy_setopt(a->curl, CURLOPT_TIMEOUT_MS, CALL_TIMEOUT_MS);
	curl_easy_setopt(a->curl, CURLOPT_NOSIGNAL, 1L);
	return 0;
}

void api_close(struct api *a)
{
	curl_easy_cleanup(a->curl);
	curl_slist_free_all(a->headers);
	free(a->answer);
}

json_t *api_call(struct api *a, const char *path, const char *body)
{
	char url[256];
	json_error_t json_error;
	json_t *answer;
	long status = 0;
	CURLcode rc;

	snprintf(url, sizeof(url), "http://stiled%s", path);
	a->answer_len = 0;
	curl_easy_setopt(a->curl, CURLOPT_URL, url);
	if (body)
		curl_easy_setopt(a->curl, CURLOPT_POSTFIELDS, body);
	else
		curl_easy_setopt(a->curl, CURLOPT_HTTPGET, 1L);
	rc = curl_easy_perform(a->curl);
	if (rc != CURLE_OK) {
		snprintf(a->error, a->error_len, "admin API, %s: %s", path,
			 curl_easy_strerror(rc));
		return NULL;
	}
	curl_easy_getinfo(a->curl, CURLINFO_RESPONSE_CODE, &status);
	answer = a->answer_len > 0 ? json_loads(a->answer, 0, &json_error)
				   : NULL;
	if (status / 100 == 2 && json_is_object(answer))
		return answer;
	json_decref(answer);
	snprintf(a->error, a->error_len, "admin API, %s: status %ld %.200s",
		 path, status, a->answer_len > 0 ? a->answer : "");
	return NULL;
}
