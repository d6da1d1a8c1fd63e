/* SPDX-License-Identifier: MIT */
#include "state/zone_rule.h"

#include "base/date.h"

#include <stddef.h>

#define HOUR_S 3600
#define OFFSET_HOURS_MAX 24
#define CHANGE_HOURS_MAX 167
#define CHANGE_DEFAULT_S (2 * HOUR_S)

/* ---- the text ---- */

static bool is_letter(char c)
{
	return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* Letters, or anything of letters, digits and signs in <>. */
static bool skip_name(const char **p)
{
	bool quoted = **p == '<';
	const char *from = *p + quoted;

	for (*p = from; is_letter(**p) ||
			(quoted && (is_digit(**p) || **p == '+' || **p == '-'));
	     (*p)++)
		;
	if (*p - from < 3)
		return false;
	return !quoted || *(*p)++ == '>';
}

static bool number(const char **p, unsigned min, unsigned max, unsigned *ret)
{
	unsigned v = 0;

	if (!is_digit(**p))
		return false;
	for (; is_digit(**p); (*p)++) {
		v = v * 10 + (unsigned)(**p - '0');
		if (v > max)
			return false;
	}
	*ret = v;
	return v >= min;
}

/* [+-]h[:m[:s]] */
static bool read_time(const char **p, unsigned hours_max, int32_t *ret_s)
{
	unsigned hour, minute = 0, second = 0;
	bool negative = **p == '-';

	*p += **p == '-' || **p == '+';
	if (!number(p, 0, hours_max, &hour))
		return false;
	if (**p == ':') {
		(*p)++;
		if (!number(p, 0, 59, &minute))
			return false;
		if (**p == ':') {
			(*p)++;
			if (!number(p, 0, 59, &second))
				return false;
		}
	}
	*ret_s = (int32_t)(hour * HOUR_S + minute * 60 + second);
	if (negative)
		*ret_s = -*ret_s;
	return true;
}

static bool read_offset(const char **p, int32_t *ret_s)
{
	if (!read_time(p, OFFSET_HOURS_MAX, ret_s))
		return false;
	*ret_s = -*ret_s; /* POSIX counts them west of Greenwich */
	return true;
}

static bool dot(const char **p)
{
	return *(*p)++ == '.';
}

static bool read_change(const char **p, struct zone_change *c)
{
	bool ok;

	if (**p != ',')
		return false;
	(*p)++;
	c->time_s = CHANGE_DEFAULT_S;
	if (**p == 'M') {
		(*p)++;
		c->form = CHANGE_WEEKDAY;
		ok = number(p, 1, 12, &c->month) && dot(p) &&
		     number(p, 1, 5, &c->week) && dot(p) &&
		     number(p, 0, 6, &c->day);
	} else if (**p == 'J') {
		(*p)++;
		c->form = CHANGE_JULIAN;
		ok = number(p, 1, 365, &c->day);
	} else {
		c->form = CHANGE_DAY;
		ok = number(p, 0, 365, &c->day);
	}
	if (!ok || **p != '/')
		return ok;
	(*p)++;
	return read_time(p, CHANGE_HOURS_MAX, &c->time_s);
}

bool zone_rule_parse(struct zone_rule *rule, const char *text)
{
	const char *p = text;

	*rule = (struct zone_rule){0};
	if (!skip_name(&p) || !read_offset(&p, &rule->standard_s))
		return false;
	if (*p == '\0')
		return true;
	rule->has_summer = true;
	rule->summer_s = rule->standard_s + HOUR_S;
	if (!skip_name(&p) || (*p != ',' && !read_offset(&p, &rule->summer_s)))
		return false;
	return read_change(&p, &rule->begin) && read_change(&p, &rule->end) &&
	       *p == '\0';
}

/* ---- the changes of a year ---- */

/* 0 = Sunday; 1970-01-01 was a Thursday. */
static unsigned weekday(int64_t days)
{
	return (unsigned)(days + 4 - date_floor(days + 4, 7) * 7);
}

static int64_t change_day(const struct zone_change *c, int64_t year)
{
	int64_t first = date_to_days(year, 1, 1);
	unsigned day, length;

	switch (c->form) {
	case CHANGE_JULIAN:
		/* 1 March is 60 in every year. */
		return first + c->day - 1 +
		       (c->day >= 60 && date_days_in_month(year, 2) == 29);
	case CHANGE_DAY:
		return first + c->day;
	default:
		break;
	}
	first = date_to_days(year, c->month, 1);
	length = date_days_in_month(year, c->month);
	day = (c->day + 7 - weekday(first)) % 7 + (c->week - 1) * 7;
	return first + (day < length ? day : day - 7);
}

struct boundary {
	int64_t at;
	int32_t offset_s; /* from then on */
};

static void add(struct boundary *list, size_t *count, int64_t at,
		int32_t offset_s)
{
	size_t i = (*count)++;

	/* Sorted; of two at the same moment the later one counts. */
	for (; i > 0 && list[i - 1].at > at; i--)
		list[i] = list[i - 1];
	list[i] = (struct boundary){at, offset_s};
}

static void add_year(const struct zone_rule *r, int64_t year,
		     struct boundary *list, size_t *count)
{
	int64_t begin = change_day(&r->begin, year) * DATE_DAY_S +
			r->begin.time_s - r->standard_s;
	int64_t end = change_day(&r->end, year) * DATE_DAY_S + r->end.time_s -
		      r->summer_s;

	if (begin > end)
		add(list, count, end, r->standard_s);
	add(list, count, begin, r->summer_s);
	if (begin <= end)
		add(list, count, end, r->standard_s);
}

int32_t zone_rule_offset(const struct zone_rule *rule, int64_t utc_s,
			 int64_t *ret_end)
{
	/* A change may lie a week outside of its year: two more years on
	 * either side have one before and one after any instant. */
	struct boundary list[2 * 5];
	size_t count = 0, i = 0;
	int64_t year;
	unsigned month, day;

	*ret_end = INT64_MAX;
	if (!rule->has_summer)
		return rule->standard_s;
	date_of_days(date_floor(utc_s, DATE_DAY_S), &year, &month, &day);
	for (int64_t y = year - 2; y <= year + 2; y++)
		add_year(rule, y, list, &count);
	while (i < count && list[i].at <= utc_s)
		i++;
	if (i < count)
		*ret_end = list[i].at;
	return i > 0 ? list[i - 1].offset_s : rule->standard_s;
}
