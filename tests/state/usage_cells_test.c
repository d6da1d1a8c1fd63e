/* SPDX-License-Identifier: MIT */
#include "state/usage_cells.h"

#include "base/label.h"
#include "gate/decide.h"
#include "gate/routes.h"
#include "gate/subjects.h"
#include "state/usage_internal.h"
#include "state/usage_read.h"
#include "world.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#define NOON (INT64_C(480000) * USAGE_HOUR_MS)

static struct world w;
static struct usage *u;
static struct usage_options options;
static struct routes routes;
static struct subjects table;
static struct org_record org;
static struct key_record key;
static char text[KEY_TEXT_MAX];
static struct claim claim;

static void set_up(void)
{
	memset(&routes, 0, sizeof(routes));
	cr_assert(routes_add(&routes, "extract", 1, ""));
	cr_assert(routes_add(&routes, "render", 2, ""));
	world_init(&w);
	w.options.cells = 100;
	world_start(&w);
	cr_assert(subjects_open(&table, &w.arena.arena,
				w.arena.arena.header->cells));
	org = (struct org_record){
		.name = "acme", .limit = 20, .window_ms = 60000};
	cr_assert_eq(registry_org_create(w.registry, &org, 0), 0);
	key = world_key(&w, org.slot, text);
	gate_configure(&w.gate, &(struct gate_options){.routes = &routes});
	claim_init(&claim, &w.arena.arena, 7, NULL);
	options = (struct usage_options){.arena = &w.arena,
					 .fresh = true,
					 .state_dir = w.place.state,
					 .routes = &routes};
	cr_assert_eq(usage_open(&u, &options, NOON), 0);
	options.fresh = false;
}

static void tear_down(void)
{
	usage_close(u);
	world_die(&w);
	world_deinit(&w);
}

TestSuite(usage_cells, .init = set_up, .fini = tear_down);

/* By hand: what a check on this route counts. */
static struct cell *cell(const char *route)
{
	uint64_t owner = CELL_OWNER(
		key.slot, route == NULL ? 0 : label_hash(route, strlen(route)));
	struct cell *c = subjects_state(
		&table, subjects_take(&table, &claim, owner << 14));

	cell_own(c, owner);
	return c;
}

static void add(word_t *used, uint64_t checks, uint64_t units)
{
	atomic_store(used, used_add(atomic_load(used), units, checks));
}

static word_t *total(void)
{
	return &w.arena.arena.keys[key.slot].used;
}

static void collect(void)
{
	cr_assert_eq(usage_collect(u, NULL, NOON), 0, "%s", u->error);
}

static int64_t row(const char *route, const char *column)
{
	char sql[200];
	sqlite3_stmt *st;
	int64_t value;

	snprintf(sql, sizeof(sql),
		 "SELECT coalesce(sum(%s),0) FROM usage WHERE route='%s'",
		 column, route);
	cr_assert_eq(sqlite3_prepare_v2(u->db, sql, -1, &st, NULL), SQLITE_OK);
	cr_assert_eq(sqlite3_step(st), SQLITE_ROW);
	value = sqlite3_column_int64(st, 0);
	sqlite3_finalize(st);
	return value;
}

Test(usage_cells, rows_have_the_names_of_declared_routes)
{
	add(&cell("extract")->used, 1, 10);
	add(&cell("nobody/knows")->used, 1, 100);
	add(total(), 3, 111);
	collect();
	cr_expect_eq(row("extract", "units"), 10);
	cr_expect_eq(row("other", "units"), 100);
	cr_expect_eq(row("", "units"), 1);
	cr_expect_eq(row("", "checks"), 1);
	add(&cell("extract")->used, 1, 5);
	add(total(), 1, 5);
	collect();
	cr_expect_eq(row("extract", "units"), 15);
	cr_expect_eq(row("extract", "checks"), 2);
	cr_expect_eq(row("", "units"), 1);
}

/* The key's total is read before its cells: what a cell has beyond it is found
 * the next time. */
Test(usage_cells, cell_takes_no_more_than_the_key_has_grown_by)
{
	add(&cell("extract")->used, 3, 10);
	add(total(), 2, 6);
	collect();
	cr_expect_eq(row("extract", "units"), 6);
	cr_expect_eq(row("extract", "checks"), 2);
	cr_expect_eq(row("", "units"), 0);
	collect();
	cr_expect_eq(row("extract", "units"), 6);
	add(total(), 2, 5);
	collect();
	cr_expect_eq(row("extract", "units"), 10);
	cr_expect_eq(row("extract", "checks"), 3);
	cr_expect_eq(row("", "units"), 1);
	cr_expect_eq(row("", "checks"), 1);
}

Test(usage_cells, denials_and_what_was_given_back_need_no_use)
{
	struct cell *c = cell("render"), *none = cell(NULL);

	atomic_store(&c->denied[DENIAL_RATE], 3);
	atomic_store(&c->denied[DENIAL_CREDITS], 4);
	atomic_store(&none->returned, 7);
	cr_expect_not(usage_cell_at_rest(c, NULL));
	cr_expect_not(usage_cell_at_rest(none, NULL));
	collect();
	cr_expect_eq(row("render", "denied_rate"), 3);
	cr_expect_eq(row("render", "denied_credits"), 4);
	cr_expect_eq(row("", "returned"), 7);
	cr_expect(usage_cell_at_rest(c, NULL));
	cr_expect(usage_cell_at_rest(none, NULL));
	/* Counts wrap. */
	atomic_store(&c->denied[DENIAL_COST], UINT32_MAX);
	collect();
	atomic_store(&c->denied[DENIAL_COST], 1);
	collect();
	cr_expect_eq(row("render", "denied_cost"), INT64_C(0x100000001));
}

Test(usage_cells, death_between_commit_and_stores_counts_once)
{
	struct cell *c = cell("extract");
	uint32_t slot = 1;

	add(&c->used, 1, 10);
	add(total(), 1, 10);
	atomic_store(&c->denied[DENIAL_RATE], 2);
	atomic_store(&c->returned, 3);
	cr_assert_eq(usage_write(u, NULL, NOON, &slot), 0);
	cr_assert_eq(usage_commit(u), 0);
	usage_close(u);
	cr_assert_eq(usage_open(&u, &options, NOON), 0);
	cr_expect(usage_cell_at_rest(c, NULL));
	collect();
	cr_expect_eq(row("extract", "units"), 10);
	cr_expect_eq(row("extract", "denied_rate"), 2);
	cr_expect_eq(row("extract", "returned"), 3);
	cr_expect_eq(row("", "units"), 0);
}

Test(usage_cells, marks_of_another_owner_are_not_put_back)
{
	struct cell *c = cell("extract");
	uint32_t slot = 1;

	add(&c->used, 1, 10);
	add(total(), 1, 10);
	cr_assert_eq(usage_write(u, NULL, NOON, &slot), 0);
	cr_assert_eq(usage_commit(u), 0);
	usage_close(u);
	cell_own(c, CELL_OWNER(key.slot, label_hash("render", 6)));
	cr_assert_eq(usage_open(&u, &options, NOON), 0);
	cr_expect_eq(c->collected_used, 0);
}

/* ---- with the gate ---- */

static uint8_t ask(const char *route, uint32_t cost)
{
	struct check_extra extra = {
		.route_hash = route ? label_hash(route, strlen(route)) : 0};
	struct check c = {.key = (const uint8_t *)text,
			  .key_len = (uint8_t)strlen(text),
			  .credential = CREDENTIAL_KEY,
			  .cost = cost,
			  .extra = &extra};
	struct verdict v;
	struct instant now = instant_now();

	gate_decide(&w.gate, &c, &v, 1, &now, clock_wall_ms());
	return v.reason;
}

static struct {
	char group[16];
	uint64_t units, denied;
} found[8];
static unsigned found_count;

static void note(const struct usage_row *r, void *arg)
{
	(void)arg;
	cr_assert_lt(found_count, 8);
	snprintf(found[found_count].group, sizeof(found[0].group), "%s",
		 r->group);
	found[found_count].units = r->units;
	found[found_count++].denied = r->denied[DENIAL_RATE];
}

static void report(void)
{
	struct usage_query q = {.org = org.slot,
				.org_id = org.id,
				.by = USAGE_BY_ROUTE,
				.to_ms = INT64_MAX / 2,
				.max = 8,
				.now_ms = NOON};
	char err[USAGE_ERROR_MAX];
	bool more;

	found_count = 0;
	cr_assert_eq(usage_read(u, w.records, &q, note, NULL, &more, err,
				sizeof(err)),
		     0, "%s", err);
}

static void expect_report(void)
{
	report();
	cr_assert_eq(found_count, 4);
	cr_expect_str_eq(found[0].group, "");
	cr_expect_eq(found[0].units, 1);
	cr_expect_str_eq(found[1].group, "extract");
	cr_expect_eq(found[1].units, 3);
	cr_expect_eq(found[1].denied, 1);
	cr_expect_str_eq(found[2].group, "other");
	cr_expect_eq(found[2].units, 9);
	cr_expect_str_eq(found[3].group, "render");
	cr_expect_eq(found[3].units, 2);
}

Test(usage_cells, checks_are_in_the_rows_of_their_routes)
{
	cr_assert_eq(ask(NULL, 1), REASON_ALLOW);
	cr_assert_eq(ask("extract", 3), REASON_ALLOW);
	cr_assert_eq(ask("one", 4), REASON_ALLOW);
	cr_assert_eq(ask("two", 5), REASON_ALLOW);
	cr_assert_eq(ask("render", 0), REASON_ALLOW); /* its price: 2 */
	cr_assert_eq(ask("extract", 6), REASON_RATE_LIMITED);
	/* Pending, then in rows. */
	expect_report();
	collect();
	expect_report();
	cr_expect_eq(row("extract", "checks"), 1);
	cr_expect_eq(row("other", "checks"), 2);
	cr_expect_eq(row("", "checks"), 1);
}

/* Pending or in rows: nothing is a route that nobody asked for. */
Test(usage_cells, what_is_all_on_routes_makes_no_row_of_none)
{
	cr_assert_eq(ask("extract", 3), REASON_ALLOW);
	report();
	cr_assert_eq(found_count, 1);
	cr_expect_str_eq(found[0].group, "extract");
	collect();
	report();
	cr_assert_eq(found_count, 1);
	cr_expect_str_eq(found[0].group, "extract");
}

/* Another order of routes after a restart: a cell stays whose it was. */
Test(usage_cells, cells_do_not_depend_on_the_order_of_routes)
{
	cr_assert_eq(ask("extract", 3), REASON_ALLOW);
	memset(&routes, 0, sizeof(routes));
	cr_assert(routes_add(&routes, "render", 1, ""));
	cr_assert(routes_add(&routes, "extract", 1, ""));
	cr_assert_eq(ask("render", 2), REASON_ALLOW);
	cr_assert_eq(ask("extract", 3), REASON_ALLOW);
	collect();
	cr_expect_eq(row("extract", "units"), 6);
	cr_expect_eq(row("render", "units"), 2);
}
