/* SPDX-License-Identifier: MIT */
/* The query of a call: what its route allows, each once. */
#include "control/api_call.h"

#include <openssl/crypto.h>
#include <string.h>

bool call_decode(char *text)
{
	char *out = text;

	for (; *text; text++) {
		int high;
		int low;

		if (*text != '%') {
			*out++ = *text;
			continue;
		}
		high = OPENSSL_hexchar2int((unsigned char)text[1]);
		low = high < 0 ? -1
			       : OPENSSL_hexchar2int((unsigned char)text[2]);
		if (low < 0 || high * 16 + low == 0)
			return false;
		*out++ = (char)(high * 16 + low);
		text += 2;
	}
	*out = '\0';
	return true;
}

static bool page_size(struct call *c, const char *text)
{
	uint32_t v = 0;

	for (; *text >= '0' && *text <= '9' && v <= API_PAGE_MAX; text++)
		v = v * 10 + (uint32_t)(*text - '0');
	if (*text || v < 1 || v > API_PAGE_MAX) {
		call_invalid(c,
			     "Parameter \"limit\": expected a whole number, "
			     "1..%d",
			     API_PAGE_MAX);
		return false;
	}
	c->limit = v;
	return true;
}

/* The place of a parameter of a report, or NULL. */
static const char **report_parameter(struct call *c, const char *name)
{
	const struct {
		const char *name;
		const char **at;
	} all[] = {{"by", &c->by},
		   {"from", &c->from},
		   {"to", &c->to},
		   {"format", &c->format}};

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		if (strcmp(name, all[i].name) == 0 && *all[i].at == NULL)
			return all[i].at;
	return NULL;
}

/* The same, of a rule and its subject. */
static const char **limit_parameter(struct call *c, const char *name)
{
	const struct {
		const char *name;
		const char **at;
	} all[] = {{"name", &c->of.name},
		   {"key", &c->of.key},
		   {"project", &c->of.project},
		   {"route", &c->of.route},
		   {"address", &c->of.address}};

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		if (strcmp(name, all[i].name) == 0 && *all[i].at == NULL)
			return all[i].at;
	return NULL;
}

static bool set_parameter(struct call *c, unsigned allowed, const char *name,
			  const char *value)
{
	if ((allowed & QUERY_PAGE) && strcmp(name, "after") == 0 && !c->after) {
		c->after = value;
	} else if ((allowed & QUERY_PAGE) && strcmp(name, "limit") == 0 &&
		   c->limit == 0) {
		return page_size(c, value);
	} else if ((allowed & QUERY_ORG) && strcmp(name, "org") == 0 &&
		   !c->org) {
		c->org = value;
	} else if ((allowed & QUERY_REPORT) && report_parameter(c, name)) {
		*report_parameter(c, name) = value;
	} else if ((allowed & QUERY_LIMIT) && limit_parameter(c, name)) {
		*limit_parameter(c, name) = value;
	} else {
		call_invalid(c,
			     "Parameter \"%.60s\": unknown here, or given "
			     "twice",
			     name);
		return false;
	}
	return true;
}

bool call_query(struct call *c, unsigned allowed, char *query)
{
	char *rest = query;
	char *pair;

	while ((pair = strsep(&rest, "&")) != NULL) {
		char *value = strchr(pair, '=');

		if (*pair == '\0')
			continue;
		if (!value) {
			call_invalid(c, "Parameter \"%.60s\": without a value",
				     pair);
			return false;
		}
		*value++ = '\0';
		if (!call_decode(pair) || !call_decode(value)) {
			call_invalid(c, "The query is not percent-encoded");
			return false;
		}
		if (!set_parameter(c, allowed, pair, value))
			return false;
	}
	if (c->limit == 0)
		c->limit = API_PAGE_STANDARD;
	return true;
}
