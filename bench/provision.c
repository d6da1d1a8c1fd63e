/* SPDX-License-Identifier: MIT */
/*
 * The daemon's organizations and keys, over the admin API: one call for each
 * organization and one for each 10,000 keys of it, all on one connection.
 */
#include "daemon.h"

#include "api.h"
#include "base/check.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define IMPORT_MAX 10000u /* keys in one call */
#define PAGE 1000

static bool take_id(struct api *a, const json_t *value, struct id *ret_id)
{
	if (!json_is_string(value) || json_string_length(value) != ID_LEN) {
		snprintf(a->error, a->error_len,
			 "admin API: an id that is none");
		return false;
	}
	memcpy(ret_id->c, json_string_value(value), ID_LEN);
	return true;
}

static bool create_org(struct api *a, struct workload *w, uint32_t org_idx)
{
	char body[160];
	json_t *answer;
	bool fine;

	snprintf(body, sizeof(body),
		 "{\"name\":\"bench-%" PRIu32 "\",\"limit\":{\"limit\":%" PRIu32
		 ",\"window_ms\":%" PRIu32 "}}",
		 org_idx, w->limit, w->window_ms);
	answer = api_call(a, "/v1/orgs", body);
	fine = answer &&
	       take_id(a, json_object_get(answer, "id"), &w->orgs[org_idx]);
	json_decref(answer);
	return fine;
}

static void append_hash(char **at, const struct workload_key *k)
{
	static const char hex[] = "0123456789abcdef";
	uint8_t hash[SHA256_BYTES];
	char *p = *at;

	workload_key_hash(k, hash);
	memcpy(p, "{\"hash\":\"", 9);
	p += 9;
	for (size_t i = 0; i < sizeof(hash); i++) {
		*p++ = hex[hash[i] >> 4];
		*p++ = hex[hash[i] & 15];
	}
	memcpy(p, "\"},", 3);
	*at = p + 3;
}

#define HASH_JSON_BYTES (9 + 2 * SHA256_BYTES + 3)

static bool import_keys(struct api *a, struct workload *w, uint32_t first,
			uint32_t count, char *body)
{
	const struct id *org = &w->orgs[w->keys[first].org_idx];
	json_t *answer, *ids;
	char path[64], *at;
	bool fine;

	at = stpcpy(body, "{\"keys\":[");
	for (uint32_t i = 0; i < count; i++)
		append_hash(&at, &w->keys[first + i]);
	memcpy(at - 1, "]}", 3); /* over the last comma */

	snprintf(path, sizeof(path), "/v1/orgs/%.8s/keys/import", org->c);
	answer = api_call(a, path, body);
	if (!answer)
		return false;
	ids = json_object_get(answer, "ids");
	fine = json_array_size(ids) == count;
	if (!fine)
		snprintf(a->error, a->error_len,
			 "admin API: %zu ids for %" PRIu32 " keys",
			 json_array_size(ids), count);
	for (uint32_t i = 0; i < count && fine; i++)
		fine = take_id(a, json_array_get(ids, i),
			       &w->keys[first + i].id);
	json_decref(answer);
	return fine;
}

static bool load_all(struct api *a, struct workload *w,
		     const volatile sig_atomic_t *interrupted, char *body)
{
	uint32_t told = 0;

	for (uint32_t i = 0; i < w->key_count;) {
		uint32_t org_idx = w->keys[i].org_idx, count = 1;
		bool first_of_org = i == 0 || w->keys[i - 1].org_idx != org_idx;

		while (count < IMPORT_MAX && i + count < w->key_count &&
		       w->keys[i + count].org_idx == org_idx)
			count++;
		if ((first_of_org && !create_org(a, w, org_idx)) ||
		    !import_keys(a, w, i, count, body))
			return false;
		if (*interrupted) {
			snprintf(a->error, a->error_len, "interrupted");
			return false;
		}
		i += count;
		if (i - told >= w->key_count / 10 || i == w->key_count) {
			fprintf(stderr,
				"stile-bench: %" PRIu32 " of %" PRIu32
				" keys imported\n",
				i, w->key_count);
			told = i;
		}
	}
	return true;
}

int daemon_load_keys(const struct daemon_server *d, struct workload *w,
		     const volatile sig_atomic_t *interrupted, char *error,
		     size_t error_len)
{
	char *body = malloc(IMPORT_MAX * HASH_JSON_BYTES + 64);
	struct api a;
	int r = -1;

	if (!body) {
		snprintf(error, error_len, "out of memory");
		return -1;
	}
	if (api_open(&a, d->admin_path, error, error_len) == 0 &&
	    load_all(&a, w, interrupted, body))
		r = 0;
	api_close(&a);
	free(body);
	return r;
}

/* Adds what a page of organizations has used. Sets `after` to the next page,
 * or to "" at the end. */
static bool add_page(struct api *a, char after[static ID_LEN + 1],
		     uint64_t *units)
{
	char path[64];
	json_t *answer, *orgs, *org;
	const char *next;
	size_t i;

	snprintf(path, sizeof(path), "/v1/orgs?limit=%d%s%s", PAGE,
		 after[0] ? "&after=" : "", after);
	answer = api_call(a, path, NULL);
	if (!answer)
		return false;
	orgs = json_object_get(answer, "orgs");
	json_array_foreach(orgs, i, org) *units +=
		(uint64_t)json_integer_value(json_object_get(org, "used"));
	next = json_string_value(json_object_get(answer, "next"));
	snprintf(after, ID_LEN + 1, "%s", next ? next : "");
	json_decref(answer);
	return true;
}

int daemon_units_used(const struct daemon_server *d, uint64_t *ret_units,
		      char *error, size_t error_len)
{
	char after[ID_LEN + 1] = "";
	uint64_t units = 0;
	struct api a;
	bool fine;

	fine = api_open(&a, d->admin_path, error, error_len) == 0;
	for (uint32_t page = 0; fine; page++) {
		if (page > WORKLOAD_KEYS_MAX / PAGE) {
			snprintf(error, error_len,
				 "admin API: pages without end");
			fine = false;
			break;
		}
		fine = add_page(&a, after, &units);
		if (after[0] == '\0')
			break;
	}
	api_close(&a);
	if (fine)
		*ret_units = units;
	return fine ? 0 : -1;
}
