/* SPDX-License-Identifier: MIT */
#include "state/rings.h"

#include "base/check.h"
#include "state/arena.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define LOG2_MIN 3u /* eight entries: one line */

static uint64_t lines_of(unsigned log2)
{
	return UINT64_C(1) << (log2 - LOG2_MIN);
}

void rings_init(struct rings *r, struct arena_file *file, uint64_t max_bytes,
		bool fresh)
{
	memset(r, 0, sizeof(*r));
	r->file = file;
	r->max_lines = max_bytes / LINE_BYTES;
	r->next_gen = 1;
	r->fresh = fresh;
}

void rings_deinit(struct rings *r)
{
	unsigned i;

	for (i = 0; i <= RINGS_LOG2_MAX; i++)
		free(r->free[i].places);
	free(r->adopted);
}

static int free_push(struct rings *r, unsigned log2, uint64_t place)
{
	struct rings_free *f = &r->free[log2];

	if (f->count == f->room) {
		size_t room = f->room != 0 ? f->room * 2 : 16;
		uint32_t *p = realloc(f->places, room * sizeof(*p));

		if (p == NULL)
			return -ENOMEM;
		f->places = p;
		f->room = room;
	}
	f->places[f->count++] = (uint32_t)place;
	return 0;
}

/* 30 bits; by the time they have wrapped no helper remembers. 0 would make a
 * ring word look unset. */
static uint32_t gen_after(uint32_t gen)
{
	return gen < (1u << 30) - 1 ? gen + 1 : 1;
}

int rings_adopt(struct rings *r, uint64_t ring)
{
	unsigned log2 = RING_LOG2(ring);

	if (log2 < LOG2_MIN || log2 > RINGS_LOG2_MAX ||
	    RING_PLACE(ring) + lines_of(log2) > ARENA_RING_BYTES / LINE_BYTES)
		return -EINVAL;
	if (r->adopted_count == r->adopted_room) {
		size_t room = r->adopted_room != 0 ? r->adopted_room * 2 : 1024;
		uint64_t *p = realloc(r->adopted, room * sizeof(*p));

		if (p == NULL)
			return -ENOMEM;
		r->adopted = p;
		r->adopted_room = room;
	}
	r->adopted[r->adopted_count++] = ring;
	if (RING_GEN(ring) >= r->next_gen)
		r->next_gen = gen_after(RING_GEN(ring));
	return 0;
}

static int by_place(const void *a, const void *b)
{
	uint64_t x, y;

	memcpy(&x, a, sizeof(x));
	memcpy(&y, b, sizeof(y));
	x = RING_PLACE(x);
	y = RING_PLACE(y);
	return x < y ? -1 : x > y;
}

/* A gap between two rings becomes free rings, the largest first. */
static int free_gap(struct rings *r, uint64_t from, uint64_t to)
{
	while (from < to) {
		unsigned log2 = RINGS_LOG2_MAX;
		int e;

		while (lines_of(log2) > to - from)
			log2--;
		e = free_push(r, log2, from);
		if (e < 0)
			return e;
		from += lines_of(log2);
	}
	return 0;
}

int rings_settle(struct rings *r)
{
	uint64_t end = 0;
	size_t i;
	int e;

	if (r->adopted_count != 0)
		qsort(r->adopted, r->adopted_count, sizeof(*r->adopted),
		      by_place);
	for (i = 0; i < r->adopted_count; i++) {
		uint64_t place = RING_PLACE(r->adopted[i]);

		if (place < end)
			return -EINVAL;
		e = free_gap(r, end, place);
		if (e < 0)
			return e;
		end = place + lines_of(RING_LOG2(r->adopted[i]));
	}
	free(r->adopted);
	r->adopted = NULL;
	r->adopted_count = r->adopted_room = 0;
	r->end = end;
	return arena_reserve(r->file, REGION_RINGS, end * LINE_BYTES);
}

static int extend(struct rings *r, unsigned log2, uint64_t *ret_place)
{
	uint64_t end = r->end + lines_of(log2);
	int e;

	if (end > r->max_lines)
		return -ENOSPC;
	e = arena_reserve(r->file, REGION_RINGS, end * LINE_BYTES);
	if (e < 0)
		return e;
	*ret_place = r->end;
	r->end = end;
	return 0;
}

/* The first piece of the smallest larger ring that is free; what is left is
 * free in the sizes in between. A restart joins free neighbours again. */
static int split(struct rings *r, unsigned log2, uint64_t *ret_place)
{
	unsigned from = log2 + 1;
	uint64_t place;

	while (from <= RINGS_LOG2_MAX && r->free[from].count == 0)
		from++;
	if (from > RINGS_LOG2_MAX)
		return -ENOSPC;
	place = r->free[from].places[--r->free[from].count];
	*ret_place = place;
	for (place += lines_of(log2); log2 < from; log2++) {
		/* Out of memory: lost until a restart, as in rings_give(). */
		(void)free_push(r, log2, place);
		place += lines_of(log2);
	}
	return 0;
}

int rings_take(struct rings *r, unsigned log2, uint64_t *ret_ring)
{
	struct rings_free *f = &r->free[log2];
	bool zero = true;
	uint64_t place;
	int e = 0;

	check(log2 >= LOG2_MIN && log2 <= RINGS_LOG2_MAX);
	if (f->count > 0) {
		place = f->places[--f->count];
	} else {
		e = extend(r, log2, &place);
		zero = e < 0 || !r->fresh;
		if (e == -ENOSPC)
			e = split(r, log2, &place);
	}
	if (e < 0)
		return e;
	if (zero)
		memset(r->file->arena.rings + place * LINE_BYTES, 0,
		       (size_t)lines_of(log2) * LINE_BYTES);
	*ret_ring = RING_WORD(place, log2, r->next_gen);
	r->next_gen = gen_after(r->next_gen);
	return 0;
}

void rings_give(struct rings *r, uint64_t ring)
{
	/* Out of memory for the list: the place is lost until a restart finds
	 * it again. */
	(void)free_push(r, RING_LOG2(ring), RING_PLACE(ring));
}
