/* SPDX-License-Identifier: MIT */
#ifndef STILE_BASE_HANDOFF_H
#define STILE_BASE_HANDOFF_H

/*
 * base/handoff - small numbers from one thread to another, in order: a thin
 * wrapper over ck's single-producer single-consumer ring (its multi-producer
 * rings spin on other producers and are not used).
 *
 * Threads    one puts, one gets.
 * Progress   wait-free.
 * Bound      HANDOFF_ENTRIES - 1; a full ring is an answer.
 * Proof      tests/torture/handoff_torture.c
 */
#include "base/epoch.h" /* tsan_acquire, tsan_release */

#include <ck_ring.h>
#include <stdbool.h>
#include <stdint.h>

#define HANDOFF_ENTRIES 1024

struct handoff {
	ck_ring_t ring;
	ck_ring_buffer_t slots[HANDOFF_ENTRIES];
};

static inline void handoff_init(struct handoff *h)
{
	ck_ring_init(&h->ring, HANDOFF_ENTRIES);
}

/* Producer. False when full. */
static inline bool handoff_put(struct handoff *h, uintptr_t value)
{
	tsan_release(&h->ring);
	return ck_ring_enqueue_spsc(&h->ring, h->slots, (void *)value);
}

/* Consumer. False when empty. */
static inline bool handoff_get(struct handoff *h, uintptr_t *ret_value)
{
	void *p;

	if (!ck_ring_dequeue_spsc(&h->ring, h->slots, &p))
		return false;
	tsan_acquire(&h->ring);
	*ret_value = (uintptr_t)p;
	return true;
}

#endif
