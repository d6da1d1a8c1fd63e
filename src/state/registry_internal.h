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

/* Before workers run: the arena and the key table follow the records. */
int registry_load(struct registry *g, bool fresh,
		  struct registry_report *report, char *err, size_t err_len);

/* The counters of a fresh arena, from the snapshot. */
void registry_restore(struct registry *g, const char *state_dir,
		      struct registry_report *report);

/* ---- registry_orgs.c ---- */

/* The arena follows the record: a larger ring first when it needs one. */
int registry_apply_limit(struct registry *g, const struct org_record *rec);

/* ---- registry_slots.c ---- */

int slot_setup_org(struct registry *g, const struct org_record *rec);
int slot_setup_project(struct registry *g, const struct project_record *rec);

/* Fills the key's line; the caller publishes it in the key table. Counters of
 * the same key are kept. */
int slot_setup_key(struct registry *g, const struct key_record *rec);

/* Limit and window of the record as a rule word. */
uint64_t slot_rule(const struct org_record *rec);

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
