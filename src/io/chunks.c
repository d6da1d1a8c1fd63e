/* SPDX-License-Identifier: MIT */
#include "io/chunks.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

int chunks_init(struct chunks *c, uint32_t count)
{
	void *p =
		mmap(NULL, (size_t)count * CHUNK_BYTES, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	uint32_t i;

	if (p == MAP_FAILED)
		return -ENOMEM;
	c->chunks = calloc(count, sizeof(*c->chunks));
	if (c->chunks == NULL) {
		munmap(p, (size_t)count * CHUNK_BYTES);
		return -ENOMEM;
	}
	c->bytes = p;
	c->count = count;
	c->free = CHUNK_NONE;
	for (i = count; i > 0; i--)
		chunks_give(c, i - 1);
	return 0;
}

void chunks_deinit(struct chunks *c)
{
	munmap(c->bytes, (size_t)c->count * CHUNK_BYTES);
	free(c->chunks);
}

uint32_t chunks_take(struct chunks *c)
{
	uint32_t idx = c->free;

	if (idx != CHUNK_NONE) {
		c->free = c->chunks[idx].next;
		c->chunks[idx] = (struct chunk){.next = CHUNK_NONE};
	}
	return idx;
}

void chunks_give(struct chunks *c, uint32_t idx)
{
	c->chunks[idx].next = c->free;
	c->free = idx;
}
