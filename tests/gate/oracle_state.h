/* SPDX-License-Identifier: MIT */
#ifndef STILE_TESTS_GATE_ORACLE_STATE_H
#define STILE_TESTS_GATE_ORACLE_STATE_H

/* What the oracle of tests/gate/oracle.h knows of an organization, what it is
 * asked and what it answers. */
#include "wire/check.h"

#include <stdbool.h>
#include <stdint.h>

#define O_RULES 8
#define O_SUBJECTS 12 /* of one rule */
#define O_LOG 512     /* admissions that may still count */
#define O_POOLS 6
#define O_KEYS 8
#define O_PROJECTS 2
#define O_BUDGETS 2
#define O_ROUTES 4
#ifndef O_HOLDS
#define O_HOLDS 64
#endif
#define O_IDS 64
#define O_TICK_NS 4000u

enum o_kind { O_WINDOW, O_BUCKET, O_FLIGHT };
enum o_level { O_ORG, O_PROJECT, O_KEY, O_ROUTE };

struct o_rule {
	enum o_kind kind;
	enum o_level level;
	bool shadow, requests;
	unsigned route; /* 1.. of the only one; 0: all */
	uint32_t limit;
	uint64_t span;    /* ticks */
	uint64_t unit_ns; /* of a bucket */
	uint64_t tripped;
};

/* What a rule counts for one subject. */
struct o_count {
	unsigned first, count; /* of log, oldest first */
	struct {
		uint64_t tick;
		uint32_t units;
	} log[O_LOG];
	uint64_t tat;
	uint32_t leases;
};

struct o_budget {
	bool on;
	uint64_t cap;
	uint64_t period, used, returned;            /* of that period */
	uint64_t now_period, ends_ms, next_ends_ms; /* as published */
};

struct o_pool {
	uint64_t granted, used, returned, withdrawn, expires_ms;
	unsigned route;
};

struct o_hold {
	uint64_t id; /* 0: free */
	unsigned key, route;
	uint32_t units;
	uint64_t until_tick;
	bool keep;
	bool leased[O_RULES];
	unsigned subject[O_RULES];
	uint64_t budget_period[O_BUDGETS];
	bool budgeted[O_BUDGETS];
	uint64_t drawn[O_POOLS];
};

struct o_id {
	bool known;
	unsigned key, name;
	uint32_t cost;
	uint64_t when_ns, hold;
};

struct oracle {
	unsigned rules_count;
	struct o_rule rules[O_RULES];
	struct o_count counts[O_RULES][O_SUBJECTS];
	unsigned key_project[O_KEYS]; /* 0: none */
	uint64_t key_checks[O_KEYS], key_units[O_KEYS];
	struct o_budget budgets[O_PROJECTS + 1][O_BUDGETS];
	bool attention[O_PROJECTS + 1];
	unsigned pools_count; /* 0: credits are not counted */
	struct o_pool pools[O_POOLS];
	struct o_hold holds[O_HOLDS];
	struct o_id ids[O_IDS];
	unsigned ids_next;
	uint64_t once_ns, hold_ms;
	bool hold_keep;
	uint64_t wall_ms;
	/* answered so far */
	uint64_t allowed, reasons[REASON_COUNT], repeated, settled;
};

struct o_ask {
	unsigned key, route; /* route 0: none */
	unsigned name;       /* of the request id; 0: none */
	uint32_t cost;
	uint32_t hold_ms;
	bool peek, reserve;
};

/* What must be said. hold: only whether there is one. */
struct o_answer {
	enum reason reason;
	bool numbers; /* the next five are told */
	uint32_t limit, remaining, reset_ms, retry_ms;
	unsigned rule;
	bool repeated, hold;
	uint64_t hold_id; /* repeated */
	uint64_t hold_ms;
	uint32_t charged;
	uint64_t credits, budget;
};

#endif
