/* SPDX-License-Identifier: MIT */
#ifndef STILE_STATE_REGISTRY_INTERNAL_H
#define STILE_STATE_REGISTRY_INTERNAL_H

/*
 * state/registry_internal - what registry.c (open, outcomes), registry_load.c
 * (start-up), registry_slots.c (lines of the arena), registry_apply.c (blocks
 * of the arena), registry_shares.c (blocks that many use), registry_priors.c
 * (rules whose table becomes another one) and, by what they change,
 * registry_orgs.c, registry_plans.c, registry_keys.c, registry_access.c,
 * registry_credits.c and registry_trials.c share. Nobody else includes it.
 *
 * A change goes: check it, begin, write the records, take the room that it
 * needs in the arena, commit, let the arena follow, grace period, give back
 * what is no longer used. Whatever can fail comes before the commit.
 */
#include "base/counters.h"
#include "base/keytext.h"
#include "gate/claim.h"
#include "gate/layout.h"
#include "gate/subjects.h"
#include "state/effective.h"
#include "state/periods.h"
#include "state/records_credits.h"
#include "state/records_events.h"
#include "state/registry.h"
#include "state/renewals.h"
#include "state/rings.h"

#include <inttypes.h>

#define ID_TRIES 8 /* random ids before "taken" is believed */

/* The rules of a plan, as last read. */
struct plan_rules {
	unsigned count;
	struct rule_record at[];
};

/* Blocks of rules that many organizations use, found by what is in them. */
struct share {
	uint64_t hash;
	uint64_t block; /* 0: none */
	uint32_t refs;
};
struct shares {
	struct share *at;
	size_t room; /* 0, or a power of two */
	size_t count;
};

/* Where the search for entries at rest is. */
struct table_tending {
	uint32_t cursor;
	bool marked;
};

/* The table of a rule of another level than the organization. */
struct rule_table {
	uint32_t rule; /* its number in the records */
	uint8_t algorithm, level;
	uint32_t stride;
	uint32_t wanted;     /* subjects that were asked for; 0: as usual */
	uint32_t refs;       /* blocks of rules that name it ... */
	uint32_t prior_refs; /* ... as a predecessor, and ... */
	uint64_t prior_span; /* ... the longest window of those */
	uint64_t block;      /* 0: this place is free */
	struct rule sample;  /* as it was last */
	struct table_tending tending;
};

/* Where the search for predecessors that do not matter any more is. */
struct priors_tending {
	uint64_t due_ns; /* not before; 0: there are none */
	uint32_t cursor; /* organization; 0: it has not begun */
	uint32_t scans;  /* of all holds, in the step at hand */
};

struct registry {
	struct records *records;
	struct arena_file *file;
	struct arena *arena;
	struct keytable *table;
	struct epoch *epoch;
	struct claim claim;
	struct rings rings;
	struct periods *periods;
	struct renewals *renewals;
	uint64_t prune_ns; /* not before */
	bool renewing;
	/* By organization, a bit for each place in its block of credits: a
	 * trial that is not granted yet. */
	uint16_t *untried;
	uint32_t untried_cursor; /* organization */
	bool told;               /* thresholds crossed before this start */
	/* OWNER_GATE: decides checks of the admin API, ends holds. */
	struct gate *gate;
	struct counters counters;
	struct keytext_prefix prefix;
	struct registry_options options;
	struct plan_rules *plans[PLANS_MAX + 1]; /* by slot; NULL: to be read */
	struct shares shares;
	size_t adopting; /* where in shares the last one was */
	struct rule_table *tables;
	size_t tables_count, tables_room;
	struct priors_tending priors;
	struct table_tending once_tending, cells_tending;
	/* A bit for each organization that may have rules of its own. */
	uint8_t *ruled;
	struct rule_record own[RULES_OF_ONE_MAX]; /* to build with */
	struct effective effective;               /* likewise */
	struct audit_record actor; /* action "": nobody in particular */
	char error[256];
};

/* ---- registry.c ---- */

/* Sets registry_error() and returns `result`. */
int registry_fail(struct registry *g, int result, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* The outcome of a records call, in the registry's words. */
int registry_from_records(struct registry *g, int r, const char *what);

/* A batch of records; the second writes the audit trail and commits. */
int registry_begin(struct registry *g, const char *what);
int registry_commit(struct registry *g, const char *what);
/* Commits after 0 from the records, rolls back after anything else. */
int registry_finish(struct registry *g, int r, const char *what);

/* ---- registry_meters.c ---- */

/* Room in the arena that an organization's rules need and it does not have:
 * rings by meter, and a block for the meters but the first. */
struct meters_room {
	uint64_t rings[METERS_MAX];
	uint64_t more;
};
/* Gives each rule of level organization its meter: the one that a rule of the
 * same name, algorithm and route has in `had`; NULL: there was nothing. */
void meters_assign(const struct plan *had, struct effective *e);
/* -ENOSPC, -ENOMEM. */
int meters_take(struct registry *g, uint32_t org, const struct effective *e,
		struct meters_room *ret_room);
void meters_give(struct registry *g, const struct meters_room *room);
/* Before `plan` is published: its meters are ready. The rings that were
 * replaced are in *room afterwards, to be given back after a grace period. */
void meters_prepare(struct registry *g, uint32_t org, const struct plan *had,
		    const struct plan *plan, struct meters_room *room);
/* After a grace period: what only `had` used is free. */
void meters_forget(struct registry *g, uint32_t org, const struct plan *had,
		   const struct plan *plan);
/* At start: what the organization's meters use is in use. -EINVAL: damaged. */
int meters_adopt(struct registry *g, uint32_t org, const struct plan *plan);
/* An organization that was never published. */
void meters_withdraw(struct registry *g, uint32_t org, const struct plan *plan);

/* ---- registry_tables.c ---- */

/* The table of a rule, made when there is none that serves it. `old`: the rule
 * that it follows (registry_priors.c), or NULL. */
int tables_take(struct registry *g, uint32_t org, const struct rule *old,
		struct rule *r, uint32_t subjects);
/* Those that were taken for rules of which no block was made then. */
void tables_abandon(struct registry *g);
void tables_ref(struct registry *g, const struct plan *plan);
void tables_unref(struct registry *g, const struct plan *plan);
/* At start: the tables that a block of rules names. -EINVAL: damaged. */
int tables_adopt(struct registry *g, const struct plan *plan);
void tables_recover(struct registry *g, const struct plan *plan);
void tables_deinit(struct registry *g);

/* ---- registry_priors.c ---- */

/* The rule of `had` whose counting `r` goes on with, by name, level, algorithm
 * and route; NULL: none. `had` may be NULL. */
const struct rule *priors_old(const struct plan *had, const struct rule *r);
/* Has it, of this organization, as many predecessors that matter as a rule may
 * have? */
bool priors_full(struct registry *g, uint32_t org, const struct rule *old);
/* `r`, whose table is known, goes on with what `old` has counted; NULL: there
 * was nothing. */
void priors_follow(struct registry *g, uint32_t org, const struct rule *old,
		   struct rule *r);
/* A table's rule becomes another one: what it has counted may matter longer
 * than the new one says. */
void priors_shrink(struct registry *g, uint64_t table, const struct rule *from,
		   const struct rule *to);
/* What has to be published before `plan` when the organization has `had`: a
 * block, one reference to it taken; 0: nothing. -ENOSPC, -ENOMEM. */
int priors_announce(struct registry *g, const struct plan *had,
		    const struct plan *plan, uint64_t *ret_block);
/* A block of rules is there: when will it want to be looked at? */
void priors_note(struct registry *g, const struct plan *plan);
/* Once a second: rules let go of predecessors that do not matter at `ns`. */
void priors_step(struct registry *g, uint64_t ns);

/* ---- registry_leases.c ---- */

/* Do any of this organization count there? */
bool leases_any(const struct registry *g, uint32_t org, const void *at,
		uint64_t bytes);
/* Leases that count in these bytes of the arena forget it; after a grace period
 * in which no decision went by the rules that count there. */
void leases_forget(struct registry *g, const void *at, uint64_t bytes);
/* At start, to another number of holds: those that have no place end. */
void holds_move(struct hold *from, uint32_t had, struct hold *to,
		uint32_t count);
/* At start, when keys are there: holds of others end. */
void holds_check(struct registry *g);
/* At start, after both and when all have their rules: of every rule as many
 * leases are out as live holds name it. A hold that ended gave its own back so,
 * and one that names what no rule counts in (we died while a rule went) forgets
 * it. */
void leases_count(struct registry *g);

/* ---- registry_tables.c, again ---- */

/* Request ids, cells of usage, holds: at start, before and after
 * rings_settle(). */
int shared_adopt(struct registry *g);
int shared_make(struct registry *g);

/* ---- registry_checks.c ---- */

/* When all that checks share is in the arena, before the first of them. */
int checks_open(struct registry *g);
void checks_close(struct registry *g);

/* ---- registry_calendar.c ---- */

int calendar_open(struct registry *g);
void calendar_close(struct registry *g);
/* Its subscription has come, gone or been renewed. */
int calendar_subscription(struct registry *g, uint32_t org);

/* ---- registry_plans.c ---- */

/* Everything about plans that is kept in memory. -ENOMEM or of the records. */
int registry_plans_load(struct registry *g);
void registry_plans_unload(struct registry *g);

/* The organization's rules into g->effective. REGISTRY_INVALID: too many. */
int registry_effective(struct registry *g, const struct org_record *rec);
/* Organizations whose rules are about to change. */
struct plan_change {
	struct {
		uint32_t org;
		struct meters_room room;
		uint64_t between; /* published first; 0: none needed */
		uint64_t block;
	} * at;
	size_t count, room;
};
/* Takes the room for the organization's rules as the records say now. On
 * failure nothing more was taken; the caller abandons what was. */
int plan_change_add(struct registry *g, struct plan_change *c,
		    const struct org_record *rec);
/* Room for one more; -ENOMEM. */
int plan_change_room(struct plan_change *c);
/* After the commit. */
void plan_change_apply(struct registry *g, struct plan_change *c);
/* Instead. */
void plan_change_abandon(struct registry *g, struct plan_change *c);

/* ---- registry_shares.c ---- */

/* A published or publishable block with the rules, one reference to it taken.
 * -ENOSPC, -ENOMEM. */
int share_take(struct registry *g, uint32_t org, const struct effective *e,
	       uint64_t *ret_block);
/* The same of what apply_plan_image() has filled. */
int share_image(struct registry *g, const uint8_t *image, size_t len,
		uint64_t *ret_block);
/* Gives the reference back: after a grace period, or when it was never
 * published. 0 is nothing. */
void share_put(struct registry *g, uint64_t block);
/* At start: one reference to a block that the arena carries over. -EINVAL:
 * damaged. */
int share_adopt(struct registry *g, uint64_t block);
void shares_deinit(struct registry *g);

/* ---- registry_apply.c: the seam to the engine ---- */

/* The arena's place of a block. */
void *apply_block(struct registry *g, uint64_t block);
/* log2 of the words that `bytes` take. */
unsigned apply_log2(size_t bytes);

/* A new block of rules, not published. -ENOSPC, -ENOMEM. */
int apply_plan_make(struct registry *g, const uint8_t *image, size_t len,
		    uint64_t *ret_block);
bool apply_plan_sane(struct registry *g, uint64_t block);
/* A block of rules that no organization uses any more; after a grace period. */
void apply_plan_free(struct registry *g, uint64_t block);
/* The organization decides by this block from now on; what it decided by
 * before. No grace period. */
uint64_t apply_plan_publish(struct registry *g, uint32_t org, uint64_t block);
/* What is in a block, without what the engine writes into it: bytes used of
 * `out`. */
#define PLAN_BYTES_MAX                                                         \
	(sizeof(struct plan) + PLAN_RULES_MAX * sizeof(struct rule))
size_t apply_plan_image(const struct plan *plan,
			uint8_t out[static PLAN_BYTES_MAX]);
/* The block that these rules make, in the place of those that the organization
 * has, if any; line-aligned. Their tables are there afterwards. -ENOSPC,
 * -ENOMEM. */
int apply_plan_fill(struct registry *g, uint32_t org, const struct effective *e,

		    uint8_t out[static PLAN_BYTES_MAX], size_t *ret_len);

/* A block with what the key may be used for, not published; *ret_place 0 when
 * that is everything. -ENOSPC, -ENOMEM. */
int apply_access_make(struct registry *g, const struct access_record *of,
		      unsigned count, uint32_t *ret_place);
/* After a grace period, or never published. 0 is nothing. */
void apply_access_free(struct registry *g, uint32_t place);
/* State and access of a key; no grace period. Returns the place before. */
uint32_t apply_key_state(struct registry *g, uint32_t key,
			 enum slot_state state, uint32_t place);

/* Caps one of a project's budgets; BUDGET_NONE: not. No grace period. */
void apply_budget(struct registry *g, uint32_t project, uint8_t idx,
		  uint64_t cap);

/* Nothing is used, in no period: after a grace period without a cap. */
void apply_budget_reset(struct registry *g, uint32_t project, uint8_t idx);

/* A pool that was in the arena and is no more. */
struct pool_rest {
	uint32_t id;
	bool touched; /* it was drawn from, once */
	int64_t rest; /* balance when it went */
};
/* A block for so many pools, empty and not published. -ENOSPC, -ENOMEM. */
int apply_credits_make(struct registry *g, unsigned pools, uint64_t *ret_block);
/* Swaps the organization's pools for these, in the order of their consumption;
 * one that it had keeps what was counted. Then a grace period; what it had is
 * free. Returns how many went, into `rests`. */
unsigned apply_credits_swap(struct registry *g, uint32_t org, uint64_t block,
			    const struct pool_record *pools, unsigned count,
			    struct pool_rest rests[static CREDIT_POOLS_MAX]);
/* Credits are not counted (any more). With a grace period. */
void apply_credits_none(struct registry *g, uint32_t org);
/* Can these be the pools of a live block? */
bool apply_credits_sane(struct registry *g, uint64_t block);

/* ---- registry_credits.c ---- */

#define CREDITS_RANGE "credits are 0 to %" PRId64
/* In a batch: the pool and its first line in the ledger. */
int registry_pool_insert(struct registry *g, struct pool_record *rec,
			 const char *why);
/* In a batch. */
int registry_ledger_write(struct registry *g, uint32_t org, uint32_t pool,
			  int64_t change, const char *why);
/* In a batch, of an organization that counts credits from now on and that no
 * key names yet: its first credits, 0 of them: none, and its trials. */
int registry_credits_setup(struct registry *g, const struct org_record *rec,
			   uint64_t granted);
/* At start: the organizations' pools follow the records. */
int registry_credits_load(struct registry *g);

/* ---- registry_trials.c ---- */

/* In a batch: the trials that an organization (0: each) may have and never had,
 * in the order of the configuration, while there is room. Only in the records;
 * the arena's pools are the caller's. */
int registry_trials_insert(struct registry *g, uint32_t org,
			   unsigned *ret_count);
/*
 * A check draws from a trial without asking whether it was granted; that it
 * did is seen in the arena afterwards. registry_trials_watch() says what pools
 * the organization has now, whenever they change; registry_trials_step(), once
 * a second, grants those that were used: ledger, event, and the date in the
 * pool's record, which keeps it at once, in one durable step. True: there is
 * more to do at once. registry_trials_note() does the same in a batch, before a
 * change that may close them.
 */
void registry_trials_watch(struct registry *g, uint32_t org,
			   const struct pool_record *pools, unsigned count);
int registry_trials_note(struct registry *g, uint32_t org);
bool registry_trials_step(struct registry *g);
/* In a batch: a pool that is not granted yet. */
int registry_trial_grant(struct registry *g, const struct pool_record *rec);
/* At start, when what was counted is back: those of each organization. After
 * older records were put back, arena and snapshot know pools that have not been
 * made yet; a new one must not take over what was counted there. Negative
 * errno. */
int registry_trials_load(struct registry *g, char *err, size_t err_len);

/* ---- registry_periods.c ---- */

/* REGISTRY_INVALID: there is no such time zone. */
int registry_zone_check(struct registry *g, const char *zone);
/* Publishes the periods of a budget, now and whenever one ends. What was used
 * in periods of another kind is forgotten: no check counts in it then. */
int registry_budget_follow(struct registry *g, const struct budget_record *b);
/* enum period_kind; 0: not known yet. */
uint8_t registry_budget_kind(const struct project *p, int idx);
/* The organization has another time zone or anchor day: the periods of all its
 * budgets. With a grace period. */
int registry_rebill(struct registry *g, uint32_t org);

/* ---- registry_access.c ---- */

/* At start, behind projects and keys: budgets and access. */
int registry_access_load(struct registry *g);
/* Room for the access of a key; what is in it is checked. */
int registry_access_take(struct registry *g, const struct access_record *access,
			 unsigned count, uint32_t *ret_place);

/* ---- registry_load.c ---- */

/* Before workers run: the arena and the key table follow the records.
 * *fresh becomes true when the arena had to be discarded. */
int registry_load(struct registry *g, bool *fresh,
		  struct registry_report *report, char *err, size_t err_len);

/* ---- registry_restore.c ---- */

/* The counters of a fresh arena, from the snapshot. */
void registry_restore(struct registry *g, const char *state_dir,
		      struct registry_report *report);

/* Last step of a start that promises `strict`: from now on the snapshot on
 * disk says that it is not the last word of this boot. */
int registry_disown_snapshot(struct registry *g, const char *state_dir,
			     char *err, size_t err_len);

/* ---- registry_orgs.c ---- */

/* REGISTRY_INVALID: out of range. */
int registry_check_limit(struct registry *g, uint32_t limit,
			 uint64_t window_ms);

/* ---- registry_slots.c ---- */

/*
 * An organization or a key is set up while its record is not durable yet; its
 * state stays SLOT_FREE until it is published. A check that finds such a key
 * refuses it, the snapshot does not look at it, and the next start takes
 * nothing over from it. -ENOSPC, -ENOMEM. Its rules are not here:
 * plan_change_add().
 */
int slot_setup_org(struct registry *g, const struct org_record *rec);
int slot_setup_project(struct registry *g, const struct project_record *rec);
/* At start, counters of the same key are kept. */
int slot_setup_key(struct registry *g, const struct key_record *rec);

void slot_publish_org(struct registry *g, const struct org_record *rec);
/* `access` is a place of apply_access_make(). */
void slot_publish_key(struct registry *g, const struct key_record *rec,
		      uint32_t access);
/* Instead of publishing. */
void slot_withdraw_org(struct registry *g, const struct org_record *rec);

/* Does the arena hold counters of this key or organization? */
static inline bool slot_holds(const half_t *state, struct id has, struct id id)
{
	/* PAIRS: nothing. Asked by the thread that writes the state, or before
	 * there are others. */
	return atomic_load_explicit(state, memory_order_relaxed) != SLOT_FREE &&
	       id_equal(has, id);
}

/* Stores to words that nobody else reads yet, or that guard nothing.
 * PAIRS: for state and expiry key_valid() and judge() in
 * gate/decide.c, relaxed: the grace period that follows each acknowledged
 * change is what orders them. */
static inline void slot_set_half(half_t *h, uint32_t value)
{
	atomic_store_explicit(h, value, memory_order_relaxed);
}

static inline void slot_set_word(word_t *w, uint64_t value)
{
	atomic_store_explicit(w, value, memory_order_relaxed);
}

#endif
