/* SPDX-License-Identifier: MIT */
/*
 * Start-up: the arena follows the records.
 *
 * Whatever a process that died had begun is in one of three states. Recorded
 * and in the arena: nothing to do. Recorded only: the arena follows. In the
 * arena only (it died before the commit, or an older database was put back):
 * the slot becomes free. Nothing in the arena is ever believed over a record.
 */
#include "state/registry_internal.h"

#include "gate/keytable.h"
#include "state/arena.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* Insertions into the key table that are prefetched together: each is a cache
 * miss, and a million of them one after the other are a quarter of a start. */
#define AHEAD 32

struct loading {
	struct registry *g;
	struct registry_report *report;
	uint32_t next;    /* slots below have been dealt with */
	uint32_t had;     /* slots that the arena carries over */
	uint32_t carried; /* organizations among them that are still recorded */
	unsigned count;   /* keys that wait for their place in the table */
	struct {
		uint8_t hash[32];
		uint32_t slot;
	} ahead[AHEAD];
};

static bool carries_on(const struct loading *l, const struct org *org,
		       const struct org_record *rec)
{
	return rec->slot < l->had &&
	       slot_holds(&org->state, org->id, rec->id) &&
	       claim_load(&org->plan) != 0;
}

/* What every decision leaves true. (A gate that is still odd after recovery
 * names a decision that nobody can complete.) */
static bool sane(const struct org *org)
{
	return (claim_load(&org->gate) & 1) == 0;
}

/* First pass: rings in use must be known before any is handed out. */
static int adopt_org(const struct org_record *rec, void *arg)
{
	struct loading *l = arg;
	struct org *org = &l->g->arena->orgs[rec->slot];
	int r;

	if (!carries_on(l, org, rec))
		return 0;
	if (!sane(org))
		return -EINVAL;
	l->carried++;
	r = share_adopt(l->g, claim_load(&org->plan));
	if (r == 0)
		r = meters_adopt(l->g, rec->slot,
				 apply_block(l->g, claim_load(&org->plan)));
	if (r == 0 && claim_load(&org->credits) != 0)
		r = rings_adopt(&l->g->rings, claim_load(&org->credits));
	return r;
}

/* Behind rings_settle(), which sees to it that their pages are there. */
static int judge_credits(const struct org_record *rec, void *arg)
{
	struct loading *l = arg;
	struct org *org = &l->g->arena->orgs[rec->slot];

	return !carries_on(l, org, rec) || claim_load(&org->credits) == 0 ||
			       apply_credits_sane(l->g,
						  claim_load(&org->credits))
		       ? 0
		       : -EINVAL;
}

/* Slots that the arena carries over but no record names any more (an older
 * database was put back): free, up to `end`. */
static void free_orgs(struct loading *l, uint32_t end)
{
	for (; l->next < end && l->next < l->had; l->next++) {
		struct org *org = &l->g->arena->orgs[l->next];

		org->id = (struct id){{0}};
		slot_set_half(&org->state, SLOT_FREE);
		slot_set_word(&org->plan, 0);
		slot_set_word(&org->credits, 0);
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
	struct plan_change change = {0};
	int r = 0;

	free_orgs(l, rec->slot);
	l->next = rec->slot + 1;
	l->report->orgs++;
	if (!carries_on(l, org, rec))
		r = slot_setup_org(g, rec);
	if (r == 0)
		r = plan_change_add(g, &change, rec);
	if (r != 0) {
		plan_change_abandon(g, &change);
		return r < 0 ? r
		       : r == REGISTRY_FULL
			       ? -ENOSPC
			       : -EBADMSG; /* too many: edited by a stranger */
	}
	plan_change_apply(g, &change);
	if (!rec->credits)
		apply_credits_none(g, rec->slot);
	slot_publish_org(g, rec);
	return 0;
}

static int load_project(const struct project_record *rec, void *arg)
{
	struct loading *l = arg;

	l->report->projects++;
	return slot_setup_project(l->g, rec);
}

static int insert_ahead(struct loading *l)
{
	struct keytable *table = l->g->table;
	int r = 0;

	for (unsigned i = 0; i < l->count && r == 0; i++) {
		r = keytable_insert(table, l->ahead[i].hash, l->ahead[i].slot);
		/* Hashes that are not random, of an import. Refusing to start
		 * would refuse everybody else's keys too. */
		if (r == -ENOSPC) {
			l->report->unserved++;
			r = 0;
		}
	}
	l->count = 0;
	return r;
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
	if (r < 0)
		return r;
	slot_publish_key(g, rec, 0);
	if (rec->revoked_ms != 0)
		return 0;
	memcpy(l->ahead[l->count].hash, rec->hash, sizeof(rec->hash));
	l->ahead[l->count].slot = rec->slot;
	l->count++;
	keytable_prefetch(keytable_level(g->table), rec->hash);
	return l->count < AHEAD ? 0 : insert_ahead(l);
}

/* Does the arena hold organizations, but none of ours? */
static bool foreign(const struct loading *l)
{
	struct records_counts counts;
	uint32_t slot;

	if (l->carried != 0 || records_count(l->g->records, &counts) < 0 ||
	    counts.orgs == 0)
		return false;
	for (slot = 1; slot < l->had; slot++)
		/* PAIRS: nothing; nobody else runs yet. */
		if (atomic_load_explicit(&l->g->arena->orgs[slot].state,
					 memory_order_relaxed) != SLOT_FREE)
			return true;
	return false;
}

static int discard(struct registry *g, struct registry_report *report,
		   const char *why, char *err, size_t err_len)
{
	int r;

	snprintf(report->arena_warning, sizeof(report->arena_warning),
		 "the arena %s; its counters were discarded and the snapshot "
		 "is used",
		 why);
	rings_deinit(&g->rings);
	rings_init(&g->rings, g->file, g->options.ring_bytes, true);
	r = arena_discard(g->file, err, err_len);
	if (r == 0)
		claim_init(&g->claim, g->arena, OWNER_CONTROL, NULL);
	return r;
}

/* The rings in use, before any is handed out. */
static int adopt(struct loading *l, bool *fresh, char *err, size_t err_len)
{
	struct registry *g = l->g;
	int r;

	/* Its pages are there unless somebody punched holes; then reading one
	 * takes a page, and without room that is a signal. */
	r = arena_reserve(g->file, REGION_ORGS,
			  (uint64_t)l->had * sizeof(struct org));
	if (r == 0)
		r = arena_reserve(
			g->file, REGION_KEYS,
			(uint64_t)slots_read(&g->arena->header->key_slots) *
				sizeof(struct key));
	if (r == 0)
		r = records_each_org(g->records, 0, 0, adopt_org, l);
	if (r == 0)
		r = shared_adopt(g);
	if (r == 0)
		r = rings_settle(&g->rings);
	if (r == 0)
		r = records_each_org(g->records, 0, 0, judge_credits, l);
	if (r == -EINVAL || (r == 0 && foreign(l))) {
		*fresh = true;
		return discard(g, l->report,
			       r < 0 ? "is damaged"
				     : "knows none of the organizations",
			       err, err_len);
	}
	if (r < 0)
		snprintf(err, err_len, "the arena's windows: %s", strerror(-r));
	return r;
}

static int each_record(struct loading *l, uint32_t had_keys)
{
	struct records *records = l->g->records;
	int r;

	l->next = 1;
	r = shared_make(l->g);
	if (r < 0)
		return r;
	r = records_each_org(records, 0, 0, load_org, l);
	if (r < 0)
		return r;
	free_orgs(l, l->had);
	r = records_each_project(records, 0, 0, 0, load_project, l);
	if (r < 0)
		return r;
	l->next = 1;
	l->had = had_keys;
	r = records_each_key(records, 0, 0, 0, load_key, l);
	if (r == 0)
		r = insert_ahead(l);
	if (r < 0)
		return r;
	free_keys(l, l->had);
	holds_check(l->g);
	leases_count(l->g);
	r = registry_access_load(l->g);
	return r < 0 ? r : registry_credits_load(l->g);
}

int registry_load(struct registry *g, bool *fresh,
		  struct registry_report *report, char *err, size_t err_len)
{
	struct loading l = {.g = g, .report = report};
	struct arena_header *h = g->arena->header;
	int r;

	if (!*fresh) {
		l.had = slots_read(&h->org_slots);
		r = adopt(&l, fresh, err, err_len);
		if (r < 0)
			return r;
	}
	if (*fresh)
		l.had = 0;
	r = each_record(&l, *fresh ? 0 : slots_read(&h->key_slots));
	if (r < 0)
		snprintf(err, err_len, "loading the records: %s%s%s",
			 strerror(-r),
			 r == -ENOSPC ? " (enlarge the arena's tmpfs, or raise "
					"max_orgs, max_projects, max_keys or "
					"ring_bytes to what exists)"
				      : "",
			 r == -EIO ? records_error(g->records) : "");
	/* A time zone that was there when it was recorded; what there is no
	 * room for. */
	if (r == -ENOENT || (r == -ENOSPC && g->error[0] != '\0'))
		snprintf(err, err_len, "%s", g->error);
	return r;
}
