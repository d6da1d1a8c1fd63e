/* SPDX-License-Identifier: MIT */
#ifndef STILE_BENCH_CORE_WORLD_H
#define STILE_BENCH_CORE_WORLD_H

/*
 * bench/core_world - an arena with organizations and keys, as a worker sees
 * it, without records and registry.
 *
 * Place    the arena is a file in tmpfs, as stiled's, without a name there as
 *          soon as it is open; or private memory. Pages differ: those of a
 *          tmpfs are small unless it was mounted otherwise.
 * Spread   org_count organizations with one key and a small window each.
 *          Neighbours in `keys` lie at random places of the arena and of the
 *          key table, so walking the keys costs those misses and no other.
 * Hot      one more organization, with CORE_HOT_KEYS keys of its own.
 * Time     windows of one tick: with now = clock_ticks() everything is
 *          allowed for as long as anybody runs; with now = full_at everything
 *          is denied, once core_world_fill() was called.
 */
#include "base/keytext.h"
#include "base/sha256.h"
#include "core_rules.h"
#include "gate/keytable.h"
#include "gate/meter.h"
#include "memo.h"
#include "state/arena.h"

#define CORE_ORGS_MAX (ARENA_ORGS_MAX - 3)
#define CORE_ORGS_MIN 1000u /* fewer would meet in one batch */
#define CORE_HOT_KEYS 1024u
#define CORE_KEY_LEN KEYTEXT_LEN(2)
#define CORE_SPREAD_LIMIT 8u
#define CORE_HOT_LIMIT 16384u
#define CORE_WINDOW_TICKS 1

struct core_key {
	uint8_t text[CORE_KEY_LEN];
	uint8_t hash[SHA256_BYTES];
	uint32_t slot, org;
};

struct core_world {
	struct arena_file file;
	struct keytable table;
	struct memo memo; /* of all keys */
	struct keytext_prefix prefix;
	uint32_t org_count;
	struct core_key *keys; /* spread ones, then hot ones */
	uint64_t plan, hot_plan;
	struct core_rules rules;
	uint32_t rich; /* organization: as the hot one, with credits */
	struct instant full_at;
};

/* Bytes that a world of this size takes, about. */
uint64_t core_world_bytes(uint32_t org_count);

enum core_place { CORE_TMPFS, CORE_PRIVATE };
#define CORE_TMPFS_DIR "/dev/shm"

/* 0, or a negative errno and a sentence. */
int core_world_init(struct core_world *w, uint32_t org_count,
		    enum core_place place, char *error, size_t error_len);
void core_world_deinit(struct core_world *w);

/* No other thread may run. Every window used up at one instant, full_at; or
 * with one admission in it, as those of stages that allow find them. */
void core_world_fill(struct core_world *w);
void core_world_rest(struct core_world *w);

static inline const struct core_key *core_world_keys(const struct core_world *w,
						     bool hot)
{
	return hot ? w->keys + w->org_count : w->keys;
}

static inline uint32_t core_world_key_count(const struct core_world *w,
					    bool hot)
{
	return hot ? CORE_HOT_KEYS : w->org_count;
}

#endif
