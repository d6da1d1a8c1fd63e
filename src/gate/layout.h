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
#define ARENA_LAYOUT 8u

#define ARENA_ORGS_MAX (UINT32_C(1) << 20)
#define ARENA_PROJECTS_MAX (UINT32_C(1) << 20)
#define ARENA_KEYS_MAX (UINT32_C(1) << 24)
#define ARENA_RING_BYTES (UINT64_C(1) << 34)
#define ARENA_OWNERS 64 /* workers 0..61, see below */
#define OWNER_CONTROL 63
#define OWNER_GATE 62 /* the control thread too: its checks, ending holds */
#define WORKERS_MAX 62

typedef _Atomic(uint64_t) word_t;
typedef _Atomic(uint32_t) half_t;

enum slot_state {
	SLOT_FREE = 0,
	SLOT_ACTIVE = 1,
	SLOT_SUSPENDED = 2, /* organizations */
	SLOT_REVOKED = 3,   /* keys */
	SLOT_DISABLED = 4,  /* keys: as if unknown, until enabled again */
};

#define LIMIT_MAX 8388607u /* units in a window */
#define WINDOW_MS_MIN 1u
#define WINDOW_MS_MAX UINT64_C(2678400000) /* 31 days */

/* ring word: place in the ring region in units of 64 bytes (28 bits), log2 of
 * the number of entries (5 bits), whether those are coarse (1 bit,
 * gate/meter.h) and a generation (30 bits) that makes the word of a re-used
 * place differ. 0 = no ring. */
#define RING_WORD(place, log2, gen)                                            \
	((uint64_t)(place) | (uint64_t)(log2) << 28 | (uint64_t)(gen) << 34)
#define RING_PLACE(w) ((w)&0xfffffffu)
#define RING_LOG2(w) ((unsigned)((w) >> 28) & 31u)
#define RING_COARSE (UINT64_C(1) << 33)
#define RING_GEN(w) ((uint32_t)((w) >> 34))

/* ---- What a decision counts in ---- */

/* Blocks of the ring region are named like rings: RING_WORD(place, log2, gen),
 * 2^log2 words of 8 bytes. */

/*
 * A meter: what one rule counts for one subject. Every value that a claim puts
 * into one of its words is larger than those before it.
 */
struct meter {
	/* GCRA: TAT, nanoseconds of CLOCK_BOOTTIME plus bias. Concurrency:
	 * METER_FLIGHT. Both under claim, but for leases of an address
	 * (gate/outside.h). Window: a hint where in the ring the newest and the
	 * oldest live entry are; any value will do. */
	word_t level;
	word_t ring; /* window: RING_WORD of its entries; changes under claim */
	/* Of a reset, under claim. Window: the newest entry at that moment;
	 * what it stands for and all before it counts no more. GCRA: to be
	 * taken off TAT. */
	word_t base;
};
static_assert(sizeof(struct meter) == 24, "three words");

/* Concurrency: changes so far << 24 | leases out. */
#define METER_FLIGHT(changes, leases) ((changes) << 24 | (leases))
#define METER_LEASES(w) ((w)&0xffffffu)

enum rule_algorithm {
	RULE_WINDOW = 1,      /* exact sliding window */
	RULE_GCRA = 2,        /* `burst` at once, then one per interval */
	RULE_CONCURRENCY = 3, /* leases out at the same time */
};

enum rule_level {
	LEVEL_ORG = 0,
	LEVEL_PROJECT = 1, /* checks without project pass by */
	LEVEL_KEY = 2,
	LEVEL_ROUTE = 3,   /* each label of each organization */
	LEVEL_ADDRESS = 4, /* IPv4, or /64 of IPv6; outside the organization */
	LEVEL_COUNT
};

#define RULE_SHADOW 0x01u    /* counts and reports, denies nothing */
#define RULE_REQUESTS 0x02u  /* every check counts 1, whatever its cost */
#define RULE_FULL_PASS 0x04u /* no room for another subject: it passes */
#define RULE_STRAIGHT                                                          \
	0x80u /* GCRA of the organization, of units, all routes                \
	       */

#define RULE_NAME_LEN 24 /* characters, zero padded */
#define PLAN_RULES_MAX 16
#define PLAN_METERS_MAX 8 /* rules of the organization itself */
#define METERS_MAX 16     /* that it has: those of two plans, for a change */
#define RULE_PRIORS_MAX 3 /* tables that a rule's subjects were counted in */

/* A rule, as the workers read it. Immutable while it is published; the two
 * counts are not claimed. */
struct rule {
	/* line 0: what every check reads */
	uint8_t algorithm, level, flags;
	uint8_t meter;      /* LEVEL_ORG: which of the organization's meters */
	uint32_t limit;     /* window, concurrency: units; GCRA: the burst */
	uint32_t period_ms; /* to be shown: units per period; GCRA: `rate` */
	char name[RULE_NAME_LEN];
	uint32_t rate;
	/* Window: ticks; concurrency: ticks of a lease; GCRA: nanoseconds of
	 * the burst (plan_complete()). */
	uint64_t span;
	uint64_t unit_ns; /* GCRA: nanoseconds a unit takes, rounded up */
	uint64_t route;   /* label_hash() of the only route it is for; 0: all */
	/* line 1 */
	uint64_t table; /* other levels: RING_WORD of the subjects' table */
	uint32_t id;    /* row number in the records */
	uint32_t spare32;
	/* Its predecessors, the latest first; 0: no more. Tables that its
	 * subjects were counted in before: read, not charged (gate/prior.h).
	 * Of levels project, key and route. */
	uint64_t prior[RULE_PRIORS_MAX];
	uint64_t prior_until_ns; /* then its predecessors do not matter */
	/* What is before these is the same of equal plans. */
	word_t tripped; /* checks denied by it, or would be (shadow) */
	word_t full;    /* times that there was no room for a subject */
};
static_assert(sizeof(struct rule) == 2 * LINE_BYTES, "two lines");

enum plan_plain {
	PLAIN_WINDOW = 1, /* one window of the organization */
	PLAIN_RULES = 2,  /* windows and GCRA of the organization */
};

/* The rules of an organization; many may share one. Immutable, replaced. */
struct plan {
	uint32_t rules_count;
	uint32_t meters_count;
	uint32_t plain; /* enum plan_plain: all that there is looks at every
			 * check, counts units and is in force; else 0 */
	uint32_t own;   /* all are windows and GCRA, in force, and without
			 * predecessors: the least of their limits; else 0 */
	uint64_t spare[6];
	struct rule rules[];
};
static_assert(sizeof(struct plan) == LINE_BYTES, "one line and the rules");

/* For whoever makes a plan whose rules are in place. */
static inline void plan_complete(struct plan *p)
{
	uint32_t i;

	p->meters_count = 0;
	p->own = UINT32_MAX;
	p->plain = p->rules_count > 0 ? PLAIN_RULES : 0;
	for (i = 0; i < p->rules_count; i++) {
		struct rule *r = &p->rules[i];

		p->meters_count += r->level == LEVEL_ORG;
		if (r->algorithm == RULE_GCRA)
			r->span = r->limit * r->unit_ns;
		if (r->algorithm == RULE_CONCURRENCY ||
		    r->flags & RULE_SHADOW || r->prior[0] != 0)
			p->own = 0;
		else if (r->limit < p->own)
			p->own = r->limit;
		if (r->level != LEVEL_ORG || r->route != 0 ||
		    r->flags & RULE_REQUESTS)
			p->plain = 0;
	}
	if (p->own == 0)
		p->plain = 0;
	else if (p->plain && p->rules_count == 1 &&
		 p->rules[0].algorithm == RULE_WINDOW)
		p->plain = PLAIN_WINDOW;
}

/* A budget: a cap on the units of one project in a period. Periods have
 * numbers that grow; `used` and `returned` never go back to an earlier one. */
struct budget {
	word_t used;     /* BUDGET_WORD, under claim */
	word_t returned; /* BUDGET_WORD, under claim */
	word_t cap;      /* units; BUDGET_NONE: no budget */
	word_t period;   /* number of the period that `ends_ms` ends */
	word_t ends_ms;  /* civil time (base/clock.h) at which it ends ... */
	word_t next_ends_ms; /* ... and the next one */
};
static_assert(sizeof(struct budget) == 48, "six words");

#define BUDGET_UNIT_BITS 44u
#define BUDGET_UNIT_MASK ((UINT64_C(1) << BUDGET_UNIT_BITS) - 1)
#define BUDGET_WORD(period, units)                                             \
	((uint64_t)(period) << BUDGET_UNIT_BITS | (units))
#define BUDGET_PERIOD(w) ((uint32_t)((w) >> BUDGET_UNIT_BITS))
#define BUDGET_UNITS(w) ((w)&BUDGET_UNIT_MASK)
#define BUDGET_NONE UINT64_MAX
#define PROJECT_BUDGETS_MAX 2

/* A pool of credits. Its balance is granted + returned - used - withdrawn;
 * all four only grow, under claim of the organization's gate. */
enum pool_kind { /* consumed in this order; within a kind the oldest first */
		 POOL_TRIAL = 1, /* of one route */
		 POOL_SUBSCRIPTION = 2,
		 POOL_PACK = 3,
		 POOL_REFERRAL = 4,
		 POOL_PROVISIONAL = 5, /* can be revoked */
		 POOL_OVERAGE = 6,     /* pay as you go */
};
struct pool {
	word_t granted, used, returned, withdrawn;
	word_t expires_ms; /* civil time; 0: never */
	uint64_t route;    /* label_hash() of the only route; 0: all */
	uint32_t kind;
	uint32_t id; /* row number in the records */
	uint64_t spare;
};
static_assert(sizeof(struct pool) == LINE_BYTES, "one line");

#define CREDIT_POOLS_MAX 16
/* The pools of an organization, in the order of their consumption. Replaced as
 * a whole, under claim, when one comes or goes. */
struct credits {
	uint32_t count;
	uint32_t spare32;
	uint64_t spare[7];
	struct pool pools[];
};
static_assert(sizeof(struct credits) == LINE_BYTES, "one line and the pools");

/*
 * An organization: one line. Gate and meters are written by whoever decides
 * (under claim, gate/claim.h), the rest by the control thread: plan, credits,
 * ring and base under claim too, since a decision reads them.
 */
struct org {
	word_t gate; /* even: 2 * stamp (ns) of the newest decision, or more;
		      * odd: name of a descriptor. Grows while even */
	struct meter first; /* of the plan's first rule of the organization */
	word_t plan;        /* RING_WORD of its struct plan */
	word_t credits; /* RING_WORD of its struct credits; 0: not counted */
	half_t state;   /* enum slot_state */
	half_t more;    /* place of the other meters, 64-byte units; 0: none */
	struct id id;
} LINE_ALIGNED;
static_assert(sizeof(struct org) == LINE_BYTES, "one line");

/* What a key may be used for; 0 of a kind: everything. Immutable, replaced. */
#define ACCESS_SCOPES_MAX 32
#define ACCESS_ROUTES_MAX 32
#define ACCESS_NETWORKS_MAX 32
struct network {
	uint8_t address[16]; /* IPv4 mapped into IPv6 */
	uint64_t bits;       /* prefix length, 0..128 */
};
struct access {
	uint32_t scopes, routes, networks;
	uint32_t spare;
	uint64_t data[]; /* hashes of scopes, of routes, then struct network */
};

/* What was used by a key on a route: checks << 40 | units, each modulo. */
#define USED_UNIT_BITS 40u
#define USED_UNIT_MASK ((UINT64_C(1) << USED_UNIT_BITS) - 1)
#define USED_UNITS(w) ((w)&USED_UNIT_MASK)
#define USED_CHECKS(w) ((w) >> USED_UNIT_BITS)
static inline uint64_t used_add(uint64_t w, uint64_t units, uint64_t checks)
{
	uint64_t to = w + units;

	/* The units begin again, the checks are not more for it. */
	if (__builtin_expect((to ^ w) >> USED_UNIT_BITS != 0, 0))
		to -= UINT64_C(1) << USED_UNIT_BITS;
	return to + (checks << USED_UNIT_BITS);
}

enum denial { /* what `denied` is counted by */
	      DENIAL_RATE,
	      DENIAL_COST, /* above the limit */
	      DENIAL_SUSPENDED,
	      DENIAL_ACCESS, /* scope, route or network */
	      DENIAL_BUDGET,
	      DENIAL_CREDITS,
	      DENIAL_COUNT
};
/*
 * A cell of usage: of a key on a route (none is one too). `used` stays 0
 * without a route: that is the key's own word. Two lines: workers count in the
 * first, the snapshot thread (state/usage.h) says in the second how far
 * usage.db has it. A cell is at rest, and may become another's, when the two
 * agree.
 */
struct cell {
	/* line 0 */
	word_t owner;    /* CELL_OWNER: cell_own() */
	word_t used;     /* as the key's, under claim */
	word_t returned; /* units given back by settle and refund, under claim
			  */
	half_t denied[DENIAL_COUNT]; /* not claimed */
	uint64_t line0_spare[2];
	/* line 1 */
	word_t collected_used, collected_returned;
	half_t collected_denied[DENIAL_COUNT];
	uint64_t line1_spare[3];
};
static_assert(sizeof(struct cell) == 2 * LINE_BYTES, "two lines");

/* Whose it is, also after a restart with other routes in the configuration:
 * key slot in 24 bits, 40 bits of the label_hash() of the route. In those 0: no
 * route; CELL_ROUTE_OTHER: one that is not declared. */
#define CELL_ROUTE_OTHER UINT64_C(1)
#define CELL_ROUTE_BITS 40u
#define CELL_ROUTE_MASK ((UINT64_C(1) << CELL_ROUTE_BITS) - 1)
#define CELL_OWNER(key_slot, route)                                            \
	((uint64_t)(key_slot) << CELL_ROUTE_BITS | ((route)&CELL_ROUTE_MASK))
#define CELL_KEY(owner) ((uint32_t)((owner) >> CELL_ROUTE_BITS))
#define CELL_ROUTE(owner) ((owner)&CELL_ROUTE_MASK)

/* Worker: after subjects_take() and before anything is counted in it. */
static inline void cell_own(struct cell *c, uint64_t owner)
{
	/* PAIRS: the snapshot thread's load after one of the cell's words,
	 * both acquire: whatever is counted for this owner comes with its
	 * name. All workers that are here store the same. */
	if (atomic_load_explicit(&c->owner, memory_order_relaxed) != owner)
		atomic_store_explicit(&c->owner, owner, memory_order_release);
}

/*
 * A hold: units that were reserved and are not settled, and the leases that go
 * with them. Each belongs to one owner, who alone fills it while it is free;
 * `state` is changed under the organization's claim.
 */
#define HOLD_STATE(gen, live) ((uint64_t)(gen) << 1 | (live))
#define HOLD_LIVE(w) ((w)&1)
#define HOLD_GEN(w) ((w) >> 1)
#define HOLD_LEASES_MAX 4 /* rules of concurrency in a plan, at most */
#define HOLD_DRAWS_MAX 3  /* pools that are told apart */
struct hold {
	word_t state;
	word_t subject; /* key slot << 32 | organization slot */
	word_t units;   /* reserved */
	word_t until;   /* ticks */
	word_t cell;    /* offset of the usage cell */
	word_t flags;   /* HOLD_KEEP ... */
	word_t budget[PROJECT_BUDGETS_MAX]; /* BUDGET_WORD: period, units */
	word_t leases[HOLD_LEASES_MAX];     /* LEASE_OFFSET ...; 0: none */
	word_t route;                       /* label_hash() */
	word_t draws[HOLD_DRAWS_MAX];       /* HOLD_DRAW; 0 */
};
static_assert(sizeof(struct hold) == 2 * LINE_BYTES, "two lines");
#define HOLD_KEEP 1u /* expires: stays charged (else it is returned) */
/* Units that a pool has paid, in the order of consumption. All are 0 when more
 * pools have than there is room for. */
#define HOLD_DRAW(pool, units) ((uint64_t)(pool) << 32 | (units))
#define HOLD_DRAW_POOL(w) ((uint32_t)((w) >> 32))
#define HOLD_DRAW_UNITS(w) ((uint32_t)(w))

/* A lease of a hold: the offset of the meter's word, a multiple of 8; and
 * whether that is an address's, which is under no organization's gate. */
#define LEASE_OUTSIDE UINT64_C(1)
#define LEASE_OFFSET(lease) ((lease) & ~LEASE_OUTSIDE)

/* A request id: two words, under claim. When it was allowed last, and whether
 * the other word says with which hold; entries go from one id to another, and
 * without that the hold of the last one would be told. */
#define ONCE_WORD(ns, held) ((uint64_t)(ns) << 1 | (held))
#define ONCE_NS(w) ((w) >> 1)
#define ONCE_HELD(w) ((w)&1)

/* A project: two lines. */
struct project {
	struct id id;
	uint32_t org; /* slot */
	half_t state;
	struct budget budgets[PROJECT_BUDGETS_MAX];
	half_t attention; /* a budget has crossed a threshold: tell it */
	uint32_t kinds; /* of its budgets' periods, 8 bits each; 0: not known */
	uint64_t spare;
} LINE_ALIGNED;
static_assert(sizeof(struct project) == 2 * LINE_BYTES, "two lines");

/*
 * A key: one line. hash, id, org and project do not change while the slot is
 * in use; they are published by the key table (gate/keytable.h), whose entry
 * holds another 40 bits of the hash: 168 of 256 bits are compared.
 */
#define KEY_HASH_SKIP 16 /* bytes of the hash that are not repeated here */
struct key {
	uint8_t hash[32 - KEY_HASH_SKIP];
	struct id id;
	word_t used;      /* USED_*: ever; under the organization's claim */
	word_t collected; /* `used` as usage.db has it; the snapshot thread */
	uint32_t org;     /* slot */
	uint32_t project; /* slot, 0 = none */
	half_t state;     /* KEY_WORD */
	half_t last_use_min; /* civil time, minutes; coarse; 0 = never */
	word_t expires_ms;   /* civil time; 0 = never */
} LINE_ALIGNED;
static_assert(sizeof(struct key) == LINE_BYTES, "one line");

/* enum slot_state, and the place of its struct access in units of 64 bytes;
 * 0: it may be used for everything. */
#define KEY_WORD(state, access) ((uint32_t)(state) | (uint32_t)(access) << 4)
#define KEY_STATE(w) ((w)&15u)
#define KEY_ACCESS(w) ((w) >> 4)

/*
 * A descriptor: what one decision is about to write, so that anybody can
 * finish it (gate/claim.h). One per owner, re-used; `seq` says whether it
 * still means the same decision.
 */
#define CLAIM_WORDS_MAX 48

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
	word_t bytes;     /* of the words in use */
	word_t spare[3];
	struct claim_word words[CLAIM_WORDS_MAX];
} LINE_ALIGNED;
static_assert(sizeof(struct descriptor) == 19 * LINE_BYTES, "nineteen lines");

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
	uint32_t holds_count;
	half_t attention; /* a project wants it */
	uint32_t spare32;
	uint64_t seed;   /* of the hashes of subjects; drawn when made */
	word_t civil_ns; /* offset of the civil clock (base/civil.h) */
	/* RING_WORDs of what all share; 0: not made yet */
	word_t holds; /* holds_count struct hold */
	word_t once;  /* gate/subjects.h: request ids */
	word_t cells; /* gate/subjects.h: struct cell */
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
