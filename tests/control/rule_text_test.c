/* SPDX-License-Identifier: MIT */
#include "control/rule_text.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

static struct rule_record parsed(const char *text)
{
	struct rule_record rule = {.name = "kept", .level = LEVEL_KEY};

	cr_assert_eq(rule_text_parse(text, &rule), 0, "%s", text);
	cr_assert_str_eq(rule.name, "kept");
	cr_assert_eq(rule.level, LEVEL_KEY);
	return rule;
}

static const char *again(const char *text)
{
	static char out[RULE_TEXT_MAX];
	struct rule_record rule = parsed(text);

	rule_text_format(&rule, out);
	return out;
}

Test(rule_text, each_algorithm_is_read)
{
	struct rule_record rule = parsed("100/60s");

	cr_expect_eq(rule.algorithm, RULE_WINDOW);
	cr_expect_eq(rule.limit, 100);
	cr_expect_eq(rule.period_ms, 60000);
	rule = parsed("gcra 10/1s burst 5");
	cr_expect_eq(rule.algorithm, RULE_GCRA);
	cr_expect_eq(rule.limit, 10);
	cr_expect_eq(rule.period_ms, 1000);
	cr_expect_eq(rule.burst, 5);
	rule = parsed("inflight 5 lease 30s");
	cr_expect_eq(rule.algorithm, RULE_CONCURRENCY);
	cr_expect_eq(rule.limit, 5);
	cr_expect_eq(rule.lease_ms, 30000);
	rule = parsed("off");
	cr_expect(rule.removed);
	rule = parsed("gcra 4294967295/2h");
	cr_expect_eq(rule.limit, UINT32_MAX);
	cr_expect_eq(rule.burst, RULE_TEXT_BURST);
	cr_expect_eq(parsed("inflight 1").lease_ms, RULE_TEXT_LEASE_MS);
}

Test(rule_text, what_was_read_is_written_the_same)
{
	static const char *const same[] = {"100/60s",
					   "1/1ms",
					   "8388607/31d",
					   "gcra 10/1s burst 5",
					   "gcra 1/2h burst 1",
					   "inflight 5 lease 30s",
					   "inflight 1 lease 1d",
					   "off"};

	for (size_t i = 0; i < sizeof(same) / sizeof(same[0]); i++)
		cr_expect_str_eq(again(same[i]), same[i]);
	cr_expect_str_eq(again("100/1m"), "100/60s");
	cr_expect_str_eq(again("  gcra   5/5  "), "gcra 5/5s burst 1");
	cr_expect_str_eq(again("inflight 7"), "inflight 7 lease 60s");
}

Test(rule_text, other_texts_are_refused)
{
	static const char *const bad[] = {
		"",
		" ",
		"100",
		"/60s",
		"100/",
		"100/60s x",
		"100/60x",
		"gcra",
		"gcra 10",
		"gcra 10/1s burst",
		"gcra 10/1s bursts 5",
		"gcra 10/1s burst 5 x",
		"gcra 10/1s burst -5",
		"gcra 10/1s lease 5s",
		"inflight",
		"inflight 5/1s",
		"inflight 5 lease",
		"inflight 5 burst 3",
		"inflight 5 lease 3y",
		"off off",
		"OFF",
		"window 5/1s",
		"1\t/1s",
		("0000000000000000000000000000000000000000000000000000000000001"
		 "/"
		 "1s"),
	};
	struct rule_record rule = {.limit = 7};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		cr_expect_eq(rule_text_parse(bad[i], &rule), -EINVAL, "\"%s\"",
			     bad[i]);
	cr_expect_eq(rule_text_parse("4294967296/1s", &rule), -ERANGE);
	cr_expect_eq(rule_text_parse("gcra 1/1s burst 4294967296", &rule),
		     -ERANGE);
	cr_expect_eq(rule_text_parse("inflight 99999999999999999999", &rule),
		     -ERANGE);
	cr_expect_eq(rule_text_parse("1/99999999999999999999d", &rule),
		     -ERANGE);
	cr_expect_eq(rule.limit, 7);
}

Test(rule_text, levels_have_names)
{
	uint8_t level;

	for (uint8_t i = 0; i < LEVEL_COUNT; i++) {
		cr_assert(rule_text_parse_level(rule_text_level(i), &level));
		cr_expect_eq(level, i);
	}
	cr_expect_not(rule_text_parse_level("", &level));
	cr_expect_not(rule_text_parse_level("Org", &level));
	cr_expect_str_eq(rule_text_level(LEVEL_COUNT), "");
}

Test(rule_text, budgets_are_read_and_written)
{
	static const char *const same[] = {"0/day", "500/week", "10000/month",
					   "17592186044415/billing"};
	static const char *const bad[] = {"",         "5",      "5/",
					  "/month",   "5/year", "5/Month",
					  "5/month ", "-5/day", "5 /day"};
	char out[RULE_TEXT_MAX];
	uint64_t units = 7;
	uint8_t period = 0;

	for (size_t i = 0; i < sizeof(same) / sizeof(same[0]); i++) {
		cr_assert_eq(budget_text_parse(same[i], &units, &period), 0);
		cr_expect_eq(period, BUDGET_PER_DAY + i);
		budget_text_format(units, period, out);
		cr_expect_str_eq(out, same[i]);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		cr_expect_eq(budget_text_parse(bad[i], &units, &period),
			     -EINVAL, "\"%s\"", bad[i]);
	cr_expect_eq(budget_text_parse("17592186044416/day", &units, &period),
		     -ERANGE);
}
