/* SPDX-License-Identifier: MIT */
#include "base/rfc3339.h"

#include "base/date.h"

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>

static bool digits(const char **p, unsigned count, unsigned *ret_value)
{
	unsigned v = 0;

	for (unsigned i = 0; i < count; i++, (*p)++) {
		if (**p < '0' || **p > '9')
			return false;
		v = v * 10 + (unsigned)(**p - '0');
	}
	*ret_value = v;
	return true;
}

static bool mark(const char **p, char upper, char lower)
{
	if (**p != upper && **p != lower)
		return false;
	(*p)++;
	return true;
}

static bool fraction(const char **p, unsigned *ret_ms)
{
	unsigned scale = 100;

	*ret_ms = 0;
	if (**p != '.')
		return true;
	(*p)++;
	if (**p < '0' || **p > '9')
		return false;
	for (; **p >= '0' && **p <= '9'; (*p)++) {
		*ret_ms += (unsigned)(**p - '0') * scale;
		scale /= 10;
	}
	return true;
}

/* "Z" or "+hh:mm"; *ret_minutes is what has to be taken off. */
static int offset(const char **p, int64_t *ret_minutes)
{
	unsigned hour;
	unsigned minute;
	bool west = **p == '-';

	if (mark(p, 'Z', 'z')) {
		*ret_minutes = 0;
		return 0;
	}
	if (!mark(p, '+', '-') || !digits(p, 2, &hour) || !mark(p, ':', ':') ||
	    !digits(p, 2, &minute))
		return -EINVAL;
	if (hour > 23 || minute > 59)
		return -ERANGE;
	*ret_minutes = (int64_t)(hour * 60 + minute) * (west ? -1 : 1);
	return 0;
}

int rfc3339_parse(const char *text, int64_t *ret_ms)
{
	const char *p = text;
	unsigned year;
	unsigned month;
	unsigned day;
	unsigned hour;
	unsigned minute;
	unsigned second;
	unsigned ms;
	int64_t shift;
	int64_t t;
	int r;

	if (!digits(&p, 4, &year) || !mark(&p, '-', '-') ||
	    !digits(&p, 2, &month) || !mark(&p, '-', '-') ||
	    !digits(&p, 2, &day) || !mark(&p, 'T', 't') ||
	    !digits(&p, 2, &hour) || !mark(&p, ':', ':') ||
	    !digits(&p, 2, &minute) || !mark(&p, ':', ':') ||
	    !digits(&p, 2, &second) || !fraction(&p, &ms))
		return -EINVAL;
	r = offset(&p, &shift);
	if (r < 0)
		return r;
	if (*p != '\0')
		return -EINVAL;
	if (month < 1 || month > 12 || day < 1 ||
	    day > date_days_in_month(year, month) || hour > 23 || minute > 59 ||
	    second > 59)
		return -ERANGE;
	t = date_to_days(year, month, day) * 86400 + hour * 3600 + minute * 60 +
	    second - shift * 60;
	t = t * 1000 + ms;
	if (t < 0 || t > RFC3339_LAST_MS)
		return -ERANGE;
	*ret_ms = t;
	return 0;
}

static char *put(char *out, unsigned value, unsigned width, char after)
{
	for (unsigned i = width; i > 0; i--) {
		out[i - 1] = (char)('0' + value % 10);
		value /= 10;
	}
	out[width] = after;
	return out + width + 1;
}

static void format(int64_t ms, bool always, char *out)
{
	int64_t t = ms < 0 ? 0 : ms > RFC3339_LAST_MS ? RFC3339_LAST_MS : ms;
	unsigned of_day = (unsigned)(t / 1000 % 86400);
	unsigned millis = (unsigned)(t % 1000);
	int64_t year;
	unsigned month;
	unsigned day;
	bool fine = always || millis;

	date_of_days(t / 86400000, &year, &month, &day);
	out = put(out, (unsigned)year, 4, '-');
	out = put(out, month, 2, '-');
	out = put(out, day, 2, 'T');
	out = put(out, of_day / 3600, 2, ':');
	out = put(out, of_day / 60 % 60, 2, ':');
	out = put(out, of_day % 60, 2, fine ? '.' : 'Z');
	if (fine)
		out = put(out, millis, 3, 'Z');
	*out = '\0';
}

void rfc3339_format(int64_t ms, char out[static RFC3339_MAX])
{
	format(ms, false, out);
}

void rfc3339_format_ms(int64_t ms, char out[static RFC3339_MAX])
{
	format(ms, true, out);
}
