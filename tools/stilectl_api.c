/* SPDX-License-Identifier: MIT */
#include "stilectl_api.h"

#include "stilectl_secret.h"

#include <curl/curl.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#define SOCKET_PATH_MAX (sizeof(((struct sockaddr_un *)0)->sun_path) - 1)
#define BODY_FIRST 4096u
#define URL_HOST "http://stile"

struct api {
	CURL *curl;
	char error[CURL_ERROR_SIZE];
	bool is_admin; /* admin.sock, not http.sock */
	char socket[SOCKET_PATH_MAX + 1];
};

/* One transfer: the answer as it comes in. */
struct transfer {
	struct reply *reply;
	size_t capacity;
	bool too_large;
	long timeout_s;
	header_fn header;
	void *header_arg;
};

struct api *api_free(struct api *a)
{
	if (a) {
		curl_easy_cleanup(a->curl);
		free(a);
	}
	return NULL;
}

void reply_deinit(struct reply *r)
{
	json_decref(r->json);
	secret_free(r->text);
	*r = (struct reply){.status = 0};
}

static int out_of_memory(void)
{
	ctl_error("out of memory");
	return CTL_TROUBLE;
}

static int socket_path(const struct ctl *c, const char *file,
		       char out[static SOCKET_PATH_MAX + 1])
{
	int len;

	if (c->opt[OPT_SOCKET])
		len = snprintf(out, SOCKET_PATH_MAX + 1, "%s",
			       c->opt[OPT_SOCKET]);
	else
		len = snprintf(out, SOCKET_PATH_MAX + 1, "%s/%s", c->dir, file);
	if (len < 0 || (size_t)len > SOCKET_PATH_MAX) {
		ctl_error("the path of the socket is longer than %zu bytes, "
			  "which the system does not allow: change to the "
			  "directory and use --dir .",
			  SOCKET_PATH_MAX);
		return CTL_TROUBLE;
	}
	return CTL_OK;
}

static int api_open(struct ctl *c, bool is_admin)
{
	struct api *a;
	int rc;

	if (c->api)
		return CTL_OK;
	a = calloc(1, sizeof(*a));
	if (!a)
		return out_of_memory();
	a->is_admin = is_admin;
	rc = socket_path(c, is_admin ? "admin.sock" : "http.sock", a->socket);
	if (rc != CTL_OK) {
		free(a);
		return rc;
	}
	a->curl = curl_easy_init();
	if (!a->curl) {
		free(a);
		return out_of_memory();
	}
	c->api = a;
	return CTL_OK;
}

static size_t on_body(char *data, size_t size, size_t count, void *arg)
{
	struct transfer *t = arg;
	struct reply *r = t->reply;
	size_t len = size * count, need = r->text_len + len + 1;

	if (need > API_BODY_MAX) {
		t->too_large = true;
		return 0;
	}
	if (need > t->capacity) {
		size_t grown = t->capacity ? 2 * t->capacity : BODY_FIRST;
		char *text;

		grown = grown < need ? need : grown;
		text = secret_realloc(r->text, grown);
		if (!text)
			return 0;
		r->text = text;
		t->capacity = grown;
	}
	memcpy(r->text + r->text_len, data, len);
	r->text_len += len;
	r->text[r->text_len] = '\0';
	return len;
}

/* data: "Name: value\r\n", not terminated. */
static size_t on_header(char *data, size_t size, size_t count, void *arg)
{
	struct transfer *t = arg;
	size_t len = size * count;
	char line[1024], *value;

	if (!t->header || len >= sizeof(line))
		return len;
	memcpy(line, data, len);
	line[len] = '\0';
	line[strcspn(line, "\r\n")] = '\0';
	value = strchr(line, ':');
	if (value) {
		*value++ = '\0';
		value += strspn(value, " \t");
		t->header(line, value, t->header_arg);
	}
	return len;
}

static void tell_closed(const struct ctl *c)
{
	ctl_error("%s was closed without an answer: stiled stopped%s",
		  c->api->socket,
		  c->api->is_admin ? ", or lets in only its own user and root"
				   : "");
}

/* Why there is no connection, and what to do about it. */
static void tell_no_connection(const struct ctl *c, long os_errno)
{
	const char *socket = c->api->socket;

	switch ((int)os_errno) {
	case ENOENT:
		ctl_error("no socket at %s: is stiled running, and with which "
			  "--dir? (give the same --dir here, or set STILE_DIR)",
			  socket);
		break;
	case ECONNREFUSED:
		ctl_error("nobody listens at %s: stiled has stopped; start it "
			  "with stiled --dir %s",
			  socket, c->dir);
		break;
	case EACCES:
	case EPERM:
		ctl_error("no permission to open %s: run stilectl as the user "
			  "of stiled or as root%s",
			  socket,
			  c->api->is_admin ? "" : ", or join its group");
		break;
	case EAGAIN:
		ctl_error("stiled takes no more connections at %s just now: "
			  "try again",
			  socket);
		break;
	case 0: /* closed before libcurl looked */
		tell_closed(c);
		break;
	default:
		ctl_error("cannot connect to %s: %s", socket,
			  strerror((int)os_errno));
	}
}

static int tell_transport(const struct ctl *c, CURLcode code,
			  const struct transfer *t)
{
	long os_errno = 0;

	curl_easy_getinfo(c->api->curl, CURLINFO_OS_ERRNO, &os_errno);
	if (code == CURLE_COULDNT_CONNECT)
		tell_no_connection(c, os_errno);
	else if (t->too_large)
		ctl_error("the answer of stiled is larger than %u bytes",
			  API_BODY_MAX);
	else if (code == CURLE_GOT_NOTHING)
		tell_closed(c);
	else if (code == CURLE_OPERATION_TIMEDOUT)
		ctl_error("no answer from %s in time: see stiled's log",
			  c->api->socket);
	else
		ctl_error("talking to stiled at %s failed: %s", c->api->socket,
			  c->api->error[0] ? c->api->error
					   : curl_easy_strerror(code));
	return CTL_TROUBLE;
}

static CURLcode set_options(struct api *a, const char *method, const char *url,
			    struct curl_slist *headers, const char *body,
			    struct transfer *t)
{
	CURL *h = a->curl;

	/* Forgets the options of the call before; keeps the connection. */
	curl_easy_reset(h);
	a->error[0] = '\0';
	curl_easy_setopt(h, CURLOPT_ERRORBUFFER, a->error);
	curl_easy_setopt(h, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(h, CURLOPT_PROXY, "");
	curl_easy_setopt(h, CURLOPT_PROTOCOLS_STR, "http");
	/* An organization may be called "..". */
	curl_easy_setopt(h, CURLOPT_PATH_AS_IS, 1L);
	curl_easy_setopt(h, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	curl_easy_setopt(h, CURLOPT_CONNECTTIMEOUT, API_CONNECT_TIMEOUT_S);
	curl_easy_setopt(h, CURLOPT_TIMEOUT, t->timeout_s);
	curl_easy_setopt(h, CURLOPT_USERAGENT, "stilectl/" STILE_VERSION);
	curl_easy_setopt(h, CURLOPT_UNIX_SOCKET_PATH, a->socket);
	curl_easy_setopt(h, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(h, CURLOPT_WRITEDATA, t);
	curl_easy_setopt(h, CURLOPT_HEADERFUNCTION, on_header);
	curl_easy_setopt(h, CURLOPT_HEADERDATA, t);
	curl_easy_setopt(h, CURLOPT_HTTPHEADER, headers);
	if (body)
		curl_easy_setopt(h, CURLOPT_POSTFIELDS, body);
	curl_easy_setopt(h, CURLOPT_CUSTOMREQUEST, method);
	/* The last one, and the only ones that allocate: url and method. */
	return curl_easy_setopt(h, CURLOPT_URL, url);
}

static int perform(struct ctl *c, const char *method, const char *path,
		   struct curl_slist *headers, const char *body,
		   struct transfer *t)
{
	char *url = api_path(URL_HOST, "", path);
	CURLcode code;

	if (!url)
		return CTL_TROUBLE;
	code = set_options(c->api, method, url, headers, body, t);
	if (code == CURLE_OK)
		code = curl_easy_perform(c->api->curl);
	secret_free(url);
	if (code != CURLE_OK)
		return tell_transport(c, code, t);
	curl_easy_getinfo(c->api->curl, CURLINFO_RESPONSE_CODE,
			  &t->reply->status);
	if (t->reply->text)
		t->reply->json = json_loadb(t->reply->text, t->reply->text_len,
					    JSON_REJECT_DUPLICATES, NULL);
	return CTL_OK;
}

int api_try(struct ctl *c, const char *method, const char *path,
	    const json_t *body, struct reply *ret_reply)
{
	/* Without "Expect:" libcurl would ask for leave to send a long body
	 * and wait for it. */
	static char expect_text[] = "Expect:";
	static char type_text[] = "Content-Type: application/json";
	static struct curl_slist expect = {expect_text, NULL};
	static struct curl_slist type = {type_text, &expect};
	struct reply reply = {.status = 0};
	struct transfer t = {.reply = &reply, .timeout_s = API_TIMEOUT_S};
	char *text = NULL;
	int rc = api_open(c, true);

	if (rc != CTL_OK)
		return rc;
	if (body) {
		text = json_dumps(body, JSON_COMPACT);
		if (!text)
			return out_of_memory();
	}
	/* A POST without a body still says that it has none. */
	rc = perform(c, method, path, &type,
		     !text && strcmp(method, "GET") != 0 ? "" : text, &t);
	secret_free(text);
	if (rc != CTL_OK) {
		reply_deinit(&reply);
		return rc;
	}
	*ret_reply = reply;
	return CTL_OK;
}

static const char *hint(const char *code)
{
	static const struct {
		const char *code, *hint;
	} hints[] = {
		{"not_found", "; the list commands show what there is"},
		{"unavailable", "; try again in a moment"},
		{"internal", "; see stiled's log"},
	};

	for (size_t i = 0; i < sizeof(hints) / sizeof(*hints); i++) {
		if (strcmp(code, hints[i].code) == 0)
			return hints[i].hint;
	}
	return "";
}

const char *api_sentence(const json_t *body)
{
	const json_t *error = json_object_get(body, "error");

	if (json_is_object(error))
		error = json_object_get(error, "message");
	return json_string_value(error);
}

int api_refused(const struct reply *r)
{
	const char *code = "", *message = api_sentence(r->json);
	size_t len;

	json_unpack(r->json, "{s:{s?s}}", "error", "code", &code);
	if (!message) {
		ctl_error("stiled answered with status %ld and no explanation",
			  r->status);
		return r->status >= 400 ? CTL_REFUSED : CTL_TROUBLE;
	}
	/* A sentence may come with its full stop; the hint goes before it. */
	len = strlen(message);
	if (len > 0 && message[len - 1] == '.')
		len--;
	ctl_error("%.*s%s", (int)len, message, hint(code));
	return CTL_REFUSED;
}

int api_call(struct ctl *c, const char *method, char *path, const json_t *body,
	     struct reply *ret_reply)
{
	struct reply reply = {.status = 0};
	int rc = path ? api_try(c, method, path, body, &reply) : CTL_TROUBLE;

	secret_free(path);
	if (rc != CTL_OK)
		return rc;
	if (reply.status < 200 || reply.status > 299) {
		rc = api_refused(&reply);
		reply_deinit(&reply);
		return rc;
	}
	*ret_reply = reply;
	return CTL_OK;
}

int api_check(struct ctl *c, const char *path, const char *const *headers,
	      header_fn fn, void *arg, struct reply *ret_reply)
{
	struct reply reply = {.status = 0};
	struct transfer t = {.reply = &reply,
			     .timeout_s = API_CHECK_TIMEOUT_S,
			     .header = fn,
			     .header_arg = arg};
	struct curl_slist *list = NULL;
	int rc = api_open(c, false);

	for (; rc == CTL_OK && *headers; headers++) {
		struct curl_slist *longer = curl_slist_append(list, *headers);

		if (longer)
			list = longer;
		else
			rc = out_of_memory();
	}
	if (rc == CTL_OK)
		rc = perform(c, "GET", path, list, NULL, &t);
	curl_slist_free_all(list);
	if (rc != CTL_OK) {
		reply_deinit(&reply);
		return rc;
	}
	*ret_reply = reply;
	return CTL_OK;
}
