/* SPDX-License-Identifier: MIT */
#include "state/registry.h"

#include "base/check.h"
#include "base/clock.h"
#include "base/epoch.h"
#include "base/keytext.h"
#include "base/sha256.h"
#include "gate/claim.h"
#include "gate/keytable.h"
#include "gate/window.h"
#include "state/arena.h"
#include "state/rings.h"
#include "state/snapshot.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ID_TRIES 8

struct registry {
	struct records *records;
	struct arena_file *file;
	struct arena *arena;
	struct keytable *table;
	struct epoch *epoch;
	struct claim claim;
	struct rings rings;
	struct keytext_prefix prefix;
	struct registry_options options;
	char error[256];
};

static int __attribute__((format(printf, 3, 4)))
outcome(struct registry *g, int result, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(g->error, sizeof(g->error), fmt, ap);
	va_end(ap);
	return result;
}

/* The outcome of a records call, in the registry's words. */
static int from_records(struct registry *g, int r, const char *what)
{
	switch (r) {
	case 0:
		return 0;
	case RECORDS_EXISTS:
		return outcome(g, REGISTRY_EXISTS, "%s already exists", what);
	case RECORDS_ABSENT:
		return outcome(g, REGISTRY_ABSENT, "no such %s", what);
	case RECORDS_FULL:
		return outcome(g, REGISTRY_FULL,
			       "no room for another %s; raise max_%ss", what,
			       what);
	default:
		return outcome(g, r, "%s", records_error(g->records));
	}
}

const char *registry_error(const struct registry *g)
{
	return g->error;
}

struct records *registry_records(struct registry *g)
{
	return g->records;
}

/* Stores to words that nobody else reads yet, or that guard nothing.
 * PAIRS: for half words (state, expiry) key_valid() and judge() in
 * gate/decide.c, relaxed: the grace period that follows each acknowledged
 * change is what orders them. */
static void set_half(half_t *h, uint32_t value)
{
	atomic_store_explicit(h, value, memory_order_relaxed);
}

static void set_word(word_t *w, uint64_t value)
{
	atomic_store_explicit(w, value, memory_order_relaxed);
}

/* Milliseconds to whole seconds, up: a key lives at least as long as said. */
static uint32_t expiry_s(int64_t expires_ms)
{
	int64_t s = expires_ms / 1000 + (expires_ms % 1000 != 0);

	if (expires_ms <= 0)
		return 0;
	return s < UINT32_MAX ? (uint32_t)s : UINT32_MAX;
}

static uint64_t rule_of(const struct org_record *rec)
{
	return window_rule(rec->limit, rec->window_ms * CLOCK_TICKS_PER_MS);
}

/* ---- setting slots up: at start, and when something is created ---- */

/* A slot whose first use was rolled back, or whose record is gone: the
 * snapshot thread may be looking at it, so it is taken out of its sight
 * before the line changes. */
static void retire(struct registry *g, half_t *state)
{
	set_half(state, SLOT_FREE);
	epoch_wait(g->epoch);
}

/* PAIRS: the snapshot's load, acquire. Publishes the id beside it. */
static void set_state(half_t *state, enum slot_state value)
{
	atomic_store_explicit(state, value, memory_order_release);
}

static int setup_org(struct registry *g, const struct org_record *rec)
{
	struct org *org = &g->arena->orgs[rec->slot];
	uint64_t ring;
	int r;

	r = arena_reserve(g->file, REGION_ORGS,
			  ((uint64_t)rec->slot + 1) * sizeof(*org));
	if (r < 0)
		return r;
	r = rings_take(&g->rings, window_ring_log2(rec->limit), &ring);
	if (r < 0)
		return r;
	if (!id_is_none(org->id))
		retire(g, &org->state);
	/* The gate keeps growing: a slot that served another organization must
	 * not repeat its versions. */
	set_word(&org->head, 0);
	set_word(&org->tail, 0);
	set_word(&org->used, 0);
	set_word(&org->rule, rule_of(rec));
	set_word(&org->ring, ring);
	set_word(&org->ring_prev, 0);
	set_word(&org->ring_switch, 0);
	org->id = rec->id;
	set_state(&org->state, rec->suspended ? SLOT_SUSPENDED : SLOT_ACTIVE);
	slots_raise(&g->arena->header->org_slots, rec->slot);
	return 0;
}

static int setup_project(struct registry *g, const struct project_record *rec)
{
	struct project *p = &g->arena->projects[rec->slot];
	int r = arena_reserve(g->file, REGION_PROJECTS,
			      ((uint64_t)rec->slot + 1) * sizeof(*p));

	if (r < 0)
		return r;
	p->id = rec->id;
	p->org = rec->org;
	set_half(&p->state, SLOT_ACTIVE);
	slots_raise(&g->arena->header->project_slots, rec->slot);
	return 0;
}

/* Fills the key's line; the caller publishes it in the key table. Counters of
 * the same key are kept. */
static int setup_key(struct registry *g, const struct key_record *rec)
{
	struct key *key = &g->arena->keys[rec->slot];
	int r = arena_reserve(g->file, REGION_KEYS,
			      ((uint64_t)rec->slot + 1) * sizeof(*key));

	if (r < 0)
		return r;
	if (!id_equal(key->id, rec->id)) {
		if (!id_is_none(key->id))
			retire(g, &key->state);
		set_word(&key->used, 0);
		set_half(&key->last_use_min, 0);
	}
	memcpy(key->hash, rec->hash + KEY_HASH_SKIP, sizeof(key->hash));
	key->id = rec->id;
	key->org = rec->org;
	key->project = rec->project;
	set_half(&key->expires_s, expiry_s(rec->expires_ms));
	set_state(&key->state,
		  rec->revoked_ms != 0 ? SLOT_REVOKED : SLOT_ACTIVE);
	slots_raise(&g->arena->header->key_slots, rec->slot);
	return 0;
}

/* ---- start ---- */

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

static int apply_limit(struct registry *g, const struct org_record *rec);

/* Slots that the arena carries over but no record names any more (an older
 * database was put back): free, up to `end`. */
static void free_orgs(struct loading *l, uint32_t end)
{
	for (; l->next < end && l->next < l->had; l->next++) {
		struct org *org = &l->g->arena->orgs[l->next];

		org->id = (struct id){{0}};
		set_half(&org->state, SLOT_FREE);
		set_word(&org->ring, 0);
	}
}

static void free_keys(struct loading *l, uint32_t end)
{
	for (; l->next < end && l->next < l->had; l->next++) {
		struct key *key = &l->g->arena->keys[l->next];

		key->id = (struct id){{0}};
		set_half(&key->state, SLOT_FREE);
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
		return setup_org(g, rec);
	r = arena_reserve(g->file, REGION_ORGS,
			  ((uint64_t)rec->slot + 1) * sizeof(*org));
	if (r < 0)
		return r;
	set_half(&org->state, rec->suspended ? SLOT_SUSPENDED : SLOT_ACTIVE);
	return apply_limit(g, rec);
}

static int load_project(const struct project_record *rec, void *arg)
{
	struct loading *l = arg;

	l->report->projects++;
	return setup_project(l->g, rec);
}

static int load_key(const struct key_record *rec, void *arg)
{
	struct loading *l = arg;
	struct registry *g = l->g;
	int r;

	free_keys(l, rec->slot);
	l->next = rec->slot + 1;
	l->report->keys++;
	r = setup_key(g, rec);
	if (r < 0 || rec->revoked_ms != 0)
		return r;
	return keytable_insert(g->table, rec->hash, rec->slot);
}

static int load(struct registry *g, bool fresh, struct registry_report *report,
		char *err, size_t err_len)
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

static void restore(struct registry *g, const char *state_dir,
		    struct registry_report *report)
{
	struct snapshot_info info = {0};
	int r = snapshot_read(g->arena, state_dir, &info, report->warning,
			      sizeof(report->warning));

	report->restored = r == 0;
	if (g->options.strict && (r != 0 || !info.clean))
		fill_windows(g);
}

int registry_open(struct registry **ret_registry, struct records *records,
		  struct arena_file *arena, bool fresh, struct keytable *table,
		  struct epoch *epoch, const char *state_dir,
		  const struct registry_options *options,
		  struct registry_report *ret_report, char *err, size_t err_len)
{
	struct registry *g = calloc(1, sizeof(*g));
	struct records_counts counts;
	int r;

	if (g == NULL)
		return -ENOMEM;
	g->records = records;
	g->file = arena;
	g->arena = &arena->arena;
	g->table = table;
	g->epoch = epoch;
	g->options = *options;
	check(keytext_prefix_init(&g->prefix, options->key_prefix));
	claim_init(&g->claim, g->arena, OWNER_CONTROL, NULL);
	rings_init(&g->rings, arena, options->ring_bytes);
	memset(ret_report, 0, sizeof(*ret_report));

	r = records_count(records, &counts);
	if (r < 0) {
		snprintf(err, err_len, "%s", records_error(records));
		goto out_free;
	}
	r = keytable_init(table, counts.keys, epoch);
	if (r < 0) {
		snprintf(err, err_len, "no memory for the key table");
		goto out_free;
	}
	r = load(g, fresh, ret_report, err, err_len);
	if (r < 0)
		goto out_table;
	if (fresh)
		restore(g, state_dir, ret_report);
	*ret_registry = g;
	return 0;
out_table:
	keytable_deinit(table);
out_free:
	rings_deinit(&g->rings);
	free(g);
	return r;
}

struct registry *registry_close(struct registry *g)
{
	keytable_deinit(g->table);
	rings_deinit(&g->rings);
	free(g);
	return NULL;
}

/* ---- organizations ---- */

static int check_limit(struct registry *g, uint32_t limit, uint64_t window_ms)
{
	if (limit < 1 || limit > LIMIT_MAX)
		return outcome(g, REGISTRY_INVALID,
			       "a limit is 1 to %u units, not %u", LIMIT_MAX,
			       limit);
	if (window_ms < WINDOW_MS_MIN || window_ms > WINDOW_MS_MAX)
		return outcome(g, REGISTRY_INVALID,
			       "a window is 1 ms to 31 days");
	return 0;
}

int registry_org_create(struct registry *g, struct org_record *rec)
{
	int r, tries = ID_TRIES;

	if (rec->limit == 0 && rec->window_ms == 0) {
		rec->limit = g->options.default_limit;
		rec->window_ms = g->options.default_window_ms;
	}
	r = check_limit(g, rec->limit, rec->window_ms);
	if (r != 0)
		return r;
	rec->suspended = false;
	rec->created_ms = (int64_t)clock_wall_ms();

	r = records_begin(g->records);
	if (r < 0)
		return from_records(g, r, "org");
	do {
		if (!keytext_random_id(&rec->id)) {
			r = outcome(g, -EIO, "no random numbers");
			goto out_rollback;
		}
		r = records_org_insert(g->records, rec, g->options.max_orgs);
	} while (r == RECORDS_EXISTS && --tries > 0);
	r = from_records(g, r, "org");
	if (r != 0)
		goto out_rollback;
	/* Take the room before the change is durable: a full arena is then an
	 * answer, not an organization without a window. No key names the
	 * slot yet, so no check reads it. */
	r = setup_org(g, rec);
	if (r < 0) {
		r = outcome(g, REGISTRY_FULL,
			    "no room for another window: raise ring_bytes or "
			    "the size of the arena's tmpfs");
		goto out_rollback;
	}
	r = from_records(g, records_commit(g->records), "org");
	if (r == 0)
		return 0;
	rings_give(&g->rings, claim_load(&g->arena->orgs[rec->slot].ring));
	set_word(&g->arena->orgs[rec->slot].ring, 0);
	set_half(&g->arena->orgs[rec->slot].state, SLOT_FREE);
	return r;
out_rollback:
	records_rollback(g->records);
	return r;
}

/* The arena follows the record: a larger ring first when it needs one. */
static int apply_limit(struct registry *g, const struct org_record *rec)
{
	struct org *org = &g->arena->orgs[rec->slot];
	unsigned log2 = window_ring_log2(rec->limit);
	uint64_t old = claim_load(&org->ring), ring;
	int r;

	if (!window_ring_drained(org)) {
		uint64_t prev = claim_load(&org->ring_prev);

		window_drain_ring(&g->claim, org);
		epoch_wait(g->epoch);
		rings_give(&g->rings, prev);
	}
	if (RING_LOG2(old) < log2) {
		r = rings_take(&g->rings, log2, &ring);
		if (r < 0)
			return r;
		window_swap_ring(&g->claim, org, ring);
		epoch_wait(g->epoch);
		window_drain_ring(&g->claim, org);
		epoch_wait(g->epoch);
		rings_give(&g->rings, old);
	}
	window_change_rule(&g->claim, org, rule_of(rec));
	epoch_wait(g->epoch);
	return 0;
}

int registry_org_set_limit(struct registry *g, uint32_t slot, uint32_t limit,
			   uint64_t window_ms)
{
	struct org_record before, rec;
	int r = check_limit(g, limit, window_ms);

	if (r != 0)
		return r;
	r = from_records(g, records_org_get(g->records, slot, &before), "org");
	if (r != 0)
		return r;
	rec = before;
	rec.limit = limit;
	rec.window_ms = window_ms;
	r = from_records(
		g, records_org_set_limit(g->records, slot, limit, window_ms),
		"org");
	if (r != 0)
		return r;
	if (apply_limit(g, &rec) == 0)
		return 0;
	/* No room for the larger ring: the record goes back to what is in
	 * force. If that fails too the next start will try again. */
	(void)records_org_set_limit(g->records, slot, before.limit,
				    before.window_ms);
	return outcome(g, REGISTRY_FULL,
		       "no room for a window of %u units: raise ring_bytes or "
		       "the size of the arena's tmpfs",
		       limit);
}

int registry_org_set_suspended(struct registry *g, uint32_t slot,
			       bool suspended)
{
	int r = from_records(
		g, records_org_set_suspended(g->records, slot, suspended),
		"org");

	if (r != 0)
		return r;
	set_half(&g->arena->orgs[slot].state,
		 suspended ? SLOT_SUSPENDED : SLOT_ACTIVE);
	epoch_wait(g->epoch);
	return 0;
}

void registry_org_live(struct registry *g, uint32_t slot,
		       struct org_live *ret_live)
{
	struct org *org = &g->arena->orgs[slot];
	struct window_answer w;

	window_peek(g->arena, org, 0, clock_ticks(), NULL, &w);
	ret_live->in_window = w.in_window;
	ret_live->used = claim_load(&org->used);
}

/* ---- projects ---- */

int registry_project_create(struct registry *g, struct project_record *rec)
{
	int r, tries = ID_TRIES;

	rec->created_ms = (int64_t)clock_wall_ms();
	r = records_begin(g->records);
	if (r < 0)
		return from_records(g, r, "project");
	do {
		if (!keytext_random_id(&rec->id)) {
			r = outcome(g, -EIO, "no random numbers");
			goto out_rollback;
		}
		r = records_project_insert(g->records, rec,
					   g->options.max_projects);
	} while (r == RECORDS_EXISTS && --tries > 0);
	r = from_records(g, r, "project");
	if (r != 0)
		goto out_rollback;
	if (setup_project(g, rec) < 0) {
		r = outcome(g, REGISTRY_FULL,
			    "the arena's tmpfs is full: enlarge it");
		goto out_rollback;
	}
	return from_records(g, records_commit(g->records), "project");
out_rollback:
	records_rollback(g->records);
	return r;
}

/* ---- keys ---- */

/* Inside a transaction: a row, a line in the arena. Not yet published. */
static int insert_key(struct registry *g, struct key_record *rec)
{
	int r = from_records(
		g, records_key_insert(g->records, rec, g->options.max_keys),
		"key");

	if (r != 0)
		return r;
	if (setup_key(g, rec) < 0)
		return outcome(g, REGISTRY_FULL,
			       "the arena's tmpfs is full: enlarge it");
	return 0;
}

static int publish_key(struct registry *g, const struct key_record *rec)
{
	int r = keytable_insert(g->table, rec->hash, rec->slot);

	if (r < 0)
		return outcome(g, r,
			       "the key is recorded but cannot be "
			       "served: no memory for the key table; "
			       "restart with more memory");
	return 0;
}

static int make_key(struct registry *g, struct key_record *rec,
		    char text[static KEY_TEXT_MAX])
{
	int r, tries = ID_TRIES;

	rec->created_ms = (int64_t)clock_wall_ms();
	rec->revoked_ms = 0;
	do {
		if (!keytext_random_id(&rec->id) ||
		    !keytext_make(&g->prefix, rec->id, text, KEY_TEXT_MAX))
			return outcome(g, -EIO, "no random numbers");
		sha256(text, strlen(text), rec->hash);
		r = insert_key(g, rec);
	} while (r == REGISTRY_EXISTS && --tries > 0);
	return r;
}

static int check_expiry(struct registry *g, const struct key_record *rec)
{
	if (rec->expires_ms != 0 && rec->expires_ms <= (int64_t)clock_wall_ms())
		return outcome(g, REGISTRY_INVALID,
			       "the expiry lies in the past");
	if (rec->expires_ms / 1000 >= UINT32_MAX)
		return outcome(g, REGISTRY_INVALID,
			       "the expiry lies beyond the year 2106");
	return 0;
}

int registry_key_create(struct registry *g, struct key_record *rec,
			char text[static KEY_TEXT_MAX])
{
	int r = check_expiry(g, rec);

	if (r != 0)
		return r;
	r = records_begin(g->records);
	if (r < 0)
		return from_records(g, r, "key");
	r = make_key(g, rec, text);
	if (r != 0) {
		records_rollback(g->records);
		goto out_wipe;
	}
	r = from_records(g, records_commit(g->records), "key");
	if (r == 0)
		r = publish_key(g, rec);
	if (r == 0)
		return 0;
out_wipe:
	OPENSSL_cleanse(text, KEY_TEXT_MAX);
	return r;
}

int registry_key_import(struct registry *g, struct key_record *recs,
			size_t count, size_t *ret_bad)
{
	size_t i;
	int r = records_begin(g->records);

	*ret_bad = 0;
	if (r < 0)
		return from_records(g, r, "key");
	for (i = 0; i < count; i++) {
		*ret_bad = i;
		r = check_expiry(g, &recs[i]);
		if (r != 0)
			goto out_rollback;
		recs[i].created_ms = (int64_t)clock_wall_ms();
		recs[i].revoked_ms = 0;
		if (!keytext_random_id(&recs[i].id)) {
			r = outcome(g, -EIO, "no random numbers");
			goto out_rollback;
		}
		r = insert_key(g, &recs[i]);
		if (r != 0)
			goto out_rollback;
	}
	r = from_records(g, records_commit(g->records), "key");
	for (i = 0; r == 0 && i < count; i++) {
		*ret_bad = i;
		r = publish_key(g, &recs[i]);
	}
	return r;
out_rollback:
	records_rollback(g->records);
	return r;
}

int registry_key_revoke(struct registry *g, const char *id,
			struct key_record *ret_rec)
{
	int r = from_records(g, records_key_find(g->records, id, ret_rec),
			     "key");

	if (r != 0)
		return r;
	if (ret_rec->revoked_ms == 0) {
		ret_rec->revoked_ms = (int64_t)clock_wall_ms();
		r = from_records(g,
				 records_key_revoke(g->records, ret_rec->slot,
						    ret_rec->revoked_ms),
				 "key");
		if (r != 0)
			return r;
	}
	set_half(&g->arena->keys[ret_rec->slot].state, SLOT_REVOKED);
	keytable_remove(g->table, ret_rec->hash, ret_rec->slot);
	epoch_wait(g->epoch);
	return 0;
}

int registry_key_rotate(struct registry *g, const char *id, uint64_t grace_ms,
			struct key_record *ret_old, struct key_record *ret_new,
			char text[static KEY_TEXT_MAX])
{
	int64_t now = (int64_t)clock_wall_ms();
	int r = from_records(g, records_key_find(g->records, id, ret_old),
			     "key");

	if (r != 0)
		return r;
	if (ret_old->revoked_ms != 0 ||
	    (ret_old->expires_ms != 0 && ret_old->expires_ms <= now))
		return outcome(g, REGISTRY_REVOKED,
			       "the key is revoked or expired; create a new "
			       "one");
	*ret_new = *ret_old;
	r = records_begin(g->records);
	if (r < 0)
		return from_records(g, r, "key");
	r = make_key(g, ret_new, text);
	if (r != 0)
		goto out_rollback;
	if (grace_ms == 0) {
		ret_old->revoked_ms = now;
		r = records_key_revoke(g->records, ret_old->slot, now);
	} else if (ret_old->expires_ms == 0 ||
		   ret_old->expires_ms - now > (int64_t)grace_ms) {
		ret_old->expires_ms = now + (int64_t)grace_ms;
		r = records_key_set_expiry(g->records, ret_old->slot,
					   ret_old->expires_ms);
	}
	r = from_records(g, r, "key");
	if (r != 0)
		goto out_rollback;
	r = from_records(g, records_commit(g->records), "key");
	if (r == 0)
		r = publish_key(g, ret_new);
	if (r != 0)
		goto out_wipe;
	set_half(&g->arena->keys[ret_old->slot].expires_s,
		 expiry_s(ret_old->expires_ms));
	if (ret_old->revoked_ms != 0) {
		set_half(&g->arena->keys[ret_old->slot].state, SLOT_REVOKED);
		keytable_remove(g->table, ret_old->hash, ret_old->slot);
	}
	epoch_wait(g->epoch);
	return 0;
out_rollback:
	records_rollback(g->records);
out_wipe:
	OPENSSL_cleanse(text, KEY_TEXT_MAX);
	return r;
}

void registry_key_live(struct registry *g, uint32_t slot,
		       struct key_live *ret_live)
{
	struct key *key = &g->arena->keys[slot];

	ret_live->used = claim_load(&key->used);
	/* PAIRS: touch() in gate/decide.c, relaxed: a coarse time. */
	ret_live->last_use_min =
		atomic_load_explicit(&key->last_use_min, memory_order_relaxed);
}
