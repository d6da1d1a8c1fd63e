/* SPDX-License-Identifier: MIT */
/* Organizations, projects and keys as records. */
#include "state/snapshot_internal.h"

#include "base/check.h"
#include "gate/claim.h"
#include "gate/step.h"

#include <string.h>

bool snap_slot_used(const half_t *state)
{
	/* PAIRS: set_state() in state/registry_slots.c, release. Publishes the
	 * id beside it. */
	return atomic_load_explicit(state, memory_order_acquire) != SLOT_FREE;
}

void snap_stage_admissions(struct snap_writer *w, size_t count,
			   uint64_t taken_ticks)
{
	for (size_t i = 0; i < count; i++) {
		const struct admission *in = &w->admissions[i];
		uint64_t age =
			in->stamp < taken_ticks ? taken_ticks - in->stamp : 0;

		if (age > SNAP_AGE_MAX)
			age = SNAP_AGE_MAX;
		put_le64(snap_stage(w, SNAP_ADMISSION_BYTES),
			 age << SNAP_UNITS_BITS | in->units);
	}
}

/* ---- organizations ---- */

/* What an organization counts in, at one instant. */
struct org_view {
	struct instant now;
	unsigned meters, pools;
	struct view views[PLAN_METERS_MAX];
	struct {
		uint32_t id;
		uint64_t used, returned, withdrawn;
	} at[CREDIT_POOLS_MAX];
};

static void read_meters(struct org_view *v, struct arena *a, struct org *org,
			const struct plan *plan)
{
	v->meters = 0;
	for (uint32_t i = 0; i < plan->rules_count; i++) {
		const struct rule *r = &plan->rules[i];

		/* Leases are saved with their holds. */
		if (r->level != LEVEL_ORG || r->algorithm == RULE_CONCURRENCY ||
		    v->meters == PLAN_METERS_MAX)
			continue;
		view_read(&v->views[v->meters++], a, r,
			  org_meter(a, org, r->meter), NULL, 0, &v->now);
	}
}

static void read_pools(struct org_view *v, struct arena *a, struct org *org)
{
	const struct credits *c = block_at(a, claim_load(&org->credits));

	/* Torn when the version has gone by, as in gate/step.c. */
	v->pools = c != NULL && c->count <= CREDIT_POOLS_MAX ? c->count : 0;
	for (unsigned i = 0; i < v->pools; i++) {
		const struct pool *p = &c->pools[i];

		v->at[i].id = p->id;
		v->at[i].used = claim_load(&p->used);
		v->at[i].returned = claim_load(&p->returned);
		v->at[i].withdrawn = claim_load(&p->withdrawn);
	}
}

/* False: it has no rules yet. */
static bool read_org(struct org_view *v, struct arena *a, struct org *org)
{
	uint64_t version;

	do {
		struct instant now = instant_now();
		const struct plan *plan;

		version = claim_settle(a, &org->gate, NULL);
		v->now = step_instant(&now, version);
		plan = block_at(a, claim_load(&org->plan));
		if (plan == NULL)
			return false;
		read_meters(v, a, org, plan);
		read_pools(v, a, org);
	} while (!claim_unchanged(&org->gate, version));
	return true;
}

/* The workers go on while the entries of a window are copied: see
 * view_admissions(). */
static void stage_meter(struct snap_writer *w, const struct view *v,
			const struct instant *now)
{
	const struct rule *r = v->rule;
	uint64_t rest_ns = 0;
	size_t count = 0;
	uint8_t *p;

	check(r != NULL);
	if (r->algorithm == RULE_WINDOW)
		count = view_admissions(v, w->admissions, SNAP_ADMISSIONS_MAX);
	else if (v->level > now->ns)
		rest_ns = v->level - now->ns;
	if (count == 0 && rest_ns == 0)
		return;
	p = snap_stage_record(w, SNAP_METER, (uint32_t)count, SNAP_METER_BYTES);
	memcpy(p + SNAP_METER_AT_NAME, r->name, RULE_NAME_LEN);
	put_le32(p + SNAP_METER_AT_ALGORITHM, r->algorithm);
	put_le64(p + SNAP_METER_AT_REST_NS, snap_rest_ns(rest_ns));
	snap_stage_admissions(w, count, now->ticks);
}

static void stage_org(struct snap_writer *w, struct org *org, uint32_t slot)
{
	struct org_view v = {.meters = 0};
	uint8_t *p;

	if (!read_org(&v, w->arena, org))
		return;
	p = snap_stage_record(w, SNAP_ORG, slot, SNAP_ORG_BYTES);
	memcpy(p + SNAP_ORG_AT_ID, org->id.c, ID_LEN);
	put_le64(p + SNAP_ORG_AT_TAKEN, v.now.ns - INSTANT_BIAS_NS);
	for (unsigned i = 0; i < v.meters; i++)
		stage_meter(w, &v.views[i], &v.now);
	for (unsigned i = 0; i < v.pools; i++) {
		if ((v.at[i].used | v.at[i].returned | v.at[i].withdrawn) == 0)
			continue;
		p = snap_stage_record(w, SNAP_POOL, v.at[i].id,
				      SNAP_POOL_BYTES);
		put_le64(p + SNAP_POOL_AT_USED, v.at[i].used);
		put_le64(p + SNAP_POOL_AT_RETURNED, v.at[i].returned);
		put_le64(p + SNAP_POOL_AT_WITHDRAWN, v.at[i].withdrawn);
	}
	if (w->staged > SNAP_ORG_BYTES) {
		w->info->orgs++;
		return;
	}
	/* It rests. */
	w->staged = 0;
	w->records--;
}

void snap_save_orgs(struct snap_writer *w)
{
	struct arena *a = w->arena;
	uint32_t slots = slots_read(&a->header->org_slots);

	for (uint32_t slot = 1; slot < slots && !w->error; slot++) {
		struct org *org = &a->orgs[slot];

		snap_enter(w);
		if (snap_slot_used(&org->state))
			stage_org(w, org, slot);
		snap_leave(w);
		snap_put_stage(w);
	}
}

/* ---- projects ---- */

static void stage_project(struct snap_writer *w, struct project *project,
			  uint32_t slot)
{
	struct arena *a = w->arena;
	uint64_t words[2 * PROJECT_BUDGETS_MAX], any, version;
	word_t *gate = &a->orgs[project->org].gate;
	uint8_t *p;

	do {
		any = 0;
		version = claim_settle(a, gate, NULL);
		for (unsigned i = 0; i < PROJECT_BUDGETS_MAX; i++) {
			const struct budget *b = &project->budgets[i];

			any |= words[2 * i] = claim_load(&b->used);
			any |= words[2 * i + 1] = claim_load(&b->returned);
		}
	} while (!claim_unchanged(gate, version));
	if (any == 0)
		return;
	p = snap_stage_record(w, SNAP_PROJECT, slot, SNAP_PROJECT_BYTES);
	memcpy(p + SNAP_PROJECT_AT_ID, project->id.c, ID_LEN);
	for (unsigned i = 0; i < 2 * PROJECT_BUDGETS_MAX; i++)
		put_le64(p + SNAP_PROJECT_AT_BUDGETS + 8 * i, words[i]);
	w->info->projects++;
}

void snap_save_projects(struct snap_writer *w)
{
	struct arena *a = w->arena;
	uint32_t slots = slots_read(&a->header->project_slots);
	uint32_t orgs = slots_read(&a->header->org_slots);

	for (uint32_t slot = 1; slot < slots && !w->error; slot++) {
		struct project *project = &a->projects[slot];

		snap_enter(w);
		if (snap_slot_used(&project->state) && project->org != 0 &&
		    project->org < orgs)
			stage_project(w, project, slot);
		snap_leave(w);
		snap_put_stage(w);
	}
}

/* ---- keys ---- */

static void stage_key(struct snap_writer *w, const struct key *key,
		      uint32_t slot)
{
	/* PAIRS: the CAS of claim_apply(), the worker's store of the last use
	 * and this thread's own of what was collected. Each number stands for
	 * itself and guards nothing: relaxed. */
	uint64_t collected =
		atomic_load_explicit(&key->collected, memory_order_relaxed);
	uint64_t used = atomic_load_explicit(&key->used, memory_order_relaxed);
	uint32_t last_use =
		atomic_load_explicit(&key->last_use_min, memory_order_relaxed);
	uint8_t *p;

	if (used == 0 && last_use == 0)
		return;
	p = snap_stage_record(w, SNAP_KEY, slot, SNAP_KEY_BYTES);
	memcpy(p + SNAP_KEY_AT_ID, key->id.c, ID_LEN);
	put_le64(p + SNAP_KEY_AT_USED, used);
	put_le64(p + SNAP_KEY_AT_COLLECTED, collected);
	put_le32(p + SNAP_KEY_AT_LAST_USE, last_use);
	w->info->keys++;
}

void snap_save_keys(struct snap_writer *w)
{
	struct arena *a = w->arena;
	uint32_t slots = slots_read(&a->header->key_slots);

	for (uint32_t slot = 1; slot < slots && !w->error; slot++) {
		const struct key *key = &a->keys[slot];

		snap_enter(w);
		if (snap_slot_used(&key->state))
			stage_key(w, key, slot);
		snap_leave(w);
		snap_put_stage(w);
	}
}
