/* SPDX-License-Identifier: MIT */
#include "control/rule_text.h"

#include "control/config.h"
#include "state/period.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define WORDS_MAX 4

static const char *const levels[LEVEL_COUNT] = {
	[LEVEL_ORG] = "org",         [LEVEL_PROJECT] = "project",
	[LEVEL_KEY] = "key",         [LEVEL_ROUTE] = "route",
	[LEVEL_ADDRESS] = "address",
};

static_assert((int)BUDGET_PER_DAY == PERIOD_DAY &&
		      (int)BUDGET_PER_BILLING == PERIOD_BILLING,
	      "kinds of periods, by the same numbers");

bool rule_text_parse_level(const char *text, uint8_t *ret_level)
{
	for (unsigned i = 0; i < LEVEL_COUNT; i++)
		if (strcmp(levels[i], text) == 0) {
			*ret_level = (uint8_t)i;
			return true;
		}
	return false;
}

const char *rule_text_level(uint8_t level)
{
	return level < LEVEL_COUNT ? levels[level] : "";
}

/* Cuts a copy into words; how many, or -EINVAL. */
static int cut(const char *text, char copy[static RULE_TEXT_MAX],
	       const char *words[static WORDS_MAX])
{
	size_t len = strlen(text);
	int count = 0;
	char *rest = copy, *word;

	if (len >= RULE_TEXT_MAX)
		return -EINVAL;
	memcpy(copy, text, len + 1);
	while ((word = strsep(&rest, " ")) != NULL) {
		if (*word == '\0')
			continue;
		if (count == WORDS_MAX)
			return -EINVAL;
		words[count++] = word;
	}
	return count;
}

static int parse_u32(const char *text, uint32_t *ret_value)
{
	uint64_t v;
	int r = config_parse_count(text, &v);

	if (r < 0)
		return r;
	if (v > UINT32_MAX)
		return -ERANGE;
	*ret_value = (uint32_t)v;
	return 0;
}

static int parse_rate(const char *text, struct rule_record *rule)
{
	uint64_t units = 0;
	int r = config_parse_rate(text, &units, &rule->period_ms);

	if (r < 0)
		return r;
	if (units > UINT32_MAX)
		return -ERANGE;
	rule->limit = (uint32_t)units;
	return 0;
}

static int parse_gcra(const char *const *words, int count,
		      struct rule_record *rule)
{
	rule->algorithm = RULE_GCRA;
	rule->burst = RULE_TEXT_BURST;
	if (count != 2 && (count != 4 || strcmp(words[2], "burst") != 0))
		return -EINVAL;
	if (count == 4) {
		int r = parse_u32(words[3], &rule->burst);

		if (r < 0)
			return r;
	}
	return parse_rate(words[1], rule);
}

static int parse_flight(const char *const *words, int count,
			struct rule_record *rule)
{
	rule->algorithm = RULE_CONCURRENCY;
	rule->lease_ms = RULE_TEXT_LEASE_MS;
	if (count != 2 && (count != 4 || strcmp(words[2], "lease") != 0))
		return -EINVAL;
	if (count == 4) {
		int r = config_parse_duration(words[3], &rule->lease_ms);

		if (r < 0)
			return r;
	}
	return parse_u32(words[1], &rule->limit);
}

int rule_text_parse(const char *text, struct rule_record *rule)
{
	char copy[RULE_TEXT_MAX];
	const char *words[WORDS_MAX];
	struct rule_record parsed = {.algorithm = RULE_WINDOW};
	int count = cut(text, copy, words);
	int r;

	if (count < 1)
		return -EINVAL;
	if (strcmp(words[0], "gcra") == 0) {
		r = parse_gcra(words, count, &parsed);
	} else if (strcmp(words[0], "inflight") == 0) {
		r = parse_flight(words, count, &parsed);
	} else if (count > 1) {
		r = -EINVAL;
	} else if (strcmp(words[0], "off") == 0) {
		parsed.removed = true;
		parsed.limit = 1; /* what the schema asks of every row */
		r = 0;
	} else {
		r = parse_rate(words[0], &parsed);
	}
	if (r < 0)
		return r;
	rule->algorithm = parsed.algorithm;
	rule->limit = parsed.limit;
	rule->period_ms = parsed.period_ms;
	rule->burst = parsed.burst;
	rule->lease_ms = parsed.lease_ms;
	rule->removed = parsed.removed;
	return 0;
}

void rule_text_format(const struct rule_record *rule,
		      char out[static RULE_TEXT_MAX])
{
	char time[CONFIG_DURATION_MAX];

	if (rule->removed) {
		snprintf(out, RULE_TEXT_MAX, "off");
		return;
	}
	switch (rule->algorithm) {
	case RULE_GCRA:
		config_format_duration(rule->period_ms, time);
		snprintf(out, RULE_TEXT_MAX, "gcra %u/%s burst %u", rule->limit,
			 time, rule->burst);
		break;
	case RULE_CONCURRENCY:
		config_format_duration(rule->lease_ms, time);
		snprintf(out, RULE_TEXT_MAX, "inflight %u lease %s",
			 rule->limit, time);
		break;
	default:
		config_format_duration(rule->period_ms, time);
		snprintf(out, RULE_TEXT_MAX, "%u/%s", rule->limit, time);
	}
}

int budget_text_parse(const char *text, uint64_t *ret_units,
		      uint8_t *ret_period)
{
	const char *slash = strchr(text, '/');
	enum period_kind kind;
	char number[24];
	uint64_t units;
	int r;

	if (!slash || (size_t)(slash - text) >= sizeof(number))
		return -EINVAL;
	memcpy(number, text, (size_t)(slash - text));
	number[slash - text] = '\0';
	r = config_parse_count(number, &units);
	if (r < 0)
		return r;
	if (!period_kind_parse(slash + 1, &kind))
		return -EINVAL;
	if (units > (uint64_t)BUDGET_UNITS_MAX)
		return -ERANGE;
	*ret_units = units;
	*ret_period = (uint8_t)kind;
	return 0;
}

void budget_text_format(uint64_t units, uint8_t period,
			char out[static RULE_TEXT_MAX])
{
	snprintf(out, RULE_TEXT_MAX, "%" PRIu64 "/%s", units,
		 period >= BUDGET_PER_DAY && period <= BUDGET_PER_BILLING
			 ? period_kind_name((enum period_kind)period)
			 : "");
}
