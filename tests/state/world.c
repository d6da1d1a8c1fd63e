/* SPDX-License-Identifier: MIT */
#include "world.h"

#include "base/clock.h"
#include "state/snapshot.h"
#include "state/snapshot_internal.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

void world_init(struct world *w)
{
	memset(w, 0, sizeof(*w));
	scratch_init(&w->place);
	w->options = (struct registry_options){
		.max_orgs = 1000,
		.max_projects = 1000,
		.max_keys = 100000,
		.ring_bytes = 64 << 20,
		.default_limit = 100,
		.default_window_ms = 60000,
		.key_prefix = "il",
	};
	epoch_init(&w->epoch);
}

void world_deinit(struct world *w)
{
	scratch_deinit(&w->place);
}

int world_try_start(struct world *w)
{
	struct keytext_prefix prefix;
	int r;

	r = records_open(w->place.records, &w->records, w->err, sizeof(w->err));
	if (r < 0)
		return r;
	r = arena_open(&w->arena, w->place.arena, &w->opened_fresh,
		       &w->recovered, w->err, sizeof(w->err));
	if (r < 0)
		goto out_records;
	r = registry_open(&w->registry, w->records, &w->arena, w->opened_fresh,
			  &w->table, &w->epoch, w->place.state, &w->options,
			  &w->report, w->err, sizeof(w->err));
	if (r < 0)
		goto out_arena;
	cr_assert(keytext_prefix_init(&prefix, w->options.key_prefix));
	gate_init(&w->gate, &w->arena.arena, &w->table, &prefix, 0,
		  &w->counters);
	return 0;
out_arena:
	arena_close(&w->arena);
out_records:
	w->records = records_close(w->records);
	return r;
}

void world_start(struct world *w)
{
	int r = world_try_start(w);

	cr_assert_eq(r, 0, "%d: %s", r, w->err);
}

void world_die(struct world *w)
{
	w->registry = registry_close(w->registry);
	arena_close(&w->arena);
	w->records = records_close(w->records);
}

void world_restart(struct world *w)
{
	world_die(w);
	world_start(w);
}

void world_age_snapshot(struct world *w)
{
	XXH128_canonical_t digest;
	uint8_t *bytes;
	size_t len;

	if (!scratch_exists(w->place.snapshot))
		return;
	bytes = scratch_read(w->place.snapshot, &len);
	bytes[SNAP_AT_BOOT_ID] ^= 0xff;
	XXH128_canonicalFromHash(&digest,
				 XXH3_128bits(bytes, len - SNAP_DIGEST_BYTES));
	memcpy(bytes + len - SNAP_DIGEST_BYTES, digest.digest,
	       SNAP_DIGEST_BYTES);
	scratch_write(w->place.snapshot, bytes, len);
	free(bytes);
}

void world_reboot(struct world *w)
{
	world_die(w);
	unlink(w->place.arena);
	world_age_snapshot(w);
}

void world_snapshot(struct world *w, bool clean)
{
	struct snapshot_info info;
	int r = snapshot_write(&w->arena.arena, NULL, w->place.state, clean,
			       &info, w->err, sizeof(w->err));

	cr_assert_eq(r, 0, "%s", w->err);
}

uint32_t world_org(struct world *w, const char *name, uint32_t limit)
{
	struct org_record rec = {.limit = limit, .window_ms = 60000};
	int r;

	snprintf(rec.name, sizeof(rec.name), "%s", name);
	r = registry_org_create(w->registry, &rec, 0);
	cr_assert_eq(r, 0, "%d: %s", r, registry_error(w->registry));
	return rec.slot;
}

struct key_record world_key(struct world *w, uint32_t org,
			    char text[static KEY_TEXT_MAX])
{
	struct key_record rec = {.org = org};
	int r = registry_key_create(w->registry, &rec, text);

	cr_assert_eq(r, 0, "%d: %s", r, registry_error(w->registry));
	return rec;
}

struct verdict world_check(struct world *w, const char *key, uint32_t cost)
{
	struct check c = {.key = (const uint8_t *)key,
			  .key_len = (uint8_t)strlen(key),
			  .credential = CREDENTIAL_KEY,
			  .cost = cost};
	struct instant now = w->now != 0 ? instant_at(w->now * CLOCK_TICK_NS)
					 : instant_now();
	struct verdict v;

	gate_decide(&w->gate, &c, &v, 1, &now, clock_wall_ms());
	return v;
}

uint32_t world_passes(struct world *w, const char *key, uint32_t tries)
{
	uint32_t passed = 0;

	for (uint32_t i = 0; i < tries; i++)
		passed += world_check(w, key, 1).reason == REASON_ALLOW;
	return passed;
}

uint64_t world_org_used(struct world *w, uint32_t org)
{
	struct org_live live;

	registry_org_live(w->registry, org, &live);
	return live.used;
}

uint64_t world_key_used(struct world *w, uint32_t key)
{
	struct key_live live;

	registry_key_live(w->registry, key, &live);
	return live.used;
}
