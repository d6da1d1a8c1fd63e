/* SPDX-License-Identifier: MIT */
#ifndef STILE_TESTS_STATE_WORLD_H
#define STILE_TESTS_STATE_WORLD_H

/*
 * tests/state/world - the state of one process, and a gate to ask it.
 *
 * world_start()  opens records, arena and registry as the daemon does.
 * world_die()    lets go of all without a word to the arena or a snapshot: what
 *                is left is what kill -9 leaves.
 * world_reboot() the same, and the arena is gone with the machine; the
 *                snapshot of this boot is made one of another.
 */
#include "base/counters.h"
#include "base/epoch.h"
#include "gate/decide.h"
#include "scratch.h"
#include "state/arena.h"
#include "state/records.h"
#include "state/registry.h"

struct world {
	struct scratch place;
	struct registry_options options;
	struct records *records;
	struct arena_file arena;
	bool opened_fresh; /* what arena_open() said */
	unsigned recovered;
	struct keytable table;
	struct epoch epoch;
	struct registry *registry;
	struct registry_report report;
	struct gate gate;
	struct counters counters;
	uint64_t now; /* ticks of the next check; 0 = the clock's */
	char err[256];
};

void world_init(struct world *w);
void world_deinit(struct world *w); /* after world_die() */

int world_try_start(struct world *w); /* w->err has the sentence */
void world_start(struct world *w);
void world_die(struct world *w);
void world_reboot(struct world *w);
void world_restart(struct world *w); /* die, start */

/* Another boot id in the snapshot, checksum put right. */
void world_age_snapshot(struct world *w);
void world_snapshot(struct world *w, bool clean);

uint32_t world_org(struct world *w, const char *name, uint32_t limit);
/* The plaintext stays in `text`. */
struct key_record world_key(struct world *w, uint32_t org,
			    char text[static KEY_TEXT_MAX]);

struct verdict world_check(struct world *w, const char *key, uint32_t cost);
/* How many checks of cost 1 pass, trying at most `tries` times. */
uint32_t world_passes(struct world *w, const char *key, uint32_t tries);
uint64_t world_org_used(struct world *w, uint32_t org);
uint64_t world_key_used(struct world *w, uint32_t key);

#endif
