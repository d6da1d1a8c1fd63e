/* SPDX-License-Identifier: MIT */
#include "nginx_config.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_MAX 65536u
#define EDITS_MAX 4

struct edit {
	const char *old, *new; /* old NULL = none */
};

struct shipped {
	const char *name;
	struct edit edits[EDITS_MAX]; /* every occurrence, at least one */
};

/* build/<kind>/, or build/<kind>/bench/ where meson leaves the program. */
static bool find_shipped(char *out, size_t out_len)
{
	static const char *const places[] = {"../..", "../../.."};
	char self[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	char *slash;

	self[n > 0 ? n : 0] = '\0';
	slash = strrchr(self, '/');
	if (slash)
		*slash = '\0';
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++)
		if (snprintf(out, out_len, "%s/%s/docs/deploy/nginx", self,
			     places[i]) < (int)out_len &&
		    access(out, R_OK) == 0)
			return true;
	return false;
}

/* Returns false when there are more than FILE_MAX bytes. */
static bool read_text(const char *path, char *out)
{
	FILE *f = fopen(path, "re");
	size_t n = f ? fread(out, 1, FILE_MAX, f) : FILE_MAX;

	if (f)
		fclose(f);
	if (n == FILE_MAX)
		return false;
	out[n] = '\0';
	return true;
}

static bool replace(char *text, const struct edit *e)
{
	size_t old_len = strlen(e->old), new_len = strlen(e->new);
	char *at = text;
	bool found = false;

	while ((at = strstr(at, e->old))) {
		size_t rest = strlen(at + old_len) + 1;

		if ((size_t)(at - text) + new_len + rest > FILE_MAX)
			return false;
		memmove(at + new_len, at + old_len, rest);
		memcpy(at, e->new, new_len);
		at += new_len;
		found = true;
	}
	return found;
}

static int copy_edited(const char *from, const char *to,
		       const struct shipped *file, char *error,
		       size_t error_len)
{
	static char text[FILE_MAX];
	char path[PATH_MAX + 64];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", from, file->name);
	if (!read_text(path, text)) {
		snprintf(error, error_len, "%s cannot be read", path);
		return -1;
	}
	for (int i = 0; i < EDITS_MAX && file->edits[i].old; i++) {
		if (!replace(text, &file->edits[i])) {
			snprintf(error, error_len, "'%s' is not in %s",
				 file->edits[i].old, path);
			return -1;
		}
	}
	snprintf(path, sizeof(path), "%s/%s", to, file->name);
	f = fopen(path, "we");
	if (f && fputs(text, f) >= 0 && fclose(f) == 0)
		return 0;
	snprintf(error, error_len, "%s cannot be written", path);
	return -1;
}

int nginx_config_write(const struct nginx_config *config, const char *dir,
		       char *error, size_t error_len)
{
	char gate[PATH_MAX + 8], api[PATH_MAX + 16], listen[64];
	char from[PATH_MAX], path[PATH_MAX + 16];
	const struct shipped files[] = {
		{"nginx.conf",
		 {{"access_log access.log;",
		   "access_log off;\n\tkeepalive_requests 1000000000;"}}},
		{"stile.conf",
		 {{"unix:/run/stile/http.sock", gate},
		  {"server 127.0.0.1:8000", api},
		  {"listen 80", listen}}},
		{"snippets/stile-gate.conf", {{NULL, NULL}}},
		{"snippets/stile-protect.conf",
		 {{config->guarded ? NULL : "auth_request /_stile;",
		   "auth_request off;"}}},
	};

	snprintf(gate, sizeof(gate), "unix:%s", config->gate_path);
	snprintf(api, sizeof(api), "server unix:%s", config->api_path);
	snprintf(listen, sizeof(listen), "listen 127.0.0.1:%u", config->port);
	if (!find_shipped(from, sizeof(from))) {
		snprintf(error, error_len,
			 "docs/deploy/nginx is not above this program");
		return -1;
	}
	snprintf(path, sizeof(path), "%s/snippets", dir);
	mkdir(path, 0700);
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
		if (copy_edited(from, dir, &files[i], error, error_len) < 0)
			return -1;
	return 0;
}
