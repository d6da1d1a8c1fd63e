/* SPDX-License-Identifier: MIT */
#include "control/metrics.h"

#include "stand.h"
#include "wire/reason.h"

#include <criterion/criterion.h>
#include <string.h>

static struct buf out;

static void begin(void)
{
	stand_open();
	buf_init(&out, 1 << 20);
}

static void end(void)
{
	buf_deinit(&out);
	stand_close();
}

TestSuite(metrics, .init = begin, .fini = end);

/* Valid until the next one. */
static char *page(void)
{
	buf_clear(&out);
	cr_assert_eq(metrics_write(&stand.control, &out), 0);
	buf_add(&out, "", 1);
	return out.data;
}

static bool has_line(const char *text, const char *line)
{
	char needle[256];

	snprintf(needle, sizeof(needle), "\n%s\n", line);
	return strstr(text, needle) != NULL;
}

Test(metrics, counters_are_the_sum_over_all_workers)
{
	const char *text;

	counter_add(&stand.counters[0].verdicts[REASON_ALLOW], 40);
	counter_add(&stand.counters[1].verdicts[REASON_ALLOW], 2);
	counter_add(&stand.counters[1].recv_bytes, 123);
	counter_add(&stand.counters[0].connections, 3);
	counter_add(&stand.counters[1].connections, 4);
	text = page();
	cr_assert(has_line(text, "stile_checks_total{result=\"allow\"} 42"));
	cr_assert(has_line(text, "stile_received_bytes_total 123"));
	cr_assert(has_line(text, "stile_connections 7"));
	cr_assert(has_line(text, "stile_workers 2"));
}

Test(metrics, every_reason_and_every_counter_is_there)
{
	const char *text = page();
	char line[128];

	for (unsigned i = 0; i < REASON_COUNT; i++) {
		snprintf(line, sizeof(line),
			 "stile_checks_total{result=\"%s\"} 0",
			 reason_info((uint8_t)i)->word.s);
		cr_assert(has_line(text, line), "%s", line);
	}
#define X(field, metric, help) cr_assert(has_line(text, "stile_" metric " 0"));
	COUNTERS(X)
#undef X
}

Test(metrics, the_largest_counter_is_printed_whole)
{
	counter_add(&stand.counters[0].sent_bytes, UINT64_MAX);
	cr_assert(has_line(page(), "stile_sent_bytes_total "
				   "18446744073709551615"));
}

/* Each name once with HELP and TYPE, and only samples below them. */
Test(metrics, the_page_has_the_form_of_the_format)
{
	char *text = page(), *rest = text, *line, name[64] = "";
	unsigned names = 0;

	cr_assert_eq(text[strlen(text) - 1], '\n');
	while ((line = strsep(&rest, "\n")) && *line) {
		char found[64], type[16], again[80];

		if (sscanf(line, "# HELP %63s", found) == 1) {
			strcpy(name, found);
			snprintf(again, sizeof(again), "# HELP %s ", name);
			cr_assert_null(rest ? strstr(rest, again) : NULL, "%s",
				       name);
			names++;
		} else if (sscanf(line, "# TYPE %63s %15s", found, type) == 2) {
			cr_assert_str_eq(found, name);
			cr_assert_eq(strcmp(type, "counter") == 0,
				     strstr(name, "_total") != NULL, "%s",
				     name);
		} else {
			cr_assert_eq(strncmp(line, name, strlen(name)), 0, "%s",
				     line);
		}
	}
	cr_assert_gt(names, 30);
}

Test(metrics, no_label_names_anybody)
{
	const char *id, *text;

	call("POST", "/v1/orgs", "{\"name\":\"acme\"}");
	id = keep("id");
	call("POST", "/v1/orgs/acme/keys", NULL);
	text = page();
	cr_assert_null(strstr(text, "acme"));
	cr_assert_null(strstr(text, id));
	cr_assert(has_line(text, "stile_orgs 1"));
	cr_assert(has_line(text, "stile_keys 1"));
	cr_assert(has_line(text, "stile_orgs_capacity 1048575"));
}

Test(metrics, snapshots_are_told_once_there_is_one)
{
	cr_assert_null(strstr(page(), "stile_snapshot_bytes"));
	cr_assert(has_line(page(), "stile_snapshot_failed 0"));
	stand.last.taken = true;
	stand.last.info.bytes = 77;
	stand.last.info.duration_ms = 1005;
	strcpy(stand.last.error, "disk full");
	cr_assert(has_line(page(), "stile_snapshot_bytes 77"));
	cr_assert(has_line(page(), "stile_snapshot_duration_seconds 1.005"));
	cr_assert(has_line(page(), "stile_snapshot_failed 1"));
	/* A clock that was set back makes no negative age. */
	stand.last.info.wall_ms = INT64_MAX / 2;
	cr_assert(has_line(page(), "stile_snapshot_age_seconds 0.000"));
}

Test(metrics, step_of_the_clock_is_told_with_its_sign)
{
	cr_assert(has_line(page(), "stile_clock_step_seconds 0.000"));
	stand.civil.step_ns = INT64_C(3600001) * 1000000;
	cr_assert(has_line(page(), "stile_clock_step_seconds 3600.001"));
	stand.civil.step_ns = INT64_C(-2500) * 1000000;
	cr_assert(has_line(page(), "stile_clock_step_seconds -2.500"));
}

Test(metrics, readiness_is_a_number)
{
	cr_assert(has_line(page(), "stile_ready 1"));
	stand.not_ready = "draining";
	cr_assert(has_line(page(), "stile_ready 0"));
}

Test(metrics, a_page_that_does_not_fit_is_an_error)
{
	buf_deinit(&out);
	buf_init(&out, 100);
	cr_assert_lt(metrics_write(&stand.control, &out), 0);
}
