/* SPDX-License-Identifier: MIT */
/* Start-up: the arena follows the records, then the snapshot. */
#include "state/registry_internal.h"

#include "base/clock.h"
#include "gate/keytable.h"
#include "gate/window.h"
#include "state/arena.h"
#include "state/snapshot.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

struct loading {
	struct registry *g;
	struct registry_report *report;
	uint32_t next; /* slots below have been dealt with */
	uint32_t had;  /* slots that the arena carries over */
};

static bool carries_on(const struct loading *l, const struct org *org,
		       const struct org_record *rec)
{
	return rec->slot < l->had && id_equal(org->id, rec->id) &&
	       claim_load(&org->ring) != 0;
}

/* First pass: rings in use must be known before any is handed out. */
static int adopt_org(const struct org_record *rec, void *arg)
{
	struct loading *l = arg;
	struct org *org = &l->g->arena->orgs[rec->slot];
	int r;

	if (!carries_on(l, org, rec))
		return 0;
	r = rings_adopt(&l->g->rings, claim_load(&org->ring));
	if (r == 0 && !window_ring_drained(org))
		r = rings_adopt(&l->g->rings, claim_load(&org->ring_prev));
	return r;
}

/* Slots that the arena carries over but no record names any more (an older
 * database was put back): free, up to `end`. */
static void free_orgs(struct loading *l, uint32_t end)
{
	for (; l->next < end && l->next < l->had; l->next++) {
		struct org *org = &l->g->arena->orgs[l->next];

		org->id = (struct id){{0}};
		slot_set_half(&org->state, SLOT_FREE);
		slot_set_word(&org->ring, 0);
	}
}

static void free_keys(struct loading *l, uint32_t end)
{
	for (; l->next < end && l->next < l->had; l->next++) {
		struct key *key = &l->g->arena->keys[l->next];

		key->id = (struct id){{0}};
		slot_set_half(&key->state, SLOT_FREE);
	}
}

static int load_org(const struct org_record *rec, void *arg)
{
	struct loading *l = arg;
	struct registry *g = l->g;
	struct org *org = &g->arena->orgs[rec->slot];
	int r;

	free_orgs(l, rec->slot);
	l->next = rec->slot + 1;
	l->report->orgs++;
	if (!carries_on(l, org, rec))
		return slot_setup_org(g, rec);
	r = arena_reserve(g->file, REGION_ORGS,
			  ((uint64_t)rec->slot + 1) * sizeof(*org));
	if (r < 0)
		return r;
	slot_set_half(&org->state,
		      rec->suspended ? SLOT_SUSPENDED : SLOT_ACTIVE);
	return registry_apply_limit(g, rec);
}

static int load_project(const struct project_record *rec, void *arg)
{
	struct loading *l = arg;

	l->report->projects++;
	return slot_setup_project(l->g, rec);
}

static int load_key(const struct key_record *rec, void *arg)
{
	struct loading *l = arg;
	struct registry *g = l->g;
	int r;

	free_keys(l, rec->slot);
	l->next = rec->slot + 1;
	l->report->keys++;
	r = slot_setup_key(g, rec);
	if (r < 0 || rec->revoked_ms != 0)
		return r;
	return keytable_insert(g->table, rec->hash, rec->slot);
}

int registry_load(struct registry *g, bool fresh,
		  struct registry_report *report, char *err, size_t err_len)
{
	struct loading l = {.g = g, .report = report};
	struct arena_header *h = g->arena->header;
	int r;

	l.had = fresh ? 0 : slots_read(&h->org_slots);

	r = records_each_org(g->records, 0, 0, adopt_org, &l);
	if (r == 0)
		r = rings_settle(&g->rings);
	if (r < 0) {
		snprintf(err, err_len, "the arena's windows: %s", strerror(-r));
		return r;
	}
	l.next = 1;
	r = records_each_org(g->records, 0, 0, load_org, &l);
	free_orgs(&l, l.had);
	l.next = 1;
	l.had = fresh ? 0 : slots_read(&h->key_slots);
	if (r == 0)
		r = records_each_project(g->records, 0, 0, 0, load_project, &l);
	if (r == 0)
		r = records_each_key(g->records, 0, 0, 0, load_key, &l);
	if (r < 0) {
		snprintf(err, err_len, "loading the records: %s%s%s",
			 strerror(-r),
			 r == -ENOSPC ? " (the arena's tmpfs is full, or a "
					"capacity is lower than what exists)"
				      : "",
			 r == -EIO ? records_error(g->records) : "");
		return r;
	}
	free_keys(&l, l.had);
	return 0;
}

/* After power loss nobody knows what was admitted since the snapshot: count
 * every window as full from the moment of boot. */
static void fill_windows(struct registry *g)
{
	uint32_t slot;

	for (slot = 1; slot < slots_read(&g->arena->header->org_slots);
	     slot++) {
		struct org *org = &g->arena->orgs[slot];
		struct admission full = {.stamp = CLOCK_BIAS};
		struct window_image image = {.used = claim_load(&org->used),
					     .count = 1};

		if (claim_load(&org->ring) == 0)
			continue;
		full.units = (uint32_t)(claim_load(&org->rule) & LIMIT_MASK);
		/* `used` must stay what it is: it is the total that was
		 * allowed. The entry only says "full before now". */
		window_restore(g->arena, slot, &image, &full);
	}
}

void registry_restore(struct registry *g, const char *state_dir,
		      struct registry_report *report)
{
	struct snapshot_info info = {0};
	int r = snapshot_read(g->arena, state_dir, &info, report->warning,
			      sizeof(report->warning));

	report->restored = r == 0;
	if (g->options.strict && (r != 0 || !info.clean))
		fill_windows(g);
}
