/* SPDX-License-Identifier: MIT */
#ifndef STILE_TESTS_STEP_TORTURE_H
#define STILE_TESTS_STEP_TORTURE_H

/* What a round of step_torture.c has and notes. */
#define O_HOLDS 512

#include "../gate/gate_scene.h"
#include "../gate/oracle.h"
#include "base/epoch.h"
#include "torture.h"

#define WORKERS_TOP 8u
#define ORG 1u
#define KEYS 4u /* 1..; 1 has no project */
#define ROUTES 2u
#define RULES 6u
#define BATCH 3u
#define PLANS 64u
#define KNOWN 32u /* holds that a worker has told the others */
#define CONTROL_OPS (OPS - 1)
#define IMAGES 400u
#define LIMIT_TOP 60u
#define RING_LOG2_OF_ALL 6u
#define GIVEN_STEP 16u /* times of a worker are its number modulo this */
/* OPS: of all workers of a round. */
#ifdef STILE_TSAN
#define ROUNDS 1u
#define OPS 12000u
#else
#define ROUNDS 4u
#define OPS 30000u
#endif

enum op_kind { OP_CHECKS, OP_SETTLE, OP_EXPIRE, OP_GRANT };

struct op {
	enum op_kind kind;
	bool committed;
	unsigned plan, count;
	uint64_t given, at;          /* ns */
	uint64_t before, after, key; /* the gate */
	uint64_t wall_ms;
	struct o_ask asks[BATCH];
	struct verdict verdicts[BATCH];
	uint64_t hold; /* to be settled; expired: its slot; granted: units */
	uint32_t cost;
};

struct image {
	uint64_t version, ticks;
	size_t count;
	struct admission in[LIMIT_TOP + 1];
};

static struct gate_scene scene;
static struct oracle oracle;
static struct org *org;
static struct epoch epoch;
static struct epoch_reader readers[WORKERS_TOP + 1];
static struct gate gates[WORKERS_TOP + 1]; /* the last: control's */
static struct counters counters[WORKERS_TOP + 1];
static unsigned workers;
static _Atomic(uint64_t) clock_ns_now, wall_now,
	latest_holds[WORKERS_TOP * KNOWN];
static _Atomic(uint32_t) working;

static struct rule rules[RULES];
static struct {
	uint64_t word;
	uint32_t limits[RULES];
} plans[PLANS];
static unsigned plans_count;
static uint64_t routes[ROUTES + 1];
static struct credits *credits;

static struct op ops[WORKERS_TOP + 1][OPS];
static unsigned ops_count[WORKERS_TOP + 1];
static struct image images[IMAGES];
static unsigned images_count;
static uint64_t moves;

static bool all_done(void)
{
	/* PAIRS: nothing. Says when to stop, and guards nothing. */
	return atomic_load_explicit(&working, memory_order_relaxed) == 0;
}

#endif
