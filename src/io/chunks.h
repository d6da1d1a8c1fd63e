/* SPDX-License-Identifier: MIT */
#ifndef STILE_IO_CHUNKS_H
#define STILE_IO_CHUNKS_H

/*
 * io/chunks - where replies are written: a pool of page-aligned pieces, and
 * queues of them.
 *
 * Threads    one worker.
 * Memory     CHUNK_BYTES each, taken at start; pages are touched only when
 *            used, and the last one given back is the next one taken.
 * Bound      an empty pool is an answer (CHUNK_NONE).
 */
#include <stdint.h>

#define CHUNK_BYTES 16384u
#define CHUNK_NONE UINT32_MAX

struct chunk {
	uint32_t next; /* in a queue, or in the pool */
	uint32_t len;  /* bytes written */
	uint32_t sent; /* bytes the kernel has taken */
};

struct chunks {
	uint8_t *bytes;
	struct chunk *chunks;
	uint32_t count;
	uint32_t free; /* first of the pool */
};

/* -ENOMEM. */
int chunks_init(struct chunks *c, uint32_t count);
void chunks_deinit(struct chunks *c);

uint32_t chunks_take(struct chunks *c);
void chunks_give(struct chunks *c, uint32_t idx);

static inline uint8_t *chunk_bytes(const struct chunks *c, uint32_t idx)
{
	return c->bytes + (uint64_t)idx * CHUNK_BYTES;
}

#endif
