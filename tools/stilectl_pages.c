/* SPDX-License-Identifier: MIT */
#include "stilectl_api.h"

#include "stilectl_secret.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#define QUERY_MAX 64

static char *escape(char *out, const char *text)
{
	static const char hex[] = "0123456789ABCDEF";

	for (; *text; text++) {
		unsigned char b = (unsigned char)*text;

		if ((b < 0x80 && isalnum(b)) || strchr("-._~", b)) {
			*out++ = (char)b;
		} else {
			*out++ = '%';
			*out++ = hex[b >> 4];
			*out++ = hex[b & 15];
		}
	}
	return out;
}

char *api_path(const char *before, const char *name, const char *after)
{
	size_t before_len = strlen(before), after_len = strlen(after);
	char *path =
		secret_malloc(before_len + 3 * strlen(name) + after_len + 1);
	char *end;

	if (!path) {
		ctl_error("out of memory");
		return NULL;
	}
	memcpy(path, before, before_len);
	end = escape(path + before_len, name);
	memcpy(end, after, after_len + 1);
	return path;
}

int pages_open(struct pages *p, struct ctl *c, char *path)
{
	*p = (struct pages){.c = c, .path = path};
	return path ? CTL_OK : CTL_TROUBLE;
}

void pages_close(struct pages *p)
{
	reply_deinit(&p->reply);
	secret_free(p->path);
	p->path = NULL;
}

/* Remembers where the next page starts. An id that does not move on would
 * make the list endless. */
static bool remember_next(struct pages *p, const char *next, int *ret_rc)
{
	if (strlen(next) >= sizeof(p->after) || strcmp(next, p->after) == 0) {
		ctl_error("stiled sent a page that does not say where the next "
			  "one starts");
		*ret_rc = CTL_TROUBLE;
		return false;
	}
	memcpy(p->after, next, strlen(next) + 1);
	return true;
}

/* An id or a number; false at the end. */
static bool read_next(const struct pages *p, char *out, size_t out_len)
{
	const json_t *next = json_object_get(p->reply.json, "next");

	if (json_is_integer(next))
		snprintf(out, out_len, "%" JSON_INTEGER_FORMAT,
			 json_integer_value(next));
	else if (json_is_string(next))
		snprintf(out, out_len, "%s", json_string_value(next));
	else
		return false;
	return true;
}

bool pages_next(struct pages *p, int *ret_rc)
{
	char next[sizeof(p->after)];
	char query[QUERY_MAX], *path;
	size_t path_len = strlen(p->path);

	if (p->started) {
		if (!read_next(p, next, sizeof(next)) ||
		    !remember_next(p, next, ret_rc))
			return false;
		reply_deinit(&p->reply);
	}
	snprintf(query, sizeof(query), "%climit=%d%s",
		 strchr(p->path, '?') ? '&' : '?', API_PAGE,
		 p->after[0] ? "&after=" : "");
	p->started = true;
	path = secret_malloc(path_len + sizeof(query));
	if (!path) {
		ctl_error("out of memory");
		*ret_rc = CTL_TROUBLE;
		return false;
	}
	memcpy(path, p->path, path_len);
	memcpy(path + path_len, query, strlen(query) + 1);
	*ret_rc = api_call(p->c, "GET", api_path(path, p->after, ""), NULL,
			   &p->reply);
	secret_free(path);
	return *ret_rc == CTL_OK;
}
