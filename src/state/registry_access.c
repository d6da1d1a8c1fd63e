/* SPDX-License-Identifier: MIT */
/* What keys may be used for, projects and their budgets. */
#include "state/registry_internal.h"

#include "base/clock.h"
#include "base/epoch.h"
#include "base/keytext.h"
#include "state/access.h"

#include <errno.h>

/* ---- access of keys ---- */

int registry_access_take(struct registry *g, const struct access_record *access,
			 unsigned count, uint32_t *ret_place)
{
	char why[ACCESS_WHY_MAX];

	if (access_check(access, count, why) < 0)
		return registry_fail(g, REGISTRY_INVALID, "%s", why);
	if (apply_access_make(g, access, count, ret_place) < 0)
		return registry_fail(g, REGISTRY_FULL,
				     "no room for what the key may be used "
				     "for: raise ring_bytes or the size of the "
				     "arena's tmpfs");
	return 0;
}

static int collect(const struct access_record *rec, void *arg)
{
	struct key_access *a = arg;

	if (a->count == ACCESS_MAX)
		return -EBADMSG;
	a->at[a->count++] = *rec;
	return 0;
}

int registry_key_access(struct registry *g, const struct key_record *rec,
			struct key_access *ret_access)
{
	ret_access->count = 0;
	return registry_from_records(
		g,
		records_each_access(g->records, rec->slot, collect, ret_access),
		"key");
}

/* ---- projects ---- */

static int put_budget(struct registry *g, struct budget_record *budget)
{
	if (budget->idx >= PROJECT_BUDGETS_MAX ||
	    budget->units > (uint64_t)BUDGET_UNITS_MAX ||
	    budget->period < BUDGET_PER_DAY ||
	    budget->period > BUDGET_PER_BILLING)
		return registry_fail(g, REGISTRY_INVALID,
				     "a budget is 0..%" PRId64
				     " units, and a project has %d",
				     BUDGET_UNITS_MAX, PROJECT_BUDGETS_MAX);
	budget->created_ms = registry_now_ms(g);
	return registry_from_records(g, records_budget_put(g->records, budget),
				     "project");
}

static int insert_project(struct registry *g, struct project_record *rec)
{
	int r, tries = ID_TRIES;

	do {
		if (!keytext_random_id(&rec->id))
			return registry_fail(g, -EIO, "no random numbers");
		r = records_project_insert(g->records, rec,
					   g->options.max_projects);
	} while (r == RECORDS_EXISTS && --tries > 0);
	return registry_from_records(g, r, "project");
}

int registry_project_create_capped(struct registry *g,
				   struct project_record *rec,
				   struct budget_record *budgets,
				   unsigned count)
{
	int r = registry_begin(g, "project");

	if (r != 0)
		return r;
	rec->created_ms = registry_now_ms(g);
	r = insert_project(g, rec);
	for (unsigned i = 0; i < count && r == 0; i++) {
		budgets[i].project = rec->slot;
		r = put_budget(g, &budgets[i]);
	}
	if (r == 0 && slot_setup_project(g, rec) < 0)
		r = registry_fail(g, REGISTRY_FULL,
				  "the arena's tmpfs is full: enlarge it");
	if (r != 0) {
		records_rollback(g->records);
		return r;
	}
	r = registry_commit(g, "project");
	/* No key names it yet: nobody to wait for. */
	for (unsigned i = 0; i < count && r == 0; i++) {
		r = registry_budget_follow(g, &budgets[i]);
		apply_budget(g, rec->slot, budgets[i].idx, budgets[i].units);
	}
	return r;
}

int registry_project_create(struct registry *g, struct project_record *rec)
{
	return registry_project_create_capped(g, rec, NULL, 0);
}

struct same {
	const struct budget_record *as;
	bool found;
};

static int look_for(const struct budget_record *rec, void *arg)
{
	struct same *s = arg;

	if (rec->idx == s->as->idx && rec->period == s->as->period)
		s->found = true;
	return 0;
}

int registry_budget_set(struct registry *g, struct budget_record *budget)
{
	struct same same = {budget, false};
	int r = registry_from_records(g,
				      records_each_budget(g->records,
							  budget->project,
							  look_for, &same),
				      "budget");

	if (r == 0)
		r = registry_begin(g, "project");
	if (r != 0)
		return r;
	r = put_budget(g, budget);
	if (r != 0) {
		records_rollback(g->records);
		return r;
	}
	r = registry_commit(g, "project");
	if (r != 0)
		return r;
	/* The numbers of another kind of period mean other times: begin anew,
	 * when no check counts in it any more. */
	if (!same.found) {
		apply_budget(g, budget->project, budget->idx, BUDGET_NONE);
		epoch_wait(g->epoch);
		apply_budget_reset(g, budget->project, budget->idx);
		r = registry_budget_follow(g, budget);
	}
	apply_budget(g, budget->project, budget->idx, budget->units);
	epoch_wait(g->epoch);
	return r;
}

int registry_budget_remove(struct registry *g, uint32_t project, uint8_t idx)
{
	int r = registry_begin(g, "budget");

	if (r == 0)
		r = registry_finish(
			g, records_budget_delete(g->records, project, idx),
			"budget");
	if (r != 0)
		return r;
	periods_clear(g->periods, project, idx);
	apply_budget(g, project, idx, BUDGET_NONE);
	epoch_wait(g->epoch);
	return 0;
}

/* ---- start-up ---- */

static int load_budget(const struct budget_record *rec, void *arg)
{
	int r = registry_budget_follow(arg, rec);

	apply_budget(arg, rec->project, rec->idx, rec->units);
	return r;
}

/* Rows come key by key: what was collected belongs to one. */
struct loading {
	struct registry *g;
	struct key_access key;
};

static int load_key(struct loading *l)
{
	struct registry *g = l->g;
	uint32_t slot, place;
	half_t *word;
	uint32_t has;
	int r;

	if (l->key.count == 0)
		return 0;
	slot = l->key.at[0].key;
	word = &g->arena->keys[slot].state;
	/* PAIRS: nothing; nobody else runs yet. */
	has = atomic_load_explicit(word, memory_order_relaxed);
	if (KEY_STATE(has) == SLOT_REVOKED) {
		l->key.count = 0;
		return 0;
	}
	r = apply_access_make(g, l->key.at, l->key.count, &place);
	l->key.count = 0;
	if (r < 0)
		return r;
	apply_key_state(g, slot, (enum slot_state)KEY_STATE(has), place);
	return 0;
}

static int load_access(const struct access_record *rec, void *arg)
{
	struct loading *l = arg;
	int r = 0;

	if (l->key.count > 0 && l->key.at[0].key != rec->key)
		r = load_key(l);
	return r < 0 ? r : collect(rec, &l->key);
}

int registry_access_load(struct registry *g)
{
	struct loading l = {.g = g, .key = {.count = 0}};
	int r = records_each_budget(g->records, 0, load_budget, g);

	if (r == 0)
		r = records_each_access(g->records, 0, load_access, &l);
	return r != 0 ? r : load_key(&l);
}
