/* SPDX-License-Identifier: MIT */
/*
 * Blocks of rules, shared by all organizations whose rules are the same: a
 * million organizations of one plan use one block. They are found by what is
 * in them, so it does not matter where the rules came from.
 *
 * The table holds, for each block, a hash of its contents and how many use it.
 * Open addressing; a removal moves what follows, so that there are no
 * tombstones.
 */
#include "state/registry_internal.h"

#include "base/check.h"
#include "state/arena.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#define SHARES_MIN 64u

static size_t home(const struct shares *s, uint64_t hash)
{
	return hash & (s->room - 1);
}

static int grow(struct shares *s)
{
	struct shares larger = {.room = s->room ? 2 * s->room : SHARES_MIN,
				.count = s->count};

	larger.at = calloc(larger.room, sizeof(*larger.at));
	if (larger.at == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < s->room; i++) {
		size_t to = home(&larger, s->at[i].hash);

		if (s->at[i].block == 0)
			continue;
		while (larger.at[to].block != 0)
			to = (to + 1) & (larger.room - 1);
		larger.at[to] = s->at[i];
	}
	free(s->at);
	*s = larger;
	return 0;
}

static bool holds(struct registry *g, const struct share *s, uint64_t hash,
		  const uint8_t *image, size_t len)
{
	_Alignas(LINE_BYTES) uint8_t has[PLAN_BYTES_MAX];

	return s->hash == hash &&
	       apply_plan_image(apply_block(g, s->block), has) == len &&
	       memcmp(has, image, len) == 0;
}

int share_take(struct registry *g, uint32_t org, const struct effective *e,
	       uint64_t *ret_block)
{
	_Alignas(LINE_BYTES) uint8_t image[PLAN_BYTES_MAX];
	size_t len;
	int r = apply_plan_fill(g, org, e, image, &len);

	return r < 0 ? r : share_image(g, image, len, ret_block);
}

int share_image(struct registry *g, const uint8_t *image, size_t len,
		uint64_t *ret_block)
{
	struct shares *s = &g->shares;
	uint64_t hash = XXH3_64bits(image, len);
	size_t i;
	int r;

	if (2 * (s->count + 1) > s->room) {
		r = grow(s);
		if (r < 0)
			return r;
	}
	for (i = home(s, hash); s->at[i].block != 0;
	     i = (i + 1) & (s->room - 1)) {
		if (!holds(g, &s->at[i], hash, image, len))
			continue;
		s->at[i].refs++;
		*ret_block = s->at[i].block;
		return 0;
	}
	r = apply_plan_make(g, image, len, ret_block);
	if (r < 0)
		return r;
	s->at[i] = (struct share){hash, *ret_block, 1};
	s->count++;
	return 0;
}

/* Closes the gap at `i`: whatever would no longer be found moves into it. */
static void remove_at(struct shares *s, size_t i)
{
	size_t j = i;

	for (;;) {
		size_t from;

		j = (j + 1) & (s->room - 1);
		if (s->at[j].block == 0)
			break;
		from = home(s, s->at[j].hash);
		/* Is its home outside of (i, j], cyclically? */
		if (((j - from) & (s->room - 1)) >= ((j - i) & (s->room - 1))) {
			s->at[i] = s->at[j];
			i = j;
		}
	}
	s->at[i] = (struct share){0};
	s->count--;
}

void share_put(struct registry *g, uint64_t block)
{
	struct shares *s = &g->shares;
	_Alignas(LINE_BYTES) uint8_t image[PLAN_BYTES_MAX];
	size_t len, i;

	if (block == 0)
		return;
	len = apply_plan_image(apply_block(g, block), image);
	for (i = home(s, XXH3_64bits(image, len)); s->at[i].block != block;
	     i = (i + 1) & (s->room - 1))
		check(s->at[i].block != 0);
	if (--s->at[i].refs > 0)
		return;
	remove_at(s, i);
	apply_plan_free(g, block);
}

/* Are there such lines, with pages behind them? */
static int block_there(struct registry *g, uint64_t block)
{
	uint64_t bytes = sizeof(word_t) << RING_LOG2(block);
	uint64_t at = (uint64_t)RING_PLACE(block) * LINE_BYTES;

	if (RING_LOG2(block) > RINGS_LOG2_MAX || at + bytes > ARENA_RING_BYTES)
		return -EINVAL;
	return arena_reserve(g->file, REGION_RINGS, at + bytes);
}

static int adopt_new(struct registry *g, uint64_t block, uint64_t hash)
{
	const struct plan *plan = apply_block(g, block);
	struct shares *s = &g->shares;
	size_t i;
	int r = rings_adopt(&g->rings, block);

	if (r == 0)
		r = tables_adopt(g, plan);
	if (r == 0 && 2 * (s->count + 1) > s->room)
		r = grow(s);
	if (r < 0)
		return r;
	for (i = home(s, hash); s->at[i].block != 0;)
		i = (i + 1) & (s->room - 1);
	s->at[i] = (struct share){hash, block, 1};
	s->count++;
	g->adopting = i;
	tables_ref(g, plan);
	priors_note(g, plan);
	tables_recover(g, plan);
	return 0;
}

int share_adopt(struct registry *g, uint64_t block)
{
	struct shares *s = &g->shares;
	_Alignas(LINE_BYTES) uint8_t image[PLAN_BYTES_MAX];
	uint64_t hash;
	int r;

	/* Most organizations have the block of the one before. */
	if (s->room != 0 && s->at[g->adopting].block == block) {
		s->at[g->adopting].refs++;
		return 0;
	}
	r = block_there(g, block);
	if (r == 0 && !apply_plan_sane(g, block))
		r = -EINVAL;
	if (r < 0)
		return r;
	hash = XXH3_64bits(image,
			   apply_plan_image(apply_block(g, block), image));
	for (size_t i = home(s, hash); s->room != 0 && s->at[i].block != 0;
	     i = (i + 1) & (s->room - 1))
		if (s->at[i].block == block) {
			s->at[i].refs++;
			g->adopting = i;
			return 0;
		}
	return adopt_new(g, block, hash);
}

void shares_deinit(struct registry *g)
{
	free(g->shares.at);
}
