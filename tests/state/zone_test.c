/* SPDX-License-Identifier: MIT */
#include "state/zone.h"

#include "../random.h"
#include "base/date.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <ftw.h>
#include <string.h>
#include <time.h>

#define ZONE_DIR "/usr/share/zoneinfo/"

static struct zone *opened(const char *name)
{
	struct zone *z = NULL;

	cr_assert_eq(zone_open(&z, name), 0, "%s", name);
	return z;
}

static int64_t utc(int64_t year, unsigned month, unsigned day, int hour,
		   int minute)
{
	return date_to_days(year, month, day) * DATE_DAY_S + hour * 3600 +
	       minute * 60;
}

Test(zone, offsets_around_daylight_saving)
{
	static const struct {
		const char *name;
		int64_t year;
		unsigned month, day;
		int hour, minute; /* UTC: the moment of the change */
		int before_min, after_min;
	} rows[] = {
		{"Europe/Berlin", 2026, 3, 29, 1, 0, 60, 120},
		{"Europe/Berlin", 2026, 10, 25, 1, 0, 120, 60},
		{"Europe/Berlin", 2087, 3, 30, 1, 0, 60, 120}, /* by rule */
		{"America/New_York", 2026, 3, 8, 7, 0, -300, -240},
		{"America/New_York", 2026, 11, 1, 6, 0, -240, -300},
		{"Asia/Beirut", 2022, 3, 26, 22, 0, 120, 180},
		{"America/Sao_Paulo", 2018, 11, 4, 3, 0, -180, -120},
		{"Australia/Lord_Howe", 2026, 4, 4, 15, 0, 660, 630},
		{"Pacific/Apia", 2011, 12, 30, 10, 0, -600, 840},
		{"Europe/Dublin", 2026, 3, 29, 1, 0, 0, 60},
		{"Asia/Kathmandu", 1985, 12, 31, 18, 30, 330, 345},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct zone *z = opened(rows[i].name);
		int64_t at = utc(rows[i].year, rows[i].month, rows[i].day,
				 rows[i].hour, rows[i].minute);

		cr_assert_eq(zone_offset_s(z, at - 1), rows[i].before_min * 60,
			     "%s", rows[i].name);
		cr_assert_eq(zone_offset_s(z, at), rows[i].after_min * 60, "%s",
			     rows[i].name);
		zone_free(z);
	}
}

Test(zone, utc_is_utc)
{
	struct zone *z = opened("UTC");

	cr_assert_eq(zone_offset_s(z, 0), 0);
	cr_assert_eq(zone_offset_s(z, ZONE_TIME_MAX_S), 0);
	cr_assert_eq(zone_first_instant(z, 86400), 86400);
	zone_free(z);
}

Test(zone, what_is_no_zone_is_refused)
{
	static const char *const names[] = {
		"",
		"Europe/Berlln",
		"Europe/Berlin/",
		"Europe//Berlin",
		"/etc/localtime",
		"../zoneinfo/UTC",
		"Europe/../UTC",
		"localtime",
		"posix/Europe/Berlin",
		"right/Europe/Berlin",
		"America",
		"UTC/x",
		"utc",
		"zone.tab",
		"tzdata.zi",
		"CET-1CEST,M3.5.0,M10.5.0/3",
		"Europe/Berlin ",
	};
	char long_name[ZONE_NAME_MAX + 100] = "";
	struct zone *z = NULL;

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		cr_assert_eq(zone_open(&z, names[i]), -ENOENT, "%s", names[i]);
		cr_assert_null(z);
	}
	memset(long_name, 'A', sizeof(long_name) - 1);
	cr_assert_eq(zone_open(&z, long_name), -ENOENT);
}

Test(zone, file_that_is_cut_or_counts_leap_seconds_is_damaged)
{
	static uint8_t data[ZONE_FILE_MAX];
	struct zone *z = NULL;
	FILE *f = fopen(ZONE_DIR "Europe/Berlin", "re");
	size_t len = fread(data, 1, sizeof(data), f);

	fclose(f);
	cr_assert_eq(zone_parse(&z, data, len), 0);
	z = zone_free(z);
	for (size_t cut = 0; cut < len; cut++)
		cr_assert_eq(zone_parse(&z, data, cut), -EBADMSG, "%zu", cut);
	data[4] = 0; /* version 1 has no second half */
	cr_assert_eq(zone_parse(&z, data, len), -EBADMSG);
}

Test(zone, first_instant_of_a_day)
{
	static const struct {
		const char *name;
		int64_t year;
		unsigned month, day;
		int64_t utc_year;
		unsigned utc_month, utc_day;
		int hour, minute;
	} rows[] = {
		{"Europe/Berlin", 2026, 7, 1, 2026, 6, 30, 22, 0},
		{"Europe/Berlin", 2026, 1, 1, 2025, 12, 31, 23, 0},
		/* Clocks go from 24:00 to 01:00: the day begins then. */
		{"America/Sao_Paulo", 2018, 11, 4, 2018, 11, 4, 3, 0},
		{"Asia/Beirut", 2022, 3, 27, 2022, 3, 26, 22, 0},
		/* From 24:00 back to 23:00: midnight is reached once. */
		{"America/Sao_Paulo", 2018, 2, 18, 2018, 2, 18, 3, 0},
		/* From 00:01 back to 23:01: the first midnight counts. */
		{"America/St_Johns", 2010, 11, 7, 2010, 11, 7, 2, 30},
		/* 30 December 2011 was left out: it begins with the 31st. */
		{"Pacific/Apia", 2011, 12, 30, 2011, 12, 30, 10, 0},
		{"Pacific/Apia", 2011, 12, 31, 2011, 12, 30, 10, 0},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct zone *z = opened(rows[i].name);

		cr_assert_eq(
			zone_first_instant(z, utc(rows[i].year, rows[i].month,
						  rows[i].day, 0, 0)),
			utc(rows[i].utc_year, rows[i].utc_month,
			    rows[i].utc_day, rows[i].hour, rows[i].minute),
			"row %zu", i);
		zone_free(z);
	}
}

/* ---- against the C library, whose TZ serves a test well enough ---- */

static struct rng rng;
static unsigned zones_seen;

static int64_t shown(const struct zone *z, int64_t at)
{
	return at + zone_offset_s(z, at);
}

static void compare(const struct zone *z, const char *name)
{
	for (int i = 0; i < 60; i++) {
		/* 1970 to 2400 */
		int64_t at = (int64_t)(rng_next(&rng) % UINT64_C(13569465600));
		int64_t local = at + rng_below(&rng, 4) * 900, first;
		time_t t = (time_t)at;
		struct tm tm;

		cr_assert_not_null(localtime_r(&t, &tm));
		cr_assert_eq(zone_offset_s(z, at), tm.tm_gmtoff, "%s at %lld",
			     name, (long long)at);
		first = zone_first_instant(z, local);
		cr_assert_geq(shown(z, first), local);
		cr_assert_lt(shown(z, first - 1), local);
		for (int j = 0; j < 4; j++)
			cr_assert_lt(
				shown(z, first - rng_below(&rng, 86400) - 1),
				local);
	}
}

static int visit(const char *path, const struct stat *st, int flag,
		 struct FTW *where)
{
	const char *name = path + strlen(ZONE_DIR);
	struct zone *z;

	(void)st;
	(void)where;
	if ((flag != FTW_F && flag != FTW_SL) || *name < 'A' || *name > 'Z')
		return 0;
	z = opened(name);
	setenv("TZ", name, 1);
	tzset();
	compare(z, name);
	zone_free(z);
	zones_seen++;
	return 0;
}

Test(zone, all_zones_agree_with_the_c_library)
{
	rng.state = test_seed("zone");
	cr_assert_eq(nftw(ZONE_DIR, visit, 8, FTW_PHYS), 0);
	cr_assert_gt(zones_seen, 400);
}
