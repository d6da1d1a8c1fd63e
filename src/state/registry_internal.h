/* SPDX-License-Identifier: MIT */
#ifndef STILE_STATE_REGISTRY_INTERNAL_H
#define STILE_STATE_REGISTRY_INTERNAL_H

/*
 * state/registry_internal - what registry.c (open, outcomes), registry_load.c
 * (start-up), registry_slots.c (lines of the arena), registry_orgs.c and
 * registry_keys.c share. Nobody else includes it.
 */
#include "base/keytext.h"
#include "gate/claim.h"
#include "gate/layout.h"
#include "state/plans.h"
#include "state/registry.h"
#include "state/rings.h"

#define ID_TRIES 8 /* random ids before "taken" is believed */

struct registry {
	struct records *records;
	struct arena_file *file;
	struct arena *arena;
	struct keytable *table;
	struct epoch *epoch;
	struct claim claim;
	struct rings rings;
	struct plans plans;
	struct keytext_prefix prefix;
	struct registry_options options;
	char error[256];
};

/* ---- registry.c ---- */

/* Sets registry_error() and returns `result`. */
int registry_fail(struct registry *g, int result, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* The outcome of a records call, in the registry's words. */
int registry_from_records(struct registry *g, int r, const char *what);

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

/* The room that a limit needs: its plan, and a ring, 0 when the one that the
 * organization has will do. -ENOSPC, -ENOMEM. */
struct limit_room {
	uint64_t plan, ring;
};
int registry_take_room(struct registry *g, const struct org_record *rec,
		       struct limit_room *ret_room);
void registry_give_room(struct registry *g, const struct limit_room *room);

/* The arena follows the record, and the room is used. */
void registry_apply_limit(struct registry *g, const struct org_record *rec,
			  const struct limit_room *room);

/* ---- registry_slots.c ---- */

/*
 * An organization or a key is set up while its record is not durable yet; its
 * state stays SLOT_FREE until it is published. A check that finds such a key
 * refuses it, the snapshot does not look at it, and the next start takes
 * nothing over from it. -ENOSPC, -ENOMEM.
 */
int slot_setup_org(struct registry *g, const struct org_record *rec);
int slot_setup_project(struct registry *g, const struct project_record *rec);
/* At start, counters of the same key are kept. */
int slot_setup_key(struct registry *g, const struct key_record *rec);

void slot_set_plan(struct org *org, uint64_t plan);
void slot_publish_org(struct registry *g, const struct org_record *rec);
void slot_publish_key(struct registry *g, const struct key_record *rec);
/* Instead of publishing. */
void slot_withdraw_org(struct registry *g, const struct org_record *rec);

/* Limit and window of the record as a rule, named "org". */
struct rule slot_rule(const struct org_record *rec);

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
