/* SPDX-License-Identifier: MIT */
#ifndef STILE_GATE_LAYOUT_H
#define STILE_GATE_LAYOUT_H

/*
 * gate/layout - the shared arena: everything a decision counts in.
 *
 * One file in tmpfs, mapped by the process that holds state/lock. It holds
 * no pointers: places are named by slot number or by byte offset from the
 * start, so that a restarted or upgraded process carries on with it. Regions
 * have fixed places sized for the most there can ever be; the file is sparse,
 * and state/arena allocates pages before a slot in them is handed out (so
 * that a full tmpfs is an answer and not a SIGBUS).
 *
 * Slot numbers are the row numbers of the records database. Slot 0 is never
 * used: it means "none".
 *
 * Version   ARENA_LAYOUT changes whenever anything below changes.
 */
#include "base/id.h"
#include "base/line.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdint.h>

#define ARENA_MAGIC UINT64_C(0x31414e4552415453) /* "STARENA1" */
#define ARENA_LAYOUT 2u

#define ARENA_ORGS_MAX (UINT32_C(1) << 20)
#define ARENA_PROJECTS_MAX (UINT32_C(1) << 20)
#define ARENA_KEYS_MAX (UINT32_C(1) << 24)
#define ARENA_RING_BYTES (UINT64_C(1) << 34)
#define ARENA_OWNERS 64 /* workers 0..61, see below */
#define OWNER_CONTROL 63
#define WORKERS_MAX 62

typedef _Atomic(uint64_t) word_t;
typedef _Atomic(uint32_t) half_t;

enum slot_state {
	SLOT_FREE = 0,
	SLOT_ACTIVE = 1,
	SLOT_SUSPENDED = 2, /* organizations */
	SLOT_REVOKED = 3,   /* keys */
};

/*
 * An organization: two lines. The first is written by whoever decides (under
 * claim, gate/claim.h), the second by the control thread alone; `rule` and
 * the ring words change under claim too, since a decision reads them.
 *
 * Invariants: gate, head, tail and used only grow. Entries [tail, head) of
 * the ring are the admissions that may still be in the window; those that one
 * claim made share an entry.
 */
struct org {
	/* line 0: written by every allowed check */
	word_t gate; /* even: version << 1; odd: name of a descriptor */
	word_t head; /* ring entries so far: index of the next one */
	word_t tail; /* index of the oldest entry that may be in the window */
	word_t used; /* units allowed, ever */
	uint64_t line0_spare[4];
	/* line 1: read by every check, written by the control thread */
	word_t rule;        /* window ticks << 18 | limit */
	word_t ring;        /* RING_WORD of the ring in use */
	word_t ring_prev;   /* ring of the entries below ring_switch */
	word_t ring_switch; /* border; once tail has passed it ring_prev
			     * means nothing */
	half_t state;       /* enum slot_state */
	uint32_t line1_spare;
	struct id id;
	uint64_t line1_spare2[2];
} LINE_ALIGNED;
static_assert(sizeof(struct org) == 2 * LINE_BYTES, "two lines");

/* rule: limit in 18 bits (entries hold totals modulo 2^18, so the limit stays
 * below half of that), window in 46 bits of ticks. */
#define LIMIT_BITS 18u
#define LIMIT_MASK ((UINT64_C(1) << LIMIT_BITS) - 1)
#define LIMIT_MAX 65536u
#define WINDOW_MS_MIN 1u
#define WINDOW_MS_MAX UINT64_C(2678400000) /* 31 days */

/* ring word: place in the ring region in units of 64 bytes (28 bits), log2 of
 * the number of entries (6 bits), and a generation (30 bits) that makes the
 * word of a re-used place differ. 0 = no ring. */
#define RING_WORD(place, log2, gen)                                            \
	((uint64_t)(place) | (uint64_t)(log2) << 28 | (uint64_t)(gen) << 34)
#define RING_PLACE(w) ((w)&0xfffffffu)
#define RING_LOG2(w) ((unsigned)((w) >> 28) & 63u)
#define RING_GEN(w) ((uint32_t)((w) >> 34))

/* A project: one line. */
struct project {
	struct id id;
	half_t state;
	uint32_t org; /* slot */
	uint64_t spare[6];
} LINE_ALIGNED;
static_assert(sizeof(struct project) == LINE_BYTES, "one line");

/*
 * A key: one line. hash, id, org and project do not change while the slot is
 * in use; they are published by the key table (gate/keytable.h), whose entry
 * holds another 40 bits of the hash: 232 of 256 bits are compared.
 */
#define KEY_HASH_SKIP 8 /* bytes of the hash that are not repeated here */
struct key {
	uint8_t hash[32 - KEY_HASH_SKIP];
	struct id id;
	word_t used;  /* units allowed, ever; under the organization's claim */
	uint32_t org; /* slot */
	uint32_t project;    /* slot, 0 = none */
	half_t state;        /* enum slot_state */
	half_t last_use_min; /* wall clock, minutes; coarse; 0 = never */
	word_t expires_ms;   /* wall clock; 0 = never */
} LINE_ALIGNED;
static_assert(sizeof(struct key) == LINE_BYTES, "one line");

/*
 * A descriptor: what one decision is about to write, so that anybody can
 * finish it (gate/claim.h). One per owner, re-used; `seq` says whether it
 * still means the same decision.
 */
#define CLAIM_WORDS_MAX 16

struct claim_word {
	word_t off; /* bytes from the arena's start */
	word_t from;
	word_t to;
};

struct descriptor {
	word_t seq;       /* 0: being written */
	word_t last_seq;  /* the owner's: continues after a restart */
	word_t gate_off;  /* whose gate */
	word_t gate_next; /* what the gate becomes when all words are in */
	word_t count;
	word_t spare[3];
	struct claim_word words[CLAIM_WORDS_MAX];
} LINE_ALIGNED;
static_assert(sizeof(struct descriptor) == 7 * LINE_BYTES, "seven lines");

/* The first page of the file. The slot counts are one above the highest slot
 * that was ever set up (slots_raise); the control thread alone writes. */
struct arena_header {
	uint64_t magic;
	uint32_t layout;
	uint32_t ready; /* 1 once the file is initialized */
	uint8_t boot_id[16];
	uint8_t id[16]; /* state/arena_mark */
	half_t org_slots;
	half_t project_slots;
	half_t key_slots;
	uint32_t spare;
};

static inline uint32_t slots_read(const half_t *slots)
{
	/* PAIRS: slots_raise(), release. Publishes the lines below the count,
	 * for the snapshot thread. */
	return atomic_load_explicit(slots, memory_order_acquire);
}

static inline void slots_raise(half_t *slots, uint32_t slot)
{
	/* PAIRS: slots_read(), acquire: the slot's line is complete. One
	 * writer, so its own load is relaxed. */
	if (atomic_load_explicit(slots, memory_order_relaxed) <= slot)
		atomic_store_explicit(slots, slot + 1, memory_order_release);
}

/* Where the regions are, in bytes from the start of the file. */
#define ARENA_PAGE UINT64_C(4096)
#define ARENA_DESCRIPTORS_AT ARENA_PAGE
#define ARENA_ORGS_AT (UINT64_C(1) << 20)
#define ARENA_PROJECTS_AT                                                      \
	(ARENA_ORGS_AT + ARENA_ORGS_MAX * (uint64_t)sizeof(struct org))
#define ARENA_KEYS_AT                                                          \
	(ARENA_PROJECTS_AT +                                                   \
	 ARENA_PROJECTS_MAX * (uint64_t)sizeof(struct project))
#define ARENA_RINGS_AT                                                         \
	(ARENA_KEYS_AT + ARENA_KEYS_MAX * (uint64_t)sizeof(struct key))
#define ARENA_BYTES (ARENA_RINGS_AT + ARENA_RING_BYTES)
static_assert(ARENA_DESCRIPTORS_AT + ARENA_OWNERS * sizeof(struct descriptor) <=
		      ARENA_ORGS_AT,
	      "descriptors end before organizations begin");

/* The mapped arena, as everything on the request path sees it. */
struct arena {
	uint8_t *base;
	struct arena_header *header;
	struct descriptor *descriptors; /* ARENA_OWNERS of them */
	struct org *orgs;
	struct project *projects;
	struct key *keys;
	uint8_t *rings;
};

#endif
