/* SPDX-License-Identifier: MIT */
#include "stilectl_api.h"
#include "stilectl_print.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int call_and_print(struct ctl *c, const char *method, const char *path,
			  const json_t *body)
{
	struct reply reply;
	int rc = api_call(c, method, api_path(path, "", ""), body, &reply);

	if (rc != CTL_OK)
		return rc;
	if (ctl_json(c))
		print_json(reply.json);
	else
		print_anything(reply.json);
	reply_deinit(&reply);
	return CTL_OK;
}

int cmd_status(struct ctl *c)
{
	return call_and_print(c, "GET", "/v1/status", NULL);
}

int cmd_snapshot(struct ctl *c)
{
	return call_and_print(c, "POST", "/v1/snapshot", NULL);
}

/* The server wants to know the whole path: its directory is not ours. */
static int absolute_path(const char *file, char out[static PATH_MAX])
{
	char dir[PATH_MAX];
	int len;

	if (file[0] == '/') {
		len = snprintf(out, PATH_MAX, "%s", file);
	} else if (getcwd(dir, sizeof(dir))) {
		len = snprintf(out, PATH_MAX, "%s/%s",
			       strcmp(dir, "/") == 0 ? "" : dir, file);
	} else {
		ctl_error("cannot tell the current directory: %s; give the "
			  "whole path of FILE",
			  strerror(errno));
		return CTL_TROUBLE;
	}
	if (len < 0 || len >= PATH_MAX) {
		ctl_error("the path of FILE is longer than %d bytes",
			  PATH_MAX - 1);
		return CTL_TROUBLE;
	}
	return CTL_OK;
}

int cmd_backup(struct ctl *c)
{
	char path[PATH_MAX];
	json_t *body;
	int rc = absolute_path(c->arg[0], path);

	if (rc != CTL_OK)
		return rc;
	body = json_pack("{s:s}", "path", path);
	if (!body) {
		ctl_error("the path of FILE is not valid UTF-8");
		return CTL_TROUBLE;
	}
	rc = call_and_print(c, "POST", "/v1/backup", body);
	json_decref(body);
	return rc;
}

int cmd_metrics(struct ctl *c)
{
	struct reply reply;
	int rc;

	if (ctl_json(c)) {
		ctl_error("metrics are Prometheus' text; there is no --json "
			  "of them (status has it)");
		return CTL_TROUBLE;
	}
	rc = api_call(c, "GET", api_path("/metrics", "", ""), NULL, &reply);
	if (rc != CTL_OK)
		return rc;
	fwrite(reply.text, 1, reply.text_len, stdout);
	reply_deinit(&reply);
	return CTL_OK;
}
